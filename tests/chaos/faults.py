# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the API server and the network, and the module's own death, at random requests."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.cases import Clock, Ground, Outcome, Tally
from tests.chaos.process import Run
from tests.cluster.proxy import ApiProxy, Fault, FaultKind

READ, WRITE = "GET", "POST|PATCH|PUT|DELETE"


@dataclass(frozen=True)
class Kind:
    """A kind of fault. where: which requests it strikes. draw: its other settings."""

    name: str
    fault: FaultKind
    where: tuple[str, ...]
    draw: Callable[[random.Random], dict[str, Any]] = lambda rng: {}


KINDS = (
    Kind(
        "429", "status", ("read", "write", "watch"), lambda rng: {"code": 429, "retry_after": rng.choice((None, 0, 1))}
    ),
    Kind(
        "5xx",
        "status",
        ("read", "write", "write", "watch"),
        lambda rng: {
            "code": rng.choice((500, 502, 503, 504)),
            "retry_after": rng.choice((None, None, 1)),
            "forwarded": rng.random() < 0.5,
        },
    ),
    Kind("reset before", "reset", ("read", "write", "watch")),
    Kind("reset after", "reset", ("read", "write", "write", "write"), lambda rng: {"forwarded": True}),
    Kind("close before", "close", ("read", "write", "watch")),
    Kind("close after", "close", ("read", "write", "write", "write"), lambda rng: {"forwarded": True}),
    Kind("half an answer", "truncate", ("read", "write", "watch")),
    Kind("slow", "slow", ("read", "write", "watch"), lambda rng: {"delay": rng.uniform(0.2, 2.5)}),
    Kind("watch cut", "drop", ("watch",), lambda rng: {"events": rng.randint(0, 2)}),
    Kind("watch 410", "expire", ("watch",), lambda rng: {"events": rng.randint(0, 2)}),
    Kind("410", "status", ("watch",), lambda rng: {"code": 410}),
    Kind("409", "status", ("write",), lambda rng: {"code": 409}),
)


def _arm(proxy: ApiProxy, rng: random.Random) -> tuple[str, Fault]:
    """A random fault and its description."""
    kind = rng.choice(KINDS)
    where = rng.choice(kind.where)
    settings = kind.draw(rng) | {"times": rng.choice((1, 1, 2, 3)), "skip": rng.randint(0, 3)}
    if where == "write":
        settings |= {"dry_run": rng.choice((True, False, False)), "skip": rng.choice((0, 0, 1))}
    method = WRITE if where == "write" else READ
    fault = proxy.fault(kind.fault, method=method, watch=where == "watch", **settings)
    return f"{kind.name} at a {where}, {settings}", fault


def fault(ground: Ground, module: str, case: str, rng: random.Random) -> Outcome | None:
    """One case with one or two faults, half of them over TLS; None when no request was struck."""
    task = ground.task(rng, module)
    with ApiProxy(ground.cluster.kubeconfig, tls=rng.random() < 0.5) as proxy:
        armed = [_arm(proxy, rng) for _ in range(rng.choice((1, 1, 2)))]
        what = f"{'TLS' if proxy.tls else 'HTTP'}: {'; '.join(text for text, _fault in armed)}"
        outcome = ground.trial(
            case, what, task, lambda: ground.start(task, proxy.kubeconfig), _lines(proxy.client_key), _idle(proxy)
        )
        return outcome if any(one.hits for _text, one in armed) else None


def kill(ground: Ground, module: str, case: str, rng: random.Random) -> Outcome | None:
    """One case in which the process is killed: before or after a random request, or after a random time.

    None when it had ended before. The second run over TLS must leave no key of the first one behind.
    """
    task = ground.task(rng, module)
    aimed, started = rng.random() < 0.6, threading.Event()
    running: list[Run] = []

    def strike() -> None:
        started.wait(10)
        running[0].kill()

    with (
        ApiProxy(ground.cluster.kubeconfig, tls=rng.random() < 0.7) as proxy,
        tempfile.TemporaryDirectory(prefix="chaos-") as temporary,
    ):
        if aimed:
            method, skip, after = rng.choice((READ, WRITE, WRITE)), rng.randint(0, 2), rng.random() < 0.5
            armed = proxy.meanwhile(strike, method=method, skip=skip, forwarded=after)
            what = f"kill -9 {'after' if after else 'before'} {method} number {skip}"
        else:
            delay = 10 ** rng.uniform(-2.5, 0.2)
            what = f"kill -9 after {delay:.3f} s"

        def begin() -> Run:
            run = ground.start(task, proxy.kubeconfig, temporary)
            running.append(run)
            started.set()
            if not aimed:
                time.sleep(delay)
                run.kill()
            return run

        outcome = ground.trial(case, what, task, begin, _lines(proxy.client_key), _idle(proxy))
        if outcome.said or not outcome.healed or (aimed and not armed.hits):
            return outcome if outcome.wrong else None
        again = ground.start(task, proxy.kubeconfig, temporary).wait(60)
        left = _keys(Path(temporary))
        if again.result is None or again.result.get("failed") or again.result.get("changed") or left:
            text = f"the third run: {(again.result or {}).get('msg')}; keys left behind: {left}"
            return Outcome(case, what, (*outcome.wrong, text), True)
        return outcome


def restart(ground: Ground, module: str, case: str, rng: random.Random) -> Outcome:
    """One case in which the API server is killed and comes back."""
    task = ground.task(rng, module)
    moment, down = 10 ** rng.uniform(-2, 0.3), rng.uniform(0, 4)

    def begin() -> Run:
        run = ground.start(task, ground.cluster.kubeconfig)
        time.sleep(moment)
        ground.cluster.kill("kube-apiserver")
        time.sleep(down)
        ground.cluster.launch("kube-apiserver")
        return run

    what = f"API server killed after {moment:.2f} s, down for {down:.1f} s"
    return ground.trial(case, what, task, begin)


def _idle(proxy: ApiProxy) -> Callable[[], bool]:
    """Whether the API server has answered everything: what a killed process has sent may still be under way."""
    return lambda: all(one.finished is not None or one.watch for one in proxy.requests)


def _lines(key: str) -> list[str]:
    """The content of a key that no output may contain."""
    return key.splitlines()[1:2]


def _keys(folder: Path) -> list[str]:
    """Files with a key in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if b"PRIVATE KEY" in path.read_bytes()]


CASES: dict[str, Callable[[Ground, str, str, random.Random], Outcome | None]] = {
    "fault": fault,
    "kill": kill,
    "restart": restart,
}


def run(ground: Ground, tallies: list[Tally], seed: str, clock: Clock) -> None:
    """Cases of all tallies in turn, until each has what it aims at or the time is over.

    A case is drawn from the seed and its own name only, so it can be repeated alone.
    """
    numbers = dict.fromkeys(map(id, tallies), 0)
    while open_ := [one for one in tallies if one.tried < one.aim]:
        for tally in open_:
            if clock.over:
                return
            numbers[id(tally)] += 1
            case = f"{tally.kind}/{tally.module}/{numbers[id(tally)]}"
            outcome = CASES[tally.kind](ground, tally.module, case, random.Random(f"{seed}/{case}"))
            if outcome is not None:
                tally.add(outcome)
