# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads single facts out of Config, Deployment, Pods and claims. Draws no conclusions; those are the judge's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import JSON, Goal
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    canonical,
    format_duration,
    same,
)

NOTHING: JSON = {}


def part(value: object, *keys: str) -> JSON:
    """The mapping under ``keys``, empty when anything on the way is absent or no mapping."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else NOTHING


def number(value: object, *keys: str) -> int:
    """The integer under ``keys``; absent is 0, as in Go (``omitempty``)."""
    found = part(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def deleting(value: object) -> bool:
    """Whether an object has been deleted and waits for its finalizers or its Pods."""
    return bool(part(value, "metadata").get("deletionTimestamp"))


@dataclass(frozen=True)
class Condition:
    """One condition; absent ones have an empty status. changed: lastTransitionTime as written."""

    kind: str
    status: str = ""
    reason: str = ""
    message: str = ""
    changed: str = ""

    @property
    def true(self) -> bool:
        """Whether the condition is True (absent and Unknown are not)."""
        return self.status == "True"

    @property
    def text(self) -> str:
        """``Type=Status/Reason`` for people."""
        return f"{self.kind}={self.status or 'absent'}" + (f"/{self.reason}" if self.reason else "")


def condition(value: object, kind: str) -> Condition:
    """The condition ``kind`` of an object."""
    entries = part(value, "status").get("conditions")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("type") == kind:
            reason, message, changed = (
                str(entry.get(key) or "") for key in ("reason", "message", "lastTransitionTime")
            )
            return Condition(kind, str(entry.get("status") or ""), reason, message, changed)
    return Condition(kind)


# -- the Deployment ----------------------------------------------------------------------------------------------------

_DRIVERS: Mapping[str, frozenset[str]] = {
    "emptyDir": frozenset({"filesystem"}),
    "pvc": frozenset({"filesystem"}),
    "s3": frozenset({"s3"}),
    "swift": frozenset({"swift"}),
    "gcs": frozenset({"gcs"}),
    # IBM's object storage is reached through the S3 driver.
    "ibmcos": frozenset({"s3", "ibmcos"}),
    "azure": frozenset({"azure"}),
}


def container(deployment: JSON, name: str) -> JSON:
    """The container ``name`` of a Deployment's template."""
    containers = part(deployment, "spec", "template", "spec").get("containers")
    for entry in containers if isinstance(containers, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return entry
    return NOTHING


def environment(deployment: JSON, name: str) -> dict[str, str | None]:
    """Environment of the container ``name``; None for a value that comes from elsewhere (valueFrom)."""
    entries = container(deployment, name).get("env")
    return {
        str(entry.get("name")): str(entry["value"]) if entry.get("value") is not None else _from_elsewhere(entry)
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    }


def _from_elsewhere(entry: JSON) -> str | None:
    return None if entry.get("valueFrom") else ""


def place(spec: JSON, backend: str) -> str:
    """Where a backend keeps its data, in short: ``pvc/image-registry``, ``s3/images``, ``emptyDir``."""
    settings = part(spec, "storage", backend)
    for key in ("claim", "bucket", "container"):
        if settings.get(key):
            return f"{backend}/{settings[key]}"
    return backend


def stale_content(goal: Goal, spec: JSON, deployment: JSON) -> str:
    """What in the Deployment is not yet what Config says, as a short phrase; empty when nothing is.

    Operator facts 4.13 to 4.16: how the operator renders a spec. Only what the goal speaks about is compared, and only
    fields that a Deployment has (a reduced object without a key is not held against it).
    """
    wanted, shape = goal.spec, part(deployment, "spec")
    template = part(shape, "template", "spec")
    have = environment(deployment, goal.container)
    replicas = number(spec, "replicas")
    if number(shape, "replicas") != replicas:
        return f"replicas {number(shape, 'replicas')} instead of {replicas}"
    strategy = str(part(shape, "strategy").get("type") or "RollingUpdate")
    if strategy != (spec.get("rolloutStrategy") or "RollingUpdate"):
        return f"strategy {strategy}"
    if goal.backend is not None:
        mismatch = _stale_storage(goal.backend, spec, template, have)
        if mismatch:
            return mismatch
    for name, value in {**_environment_of_settings(wanted, spec), **goal.env}.items():
        if (name in have) != (value is not None) or (value is not None and have[name] != value):
            return f"environment {name}"
    registry = container(deployment, goal.container)
    if wanted.get("resources") is not None and "resources" in registry:
        compute = {key: value for key, value in part(registry, "resources").items() if key != "claims"}
        if not same(("resources",), part(spec, "resources"), compute):
            return "resources"
    if wanted.get("nodeSelector") is not None and "nodeSelector" in template:
        labels = part(template, "nodeSelector")
        if any(labels.get(key) != value for key, value in part(spec, "nodeSelector").items()):
            return "node selector"
    if wanted.get("tolerations") is not None and "tolerations" in template:
        have_tolerations = template.get("tolerations")
        listed = have_tolerations if isinstance(have_tolerations, list) else []
        asked = spec.get("tolerations")
        if any(toleration not in listed for toleration in (asked if isinstance(asked, list) else [])):
            return "tolerations"
    return ""


def _stale_storage(backend: str, spec: JSON, template: JSON, have: Mapping[str, str | None]) -> str:
    if have.get("REGISTRY_STORAGE") not in _DRIVERS.get(backend, {have.get("REGISTRY_STORAGE")}):
        return f"storage driver {have.get('REGISTRY_STORAGE') or 'not set'}"
    volumes = template.get("volumes")
    mounted: JSON = NOTHING
    for volume in volumes if isinstance(volumes, list) else []:
        if isinstance(volume, Mapping) and volume.get("name") == "registry-storage":
            mounted = volume
    settings = part(spec, "storage", backend)
    if backend == "pvc":
        claim = part(mounted, "persistentVolumeClaim").get("claimName")
        return "" if claim == settings.get("claim") else f"volume {claim or 'without a claim'}"
    if backend == "emptyDir":
        return "" if "emptyDir" in mounted else "volume without emptyDir"
    if mounted:
        return "volume of the storage before"
    if backend == "s3":
        for field, name in (("bucket", "BUCKET"), ("region", "REGION"), ("regionEndpoint", "REGIONENDPOINT")):
            if (settings.get(field) or "") != (have.get(f"REGISTRY_STORAGE_S3_{name}") or ""):
                return f"environment REGISTRY_STORAGE_S3_{name}"
        # Names that not every release has: compared where they are there.
        for name, value in (
            ("ENCRYPT", "true" if settings.get("encrypt") else "false"),
            ("FORCEPATHSTYLE", "false" if settings.get("virtualHostedStyle") else "true"),
        ):
            if have.get(f"REGISTRY_STORAGE_S3_{name}", value) != value:
                return f"environment REGISTRY_STORAGE_S3_{name}"
    return ""


def _environment_of_settings(wanted: JSON, spec: JSON) -> dict[str, str | None]:
    expected: dict[str, str | None] = {}
    if "disableRedirect" in wanted:
        expected["REGISTRY_STORAGE_REDIRECT_DISABLE"] = "true" if spec.get("disableRedirect") else None
    if "readOnly" in wanted:
        expected["REGISTRY_STORAGE_MAINTENANCE_READONLY"] = "{enabled: true}" if spec.get("readOnly") else None
    if "requests" in wanted:
        for kind in ("read", "write"):
            limits = part(spec, "requests", kind)
            limited = bool(number(limits, "maxRunning") or number(limits, "maxInQueue"))
            for field in ("maxRunning", "maxInQueue"):
                name = f"REGISTRY_OPENSHIFT_REQUESTS_{kind.upper()}_{field.upper()}"
                expected[name] = str(number(limits, field)) if limited else None
            waits = canonical(("requests", kind, "maxWaitInQueue"), limits.get("maxWaitInQueue"), strict=False)
            name = f"REGISTRY_OPENSHIFT_REQUESTS_{kind.upper()}_MAXWAITINQUEUE"
            expected[name] = format_duration(waits if isinstance(waits, int) else 0) if limited else None
    return expected


@dataclass(frozen=True)
class Rollout:
    """How far the Deployment's controller is. wanted, updated, available, total: Pods; leaving: terminating ones."""

    observed: bool
    wanted: int
    updated: int
    ready: int
    available: int
    total: int
    leaving: int
    reason: str

    @property
    def complete(self) -> bool:
        """Whether exactly the wanted Pods run, all of the newest template."""
        counts = {self.updated, self.ready, self.available, self.total}
        return (
            self.observed and counts == {self.wanted} and not self.leaving and self.reason == "NewReplicaSetAvailable"
        )


def rollout(deployment: JSON) -> Rollout:
    """The state of a Deployment's rollout (Kubernetes: kubectl rollout status, plus old Pods that still terminate)."""
    status = part(deployment, "status")
    return Rollout(
        observed=number(status, "observedGeneration") >= number(deployment, "metadata", "generation"),
        wanted=number(deployment, "spec", "replicas"),
        updated=number(status, "updatedReplicas"),
        ready=number(status, "readyReplicas"),
        available=number(status, "availableReplicas"),
        total=number(status, "replicas"),
        leaving=number(status, "terminatingReplicas"),
        reason=condition(deployment, "Progressing").reason,
    )


# -- Pods --------------------------------------------------------------------------------------------------------------

_HASH = "pod-template-hash"


def own(pods: tuple[JSON, ...], deployment: JSON) -> tuple[JSON, ...]:
    """The Pods that the Deployment's ReplicaSets made: others may carry the same labels, and prove nothing."""
    name = part(deployment, "metadata").get("name")
    return tuple(pod for pod in pods if _made_by(pod, f"{name}-{part(pod, 'metadata', 'labels').get(_HASH)}"))


def _made_by(pod: JSON, replica_set: str) -> bool:
    owners = part(pod, "metadata").get("ownerReferences")
    return any(
        isinstance(owner, Mapping) and (owner.get("kind"), owner.get("name")) == ("ReplicaSet", replica_set)
        for owner in (owners if isinstance(owners, list) else [])
    )


def living(pods: tuple[JSON, ...]) -> list[JSON]:
    """Pods that have not ended (evicted and finished ones stay listed but serve nothing)."""
    return [pod for pod in pods if part(pod, "status").get("phase") not in ("Succeeded", "Failed")]


def staying(pods: tuple[JSON, ...]) -> list[JSON]:
    """Pods that serve, or will: neither ended nor terminating."""
    return [pod for pod in living(pods) if not deleting(pod)]


def newest(pods: tuple[JSON, ...]) -> list[JSON]:
    """The Pods of the newest template that are not terminating: those made from the same one as the youngest Pod."""
    candidates = staying(pods)
    if not candidates:
        return []
    youngest = max(candidates, key=lambda pod: str(part(pod, "metadata").get("creationTimestamp") or ""))
    template = part(youngest, "metadata", "labels").get(_HASH)
    return [pod for pod in candidates if part(pod, "metadata", "labels").get(_HASH) == template]


def old(pods: tuple[JSON, ...]) -> tuple[int, int]:
    """How many Pods of older templates still run, and how many Pods of any template are terminating."""
    alive = living(pods)
    leaving = sum(1 for pod in alive if deleting(pod))
    return len(alive) - leaving - len(newest(pods)), leaving


def container_status(pod: JSON, name: str) -> JSON:
    """The status of the container ``name``."""
    entries = part(pod, "status").get("containerStatuses")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return entry
    return NOTHING


def pod_name(pod: JSON) -> str:
    """The Pod's name."""
    return str(part(pod, "metadata").get("name") or "?")
