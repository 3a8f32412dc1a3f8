# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, query and stop embedded clusters. The command line and the tests use the same class.

    with Cluster() as cluster:                  # free ports, a data folder of its own, gone afterwards
        cluster.kubectl("get", "pods", "-A")
        client = load(cluster.kubeconfig)

A supervisor process (``lab supervise``) owns every process of a cluster. It ends on request, or when the Python
process that started it is gone, however that ended; all other processes of the cluster end with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlencode

from tests.cluster.build import BuildError, ScreenProgress, cache_root, ensure_built

if TYPE_CHECKING:
    from tests.cluster.s3 import S3, Bucket

ROOT = Path(__file__).resolve().parents[2]
CRDS = Path(__file__).resolve().parent / "crds"
_counter = itertools.count(1)

DEFAULT_QPS = 20
"""Requests a second of a controller-manager by its own default, as on most clusters."""
FAST_QPS = 200
"""Requests a second of ours, so that tests do not wait for it."""


class ClusterError(Exception):
    """A cluster could not be started, reached or stopped. The text says what failed, where and what to do."""


StepReport = Callable[[str, str, float, str], None]
"""Called with a step's name, its state (starting, ready, failed), seconds since the start, and a message."""


def home() -> Path:
    """The folder that holds one data folder per cluster: short, because Unix socket paths are limited to ~104 bytes."""
    chosen = os.environ.get("ALAUDA_LAB_HOME")
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"alauda-lab-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat().st_uid
    if owner != os.getuid():
        raise ClusterError(f"{folder} belongs to user {owner}: set ALAUDA_LAB_HOME to a folder of your own")
    return folder.resolve()


def binary() -> Path:
    """The cluster's program, which is kubectl, crane, etcd … by its first argument; built at the first call."""
    try:
        return ensure_built(ScreenProgress())
    except BuildError as error:
        raise ClusterError(str(error)) from None


