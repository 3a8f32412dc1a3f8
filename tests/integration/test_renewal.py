# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials and CA bundles that show in no field of the spec: done means that the Pods were started with them."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.operator_simulator import names, render
from tests.integration.conftest import DEPLOYMENT, NAMESPACE, Lab
from tests.integration.test_adversary import SECRET, as_soon_as, ok
from tests.integration.waiting import until

pytestmark = pytest.mark.cluster

BUNDLE = namespaced(NAMESPACE, "configmaps", "s3-ca")
WITHOUT_A_NOTICE = 10.0
"""Seconds. Longer than a task waits for a renewal that need not come (trusted_ca.UNRENEWED)."""


def on_s3(lab: Lab) -> dict[str, Any]:
    """Options of a bucket that the registry uses, at rest, and in another second than the writes that follow.

    The API server records whole seconds only.
    """
    options = lab.s3()
    ok(lab.storage(backend="s3", s3=options))
    lab.rest()
    time.sleep(1.1)
    return options


def by_hand(options: dict[str, Any]) -> dict[str, Any]:
    """The same bucket for a task that leaves credentials and CA to whoever made them."""
    kept = {key: options[key] for key in ("bucket", "region", "region_endpoint")}
    return {"backend": "s3", "s3": {**kept, "trusted_ca": {"name": "s3-ca"}}}


def longer(lab: Lab, options: dict[str, Any]) -> str:
    """Another bundle that the endpoint's certificate is trusted with: the same CA and a stranger's."""
    stranger = lab.client.get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")
    assert stranger is not None
    return str(options["trusted_ca"]["pem"] + stranger["data"]["ca.crt"])


def rotate(lab: Lab, options: dict[str, Any]) -> str:
    """Another key of the same user, written into the Secret by hand; its access key."""
    key = lab.cluster.s3.new_key(f"{options['bucket']}-user")
    values = {
        "REGISTRY_STORAGE_S3_ACCESSKEY": key.access_key,
        "REGISTRY_STORAGE_S3_SECRETKEY": key.secret_key,
    }
    lab.client.patch(
        SECRET, {"data": {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}}
    )
    return key.access_key


