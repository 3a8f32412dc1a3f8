# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides from what was seen whether the goal is reached, still on its way, or will not be reached by itself.

Pure: no clock, no requests. Two rules stand above the others. *Done* needs evidence of every step from Config to an
answer of the registry, because single conditions lie: ``Available=True/Ready`` stays from the rollout before, and also
while the operator refuses the change (operator facts 3.3.1 to 3.3.9). *Failed* needs a sign that is about **our**
generation and that has stayed for a while, because errors come and go while the parts of a change arrive one by one.
"""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    History,
    Signs,
    Verdict,
    Waiting,
    count,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.answers import judge_answers
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import Case, short
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.growth import judge_growth
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.progress import (
    await_renewal,
    not_accepted,
    not_rolled_out,
    pods_left,
    unready_condition,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.troubles import troubles
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import storage_location

NO_ROLLOUT = 1.0
"""From when the operator has seen a change until a Deployment that stayed the same counts as the answer to it."""


def judge(goal: StorageGoal, snapshot: StorageSnapshot, history: History) -> tuple[Verdict, History]:
    """The verdict on one snapshot, and what to remember for the next one (an empty History at first)."""
    signs = Signs(history, snapshot.at)
    verdict = _verdict(Case(goal, snapshot, signs))
    return verdict, signs.history()


def _verdict(case: Case) -> Verdict:
    """What speaks against the goal comes first; only then what is still missing."""
    if case.snapshot.config is UNSEEN:
        return Waiting("Config has not been read yet")
    if case.config and case.generation < case.min_generation:
        return Waiting(f"Config is read from before the change (generation {case.generation})")
    found = list(troubles(case))
    case.remember_first_look()
    case.remember_creation()
    for trouble in found:
        if case.signs.now - case.signs.hold(trouble.sign) >= trouble.window:
            return trouble.failure
    if found:
        first = found[0]
        needs = [StorageNeed.LOG] if first.sign == "pod:CrashLoopBackOff" and case.snapshot.log is UNSEEN else []
        return case.waiting(f"{short(first.failure.quotation)}{case.claim_note}; checking whether it persists", *needs)
    aim = case.goal.spec.get("managementState", "Managed")
    if aim == "Removed" or aim is None:
        return _removed(case)
    if aim == "Unmanaged":
        return _unmanaged(case)
    return _serving(case)


def _serving(case: Case) -> Verdict:
    """Step by step from Config to the answer of the registry."""
    where = storage_location(case.spec, case.goal.backend) if case.goal.backend else "the change"
    if not case.fresh:
        if case.claim_appeared:
            return case.awaiting_operator("the operator has not noticed yet that the claim exists")
        return case.unnoticed()
    if case.claim_appeared and case.progressing.reason == "Error":
        return case.awaiting_operator(
            "the claim exists now; the operator has not noticed yet (it retries with increasing delay)"
        )
    case.signs.hold("fresh")
    missing = not_accepted(case)
    if missing:
        return case.waiting(f"the operator has not accepted {where} yet: {missing}")
    accepted = f"Config accepted {where}"
    await_renewal(case)
    missing = not_rolled_out(case)
    if missing:
        wait = case.waiting if case.ours else case.awaiting_operator
        return wait(f"{accepted}; {missing}{case.claim_note}")
    missing = unready_condition(case)
    if missing:
        return case.waiting(f"{accepted}; rollout complete; waiting for the operator to report it (now {missing})")
    # The operator has seen a change, but this Deployment is older than our first look: what the operator writes to
    # it may reach us later than what it writes to Config.
    unchanged = case.signs.kept("moved") and case.signs.kept(case.deployment_edition)
    if unchanged and case.signs.now - case.signs.hold("fresh") < NO_ROLLOUT:
        return case.waiting(f"{accepted}; checking whether the Deployment follows")
    if unchanged and case.snapshot.requested_at < case.signs.hold("fresh"):
        return case.waiting(f"{accepted}; checking whether the Deployment follows", StorageNeed.DEPLOYMENT)
    missing = pods_left(case) or case.claim_note
    if missing:
        return case.waiting(f"{accepted}; rollout complete, {missing.lstrip(', ')}")
    return judge_growth(case, accepted) or judge_answers(case, accepted, where)


def _removed(case: Case) -> Verdict:
    """Removed, and in products without a default the same for an unset state (operator fact 0.2)."""
    if not case.fresh:
        return case.unnoticed()
    for reported, status in ((case.available, "True"), (case.progressing, "False")):
        if (reported.status, reported.reason) != (status, "Removed"):
            return case.waiting(f"the operator says {reported.text}")
    if case.snapshot.deployment is not None:
        return case.waiting("the Deployment is still there")
    if isinstance(case.snapshot.pods, tuple) and case.snapshot.pods:
        return case.waiting(f"{count(len(case.snapshot.pods), 'Pod')} still there")
    return Done("the registry is removed")


def _unmanaged(case: Case) -> Verdict:
    """The operator has taken note that it must not act."""
    if not case.fresh:
        return case.unnoticed()
    for reported in (case.available, case.progressing):
        if reported.reason != "Unmanaged":
            return case.waiting(f"the operator says {reported.text}")
    return Done("the operator leaves the registry alone (Unmanaged)")
