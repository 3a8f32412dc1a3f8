# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody or something does against registry_storage: it neither says done too early nor waits without end."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.integration.conftest import NAMESPACE, Lab

pytestmark = pytest.mark.cluster

DEPLOYMENTS = namespaced(NAMESPACE, "deployments", api="/apis/apps/v1")
DEPLOYMENT = f"{DEPLOYMENTS}/{ALAUDA.deployment}"
SECRET = namespaced(NAMESPACE, "secrets", ALAUDA.user_secret)


def ok(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that must have succeeded."""
    assert not result.get("failed"), result.get("msg")
    assert result["verification"]["verdict"] == "done"
    return result


def fails(lab: Lab, words: str, within: float = 15.0, **task: Any) -> dict[str, Any]:
    """A task that must fail with these words, in time although it may wait for longer."""
    started = time.monotonic()
    result = lab.storage(wait_timeout=60, **task)
    assert result.get("failed"), result["verification"]["summary"]
    assert words in result["msg"], result["msg"]
    assert time.monotonic() - started < within, result["msg"]
    return result


@contextmanager
def as_soon_as(condition: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Do something in the background once a condition holds."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if condition():
                act()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# -- credentials and certificates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "secret"),
    [
        (lambda good: good["access_key"], lambda good: good["secret_key"][:-1]),
        (lambda good: good["secret_key"], lambda good: good["access_key"]),
    ],
    ids=["last letter lost", "changed places"],
)
def test_almost_the_right_credentials(
    lab: Lab, access: Callable[[dict[str, Any]], str], secret: Callable[[dict[str, Any]], str]
) -> None:
    """The Pods of before go on serving with the good ones; that proves nothing about these."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    wrong = {**good, "access_key": access(good), "secret_key": secret(good)}
    fails(lab, "key", backend="s3", s3=wrong)
    again = fails(lab, "key", backend="s3", s3=wrong)
    assert again["changed"] is False
    ok(lab.storage(backend="s3", s3=good, wait_timeout=40))


def test_the_secret_is_deleted_and_made_again(lab: Lab) -> None:
    """The Pods have these credentials already: no rollout follows, and none is waited for."""
    task = {"backend": "s3", "s3": lab.s3(), "wait_timeout": 40}
    ok(lab.storage(**task))
    lab.delete("secrets", ALAUDA.user_secret)
    result = ok(lab.storage(**task))
    assert [item["kind"] for item in result["written"]] == ["Secret"]
    assert ok(lab.storage(**task))["changed"] is False


def test_another_ca_and_back(lab: Lab) -> None:
    """A CA that did not sign the endpoint's certificate is refused; the repair renews nothing and is no timeout."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    stranger = lab.client.get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")
    assert stranger is not None
    wrong = {**good, "trusted_ca": {"name": "s3-ca", "pem": stranger["data"]["ca.crt"]}}
    fails(lab, "not trusted", backend="s3", s3=wrong)
    repaired = ok(lab.storage(backend="s3", s3=good, wait_timeout=40))
    assert [item["kind"] for item in repaired["written"]] == ["ConfigMap"]
    pem = good["trusted_ca"]["pem"].replace("\n", "\r\n")
    same = ok(lab.storage(backend="s3", s3={**good, "trusted_ca": {"name": "s3-ca", "pem": pem}}))
    assert same["changed"] is False


def test_credentials_that_came_while_the_operator_was_dead(lab: Lab) -> None:
    """The second run has nothing to write, and the first one's credentials never reached a Pod."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    rotated = lab.cluster.s3.new_key(f"{good['bucket']}-user")
    task = {"backend": "s3", "s3": {**good, "access_key": rotated.access_key, "secret_key": rotated.secret_key}}
    time.sleep(1.1)  # the API server writes down whole seconds only
    lab.cluster.kill("operator")
    try:
        first = lab.storage(**task, wait_timeout=3)
        second = lab.storage(**task, wait_timeout=3)
    finally:
        lab.cluster.launch("operator")
    assert (first.get("failed"), first["changed"]) == (True, True)
    assert (second.get("failed"), second["changed"]) == (True, False)
    assert "renewed" in second["msg"]
    assert ok(lab.storage(**task, wait_timeout=60))["changed"] is False


def test_somebody_writes_other_credentials_meanwhile(lab: Lab) -> None:
    """No watch follows the Secret; a second look after the rollout does."""
    task = {"backend": "s3", "s3": lab.s3()}
    other = base64.b64encode(b"other").decode()

    def rolled_out() -> bool:
        deployment = lab.client.get(DEPLOYMENT)
        assert deployment is not None
        return "REGISTRY_STORAGE_S3_BUCKET" in str(deployment["spec"]["template"])

    def rotate() -> None:
        lab.client.patch(SECRET, {"data": {"REGISTRY_STORAGE_S3_SECRETKEY": other}})

    with as_soon_as(rolled_out, rotate):
        result = lab.storage(**task, wait_timeout=40)
    assert result.get("failed"), result["verification"]["summary"]


# -- Deployment and Pods -----------------------------------------------------------------------------------------------


def test_the_deployment_is_deleted_during_a_rotation(lab: Lab) -> None:
    """The new one begins at generation 1 again, and is newer all the same."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    rotated = lab.cluster.s3.new_key(f"{good['bucket']}-user")
    before = lab.client.get(SECRET)

    def written() -> bool:
        return lab.client.get(SECRET) != before

    with as_soon_as(written, lambda: lab.client.raw("DELETE", DEPLOYMENT)):
        task = {"backend": "s3", "s3": {**good, "access_key": rotated.access_key, "secret_key": rotated.secret_key}}
        ok(lab.storage(**task, wait_timeout=40))


def test_pods_of_others_with_the_same_labels(lab: Lab) -> None:
    """A copy for debugging, younger than every Pod of the registry, is neither one of its Pods nor in its way."""
    deployment = lab.client.get(DEPLOYMENT)
    assert deployment is not None
    labels = deployment["spec"]["selector"]["matchLabels"]
    claim = lab.claim("ReadWriteMany")
    copy = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy", "labels": labels},
        "spec": {"containers": [{"name": "registry", "image": "debug"}]},
    }
    lab.client.create(namespaced(NAMESPACE, "pods"), copy)
    try:
        result = ok(lab.storage(backend="pvc", pvc={"claim": claim}, wait_timeout=40))
    finally:
        lab.delete("pods", "copy")
    assert [probe["via"] for probe in result["verification"]["probes"]] != ["pod/copy"]


# -- the operator's surprises ------------------------------------------------------------------------------------------


def test_a_bucket_that_the_operator_makes_is_told_of(lab: Lab) -> None:
    """A slip in the name makes an empty bucket, with which everything works (operator fact 4.9)."""
    options = lab.s3()
    result = ok(lab.storage(backend="s3", s3={**options, "bucket": f"{options['bucket']}-slip"}))
    assert any("did not exist" in text and "-slip" in text for text in result["warnings"])


def test_the_api_server_restarts_meanwhile(lab: Lab) -> None:
    """Delays the task and changes nothing else."""
    claim = lab.claim("ReadWriteMany")

    def written() -> bool:
        return lab.config()["spec"]["storage"].get("pvc") is not None

    with as_soon_as(written, lambda: lab.cluster.restart("kube-apiserver")):
        ok(lab.storage(backend="pvc", pvc={"claim": claim}, wait_timeout=90))


def test_what_may_not_be_watched_is_not_waited_for(lab: Lab) -> None:
    """An account that may write and not list ends at once, not after wait_timeout."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "blind"},
        "rules": [
            {"apiGroups": [ALAUDA.group], "resources": ["configs"], "verbs": ["get", "patch"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "blind"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "blind"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "blind"}],
    }
    lab.client.create(f"{rbac}/clusterroles", role)
    lab.client.create(f"{rbac}/clusterrolebindings", binding)
    kubeconfig = str(lab.cluster.kubeconfig_for("blind-one", ["blind"]))
    result = fails(lab, "cannot be observed", backend="emptydir", disable_redirect=True, kubeconfig=kubeconfig)
    assert result["changed"] is True
    assert "wait: false" in result["msg"]


def test_a_login_in_the_proxy_of_the_config_is_not_returned(lab: Lab) -> None:
    """spec.proxy may hold user and password, and the whole Config is part of the result."""
    lab.patch({"proxy": {"http": "http://someone:a-proxy-password@proxy.example.com:3128"}})
    try:
        result = lab.storage(backend="emptydir", wait_timeout=40)
    finally:
        lab.patch({"proxy": {"http": None}})
    assert "a-proxy-password" not in str(result)
    assert "proxy.example.com" in str(result["config"]["spec"]["proxy"])
