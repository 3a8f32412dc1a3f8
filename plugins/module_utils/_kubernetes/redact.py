# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes text from elsewhere fit to be shown: short, without credentials, and without control characters.

Every text is cut before a pattern is applied to it, and no pattern takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

LONGEST = 4000
"""Characters of a text that are looked at."""
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
            r"(?i)((?:passw(?:or)?d|secret_?(?:access)?_?key|access_?key(?:_?id)?|account_?key|api_?key|token)"
            r"[\"']?\s*(?:=|%3D|[\"']:)\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s&,;\"'}]+)"
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), _HIDDEN),
)
_CHANGING = (
    (re.compile(r"(?i)\b(?:request|host) id:? *[^,\s]*"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "#"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9][0-9a-f]{7})[0-9a-f]{8,}\b"), "#"),
    (re.compile(r"[0-9]+"), "#"),
    (re.compile(r"[\s,]+"), " "),
)
_REQUEST_ID = re.compile(r",? ?\b(?:request|host) id:? ?[^,\s]*")
_UNSEEN = "\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff"
_CONTROL = re.compile(f"[\x00-\x1f{_UNSEEN}]")
_CONTROL_IN_DATA = re.compile(f"[\x00-\x08\x0b-\x1f{_UNSEEN}]")


def visible(text: str) -> str:
    """The text on one line, with control characters, and what hides or reorders text, as escapes such as ``\\x1b``.

    A terminal must not obey what a cluster says.
    """
    return _CONTROL.sub(_escape, text)


def visible_data(value: Any) -> Any:
    """A value of a result with every text in it, keys included, as ``visible`` has it; line breaks and tabs stay."""
    if isinstance(value, str):
        return _CONTROL_IN_DATA.sub(_escape, value)
    if isinstance(value, Mapping):
        return {visible_data(key): visible_data(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible_data(member) for member in value]
    return value


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def cut(text: str) -> str:
    """The beginning of the text, to the end of a word: half a credential would not be recognised."""
    if len(text) <= LONGEST:
        return text
    text = text[:LONGEST]
    return f"{text[:-300]}{text[-300:].rpartition(' ')[0] or text[-300:]} …"


def redact(text: str) -> str:
    """The text without credentials: signatures in URLs, Authorization headers, passwords in URLs, keys and tokens."""
    text = cut(text)
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
    text = _REQUEST_ID.sub("", " ".join(redact(text).split()))
    return visible(text).rstrip(" ,")


def normalise(text: str) -> str:
    """What two messages about the same trouble have in common: the text without request ids, digests and numbers."""
    text = cut(text)
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text.strip()


def quoted(text: str) -> str:
    """The words of another program: on one line, without credentials, bounded, with control characters as text."""
    line = plain(text)
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]} …"


def error_text(error: BaseException) -> str:
    """The text of an exception, or only its type when the text may contain credentials.

    Errors about a kubeconfig can quote whole sections of it.
    """
    text = redact(str(error).splitlines()[0]) if str(error) else type(error).__name__
    return text if len(text) <= 300 and "token" not in text.lower() else type(error).__name__
