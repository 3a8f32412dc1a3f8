# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the collection is, measured in one run against its alternatives (`make bench`).

    python -m tests.bench [--rounds 7] [--no-fleet] [--no-generic] [--no-limits]

Rounds alternate between the contenders, so that a busy machine affects all of them alike; medians are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import Follow
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Target
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import connect
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.bench import limits
from tests.cluster import Cluster
from tests.cluster.cluster import FAST_QPS
from tests.cluster.proxy import ApiProxy

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COLLECTION = "alauda.image_registry"
MODULES = "ansible_collections.alauda.image_registry.plugins.modules"
SWITCH = "alauda_image_registry_in_controller"
RESOURCES = {"requests": {"cpu": "500m", "memory": "500Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}}
HARD = {"alauda.io/imagestreams": "20", "alauda.io/images": "200", "alauda.io/image-tags": "200"}
RANGE = [
    {"type": "alauda.io/Image", "max": {"storage": "1Gi"}},
    {"type": "alauda.io/ImageStream", "max": {"alauda.io/images": "100", "alauda.io/image-tags": "100"}},
]

PARTS: dict[str, dict[str, Any]] = {
    "registry_storage": {"backend": "emptydir", "replicas": 1, "resources": RESOURCES},
    "registry_pullsecret": {
        "management_state": "Managed",
        "additional_registry_hosts": ["registry.example.com"],
        "ignored_namespaces": ["kube-public"],
        "ignore_system_namespaces": True,
    },
    "image_limits": {"namespaces": ["default"], **limits.LIMITS},
    "image_pruner": {
        "schedule": "0 0 * * *",
        "suspend": False,
        "keep_tag_revisions": 3,
        "keep_younger_than": "60m",
        "resources": RESOURCES,
    },
}
"""Options for the whole page, which change nothing once they are applied."""


def generic_tasks() -> list[dict[str, Any]]:
    """The same objects through kubernetes.core.k8s, which verifies one condition and no rollout."""
    group = f"{ALAUDA.group}/{ALAUDA.version}"
    config = {"apiVersion": group, "kind": "Config", "metadata": {"name": "cluster"}}
    storage = {"managementState": "Managed", "emptyDir": {}}
    settings = {
        "managementState": "Managed",
        "additionalRegistryHosts": ["registry.example.com"],
        "ignoredNamespaces": ["kube-public"],
        "ignoreSystemNamespaces": True,
    }
    pruner = {
        "schedule": "0 0 * * *",
        "suspend": False,
        "keepTagRevisions": 3,
        "keepYoungerThanDuration": "60m",
        "resources": RESOURCES,
    }
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "image-registry-quota", "namespace": "default"},
        "spec": {"hard": HARD},
    }
    limit_range = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "image-registry-limits", "namespace": "default"},
        "spec": {"limits": RANGE},
    }
    wait = {"wait": True, "wait_condition": {"type": "Available", "status": "True"}}
    spec = {"managementState": "Managed", "replicas": 1, "storage": storage, "resources": RESOURCES}
    definitions: list[tuple[Any, dict[str, Any]]] = [
        ({**config, "spec": spec}, wait),
        ({**config, "spec": {"imagePullSecret": settings}}, {}),
        ([quota, limit_range], {}),
        ({"apiVersion": group, "kind": "ImagePruner", "metadata": {"name": "cluster"}, "spec": pruner}, {}),
    ]
    return [
        {"kubernetes.core.k8s": {"state": "present", "definition": definition, **more}}
        for definition, more in definitions
    ]


def run_module(module: str, **args: Any) -> dict[str, Any]:
    """Run a module in this process."""
    main = importlib.import_module(f"{MODULES}.{module}").main
    output = io.StringIO()
    with patch_module_args(args), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main()
    result: dict[str, Any] = json.loads(output.getvalue())
    if result.get("failed"):
        raise SystemExit(f"{module} failed: {result['msg']}")
    return result


class Player:
    """Runs playbooks and measures wall time and the peak memory of ansible-playbook's processes."""

    def __init__(self, folder: Path, kubeconfig: str, command: Path = BIN / "ansible-playbook") -> None:
        self.folder, self.command = folder, command
        self.environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "K8S_AUTH_KUBECONFIG": kubeconfig,
        }

    def write(self, name: str, tasks: list[dict[str, Any]], hosts: str = "localhost") -> Path:
        """Write a playbook of these tasks."""
        path = self.folder / f"{name}.yml"
        path.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
        return path

    def play(self, playbook: Path, *flags: str) -> tuple[float, int]:
        """Seconds and peak KiB of one run; ends the benchmark when it fails."""
        measured = self.folder / "measured"
        code = (
            "import resource, subprocess, sys, time\n"
            "start = time.monotonic()\n"
            "code = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1] + '.out', 'w'), "
            "stderr=subprocess.STDOUT).returncode\n"
            "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
            "open(sys.argv[1], 'w').write(f'{time.monotonic() - start} {peak}')\n"
            "sys.exit(code)\n"
        )
        command = [sys.executable, "-c", code, str(measured), str(self.command), str(playbook), *flags]
        if subprocess.run(command, env=self.environment, cwd=ROOT, check=False).returncode != 0:
            raise SystemExit(f"{playbook.name} failed:\n{(self.folder / 'measured.out').read_text()[-3000:]}")
        seconds, peak = measured.read_text().split()
        return float(seconds), int(peak)


