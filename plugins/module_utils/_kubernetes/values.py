# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities, durations, and whether two differently written values of a spec mean the same.

Paths are tuples of keys relative to ``spec``, for example ``("resources", "limits", "cpu")``; ``"[]"`` stands for the
elements of a list.

An operator that writes a whole spec back from Go structs changes its spelling: ``false``, empty strings, lists and maps
disappear, durations and quantities become canonical, and zero structs such as ``trustedCA: {name: ""}`` appear. None of
that counts as a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from enum import Enum
from typing import Any

Path = tuple[str, ...]

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(.*)", re.ASCII | re.DOTALL)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_DECIMAL_SUFFIX = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LARGEST_EXPONENT = 60
_LONGEST_NUMBER = 200
_WIDE = Context(prec=2 * _LONGEST_NUMBER)

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART = re.compile(
    rf"([0-9]{{0,{_LONGEST_NUMBER}}})(?:\.([0-9]{{0,{_LONGEST_NUMBER}}}))?([a-z\u00b5\u03bc]{{1,2}})", re.ASCII
)
_LARGEST_DURATION = 2**63 - 1


class Kind(Enum):
    """What a field holds, where its JSON type alone does not tell."""

    BY_TYPE = "by type"
    QUANTITY = "quantity"
    DURATION = "duration, absent is zero"
    OPTIONAL_DURATION = "duration, absent is not zero"
    OPTIONAL_NUMBER = "number, absent is zero"
    PRESENCE = "object that matters even when empty"
    TEXT = "text, empty is not absent"
    LOG_LEVEL = "log level, absent is Normal"


@dataclass(frozen=True)
class Fields:
    """What has to be known about the fields of a spec in order to compare and patch it.

    kind_of: what the field at a path holds. atomic: objects that a desired state always describes completely.
    """

    kind_of: Callable[[Path], Kind]
    atomic: frozenset[Path] = frozenset()


def parse_quantity(value: object) -> Decimal:
    """The exact value of a Kubernetes quantity such as ``500m``, ``1Gi``, ``1e3`` or the number 2.

    Like Kubernetes, anything finer than a billionth is rounded away from zero.
    Raises ValueError when it is not a quantity.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{value!r} is not a quantity: expected a number or text such as 500m, 2 or 1Gi")
    text = str(value)
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{text[:80]!r} is not a quantity: expected a number and a suffix, as in 500m or 1Gi")
    digits, suffix = match.groups()
    exponent = _EXPONENT.fullmatch(suffix)
    with localcontext(_WIDE):
        number = Decimal(digits)
        if suffix in _BINARY_SUFFIX:
            number *= 2 ** _BINARY_SUFFIX[suffix]
        elif suffix in _DECIMAL_SUFFIX:
            number = number.scaleb(_DECIMAL_SUFFIX[suffix])
        elif exponent is not None:
            power = int(exponent.group(1)) if len(exponent.group(1)) < 6 else _LARGEST_EXPONENT + 1
            if abs(power) > _LARGEST_EXPONENT:
                raise ValueError(f"{text!r} is out of range for a quantity: the exponent must be within \u00b160")
            number = number.scaleb(power)
        else:
            known = ", ".join(suffix for suffix in (*_DECIMAL_SUFFIX, *_BINARY_SUFFIX) if suffix)
            raise ValueError(
                f"{text!r} is not a quantity: unknown suffix {suffix!r} (known: {known} and exponents like e3)"
            )
        finest = Decimal(1).scaleb(-9)
        if number != number.quantize(finest, rounding=ROUND_FLOOR):
            number = number.quantize(finest, rounding=ROUND_CEILING if number > 0 else ROUND_FLOOR)
        return number.normalize()


def parse_duration(value: object) -> int:
    """Nanoseconds of a Go duration such as ``60m``, ``1h30m``, ``1.5s`` or ``0``.

    Raises ValueError when it is not a duration, has no unit, or does not fit into 64 bits.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration: expected text such as 60m or 1h30m")
    body = value[1:] if value[:1] in ("+", "-") else value
    if body == "0":
        return 0
    total = position = 0
    while position < len(body):
        match = _DURATION_PART.match(body, position)
        if match is None or not (match.group(1) or match.group(2)):
            break
        whole, fraction, unit = match.groups()
        if unit not in _NANOSECONDS or len(whole) > _LONGEST_NUMBER or len(fraction or "") > _LONGEST_NUMBER:
            break
        total += int(whole or "0") * _NANOSECONDS[unit]
        if fraction:
            total += int(fraction) * _NANOSECONDS[unit] // 10 ** len(fraction)
        position = match.end()
    if not body or position < len(body):
        raise ValueError(
            f"{value[:80]!r} is not a duration: expected numbers with units (ns, us, ms, s, m, h), as in 60m or 1h30m"
        )
    if total > _LARGEST_DURATION:
        raise ValueError(f"{value[:80]!r} is too long for a duration: at most {format_duration(_LARGEST_DURATION)}")
    return -total if value[0] == "-" else total


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it and an operator writes it back: 3600000000000 -> ``1h0m0s``."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", 1), ("\u00b5s", 1_000), ("ms", 1_000_000)):
        if rest < size * 1_000 and rest < _NANOSECONDS["s"]:
            return f"{sign}{_with_fraction(rest, size)}{unit}"
    minutes, rest = divmod(rest, _NANOSECONDS["m"])
    seconds = f"{_with_fraction(rest, _NANOSECONDS['s'])}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _with_fraction(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def canonical(fields: Fields, path: Path, value: object, strict: bool = True) -> Any:
    """What ``value`` means at ``path``, in a form that can be compared; None when it means the same as absent.

    strict: raise a ValueError that names the field when it cannot hold the value; otherwise such a value is compared as
    it is written.
    """
    if value is None:
        return None
    kind = fields.kind_of(path)
    try:
        if kind is Kind.QUANTITY:
            return parse_quantity(value)
        if kind in (Kind.DURATION, Kind.OPTIONAL_DURATION):
            return parse_duration(value) or (0 if kind is Kind.OPTIONAL_DURATION else None)
    except ValueError as error:
        if strict:
            raise ValueError(f"{'.'.join(path)}: {error}") from None
        return ("unreadable", repr(value))
    if isinstance(value, bool):
        return value or None
    if isinstance(value, str):
        if kind is Kind.LOG_LEVEL:
            return None if value in ("", "Normal") else value
        return value if value or kind is Kind.TEXT else None
    if isinstance(value, (int, float)):
        return ("number", value) if value or kind is not Kind.OPTIONAL_NUMBER else None
    if isinstance(value, Mapping):
        members = {key: canonical(fields, (*path, key), member, strict) for key, member in value.items()}
        members = {key: member for key, member in members.items() if member is not None}
        return members if members or kind is Kind.PRESENCE else None
    if isinstance(value, (list, tuple)):
        items = [canonical(fields, (*path, "[]"), item, strict) for item in value]
        return ["(empty)" if item is None else item for item in items] or None
    raise ValueError(f"{'.'.join(path)}: a spec cannot contain a value of type {type(value).__name__}")


def same(fields: Fields, path: Path, wanted: object, live: object) -> bool:
    """Whether ``wanted`` and ``live`` mean the same at ``path``; None on either side means absent.

    Raises ValueError when the field cannot hold ``wanted``; ``live`` is never rejected.
    """
    return bool(canonical(fields, path, wanted) == canonical(fields, path, live, strict=False))
