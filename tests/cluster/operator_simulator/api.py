# SPDX-License-Identifier: GPL-3.0-or-later
"""REST calls, watches and watch-fed caches; small on purpose: it shares a machine with a whole control plane."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import urllib3

from tests.cluster.kubeconfig import current_context, material

from .names import GROUP, Json

log = logging.getLogger("operator.api")

_APPS, _BATCH, _RBAC, _OPERATOR = (
    "apis/apps/v1",
    "apis/batch/v1",
    "apis/rbac.authorization.k8s.io/v1",
    f"apis/{GROUP}/v1",
)
KINDS: dict[str, tuple[str, str]] = {
    "Namespace": ("api/v1", "namespaces"),
    "Node": ("api/v1", "nodes"),
    "Service": ("api/v1", "services"),
    "Secret": ("api/v1", "secrets"),
    "ConfigMap": ("api/v1", "configmaps"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Deployment": (_APPS, "deployments"),
    "CronJob": (_BATCH, "cronjobs"),
    "Job": (_BATCH, "jobs"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
    "PriorityClass": ("apis/scheduling.k8s.io/v1", "priorityclasses"),
    "ClusterRole": (_RBAC, "clusterroles"),
    "ClusterRoleBinding": (_RBAC, "clusterrolebindings"),
    "RoleBinding": (_RBAC, "rolebindings"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Config": (_OPERATOR, "configs"),
    "ImagePruner": (_OPERATOR, "imagepruners"),
}


class ApiError(Exception):
    """The API server refused a request; ``message`` is its own text."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        """The object does not exist."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Another client wrote the object in the meantime."""
        return self.status == 409 and self.reason != "AlreadyExists"


