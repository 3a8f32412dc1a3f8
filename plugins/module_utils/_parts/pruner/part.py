# SPDX-License-Identifier: GPL-3.0-or-later
"""The task image_pruner: what it watches, and the log of a job that failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import (
    JSON,
    History,
    Need,
    Snapshot,
    Verdict,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import Target
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import (
    Options,
    Part,
    Result,
    reconcile,
    seen_object,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import redact
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner import plan as _pruner
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

LOG_TIMEOUT = 10.0
"""Seconds for the log of one Pod."""


def pruner(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """image_pruner."""
    part = Part(
        needs=lambda seen: _pruner.needs(platform, seen),
        plan=lambda seen: _pruner.plan(params, platform, seen),
        watcher=lambda plan: Pruning(platform, plan.goal),
        first=lambda seen, at: Snapshot(
            at=at, pruner=seen_object(seen["pruner"]), cronjob=seen_object(seen.get("cronjob"))
        ),
        main="pruner",
        main_path=platform.pruner_path,
    )
    return reconcile(client, platform, part, options)


@dataclass(frozen=True)
class Pruning:
    """The Watcher for ImagePruner/cluster and the CronJob rendered from it."""

    platform: Platform
    goal: _pruner.Goal

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """ImagePruner and CronJob."""
        platform = self.platform
        return [
            Target(
                "pruner",
                f"{platform.api}/imagepruners",
                field_selector=f"metadata.name={platform.singleton}",
                required=True,
            ),
            Target(
                "cronjob",
                namespaced(platform.namespace, "cronjobs", api="/apis/batch/v1"),
                field_selector=f"metadata.name={platform.cronjob}",
                required=True,
            ),
        ]

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """See _pruner."""
        return _pruner.judge(self.goal, snapshot, history)

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """The last lines of the newest failed job."""
        if Need.LOG in needs:
            snapshot = replace(snapshot, log=_job_log(client, self.platform))
        return replace(snapshot, at=time.monotonic())

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """Nothing more."""
        return {}


def _job_log(client: Client, platform: Platform) -> tuple[LogFinding, ...]:
    """Last log lines of the newest failed job's Pod; empty when they are gone or not allowed to be read."""
    try:
        jobs, _version = client.list(namespaced(platform.namespace, "jobs", api="/apis/batch/v1"))
        failed = [job for job in jobs if int((job.get("status") or {}).get("failed") or 0) > 0]
        if not failed:
            return ()
        newest = max(failed, key=lambda job: str(job["metadata"].get("creationTimestamp") or ""))
        name = newest["metadata"]["name"]
        pods, _version = client.list(namespaced(platform.namespace, "pods"), label_selector=f"job-name={name}")
        for pod in pods:
            path = namespaced(platform.namespace, "pods", pod["metadata"]["name"])
            reply = client.raw("GET", f"{path}/log?tailLines=5", retry=False, read_timeout=LOG_TIMEOUT)
            if reply.status == 200:
                return tuple(
                    LogFinding("job", redact(line), pod["metadata"]["name"])
                    for line in reply.text.splitlines()
                    if line.strip()
                )
    except (ApiError, ClientError):
        pass
    return ()
