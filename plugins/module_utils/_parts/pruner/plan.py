# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled image pruning: what must be refused and written of ImagePruner/cluster, and what must then be true.

Pure. Sources: Registry v2 page (Configure Scheduled Image Pruning), operator facts 1.5, 2.6, 3.5.1 to 3.5.3 and 5.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Plan,
    Readings,
    Ref,
    Write,
    spec_patch,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.cron import never_runs
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import JSON, PrunerGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.intent import RETENTION, PrunerIntent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import DEFAULT_SCHEDULE


def needs(intent: PrunerIntent, seen: Readings) -> list[Ref]:
    """ImagePruner and its CronJob."""
    platform = intent.platform
    refs = [
        Ref("pruner", platform.pruner_path, required=True),
        Ref("cronjob", namespaced(platform.namespace, "cronjobs", platform.cronjob, api="/apis/batch/v1")),
    ]
    return [ref for ref in refs if ref.label not in seen]


def plan(intent: PrunerIntent, seen: Readings) -> Plan[PrunerGoal]:
    """Refusals, the write, a check of the resulting CronJob by the API server itself, and the goal."""
    spec, platform, pruner = intent.spec, intent.platform, seen["pruner"]
    live = pruner if isinstance(pruner, Mapping) else None
    refusals = (*intent.problems, *_retention_problems(intent, live))
    if intent.problems:
        return Plan(refusals)
    if live is None:
        write: Write | None = _creation(intent)
    else:
        write = spec_patch(platform.pruner_path, "ImagePruner", platform.singleton, spec, mapping_at(live, "spec"))
    changed = mapping_at(write.body, "spec") if write is not None else {}
    writes = () if write is None else (write,)
    if refusals:
        return Plan(refusals, withheld=writes)
    return Plan(
        warnings=tuple(_schedule_remarks(spec)),
        writes=writes,
        checks=_cronjob_checks(platform, changed, mapping_at(live, "spec")),
        goal=PrunerGoal(spec, generation(live), platform),
    )


def _schedule_remarks(spec: JSON) -> Iterator[str]:
    schedule = str(spec.get("schedule") or "")
    if never_runs(schedule):
        yield f"schedule: {schedule!r} is valid but never due: no year has such a day, so nothing is ever pruned."


def _creation(intent: PrunerIntent) -> Write:
    platform, spec = intent.platform, apply(intent.spec, {})
    return Write(
        verb="create",
        path=platform.pruner_path.rsplit("/", 1)[0],
        body={
            "apiVersion": f"{platform.group}/{platform.version}",
            "kind": "ImagePruner",
            "metadata": {"name": platform.singleton},
            "spec": spec,
        },
        kind="ImagePruner",
        name=platform.singleton,
        before={},
        after={"spec": spec},
    )


def _retention_problems(intent: PrunerIntent, live: JSON | None) -> Iterator[str]:
    """Registry v2 page, Configure Scheduled Image Pruning: confirm the retention policy before enabling it."""
    suspend = intent.spec.get("suspend")
    stopped = live is None or mapping_at(live, "spec").get("suspend") is True
    starts = stopped and (suspend is False or (live is None and suspend is None))
    missing = [option for option, field in RETENTION.items() if field not in intent.spec]
    if starts and missing and not intent.absent:
        yield (
            f"This would start scheduled pruning, which removes image metadata for good, but {' and '.join(missing)} "
            "is not given. Name both retention values to confirm the policy, or set suspend: true."
        )


_CHECKED = frozenset({"schedule", "resources", "nodeSelector", "tolerations", "affinity"})
"""Fields of spec that the operator copies into the CronJob as they are, and that a CronJob may not take."""


def _cronjob_checks(platform: Platform, changed: JSON, live: JSON) -> tuple[Write, ...]:
    """A CronJob like the one that will be rendered, only ever sent as a dry run.

    The operator accepts anything and keeps the old CronJob (operator fact 5.4). changed: merge patch of the live spec.
    """
    fields = _CHECKED & {field for field, value in changed.items() if value is not None}
    if not fields:
        return ()
    spec, name = apply(changed, live), f"{platform.cronjob}-check"
    pod = {field: spec[field] for field in ("nodeSelector", "tolerations", "affinity") if spec.get(field)}
    container = {"name": "check", "image": "none", "command": ["true"], "resources": mapping_at(spec, "resources")}
    body = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": platform.namespace},
        "spec": {
            "schedule": spec.get("schedule") or DEFAULT_SCHEDULE,
            "suspend": True,
            "jobTemplate": {
                "spec": {"template": {"spec": {**pod, "restartPolicy": "Never", "containers": [container]}}}
            },
        },
    }
    path = namespaced(platform.namespace, "cronjobs", api="/apis/batch/v1")
    kind, shown = ("schedule", str(spec["schedule"])) if fields == {"schedule"} else ("CronJob", platform.cronjob)
    return (Write("create", path, body, kind, shown, {}, {}),)
