# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task reports about its plan and its observation."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow import report
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
