# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure says about the registry of before: whether it serves, and from where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.standing import serving
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer, Probe
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import place_of_images
from tests.unit._parts.storage.test_judge import AT_REST, pod, terminating

CLAIM = {"persistentVolumeClaim": {"claimName": "images"}}


def using(driver: str, volume: dict[str, Any] | None = None, **env: str) -> dict[str, Any]:
    """The spec of a Pod on such storage."""
    variables = {"REGISTRY_STORAGE": driver, **{f"REGISTRY_STORAGE_{name}": value for name, value in env.items()}}
    container = {"name": "registry", "env": [{"name": name, "value": value} for name, value in variables.items()]}
    return {"containers": [container], "volumes": [{"name": "registry-storage", **volume}] if volume else []}


def ready(name: str, spec: dict[str, Any], status: str = "True") -> dict[str, Any]:
    """A Pod that is ready, or not."""
    return {**pod(name, conditions=[{"type": "Ready", "status": status}]), "spec": spec}


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        (using("filesystem", {"emptyDir": {}}), "emptyDir"),
        (using("filesystem", CLAIM), "pvc/images"),
        (using("s3", S3_BUCKET="layers"), "s3/layers"),
        (using("azure", AZURE_CONTAINER="layers"), "azure/layers"),
        (using("filesystem"), ""),
        ({}, ""),
    ],
)
def test_the_place_is_read_from_what_runs(spec: dict[str, Any], place: str) -> None:
    assert place_of_images({"spec": {"template": {"spec": spec}}}, "registry") == place


def test_pods_of_before_are_named_with_their_storage() -> None:
    """The Deployment speaks of the new storage already; the new Pod is not ready, and an old one is terminating."""
    old, new = using("filesystem", {"emptyDir": {}}), using("s3", S3_BUCKET="layers")
    pods = (ready("old-1", old), terminating(ready("old-2", old)), ready("new-1", new, "False"))
    text = serving("registry", replace(AT_REST, pods=pods))
    assert text == "Meanwhile the registry still serves: 1 Pod from emptyDir."
    assert "no Pod" in serving("registry", replace(AT_REST, pods=(pods[2],)))
    assert serving("registry", AT_REST) == "", "Pods may not be listed"


@pytest.mark.parametrize("via", ["pod/new-1", "service/image-registry"])
def test_a_ready_pod_with_broken_storage_serves_nothing(via: str) -> None:
    """Its readiness does not depend on the storage (registry over HTTP 1)."""
    one = replace(AT_REST, pods=(ready("new-1", using("s3", S3_BUCKET="layers")),))
    broken = replace(one, probes=(Probe(Answer.BROKEN, via, 503, 0.0),))
    assert serving("registry", broken) == "At the moment no Pod of the registry serves images."
    assert "1 Pod from s3/layers" in serving("registry", one)
