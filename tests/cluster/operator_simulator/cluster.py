# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's view of the cluster: caches that also wake controllers, and writes as the operator makes them."""

from __future__ import annotations

import logging
import secrets
import threading
from copy import deepcopy

from . import names
from .api import Api, ApiError, Cache
from .conditions import ApplyError
from .names import Json
from .s3 import S3, S3Access

log = logging.getLogger("operator")

# Kinds in the registry's namespace that are watched; claims, Pods, Nodes, StorageClasses are not (operator fact 3.4.1).
REGISTRY_KINDS = (
    "Deployment",
    "Service",
    "Secret",
    "ConfigMap",
    "ServiceAccount",
    "PodDisruptionBudget",
    "Ingress",
)
WATCHED = (*REGISTRY_KINDS, "CronJob", "Job")


class Conflict(Exception):
    """Another client wrote the object after it was read."""


class Cluster:
    """Caches and writes, shared by the controllers.

    :param scale: divides the operator's own waits.
    """

    def __init__(self, api: Api, scale: float = 1.0) -> None:
        self.api = api
        self.scale = scale
        self.stop = threading.Event()
        self.caches = {kind: Cache(api, kind, names.NAMESPACE) for kind in WATCHED}
        self.caches["Config"] = Cache(api, "Config")
        self.caches["ImagePruner"] = Cache(api, "ImagePruner")
        self._clients: dict[S3Access, S3] = {}

    def start(self) -> None:
        """Start all caches and wait until each is filled; TimeoutError after 30 s."""
        for cache in self.caches.values():
            cache.start()
        for kind, cache in self.caches.items():
            if not cache.synced.wait(30):
                raise TimeoutError(f"cannot list {kind} within 30 s")

    # What storage drivers ask for (storage.World).

    def secret(self, name: str) -> Json | None:
        """Secret of the registry's namespace, from the cache."""
        return self.caches["Secret"].get(name)

    def config_map(self, name: str) -> Json | None:
        """ConfigMap of the registry's namespace, where trusted CAs are too, from the cache."""
        return self.caches["ConfigMap"].get(name)

    def claim(self, name: str) -> Json | None:
        """PersistentVolumeClaim, read live."""
        return self.api.find("PersistentVolumeClaim", name, names.NAMESPACE)

    def create_claim(self, claim: Json) -> None:
        """Create a claim; ApplyError when refused."""
        try:
            self.api.create(claim)
        except ApiError as error:
            raise ApplyError(str(error)) from error

    def delete_claim(self, name: str) -> None:
        """Delete a claim."""
        self.api.delete("PersistentVolumeClaim", name, names.NAMESPACE)

    def s3(self, access: S3Access) -> S3:
        """Client for an endpoint; reused, because creating one is slow."""
        client = self._clients.get(access)
        if client is None:
            if len(self._clients) > 16:
                self._clients.clear()
            client = self._clients[access] = S3(access, self.scale)
        return client

    def bucket_name(self) -> str:
        """A fresh bucket name."""
        return f"image-registry-{secrets.token_hex(12)}"

    def wait(self, seconds: float) -> None:
        """Sleep, scaled, or until the simulator stops."""
        self.stop.wait(seconds / self.scale)

    # Writes.

    def apply_checked(self, wanted: Json) -> bool:
        """Create an object, or replace it when its checksum annotation differs; otherwise manual edits stay.

        Returns whether something was written; ApplyError with the operator's wording when refused.
        """
        kind, meta = wanted["kind"], wanted["metadata"]
        existing = self.caches[kind].get(meta["name"])
        if existing is None:
            self._write("create", wanted)
            return True
        annotations = existing["metadata"].get("annotations") or {}
        if annotations.get(names.CHECKSUM) == meta["annotations"][names.CHECKSUM]:
            return False
        self._replace(existing, wanted)
        return True

    def apply_deployment(self, wanted: Json, generation: int | None) -> Json:
        """Create a Deployment, or replace it when its rendering or its generation differs from our last write.

        :param generation: the generation after our last write, None when unknown.
        """
        existing = self.caches["Deployment"].get(wanted["metadata"]["name"])
        if existing is None:
            return self._write("create", wanted)
        annotations = existing["metadata"].get("annotations") or {}
        same = annotations.get(names.SPEC_HASH) == wanted["metadata"]["annotations"][names.SPEC_HASH]
        if same and existing["metadata"]["generation"] == generation:
            return existing
        return self._replace(existing, wanted)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object in the foreground and cache the API server's answer."""
        cached = self.caches[kind].get(name)
        if cached is None or cached["metadata"].get("deletionTimestamp"):
            return
        answer = self.api.delete(kind, name, names.NAMESPACE, foreground=True)
        if answer is not None and answer.get("metadata", {}).get("deletionTimestamp"):
            self.caches[kind].learn(answer)

    def _replace(self, existing: Json, wanted: Json) -> Json:
        """Update the cached object, or the live one after a conflict."""
        for _ in range(5):
            body = merged(existing, wanted)
            try:
                return self._write("update", body)
            except Conflict:
                live = self.api.find(wanted["kind"], wanted["metadata"]["name"], names.NAMESPACE)
                if live is None:
                    return self._write("create", wanted)
                existing = live
        raise ApplyError(f"{wanted['kind']} {wanted['metadata']['name']} kept changing while it was being updated")

    def _write(self, verb: str, body: Json) -> Json:
        kind, meta = body["kind"], body["metadata"]
        try:
            answer = self.api.create(body) if verb == "create" else self.api.update(body)
        except ApiError as error:
            if error.conflict:
                raise Conflict from error
            raise ApplyError(
                f"failed to {verb} object *v1.{kind}, Namespace={meta['namespace']}, Name={meta['name']}: {error}"
            ) from error
        log.info("%sd %s %s", verb, kind, meta["name"])
        self.caches[kind].learn(answer)
        return answer


def merged(existing: Json, wanted: Json) -> Json:
    """A full update: metadata stays, except for added labels and annotations; all else comes from ``wanted``."""
    body = {**deepcopy(wanted), "metadata": deepcopy(existing["metadata"])}
    body["metadata"].pop("managedFields", None)
    for section in ("labels", "annotations"):
        if wanted["metadata"].get(section):
            body["metadata"][section] = {**(body["metadata"].get(section) or {}), **wanted["metadata"][section]}
    if body["kind"] == "Service":
        # The API server has filled in addresses that must not change.
        body["spec"] = {**existing["spec"], **wanted["spec"]}
    if "status" in existing:
        body["status"] = existing["status"]
    return body
