# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hostile registry can make of the requests that ask it: the log of the wire."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any

import pytest
import urllib3

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client, Connection
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import evidence
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    StorageGoal,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer, Probe
from tests.unit._kubernetes.hostile import Hostile, Request, Script, answered, endless, hostile

STARTED = "2026-01-01T00:00:00Z"
NAMESPACE = f"/api/v1/namespaces/{ALAUDA.namespace}"
REGISTRY = f"{NAMESPACE}/pods/http:registry-1:{ALAUDA.port}/proxy/v2/alauda-image-registry-probe"
UPLOADS = f"{REGISTRY}/upload/blobs/uploads/"
OURS = "/v2/alauda-image-registry-probe/upload/blobs/uploads/"
VERSION = "Docker-Distribution-Api-Version: registry/2.0"
UNKNOWN = json.dumps({"errors": [{"code": "NAME_UNKNOWN"}]}).encode()


def pod(started: Any = STARTED) -> dict[str, Any]:
    """A Pod of the registry."""
    status = {"name": "registry", "state": {"running": {"startedAt": started}}}
    return {
        "metadata": {"name": "registry-1", "labels": {"pod-template-hash": "a"}},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


def probed(server: Hostile, goal: str = "write", of: dict[str, Any] | None = None) -> Probe:
    """The evidence of one Pod."""
    client = Client(Connection(server.url, urllib3.PoolManager(), list))
    snapshot = StorageSnapshot(at=0.0, deployment={}, pods=(of or pod(),))
    [probe] = evidence.probes(client, ALAUDA, StorageGoal(spec={}, min_generation=1, probe=goal), snapshot)
    return probe


def registry(location: str) -> Script:
    """A registry that works, and names this as the place of every upload; for hostile()."""

    def answer(connection: socket.socket, request: Request) -> None:
        verb, path, _version = request.line.split(" ")
        status = {"GET": 404, "POST": 202, "PUT": 201, "DELETE": 202}[verb]
        place = location.replace("{path}", path)
        answered(UNKNOWN if verb == "GET" else b"", VERSION, f"Location: {place}", status=status)(connection, request)

    return answer


@pytest.mark.parametrize(
    "location",
    [
        OURS + "../" * 14 + "api/v1/namespaces/a/pods/http:victim:80/proxy/admin",
        OURS + "%2e%2e/" * 14 + "api/v1/namespaces/a/pods/http:victim:80/proxy/admin",
        OURS + "%2e%2e%2f" * 14 + "api",
        OURS + "..",
        OURS + ".",
        OURS + "%2e%2e",
        OURS + "..%5c..",
        OURS + "a/b",
        OURS + "a%2Fb",
        OURS + "a;b",
        OURS + "\u0661".encode().decode("latin-1"),
        OURS + "x" * 5000,
        "http://[" + OURS + "a",
        "//victim:80/admin",
        "https://victim/v2/other/blobs/uploads/a",
        "/admin",
    ],
)
def test_an_upload_is_never_sent_elsewhere(location: str) -> None:
    """The whole log of a write probe: the second request is the last, for nothing that it names is followed."""
    with hostile(registry(location)) as server:
        probe = probed(server)
    assert server.requests == [f"GET {REGISTRY}/absent/tags/list HTTP/1.1", f"POST {UPLOADS} HTTP/1.1"]
    assert probe.answer is Answer.REFUSED
    assert "names no location" in probe.detail


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("{path}1b2c?_state=s%3D", "1b2c?_state=s%3D&"),
        (f"https://victim:80{OURS}1b2c?_state=s%2F..%2F&path=/admin&dryRun=All#x", "1b2c?_state=s%2F..%2F&"),
        (f"{OURS}1b2c?digest=sha256:0&namespace=kube-system", "1b2c?"),
    ],
)
def test_of_an_uploads_place_only_its_name_and_state_are_used(location: str, place: str) -> None:
    with hostile(registry(location)) as server:
        probe = probed(server)
    assert server.requests == [
        f"GET {REGISTRY}/absent/tags/list HTTP/1.1",
        f"POST {UPLOADS} HTTP/1.1",
        f"PUT {UPLOADS}{place}digest={evidence.UPLOAD_DIGEST} HTTP/1.1",
        f"DELETE {REGISTRY}/upload/blobs/{evidence.UPLOAD_DIGEST} HTTP/1.1",
    ]
    assert probe.answer is Answer.SERVES


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with hostile(answered(b"", VERSION, "Location: /admin", status=status)) as server:
        probed(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "errors",
    [
        [{"code": {"a": [1]}}],
        [{"code": ["NAME_UNKNOWN"]}],
        [{"detail": {"driver": {}, "detail": [{}]}, "code": None}],
        ["text", 5, None, [], {}],
        [{"code": "NAME_UNKNOWN", "message": "\u001b[2J"}] * 1000,
    ],
)
@pytest.mark.parametrize("status", [200, 401, 404, 429, 500])
def test_errors_of_any_shape_are_an_answer(errors: list[Any], status: int) -> None:
    with hostile(answered(json.dumps({"errors": errors}).encode(), VERSION, status=status)) as server:
        probe = probed(server)
    assert len(probe.detail) <= 600


@pytest.mark.parametrize("date", ["", "never", "Thu, 01 Jan 2026 00:00:30 -0000", "1", "Thu, 99 Jan 9999999999999 0:0"])
@pytest.mark.parametrize("started", [STARTED, "never", 5, {"a": 1}, "2026-01-01T00:00:00"])
def test_no_date_of_an_answer_or_a_container_is_too_strange(date: str, started: Any) -> None:
    with hostile(answered(b"", VERSION, f"Date: {date}", status=401)) as server:
        assert probed(server, "auto", pod(started)).answer in (Answer.TOO_EARLY, Answer.SERVES)


def test_an_answer_that_does_not_end_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one without an end in size, nor one whose bytes trickle in."""
    begin = f"HTTP/1.1 200 OK\r\n{VERSION}\r\n".encode()
    with hostile(endless(begin + b"\r\n", b"x" * 65536)) as server:
        probe = probed(server)
    assert (probe.answer, probe.status) == (Answer.UNREACHABLE, 0)
    assert "more than 256 KiB" in probe.detail
    monkeypatch.setattr(evidence, "PROBE_TIMEOUT", 0.5)
    started = time.monotonic()
    with hostile(endless(begin + b"\r\n", b"x", pause=0.05)) as server:
        probe = probed(server)
    assert probe.answer is Answer.UNREACHABLE
    assert "did not answer in time" in probe.detail
    assert time.monotonic() - started < 10


def logged(answer: Script) -> tuple[tuple[LogFinding, ...], list[str]]:
    """What is found in the log of one Pod, and the requests for it."""
    with hostile(answer) as server:
        client = Client(Connection(server.url, urllib3.PoolManager(), list))
        snapshot = StorageSnapshot(at=0.0, deployment={}, pods=(pod(),))
        found = evidence.log(client, ALAUDA, StorageGoal(spec={}, min_generation=1), snapshot)
    return found, server.requests


def test_a_log_has_a_limit() -> None:
    """Of lines and of bytes, because a line may be of any length; one that keeps to neither is not read."""
    begin = b"HTTP/1.1 200 OK\r\n\r\n"
    found, requests = logged(endless(begin, b"no space left on device " * 5000))
    assert found == ()
    assert re.search(r"[?&]tailLines=200&limitBytes=1048576 ", requests[0])
    [one], _requests = logged(answered(b"no space left on device" * 40_000))
    assert one.kind == "full"
    assert len(one.line) <= 600
