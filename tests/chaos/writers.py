# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tasks that change one list at the same time: half of them add an entry, half remove one."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.cases import SLACK, WAIT, Ground, Outcome, Tally
from tests.chaos.process import Ended
from tests.cluster.operator_simulator.names import SINGLETON

KEPT = "kept.example.com"


def run(ground: Ground, tally: Tally, seed: str) -> None:
    """`tally.aim` processes at the same time; whoever fails runs once more alone; every entry is judged at the end."""
    rng = random.Random(f"{seed}/writers")
    adding = [f"new-{number}.example.com" for number in range(tally.aim // 2)]
    removing = [f"old-{number}.example.com" for number in range(tally.aim - len(adding))]
    world = ground.world
    world.merge("Config", SINGLETON, {"spec": {"imagePullSecret": {"additionalRegistryHosts": [KEPT, *removing]}}})
    tasks = [(host, "merge") for host in adding] + [(host, "remove") for host in removing]
    rng.shuffle(tasks)

    def one(task: tuple[str, str]) -> Ended:
        host, mode = task
        given = {"kubeconfig": str(ground.cluster.kubeconfig), "additional_registry_hosts": [host], "list_mode": mode}
        return ground.runner.module("registry_pullsecret", {**given, "wait_timeout": WAIT}).wait(3 * (WAIT + SLACK))

    with ThreadPoolExecutor(len(tasks)) as pool:
        ends = list(pool.map(one, tasks))
    held = set(_hosts(ground))
    again = {task: one(task) for task, ended in zip(tasks, ends, strict=True) if _failed(ended)}
    healed = set(_hosts(ground))
    for task, ended in zip(tasks, ends, strict=True):
        host, mode = task
        wrong = []
        effect = (host in held) is (mode == "merge")
        if ended.hung or "Traceback" in ended.output or ended.result is None:
            wrong.append(f"hung or a traceback: {ended.output[-200:]}")
        elif bool(ended.result.get("changed")) is not effect:
            wrong.append(f"changed: {ended.result.get('changed')}, but the entry says {effect}")
        if not _failed(ended) and not effect:
            wrong.append("done, but the entry was lost")
        if task in again and (_failed(again[task]) or (host in healed) is not (mode == "merge")):
            wrong.append(f"the second run does not heal it: {again[task].output[-200:]}")
        if wrong:
            (ground.logs / f"writers-{host}.txt").write_text(ended.output, encoding="utf-8")
        said = str((ended.result or {}).get("msg", ""))
        tally.add(Outcome(f"writers/{host}", mode, tuple(wrong), task in again, said))
    if KEPT not in healed or (more := healed - {KEPT, *adding}):
        text = f"what nobody touched was lost or appeared: {KEPT in healed}, {sorted(more)}"
        tally.wrong.append(Outcome("writers/kept", "", (text,), False))


def _hosts(ground: Ground) -> list[str]:
    settings = ground.world.spec("Config", SINGLETON).get("imagePullSecret") or {}
    return list(settings.get("additionalRegistryHosts") or [])


def _failed(ended: Ended) -> bool:
    return ended.result is None or bool(ended.result.get("failed"))
