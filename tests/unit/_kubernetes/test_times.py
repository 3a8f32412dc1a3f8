# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as the cluster writes them; anything else is not a time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.times import answered_at, moment

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000000Z", "2026-01-01T13:00:00+01:00"])
def test_a_time_of_an_object(text: str) -> None:
    assert moment(text) == NOON


@pytest.mark.parametrize("text", [None, "", 5, {}, "soon", "2026-01-01T12:00:00", "2026-13-01T12:00:00Z"])
def test_without_a_time_zone_it_is_not_one(text: object) -> None:
    assert moment(text) is None


@pytest.mark.parametrize("text", ["Thu, 01 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 12:00:00 -0000"])
def test_the_date_of_an_answer(text: str) -> None:
    assert answered_at({"date": text}) == NOON


@pytest.mark.parametrize(
    "text", ["", "soon", "Thu, 99 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 12:00:00 +99999999999"]
)
def test_an_answer_without_a_date(text: str) -> None:
    assert answered_at({"date": text}) is None
    assert answered_at({}) is None


@given(st.text())
def test_any_text_may_be_given(text: str) -> None:
    for found in (moment(text), answered_at({"date": text})):
        assert found is None or found.tzinfo is not None
