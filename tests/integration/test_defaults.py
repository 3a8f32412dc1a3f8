# SPDX-License-Identifier: GPL-3.0-or-later
"""module_defaults reach modules, roles and playbooks alike; what Ansible's private API may surprise with costs nothing.

Needs no cluster: port 1 of the loopback is where nobody answers, and a refused parameter needs no connection.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.environments import ROOT, THIS, environment, find_python, play

NOBODY = {"host": "https://127.0.0.1:1", "api_key": "the-token-of-nobody"}
PRUNER = {"schedule": "15 2 * * *"}
GROUP = "group/alauda.image_registry.registry"


@pytest.fixture(scope="module", params=["this", "newer", "oldest"])
def command(request: pytest.FixtureRequest) -> Path:
    """ansible-playbook of this environment, of a newer one where there is a Python for it, and of the oldest."""
    if request.param == "this":
        return THIS
    if request.param == "oldest":
        lock = str(ROOT / "requirements" / "oldest.txt")
        made = environment("oldest", Path(sys.executable).resolve(), ["--require-hashes", "-r", lock])
        return made / "ansible-playbook"
    python = find_python("3.13")
    if python is None:
        pytest.skip("skipped on the newer ansible-core: there is no Python 3.13 on this machine")
    lock = str(ROOT / "requirements" / "dev.txt")
    return environment("python3.13", python, ["-c", lock, "ansible-core", "kubernetes"]) / "ansible-playbook"


def role(name: str, variables: dict[str, Any], entry: str = "main") -> dict[str, Any]:
    """A task that includes a role."""
    included = {"name": f"alauda.image_registry.{name}", "tasks_from": entry}
    return {"ansible.builtin.include_role": included, "vars": variables}


def test_the_group_s_defaults_reach_modules_and_roles(command: Path, tmp_path: Path) -> None:
    """Every failure names the kubeconfig or the host, which only module_defaults say."""
    wanted = [
        {"alauda.image_registry.image_pruner": PRUNER},
        {"alauda.image_registry.image_pruner": {**PRUNER, "wait_timeout": "{{ nowhere_defined | default(omit) }}"}},
        role("image_pruner", {"image_pruner_schedule": "15 2 * * *"}),
        role("registry", {"image_pruner": PRUNER}),
        role("registry", {"image_pruner": PRUNER}, "verify"),
    ]
    tasks = [{"block": [task], "rescue": [{"ansible.builtin.debug": {"msg": "rescued"}}]} for task in wanted]
    missing = {GROUP: {"kubeconfig": "/nowhere/kubeconfig", "wait_timeout": "{{ 5 + 2 }}"}}
    plays = [{"module_defaults": missing, "block": tasks}, {"module_defaults": {GROUP: NOBODY}, "block": tasks[3:4]}]
    flags = ("-vvv", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}")
    # Newer ansible-core shows what a module was given only on request.
    done = play(tmp_path, plays, *flags, timeout=280, command=command, ANSIBLE_INJECT_INVOCATION="true")
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown[-3000:]
    assert f"rescued={len(wanted) + 1}" in shown
    assert len(re.findall(r"fatal: [^\n]*", shown)) == len(wanted) + 1
    assert shown.count("/nowhere/kubeconfig") >= len(wanted)
    assert len(re.findall(r"\bwait_timeout\W+7\b", shown)) == len(wanted)
    assert "No answer from the API server https://127.0.0.1:1" in shown
    assert NOBODY["api_key"] not in shown


def test_what_a_role_or_task_says_is_stronger_than_module_defaults(tmp_path: Path) -> None:
    """As everywhere in Ansible."""
    defaults = {GROUP: {"host": "https://192.0.2.1:1", "api_key": NOBODY["api_key"], "platform": "openshift"}}
    tasks = [role("registry", {"image_pruner": {"state": "gone"}, "registry_wait_timeout": 9})]
    done = play(tmp_path, [{"module_defaults": defaults, "block": tasks}], "-vvv", timeout=60)
    assert "value of state must be one of" in done.stdout + done.stderr
    assert re.search(r"\bwait_timeout\W+9\b", done.stdout)
    assert re.search(r"\bplatform\W+openshift\b", done.stdout)
    assert re.search(r"\bhost\W+https://192.0.2.1:1\b", done.stdout)


IMPORTED = {
    "ansible.executor.module_common": ("_BuiltModule",),
    "ansible.module_utils.common.json": ("Direction", "get_module_encoder"),
    "ansible.module_utils.common": ("warnings",),
}
"""Private names that the action plugin imports: the import fails."""
USED = {
    "ansible.module_utils.basic": ("_ANSIBLE_ARGS", "_ANSIBLE_PROFILE", "_PARSED_MODULE_ARGS"),
    "ansible.module_utils.common.warnings": ("_global_warnings", "_global_deprecations"),
}
"""Private names that it uses when a task runs: they are gone then."""
SITE = """
import builtins, importlib, os, sys
kind, module, name = os.environ["BREAK"].split(" ")
real = builtins.__import__
PLUGIN = "ansible_collections.alauda.image_registry.plugins.plugin_utils._in_controller"

