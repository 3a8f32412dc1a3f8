# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters and clusters for the tests of the decisions of registry_storage."""

from __future__ import annotations

import base64
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import STORAGE, WAIT
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import plan as _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import StorageGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA

PEM = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(bytes(range(120))).decode()}\n-----END CERTIFICATE-----\n"
OPERATOR: dict[str, Any] = {
    "metadata": {"name": "cluster-image-registry-operator"},
    "spec": {"replicas": 1},
    "status": {"availableReplicas": 1},
}
REGISTRY: dict[str, Any] = {"metadata": {"name": "image-registry", "generation": 7}}
CREDENTIALS = {"REGISTRY_STORAGE_S3_ACCESSKEY": "AKIDEXAMPLE", "REGISTRY_STORAGE_S3_SECRETKEY": "wJalrXUtnFEMI"}
S3 = {"bucket": "images", "region": "us-east-1", "region_endpoint": "https://s3.example.com"}
LIVE: dict[str, Any] = {
    "managementState": "Unmanaged",
    "s3": {"bucket": "images", "region": "us-east-1", "regionEndpoint": S3["region_endpoint"]},
}


def params(**given: Any) -> dict[str, Any]:
    """Parameters as Ansible hands them over: every option present, unset ones None, defaults filled in."""

    def filled(spec: dict[str, dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
        result = {}
        for name, option in spec.items():
            value = values.get(name, option.get("default"))
            if isinstance(value, dict) and "options" in option:
                value = filled(option["options"], value)
            result[name] = value
        return result

    return filled({**STORAGE, **WAIT}, given)


def config(storage: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A live Config; status.storage follows the spec unless given."""
    return {
        "metadata": {"name": "cluster", "generation": 4},
        "spec": {
            "managementState": "Managed",
            "replicas": 1,
            "rolloutStrategy": "RollingUpdate",
            "storage": storage,
            **spec,
        },
        "status": {"storage": storage if status is None else status},
    }


def claim(*modes: str, **spec: Any) -> dict[str, Any]:
    """A bound claim of 100Gi."""
    return {
        "metadata": {"name": "image-registry"},
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": "100Gi"}},
            "storageClassName": "fast",
            **spec,
        },
        "status": {"phase": "Bound"},
    }


def secret(values: dict[str, str]) -> dict[str, Any]:
    """A Secret with these values."""
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


def stamped(item: dict[str, Any], data: str, **others: str) -> dict[str, Any]:
    """The object, its data written at that time, and other fields by others at theirs."""
    entries = [{"time": data, "fieldsV1": {"f:data": {".": {}}}}]
    entries += [{"time": at, "fieldsV1": {"f:metadata": {f"f:{field}": {}}}} for field, at in others.items()]
    return {**item, "metadata": {**item.get("metadata", {}), "managedFields": entries}}


def rendered(deployment: dict[str, Any], time: str, **others: str) -> dict[str, Any]:
    """The Deployment, written by the operator at that time, and other annotations of its template by others."""

    def template(annotation: str) -> dict[str, Any]:
        return {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}}}

    entries: list[dict[str, Any]] = [{"time": time, "fieldsV1": template("operator/dependencies-checksum")}]
    entries += [{"time": at, "fieldsV1": template(f"kubectl.kubernetes.io/{key}")} for key, at in others.items()]
    entries.append({"time": "2026-01-01T00:01:00Z", "subresource": "status", "fieldsV1": {"f:status": {}}})
    return {**deployment, "metadata": {**deployment["metadata"], "managedFields": entries}}


def decide(given: dict[str, Any], **seen: Reading) -> Plan[StorageGoal]:
    """The plan for these parameters on such a cluster."""
    readings: dict[str, Reading] = {"config": config({"emptyDir": {}}), "deployments": (OPERATOR, REGISTRY), **seen}
    return _storage.plan(parse_intent(given, ALAUDA), readings)


def goal_of(plan: Plan[StorageGoal]) -> StorageGoal:
    """The goal of a plan that is not refused."""
    assert plan.goal is not None
    return plan.goal


def check_refusals(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """Every expected refusal is there, and no other."""
    refusals = decide(params(**given), **seen).refusals
    assert refusals
    assert [text for text in expected if not any(text in refusal for refusal in refusals)] == [], refusals
    assert [refusal for refusal in refusals if not any(text in refusal for text in expected)] == []