class Api:
    """Client of the API server that a kubeconfig's current context names. Safe to share between threads.

    :raises OSError, ValueError: when the kubeconfig cannot be read.
    """

    def __init__(self, kubeconfig: str | Path) -> None:
        path = Path(kubeconfig)
        cluster, user = current_context(path)
        self._server: str = cluster["server"].rstrip("/")
        self._headers = {"User-Agent": "cluster-image-registry-operator"}
        if user.get("token"):
            self._headers["Authorization"] = f"Bearer {user['token']}"
        options: dict[str, Any] = {"retries": False, "maxsize": 16}
        if self._server.startswith("https"):
            self._folder = tempfile.TemporaryDirectory(prefix="operator-")
            for option, section, key in (
                ("ca_certs", cluster, "certificate-authority"),
                ("cert_file", user, "client-certificate"),
                ("key_file", user, "client-key"),
            ):
                content = material(section, key, path.parent)
                if content:
                    file = Path(self._folder.name) / option
                    file.touch(mode=0o600)
                    file.write_bytes(content)
                    options[option] = str(file)
            options["cert_reqs"] = "CERT_NONE" if cluster.get("insecure-skip-tls-verify") else "CERT_REQUIRED"
        self._pool = urllib3.PoolManager(**options)

    def path(self, kind: str, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """URL path of a collection, an object or a subresource."""
        group, plural = KINDS[kind]
        parts = [group]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (plural, name, sub) if part]
        return "/" + "/".join(parts)

    def call(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> Json:
        """Send one request; ApiError if it is refused, OSError if there is no answer."""
        headers = {**self._headers, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            answer = self._pool.request(
                method,
                self._server + path,
                body=json.dumps(body) if body is not None else None,
                headers=headers,
                timeout=urllib3.Timeout(connect=2, read=30),
            )
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{method} {path}: {error}") from error
        return _decode(answer.status, answer.data)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json:
        """Read one object."""
        return self.call("GET", self.path(kind, namespace, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """Read one object, None when it does not exist."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, query: str = "") -> list[Json]:
        """Objects of a kind."""
        items: list[Json] = self.call("GET", self.path(kind, namespace) + (f"?{query}" if query else ""))["items"]
        return items

    def create(self, obj: Json) -> Json:
        """Create an object."""
        return self.call("POST", self.path(obj["kind"], obj["metadata"].get("namespace")), obj)

    def update(self, obj: Json, sub: str | None = None) -> Json:
        """Replace an object, or its status with ``sub="status"``."""
        meta = obj["metadata"]
        return self.call("PUT", self.path(obj["kind"], meta.get("namespace"), meta["name"], sub), obj)

    def merge(self, kind: str, name: str, patch: Json, namespace: str | None = None, sub: str | None = None) -> Json:
        """JSON merge patch."""
        return self.call("PATCH", self.path(kind, namespace, name, sub), patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str | None = None, foreground: bool = False) -> Json | None:
        """Delete an object; None if it was already gone."""
        policy = "Foreground" if foreground else "Background"
        try:
            return self.call(
                "DELETE",
                self.path(kind, namespace, name),
                {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy},
            )
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def watch(self, kind: str, namespace: str | None, version: str) -> Iterator[Json]:
        """Events after a resource version, until the server ends the watch; ApiError 410 when it is too old."""
        path = f"{self.path(kind, namespace)}?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
        try:
            answer = self._pool.request(
                "GET",
                self._server + path,
                headers={**self._headers, "Accept": "application/json"},
                preload_content=False,
                timeout=urllib3.Timeout(connect=2, read=None),
            )
            if answer.status != 200:
                _decode(answer.status, answer.read())
            try:
                rest = b""
                for chunk in answer.stream(1 << 16, decode_content=True):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event: Json = json.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                        yield event
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"watch {path}: {error}") from error


class Cache:
    """A watch-fed copy of one collection, as an informer keeps it.

    :param on_change: called after every real change with (previous, current), either of which may be None.
    """

    def __init__(
        self,
        api: Api,
        kind: str,
        namespace: str | None = None,
        on_change: Callable[[Json | None, Json | None], None] | None = None,
    ) -> None:
        self._api, self._kind, self._namespace = api, kind, namespace
        self._listeners = [on_change] if on_change else []
        self._items: dict[tuple[str, str], Json] = {}
        self._dropped: dict[tuple[str, str], int] = {}  # versions at which objects were seen to be gone
        self._lock = threading.Condition()
        self._stop = threading.Event()
        self.synced = threading.Event()

    def listen(self, on_change: Callable[[Json | None, Json | None], None]) -> None:
        """Add a listener; only before `start`."""
        self._listeners.append(on_change)

    def start(self) -> None:
        """List and watch in a thread of its own."""
        threading.Thread(target=self._run, name=f"cache-{self._kind}", daemon=True).start()

    def stop(self) -> None:
        """Stop reconnecting."""
        self._stop.set()

    def get(self, name: str, namespace: str | None = None) -> Json | None:
        """The cached object; do not change it."""
        with self._lock:
            return self._items.get((namespace or self._namespace or "", name))

    def await_item(self, name: str, timeout: float) -> bool:
        """Wait until an object is cached; False if it is not after ``timeout`` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: (self._namespace or "", name) in self._items, timeout)

    def items(self) -> list[Json]:
        """All cached objects; do not change them."""
        with self._lock:
            return list(self._items.values())

    def learn(self, obj: Json) -> None:
        """Store the answer to our own write, unless the watch delivered something newer."""
        self._store(obj)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._api.call("GET", self._api.path(self._kind, self._namespace))
                self._replace(answer["items"], int(answer["metadata"]["resourceVersion"]))
                self.synced.set()
                version = answer["metadata"]["resourceVersion"]
                while not self._stop.is_set():
                    for event in self._api.watch(self._kind, self._namespace, version):
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] == "DELETED":
                            self._drop(event["object"], int(version))
                        elif event["type"] != "BOOKMARK":
                            self._store(event["object"])
            except (OSError, ApiError, ValueError) as error:
                log.debug("%s: %s; listing again", self._kind, error)
                self._stop.wait(0.2)

    def _replace(self, items: list[Json], version: int) -> None:
        keys = set()
        for obj in items:
            obj.setdefault("kind", self._kind)
            keys.add(_key(obj))
            self._store(obj)
        with self._lock:
            missing = [obj for key, obj in self._items.items() if key not in keys]
        for obj in missing:
            self._drop(obj, version)

    def _store(self, obj: Json) -> None:
        obj.setdefault("kind", self._kind)
        with self._lock:
            previous = self._items.get(_key(obj))
            # The answer to our own write may come later than the watch's word of what followed it, even of the end.
            newest = max(_version(previous), self._dropped.get(_key(obj), 0))
            if newest >= _version(obj):
                return
            self._items[_key(obj)] = obj
            self._lock.notify_all()
        for on_change in self._listeners:
            on_change(previous, obj)

    def _drop(self, obj: Json, version: int) -> None:
        """Take an object out that was gone at a version; one of the same name that is newer stays."""
        with self._lock:
            self._dropped[_key(obj)] = version
            previous = self._items.get(_key(obj))
            if previous is None or _version(previous) > version:
                return
            del self._items[_key(obj)]
        for on_change in self._listeners:
            on_change(previous, None)


def _version(obj: Json | None) -> int:
    return int(obj["metadata"]["resourceVersion"]) if obj is not None else 0


def _key(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _decode(status: int, data: bytes) -> Json:
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        document = {"message": data.decode(errors="replace")}
    if status >= 300:
        raise ApiError(status, document.get("reason", ""), document.get("message", f"HTTP {status}"))
    result: Json = document
    return result
