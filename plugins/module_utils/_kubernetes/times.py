# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as the cluster writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


def moment(text: object) -> datetime | None:
    """A time of an object (RFC 3339); None for anything else."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """When an answer was given, by the clock of the server; None when its Date header is missing or not a date.

    headers: with lower-case names.
    """
    try:
        found = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):  # for what is not a date, depending on what it is
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
