# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still missing between Config and a complete rollout, each as a short phrase; empty when nothing is. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN, count
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import (
    Rollout,
    template_edition,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    being_deleted,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import old_pods, terminating_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import ELSEWHERE, Case
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.trusted_ca import UNRENEWED
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff


def not_accepted(case: Case) -> str:
    """What shows that the operator has not accepted the backend; status.storage is what it accepted last."""
    backend = case.goal.backend
    if backend is None:
        return ""
    accepted = mapping_at(case.config, "status", "storage")
    if not isinstance(accepted.get(backend), Mapping):
        found = ", ".join(key for key in accepted if key != "managementState")
        return f"it still uses {found}" if found else "it uses no storage"
    wanted = mapping_at(case.goal.spec, "storage", backend) or mapping_at(case.spec, "storage", backend)
    differing = diff({backend: wanted}, {backend: accepted[backend]}, ("storage",))
    return f"it still uses other values of {', '.join(names(differing))}" if differing else ""


def not_rolled_out(case: Case) -> str:
    """What the Deployment lacks of a rollout of our Config that is complete."""
    if case.snapshot.deployment is UNSEEN:
        return "the Deployment has not been read yet"
    if not case.deployment:
        return "the Deployment does not exist yet"
    if being_deleted(case.deployment):
        return "the Deployment is being deleted"
    if case.stale:
        return f"the Deployment is still the one before ({case.stale})"
    if not case.ours:
        return case.unrenewed
    state = case.rollout
    return "" if state.complete else _rollout_progress(state, case.terminating)


def await_renewal(case: Case) -> None:
    """End the wait for a renewal that need not come: the operator has noticed, and leaves the Deployment as it is."""
    renewal = case.goal.renewal
    if renewal is None or renewal.patience is None or not case.carried:
        return
    same = case.deployment and not case.stale and template_edition(case.deployment) == renewal.before
    if same and case.signs.lasted("unrenewed") >= renewal.patience:
        case.signs.keep("no renewal")
        if renewal.patience >= UNRENEWED:
            case.signs.keep("left alone")


def unready_condition(case: Case) -> str:
    """Which of the operator's conditions is not what a running registry has."""
    for reported, status in ((case.available, "True"), (case.progressing, "False")):
        if (reported.status, reported.reason) != (status, "Ready"):
            return reported.text
    return case.degraded.text if case.degraded.true and case.degraded.reason not in ELSEWHERE else ""


def pods_left(case: Case) -> str:
    """How many old Pods there still are."""
    if not isinstance(case.snapshot.pods, tuple):
        return ""
    running, terminating = len(old_pods(case.snapshot.pods)), len(terminating_pods(case.snapshot.pods))
    if running:
        return f"{count(running, 'old Pod')} still running"
    return f"{count(terminating, 'old Pod')} terminating" if terminating else ""


def _rollout_progress(state: Rollout, terminating: int) -> str:
    """A rollout that is under way, in numbers of Pods."""
    if not state.observed:
        return "the Deployment has just been changed"
    parts = [f"rollout {state.updated}/{state.wanted} updated"]
    if state.updated:
        parts.append(f"{min(state.available, state.wanted)}/{state.wanted} available")
    left = state.total - state.updated
    if left > 0:
        parts.append(f"{count(left, 'old Pod')} running")
    if terminating:
        parts.append(f"{count(terminating, 'old Pod')} terminating")
    elif not state.updated and not state.total:
        parts.append("old Pods terminating")
    if len(parts) == 2 and state.updated == state.available == state.wanted:
        parts.append(f"Kubernetes says {state.reason or 'nothing'}")
    return ", ".join(parts)
