# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task reports about its plan and its observation."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow import report
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Write
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Course, Failed


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
