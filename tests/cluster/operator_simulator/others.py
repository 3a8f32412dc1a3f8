# SPDX-License-Identifier: GPL-3.0-or-later
"""The smaller controllers: pruner, certificates, managed pull secrets, and a writer of status noise."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import uuid
from copy import deepcopy
from datetime import UTC, datetime

from . import names, render
from .api import Api, ApiError
from .cluster import Cluster
from .conditions import ApplyError, Conditions, newest_finished_job, sync_pruner_conditions
from .names import Json
from .spec import dig
from .storage import trusted_bundle

log = logging.getLogger("operator.others")


class PrunerController:
    """ImagePruner/cluster to CronJob ``image-pruner`` (operator facts 3.5.1 to 3.5.3 and 5.1 to 5.5)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def sync(self) -> None:
        """One reconcile; ApplyError asks for a retry."""
        cluster = self.cluster
        pruner = cluster.caches["ImagePruner"].get(names.SINGLETON)
        if pruner is None:
            self._bootstrap()
            return
        spec, error = pruner["spec"], None
        try:
            service = cluster.caches["Service"].get(names.REGISTRY)
            serving = service is not None and not service["metadata"].get("deletionTimestamp")
            cluster.apply_checked(render.pruner_cronjob(spec, serving))
        except ApplyError as failure:
            error = ApplyError(f"unable to apply objects: {failure}")
        status = deepcopy(pruner.get("status") or {})
        status["observedGeneration"] = pruner["metadata"]["generation"]
        sync_pruner_conditions(
            Conditions(status.setdefault("conditions", []), datetime.now(UTC)),
            suspend=bool(spec.get("suspend")),
            cronjob=cluster.caches["CronJob"].get(names.CRONJOB) is not None,
            failed_job=newest_finished_job(cluster.caches["Job"].items()),
            error=str(error) if error else "",
        )
        if status != (pruner.get("status") or {}):
            body = {**pruner, "apiVersion": f"{names.GROUP}/v1", "kind": "ImagePruner", "status": status}
            cluster.caches["ImagePruner"].learn(cluster.api.update(body, sub="status"))
        if error:
            raise error

    def _bootstrap(self) -> None:
        self.cluster.api.create(
            {
                "apiVersion": f"{names.GROUP}/v1",
                "kind": "ImagePruner",
                "metadata": {"name": names.SINGLETON},
                "spec": {
                    "schedule": "",
                    "suspend": False,
                    "keepTagRevisions": 3,
                    "successfulJobsHistoryLimit": 3,
                    "failedJobsHistoryLimit": 3,
                    "ignoreInvalidImageReferences": True,
                    "logLevel": "Normal",
                },
            }
        )
        log.info("created ImagePruner %s", names.SINGLETON)


