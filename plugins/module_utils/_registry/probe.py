# SPDX-License-Identifier: GPL-3.0-or-later
"""What one HTTP answer of the registry proves about its storage.

Even with broken storage, ``/v2/`` answers 200 (or 401, where a login is required) until the registry has checked its
storage for the first time, one health interval after it started. ``/v2/NAME/tags/list`` of a repository that does not
exist reads the storage at once, and its error quotes the storage. Answers of the API server in between prove nothing.
Only an upload shows that the storage can be written: storage that is full or read-only still answers reads.

Source: registry over HTTP 2 to 7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import decoded
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import plain

_CHECK_TAKES = 1.0
"""Seconds that the registry's first check may take."""
_LONGEST_DETAIL = 600
_UPLOAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=~-]{0,255}")
"""Name of an upload: one plain segment of a path."""

JSON = Mapping[str, Any]


class Answer(Enum):
    """What one probe of the registry proves."""

    SERVES = "serves"
    BROKEN = "broken"
    TOO_EARLY = "too early"
    FORBIDDEN = "forbidden"
    REFUSED = "upload refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Probe:
    """One answer of the registry through the API server's proxy. at: monotonic seconds."""

    answer: Answer
    via: str
    status: int
    at: float
    detail: str = ""


def read_probe(
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
    via: str,
    container_age_seconds: float | None,
    health_interval_seconds: float,
    at: float,
) -> Probe:
    """Turn the answer to ``GET path`` (``/v2/`` or ``/v2/NAME/tags/list``) through the API server into evidence.

    status: HTTP status, or 0 when there was no answer (``body`` is then the reason). via: what was asked, for messages.
    container_age_seconds: how long the container had been running when it answered; None when unknown.
    at: monotonic seconds.
    """
    text, content, errors = _read(status, headers, body)
    if errors is not None:
        checked = container_age_seconds is not None and container_age_seconds >= health_interval_seconds + _CHECK_TAKES
        answer, detail = _registry_answer(path, status, errors, checked)
    else:
        answer, detail = _foreign_answer(status, content, text)
    return Probe(answer, via, status, at, plain(detail)[:_LONGEST_DETAIL])


def read_upload(step: str, status: int, headers: Mapping[str, str], body: bytes | str, via: str, at: float) -> Probe:
    """Turn the answer to one step of an upload into evidence, as read_probe does.

    step: what was attempted, for messages ("beginning an upload").
    """
    text, content, errors = _read(status, headers, body)
    if errors is None:
        answer, detail = _foreign_answer(status, content, text)
    else:
        reasons = "; ".join(_error(error) for error in errors)
        detail = f"{step}: {reasons or f'the registry answered {status} without a reason'}"
        if status in (201, 202, 204):
            answer, detail = Answer.SERVES, ""
        elif status >= 500:
            answer = Answer.BROKEN
        elif status == 429:
            answer = Answer.UNREACHABLE  # too many requests at the moment, so worth another attempt
        else:
            answer = Answer.REFUSED
    return Probe(answer, via, status, at, plain(detail)[:_LONGEST_DETAIL])


def upload_place(begin: str, headers: Mapping[str, str]) -> str:
    """The path and query at which an upload that began at ``begin`` continues; empty when the answer names none.

    A proxy in between may have prepended a host or a path. Of what the registry says, only the upload's own name and
    state are used: anything else could lead the next request, which carries our credentials, to another object.
    """
    location = next((text for name, text in headers.items() if name.lower() == "location"), "")
    try:
        split = urlsplit(location)
    except ValueError:
        return ""
    name = split.path.partition(begin)[2]
    if _UPLOAD.fullmatch(name) is None:
        return ""
    state = parse_qs(split.query).get("_state")
    return f"{begin}{name}?{urlencode({'_state': state[0]})}" if state else f"{begin}{name}"


def _read(status: int, headers: Mapping[str, str], body: bytes | str) -> tuple[str, JSON, list[Any] | None]:
    """The body as text and as an object, and the registry's errors; None when it was not the registry that answered."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    content = _decoded(text)
    errors = content.get("errors")
    if not status or not (isinstance(errors, list) or _has(headers, "docker-distribution-api-version")):
        return text, content, None
    return text, content, errors if isinstance(errors, list) else []


def _registry_answer(path: str, status: int, errors: list[Any], checked: bool) -> tuple[Answer, str]:
    reasons = "; ".join(_error(error) for error in errors)
    codes = [error.get("code") for error in errors if isinstance(error, Mapping)]
    reads_storage = path.rstrip("/").endswith("/tags/list")
    if status >= 500:
        return Answer.BROKEN, reasons or f"the registry answered {status} without a reason"
    if reads_storage and (status == 200 or (status == 404 and "NAME_UNKNOWN" in codes)):
        return Answer.SERVES, ""
    if status in (200, 401, 403):
        if checked:
            return Answer.SERVES, ""
        login = "" if status == 200 else " and requires a login"
        return Answer.TOO_EARLY, f"the registry answers{login}; it has not checked its storage yet"
    if status == 429:
        return Answer.TOO_EARLY, f"the registry rejects requests: {reasons or 'too many requests'}"
    return Answer.UNREACHABLE, f"the registry gave an inconclusive answer: {status} {reasons}"


def _foreign_answer(status: int, content: JSON, text: str) -> tuple[Answer, str]:
    if content.get("kind") == "Status":
        reason = str(content.get("message") or content.get("reason") or status)
        if status == 403:
            return Answer.FORBIDDEN, reason
        return Answer.UNREACHABLE, f"the API server answered {status}: {reason}"
    if status == 403:
        return Answer.FORBIDDEN, text or "403 without a reason"
    if "HTTP request to an HTTPS server" in text:
        return Answer.UNREACHABLE, f"{status}: the registry speaks HTTPS, but the request was plain HTTP"
    if not status:
        return Answer.UNREACHABLE, text or "no answer"
    return Answer.UNREACHABLE, f"{status}: this is not a registry's answer: {text or 'empty'}"


def _error(error: object) -> str:
    """Code and cause of one entry in a registry's list of errors; the storage's own words where it has them."""
    if not isinstance(error, Mapping):
        return str(error)
    detail = error.get("detail")
    if isinstance(detail, Mapping):
        driver, inner = detail.get("driver") or detail.get("DriverName"), detail.get("detail") or detail.get("Detail")
        detail = f"{driver}: {inner}" if driver and inner else inner or json.dumps(detail, sort_keys=True)
    message = detail if detail else error.get("message")
    return f"{error.get('code', 'UNKNOWN')}: {message}" if message else str(error.get("code", "UNKNOWN"))


def _decoded(text: str) -> dict[str, Any]:
    content = decoded(text)
    return content if isinstance(content, dict) else {}


def _has(headers: Mapping[str, str], name: str) -> bool:
    return any(key.lower() == name for key in headers)
