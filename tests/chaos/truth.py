# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true in the cluster, read without the collection: objects, Pods, the registry's own answers.

Each goal is one part of a task: the options that ask for it, what must be stored, what must have come of it, and the
objects that the task owns, by which ``changed`` is judged.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.operator_simulator.api import KINDS, Api, ApiError
from tests.cluster.operator_simulator.names import (
    CRONJOB,
    MANAGED_PULL_SECRET,
    NAMESPACE,
    PORT,
    PULLERS_BINDING,
    REGISTRY,
    SINGLETON,
    USER_SECRET,
)

QUOTA = "image-registry-quota"
LIMITS = "image-registry-limits"
_MORE = {
    "Pod": ("api/v1", "pods"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "LimitRange": ("api/v1", "limitranges"),
}
JSON = dict[str, Any]


class World:
    """The cluster as its administrator sees it, without a single line of the collection."""

    def __init__(self, kubeconfig: str | Path) -> None:
        self._api = Api(kubeconfig)

    def find(self, kind: str, name: str, namespace: str = "") -> JSON | None:
        """An object, None when it does not exist."""
        group, plural = (KINDS | _MORE)[kind]
        place = f"namespaces/{namespace}/{plural}" if namespace else plural
        try:
            return self._api.call("GET", f"/{group}/{place}/{name}")
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def create(self, path: str, body: JSON) -> None:
        """Create an object that others need."""
        self._api.call("POST", path, body)

    def merge(self, kind: str, name: str, patch: JSON, namespace: str = "") -> None:
        """Change an object as somebody with kubectl would."""
        self._api.merge(kind, name, patch, namespace or None)

    def spec(self, kind: str, name: str, namespace: str = "") -> JSON:
        """The spec of an object, {} when it does not exist."""
        found = self.find(kind, name, namespace)
        return dict((found or {}).get("spec") or {})

    def conditions(self, kind: str, name: str) -> list[JSON]:
        """The conditions of an object."""
        return list(((self.find(kind, name) or {}).get("status") or {}).get("conditions") or [])

    def pods(self) -> list[JSON]:
        """The registry's Pods that are not on their way out."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io%2Fname%3D{REGISTRY}"
        found = self._api.call("GET", path)["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def accepts(self, pod: str) -> str:
        """Begin an upload at a Pod's registry, which needs its storage; why that failed, or nothing."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/https:{pod}:{PORT}/proxy/v2/chaos/truth/blobs/uploads/"
        try:
            self._api.call("POST", path)
        except (ApiError, OSError) as error:
            return f"{pod} does not take an upload: {error}"
        return ""


class Goal(ABC):
    """One part of a task."""

    module: str

    @abstractmethod
    def options(self) -> JSON:
        """The module's options."""

    @abstractmethod
    def owned(self, world: World) -> JSON:
        """What the task may write, as it is now."""

    @abstractmethod
    def missing(self, world: World) -> Iterator[str]:
        """What is not as asked: in what is stored, and in what has come of it."""


@dataclass(frozen=True)
class Bucket:
    """A bucket with one of its keys."""

    name: str
    region: str
    endpoint: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Storage(Goal):
    """registry_storage. Exactly one of claim and bucket is set, or none for emptyDir."""

    redirect: bool
    cpu: str
    replicas: int = 1
    claim: str = ""
    bucket: Bucket | None = None
    claims: tuple[str, ...] = ()
    module: str = "registry_storage"

    def options(self) -> JSON:
        resources = {"requests": {"cpu": self.cpu, "memory": "64Mi"}}
        more: JSON = {"backend": "emptydir"}
        if self.claim:
            claim = {"claim": self.claim, "create": True, "size": "1Gi", "storage_class": "lab"}
            more = {"backend": "pvc", "pvc": {**claim, "access_modes": ["ReadWriteMany"]}}
        if self.bucket:
            place = {"bucket": self.bucket.name, "region": self.bucket.region, "region_endpoint": self.bucket.endpoint}
            keys = {"access_key": self.bucket.access_key, "secret_key": self.bucket.secret_key}
            more = {"backend": "s3", "s3": {**place, **keys}}
        more |= {"replicas": self.replicas, "disable_redirect": self.redirect, "resources": resources}
        return {**more, "on_backend_change": "allow", "rollout_strategy": "RollingUpdate"}

    def owned(self, world: World) -> JSON:
        spec = world.spec("Config", SINGLETON)
        found: JSON = {"config": {key: spec[key] for key in spec if key not in ("imagePullSecret", "httpSecret")}}
        found["secret"] = (world.find("Secret", USER_SECRET, NAMESPACE) or {}).get("data")
        for name in self.claims:
            claim = world.spec("PersistentVolumeClaim", name, NAMESPACE)
            found[name] = {key: claim.get(key) for key in ("resources", "accessModes", "storageClassName")}
        return found

    def missing(self, world: World) -> Iterator[str]:
        config = world.find("Config", SINGLETON) or {}
        spec, storage = config["spec"], dict(config["spec"].get("storage") or {})
        storage.pop("managementState", None)
        place: JSON = {"emptyDir": {}}
        if self.claim:
            place = {"pvc": {"claim": self.claim}}
        if self.bucket:
            want = {"bucket": self.bucket.name, "region": self.bucket.region, "regionEndpoint": self.bucket.endpoint}
            have = storage.get("s3") or {}
            place = {"s3": {**have, **want}}
            data = (world.find("Secret", USER_SECRET, NAMESPACE) or {}).get("data") or {}
            kept = base64.b64decode(data.get("REGISTRY_STORAGE_S3_SECRETKEY", "")).decode()
            if kept != self.bucket.secret_key:
                yield "the Secret holds another key"
        if {key: value for key, value in storage.items() if value is not None} != place:
            yield f"spec.storage is {storage}, not {place}"
        if (spec.get("replicas"), bool(spec.get("disableRedirect"))) != (self.replicas, self.redirect):
            yield f"replicas, disableRedirect are {spec.get('replicas')}, {spec.get('disableRedirect')}"
        if (config.get("status") or {}).get("observedGeneration") != config["metadata"]["generation"]:
            yield "the operator has not seen this generation"
        deployment = world.find("Deployment", REGISTRY, NAMESPACE) or {}
        status = deployment.get("status") or {}
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        if status.get("observedGeneration") != deployment["metadata"]["generation"] or set(counts) != {self.replicas}:
            yield f"the Deployment has replicas, updated, available {counts}"
        pods = world.pods()
        if len(pods) != self.replicas:
            yield f"{len(pods)} Pods"
        for pod in pods:
            yield from self._pod(world, pod)

    def _pod(self, world: World, pod: JSON) -> Iterator[str]:
        name, spec = pod["metadata"]["name"], pod["spec"]
        [container] = [one for one in spec["containers"] if one["name"] == "registry"]
        environment = {one["name"]: one.get("value") for one in container.get("env") or []}
        claims = [
            one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one
        ]
        if claims != ([self.claim] if self.claim else []):
            yield f"{name} mounts the claims {claims}"
        bucket = environment.get("REGISTRY_STORAGE_S3_BUCKET") or ""
        if bucket != (self.bucket.name if self.bucket else ""):
            yield f"{name} has the bucket {bucket!r}"
        if container["resources"]["requests"]["cpu"] != self.cpu:
            yield f"{name} requests {container['resources']['requests']['cpu']}"
        ready = [one["status"] for one in pod["status"].get("conditions") or [] if one["type"] == "Ready"]
        if ready != ["True"]:
            yield f"{name} is not ready"
        problem = world.accepts(name)
        if problem:
            yield problem


@dataclass(frozen=True)
class PullSecrets(Goal):
    """registry_pullsecret. namespace: one whose Secrets are verified, and where they must be."""

    hosts: tuple[str, ...]
    ignored: tuple[str, ...]
    namespace: str = ""
    module: str = "registry_pullsecret"

    def options(self) -> JSON:
        asked: JSON = {"management_state": "Managed", "ignore_system_namespaces": True}
        asked |= {"additional_registry_hosts": list(self.hosts), "ignored_namespaces": list(self.ignored)}
        return asked | ({"verify_namespaces": [self.namespace]} if self.namespace else {})

    def owned(self, world: World) -> JSON:
        return {"pull secrets": world.spec("Config", SINGLETON).get("imagePullSecret")}

    def missing(self, world: World) -> Iterator[str]:
        settings = world.spec("Config", SINGLETON).get("imagePullSecret") or {}
        have = [sorted(settings.get(key) or []) for key in ("additionalRegistryHosts", "ignoredNamespaces")]
        if have != [sorted(self.hosts), sorted(self.ignored)]:
            yield f"spec.imagePullSecret is {settings}"
        if self.namespace:
            if world.find("RoleBinding", PULLERS_BINDING, self.namespace) is None:
                yield f"{self.namespace} has no RoleBinding"
            account = world.find("ServiceAccount", "default", self.namespace) or {}
            names = [one["name"] for one in account.get("imagePullSecrets") or []]
            secrets = [world.find("Secret", name, self.namespace) or {} for name in names]
            if not any(MANAGED_PULL_SECRET in ((one.get("metadata") or {}).get("labels") or {}) for one in secrets):
                yield f"{self.namespace}/default lists no managed Secret ({names})"


@dataclass(frozen=True)
class Limits(Goal):
    """image_limits. images and size: what is asked; no images: the limits are to be absent."""

    namespaces: tuple[str, ...]
    images: str
    size: str = ""
    module: str = "image_limits"

    def options(self) -> JSON:
        if not self.images:
            return {"namespaces": list(self.namespaces), "state": "absent"}
        return {"namespaces": list(self.namespaces), "quota": {"images": self.images}, "image": {"storage": self.size}}

    def owned(self, world: World) -> JSON:
        kinds = (("ResourceQuota", QUOTA), ("LimitRange", LIMITS))
        return {
            f"{namespace}/{kind}": world.spec(kind, name, namespace)
            for namespace in self.namespaces
            for kind, name in kinds
        }

    def missing(self, world: World) -> Iterator[str]:
        for namespace in self.namespaces:
            quota, limits = world.find("ResourceQuota", QUOTA, namespace), world.find("LimitRange", LIMITS, namespace)
            if not self.images:
                if quota or limits:
                    yield f"{namespace} still has limits"
                continue
            hard = [
                ((quota or {}).get(key) or {}).get("hard", {}).get("alauda.io/images") for key in ("spec", "status")
            ]
            if hard != [self.images] * 2:
                yield f"{namespace}: the quota is {hard} in spec, status"
            entries = ((limits or {}).get("spec") or {}).get("limits") or []
            if [one["max"]["storage"] for one in entries if one["type"] == "alauda.io/Image"] != [self.size]:
                yield f"{namespace}: the limits are {entries}"


@dataclass(frozen=True)
class Pruner(Goal):
    """image_pruner."""

    schedule: str
    suspend: bool
    revisions: int
    hours: int
    module: str = "image_pruner"

    def options(self) -> JSON:
        keep = {"keep_tag_revisions": self.revisions, "keep_younger_than": f"{self.hours}h0m0s"}
        return {"schedule": self.schedule, "suspend": self.suspend, **keep}

    def owned(self, world: World) -> JSON:
        return {"pruner": world.spec("ImagePruner", SINGLETON)}

    def missing(self, world: World) -> Iterator[str]:
        spec, job = world.spec("ImagePruner", SINGLETON), world.spec("CronJob", CRONJOB, NAMESPACE)
        wanted = [self.schedule, self.suspend, self.revisions, f"{self.hours}h0m0s"]
        have = [spec.get("schedule"), bool(spec.get("suspend")), spec.get("keepTagRevisions")]
        if [*have, spec.get("keepYoungerThanDuration")] != wanted:
            yield f"ImagePruner is {spec}"
        if [job.get("schedule"), job.get("suspend")] != [self.schedule, self.suspend]:
            yield f"the CronJob has schedule and suspend {job.get('schedule')}, {job.get('suspend')}"
        text = json.dumps(job)
        for argument in (f"--keep-tag-revisions={self.revisions}", f"--keep-younger-than={self.hours}h0m0s"):
            if f'"{argument}"' not in text:
                yield f"the CronJob lacks {argument}"


@dataclass(frozen=True)
class Task:
    """One task: a module with its options, and what is to be true after it."""

    module: str
    goals: tuple[Goal, ...]

    def options(self) -> JSON:
        """The module's options, those of the whole page for `registry`."""
        if self.module != "registry":
            return self.goals[0].options()
        page: JSON = {goal.module: goal.options() for goal in self.goals}
        return page | {"image_limits": [page["image_limits"]]}

    def owned(self, world: World) -> JSON:
        """What the task may write, as it is now."""
        found: JSON = {}
        for goal in self.goals:
            found |= goal.owned(world)
        return found

    def missing(self, world: World) -> list[str]:
        """What is not as asked."""
        return [text for goal in self.goals for text in goal.missing(world)]

    def secrets(self) -> list[str]:
        """What no output may contain."""
        return [one.bucket.secret_key for one in self.goals if isinstance(one, Storage) and one.bucket]
