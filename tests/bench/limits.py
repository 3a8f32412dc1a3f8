# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-limits`: figures of image_limits over many namespaces of an embedded cluster. Asserts nothing.

    python -m tests.bench.limits [--namespaces 1000] [--kube-api-qps N]

How long the quota controller takes depends on the requests a second that its program may send: 20 by its own default,
200 on the embedded cluster otherwise. Both are measured, each on a cluster of its own, unless one is chosen.

Every run starts the module in its own process, as Ansible does; requests are counted at the wire in separate runs,
because the counting proxy costs time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import Cluster
from tests.cluster.cluster import DEFAULT_QPS, FAST_QPS, ScreenSteps
from tests.cluster.proxy import ApiProxy

ROOT = Path(__file__).resolve().parents[2]
LABEL = "bench=limits"
ALL = {"namespace_selector": LABEL}
LIMITS: dict[str, Any] = {
    "quota": {"imagestreams": 20, "images": 200, "image_tags": 200},
    "image": {"storage": "1Gi"},
    "image_stream": {"images": 100, "image_tags": 100},
}
SCRIPT = """
import contextlib, io, json, resource, sys, time
from ansible.module_utils.testing import patch_module_args
from ansible_collections.alauda.image_registry.plugins.modules.image_limits import main
start, output = time.monotonic(), io.StringIO()
with patch_module_args(json.loads(sys.argv[1])), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
    main()
result = json.loads(output.getvalue())
print(json.dumps({
    "failed": result.get("msg", "") if result.get("failed") else "",
    "changed": result.get("changed", False),
    "seconds": time.monotonic() - start,
    "verified": result.get("verification", {}).get("seconds", 0.0),
    "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


@dataclass(frozen=True)
class Run:
    """One run of the module: ``seconds`` without Python's start, ``verified`` the part spent on verification."""

    changed: bool
    seconds: float
    verified: float
    mebibytes: float


def run(kubeconfig: str, **options: Any) -> Run:
    """Run the module in its own process; RuntimeError if it fails."""
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps({"kubeconfig": kubeconfig, **LIMITS, **options})],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip())
    values = json.loads(answer.stdout)
    failure = values.pop("failed")
    if failure:
        raise RuntimeError(failure)
    return Run(**values)


def _create(cluster: Cluster, count: int) -> None:
    labels = dict([LABEL.split("=")])
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"bench-{number:05d}", "labels": labels}}
        for number in range(count)
    ]
    cluster.kubectl("create", "--filename", "-", stdin=yaml.safe_dump_all(namespaces))


def figures(count: int, qps: int) -> None:
    """Print the figures for ``count`` namespaces, on a cluster of their own. qps: the controller-manager's limit."""
    name = f"bench-{os.getpid()}-{qps}"
    with Cluster(name, s3=False, kube_api_qps=qps, report=ScreenSteps(sys.stdout)) as cluster:
        own = "its own default" if qps == DEFAULT_QPS else f"its own default is {DEFAULT_QPS}"
        print(f"controller-manager: {qps} requests a second ({own})")
        kubeconfig = str(cluster.kubeconfig)
        start = time.monotonic()
        _create(cluster, count)
        print(
            f"{count} namespaces created in {time.monotonic() - start:.1f} s; load {os.getloadavg()[0]:.1f}", flush=True
        )
        # This measures storing; how long the quota controller takes to notice depends on the cluster.
        first = run(kubeconfig, wait=False, **ALL)
        objects = 2 * count
        print(
            f"first apply:       {objects} objects in {first.seconds:.2f} s, {objects / first.seconds:.0f} objects/s, ",
            end="",
        )
        print(f"{first.mebibytes:.0f} MiB", flush=True)
        settled = run(kubeconfig, **ALL)
        pace = f" ({count / settled.verified:.0f} namespaces/s)" if settled.verified else ""
        print(
            f"verified:          the quota controller had counted after another {settled.verified:.2f} s{pace}",
            flush=True,
        )
        again = run(kubeconfig, **ALL)
        with ApiProxy(kubeconfig) as proxy:
            run(str(proxy.kubeconfig), **ALL)
            requests = len(proxy.requests)
        print(f"nothing to change: {again.seconds:.2f} s, {requests} requests, {again.mebibytes:.0f} MiB, ", end="")
        print(f"changed={again.changed}", flush=True)
        one = run(kubeconfig, namespaces=["bench-00000"])
        print(f"one namespace:     {one.seconds:.2f} s, {one.mebibytes:.0f} MiB (what Python and its libraries need)")


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--namespaces", type=int, default=1000)
    parser.add_argument("--kube-api-qps", type=int, help=f"one limit only (default: {FAST_QPS}, then {DEFAULT_QPS})")
    options = parser.parse_args()
    for qps in (options.kube_api_qps,) if options.kube_api_qps else (FAST_QPS, DEFAULT_QPS):
        figures(options.namespaces, qps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
