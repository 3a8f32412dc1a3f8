# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled image pruning: ImagePruner/cluster, the CronJob it must become, and the verdict on both.

Pure. Sources: Registry v2 page (Configure Scheduled Image Pruning), operator facts 1.5, 2.6, 3.5.1 to
3.5.3 and 5.1 to 5.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import (
    JSON,
    UNSEEN,
    Done,
    Failed,
    History,
    Need,
    Snapshot,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Plan, Readings, Ref, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import (
    apply,
    diff,
    names,
    owned,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    format_duration,
    parse_duration,
    parse_quantity,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.facts import condition, number, part
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import (
    changed_back,
    explain,
    normalise,
    plain,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

FIELDS = {
    "schedule": "schedule",
    "suspend": "suspend",
    "keep_tag_revisions": "keepTagRevisions",
    "keep_younger_than": "keepYoungerThanDuration",
    "successful_jobs_history_limit": "successfulJobsHistoryLimit",
    "failed_jobs_history_limit": "failedJobsHistoryLimit",
    "ignore_invalid_image_references": "ignoreInvalidImageReferences",
    "log_level": "logLevel",
    "resources": "resources",
    "node_selector": "nodeSelector",
    "tolerations": "tolerations",
    "affinity": "affinity",
}
"""Option to field of spec."""

DEFAULT_SCHEDULE = "0 0 * * *"
"""What the operator renders for an empty schedule (operator fact 5.1)."""
SYNC_ERROR_SECONDS = 4.0
"""How long a refusal must stay before it counts; newer operators report it after two minutes only."""


@dataclass(frozen=True)
class Goal:
    """What must be true. min_generation: of ImagePruner after our write."""

    spec: JSON
    min_generation: int


def intent(params: JSON) -> tuple[JSON, list[str]]:
    """spec in merge patch form, and everything wrong with the parameters alone. Unset parameter = untouched field."""
    problems: list[str] = []
    spec = {field: params[option] for option, field in FIELDS.items() if params.get(option) is not None}
    if params.get("state") == "absent":
        problems.append(
            "state: absent is refused: the operator makes ImagePruner/cluster again within one sync, with its "
            "defaults and "
            "not suspended, so that pruning would start. Use suspend: true to stop pruning."
        )
    for option in ("keep_tag_revisions", "successful_jobs_history_limit", "failed_jobs_history_limit"):
        if params.get(option) is not None and params[option] < 0:
            problems.append(f"{option}: {params[option]} is below zero.")
    duration = params.get("keep_younger_than")
    if duration is not None:
        if re.fullmatch(r"[0-9]+", str(duration)) and str(duration) != "0":
            problems.append(f"keep_younger_than: {duration!r} has no unit; write {duration}m or {duration}h.")
        else:
            try:
                if parse_duration(duration) < 0:
                    problems.append(f"keep_younger_than: {duration!r} is below zero.")
            except ValueError as error:
                problems.append(f"keep_younger_than: {error}.")
    if params.get("resources") is not None:
        spec["resources"] = {kind: amounts for kind, amounts in params["resources"].items() if amounts is not None}
        for kind, amounts in spec["resources"].items():
            for name, amount in amounts.items():
                try:
                    parse_quantity(str(amount))
                except ValueError as error:
                    problems.append(f"resources.{kind}.{name}: {error}.")
            spec["resources"][kind] = {name: str(amount) for name, amount in amounts.items()}
    return spec, problems


def needs(platform: Platform, seen: Readings) -> list[Ref]:
    """ImagePruner and its CronJob."""
    refs = [
        Ref("pruner", platform.pruner_path, required=True),
        Ref("cronjob", namespaced(platform.namespace, "cronjobs", platform.cronjob, api="/apis/batch/v1")),
    ]
    return [ref for ref in refs if ref.label not in seen]


def plan(params: JSON, platform: Platform, seen: Readings) -> Plan:
    """Findings, the write, a check of the schedule by the API server itself, and the goal."""
    spec, findings = intent(params)
    pruner = seen["pruner"]
    exists = isinstance(pruner, Mapping)
    live: JSON = part(pruner, "spec")
    findings += _retention_findings(params, exists, live)
    if findings:
        return Plan(findings=tuple(findings))
    patch = diff(spec, live)
    writes: tuple[Write, ...] = ()
    if not exists:
        body = {
            "apiVersion": f"{platform.group}/{platform.version}",
            "kind": "ImagePruner",
            "metadata": {"name": platform.singleton},
            "spec": apply(spec, {}),
        }
        writes = (
            Write(
                verb="create",
                path=platform.pruner_path.rsplit("/", 1)[0],
                body=body,
                kind="ImagePruner",
                name=platform.singleton,
                before={},
                after={"spec": body["spec"]},
            ),
        )
    elif patch:
        writes = (
            Write(
                verb="patch",
                path=platform.pruner_path,
                body={"spec": patch},
                kind="ImagePruner",
                name=platform.singleton,
                before={"spec": owned(spec, live)},
                after={"spec": owned(spec, apply(patch, live))},
            ),
        )
    checks: tuple[Write, ...] = ()
    if patch.get("schedule") or (not exists and spec.get("schedule")):
        checks = (_schedule_check(platform, spec["schedule"]),)
    generation = number(pruner, "metadata", "generation")
    return Plan(writes=writes, checks=checks, goal=Goal(spec, generation))


def _retention_findings(params: JSON, exists: bool, live: JSON) -> list[str]:
    """Registry v2 page, Configure Scheduled Image Pruning: confirm the retention policy before enabling it."""
    enabling = params.get("suspend") is False and (not exists or live.get("suspend") is True)
    creating = not exists and params.get("suspend") is None
    if not (enabling or creating) or params.get("state") == "absent":
        return []
    missing = [option for option in ("keep_tag_revisions", "keep_younger_than") if params.get(option) is None]
    if not missing:
        return []
    return [
        (
            f"This would start scheduled pruning, which removes image metadata for good, but {' and '.join(missing)} "
            "is not given. Name both retention values to confirm the policy, or say suspend: true."
        )
    ]


def _schedule_check(platform: Platform, schedule: str) -> Write:
    """A CronJob that only ever is a dry run: the operator accepts a bad schedule and keeps the old CronJob."""
    name = f"{platform.cronjob}-schedule-check"
    body = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": platform.namespace},
        "spec": {
            "schedule": schedule,
            "suspend": True,
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "containers": [{"name": "check", "image": "none", "command": ["true"]}],
                        }
                    }
                }
            },
        },
    }
    path = namespaced(platform.namespace, "cronjobs", api="/apis/batch/v1")
    return Write("create", path, body, "schedule", schedule, {}, {})