class CertificatesController:
    """ConfigMap ``image-registry-certificates``; reads Config but is not woken by it (operator fact 4.11).

    A trusted CA with the annotation ``lab.alauda.io/passed-on-after`` (seconds) is noticed that much later.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._lock = threading.Lock()
        self._noticed: dict[str, float] = {}

    def sync(self) -> None:
        """One reconcile of the controller's own thread; ApplyError asks for a retry."""
        config = self.cluster.caches["Config"].get(names.SINGLETON)
        if config is not None:
            self.cluster.stop.wait(self._late(config))
        self.settle()

    def settle(self) -> None:
        """The same, at once: nothing happens while a trusted CA has not been noticed yet."""
        with self._lock:
            config = self.cluster.caches["Config"].get(names.SINGLETON)
            if config is None or self._late(config) > 0:
                return
            failure: ApplyError | None = None
            try:
                self.cluster.apply_checked(self._render(config))
            except ApplyError as error:
                failure = error
            self._report(failure)
        if failure:
            raise failure

    def _late(self, config: Json) -> float:
        """Seconds until the trusted CA, as it is now, is noticed."""
        name = dig(config, "spec", "storage", "s3", "trustedCA", "name")
        meta = (self.cluster.config_map(name) or {}).get("metadata") or {} if name else {}
        after = float((meta.get("annotations") or {}).get("lab.alauda.io/passed-on-after") or 0)
        seen = self._noticed.setdefault(str(meta.get("resourceVersion")), time.monotonic()) if after else 0.0
        return max(0.0, seen + after - time.monotonic()) if after else 0.0

    def _render(self, config: Json) -> Json:
        data = {}
        tls = self.cluster.secret(names.TLS_SECRET)
        if tls is not None:
            data[names.SERVICE_HOST.replace(":", "..")] = base64.b64decode(tls["data"]["tls.crt"]).decode()
        name = dig(config, "spec", "storage", "s3", "trustedCA", "name")
        if name:
            try:
                data["storage-ca-bundle.pem"] = trusted_bundle(self.cluster.config_map(name), name)
            except ApplyError as error:
                raise ApplyError(
                    f"failed to update object *v1.ConfigMap, Namespace={names.NAMESPACE}, "
                    f"Name={names.CERTIFICATES}: {names.CERTIFICATES}: {error}"
                ) from error
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": names.CERTIFICATES,
                "namespace": names.NAMESPACE,
                "annotations": {names.CHECKSUM: render.checksum(data)},
            },
            "data": data,
        }

    def _report(self, failure: ApplyError | None) -> None:
        """Write the controller's own condition; retry after a conflict."""
        while True:
            live = self.cluster.api.find("Config", names.SINGLETON)
            if live is None:
                return
            status = deepcopy(live.get("status") or {})
            conditions = Conditions(status.setdefault("conditions", []), datetime.now(UTC))
            if failure:
                conditions.set("ImageRegistryCertificatesControllerDegraded", "True", "Error", str(failure))
            else:
                conditions.set("ImageRegistryCertificatesControllerDegraded", "False", "AsExpected")
            status.setdefault("storage", {})
            status.setdefault("storageManaged", False)
            if status == (live.get("status") or {}):
                return
            try:
                self.cluster.api.update({**live, "kind": "Config", "status": status}, sub="status")
                return
            except ApiError as error:
                if not error.conflict:
                    raise


