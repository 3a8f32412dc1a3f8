# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 7386 merge patches that contain only what differs, and what they make of an object.

A desired state is written like a merge patch: members it does not name are not owned and stay as they are, ``None``
means "must be absent". Atomic objects (``Fields.atomic``) are owned as a whole once they are named: members that the
desired state leaves out are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    Fields,
    Kind,
    Path,
    canonical,
    same,
)


def diff(fields: Fields, desired: Mapping[str, Any], live: Mapping[str, Any], path: Path = ()) -> dict[str, Any]:
    """The merge patch that makes ``live`` satisfy ``desired``; empty when it already does.

    path: where both are, relative to ``spec``. The patch contains ``None`` only for keys that ``live`` has.
    Raises ValueError when ``desired`` contains a value that its field cannot hold.
    """
    patch: dict[str, Any] = {}
    for key, wish in desired.items():
        here = (*path, key)
        current = live.get(key)
        if isinstance(wish, Mapping) and not _owned_as_a_whole(fields, here):
            if isinstance(current, Mapping):
                inner = diff(fields, wish, current, here)
                if inner:
                    patch[key] = inner
                continue
        elif isinstance(wish, Mapping) and isinstance(current, Mapping):
            replacement = _replacement(fields, wish, current, here)
            if replacement is not _SAME:
                patch[key] = replacement
            continue
        value = _without_nulls(wish)
        if same(fields, here, value, current):
            continue
        # Empty text and empty containers mean "absent", but a field's validation may reject them; null always works.
        hollow = value is None or value == "" or isinstance(value, (dict, list))
        empty = hollow and canonical(fields, here, value) is None
        patch[key] = None if empty else value
    return patch


_SAME = object()


def _owned_as_a_whole(fields: Fields, path: Path) -> bool:
    return any(path[: len(owner)] == owner for owner in fields.atomic)


def _replacement(fields: Fields, wish: Mapping[str, Any], current: Mapping[str, Any], path: Path) -> object:
    """The patch that turns ``current`` into exactly ``wish``; None removes it, _SAME leaves it alone."""
    wanted = _without_nulls(wish)
    if same(fields, path, wanted, current):
        return _SAME
    if not wanted and fields.kind_of(path) is not Kind.PRESENCE:
        return None
    stale = {key: None for key in current if key not in wanted}
    return diff(fields, {**stale, **wanted}, current, path)


def _without_nulls(value: Any) -> Any:
    """What a merge patch creates where nothing was: its value without the nulls."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(item) for item in value]
    return value


def apply(patch: Mapping[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an API server makes of ``live`` when it receives ``patch`` (RFC 7386, section 2). Neither is modified."""
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


def owned(fields: Fields, desired: Mapping[str, Any], live: Mapping[str, Any], path: Path = ()) -> dict[str, Any]:
    """The part of ``live`` that ``desired`` names, as it is written there; shown as before and after."""
    part: dict[str, Any] = {}
    for key, wish in desired.items():
        if key not in live:
            continue
        here, current = (*path, key), live[key]
        if isinstance(wish, Mapping) and isinstance(current, Mapping) and not _owned_as_a_whole(fields, here):
            inner = owned(fields, wish, current, here)
            if inner or fields.kind_of(here) is Kind.PRESENCE:
                part[key] = inner
        else:
            part[key] = current
    return part


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """One merge patch that does what both do; where they disagree, the second wins."""
    result = dict(first)
    for key, value in second.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = joined(before, value)
        result[key] = value
    return result


def names(patch: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields a patch touches, for messages: ``["replicas", "storage.s3.bucket"]``."""
    found: list[str] = []
    for key, value in patch.items():
        if isinstance(value, Mapping) and value:
            found += names(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}")
    return sorted(found)
