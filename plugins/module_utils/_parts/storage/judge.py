# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides from what was seen whether the goal is reached, still on its way, or will not be reached by itself.

Pure: no clock, no requests. Two rules stand above the others. *Done* needs evidence of every step from Config to an
answer of the registry, because single conditions lie: ``Available=True/Ready`` stays from the rollout before, and also
while the operator refuses the change (operator facts, section 3.3). *Failed* needs a sign that is about **our**
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
    not_observed,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import Case, count, short
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.progress import judge_serving
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.troubles import troubles


def judge(goal: StorageGoal, snapshot: StorageSnapshot, history: History) -> tuple[Verdict, History]:
    """The verdict on one snapshot, and what to remember for the next one (an empty History at first)."""
    signs = Signs(history, snapshot.at)
    verdict = _verdict(Case(goal, snapshot, signs))
    return verdict, signs.history()


def _verdict(case: Case) -> Verdict:
    if case.snapshot.config is UNSEEN:
        return Waiting("Config has not been read yet")
    if case.config and case.generation < case.goal.min_generation:
        return Waiting(f"Config is read from before the change (generation {case.generation})")
    found = list(troubles(case))
    case.remember_first_look()
    case.remember_made()
    for trouble in found:
        if case.signs.now - case.signs.hold(trouble.sign) >= trouble.window:
            return trouble.failure
    if found:
        first = found[0]
        needs = [StorageNeed.LOG] if first.sign == "pod:CrashLoopBackOff" and case.snapshot.log is UNSEEN else []
        said = first.failure.quoted
        if not said.startswith(first.failure.reason):
            said = f"{first.failure.reason}: {said}"
        return case.waiting(f"{short(said)}{case.claim_note}; seeing if it lasts", *needs)
    aim = case.goal.spec.get("managementState", "Managed")
    if aim == "Removed" or aim is None:
        return _removed(case)
    if aim == "Unmanaged":
        return _unmanaged(case)
    return judge_serving(case)


def _removed(case: Case) -> Verdict:
    """Removed, and in products without a default the same for an unset state (operator facts, section 0)."""
    if not case.fresh:
        return case.waiting(not_observed(case.generation, case.observed).why)
    for said, status in ((case.available, "True"), (case.progressing, "False")):
        if (said.status, said.reason) != (status, "Removed"):
            return case.waiting(f"the operator says {said.text}")
    if case.snapshot.deployment is not None:
        return case.waiting("the Deployment is still there")
    if isinstance(case.snapshot.pods, tuple) and case.snapshot.pods:
        return case.waiting(f"{count(len(case.snapshot.pods), 'Pod')} still there")
    return Done("the registry is removed")


def _unmanaged(case: Case) -> Verdict:
    if not case.fresh:
        return case.waiting(not_observed(case.generation, case.observed).why)
    for said in (case.available, case.progressing):
        if said.reason != "Unmanaged":
            return case.waiting(f"the operator says {said.text}")
    return Done("the operator leaves the registry alone (Unmanaged)")
