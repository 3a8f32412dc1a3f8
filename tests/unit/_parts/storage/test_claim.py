# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim of the registry: refused, created, grown or left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.plan import needs
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import (
    check_refusals,
    claim,
    decide,
    params,
)


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        ({"backend": "pvc"}, {"claim": None}, ["PersistentVolumeClaim image-registry does not exist"]),
        ({"backend": "pvc"}, {"claim": claim("ReadOnlyMany")}, ["access modes ReadOnlyMany"]),
        ({"backend": "pvc"}, {"claim": claim("ReadWriteMany", volumeMode="Block")}, ["block device"]),
        (
            {"backend": "pvc", "pvc": {"claim": "image-registry", "create": True}},
            {"claim": None, "classes": ()},
            ["pvc.size: is needed", "no default StorageClass"],
        ),
        (
            {"backend": "pvc", "pvc": {"create": True, "size": "1Gi", "storage_class": "fats"}},
            {"claim": None, "classes": ({"metadata": {"name": "fast"}},)},
            ["StorageClass 'fats' does not exist; the cluster has: fast"],
        ),
        (
            {"backend": "pvc", "pvc": {"size": "200Gi", "expand": True}},
            {"claim": claim("ReadWriteMany"), "classes": ({"metadata": {"name": "fast"}},)},
            ["does not allow expansion"],
        ),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """All findings are listed at once."""
    check_refusals(given, seen, expected)


def test_a_claim_is_created_before_the_config_is_patched() -> None:
    """PVCs are not watched by the operator (operator fact 3.4.1), so the claim comes first."""
    given = params(backend="pvc", pvc={"create": True, "size": "1Gi", "storage_class": "fast"}, replicas=1)
    plan = decide(given, claim=None, classes=({"metadata": {"name": "fast"}},))
    assert [(write.verb, write.kind) for write in plan.writes] == [
        ("create", "PersistentVolumeClaim"),
        ("patch", "Config"),
    ]
    assert plan.writes[0].body["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }


def test_an_existing_claim_that_differs_is_reported_and_left() -> None:
    """Never modified: size, class and modes become warnings."""
    given = params(backend="pvc", pvc={"size": "200Gi", "storage_class": "slow", "access_modes": ["ReadWriteOnce"]})
    plan = decide(given, claim=claim("ReadWriteMany"))
    assert [write.kind for write in plan.writes] == ["Config"]
    assert len([text for text in plan.warnings if "left as it is" in text]) == 3


def test_growing_a_claim_patches_its_size_only() -> None:
    """Only on request, and where the class allows it."""
    fast = {"metadata": {"name": "fast"}, "allowVolumeExpansion": True}
    given = params(backend="pvc", pvc={"size": "0.2Ti", "expand": True})
    plan = decide(given, claim=claim("ReadWriteMany"), classes=(fast,))
    assert plan.writes[0].body == {"spec": {"resources": {"requests": {"storage": "0.2Ti"}}}}


def test_a_volume_that_has_not_grown_yet_is_reported() -> None:
    """The claim requests 200Gi, the volume is still smaller."""
    grown = claim("ReadWriteMany", resources={"requests": {"storage": "200Gi"}})
    grown["status"] = {
        "phase": "Bound",
        "capacity": {"storage": "100Gi"},
        "conditions": [{"type": "FileSystemResizePending", "message": "Waiting for user to (re-)start a pod"}],
    }
    plan = decide(params(backend="pvc", pvc={"claim": "image-registry", "size": "200Gi"}), claim=grown)
    assert any("is still 100Gi" in text and "(re-)start" in text for text in plan.warnings)
    grown["status"]["capacity"]["storage"] = "200Gi"
    plan = decide(params(backend="pvc", pvc={"claim": "image-registry", "size": "200Gi"}), claim=grown)
    assert not any("still" in text for text in plan.warnings)


SIZED = {"create": True, "size": "1Gi", "storage_class": "by-hand"}


def volume(**spec: Any) -> dict[str, Any]:
    """An available PersistentVolume made by hand for class by-hand."""
    shape = {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"]}
    return {"spec": {**shape, "storageClassName": "by-hand", **spec}, "status": {"phase": "Available"}}


@pytest.mark.parametrize(
    ("options", "item", "fits"),
    [
        ({}, volume(), True),
        ({"access_modes": ["ReadWriteMany"]}, volume(), True),
        ({"access_modes": ["ReadWriteMany"]}, volume(accessModes=["ReadWriteOnce"]), False),
        ({"size": "6Gi"}, volume(), False),
        ({}, volume(storageClassName="other"), False),
        ({}, volume(volumeMode="Block"), False),
        ({}, volume(claimRef={"namespace": "image-registry-system", "name": "image-registry"}), True),
        ({}, volume(claimRef={"namespace": "image-registry-system", "name": "another"}), False),
        ({}, {**volume(), "status": {"phase": "Released"}}, False),
        ({"storage_class": None}, volume(storageClassName=""), True),
        ({"storage_class": None}, volume(), False),
    ],
)
def test_a_volume_made_by_hand_needs_no_storage_class(
    options: dict[str, Any], item: dict[str, Any], fits: bool
) -> None:
    """Kubernetes' documented way for static volumes: the name of the class only has to be the same on both."""
    given = params(backend="pvc", pvc={**SIZED, **options})
    plan = decide(given, claim=None, classes=({"metadata": {"name": "fast"}},), volumes=(item,))
    assert (plan.refusals == ()) is fits, plan.refusals
    assert fits or any("No available PersistentVolume fits the claim" in text for text in plan.refusals)


def test_volumes_that_may_not_be_listed_are_a_warning() -> None:
    """The claim may be right; the verification shows whether it is bound."""
    plan = decide(params(backend="pvc", pvc=SIZED), claim=None, classes=(), volumes=Denied("no"))
    assert plan.refusals == ()
    assert any("could not be checked (no)" in text for text in plan.warnings)


def test_volumes_are_read_only_when_no_class_would_make_one() -> None:
    """One request more, and nothing of a volume but what counts."""
    fast = {"metadata": {"name": "fast"}}
    want = parse_intent(params(backend="pvc", pvc=SIZED), ALAUDA)
    seen: dict[str, Reading] = {"config": None, "deployments": (), "claim": None, "classes": (fast,)}
    (ref,) = needs(want, seen)
    assert ref.label == "volumes"
    assert ref.keep is not None
    assert "nfs" not in ref.keep(volume(nfs={"server": "10.0.0.1"}))["spec"]
    assert needs(parse_intent(params(backend="pvc", pvc={**SIZED, "storage_class": "fast"}), ALAUDA), seen) == []


@pytest.mark.parametrize(("size", "odd"), [("100", True), ("1000k", True), ("1Mi", False), ("100Gi", False)])
def test_a_size_below_a_mebibyte_is_remarked(size: str, odd: bool) -> None:
    """Kubernetes takes a bare number for bytes, and a provisioner rounds it up to its smallest volume."""
    plan = decide(params(backend="pvc", pvc={"size": size}), claim=claim("ReadWriteMany"))
    assert any("is less than 1Mi" in text for text in plan.warnings) is odd
    assert any(f"Was {size}Gi intended?" in text for text in plan.warnings) is size.isdigit()
