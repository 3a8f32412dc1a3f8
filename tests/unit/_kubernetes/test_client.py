# SPDX-License-Identifier: GPL-3.0-or-later
"""What is repeated and what is not, and answers that only look like Kubernetes' own."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
    Connection,
)

CLOSED = "http://127.0.0.1:1"
TEMPORARY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Impatient(Exception):
    """Raised instead of a pause."""


def _client(host: str, pool: Any = None) -> Client:
    def pause(seconds: float) -> None:
        raise Impatient(seconds)

    return Client(Connection(host, pool or urllib3.PoolManager(), list), sleep=pause)


@contextlib.contextmanager
def _server() -> Iterator[int]:
    """Answers every request with {}; gives its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_refused_connection_is_repeated_only_where_that_is_wanted() -> None:
    """A probe has a limit of its own, which 20 s of repeating would exceed."""
    with pytest.raises(ClientError, match="No answer"):
        _client(CLOSED).raw("GET", "/version", retry=False)
    for verb in ("GET", "POST"):
        with pytest.raises(Impatient):
            _client(CLOSED).raw(verb, "/version")


@pytest.mark.parametrize(
    "host",
    ["https://api.example.com:99999", "https://[::1", "https://api.example.com:port", "https://a..b.example.com"],
)
def test_a_malformed_url_is_not_repeated(host: str) -> None:
    with pytest.raises(ClientError, match="host is not a URL"):
        _client(host).raw("GET", "/version")


@pytest.mark.parametrize("failure", [UNKNOWN, TEMPORARY], ids=["unknown", "temporary"])
@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "proxy"])
def test_a_name_that_does_not_resolve_is_not_repeated(
    failure: socket.gaierror, by_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt host; without a network, the resolver calls every failure temporary."""

    def resolve(*_args: Any, **_options: Any) -> Any:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    pool = urllib3.ProxyManager("http://nowhere.example.com:3128") if by_proxy else None
    with pytest.raises(ClientError, match="does not resolve"):
        _client("https://nowhere.example.com", pool).raw("GET", "/version")


def test_a_name_that_did_resolve_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hiccup of the resolver must not end a wait of many minutes."""

    def resolve(*_args: Any, **_options: Any) -> Any:
        raise TEMPORARY

    with _server() as port:
        client = _client(f"http://localhost:{port}")
        assert client.raw("GET", "/version").status == 200
        client.close()
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(Impatient):
            client.raw("GET", "/version")


def test_a_password_in_the_url_is_not_shown() -> None:
    with pytest.raises(ClientError) as caught:
        _client("http://me:never-shown@127.0.0.1:1").raw("GET", "/version", retry=False)
    assert "never-shown" not in str(caught.value)


@pytest.mark.parametrize("details", ["text", ["list"], 5, {"causes": "text"}, {"causes": ["text", {"message": "m"}]}])
def test_details_of_any_shape_are_an_answer(details: Any) -> None:
    """A proxy or an aggregated API server may send what only resembles a Status."""
    body = json.dumps({"kind": "Status", "message": "no", "details": details}).encode()
    error = ApiError("GET", "/version", 404, body)
    assert "no" in str(error)
    assert error.kind_missing


def test_nobody_is_advised_to_grant_rights_to_an_anonymous_user() -> None:
    """Credentials are missing; such a grant would open the cluster to everybody."""
    message = 'configs "cluster" is forbidden: User "system:anonymous" cannot get resource "configs"'
    body = json.dumps({"kind": "Status", "reason": "Forbidden", "message": message}).encode()
    text = str(ApiError("GET", "/apis/x/v1/configs/cluster", 403, body))
    assert "carried no credentials" in text
    assert "Grant" not in text
    assert "Grant" in str(ApiError("GET", "/apis/x/v1/a", 403, body.replace(b"system:anonymous", b"bob")))


def test_nothing_is_repeated_or_awaited_beyond_the_task_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes connections and never answers."""
    monkeypatch.setattr(client_module, "LAST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = _client(f"http://127.0.0.1:{server.getsockname()[1]}")
        client.until = time.monotonic() - 60.0
        began = time.monotonic()
        with pytest.raises(ClientError, match="did not answer in time") as caught:
            client.raw("GET", "/version")
        assert time.monotonic() - began < client_module.READ_TIMEOUT / 2
    assert caught.value.lost


def test_a_namespace_that_is_being_deleted_is_not_a_missing_right() -> None:
    """Both are refusals (403)."""
    causes = [{"reason": "NamespaceTerminating", "message": "namespace a is being terminated"}]
    body = {"kind": "Status", "message": 'forbidden: "a" is being terminated', "details": {"causes": causes}}
    text = str(ApiError("POST", "/api/v1/namespaces/a/resourcequotas", 403, json.dumps(body).encode()))
    assert "the namespace is being deleted" in text
    assert "Grant" not in text


@pytest.mark.parametrize("place", ["message", "cause"])
def test_the_reason_after_a_long_quoted_object_is_kept(place: str) -> None:
    """An Invalid answer quotes the whole object first."""
    text = 'patch: Invalid value: "{' + "x" * 9000 + '}": strict decoding error: unknown field "spec.storage.azure"'
    causes = [{"field": "patch", "message": text}] if place == "cause" else []
    body = {"kind": "Status", "message": text if place == "message" else "invalid", "details": {"causes": causes}}
    shown = str(ApiError("PATCH", "/apis/x/v1/configs/cluster", 422, json.dumps(body).encode()))
    assert shown.rstrip(")").endswith('unknown field "spec.storage.azure"')
    assert len(shown) < 2 * client_module.LONGEST_MESSAGE
