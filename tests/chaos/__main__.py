# SPDX-License-Identifier: GPL-3.0-or-later
"""`make chaos`: the whole campaign on two embedded clusters, twelve minutes at most; ends with a table.

python -m tests.chaos [--seed N] [--minutes 12] [--only KIND …] [--case fault/image_limits/17]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.chaos import faults, hostile, writers
from tests.chaos.cases import Clock, Ground, Tally
from tests.chaos.process import NAMES, ROOT, Runner
from tests.cluster import Cluster

AIMS = {"fault": 40, "kill": 12, "restart": 2, "writers": 110, "hostile": 3000}
"""Cases of each kind: of each module, except for writers."""
LANES = (("registry_storage", "image_limits", "image_pruner"), ("registry", "registry_pullsecret"))
"""What takes place on each cluster, one case after the other. Two lanes: both have Config, and must not meet."""
LOGS = ROOT / ".cache" / "chaos"


def show(text: str = "") -> None:
    """Print a line immediately."""
    print(text, flush=True)


def tallies(aims: dict[str, int], only: Sequence[str]) -> dict[str, list[Tally]]:
    """What is to be tried, by kind."""
    found: dict[str, list[Tally]] = {}
    for kind, aim in aims.items():
        if kind in (only or aims):
            modules = ("registry_pullsecret",) if kind == "writers" else NAMES
            found[kind] = [Tally(kind, module, aim) for module in modules]
    return found


def campaign(grounds: Sequence[Ground], todo: dict[str, list[Tally]], seed: str, clock: Clock) -> None:
    """Run everything; the lanes at the same time. The API servers are restarted while nothing else runs."""
    lanes = LANES if len(grounds) > 1 else (NAMES,)

    def cases(*kinds: str) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for ground, modules in zip(grounds, lanes, strict=True):
            mine = [one for kind in kinds for one in todo.get(kind, []) if one.module in modules]
            found.append(partial(faults.run, ground, mine, seed, clock))
        return found

    def inputs() -> None:
        for tally in todo.get("hostile", []):
            hostile.run(grounds[0], tally, seed, clock)

    _all(cases("restart"))
    for tally in todo.get("writers", []):
        writers.run(grounds[-1], tally, seed)
    _all([*cases("fault", "kill"), inputs])


def _all(work: Sequence[Callable[[], None]]) -> None:
    """Do everything at the same time; raises what one of them raises."""
    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(one) for one in work]:
            done.result()


def table(todo: dict[str, list[Tally]]) -> Iterator[str]:
    """The result, line by line."""
    yield f"{'':10}{'':22}{'tried':>8}{'converged':>11}{'failed truthfully, healed':>27}{'wrong':>7}"
    for kind, found in todo.items():
        for one in found:
            short = f"  ({one.aim} wanted)" if one.tried < one.aim else ""
            counts = f"{one.tried:8}{one.converged:11}{one.healed:27}{len(one.wrong):7}"
            yield f"{kind:10}{one.module:22}{counts}{short}"
    for found in todo.values():
        for tally in found:
            for outcome in tally.wrong:
                yield f"wrong: {outcome.case} ({outcome.what[:150]})"
                yield from (f"    {text}" for text in outcome.wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when nothing was wrong and everything was tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--only", action="append", choices=list(AIMS), default=[])
    parser.add_argument("--case", help="repeat one case of a seed, such as fault/image_limits/17")
    options = parser.parse_args(argv)
    begin = time.monotonic()
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    show(f"seed {options.seed}: SEED={options.seed} repeats it; the outputs of what is wrong: {LOGS}")
    # What has begun must also end: a case takes a minute and a half at the very most.
    clock = Clock(begin + 60 * options.minutes - 100)
    todo = tallies(AIMS, options.only)
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(Runner())
        with ThreadPoolExecutor(len(LANES)) as pool:
            clusters = [Cluster(name=f"chaos-{number}-{int(begin)}", s3=True) for number in range(len(LANES))]
            list(pool.map(stack.enter_context, clusters))
        grounds = [Ground(cluster, runner, LOGS) for cluster in clusters]
        show(f"{len(grounds)} clusters are up after {time.monotonic() - begin:.0f} s")
        if options.case:
            return _one(grounds[0], options.case, options.seed)
        campaign(grounds, todo, options.seed, clock)
    show("\n".join(table(todo)))
    found = [one for tally in todo.values() for one in tally]
    wrong, short = sum(len(one.wrong) for one in found), [one for one in found if one.tried < one.aim]
    show(f"seed {options.seed}: {wrong} wrong, in {(time.monotonic() - begin) / 60:.1f} minutes")
    return 1 if wrong or short else 0


def _one(ground: Ground, case: str, seed: str) -> int:
    """Repeat one case alone and show all of it."""
    kind, module, number = case.split("/")
    if kind == "hostile":
        call = {"module": module, "kubeconfig": str(ground.cluster.kubeconfig), "seed": seed}
        numbers = {"start": int(number), "stop": int(number) + 1}
        show(ground.runner.call("tests.chaos.hostile:batch", **call, **numbers).wait(60).output)
        return 0
    outcome = faults.CASES[kind](ground, module, case.replace("/", "-"), random.Random(f"{seed}/{case}"))
    show(str(outcome))
    return 1 if outcome is not None and outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
