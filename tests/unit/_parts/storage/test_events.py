# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events explain a timeout."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.events import SHOWN, telling_events
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    StorageGoal,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA

GOAL = StorageGoal({}, 3, claim="images", changed_at="2026-01-01T12:00:00Z")


def pod(uid: str, template: str = "new", created: str = "2026-01-01T12:00:01Z", ready: str = "False") -> dict[str, Any]:
    """A Pod of the registry."""
    return {
        "metadata": {
            "name": f"image-registry-{template}-{uid}",
            "uid": uid,
            "creationTimestamp": created,
            "labels": {"pod-template-hash": template},
        },
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def event(kind: str = "Pod", uid: str = "a", name: str = "image-registry-new-a", **other: Any) -> dict[str, Any]:
    """A warning, from a second after the change."""
    about = {"kind": kind, "name": name, "uid": uid}
    item = {"involvedObject": about, "reason": "Failed", "message": "no", "lastTimestamp": "2026-01-01T12:00:01Z"}
    return {**item, **other}


PODS = (pod("a"), pod("old", "old", "2026-01-01T11:00:00Z"), pod("fine", ready="True"))


@pytest.mark.parametrize(
    ("item", "named"),
    [
        (event(), True),
        (event(lastTimestamp="2026-01-01T11:59:59Z"), False),
        (event(lastTimestamp="2026-01-01T12:00:00Z"), True),
        (event(lastTimestamp=None, eventTime="2026-01-01T12:00:00.123456Z"), True),
        (event(lastTimestamp=None, eventTime="2026-01-01T11:00:00.1Z"), False),
        (event(lastTimestamp=None, series={"lastObservedTime": "2026-01-01T12:00:09.1Z"}), True),
        (event(uid="old", name="image-registry-old-old"), False),
        (event(uid="fine"), False),
        (event(uid="of a Pod of the same name that is gone"), False),
        (event("ReplicaSet", "r", "image-registry-new"), True),
        (event("ReplicaSet", "r", "image-registry-new", lastTimestamp="2026-01-01T11:59:59Z"), False),
        (event("Deployment", "d", "image-registry"), True),
        (event("Deployment", "d", "image-registrar"), False),
        (event("PersistentVolumeClaim", "c", "images"), True),
        (event("PersistentVolumeClaim", "c", "others"), False),
    ],
)
def test_only_what_happens_to_these_pods_after_the_change(item: dict[str, Any], named: bool) -> None:
    """A trouble that is over explains nothing."""
    lines = telling_events([item], ALAUDA, GOAL, StorageSnapshot(at=0.0, pods=PODS))
    about = item["involvedObject"]
    assert lines == ([f"{about['kind']}/{about['name']}: Failed: no"] if named else [])


def test_without_a_view_of_the_pods_their_names_and_the_time_decide() -> None:
    snapshot = StorageSnapshot(at=0.0, pods=UNSEEN)
    assert telling_events([event(uid="any")], ALAUDA, GOAL, snapshot)
    assert not telling_events([event(lastTimestamp="2026-01-01T11:00:00Z")], ALAUDA, GOAL, snapshot)
    assert not telling_events([event(name="image-api-server-1")], ALAUDA, GOAL, snapshot)


def test_the_newest_few_are_shown_once_each_and_harmless() -> None:
    """Anybody may create events: they are bounded and hold no control characters."""
    items = [
        event(message=f"\x1b[2J{number}" + "x" * 10_000, lastTimestamp=f"2026-01-01T12:00:{10 + number}Z")
        for number in (3, 1, 2, 5, 4, 6, 6)
    ]
    lines = telling_events(items, ALAUDA, GOAL, StorageSnapshot(at=0.0, pods=PODS))
    assert [line.partition("[2J")[2][:1] for line in lines] == ["2", "3", "4", "5", "6"]
    assert len(lines) == SHOWN
    assert all(line.isprintable() and len(line) < 600 for line in lines)
