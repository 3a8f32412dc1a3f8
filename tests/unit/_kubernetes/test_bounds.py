# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers without an end, in size or in time, and paths that lead elsewhere."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any
from urllib.parse import unquote

import pytest
import urllib3
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import bounds
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
    Connection,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    decoded,
    is_object,
    member_path,
    namespaced,
)
from tests.unit._kubernetes.hostile import answered, endless, hostile

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def client_of(url: str) -> Client:
    """A client that does not repeat requests for long."""
    return Client(Connection(url, urllib3.PoolManager(), list), sleep=lambda _seconds: None)


# -- paths -------------------------------------------------------------------------------------------------------------

ELSEWHERE = [
    "/api/v1/../secrets",
    "/api/v1/.",
    "/api/v1/%2e%2e/secrets",
    "/api/v1/%2E./secrets",
    "/api/v1/.%2e",
    "/api/v1/x%2f..%2fy",
    "/api/v1/x%2f%2e%2e%2fy",
    "/api/v1/%252e%252e/secrets",
    "/api/v1/%25252e%25252e/secrets",
    "/api/v1/%2525252525252e%2525252525252e/secrets",
    "/api/v1/..\\secrets",
    "/api/v1/..%5csecrets",
    "/api/v1/namespaces/a/pods/b%2Flog",
    "/api/v1/x#y",
    "/api/v1/x y",
    "/api/v1/x\r\nHost: other",
    "/api/v1/\u00e9",
    "@other.example.com/api/v1",
    ".other.example.com/api",
    "",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_path_that_leads_elsewhere_is_never_sent(path: str) -> None:
    assert not bounds.stays(path)
    with hostile(answered(b"{}")) as server:
        client = client_of(server.url)
        with pytest.raises(ClientError, match="was not sent"):
            client.raw("PUT", path)
        with pytest.raises(ClientError, match="was not sent"):
            client.watch(path + "x/.." if path else path, "1")
        assert server.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/version",
        "/api/v1/namespaces/a/services/http:registry:5000/proxy/v2/x/blobs/uploads/",
        "/api/v1/pods?labelSelector=a%3Db&continue=ey..%2F..%2Fx",
        "/apis/x.y.z/v1/things/a..b/.../..c",
    ],
)
def test_a_path_that_names_its_object_is_sent(path: str) -> None:
    with hostile(answered(b"{}")) as server:
        assert client_of(server.url).raw("GET", path).status == 200
        assert server.requests == [f"GET {path} HTTP/1.1"]


@given(st.text() | st.text("./%25eE2fF\\a"))
@example("..")
@example("a/../../b")
def test_no_name_leads_out_of_its_collection(name: str) -> None:
    for path in (member_path("/api/v1/x", name), namespaced(name, "pods"), namespaced("a", "pods", name)):
        if bounds.stays(path):
            *above, last = path.split("/")
            for _ in range(4):
                path = unquote(path)
                assert len(path.split("/")) == len(above) + 1
                assert not {".", ".."}.intersection(path.split("/"))
            assert last or not name


# -- size --------------------------------------------------------------------------------------------------------------

