# SPDX-License-Identifier: GPL-3.0-or-later
"""image_pruner as a part: what it reads, what it follows, and the log of a job that failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part, Target, seen_object
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Readings, Ref
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import History, Need, Verdict, only
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    namespaced,
    number_at,
    uid,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import plain
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import (
    JSON,
    PrunerGoal,
    PrunerNeed,
    PrunerSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.judge import judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.plan import needs, plan
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LONGEST_LINE, LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

LOG_TIMEOUT = 10.0
LOG_BYTES = 64 * 1024
"""Seconds for the log of one Pod."""


class PrunerPart(Part[PrunerGoal, PrunerSnapshot]):
    """ImagePruner/cluster and the CronJob rendered from it."""

    name = "image_pruner"
    main = "pruner"

    def __init__(self, platform: Platform, params: JSON) -> None:
        super().__init__(platform)
        self._intent = parse_intent(params, platform)

    @property
    def main_path(self) -> str:
        """Path of ImagePruner/cluster."""
        return self.platform.pruner_path

    def needs(self, seen: Readings) -> list[Ref]:
        """See plan."""
        return needs(self._intent, seen)

    def plan(self, seen: Readings) -> Plan[PrunerGoal]:
        """See plan."""
        return plan(self._intent, seen)

    def aim(self, goal: PrunerGoal, seen: Readings, failures: Mapping[str, str]) -> PrunerGoal:
        """The generation that carries our values is known once the write has been answered."""
        pruner = seen["pruner"]
        stored = generation(pruner)
        return replace(
            goal,
            min_generation=max(goal.min_generation, stored),
            changed=stored > goal.min_generation,
            uid=uid(pruner),
        )

    def first(self, goal: PrunerGoal, seen: Readings, at: float) -> PrunerSnapshot:
        """Both objects, as they were read."""
        return PrunerSnapshot(at=at, pruner=seen_object(seen["pruner"]), cronjob=seen_object(seen.get("cronjob")))

    def targets(self, goal: PrunerGoal, snapshot: PrunerSnapshot) -> Sequence[Target[PrunerSnapshot]]:
        """ImagePruner and CronJob."""
        platform = self.platform
        return [
            Target(
                "pruner",
                f"{platform.api}/imagepruners",
                lambda snapshot, state: replace(snapshot, pruner=only(state)),
                field_selector=f"metadata.name={platform.singleton}",
                required=True,
            ),
            Target(
                "cronjob",
                namespaced(platform.namespace, "cronjobs", api="/apis/batch/v1"),
                lambda snapshot, state: replace(snapshot, cronjob=only(state)),
                field_selector=f"metadata.name={platform.cronjob}",
                required=True,
            ),
        ]

    def judge(self, goal: PrunerGoal, snapshot: PrunerSnapshot, history: History) -> tuple[Verdict, History]:
        """See judge."""
        return judge(goal, snapshot, history)

    def gather(
        self, client: Client, goal: PrunerGoal, snapshot: PrunerSnapshot, needs: frozenset[Need]
    ) -> PrunerSnapshot:
        """The last lines of the newest failed job."""
        if PrunerNeed.LOG in needs:
            snapshot = replace(snapshot, log=_job_log(client, self.platform))
        return replace(snapshot, at=time.monotonic())

    def main_object(self, snapshot: PrunerSnapshot) -> JSON | None:
        """ImagePruner/cluster."""
        return snapshot.pruner if isinstance(snapshot.pruner, Mapping) else None


def _job_log(client: Client, platform: Platform) -> tuple[LogFinding, ...]:
    """Last log lines of the newest failed job's Pod; empty when they are gone or may not be read."""
    try:
        jobs, _version = client.list(namespaced(platform.namespace, "jobs", api="/apis/batch/v1"))
        failed = [job for job in jobs if number_at(job, "status", "failed") > 0]
        if not failed:
            return ()
        newest = max(failed, key=lambda job: str(job["metadata"].get("creationTimestamp") or ""))
        name = newest["metadata"]["name"]
        pods, _version = client.list(namespaced(platform.namespace, "pods"), label_selector=f"job-name={name}")
        for pod in pods:
            path = namespaced(platform.namespace, "pods", pod["metadata"]["name"])
            query = f"tailLines=5&limitBytes={LOG_BYTES}"
            reply = client.raw("GET", f"{path}/log?{query}", retry=False, read_timeout=LOG_TIMEOUT, limit=LOG_BYTES)
            if reply.status == 200:
                return tuple(
                    LogFinding("job", plain(line)[:LONGEST_LINE], pod["metadata"]["name"])
                    for line in reply.text.splitlines()
                    if line.strip()
                )
    except (ApiError, ClientError):
        pass
    return ()
