# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether the CronJob is what ImagePruner/cluster says. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    Failed,
    History,
    Signs,
    Verdict,
    Waiting,
    changed_back,
    not_observed,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    condition,
    generation,
    made_again,
    mapping_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import normalise, plain
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import (
    JSON,
    PrunerGoal,
    PrunerNeed,
    PrunerSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import explain
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    cronjob_difference,
    expected_cronjob,
)

SYNC_ERROR_SECONDS = 4.0
"""How long a refusal must stay before it counts; newer operators report it after two minutes only."""


def judge(goal: PrunerGoal, snapshot: PrunerSnapshot, history: History) -> tuple[Verdict, History]:
    """Done when the CronJob carries this spec; Failed when the operator says it cannot render it."""
    signs = Signs(history, snapshot.at)
    pruner = snapshot.pruner if isinstance(snapshot.pruner, Mapping) else None
    if pruner is None:
        return Waiting("ImagePruner/cluster is not there; the operator creates it again"), history
    spec = mapping_at(pruner, "spec")
    stored, observed = generation(pruner), observed_generation(pruner)
    another = made_again(pruner, goal.uid)
    if stored < goal.min_generation and not another:
        return Waiting(f"ImagePruner is read from before the change (generation {stored})"), history
    changed = diff(goal.spec, spec)
    if changed:
        fields = ", ".join(names(changed))
        if signs.lasted(f"spec:{fields}") >= SYNC_ERROR_SECONDS:
            return changed_back("ImagePruner", "imagepruners", fields, made_again=another), signs.history()
        return Waiting(f"spec differs in {fields}"), signs.history()
    degraded = condition(pruner, "Degraded")
    if observed >= stored and degraded.true and degraded.reason == "SyncError":
        if signs.lasted(f"error:{normalise(degraded.message)}") >= SYNC_ERROR_SECONDS:
            meaning = explain(degraded.message, degraded.reason)
            return Failed(degraded.reason, plain(degraded.message), meaning.cause, meaning.remedy), signs.history()
        return Waiting(
            f"{degraded.reason}: {plain(degraded.message)[:160]}; checking whether it persists"
        ), signs.history()
    if observed < stored:
        return not_observed(stored, observed), signs.history()
    if snapshot.cronjob is UNSEEN:
        warning = "The CronJob could not be read, so it is not proven that it carries this schedule."
        return Done("ImagePruner stored and observed, CronJob not seen", (warning,)), signs.history()
    if not isinstance(snapshot.cronjob, Mapping):
        return Waiting("the CronJob does not exist yet"), signs.history()
    expected = expected_cronjob(spec)
    differing = cronjob_difference(expected, snapshot.cronjob)
    if differing:
        return Waiting(f"the CronJob still has {differing}"), signs.history()
    if condition(pruner, "Available").status == "False":
        return Waiting(f"the operator says {condition(pruner, 'Available').text}"), signs.history()
    warnings = _job_warnings(pruner, snapshot)
    if warnings is None:
        return Waiting("the last pruning job failed; reading its log", frozenset({PrunerNeed.LOG})), signs.history()
    state = "suspended" if expected.suspend else f"runs at {expected.schedule}"
    return Done(f"CronJob {state}, {' '.join(expected.arguments[:2])}", warnings), signs.history()


def _job_warnings(pruner: JSON, snapshot: PrunerSnapshot) -> tuple[str, ...] | None:
    """A failed job is about earlier runs, not about this configuration, but must not go unsaid. None: log wanted."""
    failed = condition(pruner, "Failed")
    if not failed.true:
        return ()
    if snapshot.log is UNSEEN:
        return None
    lines = [finding.line for finding in snapshot.log] if isinstance(snapshot.log, tuple) else []
    log = f" Last log lines: {' | '.join(lines)}" if lines else " Its log is gone or cannot be read."
    return (
        (
            f"The last job in the registry's namespace failed ({failed.reason}: {plain(failed.message)}); the operator "
            f"reports Degraded until a newer job succeeds.{log}"
        ),
    )