# -- the verdict -----------------------------------------------------------------------------------------------------


def expected(spec: JSON) -> dict[str, Any]:
    """What the operator renders from a spec: schedule, suspend, limits, arguments (operator facts 5.1 to 5.3)."""
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


def judge(goal: Goal, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
    """Done when the CronJob carries this spec; Failed when the operator says it cannot render it."""
    since = dict(history.since)

    def lasted(sign: str) -> float:
        since.setdefault(sign, snapshot.at)
        return snapshot.at - since[sign]

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
        if lasted(f"spec:{fields}") >= SYNC_ERROR_SECONDS:
            return changed_back("ImagePruner", "imagepruners", fields), History(since)
        return Waiting(f"spec differs in {fields}"), History(since)
    degraded = condition(pruner, "Degraded")
    if observed >= generation and degraded.true and degraded.reason == "SyncError":
        if lasted(f"error:{normalise(degraded.message)}") >= SYNC_ERROR_SECONDS:
            said = explain(degraded.message, degraded.reason)
            return Failed(degraded.reason, plain(degraded.message), said.cause, said.remedy), History(since)
        return Waiting(f"{degraded.reason}: {plain(degraded.message)[:160]}; seeing if it lasts"), History(since)
    since = {sign: at for sign, at in since.items() if not sign.startswith(("error:", "spec:"))}
    if observed < generation:
        return Waiting(f"the operator has not looked at generation {generation} yet (last: {observed})"), History(since)
    if snapshot.cronjob is UNSEEN:
        warning = "The CronJob could not be read, so it is not proven that it carries this schedule."
        return Done("ImagePruner stored and observed, CronJob not seen", (warning,)), History(since)
    if not isinstance(snapshot.cronjob, Mapping):
        return Waiting("the CronJob does not exist yet"), History(since)
    differing = _differs(spec, snapshot.cronjob)
    if differing:
        return Waiting(f"the CronJob still has {differing}"), History(since)
    if condition(pruner, "Available").status == "False":
        return Waiting(f"the operator says {condition(pruner, 'Available').text}"), History(since)
    warnings = _job_warnings(pruner, snapshot)
    if warnings is None:
        return Waiting("the last pruning job failed; reading its log", frozenset({Need.LOG})), History(since)
    wanted = expected(spec)
    state = "suspended" if wanted["suspend"] else f"runs at {wanted['schedule']}"
    return Done(f"CronJob {state}, {' '.join(wanted['args'][:2])}", warnings), History(since)


def _job_warnings(pruner: JSON, snapshot: Snapshot) -> tuple[str, ...] | None:
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
