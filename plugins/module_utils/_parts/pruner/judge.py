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
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import writers
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
    ExpectedCronJob,
    cronjob_difference,
    cronjob_edits,
    expected_cronjob,
)

SYNC_ERROR_SECONDS = 4.0
"""How long a refusal must stay before it counts; newer operators report it after two minutes only."""
EDITED_SECONDS = 4.0
"""How long a CronJob may differ that the operator has no reason to rewrite: its watch may lag behind ImagePruner's."""
UNWRITTEN_SECONDS = 20.0
"""The same after a change: the operator may be repeating a write that failed, without having reported it."""
SHOWN = 5
"""How many fields of one writer are named."""


def judge(goal: PrunerGoal, snapshot: PrunerSnapshot, history: History) -> tuple[Verdict, History]:
    """Done when the CronJob carries this spec; Failed when the operator says it cannot render it."""
    signs = Signs(history, snapshot.at)
    pruner = snapshot.pruner if isinstance(snapshot.pruner, Mapping) else None
    if pruner is None:
        return Waiting("ImagePruner/cluster is not there; the operator creates it again", on_operator=True), history
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
        return Waiting("the CronJob does not exist yet", on_operator=True), signs.history()
    expected = expected_cronjob(spec)
    differing = _cronjob_differs(expected, snapshot.cronjob, pruner)
    if differing:
        window = UNWRITTEN_SECONDS if goal.changed else EDITED_SECONDS
        if signs.lasted(f"cronjob:{differing}") >= window:
            return _edited(goal, differing), signs.history()
        return Waiting(f"the CronJob still has {differing}"), signs.history()
    if condition(pruner, "Available").status == "False":
        return Waiting(f"the operator says {condition(pruner, 'Available').text}"), signs.history()
    warnings = _job_warnings(pruner, snapshot)
    if warnings is None:
        return Waiting("the last pruning job failed; reading its log", frozenset({PrunerNeed.LOG})), signs.history()
    state = "suspended" if expected.suspend else f"runs at {expected.schedule}"
    return Done(f"CronJob {state}, {' '.join(expected.arguments[:2])}", warnings), signs.history()


def _cronjob_differs(expected: ExpectedCronJob, cronjob: JSON, pruner: JSON) -> str:
    """What in the CronJob is not what the operator renders; empty when all of it is, as far as can be seen.

    The operator is known by what writes the status of ImagePruner.
    """
    differing = cronjob_difference(expected, cronjob)
    if differing:
        return differing
    edits = cronjob_edits(expected, cronjob, writers(pruner, "status"))
    return "; ".join(f"{', '.join(fields[:SHOWN])} written by {manager}" for manager, fields in edits.items())


def _edited(goal: PrunerGoal, differing: str) -> Failed:
    """The operator has looked at this spec, and rewrites the CronJob when its own rendering changes, not before."""
    platform = goal.platform
    what = "The CronJob is not what the operator renders from ImagePruner/cluster"
    if goal.changed:
        cause = (
            f"{what}, although the operator has looked at the change: it could not write the CronJob and has not "
            "reported that yet, or somebody has edited the CronJob"
        )
    else:
        cause = f"{what}: somebody has edited it, and the operator does not undo that"
    return Failed(
        "CronJobDiffers",
        f"CronJob {platform.cronjob} has {plain(differing)}",
        f"{cause}.",
        f"Delete the CronJob (kubectl -n {platform.namespace} delete cronjob {platform.cronjob}; Jobs of it that still "
        "run are deleted with it): the operator recreates it from ImagePruner/cluster at once. Then run the task "
        "again.",
    )


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
