# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of Config and ImagePruner as pure functions (operator facts 3.1.1 to 3.1.7, 3.5.1 and 3.5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .names import Json

UNMANAGED = "The registry configuration is set to unmanaged mode"
REMOVED = "The registry is removed"
READY = "The registry is ready"


class ApplyError(Exception):
    """An error of one reconcile that is retried; its text ends up in the Progressing condition."""


class PermanentError(ApplyError):
    """An error that only another event can fix; ``reason`` ends up in the Degraded condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Conditions:
    """The condition list of one object; ``now`` is UTC and rounded to seconds when written."""

    items: list[Json]
    now: datetime

    def set(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        """Set one condition; its time moves only when the status flips. Empty texts remove their keys."""
        item = self.get(kind)
        if item is None:
            item = {"type": kind}
            self.items.append(item)
        if item.get("status") != status:
            item["status"] = status
            item["lastTransitionTime"] = self.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for key, value in (("reason", reason), ("message", message)):
            if value:
                item[key] = value
            else:
                item.pop(key, None)

    def get(self, kind: str) -> Json | None:
        """The condition of that type, if present."""
        return next((item for item in self.items if item["type"] == kind), None)

    def age(self, kind: str) -> float:
        """Seconds since the condition's status flipped; 0 when it does not exist."""
        item = self.get(kind)
        if item is None:
            return 0.0
        since = datetime.strptime(item["lastTransitionTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return (self.now - since).total_seconds()


def deployment_condition(deploy: Json, kind: str) -> Json:
    """A condition of a Deployment, empty when absent."""
    conditions: list[Json] = deploy.get("status", {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind), {})


def _complete(deploy: Json) -> bool:
    progressing = deployment_condition(deploy, "Progressing")
    return progressing.get("status") == "True" and progressing.get("reason") == "NewReplicaSetAvailable"


def sync_config_conditions(
    conditions: Conditions,
    state: str,
    deploy: Json | None,
    error: ApplyError | None,
    ingress_problem: str = "",
    inertia: float = 300.0,
) -> None:
    """Set Available, Progressing, Degraded and Removed.

    :param state: ``spec.managementState``; empty counts as Removed on this product (operator fact 0.2).
    :param deploy: the Deployment as the informer cache has it, which may be older than the last write.
    :param ingress_problem: why an Ingress is not reachable, empty when all are.
    :param inertia: seconds that unavailability must last before it counts as Degraded.
    """
    removed = state in ("", "Removed")
    permanent = error if isinstance(error, PermanentError) else None

    available = _available(state, removed, deploy, permanent)
    conditions.set("Available", *available)
    conditions.set("Progressing", *_progressing(state, removed, deploy, error, permanent))
    if state == "Unmanaged":
        conditions.set("Degraded", "False", "Unmanaged", UNMANAGED)
    elif permanent:
        conditions.set("Degraded", "True", permanent.reason, f"Error: {permanent}")
    elif removed:
        conditions.set("Degraded", "False", "Removed", REMOVED)
    elif available[0] != "True":
        if conditions.age("Available") > inertia:
            conditions.set("Degraded", "True", "Unavailable", available[2])
        else:
            conditions.set("Degraded", "False")
    else:
        conditions.set("Degraded", *_rollout_degraded(deploy, ingress_problem))
    if removed:
        conditions.set("Removed", "True", "Removed", REMOVED)
    else:
        conditions.set("Removed", "False")


def _available(
    state: str, removed: bool, deploy: Json | None, permanent: PermanentError | None
) -> tuple[str, str, str]:
    if state == "Unmanaged":
        return "True", "Unmanaged", UNMANAGED
    if deploy is None:
        if permanent:
            return "False", permanent.reason, f"Error: {permanent}"
        if removed:
            return "True", "Removed", REMOVED
        return "False", "DeploymentNotFound", "The deployment does not exist"
    if deploy["metadata"].get("deletionTimestamp"):
        return "False", "DeploymentDeleted", "The deployment is being deleted"
    status = deploy.get("status", {})
    if not status.get("availableReplicas"):
        return "False", "NoReplicasAvailable", "The deployment does not have available replicas"
    if status["availableReplicas"] != status.get("replicas"):
        return "True", "MinimumAvailability", "The registry has minimum availability"
    return "True", "Ready", READY


def _progressing(
    state: str, removed: bool, deploy: Json | None, error: ApplyError | None, permanent: PermanentError | None
) -> tuple[str, str, str]:
    if state == "Unmanaged":
        return "False", "Unmanaged", UNMANAGED
    if removed:
        if deploy is not None:
            return "True", "DeletingDeployment", "The deployment is being removed"
        return "False", "Removed", "All registry resources are removed"
    if error is not None:
        return ("False" if permanent else "True"), "Error", f"Unable to apply resources: {error}"
    if deploy is None:
        return (
            "True",
            "WaitingForDeployment",
            "All resources are successfully applied, but the deployment does not exist",
        )
    if deploy["metadata"].get("deletionTimestamp"):
        return "True", "FinalizingDeployment", "The deployment is being deleted"
    if not _complete(deploy):
        return "True", "DeploymentNotCompleted", "The deployment has not completed"
    return "False", "Ready", READY


def _rollout_degraded(deploy: Json | None, ingress_problem: str) -> tuple[str, str, str]:
    progressing = deployment_condition(deploy or {}, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        message = f"Registry deployment has timed out progressing: {progressing.get('message', '')}"
        return "True", "ProgressDeadlineExceeded", message
    if ingress_problem:
        return "True", "IngressDegraded", ingress_problem
    return "False", "", ""


def sync_pruner_conditions(
    conditions: Conditions, suspend: bool, cronjob: bool, failed_job: Json | None, error: str = ""
) -> None:
    """Set Available, Failed, Scheduled and Degraded of an ImagePruner.

    :param cronjob: whether the CronJob is in the cache.
    :param failed_job: the Failed condition of the newest finished Job, None when that succeeded or no Job ever ran.
    :param error: text of the error of this reconcile, empty when there was none.
    """
    if cronjob:
        conditions.set("Available", "True", "AsExpected", "Pruner CronJob has been created")
    else:
        conditions.set("Available", "False", "Error", "Pruner CronJob does not exist")
    if failed_job is not None:
        conditions.set("Failed", "True", failed_job.get("reason", ""), failed_job.get("message", ""))
    else:
        conditions.set("Failed", "False", "Complete", "Pruner completed successfully")
    if suspend:
        conditions.set("Scheduled", "False", "Suspended", "The pruner job has been suspended")
    else:
        conditions.set("Scheduled", "True", "Scheduled", "The pruner job has been scheduled")
    if error:
        conditions.set("Degraded", "True", "SyncError", f"Error: {error}")
    elif failed_job is not None:
        conditions.set("Degraded", "True", "JobFailed", failed_job.get("message", ""))
    else:
        conditions.set("Degraded", "False", "AsExpected")


def newest_finished_job(jobs: list[Json]) -> Json | None:
    """The Failed condition of the newest finished Job of the list, None if that succeeded or none finished.

    All Jobs of the namespace count, not only the CronJob's own (operator fact 3.5.2).
    """
    newest: tuple[str, Json | None] | None = None
    for job in jobs:
        for item in job.get("status", {}).get("conditions") or []:
            if item.get("status") == "True" and item["type"] in ("Complete", "Failed"):
                created = job["metadata"].get("creationTimestamp", "")
                if newest is None or created >= newest[0]:
                    newest = created, (item if item["type"] == "Failed" else None)
    return newest[1] if newest else None
