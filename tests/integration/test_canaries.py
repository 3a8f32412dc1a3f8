# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of any connection option appears anywhere, whichever way the task runs and however malformed the option is.

The API server is one that quotes every header in its answers, as gateways do that help with debugging.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.environments import THIS, play
from tests.unit._kubernetes.hostile import Request, answered, hostile

PLACES = (
    "what ansible-playbook prints at -vvvv --diff, of success and failure",
    "its log (ANSIBLE_LOG_PATH)",
    "the command line of every process, during each request",
    "the environment of every process, during each request, unless the secret was given in it",
    "the names of the files that a process has open, during each request",
    "the temporary folder, afterwards",
    "the file system in memory (/dev/shm), during each request and afterwards",
    "Ansible's own folder (ANSIBLE_HOME), afterwards",
)
"""Where the canaries are searched for. While it runs, Ansible keeps an ordinary module's arguments in a file."""
WORD = "canary"
SHM = Path("/dev/shm")
Options = dict[str, Any]


def canary(name: str) -> str:
    """A secret that can be recognised."""
    return f"{WORD}-{name}-0123456789"


def options(url: str, folder: Path) -> dict[str, Options]:
    """A task's connection options for every way in which an option can hold a secret, by the canary's name."""
    place, closed = url.removeprefix("http://"), "https://127.0.0.1:1"
    pem = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"
    malformed = "users:\n- name: a\n  user: {{token: {}\n"

    def file(name: str, text: str) -> str:
        (folder / name).write_text(text)
        return str(folder / name)

    def host(name: str, form: str) -> tuple[str, Options]:
        return name, {"host": form.format(canary(name), place), "api_key": "x"}

    def proxy(name: str, form: str) -> tuple[str, Options]:
        return name, {"host": "http://api.example.com", "api_key": "x", "proxy": form.format(canary(name), place)}

    def user(name: str, content: dict[str, Any], server: str = url) -> tuple[str, Options]:
        return name, {"kubeconfig": kubeconfig(server, content)}

    def users(name: str, content: Any) -> tuple[str, Options]:
        return name, {"kubeconfig": {**kubeconfig(url, {}), "users": content}}

    key_file = file("key-file", pem.format(canary("key-file")))
    headers = {"proxy_basic_auth": f"me:{canary('headers')}", "basic_auth": f"me:{canary('headers')}2"}
    return {
        "api-key": {"host": url, "api_key": canary("api-key")},
        "api-key-lines": {"host": url, "api_key": f"a\n{canary('api-key-lines')}"},
        "password": {"host": url, "username": "me", "password": canary("password")},
        "password-other": {"host": url, "username": "me", "password": f"\u20ac{canary('password-other')}"},
        "key-file": {"host": closed, "client_cert": key_file, "client_key": key_file},
        "key-text": {"host": url, "client_cert": "/etc/passwd", "client_key": pem.format(canary("key-text"))},
        **dict(
            [
                host("host", "http://me:{}@{}"),
                host("host-scheme", "me:{}@{}"),
                host("host-slash", "http://me:p/{}@{}"),
                host("host-bracket", "http://me:{}@[::1"),
                host("host-token", "http://{}@{}"),
                proxy("proxy", "http://me:{}@{}"),
                proxy("proxy-hash", "http://me:p#{}@{}"),
                proxy("proxy-scheme", "me:{}@{}"),
                proxy("proxy-other", "gopher://me:{}@{}"),
                user("token", {"token": canary("token")}),
                user("token-list", {"token": [canary("token-list")]}),
                user("token-file", {"tokenFile": file("token-file", canary("token-file"))}),
                user("pair", {"username": "me", "password": canary("pair")}),
                user("key", {"client-key-data": b64(canary("key"))}, closed),
                user("key-other", {"client-key-data": f"%{canary('key-other')}"}, closed),
                user("provider", {"auth-provider": {"name": "oidc", "config": {"id-token": canary("provider")}}}),
                users("users-mapping", {"me": {"token": canary("users-mapping")}}),
                users("users-flat", [{"name": "me", "token": canary("users-flat")}]),
                users("users-list", [{"name": "me", "user": [{"password": canary("users-list")}]}]),
            ]
        ),
        "headers": {"host": "http://api.example.com", "api_key": "x", "proxy": url, "proxy_headers": headers},
        "only-user": {"kubeconfig": {"client-key-data": canary("only-user")}},
        "text": {"kubeconfig": json.dumps(kubeconfig(url, {"token": canary("text")}))},
        "text-malformed": {"kubeconfig": malformed.format(canary("text-malformed"))},
        "file": {"kubeconfig": file("file", json.dumps(kubeconfig(url, {"token": canary("file")})))},
        "file-malformed": {"kubeconfig": file("file-malformed", malformed.format(canary("file-malformed")))},
    }


def b64(text: str) -> str:
    """As a Secret or a header holds it."""
    return base64.b64encode(text.encode()).decode()


def kubeconfig(server: str, user: dict[str, Any], **cluster: str) -> dict[str, Any]:
    """A kubeconfig with one of everything."""
    return {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "me"}}],
        "current-context": "x",
    }


