# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside the controller or as an ordinary module: ansible-playbook runs every case both ways; the results are equal.

Runs on the ansible-core of this environment and, where uv finds a Python 3.13, on the newer one locked for it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.integration.conftest import Lab
from tests.integration.environments import ROOT, THIS, environment, find_python, play

pytestmark = pytest.mark.cluster

SWITCH = "alauda_image_registry_in_controller"
SECRET = "a-secret-value-that-is-nobodys"
NAME = ALAUDA.user_secret

S3 = {"bucket": "images", "region": "us-east-1", "region_endpoint": "https://127.0.0.1:1"}
MODULES = ("registry_storage", "registry_pullsecret", "image_limits", "image_pruner")

CASES: dict[str, dict[str, Any]] = {
    "nothing to change": {"registry_storage": {"backend": "emptydir", "replicas": 1}},
    "strings for other types": {"registry_storage": {"backend": "emptydir", "replicas": "1", "wait": "yes"}},
    "no wait": {"registry_storage": {"backend": "emptydir", "replicas": 1, "wait": False}},
    "check mode, a patch": {
        "registry_storage": {"backend": "emptydir", "disable_redirect": True},
        "check_mode": True,
        "diff": True,
    },
    "check mode, objects made": {
        "registry_storage": {
            "backend": "pvc",
            "pvc": {"claim": "both-ways", "create": True, "size": "1Gi", "storage_class": "lab"},
        },
        "check_mode": True,
        "diff": True,
    },
    "check mode, no diff": {
        "registry_storage": {"backend": "emptydir", "disable_redirect": True},
        "check_mode": True,
        "diff": False,
    },
    "nested secrets": {
        "registry_storage": {"backend": "s3", "s3": {**S3, "access_key": "AKIANOBODY", "secret_key": SECRET}},
        "check_mode": True,
        "diff": True,
    },
    "task with no_log": {"registry_storage": {"backend": "emptydir", "replicas": 1}, "no_log": True},
    "alias": {"registry_storage": {"backend": "emptydir", "verify_ssl": True}},
    "a secret in a refusal": {
        "registry_storage": {"backend": "s3", "s3": {**S3, "access_key": f"{SECRET} ", "secret_key": SECRET}}
    },
    "all findings": {"registry_storage": {"backend": "emptydir", "replicas": -1, "s3": S3}},
    "missing option": {"registry_storage": {"replicas": 1}},
    "unknown option": {"registry_storage": {"backend": "emptydir", "replica": 1}},
    "unknown nested option": {"registry_storage": {"backend": "s3", "s3": {**S3, "buckets": "x"}}},
    "bad choice": {"registry_storage": {"backend": "nfs"}},
    "bad type": {"registry_storage": {"backend": "emptydir", "replicas": "one"}},
    "required if": {"registry_storage": {"backend": "s3"}},
    "required together": {"registry_storage": {"backend": "s3", "s3": {**S3, "access_key": "AKIANOBODY"}}},
    "mutually exclusive": {"image_limits": {"namespaces": ["a"], "namespace_selector": "a=b"}},
    "required one of": {"image_limits": {"quota": {"images": 1}}},
    "no such kubeconfig": {"registry_storage": {"backend": "emptydir", "kubeconfig": "/does/not/exist"}},
    "nobody answers": {
        "registry_pullsecret": {"host": "https://127.0.0.1:1", "api_key": SECRET, "management_state": "Managed"}
    },
    "not allowed": {"registry_storage": {"backend": "emptydir", "impersonate_user": "nobody"}},
    "not installed": {"registry_storage": {"backend": "emptydir", "platform": "openshift"}},
    "warnings": {"image_limits": {"namespaces": ["default"], "quota": {"images": 7}}},
    "missing namespaces": {"image_limits": {"namespaces": ["nope-1", "nope-2", "default"], "quota": {"images": 7}}},
    "pull secrets as they are": {"registry_pullsecret": {"list_mode": "merge", "ignored_namespaces": []}},
    "bad hosts": {"registry_pullsecret": {"additional_registry_hosts": ["https://x", "y/z"]}},
    "pruner as it is": {"image_pruner": {"suspend": True}},
    "bad schedule": {"image_pruner": {"schedule": "*/0 * * * *"}},
    "retention not confirmed": {"image_pruner": {"suspend": False}},
    "absent is refused": {"image_pruner": {"state": "absent"}},
    "loop": {
        "registry_pullsecret": {"additional_registry_hosts": ["{{ item }}"], "list_mode": "merge"},
        "loop": ["one.example.com", "https://two"],
        "check_mode": True,
    },
    "delegated": {"registry_storage": {"backend": "emptydir"}, "delegate_to": "localhost"},
    "broken storage behind green conditions": {
        "registry_storage": {"backend": "emptydir", "replicas": 1, "wait_timeout": 1, "probe": "require"},
    },
}


def _newer() -> Path:
    """ansible-playbook of an environment with Python 3.13, made from the same lock; else skips the test."""
    python = find_python("3.13")
    if python is None:
        pytest.skip("skipped on the newer ansible-core: there is no Python 3.13 on this machine")
    lock = str(ROOT / "requirements" / "dev.txt")
    return environment("python3.13", python, ["-c", lock, "ansible-core", "kubernetes"]) / "ansible-playbook"


