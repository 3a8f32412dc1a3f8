# SPDX-License-Identifier: GPL-3.0-or-later
"""What one HTTP answer proves: who sent it, how long the registry had been running, what it tried in the storage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import (
    Answer,
    Probe,
    read_probe,
    read_upload,
    upload_place,
)

PING = "/v2/"
TAGS = "/v2/nobody/absent/tags/list"
REGISTRY = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}
PLAIN = {"Content-Type": "text/plain"}


def errors(code: str, message: str = "", detail: object = None) -> bytes:
    """A registry's error answer."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


def status(code: int, reason: str, message: str) -> bytes:
    """An API server's error answer."""
    return json.dumps(
        {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    ).encode()


UNNAMED = errors("UNAVAILABLE", "service unavailable", "health check failed: please see /debug/health")
LOGIN = errors("UNAUTHORIZED", "authentication required")
UNKNOWN_NAME = errors("NAME_UNKNOWN", "repository name not known to registry", {"name": "nobody/absent"})
STORAGE = 's3aws: RequestError: send request failed\ncaused by: Get "https://s3/": dial tcp: connection refused'


@pytest.mark.parametrize(
    ("path", "code", "headers", "body", "age", "answer"),
    [
        # With broken storage, /v2/ answers 200 until the first check; only the answer of an older container counts.
        (PING, 200, REGISTRY, b"{}", 3.0, Answer.TOO_EARLY),
        (PING, 200, REGISTRY, b"{}", 10.0, Answer.TOO_EARLY),
        (PING, 200, REGISTRY, b"{}", 11.0, Answer.SERVES),
        (PING, 200, REGISTRY, b"{}", None, Answer.TOO_EARLY),
        (PING, 401, REGISTRY, LOGIN, 3.0, Answer.TOO_EARLY),
        (PING, 401, {}, LOGIN, 60.0, Answer.SERVES),
        (PING, 503, REGISTRY, UNNAMED, 60.0, Answer.BROKEN),
        (PING, 503, {}, UNNAMED, 60.0, Answer.BROKEN),
        # tags/list accesses the storage at once.
        (TAGS, 404, REGISTRY, UNKNOWN_NAME, 0.5, Answer.SERVES),
        (TAGS, 404, REGISTRY, UNKNOWN_NAME, None, Answer.SERVES),
        (TAGS, 200, REGISTRY, b'{"name":"nobody/absent","tags":[]}', 0.5, Answer.SERVES),
        (TAGS, 500, REGISTRY, errors("UNKNOWN", "unknown error", STORAGE), 0.5, Answer.BROKEN),
        (TAGS, 503, REGISTRY, UNNAMED, 60.0, Answer.BROKEN),
        (TAGS, 401, REGISTRY, LOGIN, 3.0, Answer.TOO_EARLY),
        (TAGS, 401, REGISTRY, LOGIN, 60.0, Answer.SERVES),
        (TAGS, 403, REGISTRY, errors("DENIED", "requested access to the resource is denied"), 60.0, Answer.SERVES),
        (TAGS, 403, REGISTRY, errors("DENIED", "requested access to the resource is denied"), 3.0, Answer.TOO_EARLY),
        (TAGS, 429, REGISTRY, errors("TOOMANYREQUESTS", "too many requests"), 60.0, Answer.TOO_EARLY),
        (TAGS, 404, REGISTRY, errors("UNSUPPORTED"), 60.0, Answer.UNREACHABLE),
        # The API server's own errors prove nothing about the registry.
        (TAGS, 403, {}, status(403, "Forbidden", 'services "image-registry" is forbidden'), 60.0, Answer.FORBIDDEN),
        (TAGS, 401, {}, status(401, "Unauthorized", "Unauthorized"), 60.0, Answer.UNREACHABLE),
        (TAGS, 404, {}, status(404, "NotFound", 'pods "x" not found'), 60.0, Answer.UNREACHABLE),
        (
            TAGS,
            503,
            {},
            status(503, "ServiceUnavailable", "no endpoints available for service"),
            60.0,
            Answer.UNREACHABLE,
        ),
        (PING, 502, {}, status(502, "BadGateway", "dial tcp: connection refused"), 60.0, Answer.UNREACHABLE),
        (PING, 503, PLAIN, b"Error trying to reach service: 'dial tcp'", 60.0, Answer.UNREACHABLE),
        (PING, 400, PLAIN, b"Client sent an HTTP request to an HTTPS server.\n", 60.0, Answer.UNREACHABLE),
        (PING, 200, PLAIN, b"<html>welcome</html>", 60.0, Answer.UNREACHABLE),
        (PING, 403, PLAIN, b"forbidden by gateway", 60.0, Answer.FORBIDDEN),
        (PING, 0, {}, b"timed out", None, Answer.UNREACHABLE),
    ],
)
def test_answers(path: str, code: int, headers: dict[str, str], body: bytes, age: float | None, answer: Answer) -> None:
    probe = read_probe(path, code, headers, body, "pod/x", age, 10.0, 5.0)
    assert probe.answer is answer
    assert (probe.via, probe.status, probe.at) == ("pod/x", code, 5.0)
    assert probe.detail or answer is Answer.SERVES


@pytest.mark.parametrize(
    ("code", "headers", "body", "answer"),
    [
        (202, REGISTRY, b"", Answer.SERVES),
        (204, REGISTRY, b"", Answer.SERVES),
        (200, PLAIN, b"welcome", Answer.UNREACHABLE),
        (202, {}, b"", Answer.UNREACHABLE),
        (500, REGISTRY, errors("UNKNOWN", "unknown error", STORAGE), Answer.BROKEN),
        (503, REGISTRY, UNNAMED, Answer.BROKEN),
        (401, REGISTRY, errors("UNAUTHORIZED", "authentication required"), Answer.REFUSED),
        (403, REGISTRY, errors("DENIED", "requested access to the resource is denied"), Answer.REFUSED),
        (405, REGISTRY, errors("UNSUPPORTED", "The operation is unsupported."), Answer.REFUSED),
        (404, REGISTRY, errors("BLOB_UPLOAD_UNKNOWN", "blob upload unknown"), Answer.REFUSED),
        (429, REGISTRY, errors("TOOMANYREQUESTS", "too many requests"), Answer.UNREACHABLE),
        (403, {}, status(403, "Forbidden", 'cannot create resource "pods/proxy"'), Answer.FORBIDDEN),
        (503, {}, status(503, "ServiceUnavailable", "no endpoints available for service"), Answer.UNREACHABLE),
        (0, {}, b"timed out", Answer.UNREACHABLE),
    ],
)
def test_answers_to_an_upload(code: int, headers: dict[str, str], body: bytes, answer: Answer) -> None:
    probe = read_upload("uploading", code, headers, body, "pod/x", 5.0)
    assert probe.answer is answer
    assert (probe.via, probe.status, probe.at) == ("pod/x", code, 5.0)
    assert bool(probe.detail) is (answer is not Answer.SERVES)


def test_a_refused_upload_names_the_step_and_the_reason() -> None:
    probe = read_upload("uploading", 500, REGISTRY, errors("UNKNOWN", "unknown error", STORAGE), "pod/x", 5.0)
    assert probe.detail.startswith("uploading: UNKNOWN: s3aws: RequestError")
    probe = read_upload("uploading", 405, REGISTRY, b"", "pod/x", 5.0)
    assert probe.detail == "uploading: the registry answered 405 without a reason"


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://image-registry:5000/v2/a/b/blobs/uploads/id?_state=x%3D", "/v2/a/b/blobs/uploads/id?_state=x%3D"),
        ("/v2/a/b/blobs/uploads/id", "/v2/a/b/blobs/uploads/id"),
        ("/api/v1/namespaces/n/pods/p/proxy/v2/a/b/blobs/uploads/id?_state=x", "/v2/a/b/blobs/uploads/id?_state=x"),
        ("/v2/a/b/blobs/uploads/", ""),
        ("https://elsewhere/v2/another/blobs/uploads/id", ""),
        ("", ""),
    ],
)
def test_where_an_upload_continues(location: str, place: str) -> None:
    assert upload_place("/v2/a/b/blobs/uploads/", {"Location": location}) == place
    assert upload_place("/v2/a/b/blobs/uploads/", {}) == ""


