# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether the namespaces have their limits, and the quota controller has taken note of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Outcome, Plan, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Done,
    Failed,
    Need,
    Verdict,
    Waiting,
    count,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import mapping_at
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    JSON,
    NAMED,
    LimitsGoal,
    LimitsNeed,
    LimitsSnapshot,
    equal,
    some,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    QUOTA,
    RANGE,
    LimitsIntent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.plan import merged, removable

PACE_SECONDS = 2.0
"""From when the pace of the quota controller is reported: one of a shorter time says little."""


def judge(goal: LimitsGoal, snapshot: LimitsSnapshot) -> Verdict:
    """Done when every namespace has its limits; objects that were deleted must be gone.

    As long as something holds a deleted object (a finalizer), it limits.
    """
    ending = [name for name in goal.checked if snapshot.ending.get(name)]
    behind = {name: why for name, why in shortfalls(goal, snapshot).items() if name not in ending}
    name = next(iter(behind), "")
    if behind:
        needs = frozenset({LimitsNeed.NAMESPACES}) if vanished(goal, snapshot) else frozenset[Need]()
        done = len(goal.checked) - len(behind) - len(ending)
        pace = _pace(snapshot, done, len(behind))
        return Waiting(
            f"{_reached(goal, len(behind) + len(ending))}{pace}; {name}: {behind[name]}", needs, reached=done
        )
    if ending:
        return Failed(
            "NamespaceTerminating",
            f"being deleted, or gone: {some(ending)}",
            f"{_reached(goal, len(ending))}, the others are being deleted, and their limits with them.",
            "Take these namespaces out of the task, or run it again once they have been recreated.",
        )
    if goal.failed:
        return Failed(
            "WriteFailed",
            f"failed in: {some(sorted(goal.failed))}",
            f"{_reached(goal, 0)}, the others could not be written.",
            "Correct what the namespaces' reasons name, then run the task again.",
        )
    kept = sum(step.action == "kept" for step in goal.steps)
    stay = "that was not made by this collection stays" if kept == 1 else "that were not made by this collection stay"
    return Done(_reached(goal, 0) + (f"; {count(kept, 'object')} {stay}" if kept else ""))


def shortfalls(goal: LimitsGoal, snapshot: LimitsSnapshot) -> dict[str, str]:
    """Why, by namespace, the limits are not in force."""
    return {name: why for name in goal.checked if (why := shortfall(goal.intent, *snapshot.of(name)))}


def vanished(goal: LimitsGoal, snapshot: LimitsSnapshot) -> list[str]:
    """The namespaces, a few at a time, that lack an object of ours and have not been looked at for that."""
    kinds = goal.intent.kinds if goal.intent.present else ()
    lacking = (name for name in goal.checked if any(name not in snapshot.live.get(kind, {}) for kind in kinds))
    return [name for name in lacking if name not in snapshot.ending][:NAMED]


def _pace(snapshot: LimitsSnapshot, done: int, left: int) -> str:
    """How many namespaces a second get their limits, and how long the others take at that rate."""
    since, before = snapshot.before or (snapshot.at, done)
    seconds = snapshot.at - since
    if seconds < PACE_SECONDS or done <= before:
        return ""
    rate = (done - before) / seconds
    return f", {rate:.1f} more each second, about {left / rate:.0f} s left"


def _reached(goal: LimitsGoal, behind: int) -> str:
    kept = {step.namespace for step in goal.steps if step.action == "kept"}
    done = len(goal.checked) - behind - len(kept.intersection(goal.checked))
    state = "hold the limits" if goal.intent.present else "are without the limits"
    return f"{done} of {len(goal.namespaces)} namespaces {state}"


