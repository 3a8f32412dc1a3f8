# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether the CronJob is what ImagePruner/cluster says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    Failed,
    History,
    Signs,
    Verdict,
    Waiting,
    changed_back,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import normalise, plain
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    format_duration,
    parse_duration,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import (
    JSON,
    PrunerGoal,
    PrunerNeed,
    PrunerSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.facts import condition, number, part
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import explain

DEFAULT_SCHEDULE = "0 0 * * *"
"""What the operator renders for an empty schedule (operator fact 5)."""
SYNC_ERROR_SECONDS = 4.0
"""How long a refusal must stay before it counts; newer operators report it after two minutes only."""


def expected(spec: JSON) -> dict[str, Any]:
    """What the operator renders from a spec: schedule, suspend, limits and the --keep arguments (operator fact 5)."""
    duration = spec.get("keepYoungerThanDuration")
    nanoseconds = spec.get("keepYoungerThan")
    if duration is not None:
        younger = format_duration(parse_duration(duration))
    elif nanoseconds is not None:
        younger = format_duration(int(nanoseconds))
    else:
        younger = "60m"
    revisions = spec.get("keepTagRevisions")
    return {
        "schedule": spec.get("schedule") or DEFAULT_SCHEDULE,
        "suspend": bool(spec.get("suspend")),
        "successfulJobsHistoryLimit": _or(spec.get("successfulJobsHistoryLimit"), 3),
        "failedJobsHistoryLimit": _or(spec.get("failedJobsHistoryLimit"), 3),
        "args": [
            f"--keep-tag-revisions={_or(revisions, 3)}",
            f"--keep-younger-than={younger}",
            f"--ignore-invalid-refs={'true' if spec.get('ignoreInvalidImageReferences') else 'false'}",
        ],
    }


def _or(value: Any, default: int) -> int:
    return default if value is None else int(value)


def _differs(spec: JSON, cronjob: JSON) -> str:
    """What in the CronJob is not what the spec says, as a short phrase; empty when nothing is."""
    wanted = expected(spec)
    shape = part(cronjob, "spec")
    if shape.get("schedule") != wanted["schedule"]:
        return f"schedule {shape.get('schedule')!r} instead of {wanted['schedule']!r}"
    if bool(shape.get("suspend")) != wanted["suspend"]:
        return f"suspend {bool(shape.get('suspend'))} instead of {wanted['suspend']}"
    for field, default in (("successfulJobsHistoryLimit", 3), ("failedJobsHistoryLimit", 1)):
        if _or(shape.get(field), default) != wanted[field]:
            return f"{field} {shape.get(field)} instead of {wanted[field]}"
    pod = part(shape, "jobTemplate", "spec", "template", "spec")
    containers = pod["containers"] if isinstance(pod.get("containers"), list) else []
    args = [str(text) for item in containers for text in item.get("args") or []]
    missing = [text for text in wanted["args"] if text not in args]
    if missing:
        return f"arguments without {', '.join(missing)}"
    wish = {key: spec[key] for key in ("nodeSelector", "affinity") if spec.get(key)}
    changed = names(diff(wish, pod))
    if any(one not in (pod.get("tolerations") or []) for one in spec.get("tolerations") or []):
        changed.append("tolerations")
    limited = [item for item in containers if "resources" in item]  # the API server always shows it
    if spec.get("resources") and limited and all(diff({"resources": spec["resources"]}, item) for item in limited):
        changed.append("resources")
    return f"other values of {', '.join(changed)}" if changed else ""


def judge(goal: PrunerGoal, snapshot: PrunerSnapshot, history: History) -> tuple[Verdict, History]:
    """Done when the CronJob carries this spec; Failed when the operator says it cannot render it."""
    signs = Signs(history, snapshot.at)
    pruner = snapshot.pruner if isinstance(snapshot.pruner, Mapping) else None
    if pruner is None:
        return Waiting("ImagePruner/cluster is not there; the operator makes it again"), history
    spec = part(pruner, "spec")
    generation, observed = number(pruner, "metadata", "generation"), number(pruner, "status", "observedGeneration")
    if generation < goal.min_generation:
        return Waiting(f"ImagePruner is read from before the change (generation {generation})"), history
    changed = diff(goal.spec, spec)
    if changed:
        fields = ", ".join(names(changed))
        if signs.lasted(f"spec:{fields}") >= SYNC_ERROR_SECONDS:
            return changed_back("ImagePruner", "imagepruners", fields), signs.history()
        return Waiting(f"spec differs in {fields}"), signs.history()
    degraded = condition(pruner, "Degraded")
    if observed >= generation and degraded.true and degraded.reason == "SyncError":
        if signs.lasted(f"error:{normalise(degraded.message)}") >= SYNC_ERROR_SECONDS:
            said = explain(degraded.message, degraded.reason)
            return Failed(degraded.reason, plain(degraded.message), said.cause, said.remedy), signs.history()
        return Waiting(f"{degraded.reason}: {plain(degraded.message)[:160]}; seeing if it lasts"), signs.history()
    if observed < generation:
        return Waiting(
            f"the operator has not looked at generation {generation} yet (last: {observed})"
        ), signs.history()
    if snapshot.cronjob is UNSEEN:
        warning = "The CronJob could not be read, so it is not proven that it carries this schedule."
        return Done("ImagePruner stored and observed, CronJob not seen", (warning,)), signs.history()
    if not isinstance(snapshot.cronjob, Mapping):
        return Waiting("the CronJob does not exist yet"), signs.history()
    differing = _differs(spec, snapshot.cronjob)
    if differing:
        return Waiting(f"the CronJob still has {differing}"), signs.history()
    if condition(pruner, "Available").status == "False":
        return Waiting(f"the operator says {condition(pruner, 'Available').text}"), signs.history()
    warnings = _job_warnings(pruner, snapshot)
    if warnings is None:
        return Waiting("the last pruning job failed; reading its log", frozenset({PrunerNeed.LOG})), signs.history()
    wanted = expected(spec)
    state = "suspended" if wanted["suspend"] else f"runs at {wanted['schedule']}"
    return Done(f"CronJob {state}, {' '.join(wanted['args'][:2])}", warnings), signs.history()


def _job_warnings(pruner: JSON, snapshot: PrunerSnapshot) -> tuple[str, ...] | None:
    """A failed job is about earlier runs, not about this configuration, but must not go unsaid. None: log wanted."""
    failed = condition(pruner, "Failed")
    if not failed.true:
        return ()
    if snapshot.log is UNSEEN:
        return None
    lines = [finding.line for finding in snapshot.log] if isinstance(snapshot.log, tuple) else []
    said = f" Last log lines: {' | '.join(lines)}" if lines else " Its log is gone or cannot be read."
    return (
        (
            f"The last job in the registry's namespace failed ({failed.reason}: {plain(failed.message)}); the operator "
            "reports "
            f"Degraded until a newer job succeeds.{said}"
        ),
    )
