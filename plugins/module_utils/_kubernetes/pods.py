# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Pods belong to a Deployment, and which of them are old, new or on their way out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    NOTHING,
    being_deleted,
    mapping_at,
    mappings_at,
)

_HASH = "pod-template-hash"


def owned_pods(pods: Iterable[JSON], deployment: JSON) -> tuple[JSON, ...]:
    """The Pods that the Deployment's ReplicaSets made: others may carry the same labels, and prove nothing."""
    name = mapping_at(deployment, "metadata").get("name")
    return tuple(pod for pod in pods if _made_by(pod, f"{name}-{_template(pod)}"))


def _made_by(pod: JSON, replica_set: str) -> bool:
    owners = mappings_at(pod, "metadata", "ownerReferences")
    return any((owner.get("kind"), owner.get("name")) == ("ReplicaSet", replica_set) for owner in owners)


def _template(pod: JSON) -> object:
    """The mark of the template that the Pod was made from."""
    return mapping_at(pod, "metadata", "labels").get(_HASH)


def unfinished_pods(pods: Iterable[JSON]) -> list[JSON]:
    """Pods that have not ended (evicted and finished ones stay listed but serve nothing)."""
    return [pod for pod in pods if mapping_at(pod, "status").get("phase") not in ("Succeeded", "Failed")]


def staying_pods(pods: Iterable[JSON]) -> list[JSON]:
    """Pods that serve, or will: neither ended nor terminating."""
    return [pod for pod in unfinished_pods(pods) if not being_deleted(pod)]


def newest_pods(pods: Iterable[JSON]) -> list[JSON]:
    """The staying Pods of the newest template: those made from the same one as the youngest Pod."""
    staying = staying_pods(pods)
    return [pod for pod in staying if _template(pod) == _newest_template(staying)]


def old_pods(pods: Iterable[JSON]) -> list[JSON]:
    """The staying Pods of older templates."""
    staying = staying_pods(pods)
    return [pod for pod in staying if _template(pod) != _newest_template(staying)]


def _newest_template(pods: list[JSON]) -> object:
    return _template(max(pods, key=lambda pod: str(mapping_at(pod, "metadata").get("creationTimestamp") or "")))


def terminating_pods(pods: Iterable[JSON]) -> list[JSON]:
    """Pods of any template that are being deleted and still run."""
    return [pod for pod in unfinished_pods(pods) if being_deleted(pod)]


def container_status(pod: JSON, name: str) -> JSON:
    """The status of the container ``name``; empty when there is none."""
    statuses = mappings_at(pod, "status", "containerStatuses")
    return next((entry for entry in statuses if entry.get("name") == name), NOTHING)


def pod_name(pod: JSON) -> str:
    """The Pod's name."""
    return str(mapping_at(pod, "metadata").get("name") or "?")
