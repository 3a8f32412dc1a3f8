# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials are always hidden; other text is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import (
    LONGEST,
    cut,
    error_text,
    normalise,
    plain,
    quoted,
    redact,
    visible,
    visible_data,
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


# -- control characters, length and time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nok: [localhost]", r"a\r\nok: [localhost]"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("im\u200bages\ufeff", r"im\u200bages\ufeff"),
        ("\x7f\x00", r"\x7f\x00"),
        ("Schlüssel 鍵 – “ok” 👩‍🔧", "Schlüssel 鍵 – “ok” 👩‍🔧"),
    ],
)
def test_control_characters_are_shown_as_text(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible_data({text: [text, 1, None, (text,)]}) == {
        visible_data(text): [visible_data(text), 1, None, [visible_data(text)]]
    }
    assert "\x1b" not in plain(text)


def test_line_breaks_stay_in_data() -> None:
    assert visible_data("a\tb\nc\x1b") == "a\tb\nc\\x1b"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    for shown in (visible(text), plain(text)):
        assert shown.isprintable() or not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
        shown.encode("utf-8")


@given(st.text(" secret=:'\"abc@/", max_size=200), st.integers(0, 400))
def test_a_long_text_is_cut_between_words(text: str, more: int) -> None:
    long = text + " x" * (LONGEST // 2) + "y" * more
    assert len(cut(long)) <= LONGEST + 2
    assert cut(long)[:-2].rstrip() == long[: len(cut(long)) - 2].rstrip()
    assert cut(text) == text


@pytest.mark.parametrize("secret", ["password='{}'", 'token="{}"', "http://me:{}@host/", "secretkey={}"])
def test_half_a_credential_is_not_shown(secret: str) -> None:
    """The end of what is looked at may be in the middle of one."""
    value = "never-shown-" * 4
    for before in range(LONGEST - 60, LONGEST):
        assert "never-shown" not in redact("x" * (before - 1) + " " + secret.format(value))
    for before in range(440, 500):
        assert "never-shown" not in quoted("x" * (before - 1) + " " + secret.format(value))


@pytest.mark.parametrize("piece", [" ", "a", "0", "token", "request id ", "authorization=", "://", "AKIA", '"', "\x1b"])
def test_a_text_of_any_length_takes_no_time(piece: str) -> None:
    """40 KB took 27 s; what is looked at does not grow with the text."""
    text = piece * (4_000_000 // len(piece))
    begin = time.thread_time()
    for _ in range(10):
        assert len(normalise(plain(text))) < 2 * LONGEST
    assert time.thread_time() - begin < 5
