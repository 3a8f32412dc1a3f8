# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says about parameters that its specification does not allow, and as which module it was started."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import called_as, refusal

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


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"_ansible_module_name": "alauda.image_registry.image_pruner"}, "image_pruner"),
        ({"_ansible_module_name": "somebody.elses.image_pruner_2"}, "registry"),
        ({}, "registry"),
    ],
)
def test_an_archive_goes_by_the_name_that_ansible_calls(
    given: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(basic, "_PARSED_MODULE_ARGS", None, raising=False)
    assert called_as("registry", MODULES) == name


def test_without_ansible_a_module_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", None)
    assert called_as("registry", MODULES) == "registry"
