# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a namespace's events help to explain why a rollout is not complete. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    condition,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import newest_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import quoted
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    StorageGoal,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

SHOWN = 5
_SECONDS = len("2026-01-01T00:00:00")
"""An event's time may have fractions of a second, that of a change has none."""


def telling_events(
    items: Iterable[JSON], platform: Platform, goal: StorageGoal, snapshot: StorageSnapshot
) -> list[str]:
    """Warnings about the Pods that should serve and do not, what makes them, and the claim, newest last.

    What happened before the change, to Pods of before or to Pods that are ready by now, is over.
    """
    lines: list[str] = []
    for item in sorted(items, key=_moment):
        if _moment(item)[:_SECONDS] < goal.changed_at[:_SECONDS] or not _concerns(item, platform, goal, snapshot):
            continue
        about = mapping_at(item, "involvedObject")
        line = quoted(f"{about.get('kind')}/{about.get('name')}: {item.get('reason')}: {item.get('message')}")
        if line not in lines:
            lines.append(line)
    return lines[-SHOWN:]


def _moment(event: JSON) -> str:
    """When it was last seen, as written."""
    series = mapping_at(event, "series").get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")


def _concerns(event: JSON, platform: Platform, goal: StorageGoal, snapshot: StorageSnapshot) -> bool:
    about = mapping_at(event, "involvedObject")
    kind, name = about.get("kind"), str(about.get("name") or "")
    if kind == "PersistentVolumeClaim":
        return name == goal.claim
    if kind == "Pod" and isinstance(snapshot.pods, tuple):
        missing = {
            mapping_at(pod, "metadata").get("uid")
            for pod in newest_pods(snapshot.pods)
            if not condition(pod, "Ready").true
        }
        return about.get("uid") in missing
    return name == platform.deployment or name.startswith(f"{platform.deployment}-")