def generic_command(folder: Path) -> Path | None:
    """ansible-playbook with kubernetes.core (part of PyPI's `ansible`); None if that cannot be installed."""
    uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
    target = ROOT / ".cache" / "bench"
    if not (target / "bin" / "ansible-playbook").exists():
        show("creating an environment with kubernetes.core (PyPI's ansible) …")
        lock = str(ROOT / "requirements" / "dev.txt")
        steps = (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(target)],
            [uv, "pip", "install", "--quiet", "--python", str(target), "-c", lock, "ansible", "kubernetes"],
        )
        for step in steps:
            if subprocess.run(step, check=False).returncode != 0:
                return None
    return target / "bin" / "ansible-playbook"


def show(text: str = "") -> None:
    """Print a line immediately."""
    print(text, flush=True)


@dataclass(frozen=True)
class Contender:
    """A way to run the page. goals: at most this many times the median of that contender."""

    label: str
    player: Player
    playbook: Path
    flags: tuple[str, ...] = ()
    goals: tuple[tuple[str, float], ...] = ()


DEBUG, PINGS, GENERIC = "one debug task", "four ansible.builtin.ping tasks", "kubernetes.core.k8s, same objects"


def contenders(cluster: Cluster, folder: Path, generic: bool) -> list[Contender]:
    """What is measured, each as one run of ansible-playbook."""
    player = Player(folder, str(cluster.kubeconfig))
    single = player.write("single", [{f"{COLLECTION}.{name}": options} for name, options in PARTS.items()])
    page = player.write("page", [{f"{COLLECTION}.registry": {**PARTS, "image_limits": [PARTS["image_limits"]]}}])
    variables = folder / "registry.yml"
    variables.write_text(yaml.safe_dump(PARTS))
    ordinary = ("-e", f"{SWITCH}=false")
    pings = player.write("pings", [{"ansible.builtin.ping": {}}] * 4)
    result = [
        Contender(DEBUG, player, player.write("debug", [{"ansible.builtin.debug": {"msg": "ok"}}])),
        Contender(PINGS, player, pings),
        Contender("page as one task, registry", player, page, (), ((PINGS, 0.58),)),
        Contender(
            "playbook configure",
            player,
            ROOT / "playbooks" / "configure.yml",
            ("-e", f"@{variables}"),
            ((PINGS, 0.75),),
        ),
        Contender("four single tasks", player, single, (), ((PINGS, 0.65),)),
        Contender("four ordinary modules", player, single, ordinary, ((PINGS, 1.5), (GENERIC, 0.6))),
        Contender("registry as an ordinary module", player, page, ordinary),
    ]
    command = generic_command(folder) if generic else None
    if command is not None:
        other = Player(folder, str(cluster.kubeconfig), command)
        result.append(Contender(GENERIC, other, other.write("generic", generic_tasks())))
    return result


def compare(cluster: Cluster, folder: Path, rounds: int, generic: bool) -> None:
    """Run the contenders in turn and print a table of medians and ratios."""
    everyone = contenders(cluster, folder, generic)
    seconds: dict[str, list[float]] = {one.label: [] for one in everyone}
    peaks: dict[str, int] = dict.fromkeys(seconds, 0)
    for number in range(rounds + 1):
        for one in everyone:
            elapsed, peak = one.player.play(one.playbook, *one.flags)
            if number:  # the first round fills caches
                seconds[one.label].append(elapsed)
                peaks[one.label] = max(peaks[one.label], peak)
        show(f"  round {number}/{rounds}")
    medians = {label: statistics.median(values) for label, values in seconds.items()}

    def ratio(label: str, base: str) -> str:
        return f"{medians[label] / medians[base]:.2f}x" if base in medians else "-"

    show(f"\nthe whole page, nothing to change; medians of {rounds} alternating runs of ansible-playbook:\n")
    show("| run | seconds (range) | of four pings | of kubernetes.core | peak memory | goals |")
    show("| --- | --- | --- | --- | --- | --- |")
    for one in everyone:
        goals = [
            f"<= {most:.2f}x {base}: {'met' if medians[one.label] <= most * medians[base] else 'MISSED'}"
            for base, most in one.goals
            if base in medians
        ]
        spread = f"{min(seconds[one.label]):.2f}-{max(seconds[one.label]):.2f}"
        show(
            f"| {one.label} | {medians[one.label]:.2f} ({spread}) | {ratio(one.label, PINGS)} | "
            f"{ratio(one.label, GENERIC)} | {peaks[one.label] // 1024} MiB | {'; '.join(goals)} |"
        )


