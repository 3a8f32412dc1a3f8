# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part wants to read, what it found wrong and what it wants to write, as values.

A part is two pure functions: ``needs`` names the objects it must see, ``plan`` turns them into a Plan. Reading and
writing happen in ``_reconcile`` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import JSON


@dataclass(frozen=True)
class Ref:
    """One thing to read: an object, or a whole collection.

    required: a 403 ends the run; otherwise the check that needs it is skipped with a warning.
    """

    label: str
    path: str
    collection: bool = False
    required: bool = False


@dataclass(frozen=True)
class Denied:
    """In place of an object that we are not allowed to read. message: the API server's refusal."""

    message: str


Reading = Union[JSON, tuple[JSON, ...], Denied, None]
"""An object, a collection's items, a refusal, or None for an object that does not exist."""

Readings = Mapping[str, Reading]


@dataclass(frozen=True)
class Write:
    """One request that changes something. before/after: owned fields only, secrets as fingerprints.

    label: the reading that the answer takes the place of, when the judge looks at it.
    """

    verb: str
    path: str
    body: JSON
    kind: str
    name: str
    before: JSON
    after: JSON
    label: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be done. findings: reasons not to write anything. left_behind: data that stays where it was.

    goal: what must then be true, in the form the part's own watcher takes. checks: requests that stay dry runs.
    values: more for the task's result.
    """

    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    goal: Any = None
    claim: str | None = None
    left_behind: tuple[str, ...] = ()
    verify: bool = True
    checks: tuple[Write, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(text: str) -> str:
    """A short, stable mark of a secret: tells whether it changed, not what it is."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:12]


def named(items: Reading, name: str) -> JSON | None:
    """The object of that name in a collection that was read."""
    if isinstance(items, tuple):
        for item in items:
            if item.get("metadata", {}).get("name") == name:
                return item
    return None
