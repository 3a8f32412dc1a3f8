# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in a process of its own that starts within milliseconds and can be killed at any moment.

A server imports Ansible and the modules once and forks for each run. The connection to the forked process carries what
it is to do, then its process id, then everything it prints; it ends when the process has ended, however that was.

    with Runner() as runner:
        run = runner.module("image_pruner", {"kubeconfig": …, "suspend": True})
        os.kill(run.pid, signal.SIGKILL)
        print(run.wait(60).output)
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = "ansible_collections.alauda.image_registry.plugins.modules"
NAMES = ("registry_storage", "registry_pullsecret", "image_limits", "image_pruner", "registry")


@dataclass(frozen=True)
class Ended:
    """A run that has ended. result: the JSON that Ansible would read, None if there is none. hung: it was killed."""

    output: str
    seconds: float
    hung: bool

    @property
    def result(self) -> dict[str, Any] | None:
        """What Ansible would read."""
        for line in reversed(self.output.splitlines()):
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
        return None


class Run:
    """A process that runs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._output = connection.makefile("rb")
        self._started = time.monotonic()
        self.pid = int(self._output.readline())

    def kill(self) -> None:
        """As `kill -9` does; nothing happens when the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> Ended:
        """Wait until the process has ended; kill it when that takes longer."""
        output, hung = b"", False
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                hung, deadline = True, time.monotonic() + 10
                continue
            if select.select([self._connection], [], [], left)[0]:
                data = self._connection.recv(1 << 16)
                if not data:
                    break
                output += data
        self._connection.close()
        return Ended(output.decode(errors="replace"), time.monotonic() - self._started, hung)


class Runner:
    """The server that forks; a context manager. Safe to use from several threads."""

    def __enter__(self) -> Runner:
        self._folder = tempfile.TemporaryDirectory(prefix="chaos-")
        self._path = str(Path(self._folder.name) / "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen(256)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.process", str(self._listener.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'collections'}"},
            stdin=subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._listener.close()
        self._folder.cleanup()

    def call(self, function: str, **arguments: Any) -> Run:
        """Call ``package.module:function`` in a process of its own."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.sendall(json.dumps({"function": function, "arguments": arguments}).encode() + b"\n")
        return Run(connection)

    def module(self, module: str, arguments: dict[str, Any], *, check: bool = False, temporary: str = "") -> Run:
        """Run a module as Ansible would. temporary: folder for temporary files."""
        return self.call(
            "tests.chaos.process:run_module", module=module, arguments=arguments, check=check, temporary=temporary
        )


def run_module(module: str, arguments: dict[str, Any], check: bool, temporary: str) -> None:
    """Run main() in this process and print what it prints."""
    from ansible.module_utils.testing import patch_module_args

    if temporary:
        os.environ["TMPDIR"] = temporary
    given = {"_ansible_check_mode": check, "_ansible_diff": True, **arguments}
    with patch_module_args(given):
        importlib.import_module(f"{MODULES}.{module}").main()


def _forked(connection: socket.socket) -> None:
    """The whole life of one forked process; never returns."""
    code = 1
    try:
        stream = connection.makefile("rb")
        asked = json.loads(stream.readline())
        connection.sendall(f"{os.getpid()}\n".encode())
        for number in (1, 2):
            os.dup2(connection.fileno(), number)
        connection.close()
        stream.close()
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", write_through=True)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8", write_through=True)
        place, name = asked["function"].split(":")
        getattr(importlib.import_module(place), name)(**asked["arguments"])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _serve(listener: socket.socket) -> None:
    """Fork for each connection until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _forked(connection)
        connection.close()


if __name__ == "__main__":
    for one in NAMES:
        importlib.import_module(f"{MODULES}.{one}")
    importlib.import_module("tests.chaos.hostile")
    importlib.import_module("ansible.module_utils.testing")
    _serve(socket.socket(fileno=int(sys.argv[1])))
