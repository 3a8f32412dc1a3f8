# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 7386 merge patches that hold only what differs, and what an object becomes by them.

A desired state is written like a merge patch: members that are not named are not owned and stay as they are, ``None``
means "must be absent". Some fields are owned as a whole once they are named (ATOMIC): what the wish leaves out must go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    Kind,
    Path,
    canonical,
    kind_of,
    same,
)

ATOMIC: frozenset[Path] = frozenset(
    {("resources",), ("nodeSelector",), ("affinity",), ("requests", "read"), ("requests", "write")}
)
"""Objects that a wish describes completely, as the API declares for most of them (operator fact 1.3)."""


def diff(desired: Mapping[str, Any], live: Mapping[str, Any], path: Path = ()) -> dict[str, Any]:
    """The merge patch that makes ``live`` satisfy ``desired``; empty when it already does.

    ``path`` is where both stand, relative to ``spec``. ``None`` appears only for keys that ``live`` has.
    Raises ValueError when ``desired`` holds a value its field cannot hold.
    """
    patch: dict[str, Any] = {}
    for key, wish in desired.items():
        here = (*path, key)
        current = live.get(key)
        if isinstance(wish, Mapping) and not _owned_as_a_whole(here):
            if isinstance(current, Mapping):
                inner = diff(wish, current, here)
                if inner:
                    patch[key] = inner
                continue
        elif isinstance(wish, Mapping) and isinstance(current, Mapping):
            replacement = _replacement(wish, current, here)
            if replacement is not _SAME:
                patch[key] = replacement
            continue
        value = _without_nulls(wish)
        if same(here, value, current):
            continue
        # Empty text and empty containers mean "absent", but a field's pattern may refuse them: say it with null.
        hollow = value is None or value == "" or isinstance(value, (dict, list))
        empty = hollow and canonical(here, value) is None
        patch[key] = None if empty else value
    return patch


_SAME = object()


def _owned_as_a_whole(path: Path) -> bool:
    return any(path[: len(owner)] == owner for owner in ATOMIC)


def _replacement(wish: Mapping[str, Any], current: Mapping[str, Any], path: Path) -> object:
    """Patch that turns ``current`` into exactly ``wish``, None to drop it, or _SAME."""
    wanted = _without_nulls(wish)
    if same(path, wanted, current):
        return _SAME
    if not wanted and kind_of(path) is not Kind.PRESENCE:
        return None
    stale = {key: None for key in current if key not in wanted}
    return diff({**stale, **wanted}, current, path)


def _without_nulls(value: Any) -> Any:
    """The value a merge patch creates where nothing was: the same without its nulls."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(item) for item in value]
    return value


def apply(patch: Mapping[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an API server makes of ``live`` when it receives ``patch`` (RFC 7386, section 2). Neither is changed."""
    result = dict(live) if live is not None else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            current = result.get(key)
            result[key] = apply(value, current if isinstance(current, Mapping) else None)
        else:
            result[key] = value
    return result


def owned(desired: Mapping[str, Any], live: Mapping[str, Any], path: Path = ()) -> dict[str, Any]:
    """The part of ``live`` that ``desired`` speaks about, as it is written there; for showing before and after."""
    part: dict[str, Any] = {}
    for key, wish in desired.items():
        if key not in live:
            continue
        here, current = (*path, key), live[key]
        if isinstance(wish, Mapping) and isinstance(current, Mapping) and not _owned_as_a_whole(here):
            inner = owned(wish, current, here)
            if inner or kind_of(here) is Kind.PRESENCE:
                part[key] = inner
        else:
            part[key] = current
    return part


def names(patch: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields a patch touches, for messages: ``["replicas", "storage.s3.bucket"]``."""
    found: list[str] = []
    for key, value in patch.items():
        if isinstance(value, Mapping) and value:
            found += names(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}")
    return sorted(found)
