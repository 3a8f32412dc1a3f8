# SPDX-License-Identifier: GPL-3.0-or-later
"""One case: a task, what is done to it, and the judgement from outside.

A case is *converged* when the task succeeded and everything it asked for is true; *healed* when it failed (or was
killed), said nothing untrue, and a plain second run made everything true; anything else is *wrong*.
"""

from __future__ import annotations

import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.process import Ended, Run, Runner
from tests.chaos.truth import JSON, Bucket, Goal, Limits, Pruner, PullSecrets, Storage, Task, World
from tests.cluster import Cluster

WAIT = 40
"""wait_timeout of every task, in seconds; all of them need a few."""
SLACK = 40.0
"""Seconds that a task may take beyond it: two requests may be repeated for 20 s each before the wait begins."""
NAMESPACES = 3
"""Namespaces of a ground that limits are set in."""
_BLAME = re.compile(r"is not valid|Invalid value|not allowed|is not a URL|not trusted|does not resolve", re.IGNORECASE)
"""What a message would blame on the user; every task here is valid, and allowed."""
_NOTHING = re.compile(r"nothing (was|had been) written", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How one case ended. wrong: what was untrue. said: the task's message, where it failed."""

    case: str
    what: str
    wrong: tuple[str, ...]
    healed: bool
    said: str = ""


class Ground:
    """A cluster that cases take place on, one after the other; draws the tasks."""

    def __init__(self, cluster: Cluster, runner: Runner, logs: Path) -> None:
        self.cluster, self.runner, self.logs = cluster, runner, logs
        self.world = World(cluster.kubeconfig)
        pace = {"lab.alauda.io/ready-after": "100ms", "lab.alauda.io/gone-after": "100ms"}
        self.world.merge("Node", "lab-node", {"metadata": {"annotations": pace}})
        run = uuid.uuid4().hex[:6]
        self.claims = tuple(f"chaos-{run}-{number}" for number in range(3))
        self.namespaces = tuple(f"chaos-{run}-{number}" for number in range(2 * NAMESPACES))
        for name in self.namespaces:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.world.create("/api/v1/namespaces", body)
        made = cluster.s3.bucket(f"chaos-{run}")
        other = cluster.s3.new_key(f"{made.name}-user")
        keys = ((made.access_key, made.secret_key), (other.access_key, other.secret_key))
        self.buckets = tuple(Bucket(made.name, made.region, made.endpoint, *key) for key in keys)
        first = Task("registry_storage", (Storage(redirect=False, cpu="1m"),))
        ended = self.start(first, cluster.kubeconfig).wait(WAIT + SLACK)
        assert not first.missing(self.world), ended.output

    def task(self, rng: random.Random, module: str) -> Task:
        """A random task of a module; most of them differ from what is there."""
        if module == "registry":
            return Task(module, tuple(self._goal(rng, one, NAMESPACES) for one in _DRAWN))
        return Task(module, (self._goal(rng, module, 0),))

    def _goal(self, rng: random.Random, module: str, first: int) -> Goal:
        if module == "registry_storage":
            where = rng.choice(("", "pvc", "pvc", "s3", "s3"))
            return Storage(
                redirect=rng.random() < 0.5,
                cpu=f"{rng.randint(1, 99)}m",
                replicas=rng.randint(1, 2) if where else 1,
                claim=rng.choice(self.claims) if where == "pvc" else "",
                bucket=rng.choice(self.buckets) if where == "s3" else None,
                claims=self.claims,
            )
        if module == "registry_pullsecret":
            hosts = {f"r{rng.randint(0, 99)}.example.com:{rng.choice((443, 5000))}" for _ in range(rng.randint(1, 4))}
            ignored = rng.sample(("kube-public", "kube-node-lease", "absent"), rng.randint(0, 2))
            served = rng.choice((*self.namespaces[:2], ""))
            return PullSecrets(tuple(sorted(hosts)), tuple(sorted(ignored)), served)
        if module == "image_limits":
            some = self.namespaces[first : first + rng.randint(1, NAMESPACES)]
            absent = not first and rng.random() < 0.2
            return Limits(some, "" if absent else str(rng.randint(1, 10**6)), f"{rng.randint(1, 999)}Mi")
        minute, hour = rng.randint(0, 59), rng.randint(0, 23)
        return Pruner(f"{minute} {hour} * * *", rng.random() < 0.5, rng.randint(0, 9), rng.randint(1, 99))

    def start(self, task: Task, kubeconfig: str | Path, temporary: str = "") -> Run:
        """Start a task."""
        given = {"kubeconfig": str(kubeconfig), "wait_timeout": WAIT, **task.options()}
        return self.runner.module(task.module, given, temporary=temporary)

    def _sound(self) -> bool:
        """Whether Nodes and scheduler have got over what was done: every task here can be scheduled."""
        taken = [one["type"] for one in self.world.conditions("Node", "lab-node") if one["status"] == "True"]
        conditions = [one for pod in self.world.pods() for one in pod["status"].get("conditions") or []]
        return "Ready" in taken and not any(one.get("reason") == "Unschedulable" for one in conditions)

    def trial(
        self,
        case: str,
        what: str,
        task: Task,
        begin: Callable[[], Run],
        secrets: Sequence[str] = (),
        idle: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """Run a task that something is done to, judge it, and have a plain second run heal what failed.

        begin: starts the run and does it. idle: whether nothing that the run has sent is under way any more.
        """
        before = task.owned(self.world)
        run = begin()
        ended = run.wait(WAIT + SLACK)
        _await(idle, SLACK)
        wrong = self._untrue(task, before, ended, secrets)
        text = f"{what}\n{task.module} {task.options()}\n\n{ended.output}\n"
        failed = ended.result is None or bool(ended.result.get("failed"))
        if failed:
            _await(self._sound, 2 * SLACK)
            before = task.owned(self.world)
            second = self.start(task, self.cluster.kubeconfig).wait(WAIT + SLACK)
            text += f"second run\n{second.output}\n"
            if second.result is None or second.result.get("failed"):
                wrong.append(
                    f"the second run does not heal it: {(second.result or {}).get('msg', second.output)[-300:]}"
                )
            wrong += [f"second run: {one}" for one in self._untrue(task, before, second, secrets)]
        if wrong:
            (self.logs / f"{case.replace('/', '-')}.txt").write_text("\n".join([*wrong, "", text]), encoding="utf-8")
        return Outcome(case, what, tuple(wrong), failed, str((ended.result or {}).get("msg", "")))

    def _untrue(self, task: Task, before: JSON, ended: Ended, secrets: Sequence[str]) -> list[str]:
        """What a run has said, or done, that is not so."""
        wrong = []
        if ended.hung:
            wrong.append(f"it did not end within {WAIT + SLACK:.0f} s")
        if "Traceback" in ended.output:
            wrong.append(f"a traceback: {ended.output.strip().splitlines()[-1][:200]}")
        if any(secret in ended.output for secret in (*task.secrets(), *secrets)):
            wrong.append("a secret is in the output")
        result = ended.result
        if result is None:
            return wrong  # killed: it has said nothing
        changed = {key for key, value in task.owned(self.world).items() if value != before[key]}
        if bool(result.get("changed")) is not bool(changed):
            wrong.append(
                f"changed: {result.get('changed')}, but what differs is: {', '.join(sorted(changed)) or 'nothing'}"
            )
        message = str(result.get("msg", ""))
        if not result.get("failed"):
            missing = task.missing(self.world)
            if missing:
                wrong.append(f"done, but {'; '.join(missing)}")
            return wrong
        if changed and _NOTHING.search(message):
            wrong.append(f"says that nothing was written, but {', '.join(sorted(changed))} differs: {message[:200]}")
        if _BLAME.search(message):
            wrong.append(f"blames the task for the fault: {message[:300]}")
        return wrong


def _await(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition; what does not become true shows in the case itself."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


_DRAWN = ("registry_storage", "registry_pullsecret", "image_limits", "image_pruner")


@dataclass
class Tally:
    """The outcomes of one kind of case for one module. aim: how many are to be tried."""

    kind: str
    module: str
    aim: int
    tried: int = 0
    healed: int = 0
    wrong: list[Outcome] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        with self.lock:
            self.tried += 1
            if outcome.wrong:
                self.wrong.append(outcome)
            elif outcome.healed:
                self.healed += 1

    @property
    def converged(self) -> int:
        """Cases in which the task succeeded truthfully."""
        return self.tried - self.healed - len(self.wrong)


@dataclass(frozen=True)
class Clock:
    """The end of the campaign, by the monotonic clock."""

    end: float

    @property
    def over(self) -> bool:
        """Whether no case may begin any more."""
        return time.monotonic() >= self.end
