# SPDX-License-Identifier: GPL-3.0-or-later
"""Which limits namespaces must have, and what of the cluster that depends on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Write
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Need, Snapshot
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    QUOTA,
    RANGE,
    LimitsIntent,
)

JSON = Mapping[str, Any]

OWNER_LABEL = "app.kubernetes.io/managed-by"
OWNER = "alauda.image_registry"
"""Marks what this collection created: without adopt, state: absent removes nothing else."""

RESOURCE = {QUOTA: "resourcequotas", RANGE: "limitranges"}
FEW = 2
"""Up to this many namespaces are read one by one, which needs no right to list in the whole cluster."""
NAMED = 10
"""How many namespaces a message names; of the rest it gives the number."""


class LimitsNeed(Need):
    """Evidence that the judge of limits asks for."""

    NAMESPACES = "namespaces"


@dataclass(frozen=True)
class Step:
    """What one object of one namespace needs. action: created, updated, deleted, unchanged, absent or kept.

    finding: why it must not be written. withheld: what would have been; shows how the object differs.
    """

    namespace: str
    kind: str
    action: str
    write: Write | None = None
    finding: str = ""
    withheld: Write | None = None
    warning: str = ""


@dataclass(frozen=True)
class LimitsGoal:
    """What must be true. namespaces: all that were selected. failed: those with an object that could not be written."""

    intent: LimitsIntent
    namespaces: tuple[str, ...]
    steps: tuple[Step, ...]
    failed: frozenset[str] = frozenset()

    @property
    def checked(self) -> list[str]:
        """The namespaces whose limits can be proven."""
        return [name for name in self.namespaces if name not in self.failed]


@dataclass(frozen=True)
class LimitsSnapshot(Snapshot):
    """What the cluster showed at one moment: our objects by kind and namespace, reduced to what decisions need.

    before: since when (monotonic seconds) and with how many namespaces that hold the limits the task has been waiting.
    ending: whether a namespace, looked at because an object had vanished from it, is being deleted or gone.
    """

    live: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict)
    before: tuple[float, int] | None = None
    ending: Mapping[str, bool] = field(default_factory=dict)

    def of(self, namespace: str) -> tuple[JSON | None, JSON | None]:
        """The namespace's ResourceQuota and LimitRange."""
        return self.live.get(QUOTA, {}).get(namespace), self.live.get(RANGE, {}).get(namespace)


def collections(intent: LimitsIntent, namespaces: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(kind, namespace, path) of what to read and follow: in each of a few namespaces, or ("") in the whole cluster."""
    few = len(namespaces) <= FEW
    return [
        (kind, namespace, namespaced(namespace, RESOURCE[kind]) if namespace else f"/api/v1/{RESOURCE[kind]}")
        for kind in intent.kinds
        for namespace in (namespaces if few else ("",))
    ]


def reduced(item: JSON) -> JSON:
    """An object without managedFields and annotations, which are most of a small one."""
    keep = ("namespace", "name", "resourceVersion", "deletionTimestamp", "labels")
    return {
        "metadata": {key: item["metadata"][key] for key in keep if key in item["metadata"]},
        "spec": item.get("spec") or {},
        "status": item.get("status") or {},
    }


def equal(wanted: str, live: object) -> bool:
    """Whether two quantities are the same amount; what is absent or unreadable equals nothing."""
    if live is None:
        return False
    try:
        return amount(wanted) == amount(str(live))
    except ValueError:
        return False


def below(one: object, other: object) -> bool:
    """Whether a quantity is the smaller amount; what is unreadable is neither smaller nor larger."""
    try:
        return amount(str(one)) < amount(str(other))
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def amount(text: str) -> Decimal:
    """parse_quantity with a cache: a thousand namespaces hold the same few texts."""
    return parse_quantity(text)


def some(lines: list[str]) -> str:
    """The first few lines as one text, and how many more there are."""
    more = len(lines) - NAMED
    return " ".join(lines[:NAMED]) + (f" … and {more} more." if more > 0 else "")
