# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says about parameters that its specification does not allow."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._module import refusal

SPEC = {"quota": {"type": "dict", "options": {"images": {}, "image_tags": {}}}, "state": {}}


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (
            "quota.imges, stat. Supported parameters include: quota, state.",
            (
                "Unsupported parameters: quota.imges (did you mean quota.images?), stat (did you mean state?); "
                "ansible-doc NAME lists what there is"
            ),
        ),
        (
            "value of backend must be one of: emptydir, pvc, s3, got: pvcc found in storage",
            "value of backend must be one of: emptydir, pvc, s3, got: pvcc found in storage (did you mean pvc?)",
        ),
        (
            "value of state must be one of: present, absent, got: gone",
            "value of state must be one of: present, absent, got: gone",
        ),
        ("missing required arguments: bucket found in s3", "missing required arguments: bucket found in s3"),
    ],
)
def test_a_refusal_names_the_nearest_right_name(problem: str, said: str) -> None:
    assert refusal(problem, [problem], SPEC, "NAME") == said


def test_all_problems_are_named_and_other_failures_stay_as_they_are() -> None:
    missing = "missing required arguments: backend"
    assert refusal(missing, [missing, "one more", missing], SPEC, "NAME") == f"{missing}; one more"
    assert refusal("another failure", [], SPEC, "NAME") == "another failure"
    assert refusal("another failure", [missing], SPEC, "NAME") == "another failure"
