# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds trouble in the registry's own log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import decoded
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import normalise, plain
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import storage_trouble

_LOGFMT = re.compile(r'(?<![\w.])(?P<key>[A-Za-z_][\w.]*)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S*))')
_ACCESS = re.compile(
    r'^\S+ \S+ \S+ \[[^\]]+\] "(?P<method>[A-Z]+) (?P<path>/v2/\S*) HTTP/[0-9.]+" (?P<status>[0-9]{3}) '
)
_MESSAGE_FIELDS = ("msg", "err.message", "err.detail", "error", "err")
_QUIET_LEVELS = frozenset({"trace", "debug", "info"})
LONGEST_LINE = 600
"""Characters of a line that are shown."""
_LONGEST_READ = 16_384
"""Characters of a line that are looked at."""
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class LogFinding:
    """A classified line of the registry's log, already redacted. kind: "auth", "bucket", "full", …"""

    kind: str
    line: str
    pod: str


def classify(lines: Iterable[str], pod: str = "") -> list[LogFinding]:
    """The lines of a registry's log that report trouble with its storage, limits or configuration.

    Each trouble is listed once, without credentials. With a wrong key, a missing bucket or an unknown CA, the log
    contains no cause, only answers of 503; these are listed as "health".
    """
    findings: dict[tuple[str, str], LogFinding] = {}
    for line in lines:
        message = _message(line[:_LONGEST_READ].strip())
        if not message:
            continue
        found = storage_trouble(message)
        kind = found.kind if found is not None else ("crash" if message.startswith("panic:") else "")
        if kind:
            text = plain(message)[:LONGEST_LINE]
            findings.setdefault((kind, normalise(text)), LogFinding(kind, text, pod))
    return list(findings.values())


def _message(line: str) -> str:
    """The registry's own words in a line, without what clients choose (address, path, user agent); "" if harmless."""
    access = _ACCESS.match(line)
    if access:
        if access["status"] != "503":
            return ""
        return f"{access['method']} answered 503: health check failed"
    fields = _fields(line)
    if not fields:
        return line
    if fields.get("level", "error").lower() in _QUIET_LEVELS:
        return ""
    return ": ".join(dict.fromkeys(fields[name] for name in _MESSAGE_FIELDS if fields.get(name)))


def _fields(line: str) -> dict[str, str]:
    """The fields of a structured line (key=value or JSON); empty for other lines."""
    if line.startswith("{"):
        content = decoded(line)
        if isinstance(content, dict) and ("msg" in content or "level" in content):
            return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
        return {}
    if not line.startswith(("time=", "level=")):
        return {}
    return {
        match["key"]: _unquoted(match["quoted"]) if match["quoted"] is not None else match["bare"]
        for match in _LOGFMT.finditer(line)
    }


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), text)