@contextlib.contextmanager
def _home_lock() -> Iterator[None]:
    with open(home() / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_running(name: str) -> bool:
    """A running cluster's supervisor holds the lock; the lock of a dead one is free, whatever killed it."""
    try:
        with open(home() / f"{name}.lock") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _sweep() -> None:
    """Remove the leftovers of clusters whose supervisor was killed. Call it with the home lock held."""
    names = {path.stem for path in home().glob("*.lock")} | {path.name for path in home().iterdir() if path.is_dir()}
    for name in names:
        if not _is_running(name):
            shutil.rmtree(home() / name, ignore_errors=True)
            (home() / f"{name}.lock").unlink(missing_ok=True)


def running() -> list[str]:
    """Names of the running clusters; also removes the folders of dead ones."""
    with _home_lock():
        _sweep()
        return sorted(path.stem for path in home().glob("*.lock"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("lab", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Cluster:
    """One embedded cluster.

    Args:
        name: of the cluster, unique among the user's running ones; by default a free one is chosen.
        operator: also run the operator simulator.
        s3: start the S3 server at once; by default it starts at the first use of :attr:`s3`.
        time_scale: divides the operator simulator's own waits (10: ten times as fast); None: as a real operator.
        kube_api_qps: the controller-manager's requests a second; its own default is DEFAULT_QPS.
        report: called for each step of the start; by default nothing is shown.
        show_build: called while the program is built; by default progress goes to standard error.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        operator: bool = True,
        s3: bool = False,
        time_scale: float | None = None,
        kube_api_qps: int = FAST_QPS,
        report: StepReport | None = None,
        show_build: Callable[[str, bool], None] | None = None,
    ) -> None:
        self.name = name or f"t{os.getpid()}-{next(_counter)}"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", self.name):
            raise ClusterError(f"cluster name {self.name!r}: lower-case letters, digits and hyphens, 40 at most")
        self._operator = operator
        self._early_s3 = s3
        self._time_scale = time_scale
        self._kube_api_qps = kube_api_qps
        self._report = report
        self._show_build = show_build
        self._supervisor: subprocess.Popen[str] | None = None
        self._state: dict[str, Any] = {}
        self._s3: S3 | None = None
        self._program: Path | None = None

    # Lifecycle

    @classmethod
    def attach(cls, name: str) -> Cluster:
        """Attach to a running cluster.

        Raises:
            ClusterError: no cluster of that name is running.
        """
        names = running()
        if name not in names:
            known = ", ".join(names) if names else "none is running"
            raise ClusterError(f"no running cluster named {name!r} ({known})")
        cluster = cls(name)
        cluster._state = cluster.status()
        return cluster

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dir(self) -> Path:
        """The data folder; its ``logs`` folder holds each process's output."""
        return home() / self.name

    def start(self) -> None:
        """Start everything and wait until it is ready; takes seconds, minutes if the program must be built first.

        Raises:
            ClusterError: a step failed (nothing is left running), or a cluster of that name is running already.
        """
        program = self.binary
        free = shutil.disk_usage(home()).free
        if free < 500 * 1024**2:
            raise ClusterError(
                f"disk full: {home()} has {free // 1024**2} MiB free, a cluster needs 500 MiB. "
                "Free some space, or set ALAUDA_LAB_HOME to a bigger disk."
            )
        with _home_lock():
            if _is_running(self.name):
                raise ClusterError(
                    f"a cluster named {self.name!r} is running already: "
                    f"choose another --name, or `down --name {self.name}`"
                )
            _sweep()
            self._supervisor = subprocess.Popen(
                [str(program), "supervise"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C must reach only us; we stop the supervisor
            )
            try:
                self._await_event("lock", self._configuration())
            except BaseException:
                self._abandon()
                raise
        try:
            self._state = self._await_event("cluster", None)
        except BaseException:
            self._abandon()
            raise

    def _configuration(self) -> dict[str, Any]:
        # Temporary files go with the cluster's folder, however its processes end.
        environment = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(self.dir)}
        s3 = [sys.executable, "-m", "tests.cluster.s3", "--folder", str(self.dir / "s3")]
        s3 += ["--ready", str(self.dir / "ready" / "s3.json"), "--lab", str(self.binary)]
        extras: list[dict[str, Any]] = [
            {
                "name": "s3",
                "argv": s3,
                "cwd": str(ROOT),
                "env": environment,
                "ready": "s3.json",
                "early": True,
                "lazy": not self._early_s3,
            }
        ]
        if self._operator:
            command = [sys.executable, "-m", "tests.cluster.operator_simulator"]
            command += ["--kubeconfig", str(self.dir / "operator.kubeconfig")]
            if self._time_scale is not None:
                command += ["--time-scale", str(self._time_scale)]
            command += ["--ready", str(self.dir / "ready" / "operator.json")]
            extras.append(
                {
                    "name": "operator",
                    "argv": command,
                    "cwd": str(ROOT),
                    "env": environment,
                    "ready": "operator.json",
                }
            )
        return {
            "name": self.name,
            "dir": str(self.dir),
            "apply": [str(path) for path in sorted(CRDS.glob("*.yaml"))],
            "extras": extras,
            "kube_api_qps": self._kube_api_qps,
        }

    def _await_event(self, wanted: str, send: dict[str, Any] | None) -> dict[str, Any]:
        """Read and report the supervisor's events up to the wanted one."""
        supervisor = self._supervisor
        assert supervisor is not None
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        noise: list[str] = []
        try:
            if send is not None:
                supervisor.stdin.write(json.dumps(send) + "\n")
                supervisor.stdin.flush()
            for line in supervisor.stdout:
                try:
                    event: dict[str, Any] = json.loads(line)
                except ValueError:
                    noise.append(line.rstrip())
                    continue
                if self._report:
                    self._report(event["step"], event["state"], event["seconds"], event.get("message", ""))
                if event["state"] == "failed":
                    raise ClusterError(self._keep_logs(f"cluster {self.name!r}: {event['step']}: {event['message']}"))
                if event["step"] == wanted and event["state"] in ("ready", "up"):
                    status: dict[str, Any] = event.get("status", {})
                    return status
        except BrokenPipeError:
            pass
        text = "\n".join(f"  {line}" for line in noise[-15:])
        raise ClusterError(self._keep_logs(f"cluster {self.name!r}: its supervisor ended before it was ready\n{text}"))

    def _keep_logs(self, message: str) -> str:
        """Copy the logs of a failed start out of the data folder; the message then names their copies."""
        logs = self.dir / "logs"
        copies = cache_root() / "failed" / self.name
        if not logs.is_dir():
            return message
        shutil.rmtree(copies, ignore_errors=True)
        copies.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(logs, copies)
        except OSError:
            return message
        full = shutil.disk_usage(home()).free < 50 * 1024**2
        return ("disk full: " if full else "") + message.replace(str(logs), str(copies)) + f"\nall logs: {copies}"

    def _abandon(self) -> None:
        """Clean up after a failed start."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            self._end(supervisor)
        shutil.rmtree(self.dir, ignore_errors=True)
        (home() / f"{self.name}.lock").unlink(missing_ok=True)

    @staticmethod
    def _end(supervisor: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(timeout=30)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait(timeout=10)
        for stream in (supervisor.stdin, supervisor.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def detach(self) -> None:
        """Keep the cluster running when this process ends; :meth:`attach` and :meth:`stop` end it."""
        supervisor = self._supervisor
        if supervisor is None or supervisor.stdin is None:
            raise ClusterError(f"cluster {self.name!r} was not started here")
        supervisor.stdin.write("detach\n")
        supervisor.stdin.close()
        if supervisor.stdout is not None:
            supervisor.stdout.close()
        supervisor.returncode = 0  # nobody waits for it from now on
        self._supervisor = None

    def stop(self) -> None:
        """Stop every process and remove the data folder. Does nothing if none is running."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            self._end(supervisor)
        elif _is_running(self.name):
            with contextlib.suppress(ClusterError):
                self._ask("POST", "/stop", {}, timeout=10)
            deadline = time.monotonic() + 20
            while _is_running(self.name):
                if time.monotonic() > deadline:
                    state = json.loads((self.dir / "state.json").read_text())
                    os.kill(int(state["pid"]), signal.SIGKILL)
                    break
                time.sleep(0.02)
        with _home_lock():
            if not _is_running(self.name):
                shutil.rmtree(self.dir, ignore_errors=True)
                (home() / f"{self.name}.lock").unlink(missing_ok=True)
        self._state = {}
        self._s3 = None

    # Use

    @property
    def binary(self) -> Path:
        """The cluster's program, built if necessary."""
        if self._program is None:
            try:
                self._program = ensure_built(self._show_build)
            except BuildError as error:
                raise ClusterError(str(error)) from None
        return self._program

    def _ask(self, method: str, path: str, query: dict[str, Any], timeout: float = 120.0) -> dict[str, Any]:
        connection = _UnixConnection(self.dir / "s" / "control.sock", timeout)
        try:
            connection.request(method, f"{path}?{urlencode(query, doseq=True)}")
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ClusterError(f"cluster {self.name!r} does not answer ({error}): is it running?") from None
        finally:
            connection.close()
        if response.status != 200:
            raise ClusterError(f"cluster {self.name!r}: {answer.get('error', response.reason)}")
        return answer

    def status(self) -> dict[str, Any]:
        """What runs, where, and how much memory it uses.

        Keys: name, dir, binary, kubeconfig, api, registry_address, s3 (endpoint, region, access_key, secret_key, …;
        absent if it was not started), processes, resident_bytes (each process's share: pages that several use, such as
        those of the program, are divided among them).
        """
        status = self._ask("GET", "/status", {})
        ready = status.pop("ready")
        status["binary"] = str(self.binary)
        status["registry_address"] = ready.get("kubelet", {}).get("registry_address", "")
        if "s3" in ready:
            status["s3"] = ready["s3"]
        return status

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.dir / "kubeconfig"

    @property
    def api(self) -> str:
        """URL of the API server."""
        return str(self._state["api"])

    @property
    def registry_address(self) -> str:
        """``host:port`` that leads to a ready Pod of Service image-registry (HTTPS, self-signed), across rollouts."""
        return str(self.status()["registry_address"])

    @property
    def s3(self) -> S3:
        """The S3 server, started at the first use."""
        from tests.cluster.s3 import S3

        if self._s3 is None:
            self._ask("POST", "/start", {"process": "s3"})
            self._s3 = S3(self.status()["s3"])
        return self._s3

    def s3_bucket(self, name: str) -> Bucket:
        """Create a bucket with a user and a key of its own."""
        return self.s3.bucket(name)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a fresh client certificate for a user and groups (RBAC decides what they may do).

        Each call writes a file of its own into the data folder; a user without a role binding may do next to nothing.
        """
        answer = self._ask("POST", "/kubeconfig", {"user": user, "group": list(groups)})
        folder = self.dir / "users"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{re.sub('[^A-Za-z0-9.-]', '_', user)}-{next(_counter)}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(answer["kubeconfig"])
        return path

    def kill(self, process: str) -> None:
        """Kill a process (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, operator, s3)."""
        self._ask("POST", "/kill", {"process": process})

    def launch(self, process: str) -> None:
        """Start a process that was killed, on the same address, and wait until it serves."""
        self._ask("POST", "/start", {"process": process})

    @contextlib.contextmanager
    def paused(self, process: str) -> Iterator[None]:
        """A process that hangs meanwhile: it is there, holds its connections, and does nothing."""
        (pid,) = (entry["pid"] for entry in self.status()["processes"] if entry["name"] == process)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def restart(self, process: str) -> None:
        """Kill a process and start it again."""
        self.kill(process)
        self.launch(process)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as administrator and return its standard output.

        Raises:
            ClusterError: kubectl failed (unless ``check`` is off); the text contains its error.
        """
        return self._run("kubectl", ["--kubeconfig", str(self.kubeconfig), *arguments], stdin, check)

    def crane(self, *arguments: str, check: bool = True) -> str:
        """Run crane (a registry client) and return its standard output; pass ``--insecure`` for our certificates."""
        return self._run("crane", list(arguments), None, check)

    def _run(self, program: str, arguments: list[str], stdin: str | None, check: bool) -> str:
        command = [str(self.binary), program, *arguments]
        answer = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)
        if check and answer.returncode:
            raise ClusterError(f"{program} {' '.join(arguments)}: {answer.stderr.strip() or answer.stdout.strip()}")
        return answer.stdout

    def config_generation(self) -> int:
        """metadata.generation of Config/cluster."""
        wanted = "-o=jsonpath={.metadata.generation}"
        return int(self.kubectl("get", "configs.imageregistry.operator.alauda.io", "cluster", wanted))

    def describe(self) -> str:
        """A short text: what runs and how much memory it uses."""
        return describe(self.status())


def describe(status: dict[str, Any]) -> str:
    """A status as a short text for the terminal."""
    lines = [
        f"cluster    {status['name']}, started {status['started']}, {_mib(status['resident_bytes'])} MiB in memory",
        f"kubeconfig {status['kubeconfig']}",
        f"API        {status['api']}",
        f"registry   {status['registry_address'] or '-'} (once Pods are ready)",
    ]
    if "s3" in status:
        lines.append(f"S3         {status['s3']['endpoint']} {status['s3']['https_endpoint']}")
    for process in status["processes"]:
        state = process["state"]
        lines.append(f"  {process['name']:<24} {process['pid']:>8}  {_mib(process['resident_bytes']):>5} MiB  {state}")
    lines.append(f"logs       {status['dir']}/logs")
    return "\n".join(lines)


def _mib(count: int) -> int:
    return round(count / 1024**2)


class ScreenSteps:
    """Shows the steps of a start with their times, one line each, on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, step: str, state: str, seconds: float, message: str) -> None:
        if state in ("ready", "up"):
            self._stream.write(f"[{seconds:6.2f} s] {step} {state}\n")
            self._stream.flush()