@pytest.fixture(scope="module", params=["this", "3.13"])
def playbook_command(request: pytest.FixtureRequest) -> Path:
    """ansible-playbook of this environment, and of a newer one where there is a Python for it."""
    if request.param == "this":
        return THIS
    return _newer()


def shown_by(tasks: list[dict[str, Any]], command: Path, folder: Path, lab: Lab, *flags: str) -> str:
    """Everything that a successful run has printed."""
    done = play(folder, tasks, *flags, timeout=1800, command=command, K8S_AUTH_KUBECONFIG=lab.kubeconfig)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def steady(value: Any, path: tuple[str, ...] = ()) -> Any:
    """A result without what always differs between two runs: times, versions of objects, keys of fingerprints."""
    if isinstance(value, str):
        return re.sub(r"fingerprint:[0-9a-f]{12}", "fingerprint", value)
    if isinstance(value, dict):
        dropped = {"resourceVersion", "seconds", "lastTransitionTime", "timeline"}
        return {key: steady(item, (*path, key)) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [steady(item, path) for item in value]
    return value


def test_both_ways_give_the_same_result(lab: Lab, playbook_command: Path, tmp_path: Path) -> None:
    """Messages, defaults, censoring, invocation, warnings, check and diff mode, shape of failures: field by field."""
    lab.delete("secrets", NAME)
    lab.run("image_pruner", suspend=True)
    lab.run("image_limits", namespaces=["default"], quota={"images": 7})
    tasks: list[dict[str, Any]] = []
    for number, case in enumerate(CASES.values()):
        for way in (True, False):
            task = {f"alauda.image_registry.{key}" if key in MODULES else key: value for key, value in case.items()}
            task |= {
                "register": f"case_{number}_{'in' if way else 'out'}",
                "ignore_errors": True,
                "vars": {SWITCH: way},
            }
            tasks.append(task)
    wanted = {
        f"case_{number}_{way}": f"{{{{ case_{number}_{way} }}}}"
        for number in range(len(CASES))
        for way in ("in", "out")
    }
    tasks.append(
        {
            "ansible.builtin.copy": {
                "content": "{{ both | to_json }}",
                "dest": str(tmp_path / "results.json"),
                "mode": "0600",
            },
            "vars": {"both": wanted},
            "no_log": True,
        }
    )
    shown = shown_by(tasks, playbook_command, tmp_path, lab, "-vvv", "--diff")
    results = json.loads((tmp_path / "results.json").read_text())
    different: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(CASES):
        one, other = (steady(results[f"case_{number}_{way}"]) for way in ("in", "out"))
        if one != other:
            keys = [key for key in {*one, *other} if one.get(key, "absent") != other.get(key, "absent")]
            different[name] = {key: (one.get(key, "absent"), other.get(key, "absent")) for key in keys}
            # What each of them saw on the way shows why.
            verifications = {way: results[f"case_{number}_{way}"].get("verification") or {} for way in ("in", "out")}
            different[name]["timelines"] = {way: seen.get("timeline") for way, seen in verifications.items()}
    assert different == {}
    assert SECRET not in shown
    assert shown.count("runs inside the controller") == len(CASES) + 1  # the loop has two items
    assert shown.count(f"because {SWITCH} is false") == len(CASES) + 1
    print(f"\ntwo ways: {len(CASES)} cases equal under {playbook_command}")


def test_what_would_differ_runs_as_an_ordinary_module(lab: Lab, playbook_command: Path, tmp_path: Path) -> None:
    """-vvv shows which way was taken and why."""
    task = {"alauda.image_registry.registry_storage": {"backend": "emptydir", "wait": False}}
    tasks = [
        {**task, "environment": {"SOME_VARIABLE": "x"}},
        {**task, "async": 60, "poll": 1},
        {**task, "vars": {"ansible_python_interpreter": "/usr/bin/python3-other"}, "ignore_errors": True},
        {
            **task,
            "become": True,
            "become_method": "ansible.builtin.su",
            "ignore_errors": True,
            "ignore_unreachable": True,
        },
        {**task, "vars": {"ansible_connection": "ssh", "ansible_port": 1}, "ignore_unreachable": True},
    ]
    shown = shown_by(tasks, playbook_command, tmp_path, lab, "-vvv")
    assert "runs inside the controller" not in shown
    assert "because the task sets environment variables (SOME_VARIABLE)" in shown
    assert "because the task is asynchronous" in shown
    assert "because ansible_python_interpreter is /usr/bin/python3-other" in shown
    assert "because the task uses become" in shown
    assert "because the connection is ssh, not local" in shown


def test_ordinary_modules_share_one_archive(lab: Lab, playbook_command: Path, tmp_path: Path) -> None:
    """Ansible packs an archive for each module of a run; ours are one, and each goes by its own name."""
    tasks = [
        {"alauda.image_registry.image_pruner": {"schedule": "0 0 * * *", "wait": False}, "check_mode": True},
        {
            "alauda.image_registry.registry_pullsecret": {"managment_state": "Managed"},
            "ignore_errors": True,
        },
    ]
    shown = shown_by(tasks, playbook_command, tmp_path, lab, "-vvv", "-e", f"{SWITCH}=false")
    used = set(re.findall(r"Using module file \S*/plugins/modules/(\S+)", shown))
    assert used == {"registry.py"}
    assert "managment_state (did you mean management_state?)" in shown
    assert "ansible-doc alauda.image_registry.registry_pullsecret lists what there is" in shown
