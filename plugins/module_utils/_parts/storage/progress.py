# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still missing on the way from Config to a rollout that is complete. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN, Verdict, not_observed
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import Rollout
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    being_deleted,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import old_pods, terminating_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.answers import judge_answers
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import ELSEWHERE, Case, count
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import storage_location

NO_ROLLOUT = 1.0
"""From when the operator has seen a change until a Deployment that stayed the same counts as the answer to it."""
NO_RENEWAL = 8.0
"""How long a contented operator leaves the Deployment alone until it is taken to have nothing to renew."""


def judge_serving(case: Case) -> Verdict:
    where = storage_location(case.spec, case.goal.backend) if case.goal.backend else "the change"
    if not case.fresh:
        if case.claim_appeared:
            return case.waiting("the operator has not noticed yet that the claim exists")
        return case.waiting(not_observed(case.generation, case.observed).why)
    if case.claim_appeared and case.progressing.reason == "Error":
        return case.waiting("the claim exists now; the operator has not noticed yet, it looks with growing pauses")
    case.signs.hold("fresh")
    missing = _not_accepted(case)
    if missing:
        return case.waiting(f"the operator has not accepted {where} yet: {missing}")
    accepted = f"Config accepted {where}"
    _await_renewal(case)
    missing = _not_rolled_out(case)
    if missing:
        return case.waiting(f"{accepted}; {missing}{case.claim_note}")
    missing = _unready_condition(case)
    if missing:
        return case.waiting(f"{accepted}; rollout complete, but the operator says {missing}")
    # The operator has seen a change, but this Deployment is older than our first look: what the operator writes to
    # it may reach us later than what it writes to Config.
    unchanged = case.signs.kept("moved") and case.signs.kept(case.deployment_edition)
    if unchanged and case.signs.now - case.signs.hold("fresh") < NO_ROLLOUT:
        return case.waiting(f"{accepted}; seeing if the Deployment follows")
    missing = _pods_left(case) or case.claim_note
    if missing:
        return case.waiting(f"{accepted}; rollout complete, {missing.lstrip(', ')}")
    return judge_answers(case, accepted, where)


def _not_accepted(case: Case) -> str:
    """What shows that the operator has not taken the backend; status.storage is what it accepted last."""
    backend = case.goal.backend
    if backend is None:
        return ""
    accepted = mapping_at(case.config, "status", "storage")
    if not isinstance(accepted.get(backend), Mapping):
        found = ", ".join(key for key in accepted if key != "managementState")
        return f"it still uses {found}" if found else "it uses no storage"
    wish = mapping_at(case.goal.spec, "storage").get(backend)
    wanted = wish if isinstance(wish, Mapping) and wish else mapping_at(case.spec, "storage", backend)
    differing = diff({backend: wanted}, {backend: accepted[backend]}, ("storage",))
    return f"it still uses other values of {', '.join(names(differing))}" if differing else ""


def _not_rolled_out(case: Case) -> str:
    if case.snapshot.deployment is UNSEEN:
        return "the Deployment has not been read yet"
    if not case.deployment:
        return "the Deployment does not exist yet"
    if being_deleted(case.deployment):
        return "the Deployment is being deleted"
    if case.stale:
        return f"the Deployment is still the one before ({case.stale})"
    if not case.ours:
        return "the Deployment has not been renewed for the changed credentials or certificates yet"
    state = case.rollout
    return "" if state.complete else _progress(state, case.terminating)


def _await_renewal(case: Case) -> None:
    """Give up waiting for Pods to be renewed when they may have nothing to be renewed for."""
    may_wait = case.goal.renewal_may_not_come and case.deployment and not case.stale and not case.ours
    if may_wait and case.signs.now - case.signs.hold("unrenewed") >= NO_RENEWAL:
        case.signs.keep("no renewal")


def _unready_condition(case: Case) -> str:
    """Which of the operator's conditions is not what a running registry has."""
    for said, status in ((case.available, "True"), (case.progressing, "False")):
        if (said.status, said.reason) != (status, "Ready"):
            return said.text
    return case.degraded.text if case.degraded.true and case.degraded.reason not in ELSEWHERE else ""


def _pods_left(case: Case) -> str:
    if not isinstance(case.snapshot.pods, tuple):
        return ""
    running, leaving = len(old_pods(case.snapshot.pods)), len(terminating_pods(case.snapshot.pods))
    if running:
        return f"{count(running, 'old Pod')} still running"
    return f"{count(leaving, 'old Pod')} terminating" if leaving else ""


def _progress(state: Rollout, leaving: int) -> str:
    if not state.observed:
        return "the Deployment has just been changed"
    parts = [f"rollout {state.updated}/{state.wanted} updated"]
    if state.updated:
        parts.append(f"{min(state.available, state.wanted)}/{state.wanted} available")
    left = state.total - state.updated
    if left > 0:
        parts.append(f"{count(left, 'old Pod')} running")
    if leaving:
        parts.append(f"{count(leaving, 'old Pod')} terminating")
    elif not state.updated and not state.total:
        parts.append("old Pods terminating")
    if len(parts) == 2 and state.updated == state.available == state.wanted:
        parts.append(f"Kubernetes says {state.reason or 'nothing'}")
    return ", ".join(parts)
