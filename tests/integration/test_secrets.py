# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret appears anywhere, however verbose the output (ansible-playbook -vvvv --diff and its log)."""

from __future__ import annotations

import base64
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import connect
from tests.integration.conftest import NAMESPACE, Lab
from tests.integration.environments import play

pytestmark = pytest.mark.cluster


def forms(secret: str) -> list[str]:
    """The forms in which a value may appear."""
    return [secret, base64.b64encode(secret.encode()).decode()]


def asked_of(way: str, storage: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """The task that has this storage configured: by the module, or by one of the roles with its variables."""
    if way == "module":
        return {"alauda.image_registry.registry_storage": {**storage, **shared}, "register": "registry_storage_result"}
    if way == "role for storage":
        variables = {f"registry_storage_{name}": value for name, value in {**storage, **shared}.items()}
        role = "registry_storage"
    else:
        variables = {f"registry_{name}": value for name, value in shared.items()} | {"registry_storage": storage}
        role = "registry"
    # An included role cannot ignore its errors; a rescued block shows them in the same way.
    included = {"ansible.builtin.include_role": {"name": f"alauda.image_registry.{role}"}, "vars": variables}
    return {"block": [included], "rescue": [{"ansible.builtin.debug": {"msg": "rescued"}}]}


@pytest.mark.parametrize("way", ["module", "role for storage", "role for all"])
@pytest.mark.parametrize("works", [True, False], ids=["success", "failure"])
def test_nothing_secret_is_printed(lab: Lab, tmp_path: Path, works: bool, way: str) -> None:
    """Plain and base64, in success and failure, from the task's values and from a kubeconfig given as a dictionary.

    The roles hide no task: what the module masks is enough, and a failure is shown once, with its reason.
    """
    options = lab.s3()
    access, secret = options["access_key"], options["secret_key"]
    if not works:
        # Another value for each way, so that it is written, and a fingerprint shown.
        access, secret = "AKIAUNKNOWNUNKNOWN01", f"this-value-must-never-be-seen-anywhere-{len(way)}"
    kubeconfig = yaml.safe_load(Path(lab.kubeconfig).read_text())
    key = kubeconfig["users"][0]["user"]["client-key-data"]
    http_secret = lab.config()["spec"]["httpSecret"]
    storage = {"backend": "s3", "s3": {**options, "access_key": "{{ access }}", "secret_key": "{{ secret }}"}}
    task = asked_of(way, storage, {"kubeconfig": kubeconfig})
    if way == "module":
        task["ignore_errors"] = True
    result = "registry_result" if way == "role for all" else "registry_storage_result"
    tasks: list[dict[str, Any]] = [task, {"ansible.builtin.debug": {"var": result}}]
    values = tmp_path / "values.yml"
    values.write_text(yaml.safe_dump({"access": access, "secret": secret}))
    flags = ("-vvvv", "--diff", "-e", f"@{values}")
    shown = play(tmp_path, tasks, *flags, timeout=600, ANSIBLE_LOG_PATH=str(tmp_path / "log"))
    everything = shown.stdout + shown.stderr + (tmp_path / "log").read_text()
    assert ("failed=0" in shown.stdout) is True
    assert ("ignored=0" in shown.stdout and "rescued=0" in shown.stdout) is works
    assert "fingerprint:" in everything
    assert shown.stdout.count("fatal: ") == (0 if works else 1)
    assert "censored" not in everything
    for value in (access, secret, http_secret, key):
        for form in forms(value):
            assert form not in everything, f"…{form[-6:]} is shown"
    for item in lab.client.list(f"/api/v1/namespaces/{NAMESPACE}/events")[0]:
        assert secret not in str(item)


@pytest.mark.parametrize("in_controller", [True, False], ids=["in the controller", "ordinary module"])
def test_no_key_stays_in_the_temporary_folder(lab: Lab, tmp_path: Path, in_controller: bool) -> None:
    """TLS requires the keys of a kubeconfig as files; a worker of ansible-playbook exits without any clean-up."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    task = {"management_state": "Managed", "kubeconfig": str(lab.kubeconfig)}
    flags = ("-vvv", "-e", json.dumps({"alauda_image_registry_in_controller": in_controller}))
    tasks = [{"alauda.image_registry.registry_pullsecret": task}]
    shown = play(tmp_path, tasks, *flags, timeout=600, TMPDIR=str(temporary))
    assert "failed=0" in shown.stdout, shown.stdout + shown.stderr
    assert ("runs inside the controller" in shown.stdout) is in_controller
    assert [str(left) for left in temporary.rglob("*")] == []


def test_no_key_stays_when_threads_connect_at_the_same_time(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder for temporary files is a setting of the whole process."""
    kubeconfig = lab.kubeconfig
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        for connection in pool.map(lambda _: connect({"kubeconfig": kubeconfig}), range(64)):
            connection.pool.clear()
    assert [str(left) for left in tmp_path.rglob("*")] == []
    assert tempfile.tempdir == str(tmp_path)