LARGE = {
    "length": (OK + b"Content-Length: 4000000000\r\n\r\n", b"x" * 65536),
    "no length": (OK + b"Connection: close\r\n\r\n", b"x" * 65536),
    "one chunk": (CHUNKED + b"EE6B2800\r\n", b"x" * 65536),
    "chunks": (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "size of a chunk": (CHUNKED, b"0" * 65536),
    "header": (OK + b"X: ", b"x" * 65536),
    "headers": (OK, b"X: x\r\n" * 5000),
    "first line": (b"HTTP/1.1 200 ", b"x" * 65536),
}


def _read(client: Client, watched: bool) -> None:
    if watched:
        list(client.watch("/api/v1/pods", "1"))
    else:
        client.raw("GET", "/version", limit=MIB, retry=False)


@pytest.mark.parametrize("form", LARGE)
@pytest.mark.parametrize("watched", [False, True], ids=["answer", "watch"])
def test_an_answer_without_an_end_is_not_kept(form: str, watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some gigabytes are offered; little more than the limit is ever in memory."""
    monkeypatch.setattr(bounds, "LINE_BYTES", MIB)
    with hostile(endless(*LARGE[form])) as server:
        client = client_of(server.url)
        tracemalloc.start()
        try:
            with pytest.raises(ClientError):
                _read(client, watched)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * MIB


def test_compression_is_not_undone() -> None:
    """It was not asked for, and a kilobyte of it may become a gigabyte."""
    with hostile(answered(b"\x1f\x8b" + bytes(50), "Content-Encoding: gzip")) as server:
        assert client_of(server.url).raw("GET", "/version").body == b"\x1f\x8b" + bytes(50)


def test_a_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGES", 5)
    page = json.dumps({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "x"}}]}).encode()
    with hostile(answered(page)) as server:
        with pytest.raises(ClientError, match="does not end"):
            client_of(server.url).list("/api/v1/pods")
        assert len(server.requests) == 5


# -- time --------------------------------------------------------------------------------------------------------------

SLOW = {
    "first line": (b"HTTP/1.1 ", b"2"),
    "header": (OK + b"X: ", b"x"),
    "headers": (OK, b"X: x\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "length": (OK + b"Content-Length: 40000\r\n\r\n", b"x"),
    "no length": (OK + b"Connection: close\r\n\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "one chunk": (CHUNKED + b"EE6B2800\r\n", b"x"),
    "size of a chunk": (CHUNKED, b"0"),
}


@pytest.mark.parametrize("form", SLOW)
def test_an_answer_that_never_pauses_for_long_ends_all_the_same(form: str) -> None:
    """A byte every 0.05 s would keep it open for hours."""
    with hostile(endless(*SLOW[form], pause=0.05)) as server:
        begin = time.monotonic()
        with pytest.raises(ClientError, match="did not answer in time"):
            client_of(server.url).raw("GET", "/version", retry=False, read_timeout=0.5)
        assert 0.4 < time.monotonic() - begin < 10


@pytest.mark.parametrize("form", SLOW)
def test_a_watch_that_never_pauses_for_long_ends_all_the_same(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "READ_TIMEOUT", 0.5)
    with hostile(endless(*SLOW[form], pause=0.05)) as server:
        begin = time.monotonic()
        with pytest.raises(ClientError):
            list(client_of(server.url).watch("/api/v1/pods", "1", seconds=0))
        assert 0.4 < time.monotonic() - begin < 10


def test_all_requests_of_a_block_share_its_time() -> None:
    """However often the client repeats them, and however long each of them may take."""
    with hostile(endless(OK + b"Content-Length: 40000\r\n\r\n", b"x", pause=0.05)) as server:
        client = client_of(server.url)
        begin = time.monotonic()
        with client.within(1.0):
            with client.within(60.0), pytest.raises(ClientError):
                client.get("/api/v1/namespaces/a")
            with pytest.raises(ClientError, match="its time is over"):
                client.list("/api/v1/pods")
        assert 0.9 < time.monotonic() - begin < 10
        sent = len(server.requests)
        with pytest.raises(ClientError, match="did not answer in time"):
            client.raw("GET", "/version", retry=False, read_timeout=0.2)
        assert len(server.requests) == sent + 1


# -- shape -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"[" * 150 + b"]" * 150])
def test_deep_nesting_is_not_an_answer(text: bytes) -> None:
    assert decoded(text) is None
    with hostile(answered(text)) as server, pytest.raises(ClientError, match="other than a Kubernetes object"):
        client_of(server.url).get("/api/v1/namespaces/a")
    assert "HTTP 500" in str(ApiError("GET", "/version", 500, text))


def test_a_few_bytes_do_not_become_many() -> None:
    """15 MiB of empty lists took 500 MiB and ten seconds."""
    text = b"[" + b"[]," * (5 * MIB) + b"1]"
    tracemalloc.start()
    try:
        assert decoded(text) is None
        assert decoded(text.decode()) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB


def test_what_kubernetes_nests_is_an_answer() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = {"f": [deep]}
    assert decoded(json.dumps(deep)) == deep


NOT_OBJECTS: list[Any] = [
    {},
    {"metadata": "text"},
    {"metadata": {}},
    {"metadata": {"name": 5}},
    {"metadata": {"name": "a", "namespace": ["b"]}},
    {"metadata": {"name": "a", "labels": "text"}},
    {"metadata": {"name": "a"}, "spec": []},
    {"metadata": {"name": "a"}, "status": "good"},
]


@pytest.mark.parametrize("content", NOT_OBJECTS)
def test_what_is_not_shaped_like_an_object_is_not_taken_for_one(content: Any) -> None:
    assert not is_object(content)
    events = "\n".join(json.dumps({"type": "MODIFIED", "object": content}) for _ in range(2)).encode() + b"\n"
    with hostile(answered(json.dumps(content).encode())) as server:
        client = client_of(server.url)
        for verb in (client.get, lambda path: client.patch(path, {}), lambda path: client.create(path, {})):
            with pytest.raises(ClientError, match="other than a Kubernetes object"):
                verb("/api/v1/namespaces/a")
    with (
        hostile(answered(json.dumps({"items": [content]}).encode())) as server,
        pytest.raises(ClientError, match="not a list of objects"),
    ):
        client_of(server.url).list("/api/v1/pods")
    with hostile(answered(events)) as server, pytest.raises(ClientError, match="broke off"):
        list(client_of(server.url).watch("/api/v1/pods", "1"))


@pytest.mark.parametrize("items", ["text", {"a": 1}, 5])
def test_a_list_that_is_not_one(items: Any) -> None:
    with (
        hostile(answered(json.dumps({"items": items}).encode())) as server,
        pytest.raises(ClientError, match="not a list of objects"),
    ):
        client_of(server.url).list("/api/v1/pods")


@pytest.mark.parametrize("code", [410, {"a": 1}, "410", None, 10**400, True])
def test_an_error_in_a_watch_has_any_code(code: Any) -> None:
    line = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "gone"}}).encode()
    with hostile(answered(line + b"\n")) as server, pytest.raises((ApiError, ClientError)) as caught:
        list(client_of(server.url).watch("/api/v1/pods", "1"))
    if code == 410:
        assert isinstance(caught.value, ApiError)
        assert caught.value.status == 410


@pytest.mark.parametrize(
    "asked", ["\u00b2", "soon", "-1", "1e9", "9" * 5000, "Wed, 21 Oct 2026 07:28:00 GMT", "\u0663"]
)
def test_retry_after_may_be_anything(asked: str) -> None:
    answer = answered(b"{}", "Retry-After: " + asked.encode().decode("latin-1"), status=429)
    with hostile(answer) as server:
        client = client_of(server.url)
        with client.within(0.5):
            assert client.raw("GET", "/version").status == 429
