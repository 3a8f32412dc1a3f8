# SPDX-License-Identifier: GPL-3.0-or-later
"""A claim that was asked to grow: done when its volume has grown, and otherwise what Kubernetes says about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, History
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import growth
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.judge import NO_ROLLOUT, judge
from tests.unit._parts.storage.situations import claim as bound
from tests.unit._parts.storage.situations import decide, goal_of, params
from tests.unit._parts.storage.test_judge import AT_REST, GOAL, changed, claim, deployment, waiting, watch

GROWS = replace(GOAL, capacity="200Gi")


def having(capacity: str, **status: Any) -> Any:
    """A registry at rest on a claim with this capacity."""
    shape = changed(claim(), "metadata.namespace", "image-registry-system")
    shape = {**shape, "status": {"phase": "Bound", "capacity": {"storage": capacity}, **status}}
    selector = changed(deployment(), "spec.selector", {"matchLabels": {"app": "registry"}})
    return replace(AT_REST, claim=shape, deployment=selector)


def reporting(kind: str, message: str = "") -> dict[str, Any]:
    """Conditions with this one."""
    return {"conditions": [{"type": kind, "status": "True", "message": message}]}


def test_a_volume_that_has_grown_is_enough() -> None:
    """By value, and more than was requested is fine."""
    for capacity in ("200Gi", "0.2Ti", "214748364800"):
        assert isinstance(watch(having(capacity), 1.0, GROWS)[0], Done)


def test_a_volume_that_nothing_resizes_is_waited_for() -> None:
    """The storage driver may not be there to do it; whatever the claim says is in the line."""
    assert "claim image-registry has 100Gi of the 200Gi requested" in waiting(having("100Gi"), goal=GROWS)
    assert "nothing reports that it is being resized" in waiting(having("100Gi"), goal=GROWS)
    shown = waiting(having("100Gi", **reporting("ControllerResizeError", "quota exceeded")), goal=GROWS)
    assert "(ControllerResizeError: quota exceeded)" in shown
    assert isinstance(watch(having("100Gi"), 1.0)[0], Done), "not requested"


def test_a_volume_that_has_just_grown_needs_no_rollout() -> None:
    """Nothing was changed that the Deployment could follow, so nothing more is waited for."""
    _verdict, history = judge(GROWS, having("100Gi"), History())
    grown = replace(having("200Gi"), at=0.25)
    assert isinstance(judge(GROWS, grown, history)[0], Done)


def test_a_file_system_that_does_not_follow_needs_another_pod() -> None:
    """A kubelet enlarges it within a minute or so where the driver can do it in use."""
    resizing = having("100Gi", **reporting("FileSystemResizePending", "Waiting for user to (re-)start a pod"))
    verdict, after, _history = watch(resizing, 200.0, GROWS)
    assert after >= growth.FILE_SYSTEM
    assert getattr(verdict, "reason", "") == "FileSystemResizePending"
    assert "(re-)start a pod" in getattr(verdict, "quoted", "")
    assert "kubectl -n image-registry-system delete pod -l app=registry" in getattr(verdict, "remedy", "")


def test_a_resize_that_kubernetes_calls_infeasible_ends_the_wait() -> None:
    """It tries again slowly, but nothing will change by itself."""
    state = {"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}}
    error = reporting("ControllerResizeError", "exceeds the largest size")
    verdict, after, _history = watch(having("100Gi", **state, **error), 60.0, GROWS)
    assert after <= growth.INFEASIBLE + NO_ROLLOUT
    assert getattr(verdict, "reason", "") == "ControllerResizeInfeasible"
    assert getattr(verdict, "quoted", "") == "exceeds the largest size"


def test_only_a_request_to_grow_is_a_goal() -> None:
    """The second run, which has nothing to write, still waits for what the first one requested."""
    fast = {"metadata": {"name": "fast"}, "allowVolumeExpansion": True}

    def capacity(size: str, expand: bool) -> str:
        given = params(backend="pvc", pvc={"size": size, "expand": expand})
        return goal_of(decide(given, claim=bound("ReadWriteMany"), classes=(fast,))).capacity

    assert capacity("200Gi", True) == "200Gi"
    assert capacity("100Gi", True) == "100Gi"
    assert capacity("50Gi", True) == "", "a claim cannot shrink"
    assert capacity("200Gi", False) == ""