def shortfall(intent: LimitsIntent, quota: JSON | None, limit_range: JSON | None) -> str:
    """Why the limits are not in force (yet), as a short phrase; empty when they are.

    The quota controller has taken note when status.hard carries the values.
    """
    if not intent.present:
        for kind, live in ((QUOTA, quota), (RANGE, limit_range)):
            if live is not None and mapping_at(live, "metadata").get("deletionTimestamp"):
                return f"the {kind} is being deleted"
            if live is not None and removable(intent, live):
                return f"the {kind} is still there"
        return ""
    if intent.hard:
        if quota is None:
            return "the ResourceQuota is not there"
        for where in ("spec", "status"):
            hard = mapping_at(quota, where, "hard")
            behind = [key for key, value in intent.hard.items() if not equal(value, hard.get(key))]
            if behind:
                return f"{where}.hard does not hold {', '.join(behind)}"
    if intent.limits:
        if limit_range is None:
            return "the LimitRange is not there"
        entries = [dict(entry) for entry in mapping_at(limit_range, "spec").get("limits") or ()]
        if merged(entries, intent.limits)[1]:
            return "the LimitRange does not hold the limits"
    return ""


def uncounted(intent: LimitsIntent, quota: JSON | None) -> list[str]:
    """Keys of the quota that no controller counts: in status.hard, but not in status.used (operator fact 6.3)."""
    hard, used = mapping_at(quota, "status", "hard"), mapping_at(quota, "status", "used")
    return [key for key in intent.hard if key in hard and key not in used]


def uncounted_everywhere(goal: LimitsGoal, snapshot: LimitsSnapshot) -> dict[str, int]:
    """In how many namespaces each key of the quota is counted by no controller."""
    counts: dict[str, int] = {}
    for name in goal.checked:
        for key in uncounted(goal.intent, snapshot.of(name)[0]):
            counts[key] = counts.get(key, 0) + 1
    return counts


def outcome(
    plan: Plan[LimitsGoal],
    sent: tuple[Write, ...],
    failures: Mapping[str, str],
    observed: tuple[LimitsGoal, LimitsSnapshot] | None,
) -> Outcome:
    """What became of each namespace, and which keys no controller counts."""
    goal = plan.goal
    if goal is None:
        return Outcome()
    failed = [
        f"{step.namespace}: {failures[step.write.object_path]}"
        for step in goal.steps
        if step.write is not None and step.write.object_path in failures
    ]
    failure = f"{len(failed)} of {len(goal.steps)} objects could not be written. {some(failed)}" if failed else ""
    warnings = _uncounted_warnings(uncounted_everywhere(*observed), len(goal.namespaces)) if observed else ()
    return Outcome(failure, warnings, {"namespaces": _by_namespace(goal, sent, failures)})


def _uncounted_warnings(counts: Mapping[str, int], namespaces: int) -> tuple[str, ...]:
    """One warning that lists all keys. counts: in how many of the namespaces each key is not counted."""
    if not counts:
        return ()
    keys: dict[int, list[str]] = {}
    for key, number in sorted(counts.items()):
        keys.setdefault(number, []).append(key)
    where = "; ".join(f"{', '.join(same)} (in {number} of {namespaces} namespaces)" for number, same in keys.items())
    text = (
        "ResourceQuota: no controller of this cluster counts these keys, so their limits have no effect (they are in "
    )
    return (f"{text}status.hard but not in status.used): {where}.",)


def _by_namespace(goal: LimitsGoal, sent: tuple[Write, ...], failures: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """One entry for each namespace: the most important of what happened to its objects."""
    order = ("failed", "deleted", "created", "updated", "kept", "absent", "unchanged")
    changed = {write.object_path for write in sent}
    entries: dict[str, dict[str, str]] = {name: {"status": "unchanged"} for name in goal.namespaces}
    for step in goal.steps:
        entry, action = entries[step.namespace], step.action
        path = step.write.object_path if step.write is not None else ""
        if path in failures:
            action, entry["reason"] = "failed", failures[path]
        elif path and path not in changed:
            action = "unchanged"  # somebody else did it before us
        if order.index(action) < order.index(entry["status"]):
            entry["status"] = action
    return entries
