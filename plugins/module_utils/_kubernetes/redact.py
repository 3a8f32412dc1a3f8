# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes credentials from text. Whatever is quoted to a user goes through here first."""

from __future__ import annotations

import re
from collections.abc import Collection

_HIDDEN = "[redacted]"
_QUOTED = 500
"""How many characters of another program's words are quoted."""
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"(?i)((?:AWSAccessKeyId|X-Amz-(?:Credential|Signature|Security-Token)|Signature|_state)(?:=|%3D))[^&\s\"'\\]+"
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (
        re.compile(r"(?i)((?:proxy-)?authorization\"?\s*[:=]\s*\"?)(?:(?:basic|bearer)\s+)?[^\"'\n\\]+"),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b((?:basic|bearer)\s+)[A-Za-z0-9+/._~-]{12,}=*"), rf"\g<1>{_HIDDEN}"),
    (re.compile(r"://[^/\s\"']+@"), f"://{_HIDDEN}@"),
    (
        re.compile(
            r"(?i)([\w.-]*(?:passw(?:or)?d|secret_?(?:access)?_?key|access_?key(?:_?id)?|account_?key|api_?key|token)"
            r"[\"']?\s*(?:=|%3D|[\"']:)\s*)(?:\"[^\"]*\"|'[^']*'|[^\s&,;\"'}]+)"
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), _HIDDEN),
)
_CHANGING = (
    (re.compile(r"(?i)\b(?:request|host) id:? *[^,\s]*"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "#"),
    (re.compile(r"\b[0-9a-f]*[0-9][0-9a-f]{7,}\b"), "#"),
    (re.compile(r"[0-9]+"), "#"),
    (re.compile(r"[\s,]+"), " "),
)


def redact(text: str) -> str:
    """The text without credentials: signatures in URLs, Authorization headers, passwords in URLs, keys and tokens."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def without(text: str, secrets: Collection[str]) -> str:
    """The text with every one of these secrets hidden; the longest first, as one may contain another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def plain(text: str) -> str:
    """The text on one line, without credentials and without the request and host ids that S3 services append."""
    text = re.sub(r",? *\b(?:request|host) id:? *[^,\s]*", "", redact(text))
    return " ".join(text.split()).rstrip(" ,")


def normalise(text: str) -> str:
    """What two messages about the same trouble have in common: the text without request ids, digests and numbers."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text.strip()


def quoted(text: str) -> str:
    """The words of another program: on one line, without credentials, bounded, with control characters as text."""
    line = plain(text[:_QUOTED])
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return f"{shown} …" if len(text) > _QUOTED else shown


def error_text(error: BaseException) -> str:
    """The text of an exception, or only its type when the text may contain credentials.

    Errors about a kubeconfig can quote whole sections of it.
    """
    text = redact(str(error).splitlines()[0]) if str(error) else type(error).__name__
    return text if len(text) <= 300 and "token" not in text.lower() else type(error).__name__
