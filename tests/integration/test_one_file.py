# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of variables serves every playbook; what only one run may do is said for that run.

Needs no cluster: a kubeconfig that does not exist ends each run after its arguments are complete, and -vvv shows them.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.environments import ROOT, THIS

RECIPES = ("storage_emptydir", "storage_pvc", "storage_s3", "pullsecret", "limits", "pruner")
FILE: dict[str, Any] = {
    "registry_kubeconfig": "/does/not/exist",
    "registry_wait_timeout": 77,
    "registry_storage": {"backend": "pvc", "pvc": {"claim": "mine", "size": "7Gi"}, "replicas": 3},
    "registry_pullsecret": {"management_state": "Unmanaged", "list_mode": "merge"},
    "image_limits": [
        {"namespaces": ["a"], "quota": {"images": "7"}},
        {"namespaces": ["b"], "image": {"storage": "7Gi"}},
    ],
    "image_pruner": {"schedule": "0 0 * * 0", "suspend": True},
}
S3 = {"backend": "s3", "s3": {"bucket": "mine", "region": "east"}, "replicas": 3}


def arguments(folder: Path, playbook: str, variables: dict[str, Any], *flags: str) -> dict[str, Any]:
    """What the module of the playbook's one task was given, without what was not set."""
    values = folder / "registry.yml"
    values.write_text(json.dumps(variables))
    done = subprocess.run(
        [str(THIS), f"alauda.image_registry.{playbook}", "-vvv", "-e", f"@{values}", *flags],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = done.stdout
    assert "/does/not/exist" in shown, shown + done.stderr
    result = json.loads(shown.partition("FAILED! => ")[2].partition("\n\nPLAY RECAP")[0])
    given = result["invocation"]["module_args"]
    return {name: value for name, value in given.items() if value is not None}


def without_none(value: Any) -> Any:
    """A value without the options that are not set."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("playbook", [*RECIPES, "configure", "verify"])
def test_every_playbook_takes_the_connection_and_the_wait_of_the_file(tmp_path: Path, playbook: str) -> None:
    """For all parts, once."""
    storage = S3 if playbook == "storage_s3" else FILE["registry_storage"]
    given = arguments(tmp_path, playbook, {**FILE, "registry_storage": storage})
    assert (given["kubeconfig"], given["wait_timeout"]) == ("/does/not/exist", 77)


def test_the_file_s_dictionary_takes_the_place_of_the_recipe(tmp_path: Path) -> None:
    """A weekly schedule stays weekly; the recipe's resources are not added to it."""
    pruner = arguments(tmp_path, "pruner", FILE)
    assert (pruner["schedule"], pruner["suspend"], pruner.get("resources")) == ("0 0 * * 0", True, None)
    claim = arguments(tmp_path, "storage_pvc", FILE)
    assert (claim["backend"], claim["replicas"], claim.get("resources")) == ("pvc", 3, None)
    assert {key: claim["pvc"][key] for key in ("claim", "create", "size")} == {
        "claim": "mine",
        "create": False,
        "size": "7Gi",
    }
    bucket = arguments(tmp_path, "storage_s3", {**FILE, "registry_storage": S3})
    assert without_none(bucket["s3"]) == {"bucket": "mine", "region": "east"}
    pull = arguments(tmp_path, "pullsecret", FILE)
    assert (pull["management_state"], pull["list_mode"]) == ("Unmanaged", "merge")
    groups = arguments(tmp_path, "limits", FILE)
    assert [group["namespaces"] for group in groups["image_limits"]] == [["a"], ["b"]]
    assert "image_pruner" not in groups
    one = arguments(tmp_path, "limits", {**FILE, "image_limits": FILE["image_limits"][0]})
    assert without_none(one["quota"]) == {"images": "7"}
    assert "image" not in one


def test_without_a_dictionary_the_recipe_applies_and_single_variables_are_stronger(tmp_path: Path) -> None:
    """As on the vendor's page."""
    alone = {"registry_kubeconfig": "/does/not/exist"}
    pruner = arguments(tmp_path, "pruner", alone, "-e", "image_pruner_schedule='0 1 * * *'")
    assert (pruner["schedule"], pruner["suspend"]) == ("0 1 * * *", False)
    assert pruner["resources"]["requests"] == {"cpu": "500m", "memory": "500Mi"}
    claim = arguments(tmp_path, "storage_pvc", alone, "-e", "registry_pvc_size=9Gi")
    assert (claim["pvc"]["size"], claim["pvc"]["create"], claim["replicas"]) == ("9Gi", True, 1)
    assert claim["pvc"]["access_modes"] == ["ReadWriteOnce"]
    grown = arguments(tmp_path, "storage_pvc", FILE, "-e", "registry_pvc_size=9Gi")
    assert (grown["pvc"]["size"], grown["pvc"]["claim"], grown["replicas"]) == ("9Gi", "mine", 3)
    limits = arguments(tmp_path, "limits", alone, "-e", "image_limits_namespaces=a,b")
    assert limits["namespaces"] == ["a", "b"]
    assert without_none(limits["quota"]) == {"imagestreams": "20", "images": "200", "image_tags": "200"}
    bucket = arguments(tmp_path, "storage_s3", alone, "-e", "registry_s3_bucket=images")
    assert without_none(bucket["s3"]) == {"bucket": "images", "region": "us-east-1"}


@pytest.mark.parametrize("playbook", ["configure", "storage_pvc"])
def test_what_one_run_may_do_is_said_beside_the_file(tmp_path: Path, playbook: str) -> None:
    """The guard stays on for all others."""
    for flags, wanted in (((), "fail"), (("-e", "registry_on_backend_change=allow"), "allow")):
        given = arguments(tmp_path, playbook, FILE, *flags)
        assert (given.get("registry_storage") or given)["on_backend_change"] == wanted


def test_tags_select_one_part(tmp_path: Path) -> None:
    """Other tags that let the task run select all."""
    parts = {"registry_storage", "registry_pullsecret", "image_limits", "image_pruner"}
    assert parts & set(arguments(tmp_path, "configure", FILE, "--tags", "image_pruner")) == {"image_pruner"}
    assert parts & set(arguments(tmp_path, "configure", FILE, "--tags", "registry")) == parts


def refused(folder: Path, playbook: str, variables: dict[str, Any]) -> str:
    """What a run that fails before it reads anything shows: the kubeconfig it is given does not exist."""
    done = subprocess.run(
        [str(THIS), f"alauda.image_registry.{playbook}", "-e", json.dumps(variables)],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 2, shown
    assert "/does/not/exist" not in shown
    return " ".join(shown.split())


@pytest.mark.parametrize(
    ("playbook", "variables", "meant"),
    [
        ("configure", {"registry_storge": {"backend": "emptydir"}}, "registry_storge (did you mean registry_storage?)"),
        ("verify", {**FILE, "image_prunner": {}}, "image_prunner (did you mean image_pruner?)"),
        (
            "storage_pvc",
            {"registry_storage_replica": 2, "registry_pvc_sise": "900Gi"},
            (
                "registry_pvc_sise (did you mean registry_pvc_size?), "
                "registry_storage_replica (did you mean registry_storage_replicas?)"
            ),
        ),
        ("pruner", {"image_pruner": {"scheduel": "0 0 * * *"}}, "image_pruner.scheduel (did you mean schedule?)"),
        ("pullsecret", {"registry_pullsecret_manage": 1}, "registry_pullsecret_manage"),
        ("limits", {"image_limits_namespace": "a"}, "image_limits_namespace (did you mean image_limits_namespaces?)"),
    ],
)
def test_a_misspelt_variable_is_refused_by_its_right_name(
    tmp_path: Path, playbook: str, variables: dict[str, Any], meant: str
) -> None:
    given = {"registry_kubeconfig": "/does/not/exist", **variables}
    assert f"Unknown variables, which would have no effect: {meant}" in refused(tmp_path, playbook, given)


def test_whoever_wants_unknown_variables_may_keep_them(tmp_path: Path) -> None:
    given = {**FILE, "registry_storge": {}, "registry_allow_unknown": True}
    assert arguments(tmp_path, "configure", given)["wait_timeout"] == 77


@pytest.mark.parametrize("playbook", ["configure", "verify"])
def test_a_run_that_would_do_nothing_fails(tmp_path: Path, playbook: str) -> None:
    """A file with lost indentation or a forgotten -e must not pass a gate."""
    shown = refused(tmp_path, playbook, {"registry_kubeconfig": "/does/not/exist"})
    assert "Nothing to do, because none of these is set: registry_storage, registry_pullsecret" in shown
    assert "allow_nothing: true" in shown
