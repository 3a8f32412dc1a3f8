# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules that are valid and never come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.cron import never_runs


@pytest.mark.parametrize(
    ("schedule", "never"),
    [
        ("0 0 31 2 *", True),
        ("0 0 30 feb *", True),
        ("0 0 30,31 2 *", True),
        ("0 0 31 2,4,6,9,11 *", True),
        ("0 0 31 4-4 ?", True),
        ("0 0 30/1 2 *", True),
        ("0 0 29 2 *", False),
        ("0 0 31 2 1", False),
        ("0 0 31 1-12 *", False),
        ("0 0 1-31 2 *", False),
        ("0 0 * * *", False),
        ("0 0 31 */2 *", False),
        ("@daily", False),
        ("0 0 31 2", False),
        ("0 0 L 2 *", False),
        ("0 0 31/0 2 *", False),
    ],
)
def test_days_that_no_year_has(schedule: str, never: bool) -> None:
    """A leap day comes; a day of the week comes whatever the day of the month says."""
    assert never_runs(schedule) is never


@given(st.text(alphabet="0123456789*/,-? @Lfebjan", max_size=60))
def test_anything_is_read_or_left_alone(text: str) -> None:
    """The API server judges whether it is valid."""
    assert isinstance(never_runs(text), bool)
