# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules against the embedded cluster: a real API server, real registry processes, a real S3 API.

One cluster serves the whole session; every test starts from the same settled state (emptyDir, Unmanaged, one replica).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible.module_utils.common import warnings as module_warnings
from ansible.module_utils.testing import patch_module_args
from botocore.exceptions import ClientError

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ApiError, Client
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import connect
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster import Cluster
from tests.cluster.proxy import ApiProxy, Request

MODULES = "ansible_collections.alauda.image_registry.plugins.modules"
NAMESPACE = ALAUDA.namespace


def _text(warning: Any) -> str:
    """A warning as text: newer ansible-core sends a structure."""
    return str(warning["event"]["msg"]) if isinstance(warning, dict) else str(warning)


@dataclass
class Lab:
    """The cluster with what tests do to it by hand, past the collection."""

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
        # A module of its own process finds nothing of what others have warned of.
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
        """Set faults and speeds for all Pods started from now on; lab.alauda.io/ is put in front, _ becomes -."""
        body = {
            "metadata": {
                "annotations": {f"lab.alauda.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
            }
        }
        self.client.patch("/api/v1/nodes/lab-node", body)

    def claim(self, *modes: str, storage_class: str = "lab") -> str:
        """Create a claim with a name of its own."""
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

    def lose_bucket(self, name: str) -> None:
        """Delete a bucket for good: the operator makes it again when it happens to look just then."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 2.0:
            try:
                self.cluster.s3.client().head_bucket(Bucket=name)
            except ClientError:
                time.sleep(0.1)
                continue
            self.cluster.s3.delete_bucket(name)
            quiet_since = time.monotonic()

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
            wait_timeout=60,
        )
        assert not result.get("failed"), result["msg"]


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
    """A counting, fault injecting proxy in front of the settled cluster's API server."""
    with ApiProxy(lab.kubeconfig) as running:
        yield running


def writes(requests: list[Request]) -> list[Request]:
    """Requests that changed something: dry runs do not."""
    return [item for item in requests if item.method not in ("GET", "HEAD") and item.query.get("dryRun") != "All"]
