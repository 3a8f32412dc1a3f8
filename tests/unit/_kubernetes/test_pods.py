# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Pods are a Deployment's own, and which of them are new, old or on their way out."""

from __future__ import annotations

from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import (
    newest_pods,
    old_pods,
    owned_pods,
    staying_pods,
    terminating_pods,
)

DEPLOYMENT = {"metadata": {"name": "image-registry"}}


def pod(
    name: str, template: str = "new", created: str = "2026-11-22T10:00:10Z", owner: str = "", **status: Any
) -> dict[str, Any]:
    """A running Pod; owner: the ReplicaSet that made it."""
    references = [{"kind": "ReplicaSet", "name": owner, "controller": True}] if owner else []
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {"pod-template-hash": template},
            "ownerReferences": references,
        },
        "status": {"phase": "Running", **status},
    }


def deleted(which: dict[str, Any]) -> dict[str, Any]:
    """The same Pod, deleted but not gone yet."""
    return {**which, "metadata": {**which["metadata"], "deletionTimestamp": "2026-11-22T10:00:11Z"}}


def test_pods_of_other_owners_prove_nothing() -> None:
    """Same labels, another owner: neither old nor new Pods of the registry."""
    ours = pod("ours", owner="image-registry-new")
    others = (
        pod("bare", created="2026-11-22T11:00:00Z"),
        pod("alien", owner="alien-new"),
        pod("copy", owner="image-registry-copy-new"),
    )
    assert owned_pods((ours, *others), DEPLOYMENT) == (ours,)


def test_each_pod_is_new_old_terminating_or_ended() -> None:
    """The youngest Pod that is not terminating shows the newest template; a terminating one may be younger."""
    new, other, old = pod("a"), pod("b", created="2026"), pod("c", "old", "2026-11-22T09:00:00Z")
    leaving, ended = deleted(pod("d", "gone", "2026-11-22T11:00:00Z")), pod("e", "old", phase="Failed")
    pods = (new, other, old, leaving, ended)
    assert newest_pods(pods) == [new, other]
    assert old_pods(pods) == [old]
    assert terminating_pods(pods) == [leaving]
    assert staying_pods(pods) == [new, other, old]
    assert newest_pods((ended,)) == old_pods((ended,)) == []
