# SPDX-License-Identifier: GPL-3.0-or-later
"""Interference with registry_storage by others: it neither reports done too early nor waits forever."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import DEPLOYMENT, NAMESPACE, REFUSAL, Lab, push

pytestmark = pytest.mark.cluster

SECRET = namespaced(NAMESPACE, "secrets", ALAUDA.user_secret)


def ok(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that must have succeeded."""
    assert not result.get("failed"), result.get("msg")
    assert result["verification"]["verdict"] == "done"
    return result


@contextmanager
def as_soon_as(condition: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Do something in the background once a condition holds. The task must not be able to end earlier.

    An exception in the background is raised when the task has ended.
    """
    over, done = threading.Event(), threading.Event()
    wrong: list[Exception] = []

    def watch() -> None:
        while not over.wait(0.02):
            try:
                if condition():
                    act()
                    done.set()
                    return
            except Exception as error:
                wrong.append(error)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if wrong:
        raise wrong[0]
    assert done.is_set(), "the task ended before the condition held"


# -- credentials and certificates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "secret"),
    [
        (lambda good: good["access_key"], lambda good: good["secret_key"][:-1]),
        (lambda good: good["secret_key"], lambda good: good["access_key"]),
    ],
    ids=["last letter lost", "swapped"],
)
def test_almost_the_right_credentials(
    lab: Lab, access: Callable[[dict[str, Any]], str], secret: Callable[[dict[str, Any]], str]
) -> None:
    """The old Pods keep serving with the good credentials, which proves nothing about the new ones."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    wrong = {**good, "access_key": access(good), "secret_key": secret(good)}
    for changed in (True, False):
        result = lab.fails(REFUSAL, backend="s3", s3=wrong)
        assert result["changed"] is changed
        assert "key" in result["msg"]
    ok(lab.storage(backend="s3", s3=good))


def test_the_secret_is_deleted_and_made_again(lab: Lab) -> None:
    """The Pods have these credentials already: no rollout follows, and none is waited for."""
    task = {"backend": "s3", "s3": lab.s3()}
    ok(lab.storage(**task))
    lab.delete("secrets", ALAUDA.user_secret)
    result = ok(lab.storage(**task))
    assert [item["kind"] for item in result["written"]] == ["Secret"]
    assert ok(lab.storage(**task))["changed"] is False


def test_another_ca_and_back(lab: Lab) -> None:
    """A CA that did not sign the endpoint's certificate is refused; the repair renews no Pods and must not time out."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    stranger = lab.client.get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")
    assert stranger is not None
    wrong = {**good, "trusted_ca": {"name": "s3-ca", "pem": stranger["data"]["ca.crt"]}}
    assert "not trusted" in lab.fails(REFUSAL, backend="s3", s3=wrong)["msg"]
    repaired = ok(lab.storage(backend="s3", s3=good))
    assert [item["kind"] for item in repaired["written"]] == ["ConfigMap"]
    pem = good["trusted_ca"]["pem"].replace("\n", "\r\n")
    same = ok(lab.storage(backend="s3", s3={**good, "trusted_ca": {"name": "s3-ca", "pem": pem}}))
    assert same["changed"] is False


def test_credentials_that_were_written_while_the_operator_was_down(lab: Lab) -> None:
    """The second run has nothing to write, and the first one's credentials never reached a Pod."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    rotated = lab.cluster.s3.new_key(f"{good['bucket']}-user")
    task = {"backend": "s3", "s3": {**good, "access_key": rotated.access_key, "secret_key": rotated.secret_key}}
    time.sleep(1.1)  # the API server records whole seconds only; the next write must fall into another one
    lab.cluster.kill("operator")
    try:
        first = lab.storage(**task, wait_timeout=3)
        second = lab.storage(**task, wait_timeout=3)
    finally:
        lab.cluster.launch("operator")
    assert (first.get("failed"), first["changed"]) == (True, True)
    assert (second.get("failed"), second["changed"]) == (True, False)
    assert "renewed" in second["msg"]
    assert ok(lab.storage(**task))["changed"] is False


OTHER = {"data": {"REGISTRY_STORAGE_S3_SECRETKEY": base64.b64encode(b"other").decode()}}


def test_somebody_writes_other_credentials_at_the_end(lab: Lab, proxy: ApiProxy) -> None:
    """No watch follows the Secret; reading it again after the rollout finds the change before the operator does."""

    def rotate() -> None:
        lab.cluster.kill("operator")
        lab.client.patch(SECRET, OTHER)

    # The registry is queried when everything else has been established.
    proxy.meanwhile(rotate, method="GET", path="/proxy/v2/.*/tags/list")
    try:
        result = lab.storage(kubeconfig=proxy.kubeconfig, backend="s3", s3=lab.s3())
    finally:
        lab.cluster.launch("operator")
    assert result.get("failed"), result["verification"]["summary"]
    assert result["verification"]["reason"] == "ChangedAgain"
    assert f"Secret/{ALAUDA.namespace}/{ALAUDA.user_secret}" in result["msg"]


def test_somebody_writes_other_credentials_during_the_rollout(lab: Lab) -> None:
    """The operator checks first, and refuses them; the Pods, which have the good ones, may or may not become ready."""
    lab.annotate_nodes(fault="never-ready")  # otherwise the task may finish first

    def rolled_out() -> bool:
        deployment = lab.client.get(DEPLOYMENT)
        assert deployment is not None
        return "REGISTRY_STORAGE_S3_BUCKET" in str(deployment["spec"]["template"])

    with as_soon_as(rolled_out, lambda: lab.client.patch(SECRET, OTHER)):
        result = lab.fails(REFUSAL, backend="s3", s3=lab.s3())
    assert "SignatureDoesNotMatch" in result["msg"]


# -- Deployment and Pods -----------------------------------------------------------------------------------------------


def test_the_deployment_is_deleted_during_a_rotation(lab: Lab, proxy: ApiProxy) -> None:
    """The new one starts at generation 1 again, but still counts as newer."""
    good = lab.s3()
    ok(lab.storage(backend="s3", s3=good))
    rotated = lab.cluster.s3.new_key(f"{good['bucket']}-user")
    before = lab.client.get(DEPLOYMENT)
    task = {"backend": "s3", "s3": {**good, "access_key": rotated.access_key, "secret_key": rotated.secret_key}}
    # Between the write and the task's first judgement, whether or not the operator has seen the write by then.
    proxy.meanwhile(
        lambda: lab.client.delete(DEPLOYMENT),
        method="PATCH",
        path=f"/secrets/{ALAUDA.user_secret}$",
        dry_run=False,
        forwarded=True,
    )
    ok(lab.storage(kubeconfig=proxy.kubeconfig, **task))
    after = lab.client.get(DEPLOYMENT)
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def test_pods_of_others_with_the_same_labels(lab: Lab) -> None:
    """A copy for debugging, younger than every Pod of the registry, neither counts as one nor blocks the task."""
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
        result = ok(lab.storage(backend="pvc", pvc={"claim": claim}))
    finally:
        lab.delete("pods", "copy")
    assert [probe["via"] for probe in result["verification"]["probes"]] != ["pod/copy"]


# -- the operator's surprises ------------------------------------------------------------------------------------------


def test_a_bucket_that_the_operator_creates_is_reported(lab: Lab, proxy: ApiProxy, tmp_path: Path) -> None:
    """A typo in the name creates an empty bucket, with which everything works (operator fact 4.9).

    The operator reports this only briefly, so here it is started once the task is watching.
    """
    options = lab.s3()
    lab.cluster.kill("operator")
    proxy.meanwhile(lambda: lab.cluster.launch("operator"), path="/configs$", watch=True)
    try:
        slip = {**options, "bucket": f"{options['bucket']}-slip"}
        result = ok(lab.storage(kubeconfig=proxy.kubeconfig, backend="s3", s3=slip))
    finally:
        lab.cluster.launch("operator")
    assert any("did not exist" in text and "-slip" in text for text in result["warnings"])
    # The second run has no operator to learn it from; it is said until there is something in the bucket.
    again = ok(lab.storage(backend="s3", s3=slip))
    assert again["changed"] is False
    assert any("did not exist" in text and "-slip" in text for text in again["warnings"])
    push(lab, tmp_path)
    assert not any("did not exist" in text for text in ok(lab.storage(backend="s3", s3=slip))["warnings"])


def test_the_api_server_restarts_meanwhile(lab: Lab) -> None:
    """Delays the task and changes nothing else."""
    claim = lab.claim("ReadWriteMany")
    old = lab.pods()[0]["metadata"]["name"]
    lab.annotate_nodes(fault="never-ready")  # holds the rollout until the API server is back

    def new_pod() -> bool:
        return any(pod["metadata"]["name"] != old and pod["status"].get("phase") == "Running" for pod in lab.pods())

    def restart() -> None:
        lab.cluster.restart("kube-apiserver")
        lab.heal()

    with as_soon_as(new_pod, restart):
        ok(lab.storage(backend="pvc", pvc={"claim": claim}))


def test_what_may_not_be_watched_is_not_waited_for(lab: Lab) -> None:
    """With an account that may write but not list, the task fails at once, not after wait_timeout."""
    rules = [
        {"apiGroups": [ALAUDA.group], "resources": ["configs"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    ]
    lab.annotate_nodes(fault="never-ready")  # nothing else can end the wait
    with lab.cluster_role("blind", rules) as kubeconfig:
        result = lab.fails("cannot be observed", backend="emptydir", disable_redirect=True, kubeconfig=kubeconfig)
    assert result["verification"]["reason"] == "Forbidden"
    assert "cannot be observed" in result["msg"]
    assert result["changed"] is True
    assert "wait: false" in result["msg"]


def test_proxy_credentials_in_the_config_are_not_returned(lab: Lab) -> None:
    """spec.proxy may contain a user and a password, and the whole Config is part of the result."""
    lab.patch({"proxy": {"http": "http://someone:a-proxy-password@proxy.example.com:3128"}})
    try:
        result = lab.storage(backend="emptydir")
    finally:
        lab.patch({"proxy": {"http": None}})
    assert "a-proxy-password" not in str(result)
    assert "proxy.example.com" in str(result["config"]["spec"]["proxy"])
