# SPDX-License-Identifier: GPL-3.0-or-later
"""image_limits as a part, over any number of namespaces: paged cluster-wide lists to read, independent writes.

One failing namespace does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part, Target
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Outcome,
    Plan,
    Readings,
    Ref,
    Write,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    History,
    Need,
    State,
    Unseen,
    Verdict,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import member_path
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import judge as verdicts
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    JSON,
    LimitsGoal,
    LimitsNeed,
    LimitsSnapshot,
    collections,
    reduced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.plan import (
    is_active,
    live_objects,
    needs,
    plan,
    revise,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform


class LimitsPart(Part[LimitsGoal, LimitsSnapshot]):
    """One ResourceQuota and one LimitRange in each namespace."""

    name = "image_limits"
    line_seconds = 1.0  # a thousand namespaces would otherwise print a line each

    def __init__(self, platform: Platform, params: JSON) -> None:
        super().__init__(platform)
        self._intent = parse_intent(params, platform)

    def needs(self, seen: Readings) -> list[Ref]:
        """See plan."""
        return needs(self._intent, seen)

    def plan(self, seen: Readings) -> Plan[LimitsGoal]:
        """See plan."""
        return plan(self._intent, seen)

    def revise(self, write: Write, live: JSON | None) -> Write | str | None:
        """See plan."""
        return revise(self._intent, write, live)

    def aim(self, goal: LimitsGoal, seen: Readings, failures: Mapping[str, str]) -> LimitsGoal:
        """Without the namespaces in which something could not be written."""
        broken = {step.namespace for step in goal.steps if step.write and step.write.object_path in failures}
        return replace(goal, failed=frozenset(broken))

    def first(self, goal: LimitsGoal, seen: Readings, at: float) -> LimitsSnapshot:
        """Our objects as they were read."""
        snapshot = LimitsSnapshot(at=at, live=live_objects(goal.intent, goal.namespaces, seen))
        done = len(goal.checked) - len(verdicts.shortfalls(goal, snapshot))
        return replace(snapshot, before=(at, done))

    def targets(self, goal: LimitsGoal, snapshot: LimitsSnapshot) -> Sequence[Target[LimitsSnapshot]]:
        """Our objects, in each of a few namespaces or cluster-wide."""
        return [
            Target(
                path,
                path,
                _with_objects(kind, namespace),
                field_selector=f"metadata.name={goal.intent.object_name(kind)}",
                single=False,
                required=True,
                awaited=True,
                keep=reduced,
            )
            for kind, namespace, path in collections(goal.intent, goal.namespaces)
        ]

    def judge(self, goal: LimitsGoal, snapshot: LimitsSnapshot, history: History) -> tuple[Verdict, History]:
        """See judge."""
        return verdicts.judge(goal, snapshot), history

    def gather(
        self, client: Client, goal: LimitsGoal, snapshot: LimitsSnapshot, needs: frozenset[Need]
    ) -> LimitsSnapshot:
        """Whether the namespaces are being deleted from which our objects have vanished."""
        if LimitsNeed.NAMESPACES in needs:
            ending = {name: _is_ending(client, name) for name in verdicts.vanished(goal, snapshot)}
            snapshot = replace(snapshot, ending={**snapshot.ending, **ending})
        return replace(snapshot, at=time.monotonic())

    def report(self, goal: LimitsGoal, snapshot: LimitsSnapshot) -> Mapping[str, Any]:
        """Keys that no controller counts, and what namespaces lack."""
        behind = verdicts.shortfalls(goal, snapshot)
        return {
            "not_counted": sorted(verdicts.uncounted_everywhere(goal, snapshot)),
            "behind": [{"namespace": name, "why": why} for name, why in behind.items()],
        }

    def outcome(
        self,
        plan: Plan[LimitsGoal],
        sent: tuple[Write, ...],
        failures: Mapping[str, str],
        observed: tuple[LimitsGoal, LimitsSnapshot] | None,
    ) -> Outcome:
        """See judge."""
        return verdicts.outcome(plan, sent, failures, observed)


def _is_ending(client: Client, namespace: str) -> bool:
    """Whether a namespace is being deleted or gone, as far as it may be read."""
    try:
        return not is_active(client.get(member_path("/api/v1/namespaces", namespace)))
    except (ApiError, ClientError):
        return False


def _with_objects(kind: str, namespace: str) -> Callable[[LimitsSnapshot, State], LimitsSnapshot]:
    """How a collection's state changes the snapshot: all of the kind, or the one namespace's object."""

    def absorb(snapshot: LimitsSnapshot, state: State) -> LimitsSnapshot:
        if isinstance(state, Unseen):
            return snapshot
        before = snapshot.live.get(kind, {}) if namespace else {}
        others = {name: item for name, item in before.items() if name != namespace}
        return replace(
            snapshot,
            live={
                **snapshot.live,
                kind: {**others, **{str(item["metadata"].get("namespace")): item for item in state}},
            },
        )

    return absorb
