# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of Config: one reconcile after the other, in the operator's own order of reads and writes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime

from . import names, render
from .api import ApiError
from .cluster import Cluster
from .conditions import ApplyError, Conditions, PermanentError, sync_config_conditions
from .names import Json
from .spec import typed_spec
from .storage import Driver, new_driver, remove_storage, sync_storage

log = logging.getLogger("operator.registry")


def verify(spec: Json) -> None:
    """Refuse what the operator refuses before it touches anything; PermanentError VerificationFailed."""
    problem = ""
    if spec["replicas"] < 0:
        problem = "replicas must be greater than or equal to 0"
    routes = [route["name"] for route in spec.get("routes", [])]
    if len(set(routes)) < len(routes) or names.DEFAULT_ROUTE in routes:
        problem = problem or "duplication of names has been detected in the additional routes"
    if problem:
        raise PermanentError("VerificationFailed", f"unable to complete resource: {problem}")


class RegistryController:
    """Reconciles Config/cluster.

    :param settle: called after the generated Secret changed, so that the CA bundle is current when Pods are rolled; the
        genuine operator's certificates controller gets that time from the client's rate limit.
    """

    def __init__(self, cluster: Cluster, settle: Callable[[], None]) -> None:
        self.cluster = cluster
        self.settle = settle
        self._last_write: Json | None = None

    def sync(self) -> None:
        """One reconcile. ApplyError and ApiError ask for a retry with backoff; a PermanentError is never raised."""
        live = self.cluster.api.find("Config", names.SINGLETON)
        if live is None:
            self.bootstrap()
            return
        if live["metadata"].get("deletionTimestamp"):
            self._finalize(live)
            return

        status = deepcopy(live.get("status") or {})
        work: Json = {"metadata": deepcopy(live["metadata"]), "spec": typed_spec(live["spec"]), "status": status}
        before = deepcopy(work)
        conditions = Conditions(status.setdefault("conditions", []), datetime.now(UTC))
        state = work["spec"].get("managementState", "")
        self._last_write = None
        error = self._act(state, work, conditions)

        # Right after a write the cache holds the new spec with the old rollout's status (operator fact 3.3.4).
        deploy = self._last_write or self.cluster.caches["Deployment"].get(names.REGISTRY)
        problem = render.ingress_problem(self._owned_ingresses())
        sync_config_conditions(conditions, state, deploy, error, problem, 300 / self.cluster.scale)
        status["readyReplicas"] = (deploy or {}).get("status", {}).get("readyReplicas", 0)
        status["observedGeneration"] = live["metadata"]["generation"]
        status.setdefault("storage", {})
        status["storageManaged"] = status.get("storageManaged", False)

        current = live
        if work["spec"] != before["spec"] or work["metadata"] != before["metadata"]:
            current = self._write_spec(work)
        if status != (live.get("status") or {}):
            self.cluster.api.update({**current, "kind": "Config", "status": status}, sub="status")
        if error is not None and not isinstance(error, PermanentError):
            raise error

    def bootstrap(self) -> None:
        """Create the default Config: no platform storage here, hence Removed."""
        self.cluster.api.create(
            {
                "apiVersion": f"{names.GROUP}/v1",
                "kind": "Config",
                "metadata": {"name": names.SINGLETON, "finalizers": [names.FINALIZER]},
                "spec": {
                    "managementState": "Removed",
                    "logLevel": "Normal",
                    "operatorLogLevel": "Normal",
                    "replicas": 1,
                    "rolloutStrategy": "RollingUpdate",
                    "storage": {},
                    "observedConfig": None,
                    "unsupportedConfigOverrides": None,
                    "proxy": {},
                    "requests": {"read": {"maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}},
                },
            }
        )
        log.info("created Config %s", names.SINGLETON)

    def _act(self, state: str, work: Json, conditions: Conditions) -> ApplyError | None:
        try:
            if state == "Managed":
                self._apply(work, conditions)
            elif state in ("", "Removed"):
                self._remove(work, conditions, with_storage=state == "Removed")
        except ApplyError as error:
            log.info("not applied: %s", error)
            return error
        return None

    def _apply(self, work: Json, conditions: Conditions) -> None:
        spec, cluster = work["spec"], self.cluster
        finalizers = work["metadata"].setdefault("finalizers", [])
        if names.FINALIZER not in finalizers:
            finalizers.append(names.FINALIZER)
        verify(spec)
        if not spec.get("httpSecret"):
            spec["httpSecret"] = secrets.token_hex(64)
        driver = sync_storage(work, conditions, cluster)
        try:
            self._apply_objects(work, driver)
        except ApplyError as error:
            raise ApplyError(f"unable to apply objects: {error}") from error

    def _apply_objects(self, work: Json, driver: Driver) -> None:
        spec, cluster = work["spec"], self.cluster
        cluster.apply_checked(render.service())
        if cluster.apply_checked(render.generated_secret(driver.secret_data())):
            self.settle()
        server = render.plain_deployment(names.API_SERVER)
        existing = cluster.caches["Deployment"].get(names.API_SERVER)
        cluster.apply_deployment(server, existing["metadata"]["generation"] if existing else None)
        cluster.apply_checked(render.disruption_budget(spec["replicas"]))
        parts = driver.parts()
        zones = bool(cluster.api.list("Node", query="labelSelector=topology.kubernetes.io/zone&limit=1"))
        deadline = max(1, round(120 / cluster.scale))
        try:
            volumes, _ = render.registry_volumes(parts)
            digest = render.dependencies(volumes, lambda kind, name: cluster.caches[kind].get(name))
            wanted = render.registry_deployment(spec, parts, digest, zones, deadline)
        except ApplyError as error:
            verb = "update" if cluster.caches["Deployment"].get(names.REGISTRY) else "create"
            raise ApplyError(
                f"failed to {verb} object *v1.Deployment, Namespace={names.NAMESPACE}, Name={names.REGISTRY}: {error}"
            ) from error
        before = cluster.caches["Deployment"].get(names.REGISTRY)
        written = cluster.apply_deployment(wanted, _generation(work["status"]))
        if before is None or written["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            self._last_write = written
        _remember(work["status"], written["metadata"]["generation"])
        wanted_ingresses = render.wanted_ingresses(spec)
        for item in wanted_ingresses:
            self._check_route_secret(item)
            cluster.apply_checked(item)
        keep = {item["metadata"]["name"] for item in wanted_ingresses}
        for item in self._owned_ingresses():
            if item["metadata"]["name"] not in keep:
                cluster.remove("Ingress", item["metadata"]["name"])

    def _check_route_secret(self, ingress: Json) -> None:
        for tls in ingress["spec"].get("tls", []):
            if self.cluster.secret(tls["secretName"]) is None:
                name = ingress["metadata"]["name"]
                verb = "update" if self.cluster.caches["Ingress"].get(name) else "create"
                raise ApplyError(
                    f"failed to {verb} object *v1.Ingress, Namespace={names.NAMESPACE}, Name={name}: "
                    f'secret "{tls["secretName"]}" not found'
                )

    def _owned_ingresses(self) -> list[Json]:
        marker = f"{names.GROUP}/route"
        items = self.cluster.caches["Ingress"].items()
        return [item for item in items if (item["metadata"].get("labels") or {}).get(marker) == "true"]

    def _remove(self, work: Json, conditions: Conditions, with_storage: bool) -> None:
        """Remove everything rendered, then the storage if the operator manages it."""
        # The genuine operator passes through this state in every sync, which moves the condition's time.
        conditions.set("Progressing", "True", "Removing", "The registry is being removed")
        new_driver(work, conditions, self.cluster)  # two backends stop the removal before it begins
        for item in self._owned_ingresses():
            self.cluster.remove("Ingress", item["metadata"]["name"])
        for kind, name in (
            ("PodDisruptionBudget", names.REGISTRY),
            ("Deployment", names.REGISTRY),
            ("Deployment", names.API_SERVER),
            ("Secret", names.GENERATED_SECRET),
            ("Service", names.REGISTRY),
        ):
            self.cluster.remove(kind, name)
        if with_storage:
            remove_storage(work, conditions, self.cluster)
        else:
            work["status"]["storage"] = {}

    def _finalize(self, live: Json) -> None:
        """Config is being deleted: remove everything, managed storage included, then drop the finalizer."""
        work: Json = {"spec": typed_spec(live["spec"]), "status": deepcopy(live.get("status") or {})}
        self._remove(work, Conditions(work["status"].setdefault("conditions", []), datetime.now(UTC)), True)
        rest = [item for item in live["metadata"].get("finalizers", []) if item != names.FINALIZER]
        body = {**live, "kind": "Config", "metadata": {**live["metadata"], "finalizers": rest}}
        self.cluster.api.update(body)

    def _write_spec(self, work: Json) -> Json:
        """One full update of the cached object: a patch that arrived since the GET is lost, except for the state.

        Operator fact 2.3. A conflict ends the sync before any status write.
        """
        cached = self.cluster.caches["Config"].get(names.SINGLETON)
        if cached is None:
            raise ApplyError("Config is not in the cache yet")
        body = deepcopy(cached)
        body["apiVersion"], body["kind"] = f"{names.GROUP}/v1", "Config"
        state = cached["spec"].get("managementState")
        body["spec"] = {**work["spec"]}
        body["spec"].pop("managementState", None)
        if state:
            body["spec"]["managementState"] = state
        body["metadata"]["finalizers"] = work["metadata"].get("finalizers", [])
        updated = self.cluster.api.update(body)
        self.cluster.caches["Config"].learn(updated)
        log.info("rewrote the spec, generation %s", updated["metadata"]["generation"])
        return updated


def _generation(status: Json) -> int | None:
    for item in status.get("generations") or []:
        if item["resource"] == "deployments" and item["name"] == names.REGISTRY:
            value: int | None = item.get("lastGeneration")
            return value
    return None


def _remember(status: Json, generation: int) -> None:
    entry = {
        "group": "apps",
        "resource": "deployments",
        "namespace": names.NAMESPACE,
        "name": names.REGISTRY,
        "hash": "",
        "lastGeneration": generation,
    }
    rest = [item for item in status.get("generations") or [] if item["name"] != names.REGISTRY]
    status["generations"] = [*rest, entry]


def is_conflict(error: Exception) -> bool:
    """Whether another client wrote first: normal, and retried without logging."""
    return isinstance(error, ApiError) and error.conflict
