# SPDX-License-Identifier: GPL-3.0-or-later
"""A task with static credentials imports neither the library ``kubernetes`` nor what comes with it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
HEAVY = ("kubernetes", "pydantic", "requests")
SERVER = "http://127.0.0.1:1"
TASK = """
import json, sys
from ansible.module_utils import basic
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import client
from ansible_collections.alauda.image_registry.plugins.modules import {module} as module
client.RETRY_WINDOW = 0
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[1].encode(), "legacy"
try:
    module.main()
finally:
    print("\\n" + json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
"""A module's whole run, and then what it has imported."""

EXEC = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "echo",
    "args": [
        json.dumps(
            {
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": {"token": "from-a-plugin"},
            }
        )
    ],
}


def kubeconfig(user: dict[str, Any], server: str = SERVER) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }


def task(module: str, params: dict[str, Any], **environ: str) -> tuple[dict[str, Any], set[str]]:
    """Result and imports of one task in an interpreter of its own."""
    options = {"ANSIBLE_MODULE_ARGS": params}
    done = subprocess.run(
        [sys.executable, "-c", TASK.format(module=module), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "collections"), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    result, imported = done.stdout.strip().split("\n\n")
    return json.loads(result), set(json.loads(imported))


OPTIONS: dict[str, dict[str, Any]] = {
    "registry_storage": {"backend": "emptydir"},
    "registry_pullsecret": {"management_state": "Managed"},
    "image_limits": {"namespaces": ["a"], "quota": {"images": 1}},
    "image_pruner": {"suspend": True},
}


@pytest.mark.parametrize("module", OPTIONS)
def test_a_task_with_a_static_kubeconfig_is_light(module: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig({"token": "never-shown"})))
    result, imported = task(module, {**OPTIONS[module], "kubeconfig": str(path)})
    assert "No answer from the API server" in result["msg"]
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("given", ["password", "token file", "host", "default"])
def test_static_credentials_of_every_kind_are_light(given: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("never-shown")
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig({"token": "never-shown"})))
    options: dict[str, dict[str, Any]] = {
        "password": {"kubeconfig": kubeconfig({"username": "u", "password": "never-shown"})},
        "token file": {"kubeconfig": kubeconfig({"tokenFile": str(token)})},
        "host": {"host": SERVER, "api_key": "never-shown"},
        "default": {},
    }
    result, imported = task("image_pruner", {"suspend": True, **options[given]}, KUBECONFIG=str(path))
    assert "No answer from the API server" in result["msg"]
    assert not imported & set(HEAVY)


def test_a_login_plugin_is_for_the_library() -> None:
    result, imported = task("image_pruner", {"suspend": True, "kubeconfig": kubeconfig({"exec": EXEC})})
    assert "No answer from the API server" in result["msg"]
    assert "kubernetes" in imported


def test_where_the_library_is_missing_it_is_said_what_needs_it(tmp_path: Path) -> None:
    """A package of that name that cannot be imported stands in the way."""
    (tmp_path / "kubernetes.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "tests" / "collections")])
    params: dict[str, Any] = {"suspend": True, "kubeconfig": kubeconfig({"exec": EXEC})}
    result, _ = task("image_pruner", params, PYTHONPATH=path)
    assert "user 'u' uses exec" in result["msg"]
    assert "pip install kubernetes" in result["msg"]
    result, _ = task("image_pruner", {**params, "kubeconfig": kubeconfig({"token": "never-shown"})}, PYTHONPATH=path)
    assert "No answer from the API server" in result["msg"]


@pytest.mark.parametrize("package", ["urllib3", "yaml"])
def test_what_every_task_needs_is_named_when_it_is_missing(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "tests" / "collections")])
    result, _ = task("image_pruner", {"suspend": True, "host": SERVER, "api_key": "never-shown"}, PYTHONPATH=path)
    assert "pip install urllib3 pyyaml" in result["msg"]


@contextlib.contextmanager
def _forbidding() -> Iterator[str]:
    """A server that denies everything; gives its URL."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


NOTES_IMPORTS = """
import os, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "kubernetes":
            with open(os.environ["IMPORTS"], "a") as file:
                file.write(f"{os.getpid()}\\n")

sys.meta_path.insert(0, Finder)
"""
"""A sitecustomize that notes which processes import the library; workers print nothing."""


@pytest.mark.parametrize(
    ("user", "as_option", "imports"),
    [({"token": "never-shown"}, False, 0), ({"exec": EXEC}, False, 1), ({"exec": EXEC}, True, 2)],
    ids=["static", "known before the first task", "known after the first task"],
)
def test_a_playbook_imports_the_library_before_it_forks(
    user: dict[str, Any], as_option: bool, imports: int, tmp_path: Path
) -> None:
    """Workers are forked, so that what a worker imports is lost with it: the third task must not import it again."""
    with _forbidding() as server:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig(user, server)))
        options: dict[str, Any] = {"suspend": True, **({"kubeconfig": str(path)} if as_option else {})}
        tasks = [{"alauda.image_registry.image_pruner": options, "ignore_errors": True}] * 4
        playbook = tmp_path / "play.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        (tmp_path / "sitecustomize.py").write_text(NOTES_IMPORTS)
        noted = tmp_path / "imports"
        noted.touch()
        variables = {
            "PYTHONPATH": str(tmp_path),
            "IMPORTS": str(noted),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
        }
        if not as_option:
            variables["K8S_AUTH_KUBECONFIG"] = str(path)
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), "-vvv"],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert "ignored=4" in done.stdout, done.stdout
    assert done.stdout.count("403") >= 4
    assert done.stdout.count("runs inside the controller") == 4
    assert len(noted.read_text().split()) == imports
