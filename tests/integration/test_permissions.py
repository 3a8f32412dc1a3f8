# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles printed in docs/guide.md are enough for every recipe, and grant no more than documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import NAMESPACE, Lab

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
USER = "storage-admin"
OTHERS: dict[str, dict[str, Any]] = {
    "registry_pullsecret": {
        "management_state": "Managed",
        "additional_registry_hosts": ["permitted.example.com"],
        "list_mode": "merge",
        "verify_namespaces": ["default", "kube-public"],
        "verify_namespace_selector": "kubernetes.io/metadata.name=default",
    },
    "image_limits": {
        "namespaces": ["default", "kube-public", "kube-node-lease"],
        "quota": {"images": 200},
        "image": {"storage": "1Gi"},
    },
    "image_pruner": {"schedule": "7 3 * * *", "suspend": False, "keep_tag_revisions": 3, "keep_younger_than": "60m"},
}


def _roles(module: str = "registry_storage") -> list[dict[str, Any]]:
    section = GUIDE.read_text(encoding="utf-8").split("\n## Permissions\n")[1].split("\n## ")[0]
    section = section.split(f"\n### `{module}`\n")[1].split("\n### ")[0]
    (block,) = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return list(yaml.safe_load_all(block))


def _bindings(roles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": role["apiVersion"],
            "kind": f"{role['kind']}Binding",
            "metadata": role["metadata"],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        }
        for role in roles
    ]


def _apply(lab: Lab, objects: list[dict[str, Any]]) -> None:
    lab.cluster.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))


def _await(lab: Lab, roles: list[dict[str, Any]], given: bool = True) -> None:
    """Wait until the API server knows that the user has these rights, or that they are gone."""
    for role in roles:
        lab.await_rights(role["rules"], user=USER, namespace=role["metadata"].get("namespace", ""), given=given)


@pytest.fixture
def limited(lab: Lab) -> Iterator[str]:
    """Kubeconfig of a user who has the documented roles and nothing else."""
    roles = _roles()
    objects = roles + _bindings(roles)
    _apply(lab, objects)
    _await(lab, roles)
    yield str(lab.cluster.kubeconfig_for(USER))
    lab.cluster.kubectl("delete", "--filename", "-", stdin=yaml.safe_dump_all(objects))


def test_the_documented_roles_are_enough_for_a_claim(lab: Lab, limited: str) -> None:
    result = lab.storage(
        kubeconfig=limited,
        backend="pvc",
        pvc={"claim": "permitted", "create": True, "size": "1Gi", "storage_class": "lab"},
        replicas=1,
        probe="require",
    )
    assert not result.get("failed"), result["msg"]
    assert result["verification"]["verdict"] == "done"
    # What may not be read is skipped with a warning in these words.
    assert not [text for text in result.get("warnings", []) if "Could not" in text or "not probed" in text]


def test_the_documented_roles_are_enough_for_a_bucket_with_its_own_ca(lab: Lab, limited: str) -> None:
    bucket = lab.cluster.s3_bucket("permitted")
    result = lab.storage(
        kubeconfig=limited,
        backend="s3",
        s3={
            "bucket": bucket.name,
            "region": bucket.region,
            "region_endpoint": bucket.https_endpoint,
            "trusted_ca": {"name": "permitted-ca", "pem": bucket.ca_pem},
            "access_key": bucket.access_key,
            "secret_key": bucket.secret_key,
        },
        replicas=1,
        probe="require",
    )
    assert not result.get("failed"), result["msg"]
    assert result["verification"]["verdict"] == "done"


def _of_the_proxy(role: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for rule in role["rules"] if "pods/proxy" in rule["resources"]]


def test_without_the_rule_for_the_proxy_the_missing_probe_is_reported(lab: Lab, limited: str) -> None:
    roles = _roles()
    for role in roles:
        role["rules"] = [rule for rule in role["rules"] if rule not in _of_the_proxy(role)]
    _apply(lab, roles)
    _await(lab, [{**role, "rules": _of_the_proxy(role)} for role in _roles()], given=False)
    wanted = {"backend": "emptydir", "replicas": 1}
    result = lab.storage(kubeconfig=limited, **wanted)
    assert not result.get("failed"), result["msg"]
    assert any("not probed" in str(warning) for warning in result["warnings"]), result["warnings"]
    required = lab.storage(kubeconfig=limited, probe="require", **wanted)
    assert required.get("failed")


def test_the_documented_roles_grant_nothing_outside_the_registrys_namespace(lab: Lab, limited: str) -> None:
    def may(verb: str, resource: str, namespace: str) -> bool:
        answer = lab.cluster.kubectl(
            "auth", "can-i", verb, resource, f"--namespace={namespace}", f"--as={USER}", check=False
        )
        return answer.strip() == "yes"

    assert may("get", "secrets", NAMESPACE)
    assert not may("get", "secrets", "default")
    assert not may("delete", "persistentvolumeclaims", NAMESPACE)
    assert not may("delete", "configs.imageregistry.operator.alauda.io", NAMESPACE)


@pytest.mark.parametrize("module", OTHERS)
def test_the_documented_roles_are_enough_for_the_other_parts_and_no_wider_than_needed(lab: Lab, module: str) -> None:
    roles = _roles(module)
    objects = roles + _bindings(roles)
    _apply(lab, objects)
    _await(lab, roles)
    try:
        kubeconfig = str(lab.cluster.kubeconfig_for(USER))
        first = lab.run(module, kubeconfig=kubeconfig, **OTHERS[module])
        assert not first.get("failed"), first["msg"]
        assert first["changed"] is True
        assert first["verification"]["verdict"] == "done"
        assert not [warning for warning in first["warnings"] if "forbidden" in warning or "checked" in warning]
        if module == "image_limits":
            gone = lab.run(module, kubeconfig=kubeconfig, namespaces=OTHERS[module]["namespaces"], state="absent")
            assert {entry["status"] for entry in gone["namespaces"].values()} == {"deleted"}
        # Without the right to write, the same task fails and names the missing right.
        taken = []
        for role in roles:
            written = [verb for rule in role["rules"] for verb in rule["verbs"] if verb in ("create", "patch")]
            writing = [rule for rule in role["rules"] if {"create", "patch"} & set(rule["verbs"])]
            taken.append(
                {**role, "rules": [{**rule, "verbs": sorted({*written} & {*rule["verbs"]})} for rule in writing]}
            )
            for rule in role["rules"]:
                rule["verbs"] = [verb for verb in rule["verbs"] if verb not in ("create", "patch")]
        _apply(lab, roles)
        _await(lab, taken, given=False)
        changed = {"image_pruner": {"schedule": "8 4 * * *"}}.get(
            module, {"additional_registry_hosts": ["another.example.com"]} if module == "registry_pullsecret" else {}
        )
        refused = lab.run(module, kubeconfig=kubeconfig, **{**OTHERS[module], **changed})
        assert refused.get("failed")
        assert "forbidden" in refused["msg"].lower(), refused["msg"]
    finally:
        lab.cluster.kubectl("delete", "--filename", "-", stdin=yaml.safe_dump_all(objects))