def single_tasks(cluster: Cluster) -> None:
    """Requests at the wire and CPU of each part, nothing to change."""
    show("\neach part alone, nothing to change (in this process, modules already imported):")
    with ApiProxy(cluster.kubeconfig) as proxy:
        for name, options in PARTS.items():
            run_module(name, kubeconfig=str(cluster.kubeconfig), **options)
            proxy.reset()
            run_module(name, kubeconfig=str(proxy.kubeconfig), **options)
            requests = len(proxy.requests)
            cpu, wall = [], []
            for _round in range(7):
                start, cpu_start = time.monotonic(), time.thread_time()
                run_module(name, kubeconfig=str(cluster.kubeconfig), **options)
                wall.append(time.monotonic() - start)
                cpu.append(time.thread_time() - cpu_start)
            show(
                f"  {name:20s} {requests} requests  {statistics.median(cpu) * 1000:5.1f} ms CPU "
                f"{statistics.median(wall) * 1000:6.1f} ms in all"
            )
    show("  goal: no task above 60 ms of CPU (here TLS is included)")


def delay(cluster: Cluster, rounds: int) -> None:
    """From the last event that makes a rollout complete to the return of the task."""
    client = Client(connect({"kubeconfig": str(cluster.kubeconfig)}))
    sink: queue.SimpleQueue[Any] = queue.SimpleQueue()
    paths = {
        "config": f"{ALAUDA.api}/configs",
        "deployment": namespaced(ALAUDA.namespace, "deployments", api="/apis/apps/v1"),
        "pods": namespaced(ALAUDA.namespace, "pods"),
    }
    follows = [
        Follow(client, sink, Target(label, path, lambda snapshot, _state: snapshot)) for label, path in paths.items()
    ]
    last = {"at": 0.0}

    def listen() -> None:
        while sink.get() is not None:
            last["at"] = time.monotonic()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    for follow in follows:
        follow.start()
    delays = []
    for number in range(rounds):
        options = {**PARTS["registry_storage"], "disable_redirect": number % 2 == 0}
        run_module("registry_storage", kubeconfig=str(cluster.kubeconfig), **options)
        delays.append(time.monotonic() - last["at"])
    for follow in follows:
        follow.stop()
    sink.put(None)
    run_module("registry_storage", kubeconfig=str(cluster.kubeconfig), **PARTS["registry_storage"])
    show(
        f"\nrollout complete to return: median {statistics.median(delays):.2f} s, worst {max(delays):.2f} s (goal "
        "<= 0.5 s)"
    )


def fleet(folder: Path, names: int, rounds: int) -> None:
    """One inventory host for each name, five clusters, forks=20, nothing to change."""
    show("\nfleet: starting 5 clusters …")
    with contextlib.ExitStack() as stack:
        clusters = [stack.enter_context(Cluster(name=f"fleet-{number}-{os.getpid()}")) for number in range(5)]
        hosts = {}
        for number, cluster in enumerate(clusters):
            run_module("registry_storage", kubeconfig=str(cluster.kubeconfig), **PARTS["registry_storage"])
            for name in range(names):
                hosts[f"c{number}-{name:02d}"] = {"registry_cluster": str(cluster.kubeconfig)}
        inventory = folder / "fleet.yml"
        variables = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}))
        player = Player(folder, "")
        task = {"kubeconfig": "{{ registry_cluster }}", **PARTS["registry_storage"]}
        playbook = player.write("fleet-play", [{"alauda.image_registry.registry_storage": task}], "all")
        durations = [player.play(playbook, "-i", str(inventory), "--forks", "20")[0] for _round in range(rounds)]
        median = statistics.median(durations)
        show(
            f"  {len(hosts)} hosts on 5 clusters, forks=20, nothing to change: {median:.1f} s, "
            f"{median / len(hosts):.3f} s a host (median of {rounds}; goal <= 0.5 s)"
        )


def machine() -> str:
    """The processor that the figures depend on."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return f"{os.cpu_count()} CPUs ({model or platform.machine()})"


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-fleet", action="store_true")
    parser.add_argument("--no-generic", action="store_true", help="without kubernetes.core")
    parser.add_argument("--no-limits", action="store_true", help="without the 1,000 namespaces of image_limits")
    options = parser.parse_args()
    show(f"machine: {machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Cluster(name=f"bench-{os.getpid()}") as cluster:
            for module, arguments in PARTS.items():
                run_module(module, kubeconfig=str(cluster.kubeconfig), **arguments)
            single_tasks(cluster)
            delay(cluster, options.rounds)
            compare(cluster, folder, options.rounds, not options.no_generic)
        if not options.no_fleet:
            fleet(folder, 20, 3)
    if not options.no_limits:
        show("\nimage_limits over 1,000 namespaces:")
        limits.figures(1000, FAST_QPS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
