# SPDX-License-Identifier: GPL-3.0-or-later
"""How Go prints what the operator writes back: durations and Kubernetes quantities."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_QUANTITY = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)$")
_BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as ``1h30m``; ValueError when it is not one."""
    rest = text[1:] if text[:1] in "+-" and text else text
    if rest == "0":
        return 0
    total, position = Fraction(0), 0
    for part in _PART.finditer(rest):
        if part.start() != position:
            break
        total += Fraction(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not rest or position != len(rest):
        raise ValueError(f'time: invalid duration "{text}"')
    return int(-total if text.startswith("-") else total)


def format_duration(nanoseconds: int) -> str:
    """The form Go prints: ``0s``, ``1.5s``, ``1m0s``, ``72h0m0s``."""
    if nanoseconds == 0:
        return "0s"
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if value < size * 1000:
            return f"{sign}{_number(Fraction(value, size))}{unit}"
    minutes, rest = divmod(value, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = _number(Fraction(rest, 10**9)) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def canonical_duration(text: str) -> str:
    """A duration as Go would write it back; absent and empty are zero."""
    return format_duration(parse_duration(text)) if text else "0s"


def canonical_quantity(value: object) -> str:
    """A quantity as Kubernetes writes it back (``1000m`` is ``1``, ``1024Mi`` is ``1Gi``); else ValueError."""
    match = _QUANTITY.match(str(value))
    if match is None:
        raise ValueError(f"not a quantity: {value!r}")
    sign, digits, suffix = match.groups()
    amount = Fraction(digits) * (-1 if sign == "-" else 1)
    if suffix in _BINARY[1:]:
        amount *= 1024 ** _BINARY.index(suffix)
        if abs(amount) >= 1024 and amount.denominator == 1:
            power = 0
            whole = amount.numerator
            while power < 6 and whole % 1024 == 0:
                whole //= 1024
                power += 1
            return f"{whole}{_BINARY[power]}"
    elif suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _decimal(amount * Fraction(10) ** int(suffix[1:]), exponent=True)
    elif suffix:
        amount *= Fraction(10) ** next(power for power, name in _DECIMAL.items() if name == suffix)
    return _decimal(amount, exponent=False)


def _decimal(amount: Fraction, exponent: bool) -> str:
    if amount == 0:
        return "0"
    # Nothing finer than nano exists; Kubernetes rounds away from zero.
    nano = amount * 10**9
    if nano.denominator != 1:
        away = nano.numerator // nano.denominator + (1 if nano > 0 else 0)
        amount = Fraction(away, 10**9)
    power = max(power for power in _DECIMAL if (amount / Fraction(10) ** power).denominator == 1)
    mantissa = (amount / Fraction(10) ** power).numerator
    if exponent:
        return f"{mantissa}e{power}" if power else str(mantissa)
    return f"{mantissa}{_DECIMAL[power]}"


def _number(value: Fraction) -> str:
    whole, rest = divmod(value.numerator, value.denominator)
    if not rest:
        return str(whole)
    return f"{whole}.{str(Fraction(rest * 10**9, value.denominator).numerator).rjust(9, '0')}".rstrip("0")
