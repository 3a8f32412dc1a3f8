# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers in which anything may be anything: every task has a result, in which a terminal finds nothing to obey."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils import _run
from ansible_collections.alauda.image_registry.plugins.module_utils._flow import observe
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ClientError
from tests.integration.conftest import Lab
from tests.unit._kubernetes.hostile import Request, answered, hostile

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]")
ATTACK = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\nok: [localhost]"
VALUES: list[Any] = [
    *(None, "", "text", ATTACK, "\ud800", "x" * 20_000, 5, -1, 10**400, 1.5, True, float("inf")),
    *([], {}, [[]], [5], [None], ["text"], {"a": 1}, {"name": {}}, [{"name": []}]),
]
"""What stands in place of any value of any answer."""

EXAMPLES = int(os.environ.get("EXAMPLES", "15"))

Change = Callable[[str, Any], Any]
"""Path of a request and its good answer to the answer that is given."""
Places = list[tuple[str, tuple[Any, ...]]]


class Double:
    """Answers as the cluster did when it was first asked, changed by whoever tests."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._known: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.change: Change = lambda _path, content: content

    def _good(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path not in self._known:
            reply = self._lab.client.raw("GET", path, retry=False)
            self._known[path] = reply.status, dict(reply.headers), reply.body
        return self._known[path]

    def places(self) -> Places:
        """Every place in every JSON answer that was given."""
        return [
            (path, place)
            for path, (_status, _headers, body) in sorted(self._known.items())
            if body.startswith((b"{", b"["))
            for place in _inside(json.loads(body))
        ]

    def script(self, connection: socket.socket, request: Request) -> None:
        """For hostile()."""
        with contextlib.suppress(ClientError):  # a thread that outlives its task may outlive the cluster
            self._answer(connection, request)

    def _answer(self, connection: socket.socket, request: Request) -> None:
        verb, target, _version = request.line.split(" ")
        path, _, query = target.partition("?")
        if "watch=true" in query:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            connection.recv(1)  # nothing happens until the client has had enough
            return
        key = path if verb != "GET" else target
        status, headers, body = (201, {}, request.body) if verb == "POST" and request.body else self._good(key)
        if body.startswith((b"{", b"[")):
            body = json.dumps(self.change(key, json.loads(body))).encode()
        kept = [f"{name}: {text}" for name, text in headers.items() if name in ("content-type", VERSION)]
        answered(body, *kept, status=status)(connection, request)


VERSION = "docker-distribution-api-version"


def _inside(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _inside(member, (*place, key))


def _replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    result = copy.copy(value)
    result[place[0]] = _replaced(value[place[0]], place[1:], new)
    return result


def _changed(path: str, place: tuple[Any, ...], value: Any) -> Change:
    return lambda asked, content: _replaced(content, place, value) if asked == path else content


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from (*_texts(key), *_texts(member))
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _tasks(lab: Lab) -> dict[str, tuple[str, dict[str, Any]]]:
    """Tasks that read, and some that write and wait."""
    retention = {"keep_tag_revisions": 3, "keep_younger_than": "60m"}
    limits = {"quota": {"images": "7"}, "image": {"storage": "1Gi"}}
    return {
        "storage": ("registry_storage", {"backend": "emptydir"}),
        "storage, written": ("registry_storage", {"backend": "emptydir", "disable_redirect": True, "probe": "write"}),
        "claim": ("registry_storage", {"backend": "pvc", "pvc": {"claim": lab.claim("ReadWriteMany")}}),
        "bucket": ("registry_storage", {"backend": "s3", "s3": lab.s3(), "_ansible_check_mode": True}),
        "pull secrets": ("registry_pullsecret", {"management_state": "Managed", "verify_namespaces": ["default"]}),
        "limits": ("image_limits", {"namespaces": ["default"], **limits}),
        "limits everywhere": ("image_limits", {"namespace_selector": "!x", **limits}),
        "pruner": ("image_pruner", {"schedule": "1 2 * * *", **retention}),
    }


def _run_against(lab: Lab, url: str, module: str, task: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The result of a task, which must be one, and what it reported meanwhile."""
    lines: list[str] = []
    with _run.progress_to(lambda _seconds, text: lines.append(text)):
        result = lab.run(module, host=url, api_key="a-token", wait_timeout=1, **task)
    assert result.get("failed") is None or result["msg"]
    return result, lines


TASKS = ("storage", "storage, written", "claim", "bucket", "pull secrets", "limits", "limits everywhere", "pruner")


@pytest.fixture(params=TASKS)
def known(request: pytest.FixtureRequest, lab: Lab) -> tuple[Double, str, dict[str, Any]]:
    """A cluster that answers as this one, a module and its task; all that the task asks for has been asked once."""
    module, task = _tasks(lab)[request.param]
    double = Double(lab)
    with hostile(double.script) as server:
        _run_against(lab, server.url, module, task)
    assert len(double.places()) > 20
    return double, module, task


def test_an_answer_with_anything_in_it_is_a_result(
    lab: Lab, known: tuple[Double, str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One place of one answer at a time, drawn with a fixed seed."""
    monkeypatch.setattr(observe, "AWAITED_SECONDS", 0.5)  # for a collection that a verdict has to wait for
    double, module, task = known
    draw = random.Random(f"{module} {sorted(task)}")
    places = double.places()
    with hostile(double.script) as server:
        for _ in range(EXAMPLES):
            (path, place), value = draw.choice(places), draw.choice(VALUES)
            double.change = _changed(path, place, value)
            try:
                result, lines = _run_against(lab, server.url, module, task)
            except Exception as error:
                raise AssertionError(f"{path} {place} = {str(value)[:60]!r}") from error
            _harmless(result, lines)


def _harmless(result: dict[str, Any], lines: list[str]) -> None:
    """No control characters: none at all in what is printed as it is, only line breaks and tabs in the data."""
    printed = [*lines, str(result.get("msg", "")), *result["warnings"]]
    printed += [str(result.get("verification", {}).get(key, "")) for key in ("summary",)]
    assert [text for text in printed if CONTROL.search(text)] == []
    assert [text for text in _texts(result) if CONTROL.search(text.replace("\n", "").replace("\t", ""))] == []


def test_a_terminal_finds_nothing_to_obey(lab: Lab, known: tuple[Double, str, dict[str, Any]]) -> None:
    """Escape sequences in every condition, reason, message and name that a name does not have to match."""
    double, module, task = known
    kept = ("name", "namespace", "kind", "type", "uid", "managementState")

    def change(_path: str, content: Any) -> Any:
        if isinstance(content, dict):
            return {key: member if key in kept else change("", member) for key, member in content.items()}
        if isinstance(content, list):
            return [change("", member) for member in content]
        return f"{content}{ATTACK}" if isinstance(content, str) else content

    double.change = change
    with hostile(double.script) as server:
        result, lines = _run_against(lab, server.url, module, task)
    _harmless(result, lines)
    shown = any(r"\x1b[2J" in text for text in _texts(result))
    assert shown or module == "image_limits", result  # which quotes nothing of what is well
