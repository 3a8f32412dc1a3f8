# SPDX-License-Identifier: GPL-3.0-or-later
"""A small slice of the campaign that `make chaos` runs: every kind of case over every module, always the same seed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.chaos.__main__ import campaign, table, tallies
from tests.chaos.cases import Clock, Ground
from tests.chaos.process import Runner
from tests.integration.conftest import Lab

pytestmark = pytest.mark.cluster

AIMS = {"fault": 3, "kill": 1, "writers": 8, "hostile": 60}
SECONDS = 600
"""The slice needs well under a minute; on a busy machine it may take longer, and is cut off only then."""


def test_nothing_is_wrong_in_a_slice_of_the_campaign(lab: Lab, tmp_path: Path) -> None:
    seed = os.environ.get("SEED", "1")
    todo = tallies(AIMS, [])
    with Runner() as runner:
        campaign([Ground(lab.cluster, runner, tmp_path)], todo, seed, Clock(time.monotonic() + SECONDS))
    lines = "\n".join(table(todo))
    print(f"\nseed {seed}\n{lines}")
    found = [one for kind in todo.values() for one in kind]
    assert not [outcome for one in found for outcome in one.wrong], f"seed {seed}\n{lines}"
    assert all(one.tried >= one.aim for one in found), f"seed {seed}\n{lines}"
