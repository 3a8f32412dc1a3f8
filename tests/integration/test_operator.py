# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator that does not work is named, while nothing acts on a change."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.operator_simulator import names
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import NAMESPACE, Lab
from tests.integration.test_registry_storage import ok
from tests.integration.waiting import until

pytestmark = pytest.mark.cluster

LEASE = namespaced(NAMESPACE, "leases", names.LEASE, api="/apis/coordination.k8s.io/v1")
OPERATOR = namespaced(NAMESPACE, "deployments", ALAUDA.operator_deployment, api="/apis/apps/v1")
TASKS: dict[str, dict[str, Any]] = {
    "registry_storage": {"backend": "emptydir", "replicas": 1, "disable_redirect": True},
    "image_pruner": {"schedule": "3 3 * * 3"},
    "registry_pullsecret": {"additional_registry_hosts": ["hung.example.com"]},
}


def change(module: str) -> dict[str, Any]:
    """Options that change something whatever was there before."""
    return TASKS[module]


def looks(proxy: ApiProxy) -> list[str]:
    """Requests for Leases."""
    return [request.path for request in proxy.requests if request.path.endswith("/leases")]


@pytest.mark.parametrize("module", TASKS)
def test_an_operator_that_hangs_is_named(lab: Lab, module: str) -> None:
    """Its Pod is Running and ready; its Lease has run out. What serves meanwhile is said, and a second run verifies."""
    task = change(module)
    with lab.cluster.paused("operator"):
        lab.client.patch(LEASE, {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
        result = lab.run(module, wait_timeout=120, **task)
    assert result["failed"]
    assert (result["changed"], result["verification"]["reason"]) == (True, "OperatorNotLeading")
    assert names.LEASE in result["msg"]
    assert "the leader hangs or was killed" in result["msg"]
    by_pods = "Meanwhile the registry still serves: 1 Pod from emptyDir." in result["msg"]
    assert by_pods is (module == "registry_storage")
    assert ("1/1 replicas are ready" in result["msg"]) is not by_pods, "what serves is said once"
    assert "wait_timeout" not in result["msg"]
    assert result["verification"]["seconds"] < 60
    assert ok(lab.run(module, **task))["changed"] is False


def test_an_operator_that_hangs_is_named_when_credentials_are_not_passed_on(lab: Lab) -> None:
    """They change a Secret, not Config, of which the operator has seen everything."""
    options = lab.s3()
    ok(lab.storage(backend="s3", s3=options, on_backend_change="allow"))
    lab.rest()
    key = lab.cluster.s3.new_key(f"{options['bucket']}-user")
    task = {"backend": "s3", "s3": {**options, "access_key": key.access_key, "secret_key": key.secret_key}}
    with lab.cluster.paused("operator"):
        lab.client.patch(LEASE, {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
        result = lab.storage(**task, wait_timeout=120)
    assert result["failed"]
    assert (result["changed"], result["verification"]["reason"]) == (True, "OperatorNotLeading")
    assert "wait_timeout" not in result["msg"]
    assert result["verification"]["seconds"] < 60
    assert ok(lab.storage(**task))["changed"] is False


def test_an_operator_without_a_pod_is_named(lab: Lab) -> None:
    """After the 20 s that a restart may take."""
    with lab.cluster.paused("operator"):
        lab.client.patch(OPERATOR, {"spec": {"replicas": 0}})
        try:
            result = lab.run("image_pruner", schedule="4 4 * * 4", wait_timeout=120)
        finally:
            lab.client.patch(OPERATOR, {"spec": {"replicas": 1}})
            until("the operator's Pod is back", lambda: (lab.client.get(OPERATOR) or {})["status"].get("readyReplicas"))
    assert result["verification"]["reason"] == "OperatorScaledDown"
    assert "is scaled to 0" in result["msg"]
    assert "--replicas=1" in result["verification"]["remedy"]
    assert 15 < result["verification"]["seconds"] < 60


def test_an_operator_that_is_only_slow_is_waited_for(lab: Lab, proxy: ApiProxy) -> None:
    """Its Lease is valid, so nothing is wrong with it; and what may not be read is not asked for again."""
    proxy.fault("status", code=403, method="GET", path=r"/leases", times=None)
    with lab.cluster.paused("operator"):
        result = lab.run("image_pruner", kubeconfig=str(proxy.kubeconfig), schedule="5 5 * * 5", wait_timeout=11)
    assert result["verification"]["reason"] == "Timeout"
    assert "waiting for the operator to notice the change" in result["msg"]
    assert "does not work" not in result["msg"]
    assert len(looks(proxy)) == 1
    proxy.reset()
    ok(lab.run("image_pruner", kubeconfig=str(proxy.kubeconfig), schedule="5 5 * * 5"))
    assert looks(proxy) == []