def _found(where: str, text: str, known: Callable[[str], bool] = lambda _text: False) -> Iterator[str]:
    for shown in (WORD, *(b64("x" * skipped + WORD + "-" * 6)[4:10] for skipped in range(3))):
        position = text.find(shown)
        while position >= 0:
            part = text[max(0, position - 30) : position + 60]
            if not known(part):
                yield f"{where}: …{part!r}…"
            position = text.find(shown, position + 1)


def _running(own: str) -> Iterator[str]:
    """What can be seen of this test's processes while they run; own: a variable by which they are known."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().decode("utf-8", "replace")
            if own not in environment:
                continue
            yield from _found("environment", environment, lambda part: "K8S_AUTH_" in part)
            yield from _found("command line", (process / "cmdline").read_bytes().decode("utf-8", "replace"))
            for descriptor in (process / "fd").iterdir():
                yield from _found("open file", os.readlink(descriptor), lambda part: str(own) in part)
        except OSError:
            continue  # it has ended


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield from _found(str(path), path.read_text("utf-8", "replace"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not show processes as files")
@pytest.mark.parametrize("in_controller", [True, False], ids=["in the controller", "ordinary module"])
def test_no_secret_of_a_connection_appears_anywhere(tmp_path: Path, in_controller: bool) -> None:
    """See PLACES, all of which are searched."""
    found: list[str] = []
    own = f"CANARIES_OF={tmp_path}"
    temporary, given_files = tmp_path / "temporary", tmp_path / "given"
    temporary.mkdir()
    given_files.mkdir()

    def answer(connection: socket.socket, request: Request) -> None:
        found.extend(_running(own))
        found.extend(text for left in SHM.glob("alauda-image-registry-*") for text in _files(left))
        message = f"not allowed: {request.head}"
        details = {"name": message, "causes": [{"message": message}]}
        status = {"kind": "Status", "reason": "Forbidden", "message": message, "details": details}
        answered(json.dumps(status).encode(), status=403)(connection, request)

    with hostile(answer) as server:
        given = options(server.url, given_files)
        tasks: list[dict[str, Any]] = []
        for name, connection in given.items():
            task = {"management_state": "Managed", "wait_timeout": 5, **connection}
            tasks.append({"name": "ask", "alauda.image_registry.registry_pullsecret": task, "ignore_errors": True})
            tasks[-1]["register"] = f"result_{name.replace('-', '_')}"
        flags = ("-vvvv", "--diff", "-e", json.dumps({"alauda_image_registry_in_controller": in_controller}))
        shown = play(
            tmp_path,
            tasks,
            *flags,
            timeout=600,
            ANSIBLE_LOG_PATH=str(tmp_path / "log"),
            TMPDIR=str(temporary),
            CANARIES_OF=str(tmp_path),
            KUBECONFIG="/dev/null",
        )
        asked = len(server.requests)
    assert shown.stdout.count("...ignoring") == len(given), shown.stdout + shown.stderr
    assert ("runs inside the controller" in shown.stdout) is in_controller
    assert "Traceback" not in shown.stdout + shown.stderr
    assert asked >= 10
    for printed in (shown.stdout, shown.stderr, (tmp_path / "log").read_text()):
        found += _found("shown", printed)
    found += [*_files(temporary), *_files(tmp_path / "home")]
    found += [text for left in SHM.glob("alauda-image-registry-*") for text in _files(left)]
    assert found == []


@pytest.mark.parametrize("in_controller", [True, False], ids=["in the controller", "ordinary module"])
def test_no_secret_of_the_environment_appears_anywhere(tmp_path: Path, in_controller: bool) -> None:
    """K8S_AUTH_*, of which Ansible does not know that they are secret."""

    def answer(connection: socket.socket, request: Request) -> None:
        answered(request.head.encode(), status=403)(connection, request)

    with hostile(answer) as server:
        place = server.url.removeprefix("http://")
        task = {"management_state": "Managed", "wait_timeout": 5}
        flags = ("-vvvv", "-e", json.dumps({"alauda_image_registry_in_controller": in_controller}))
        for variables in (
            {"HOST": server.url, "API_KEY": canary("a")},
            {"HOST": server.url, "USERNAME": "me", "PASSWORD": canary("b")},
            {"HOST": f"http://me:{canary('c')}@{place}", "API_KEY": "x"},
            {"HOST": "http://api.example.com", "API_KEY": "x", "PROXY": f"http://me:{canary('d')}@{place}"},
            {"HOST": "http://api.example.com", "API_KEY": "x", "PROXY": f"me:p/{canary('e')}@{place}"},
            {"HOST": server.url, "API_KEY": "x", "PROXY_HEADERS_PROXY_BASIC_AUTH": f"me:{canary('f')}"},
            {"KUBECONFIG": json.dumps(kubeconfig(server.url, {"token": canary("g")}))},
        ):
            environment = {f"K8S_AUTH_{name}": value for name, value in variables.items()}
            tasks = [{"alauda.image_registry.registry_pullsecret": task, "ignore_errors": True}]
            log = tmp_path / "log"
            shown = play(tmp_path, tasks, *flags, timeout=600, command=THIS, **environment, ANSIBLE_LOG_PATH=str(log))
            assert "...ignoring" in shown.stdout, shown.stdout + shown.stderr
            assert "Traceback" not in shown.stdout + shown.stderr
            everything = shown.stdout + shown.stderr + log.read_text()
            assert list(_found("shown", everything)) == []
