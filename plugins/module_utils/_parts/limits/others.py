# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the same namespaces in objects of somebody else: the smallest maximum counts (operator fact 6.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import mapping_at, mappings_at
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    JSON,
    below,
    reduced,
    some,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    QUOTA,
    LimitsIntent,
)


def keeper(intent: LimitsIntent, kind: str) -> Callable[[JSON], JSON]:
    """What is kept of each object of this kind; the same function for the same intent, so that one list serves all."""
    return _keeper(intent.object_name(kind), kind, frozenset(intent.hard if kind == QUOTA else intent.limits))


@lru_cache(maxsize=256)
def _keeper(ours: str, kind: str, wanted: frozenset[str]) -> Callable[[JSON], JSON]:
    def keep(item: JSON) -> JSON:
        """Our object, or of another one its name and what it says about the same keys or types."""
        meta = mapping_at(item, "metadata")
        if meta.get("name") == ours:
            return reduced(item)
        about = {"namespace": meta.get("namespace"), "name": meta.get("name")}
        if kind == QUOTA:
            hard = mapping_at(item, "spec", "hard")
            spec: JSON = {"hard": {key: hard[key] for key in hard if key in wanted}}
        else:
            entries = [entry for entry in mappings_at(item, "spec", "limits") if entry.get("type") in wanted]
            spec = {"limits": [{"type": entry["type"], "max": mapping_at(entry, "max")} for entry in entries]}
        return {"metadata": about, "spec": spec} if next(iter(spec.values())) else {"metadata": about}

    return keep


def stricter(intent: LimitsIntent, items: Mapping[str, tuple[JSON, ...]], namespaces: frozenset[str]) -> str:
    """A warning that names what limits more than asked for; empty when nothing does. items: what was read, by kind."""
    lines = [line for kind in intent.kinds for line in _lines(intent, kind, items.get(kind, ()), namespaces)]
    if not lines:
        return ""
    return f"Other objects of these namespaces limit more, and the smallest maximum counts: {some(sorted(lines))}"


def _lines(intent: LimitsIntent, kind: str, items: tuple[JSON, ...], namespaces: frozenset[str]) -> Iterator[str]:
    for item in items:
        meta = mapping_at(item, "metadata")
        namespace, name = meta.get("namespace"), meta.get("name")
        if namespace not in namespaces or name == intent.object_name(kind):
            continue
        for place, theirs, wanted in _maxima(intent, kind, item):
            for key, value in wanted.items():
                if key in theirs and below(theirs[key], value):
                    yield f"{namespace}: {kind} {name} has {place}{key} {theirs[key]}, not {value}."


def _maxima(intent: LimitsIntent, kind: str, item: JSON) -> Iterator[tuple[str, JSON, Mapping[str, str]]]:
    """(where, the object's maxima, ours)."""
    if kind == QUOTA:
        yield "", mapping_at(item, "spec", "hard"), intent.hard
    else:
        for entry in mappings_at(item, "spec", "limits"):
            place = str(entry.get("type"))
            if place in intent.limits:
                yield f"{place} ", mapping_at(entry, "max"), intent.limits[place]
