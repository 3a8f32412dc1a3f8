# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task reports about its plan and its observation."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow import report
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Write
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Course,
    Effect,
    Failed,
    Waiting,
    changed_back,
    unauthorized,
)


@pytest.mark.parametrize(
    ("reason", "quoted", "shown"),
    [
        ("Unschedulable", "Unschedulable: Pod a-1 no room", "[Unschedulable: Pod a-1 no room]"),
        ("Error", "unable to sync storage", "[Error: unable to sync storage]"),
        ("", "something else", "[something else]"),
    ],
)
def test_the_reason_is_given_once(reason: str, quoted: str, shown: str) -> None:
    failed = Failed(reason, quoted, "No node can run the registry's Pod.", "Request fewer resources.")
    text = report.failure(Course(changed=True, verdict=failed), None)
    assert text.startswith(
        f"The change was stored, but it did not take effect: No node can run the registry's Pod. {shown} What to do: "
    )


@pytest.mark.parametrize(
    ("verdict", "changed", "begin"),
    [
        (unauthorized("401", "It can no longer be observed."), True, "The change was stored, but its effect is not "),
        (unauthorized("401", "It can no longer be observed."), False, "Nothing had to be changed, but the requested "),
        (Failed("Forbidden", "", "It cannot be observed.", "-", Effect.UNCONFIRMED), True, "The change was stored"),
    ],
)
def test_what_was_not_seen_is_not_confirmed(verdict: Failed, changed: bool, begin: str) -> None:
    """It may well have taken effect."""
    text = report.failure(Course(changed=changed, verdict=verdict), None)
    assert text.startswith(begin)
    assert "not confirmed: It can" in text
    assert "did not take effect" not in text
    assert "does not work" not in text


def test_a_wait_that_lost_sight_of_the_cluster_confirms_nothing() -> None:
    course = Course(changed=True, verdict=Waiting("rollout 0/1 updated"), seconds=9.6, timed_out=True, blind=True)
    assert report.failure(course, None).startswith(
        "The change was stored, but its effect is not confirmed within 10 s: the cluster could not be read any more; "
        "last seen: rollout 0/1 updated."
    )
    course.blind = False
    assert report.failure(course, None).startswith(
        "The change was stored, but it did not take effect within 10 s: rollout 0/1 updated."
    )


def test_what_took_effect_and_was_changed_again_did_take_effect() -> None:
    text = report.failure(Course(changed=True, verdict=changed_back("Config", "configs", "replicas")), None)
    assert text.startswith("The change was stored, but it did not last: Another writer")


def test_each_line_of_a_diff_names_its_object_with_the_namespace() -> None:
    claims = "/api/v1/namespaces/registry/persistentvolumeclaims"
    writes = [
        Write(
            "create", claims, {"metadata": {"name": "a"}}, "PersistentVolumeClaim", "a", {}, {"spec": {"c": 1, "d": {}}}
        ),
        Write("patch", f"{claims}/b", {}, "PersistentVolumeClaim", "b", {"spec": 1}, {"spec": 2}),
        Write("patch", "/apis/example.com/v1/configs/cluster", {}, "Config", "cluster", {"spec": 1}, {"spec": 2}),
    ]
    objects = ["PersistentVolumeClaim/registry/a", "PersistentVolumeClaim/registry/b", "Config/cluster"]
    sides = report.both_sides(writes)
    assert sides["before"] == {"PersistentVolumeClaim/registry/b spec": 1, "Config/cluster spec": 1}
    assert sides["after"] == {
        "PersistentVolumeClaim/registry/a spec.c": 1,
        "PersistentVolumeClaim/registry/a spec.d": {},
        "PersistentVolumeClaim/registry/b spec": 2,
        "Config/cluster spec": 2,
    }
    assert [one.object for one in report.differences(writes)] == objects
    failed = report.WriteFailure(writes[2].label, 500, "broken.")
    assert "Already written: PersistentVolumeClaim/registry/a." in report.interrupted(
        writes, {f"{claims}/a": {}}, failed
    )
