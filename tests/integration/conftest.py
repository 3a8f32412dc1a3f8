# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules against the embedded cluster: a real API server, real registry processes, a real S3 API.

One cluster serves the whole session; every test starts from the same settled state (emptyDir, Managed, one replica).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common import warnings as module_warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ApiError, Client
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import connect
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster import Cluster
from tests.cluster.operator_simulator import names, render
from tests.cluster.proxy import ApiProxy, Request
from tests.integration.waiting import until

MODULES = "ansible_collections.alauda.image_registry.plugins.modules"
NAMESPACE = ALAUDA.namespace
DEPLOYMENT = namespaced(NAMESPACE, "deployments", ALAUDA.deployment, api="/apis/apps/v1")
FAULT = "lab.alauda.io/fault"
REFUSAL = "Unable to apply resources"
"""How the operator's message about a refused change begins."""
SOON = 12.0 + 11.0
"""Seconds from a failure's evidence to the verdict, by the task's own clock: a sign must persist for 12 s at most, and
one check may take 11 s, since the registry is queried once a second at most and given 10 s to answer."""


def _text(warning: Any) -> str:
    """A warning as text: newer ansible-core sends a structure."""
    return str(warning["event"]["msg"]) if isinstance(warning, dict) else str(warning)


@dataclass
class Lab:
    """The cluster, with what tests do to it directly, without the collection."""

    cluster: Cluster
    client: Client

    @property
    def kubeconfig(self) -> str:
        """Path of the administrator's kubeconfig."""
        return str(self.cluster.kubeconfig)

    def run(self, module: str, *, kubeconfig: str | None = None, check: bool = False, **args: Any) -> dict[str, Any]:
        """Run a module's main() as Ansible would and return its JSON."""
        given = {
            "kubeconfig": kubeconfig or self.kubeconfig,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **args,
        }
        main = importlib.import_module(f"{MODULES}.{module}").main
        # A module that has its own process does not see the warnings of earlier ones.
        module_warnings._global_warnings.clear()
        module_warnings._global_deprecations.clear()
        output = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main()
        result: dict[str, Any] = json.loads(output.getvalue())
        result["warnings"] = [_text(item) for item in result.get("warnings", [])]
        return result

    def storage(self, **args: Any) -> dict[str, Any]:
        """registry_storage."""
        return self.run("registry_storage", **args)

    def config(self) -> dict[str, Any]:
        """Config/cluster as it is."""
        found = self.client.get(ALAUDA.config_path)
        assert found is not None
        return dict(found)

    def patch(self, spec: dict[str, Any]) -> None:
        """Patch Config/cluster as a person with kubectl would."""
        self.client.patch(ALAUDA.config_path, {"spec": spec})

    def annotate_nodes(self, **annotations: str | None) -> None:
        """Set faults and speeds for all Pods started from now on. Keys are prefixed by lab.alauda.io/; _ becomes -."""
        body = {
            "metadata": {
                "annotations": {f"lab.alauda.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
            }
        }
        self.client.patch("/api/v1/nodes/lab-node", body)

    def claim(self, *modes: str, storage_class: str = "lab") -> str:
        """Create a claim with a unique name."""
        name = f"claim-{uuid.uuid4().hex[:8]}"
        self.client.create(
            namespaced(NAMESPACE, "persistentvolumeclaims"),
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": {
                    "accessModes": list(modes or ("ReadWriteMany",)),
                    "resources": {"requests": {"storage": "1Gi"}},
                    "storageClassName": storage_class,
                },
            },
        )
        return name

    def delete(self, resource: str, name: str) -> None:
        """Delete an object of the registry's namespace if it is there."""
        reply = self.client.raw("DELETE", namespaced(NAMESPACE, resource, name))
        if reply.status not in (200, 202, 404):
            raise ApiError("DELETE", name, reply.status, reply.body)

    def s3(self, **other: Any) -> dict[str, Any]:
        """Options of a new bucket on the cluster's S3 service over TLS with its own CA; `other` replaces some."""
        bucket = self.cluster.s3.bucket(f"images-{uuid.uuid4().hex[:8]}")
        return {
            "bucket": bucket.name,
            "region": bucket.region,
            "region_endpoint": bucket.https_endpoint,
            "trusted_ca": {"name": "s3-ca", "pem": bucket.ca_pem},
            "access_key": bucket.access_key,
            "secret_key": bucket.secret_key,
            **other,
        }

    @contextlib.contextmanager
    def without_operator(self) -> Iterator[None]:
        """Stop the operator meanwhile: Config keeps the status that the operator wrote last."""
        self.cluster.kill("operator")
        try:
            yield
        finally:
            self.cluster.launch("operator")

    def pods(self) -> list[dict[str, Any]]:
        """The registry's Pods, without those that have ended and are only still listed."""
        path = namespaced(NAMESPACE, "pods")
        items, _ = self.client.list(path, label_selector="app.kubernetes.io/name=image-registry")
        return [dict(item) for item in items if item["status"].get("phase") not in ("Failed", "Succeeded")]

    def heal(self) -> None:
        """Clear the Node's fault and that of every existing Pod, which otherwise keeps the one it was started with."""
        self.annotate_nodes(fault=None)
        for pod in self.pods():
            path = namespaced(NAMESPACE, "pods", pod["metadata"]["name"])
            self.client.patch(path, {"metadata": {"annotations": {FAULT: ""}}})

    def fails(self, evidence: str, **task: Any) -> dict[str, Any]:
        """The result of a task that must fail: by a verdict, not by a timeout, and soon after the evidence.

        evidence: regular expression for the first timeline entry that shows it. A slow machine sees the evidence later,
        so the time that is promised starts there.
        """
        result = self.storage(**task)
        assert result.get("failed"), result["verification"]["summary"]
        assert "reason" in result["verification"], result["msg"]
        assert result["verification"]["reason"] != "Timeout", result["msg"]
        timeline = result["verification"]["timeline"]
        seen = [entry["seconds"] for entry in timeline if re.search(evidence, entry["state"])]
        assert seen, timeline
        assert result["verification"]["seconds"] - seen[0] < SOON, timeline
        return result

    def await_rights(
        self,
        rules: list[dict[str, Any]],
        *,
        user: str = "",
        group: str = "",
        namespace: str = "",
        given: bool = True,
    ) -> None:
        """Wait until the API server, which learns about roles by watches, grants all these rights, or none of them.

        namespace: where they apply; cluster-wide if not given.
        """

        def answers() -> list[str]:
            """Rights that are not yet as expected."""
            wrong = []
            for rule in rules:
                for api in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        wrong += [
                            f"{verb} {resource}.{api}"
                            for verb in rule["verbs"]
                            if self._may(verb, api, resource, rule, namespace, user, group) is not given
                        ]
            return wrong

        until(f"rights of {user or group} {'granted' if given else 'revoked'}", lambda: not answers(), state=answers)

    def _may(
        self, verb: str, api: str, resource: str, rule: dict[str, Any], namespace: str, user: str, group: str
    ) -> bool:
        name, _, sub = resource.partition("/")
        attributes = {"verb": verb, "group": api, "resource": name, "subresource": sub, "namespace": namespace}
        attributes["name"] = (rule.get("resourceNames") or [""])[0]
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user or "anybody", "groups": [group] if group else [], "resourceAttributes": attributes},
        }
        # A review has no name, so it is not an object as the client takes them.
        answer = self.client.raw("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(json.loads(answer.body)["status"]["allowed"])

    @contextlib.contextmanager
    def cluster_role(self, name: str, rules: list[dict[str, Any]]) -> Iterator[str]:
        """Kubeconfig of a user, in a group of this name, who has these rights cluster-wide."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
        self.client.create(f"{rbac}/clusterroles", {**about, "kind": "ClusterRole", "rules": rules})
        binding = {
            **about,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}],
        }
        self.client.create(f"{rbac}/clusterrolebindings", binding)
        try:
            self.await_rights(rules, group=name)
            yield str(self.cluster.kubeconfig_for(f"one-of-{name}", [name]))
        finally:
            self.client.delete(f"{rbac}/clusterrolebindings/{name}")
            self.client.delete(f"{rbac}/clusterroles/{name}")

    def moving(self) -> str:
        """What has not settled yet; empty when a task with nothing to do finds everything it needs at first sight."""
        config, deployment, pods = self.config(), self.client.get(DEPLOYMENT), self.pods()
        status = config.get("status") or {}
        trusted = ((config["spec"]["storage"].get("s3") or {}).get("trustedCA") or {}).get("name")
        certificates = self._find("ConfigMap", ALAUDA.certificates) or {}
        if ("storage-ca-bundle.pem" in (certificates.get("data") or {})) is not bool(trusted):
            return f"the operator has not adjusted the registry's certificates to the trusted CA {trusted!r}"
        conditions = {item["type"]: (item["status"], item.get("reason")) for item in status.get("conditions") or []}
        if status.get("observedGeneration") != config["metadata"]["generation"]:
            return f"the operator has not seen Config's generation {config['metadata']['generation']}: {status}"
        if (conditions.get("Available"), conditions.get("Progressing")) != (("True", "Ready"), ("False", "Ready")):
            return f"the operator reports {status.get('conditions')}"
        if deployment is None:
            return "there is no Deployment"
        template = deployment["spec"]["template"]
        digest = render.dependencies(template["spec"]["volumes"], self._find)
        if digest != template["metadata"]["annotations"][names.DEPENDENCIES]:
            return "the operator has not renewed the Pods for the Secrets and ConfigMaps that they read"
        wanted, state = deployment["spec"]["replicas"], deployment.get("status") or {}
        counts = [state.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        if state.get("observedGeneration") != deployment["metadata"]["generation"] or set(counts) != {wanted}:
            return f"the Deployment is not complete: {state}"
        true_conditions = {
            pod["metadata"]["name"]: [
                item["type"] for item in pod["status"].get("conditions") or [] if item["status"] == "True"
            ]
            for pod in pods
        }
        leaving = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
        if len(pods) != wanted or leaving or not all("Ready" in true for true in true_conditions.values()):
            return f"Pods and their true conditions: {true_conditions}; terminating: {leaving}"
        slices, _ = self.client.list(
            namespaced(NAMESPACE, "endpointslices", api="/apis/discovery.k8s.io/v1"),
            label_selector=f"kubernetes.io/service-name={ALAUDA.service}",
        )
        ends = {
            address
            for item in slices
            for end in item.get("endpoints") or []
            if end["conditions"].get("ready")
            for address in end["addresses"]
        }
        if ends != {pod["status"]["podIP"] for pod in pods}:
            return f"the Service routes to {ends}, and the Pods are {sorted(true_conditions)}"
        asked = namespaced(NAMESPACE, "services", f"https:{ALAUDA.service}:{ALAUDA.port}")
        reply = self.client.raw("GET", f"{asked}/proxy/v2/", retry=False)
        return "" if reply.status in (200, 401) else f"the Service answers {reply.status} {reply.text[:200]}"

    def _find(self, kind: str, name: str) -> dict[str, Any] | None:
        """A Secret or ConfigMap of the registry's namespace."""
        found = self.client.get(namespaced(NAMESPACE, f"{kind.lower()}s", name))
        return dict(found) if found is not None else None

    def rest(self) -> None:
        """Wait until the cluster has settled.

        A task is done when each Pod serves; routing the Service to them is another controller's work, and may happen
        later on a busy machine. A task that finds the Service without endpoints waits, and queries the Pods instead.
        """
        until("the cluster is at rest", lambda: not self.moving(), state=self.moving)

    def settle(self) -> None:
        """Back to the state every test starts from."""
        self.annotate_nodes(fault=None, ready_after="500ms", gone_after="500ms")
        result = self.storage(
            backend="emptydir",
            replicas=1,
            rollout_strategy="RollingUpdate",
            disable_redirect=False,
            resources={"requests": {"cpu": "500m", "memory": "500Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}},
            on_backend_change="allow",
        )
        assert not result.get("failed"), result["msg"]
        self.delete("secrets", ALAUDA.user_secret)
        # The operator keeps a CA that is no longer trusted until the next event of a Secret or ConfigMap, and renews
        # the Pods then. The test itself must not be what causes that event.
        path = namespaced(NAMESPACE, "configmaps", ALAUDA.certificates)
        self.client.patch(path, {"metadata": {"annotations": {"lab.alauda.io/settled": uuid.uuid4().hex}}})
        self.rest()


@pytest.fixture(scope="session")
def _lab() -> Iterator[Lab]:
    with Cluster(name=f"integration-{uuid.uuid4().hex[:6]}") as cluster:
        client = Client(connect({"kubeconfig": str(cluster.kubeconfig)}))
        yield Lab(cluster, client)
        client.close()


@pytest.fixture
def lab(_lab: Lab) -> Lab:
    """The settled cluster."""
    _lab.settle()
    return _lab


@pytest.fixture
def proxy(lab: Lab) -> Iterator[ApiProxy]:
    """A proxy that counts requests and injects faults, in front of the settled cluster's API server."""
    with ApiProxy(lab.kubeconfig) as running:
        yield running


def push(lab: Lab, folder: Path) -> None:
    """An image of one small layer, as repository team/tool."""
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    image = f"{lab.cluster.registry_address}/team/tool:1"
    lab.cluster.crane("append", "--new_layer", str(layer), "--new_tag", image, "--insecure")


def writes(requests: list[Request]) -> list[Request]:
    """Requests that changed something: dry runs do not."""
    return [item for item in requests if item.method not in ("GET", "HEAD") and item.query.get("dryRun") != "All"]
