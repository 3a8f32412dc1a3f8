# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CronJob's schedule means. Pure."""

from __future__ import annotations

_DAYS = {month: 30 if month in (4, 6, 9, 11) else 29 if month == 2 else 31 for month in range(1, 13)}
"""Month to its last day, in leap years."""
_MONTHS = {
    name: number
    for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)  # noqa: SIM905
}
_LONGEST = 200


def never_runs(schedule: str) -> bool:
    """Whether a valid schedule of five fields names only days that no year has, such as 31 February.

    The API server accepts it, and the CronJob never runs. False for anything that is not read with certainty.
    """
    fields = schedule.split() if len(schedule) <= _LONGEST else []
    if len(fields) != 5 or not fields[4].startswith(("*", "?")):
        return False  # a day of the week is enough by itself
    try:
        days, months = _values(fields[2], 31, {}), _values(fields[3], 12, _MONTHS)
    except ValueError:
        return False
    return bool(days and months) and not any(min(days) <= _DAYS[month] for month in months)


def _values(text: str, last: int, names: dict[str, int]) -> set[int]:
    """The numbers, from 1 to ``last``, that a field of a schedule stands for. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        begin, dash, end = span.partition("-")
        if begin in ("*", "?"):
            first, until = 1, last
        else:
            first = _number(begin, names)
            until = _number(end, names) if dash else last if step else first
        found |= set(range(first, min(until, last) + 1, int(step or 1)))
    return found & set(range(1, last + 1))


def _number(text: str, names: dict[str, int]) -> int:
    return names.get(text.lower()) or int(text)
