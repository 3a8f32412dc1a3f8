# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim of the registry: refused, created, grown or left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Reading
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