class PullSecretController:
    """Pull secrets for service accounts (operator fact 0.7; Registry v2 page, Configure Managed Service Account Pull
    Secrets).

    Reads live objects instead of caches, because it runs rarely.
    """

    _SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "cpaas-system", names.NAMESPACE)
    _LABEL = f"{names.MANAGED_PULL_SECRET}=true"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def sync(self) -> None:
        """One reconcile over all namespaces."""
        config = self.cluster.caches["Config"].get(names.SINGLETON)
        if config is None:
            return
        spec = config["spec"]
        settings = spec.get("imagePullSecret") or {}
        active = spec.get("managementState") == "Managed" and settings.get("managementState") == "Managed"
        ignored = set(settings.get("ignoredNamespaces") or [])
        if settings.get("ignoreSystemNamespaces"):
            ignored.update(self._SYSTEM)
        hosts = [names.SERVICE_HOST, *(settings.get("additionalRegistryHosts") or [])]
        for namespace in self.cluster.api.list("Namespace"):
            name = namespace["metadata"]["name"]
            if namespace["metadata"].get("deletionTimestamp"):
                continue
            try:
                if active and name not in ignored:
                    self._provide(name, hosts)
                else:
                    self._withdraw(name)
            except ApiError as error:
                # A namespace that is being deleted must not hold up the others.
                log.info("pull secrets of namespace %s: %s", name, error)

    def _provide(self, namespace: str, hosts: list[str]) -> None:
        api = self.cluster.api
        if api.find("RoleBinding", names.PULLERS_BINDING, namespace) is None:
            group = f"system:serviceaccounts:{namespace}"
            api.create(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": names.PULLERS_BINDING, "namespace": namespace},
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "ClusterRole",
                        "name": "system:image-puller",
                    },
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
                }
            )
        secrets = {item["metadata"]["name"]: item for item in self._secrets(namespace)}
        for account in api.list("ServiceAccount", namespace):
            name = account["metadata"]["name"]
            secret = f"{name}-image-registry-pull"
            digest = render.checksum(hosts)
            existing = secrets.get(secret)
            if existing is None:
                api.create(self._secret(namespace, name, secret, hosts, digest))
            elif (existing["metadata"].get("annotations") or {}).get(names.CHECKSUM) != digest:
                body = self._secret(namespace, name, secret, hosts, digest)
                body["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"]
                api.update(body)
            listed = account.get("imagePullSecrets") or []
            if {"name": secret} not in listed:
                patch: Json = {
                    "metadata": {"resourceVersion": account["metadata"]["resourceVersion"]},
                    "imagePullSecrets": [*listed, {"name": secret}],
                }
                api.merge("ServiceAccount", name, patch, namespace)

    def _withdraw(self, namespace: str) -> None:
        api = self.cluster.api
        managed = {item["metadata"]["name"] for item in self._secrets(namespace)}
        if managed:
            for account in api.list("ServiceAccount", namespace):
                listed = account.get("imagePullSecrets") or []
                rest = [item for item in listed if item["name"] not in managed]
                if rest != listed:
                    patch: Json = {
                        "metadata": {"resourceVersion": account["metadata"]["resourceVersion"]},
                        "imagePullSecrets": rest,
                    }
                    api.merge("ServiceAccount", account["metadata"]["name"], patch, namespace)
            for name in managed:
                api.delete("Secret", name, namespace)
        if api.find("RoleBinding", names.PULLERS_BINDING, namespace) is not None:
            api.delete("RoleBinding", names.PULLERS_BINDING, namespace)

    def _secrets(self, namespace: str) -> list[Json]:
        return self.cluster.api.list("Secret", namespace, f"labelSelector={self._LABEL}")

    def _secret(self, namespace: str, account: str, name: str, hosts: list[str], digest: str) -> Json:
        token = self.cluster.api.call(
            "POST",
            self.cluster.api.path("ServiceAccount", namespace, account, "token"),
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}},
        )["status"]["token"]
        login = base64.b64encode(f"serviceaccount:{token}".encode()).decode()
        content = json.dumps({"auths": {host: {"auth": login} for host in hosts}})
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {names.MANAGED_PULL_SECRET: "true"},
                "annotations": {names.CHECKSUM: digest, "kubernetes.io/service-account.name": account},
            },
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
        }


class LeaderElection:
    """The Lease of the operator that acts (operator fact 3.4.7), renewed as long as its process runs; then given back.

    Another operator's Lease is taken over at once, so that a test that kills the operator need not wait for its end.
    """

    SECONDS, RENEWAL = 137, 26.0

    def __init__(self, api: Api) -> None:
        self._api = api
        self._identity = f"{names.OPERATOR}-{uuid.uuid4().hex[:10]}"

    def sync(self) -> None:
        """Take the Lease, or renew it."""
        self._write(self._identity, self.SECONDS)

    def release(self) -> None:
        """Let another one take over at once."""
        self._write("", 1)

    def _write(self, holder: str, seconds: int) -> None:
        about = {"name": names.LEASE, "namespace": names.NAMESPACE}
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Json = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": moment}
        try:
            self._api.merge("Lease", names.LEASE, {"spec": spec}, names.NAMESPACE)
        except ApiError as error:
            if not error.not_found:
                raise
            self._api.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec})


class NoiseController:
    """Another status writer: bumps Config's resource version now and then (operator fact 8.40)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._turn = False

    def sync(self) -> None:
        """Flip a condition that nobody reads; after a conflict, wait for the next turn."""
        live = self.cluster.api.find("Config", names.SINGLETON)
        if live is None or not live.get("status"):
            return
        status = deepcopy(live["status"])
        self._turn = not self._turn
        conditions = Conditions(status.setdefault("conditions", []), datetime.now(UTC))
        conditions.set("NodeCADaemonProgressing", "True" if self._turn else "False", "AsExpected")
        try:
            self.cluster.api.update({**live, "kind": "Config", "status": status}, sub="status")
        except ApiError as error:
            if not error.conflict:
                raise
