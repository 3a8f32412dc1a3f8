# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.cluster.operator --kubeconfig PATH [--time-scale F]``: the simulated operator as a process.

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
from .cluster import Cluster
from .conditions import ApplyError
from .names import Json
from .others import CertificatesController, NoiseController, PrunerController, PullSecretController
from .registry import RegistryController, is_conflict
from .s3 import forget_environment
from .workqueue import Throttle, Trigger

log = logging.getLogger("operator")

# Events of one burst are taken in one go, as the genuine operator's 20 to 300 ms per sync do.
_COALESCE = 0.06
_RESYNC = 600.0


class Operator:
    """All controllers, each with a trigger and a thread of its own.

    :param scale: divides the operator's own waits.
    :param noise: seconds between writes of a neighbour to Config's status, 0 for none.
    """

    def __init__(self, api: Api, scale: float = 1.0, noise: float = 0.0) -> None:
        self.api = api
        self.cluster = Cluster(api, scale)
        self.scale = scale
        certificates = CertificatesController(self.cluster)

        def settle() -> None:
            with contextlib.suppress(ApplyError):
                certificates.sync()

        registry = RegistryController(self.cluster, settle)
        pruner = PrunerController(self.cluster)
        pulls = PullSecretController(self.cluster)
        self._loops: list[tuple[str, Trigger, Callable[[], None], float]] = []
        on_registry = self._add("registry", registry.sync)
        on_pruner = self._add("pruner", pruner.sync)
        on_certificates = self._add("certificates", certificates.sync, resync=_RESYNC)
        # Asynchronous on purpose: nobody may rely on them right after a patch (newer pages, Managed pull secrets).
        on_pulls = self._add("pull-secrets", pulls.sync, resync=60.0)
        for kind in (
            "Deployment",
            "Service",
            "Secret",
            "ConfigMap",
            "ServiceAccount",
            "PodDisruptionBudget",
            "Ingress",
        ):
            self.cluster.caches[kind].listen(_poke(on_registry))
        self.cluster.caches["Config"].listen(_poke(on_registry))
        self.cluster.caches["Config"].listen(_spec_poke(on_pulls, 1.0 / scale))
        for kind in ("ImagePruner", "CronJob", "Job", "Service"):
            self.cluster.caches[kind].listen(_poke(on_pruner))
        for kind in ("Secret", "ConfigMap"):
            self.cluster.caches[kind].listen(_poke(on_certificates))
        self.cluster.caches["Config"].listen(lambda old, new: on_certificates.poke() if old is None else None)
        if noise:
            self._add("noise", NoiseController(self.cluster).sync, resync=noise * scale)

    def start(self) -> None:
        """Install, fill the caches, start all controllers; TimeoutError if they do not make their objects in 30 s."""
        install(self.api)
        self.cluster.start()
        for name, trigger, sync, resync in self._loops:
            trigger.poke()
            threading.Thread(target=self._run, args=(name, trigger, sync, resync), name=name, daemon=True).start()
        # Whoever was told that the operator is ready may patch at once.
        for kind in ("Config", "ImagePruner"):
            if not self.cluster.caches[kind].await_item(names.SINGLETON, 30):
                raise TimeoutError(f"{kind} {names.SINGLETON} was not created within 30 s")

    def stop(self) -> None:
        """Let all threads end."""
        self.cluster.stop.set()
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
                    log.info("%s: %s; again in %.3f s", name, error, delay)
            except Exception:
                # A controller that dies silently would look like an operator that ignores its user.
                log.exception("%s: defect in the simulator", name)
                trigger.retry()
            if resync:
                trigger.after(resync)


def _poke(trigger: Trigger) -> Callable[[Json | None, Json | None], None]:
    return lambda old, new: trigger.poke()


def _spec_poke(trigger: Trigger, delay: float) -> Callable[[Json | None, Json | None], None]:
    def changed(old: Json | None, new: Json | None) -> None:
        if old is None or new is None or old["metadata"]["generation"] != new["metadata"]["generation"]:
            trigger.after(delay)

    return changed


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; exit code 1 when the cluster cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.operator", description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", required=True, help="kubeconfig of an administrator")
    parser.add_argument("--time-scale", type=float, default=1.0, help="divides the operator's own waits (default 1)")
    parser.add_argument("--noise", type=float, default=0.0, help="seconds between a neighbour's status writes")
    parser.add_argument("--verbose", action="store_true", help="log every write and retry to stderr")
    parser.add_argument("--ready", type=Path, help="file that is written when the operator is ready")
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
