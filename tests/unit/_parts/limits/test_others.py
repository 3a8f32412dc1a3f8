# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of somebody else in the same namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import NAMED
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import QUOTA, RANGE
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.others import keeper, stricter
from tests.unit._parts.limits.situations import HARD, intent

ALL = frozenset({"team-a"})


def of(name: str, namespace: str = "team-a", **spec: Any) -> dict[str, Any]:
    """An object with annotations, which are not to be kept."""
    return {"metadata": {"name": name, "namespace": namespace, "annotations": {"x": "y" * 1000}}, "spec": spec}


def image(storage: str) -> list[dict[str, Any]]:
    """Entries of a LimitRange."""
    return [{"type": "Pod", "max": {"cpu": "1"}}, {"type": "alauda.io/Image", "max": {"storage": storage}}]


@pytest.mark.parametrize(
    ("kind", "item", "line"),
    [
        (RANGE, of("x", limits=image("1Mi")), "team-a: LimitRange x has alauda.io/Image storage 1Mi, not 1Gi."),
        (RANGE, of("x", limits=image("1024Mi")), ""),
        (RANGE, of("x", limits=image("2Gi")), ""),
        (RANGE, of("x", limits=image("much")), ""),
        (RANGE, of("x", "team-b", limits=image("1Mi")), ""),
        (RANGE, of("image-registry-limits", limits=image("1Mi")), ""),
        (QUOTA, of("x", hard={"alauda.io/images": "7"}), "team-a: ResourceQuota x has alauda.io/images 7, not 200."),
        (QUOTA, of("x", hard={"alauda.io/images": "0.2k", "pods": "1"}), ""),
        (QUOTA, of("image-registry-quota", hard={"alauda.io/images": "7"}), ""),
    ],
)
def test_the_smallest_maximum_counts(kind: str, item: dict[str, Any], line: str) -> None:
    """Our own object is corrected instead; what is equal or unreadable limits no more than ours."""
    kept = keeper(intent(), kind)(item)
    text = stricter(intent(), {kind: (kept,)}, ALL)
    assert text.endswith(line)
    assert bool(text) is bool(line)


def test_many_of_them_are_counted() -> None:
    items = tuple(of(f"x-{number:02}", limits=image("1Mi")) for number in range(NAMED + 3))
    text = stricter(intent(), {RANGE: items}, ALL)
    assert text.count("LimitRange x-") == NAMED
    assert text.endswith("… and 3 more.")


def test_little_is_kept_of_what_is_not_ours() -> None:
    """A cluster may have thousands of them; the same function for every task, so that one list serves several parts."""
    assert keeper(intent(), QUOTA) is keeper(intent(), QUOTA)
    unrelated = keeper(intent(), QUOTA)(of("x", hard={"pods": "1"}))
    assert unrelated == {"metadata": {"name": "x", "namespace": "team-a"}}
    ours = keeper(intent(), QUOTA)(of("image-registry-quota", hard=HARD))
    assert ours["spec"] == {"hard": HARD}
    assert "annotations" not in ours["metadata"]
