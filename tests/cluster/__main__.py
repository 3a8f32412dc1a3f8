# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the embedded cluster: up, down, status, binary."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from tests.cluster.cluster import (
    DEFAULT_QPS,
    FAST_QPS,
    Cluster,
    ClusterError,
    ScreenSteps,
    binary,
    describe,
    running,
)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster; the last line of standard output is its kubeconfig's path")
    down = commands.add_parser("down", help="stop a cluster and remove its data")
    status = commands.add_parser("status", help="show what runs")
    commands.add_parser("binary", help="build the cluster's program if needed and print its path")
    for command in (up, down):
        command.add_argument("--name", default="default")
    status.add_argument("--name", help="default: every running cluster")
    status.add_argument("--json", action="store_true", help="machine-readable; contains the keys of the S3 server")
    down.add_argument("--all", action="store_true", help="stop all your clusters")
    up.add_argument("--no-operator", action="store_true", help="do not start the operator simulator")
    up.add_argument("--s3", action=argparse.BooleanOptionalAction, default=True, help="start the S3 server at once")
    up.add_argument("--time-scale", type=float, metavar="F", help="divides the operator simulator's own waits")
    up.add_argument(
        "--kube-api-qps",
        type=int,
        default=FAST_QPS,
        metavar="N",
        help=f"requests a second of the controller-manager (its own default: {DEFAULT_QPS}; here: {FAST_QPS})",
    )
    return parser.parse_args(argv)


def _up(options: argparse.Namespace) -> None:
    cluster = Cluster(
        options.name,
        operator=not options.no_operator,
        s3=options.s3,
        time_scale=options.time_scale,
        kube_api_qps=options.kube_api_qps,
        report=ScreenSteps(sys.stderr),
    )
    cluster.start()
    try:
        print(cluster.describe(), file=sys.stderr)
        kubeconfig = cluster.kubeconfig
        cluster.detach()
    except BaseException:
        cluster.stop()
        raise
    print(kubeconfig, flush=True)


def _down(options: argparse.Namespace) -> None:
    names = running()
    for name in names if options.all else [options.name]:
        if name in names:
            Cluster(name).stop()
            print(f"stopped cluster {name!r} and removed its data", file=sys.stderr)
        else:
            print(f"no running cluster named {name!r}", file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    names = [options.name] if options.name else running()
    found = [Cluster.attach(name).status() for name in names]
    if options.json:
        print(json.dumps(found[0] if options.name else found, indent=2))
    elif found:
        print("\n\n".join(describe(status) for status in found))
    else:
        print("no cluster is running")
    return 0


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed (the reason is on standard error), 130 interrupted."""
    options = _arguments(argv)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        if options.command == "up":
            _up(options)
        elif options.command == "down":
            _down(options)
        elif options.command == "status":
            _status(options)
        else:
            print(binary())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is left running", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
