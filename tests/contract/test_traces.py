# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recording of the genuine operator, replayed against the simulator. See `recording` for what counts as equal.

A sequence that differs must be listed in ``deviations.yaml`` with its reason; an entry there that is no
longer needed fails as well. At the end a table is printed: recording, recorded values compared, deviations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster

from . import recording
from .conftest import REPORTS
from .recording import Comparison
from .replay import RECORDED_ADDRESSES, SCALE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DEVIATIONS = Path(__file__).with_name("deviations.yaml")


@dataclass(frozen=True)
class Deviation:
    """One entry of ``deviations.yaml``: tracks of an object that may differ from one recording, and why."""

    trace: str
    object: str
    tracks: tuple[str, ...]
    reason: str


@dataclass
class Ledger:
    """What was compared so far, and which deviations were needed."""

    allowed: list[Deviation]
    results: dict[str, Comparison] = field(default_factory=dict)

    def excused(self, trace: str) -> set[tuple[str, str]]:
        """Objects and tracks of a recording that may differ."""
        return {(entry.object, track) for entry in self.allowed if entry.trace == trace for track in entry.tracks}

    def table(self) -> str:
        """Recording, values compared, deviations."""
        rows = [f"{'recording':32}{'compared':>10}{'deviations':>12}"]
        for name, result in sorted(self.results.items()):
            rows.append(f"{name:32}{result.steps:>10}{len(result.differences):>12}")
        total = sum(result.steps for result in self.results.values())
        deviations = sum(len(result.differences) for result in self.results.values())
        return "\n".join([*rows, f"{f'{len(self.results)} recordings':32}{total:>10}{deviations:>12}"])


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    entries = yaml.safe_load(DEVIATIONS.read_text(encoding="utf-8"))["deviations"]
    result = Ledger([Deviation(**{**entry, "tracks": tuple(entry["tracks"])}) for entry in entries])
    request.config.stash[REPORTS]["Recordings of the operator against the simulator"] = result.table
    return result


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Cluster(time_scale=SCALE, s3=True) as cluster:
        stage = Stage(cluster)
        yield stage
        stage.close()


@pytest.mark.parametrize("name", recording.names())
def test_trace(name: str, stage: Stage, ledger: Ledger) -> None:
    scenario = recording.load(name)
    excused = ledger.excused(name)
    # A recording that ends with an action shows that nothing reacted to it before the next retry. If that retry happens
    # to fall into the period that is compared, the scenario is repeated; an operator that does react always fails.
    attempts = 3 if scenario.lines[-1].kind == "Action" else 1
    for _ in range(attempts):
        lines = stage.replay(scenario, excused)
        result = recording.compare(scenario, lines, RECORDED_ADDRESSES, stage.addresses)
        if not result.differences:
            break
    ledger.results[name] = result
    unexpected = [item for item in result.differences if (item.kind, item.track) not in excused]
    assert not unexpected, "\n".join(str(item) for item in unexpected)


def test_every_deviation_is_needed_and_has_a_reason(ledger: Ledger) -> None:
    for entry in ledger.allowed:
        assert entry.trace in recording.names(), entry
        assert entry.object in recording.OBJECTS, entry
        assert len(entry.reason) > 20, entry
    unneeded = {
        name: ledger.excused(name) - {(item.kind, item.track) for item in result.differences}
        for name, result in ledger.results.items()
    }
    assert not any(unneeded.values()), (
        f"listed in {DEVIATIONS.name}, but the simulator agrees with the recording: {unneeded}"
    )
