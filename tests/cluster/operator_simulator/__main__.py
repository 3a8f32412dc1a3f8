# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated operator as a process: ``python -m tests.cluster.operator_simulator --kubeconfig PATH``.

Prints ``operator: ready`` on stdout when everything is installed and its configuration exists; stops on SIGTERM or
SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from . import names
from .api import Api, ApiError
from .bootstrap import install
from .cluster import REGISTRY_KINDS, Cluster
from .conditions import ApplyError
from .names import Json
from .others import CertificatesController, LeaderElection, NoiseController, PrunerController, PullSecretController
from .registry import RegistryController, is_conflict
from .s3 import forget_environment
from .workqueue import Throttle, Trigger

log = logging.getLogger("operator")

# One sync handles a burst of events, as the genuine operator's does, because each of its syncs takes 20 to 300 ms.
_COALESCE = 0.06
_RESYNC = 600.0


class Operator:
    """All controllers, each with its own trigger and thread.

    :param scale: divides the operator's own waits.
    :param noise: seconds between another controller's writes to Config's status, 0 for none.
    """

    def __init__(self, api: Api, scale: float = 1.0, noise: float = 0.0) -> None:
        self.api = api
        self.cluster = Cluster(api, scale)
        self.scale = scale
        certificates = CertificatesController(self.cluster)

        def settle() -> None:
            with contextlib.suppress(ApplyError):
                certificates.settle()

        registry = RegistryController(self.cluster, settle)
        pruner = PrunerController(self.cluster)
        pull_secrets = PullSecretController(self.cluster)
        self._loops: list[tuple[str, Trigger, Callable[[], None], float]] = []
        on_registry = self._add("registry", registry.sync)
        on_pruner = self._add("pruner", pruner.sync)
        on_certificates = self._add("certificates", certificates.sync, resync=_RESYNC)
        # Asynchronous on purpose: nobody may rely on them right after a patch (newer pages, Managed pull secrets).
        on_pull_secrets = self._add("pull-secrets", pull_secrets.sync, resync=60.0)
        for kind in REGISTRY_KINDS:
            self.cluster.caches[kind].listen(_poke(on_registry))
        self.cluster.caches["Config"].listen(_poke(on_registry))
        self.cluster.caches["Config"].listen(_spec_poke(on_pull_secrets, 1.0 / scale))
        for kind in ("ImagePruner", "CronJob", "Job", "Service"):
            self.cluster.caches[kind].listen(_poke(on_pruner))
        for kind in ("Secret", "ConfigMap"):
            self.cluster.caches[kind].listen(_poke(on_certificates))
        self.cluster.caches["Config"].listen(lambda previous, _: on_certificates.poke() if previous is None else None)
        self._leader = LeaderElection(api)
        self._add("leader", self._leader.sync, resync=LeaderElection.RENEWAL)
        if noise:
            self._add("noise", NoiseController(self.cluster).sync, resync=noise * scale)

    def start(self) -> None:
        """Install, fill the caches, start all controllers; TimeoutError if their objects do not exist after 30 s."""
        install(self.api)
        self.cluster.start()
        for name, trigger, sync, resync in self._loops:
            trigger.poke()
            threading.Thread(target=self._run, args=(name, trigger, sync, resync), name=name, daemon=True).start()
        # Once the operator reports that it is ready, users may patch at once.
        for kind in ("Config", "ImagePruner"):
            if not self.cluster.caches[kind].await_item(names.SINGLETON, 30):
                raise TimeoutError(f"{kind} {names.SINGLETON} was not created within 30 s")

    def stop(self) -> None:
        """End all threads."""
        self.cluster.stop.set()
        with contextlib.suppress(ApiError, OSError):
            self._leader.release()
        for cache in self.cluster.caches.values():
            cache.stop()

    def _add(self, name: str, sync: Callable[[], None], resync: float = 0.0) -> Trigger:
        trigger = Trigger(self.scale)
        self._loops.append((name, trigger, sync, resync / self.scale))
        return trigger

    def _run(self, name: str, trigger: Trigger, sync: Callable[[], None], resync: float) -> None:
        stop = self.cluster.stop
        throttle = Throttle(0.6 / self.scale, 4)
        while trigger.wait(stop):
            stop.wait(_COALESCE)
            throttle.take(stop)
            try:
                sync()
                trigger.succeeded()
            except (ApplyError, ApiError, OSError) as error:
                delay = trigger.retry()
                if not is_conflict(error):
                    log.info("%s: %s; retrying in %.3f s", name, error, delay)
            except Exception:
                # A controller that dies silently would look like an operator that ignores its user.
                log.exception("%s: defect in the simulator", name)
                trigger.retry()
            if resync:
                trigger.after(resync)


def _poke(trigger: Trigger) -> Callable[[Json | None, Json | None], None]:
    return lambda previous, current: trigger.poke()


def _spec_poke(trigger: Trigger, delay: float) -> Callable[[Json | None, Json | None], None]:
    def on_change(previous: Json | None, current: Json | None) -> None:
        if (
            previous is None
            or current is None
            or previous["metadata"]["generation"] != current["metadata"]["generation"]
        ):
            trigger.after(delay)

    return on_change


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal arrives; exit code 1 if the cluster cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.operator_simulator", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--kubeconfig", required=True, help="kubeconfig of an administrator")
    parser.add_argument("--time-scale", type=float, default=1.0, help="divides the operator's own waits (default 1)")
    parser.add_argument("--noise", type=float, default=0.0, help="seconds between another controller's status writes")
    parser.add_argument("--verbose", action="store_true", help="log every write and retry to stderr")
    parser.add_argument("--ready", type=Path, help="file to write when the operator is ready")
    options = parser.parse_args(arguments)
    if options.time_scale <= 0:
        parser.error("--time-scale must be greater than 0")
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    forget_environment()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    try:
        operator = Operator(Api(options.kubeconfig), options.time_scale, options.noise)
        operator.start()
    except (OSError, ValueError, ApiError) as error:
        print(f"operator: cannot start with {options.kubeconfig}: {error}", file=sys.stderr)
        return 1
    print("operator: ready", flush=True)
    if options.ready:
        options.ready.write_text("{}\n", encoding="utf-8")
    done.wait()
    operator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