def broken(wanted, scope=None, local=None, fromlist=(), level=0):
    if (scope or {}).get("__name__") == PLUGIN:
        if kind == "imported" and wanted == module and name in (fromlist or ()):
            raise ImportError(f"{name} is elsewhere now")
        if kind == "used" and wanted.endswith("_kubernetes"):  # the plugin's last import
            found = importlib.import_module(module)
            if hasattr(found, name):
                delattr(found, name)
        if kind == "called" and wanted == module:
            base = importlib.import_module(wanted).ActionBase
            setattr(base, name, surprising(getattr(base, name)))
    return real(wanted, scope, local, fromlist, level)

def surprising(method):
    def changed(self, *args, **kwargs):
        if not getattr(self, "_here", "") and not getattr(self, "_surprised", False):
            self._surprised = True
            raise TypeError(f"{name}() is not what it was")
        return method(self, *args, **kwargs)
    return changed

builtins.__import__ = broken
"""


def _broken(kind: str, names: dict[str, tuple[str, ...]]) -> list[str]:
    return [f"{kind} {module} {name}" for module, found in names.items() for name in found]


@pytest.mark.parametrize(
    "broken",
    [
        *_broken("imported", IMPORTED),
        *_broken("used", USED),
        "called ansible.plugins.action _compute_environment_string",
    ],
)
def test_a_surprise_in_ansible_s_private_api_means_an_ordinary_module(tmp_path: Path, broken: str) -> None:
    """Before main() has started, nothing has happened, so the task starts again in a process of its own."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    tasks = [{"alauda.image_registry.image_pruner": {"state": "gone", **NOBODY}}]
    done = play(tmp_path, tasks, "-vvv", timeout=60, PYTHONPATH=str(tmp_path), BREAK=broken)
    shown = done.stdout + done.stderr
    assert "image_pruner: runs as an ordinary module, because" in shown, shown[-3000:]
    assert "value of state must be one of: present, absent, got: gone" in shown, shown[-3000:]
    assert "failed=1" in shown
    assert "Traceback" not in shown


def test_without_ansible_s_function_for_it_module_defaults_are_as_ansible_applied_them(tmp_path: Path) -> None:
    """Completing them is an extra, and its loss no reason to fail."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    task = {"alauda.image_registry.image_pruner": {"state": "gone"}, "module_defaults": {GROUP: NOBODY}}
    broken = "used ansible.executor.module_common _apply_action_arg_defaults"
    done = play(tmp_path, [task], "-vvv", timeout=60, PYTHONPATH=str(tmp_path), BREAK=broken)
    shown = done.stdout + done.stderr
    assert "module_defaults apply as Ansible applied them, because of a surprise" in shown, shown[-3000:]
    assert "image_pruner: runs inside the controller" in shown
    assert re.search(r"\bhost\W+https://127.0.0.1:1\b", shown)


@pytest.mark.parametrize("where", [{}, {"delegate_to": "localhost"}], ids=["its own host", "delegated"])
def test_lines_carry_the_host_that_the_task_is_for(tmp_path: Path, where: dict[str, Any]) -> None:
    """Also where another host does the work; nothing for localhost."""
    idle = {"allow_nothing": True}
    task = {"alauda.image_registry.registry": idle, "vars": {"ansible_python_interpreter": sys.executable}, **where}
    added = {"ansible.builtin.add_host": {"name": "cluster-a", "ansible_connection": "local"}}
    playbook = tmp_path / "hosts.yml"
    playbook.write_text(
        yaml.safe_dump(
            [
                {"hosts": "localhost", "gather_facts": False, "tasks": [task, added]},
                {"hosts": "cluster-a", "gather_facts": False, "tasks": [task]},
            ]
        )
    )
    done = subprocess.run(
        [str(THIS), str(playbook)],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^  (.*)Nothing to do", done.stdout, re.MULTILINE) == ["", "[cluster-a] "]
