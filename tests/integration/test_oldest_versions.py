# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole page with the oldest versions that README and meta/runtime.yml support (requirements/oldest.txt)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Lab
from tests.integration.environments import ROOT, environment, find_python, play

pytestmark = pytest.mark.cluster

LOCK = str(ROOT / "requirements" / "oldest.txt")
TARGET = "3.9"


def _page(number: int) -> dict[str, dict[str, Any]]:
    """Values that no other test has set."""
    return {
        "registry_storage": {"backend": "emptydir", "replicas": 1, "disable_redirect": True},
        "registry_pullsecret": {"additional_registry_hosts": [f"oldest-{number}.example.com"]},
        "image_limits": {"namespaces": ["default"], "quota": {"images": 100 + number}},
        "image_pruner": {"schedule": f"{number} 1 * * *", "suspend": True},
    }


def _play(controller: Path, target: Path, lab: Lab, folder: Path, page: dict[str, dict[str, Any]]) -> tuple[int, str]:
    tasks = [{f"alauda.image_registry.{module}": options} for module, options in page.items()]
    flags = ("-vvv", "-e", json.dumps({"ansible_python_interpreter": str(target)}))
    command = controller / "ansible-playbook"
    done = play(folder, tasks, *flags, timeout=900, command=command, K8S_AUTH_KUBECONFIG=lab.kubeconfig)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("older_target", [False, True], ids=["the controller's Python", f"Python {TARGET}"])
def test_the_whole_page_on_the_oldest_versions(lab: Lab, tmp_path: Path, older_target: bool) -> None:
    """A rollout that is waited for, a second run that changes nothing, and a refusal with its reason."""
    controller = environment("oldest", Path(sys.executable).resolve(), ["--require-hashes", "-r", LOCK])
    target, page = controller / "python", _page(1 + older_target)
    if older_target:
        python = find_python(TARGET)
        if python is None:
            pytest.skip(f"there is no Python {TARGET} on this machine")
        target = environment(f"python{TARGET}", python, ["kubernetes==24.2.0", "urllib3<2"]) / "python"
    code, shown = _play(controller, target, lab, tmp_path, page)
    assert code == 0, shown[-3000:]
    assert "changed=4" in shown
    assert "because this ansible-core is older than 2.19" in shown
    assert "verdict: done" in shown
    code, shown = _play(controller, target, lab, tmp_path, page)
    assert code == 0, shown[-3000:]
    assert "changed=0" in shown
    code, shown = _play(controller, target, lab, tmp_path, {"registry_storage": {"backend": "emptydir", "replicas": 2}})
    assert code == 2
    assert "Nothing was written" in shown
    assert "Traceback" not in shown
