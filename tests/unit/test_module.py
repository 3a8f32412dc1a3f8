# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says about parameters that its specification does not allow, and as which module it was started."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule, called_as, refusal

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


OPTIONS = {
    "quota": {"type": "dict", "options": {"images": {"type": "str"}, "key": {"type": "str", "no_log": True}}},
    "ranges": {"type": "list", "elements": "dict", "options": {"images": {"type": "str"}}},
    "count": {"type": "int"},
    "name": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "kubeconfig": {"type": "raw"},
}


def _refused(capsys: pytest.CaptureFixture[str], **given: Any) -> tuple[str, str]:
    """The message of a module that must refuse these parameters, and everything it printed."""
    with patch_module_args(given), pytest.raises(SystemExit):
        AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True).exit_json()
    output = capsys.readouterr().out
    result = json.loads(output)
    assert result["failed"] is True
    return str(result["msg"]), output


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"quota": 7}, "quota"),
        ({"quota": 1.5, "name": "x"}, "quota"),
        ({"ranges": [7]}, "ranges"),
        ({"ranges": [None]}, "ranges"),
        ({"count": float("inf")}, "OverflowError"),
        ({"name": "\udcff"}, "UnicodeEncodeError"),
        ({"count": "9" * 5000}, "ValueError"),
    ],
    ids=["int", "float", "int in a list", "nothing in a list", "infinity", "surrogate", "digits"],
)
def test_what_breaks_ansible_s_own_validation_is_refused(
    capsys: pytest.CaptureFixture[str], given: dict[str, Any], named: str
) -> None:
    assert named in _refused(capsys, **given)[0]


@pytest.mark.parametrize(
    "odd", [{"quota": [["x"]]}, {"quota": 7}, {"ranges": {"a": 1}}, {"count": "many"}, {"nope": 1}]
)
def test_a_refusal_shows_no_secret_whatever_else_is_wrong(
    capsys: pytest.CaptureFixture[str], odd: dict[str, Any]
) -> None:
    """Ansible stops collecting secrets at the first value of a wrong type."""
    kubeconfig = {"users": [{"name": "a", "user": {"token": "HUSH-token"}}]}
    given: dict[str, Any] = {"quota": {"key": "HUSH-key"}, "password": "HUSH-password\n", "kubeconfig": kubeconfig}
    assert "HUSH" not in _refused(capsys, **(given | odd))[1]


def test_a_refusal_quotes_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    message, _output = _refused(capsys, **{"na\x1b]0;title\x07me": 1, "a\u202eb": 2})
    assert "\\x1b]0;title\\x07" in message
    assert "a\\u202eb" in message
    assert all(one.isprintable() for one in message)
