# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities as Kubernetes reads them, durations as Go does."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    format_duration,
    parse_duration,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("1000m", "1"),
        (1, "1"),
        (0.5, "0.5"),
        ("1024Mi", "1073741824"),
        ("1Gi", "1073741824"),
        ("1G", "1000000000"),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("1.5Gi", "1610612736"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-100u", "-0.0001"),
        ("+7n", "0.000000007"),
        ("0.1n", "0.000000001"),
        ("-0.1n", "-0.000000001"),
        ("0", "0"),
    ],
)
def test_quantities_by_value(text: object, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "1 Gi",
        "1gi",
        "1KI",
        "1mm",
        "--1",
        "1e",
        "e3",
        "0x10",
        "1,5",
        "٣",
        "1e999999999",
        True,
        None,
        [],
        "1" * 500,
    ],
)
def test_bad_quantities_are_named(text: object) -> None:
    with pytest.raises(ValueError, match=r"quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("60m", "1h0m0s"),
        ("1h30m", "1h30m0s"),
        ("60s", "1m0s"),
        ("1m", "1m0s"),
        ("72h", "72h0m0s"),
        ("0", "0s"),
        ("0s", "0s"),
        ("1.5s", "1.5s"),
        (".5h", "30m0s"),
        ("-90s", "-1m30s"),
        ("+1s", "1s"),
        ("1500ms", "1.5s"),
        ("1ns", "1ns"),
        ("1500ns", "1.5µs"),
        ("1us", "1µs"),
        ("1µs", "1µs"),
        ("1μs", "1µs"),
        ("2ms500us", "2.5ms"),
        ("1h0.000000001s", "1h0m0.000000001s"),
        ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
    ],
)
def test_durations_by_value_and_in_go_form(text: str, canonical: str) -> None:
    assert format_duration(parse_duration(text)) == canonical


@pytest.mark.parametrize(
    "text", ["", "60", "1d", "1h 30m", "m", ".s", "-", "1.2.3s", "1H", "٣s", "9999999999h", 60, None, True]
)
def test_bad_durations_are_named(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@given(st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
def test_a_formatted_duration_can_be_parsed_again(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.decimals(min_value=-(10**18), max_value=10**18, places=9, allow_nan=False, allow_infinity=False))
def test_a_quantity_is_its_number_times_its_suffix(number: Decimal) -> None:
    plain = format(number, "f")
    for suffix, factor in (("", 1), ("k", 1000), ("Ki", 1024), ("e2", 100)):
        assert Fraction(parse_quantity(plain + suffix)) == Fraction(number) * factor


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_with_a_value_error(text: str) -> None:
    for parse in (parse_quantity, parse_duration):
        with contextlib.suppress(ValueError):
            parse(text)