def detail(body: bytes, code: int = 500) -> str:
    """The detail that a probe of a broken registry reports."""
    return read_probe(TAGS, code, REGISTRY, body, "pod/x", 1.0, 10.0, 0.0).detail


def test_the_storages_own_words_are_kept() -> None:
    words = 's3aws: RequestError: send request failed caused by: Get "https://s3/": dial tcp: connection refused'
    assert detail(errors("UNKNOWN", "unknown error", STORAGE)) == f"UNKNOWN: {words}"
    parts = {"driver": "s3aws", "detail": "NoSuchBucket: gone, request id: A, host id: "}
    assert detail(errors("UNKNOWN", "unknown error", parts)) == "UNKNOWN: s3aws: NoSuchBucket: gone"
    assert detail(UNNAMED, 503) == "UNAVAILABLE: health check failed: please see /debug/health"
    assert detail(errors("UNKNOWN", "unknown error")) == "UNKNOWN: unknown error"
    assert detail(errors("UNKNOWN", "", {"code": 7})) == 'UNKNOWN: {"code": 7}'
    assert detail(b"") == "the registry answered 500 without a reason"


def test_credentials_in_the_storages_words_are_hidden() -> None:
    url = "https://user:pass@s3/b?AWSAccessKeyId=AKIDEXAMPLE&X-Amz-Credential=AKID%2F2026&X-Amz-Signature=abc123"
    shown = detail(errors("UNKNOWN", "", f'Get "{url}": no such host'))
    assert "no such host" in shown
    for secret in ("pass@", "AKIDEXAMPLE", "AKID%2F", "abc123"):
        assert secret not in shown


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "kind", "code", "detail", "driver", "message"]) | st.text(max_size=3), inner
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from([PING, TAGS]),
    st.integers(0, 599),
    st.binary(max_size=40) | _JSON.map(lambda value: json.dumps(value).encode()),
    st.none() | st.floats(0, 100),
    st.booleans(),
)
def test_any_answer_is_read(path: str, code: int, body: bytes, age: float | None, ours: bool) -> None:
    probe = read_probe(path, code, REGISTRY if ours else {}, body, "x", age, 10.0, 0.0)
    assert isinstance(probe, Probe)
    if probe.answer is Answer.SERVES:
        assert code < 500
