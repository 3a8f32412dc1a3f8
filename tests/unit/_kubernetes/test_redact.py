# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials are always hidden; other text is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import (
    error_text,
    normalise,
    plain,
    redact,
)

SECRETS = [
    ("https://s3/b?AWSAccessKeyId=AKIDSECRET&Expires=1&Signature=c2lnbmF0dXJl", ["AKIDSECRET", "c2lnbmF0dXJl"]),
    ("X-Amz-Credential=AKIDSECRET%2F20261122%2Fus-east-1&X-Amz-Signature=0badc0de", ["AKIDSECRET", "0badc0de"]),
    ("x-amz-signature%3D0badc0de", ["0badc0de"]),
    ("Authorization: Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
    ('"authorization":"Bearer eyJhbGciOi.x.y"', ["eyJhbGciOi"]),
    ("Authorization: AWS4-HMAC-SHA256 Credential=AKIDSECRET/2026, Signature=0badc0de", ["AKIDSECRET", "0badc0de"]),
    ("http://admin:s3cret@proxy:3128", ["s3cret", "admin"]),
    ("http://admin:p@ssword@proxy:3128", ["ssword"]),
    ("secretkey=wJalrXUtnFEMI next", ["wJalrXUtnFEMI"]),
    ('REGISTRY_STORAGE_S3_SECRETKEY="wJalr XUtn" next', ["wJalr", "XUtn"]),
    ("token=abcdef0123&x=1", ["abcdef0123"]),
    ("{'password': 'hunter two', 'x': 1}", ["hunter", "two"]),
    ('{"password": "hunter two", "x": 1}', ["hunter", "two"]),
    ("user AKIAIOSFODNN7EXAMPLE is unknown", ["AKIAIOSFODNN7EXAMPLE"]),
]


@pytest.mark.parametrize(("text", "secrets"), SECRETS)
def test_credentials_are_hidden(text: str, secrets: list[str]) -> None:
    for secret in secrets:
        assert secret not in redact(text)
        assert secret not in plain(text)


@pytest.mark.parametrize(
    "text",
    [
        'secret "ns/image-registry-private-configuration-user" does not contain "REGISTRY_STORAGE_S3_ACCESSKEY"',
        'Head "https://s3.example.com/images": dial tcp: lookup s3.example.com: no such host',
        "authorization header required",
    ],
)
def test_other_text_is_kept(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=80))
def test_redaction_is_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_the_same_error_reads_the_same_however_often_it_is_reported() -> None:
    first = "InvalidAccessKeyId: no\n\tstatus code: 403, request id: M5WOGgNI47oobQ, host id: "
    second = "InvalidAccessKeyId: no\n\tstatus code: 403, request id: Ap9BVBfeOQoVleUb, host id: x7"
    assert normalise(first) == normalise(second)
    one = "read tcp 192.0.2.5:41234->192.0.2.9:443: connection reset by peer"
    two = "read tcp 192.0.2.5:51111->192.0.2.9:443: connection reset by peer"
    assert normalise(one) == normalise(two)
    assert normalise("NoSuchBucket: a") != normalise("AccessDenied: a")
    assert plain(first) == "InvalidAccessKeyId: no status code: 403"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No such context: here", "No such context: here"),
        ("first line\nsecond line", "first line"),
        ("no proxy at http://admin:s3cret@proxy:3128", "no proxy at http://[redacted]@proxy:3128"),
        ("Expected key token in {'name': 'me'}", "ValueError"),
        ("x" * 301, "ValueError"),
        ("", "ValueError"),
    ],
)
def test_an_error_is_quoted_only_when_it_cannot_hold_a_credential(text: str, shown: str) -> None:
    assert error_text(ValueError(text)) == shown