def restart(lab: Lab) -> None:
    """What ``kubectl rollout restart`` does, until it is complete."""
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T10:00:00Z"}
    written = lab.client.patch(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": stamp}}}})
    generation = written["metadata"]["generation"]

    def complete() -> bool:
        deployment = lab.client.get(DEPLOYMENT)
        assert deployment is not None
        state = deployment["status"]
        counts = [state.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return state.get("observedGeneration", 0) >= generation and set(counts) == {deployment["spec"]["replicas"]}

    until("the Pods are restarted", complete, state=lambda: lab.client.get(DEPLOYMENT))


def arrived(lab: Lab) -> bool:
    """Whether the Pods were rendered for what the operator's own objects hold now."""
    deployment = lab.client.get(DEPLOYMENT)
    assert deployment is not None
    template = deployment["spec"]["template"]

    def find(kind: str, name: str) -> dict[str, Any] | None:
        found = lab.client.get(namespaced(NAMESPACE, f"{kind.lower()}s", name))
        return None if found is None else dict(found)

    digest = render.dependencies(template["spec"]["volumes"], find)
    return bool(template["metadata"]["annotations"][names.DEPENDENCIES] == digest)


def passed_on(lab: Lab, text: str) -> bool:
    """Whether the operator's generated Secret holds the text."""
    secret = lab.client.get(namespaced(NAMESPACE, "secrets", ALAUDA.generated_secret))
    return any(text in base64.b64decode(value).decode() for value in (secret or {}).get("data", {}).values())


def test_credentials_by_hand_and_restarted_pods_while_the_operator_is_down(lab: Lab) -> None:
    """The Pods are newer than the Secret, and were started with the old key: only the content shows it."""
    options = on_s3(lab)
    with lab.without_operator():
        rotate(lab, options)
        restart(lab)
        early = lab.storage(**by_hand(options), wait_timeout=4)
    assert early.get("failed"), early["verification"]["summary"]
    assert early["changed"] is False
    assert "has not passed the changed credentials on to them" in early["msg"]
    late = ok(lab.storage(**by_hand(options)))
    assert late["changed"] is False
    assert arrived(lab)


def test_a_bundle_by_hand_and_restarted_pods_while_the_operator_is_down(lab: Lab) -> None:
    """The same for a CA bundle, which the operator passes on in a ConfigMap of its own."""
    options = on_s3(lab)
    wanted = longer(lab, options)
    with lab.without_operator():
        lab.client.patch(BUNDLE, {"data": {ALAUDA.trusted_ca_key: wanted}})
        restart(lab)
        early = lab.storage(**by_hand(options), wait_timeout=4)
    assert early.get("failed"), early["verification"]["summary"]
    assert early["changed"] is False
    assert "has not passed the changed CA bundle on to them" in early["msg"]
    ok(lab.storage(**by_hand(options)))
    assert arrived(lab)
    passed_on = lab.client.get(namespaced(NAMESPACE, "configmaps", ALAUDA.certificates))
    assert passed_on is not None
    assert wanted in passed_on["data"].values()


def test_a_bundle_by_task_while_the_operator_lags(lab: Lab) -> None:
    """An operator that has not noticed is waited for; only one that has noticed may have nothing to renew."""
    options = on_s3(lab)
    task = {"backend": "s3", "s3": {**options, "trusted_ca": {"name": "s3-ca", "pem": longer(lab, options)}}}
    lab.cluster.kill("operator")
    started = time.monotonic()
    try:
        with as_soon_as(lambda: time.monotonic() - started > WITHOUT_A_NOTICE, lambda: lab.cluster.launch("operator")):
            result = ok(lab.storage(**task))
    finally:
        lab.cluster.launch("operator")
    assert result["changed"] is True
    assert arrived(lab)
    assert not any("CA" in text or "certificate" in text for text in result["warnings"])


def test_a_bundle_by_task_that_only_the_certificates_follow_late(lab: Lab) -> None:
    """Everything else is contented all the while, and the Pods have the old bundle (operator fact 4.11)."""
    options = on_s3(lab)
    late = {"lab.alauda.io/passed-on-after": str(WITHOUT_A_NOTICE)}
    lab.client.patch(BUNDLE, {"metadata": {"annotations": late}})
    wanted = longer(lab, options)
    result = ok(lab.storage(backend="s3", s3={**options, "trusted_ca": {"name": "s3-ca", "pem": wanted}}))
    lab.client.patch(BUNDLE, {"metadata": {"annotations": dict.fromkeys(late)}})
    assert result["changed"] is True
    assert result["warnings"] == []
    states = [entry["state"] for entry in result["verification"]["timeline"]]
    assert any("has not passed the changed CA bundle on" in state for state in states)
    assert arrived(lab)
    passed_on = lab.client.get(namespaced(NAMESPACE, "configmaps", ALAUDA.certificates))
    assert passed_on is not None
    assert wanted in passed_on["data"].values()


@pytest.mark.parametrize("pem", [True, False], ids=["made by the task", "made by hand"])
def test_another_config_map_for_the_same_bucket(lab: Lab, pem: bool) -> None:
    """Naming it in Config does not wake the controller that passes bundles on (operator fact 4.11): the task does."""
    options = on_s3(lab)
    wanted, name = longer(lab, options), f"other-ca-{'task' if pem else 'hand'}"
    if not pem:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        lab.client.create(namespaced(NAMESPACE, "configmaps"), {**body, "data": {ALAUDA.trusted_ca_key: wanted}})
        lab.rest()
    given = {**options, "trusted_ca": {"name": name, **({"pem": wanted} if pem else {})}}
    result = ok(lab.storage(backend="s3", s3=given, wait_timeout=60))
    assert arrived(lab)
    passed_on = lab.client.get(namespaced(NAMESPACE, "configmaps", ALAUDA.certificates))
    assert passed_on is not None
    assert wanted in passed_on["data"].values()
    assert result["written"][-1]["name"] == ALAUDA.certificates
    assert ok(lab.storage(backend="s3", s3=given))["changed"] is False


@pytest.mark.parametrize("what", ["credentials", "CA bundle"])
def test_a_change_by_hand_right_before_the_task(lab: Lab, what: str) -> None:
    """The task may find the operator anywhere on its way; it is done when the Pods have been renewed."""
    options = on_s3(lab)
    if what == "credentials":
        rotate(lab, options)
    else:
        lab.client.patch(BUNDLE, {"data": {ALAUDA.trusted_ca_key: longer(lab, options)}})
    result = ok(lab.storage(**by_hand(options)))
    assert result["changed"] is False
    assert arrived(lab)
    lab.rest()
    assert ok(lab.storage(**by_hand(options)))["verification"]["seconds"] < 5


def test_without_permission_to_read_what_the_operator_passes_on(lab: Lab) -> None:
    """A renewal that is not proven is reported as such, and is not waited for indefinitely."""
    options = on_s3(lab)
    mine = [ALAUDA.user_secret]
    rules = [
        {"apiGroups": [ALAUDA.group], "resources": ["configs"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services/proxy", "pods/proxy"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch"], "resourceNames": mine},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["s3-ca"]},
    ]
    with lab.cluster_role("own-secret-only", rules) as kubeconfig:
        with lab.without_operator():  # otherwise it may have rendered the Pods before the task looks
            key = rotate(lab, options)
            seen = ok(lab.storage(kubeconfig=kubeconfig, **by_hand(options)))
        assert any(ALAUDA.generated_secret in text and "may not be read" in text for text in seen["warnings"])
        # Otherwise it might see nothing but the key that the Pods have already.
        until("the operator has passed the new key on", lambda: passed_on(lab, key) and arrived(lab))
        back = {**options, "trusted_ca": {"name": "s3-ca"}}
        changed = ok(lab.storage(kubeconfig=kubeconfig, backend="s3", s3=back))
    assert changed["changed"] is True
    assert any("not proven" in text for text in changed["warnings"])
