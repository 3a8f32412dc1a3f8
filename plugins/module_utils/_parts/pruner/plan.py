# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled image pruning: ImagePruner/cluster, the CronJob it must become, and the verdict on both.

Pure. Sources: Registry v2 page (Configure Scheduled Image Pruning), operator facts 3.5 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Readings, Ref, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply, diff, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    parse_duration,
    parse_quantity,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import JSON, PrunerGoal
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


def plan(params: JSON, platform: Platform, seen: Readings) -> Plan[PrunerGoal]:
    """Findings, the write, a check of the schedule by the API server itself, and the goal."""
    spec, findings = intent(params)
    pruner = seen["pruner"]
    exists = isinstance(pruner, Mapping)
    live: JSON = mapping_at(pruner, "spec")
    findings += _retention_findings(params, exists, live)
    if findings:
        return Plan(refusals=tuple(findings))
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
    return Plan(writes=writes, checks=checks, goal=PrunerGoal(spec, generation(pruner)))


def _retention_findings(params: JSON, exists: bool, live: JSON) -> list[str]:
    """Registry v2 page: confirm the retention policy before enabling the schedule."""
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
