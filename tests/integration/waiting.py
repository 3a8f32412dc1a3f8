# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a condition instead of for a time: a slow machine waits longer, and nothing else differs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

PATIENCE = 180.0
"""Seconds; what comes at all comes in a fraction of them, so that only a failure takes this long."""


def until(
    what: str,
    look: Callable[[], Answer | None],
    patience: float = PATIENCE,
    state: Callable[[], object] | None = None,
) -> Answer:
    """Look until the answer is true, then return it.

    state: asked when patience is over, for the failure's text: what was true at the end.
    """
    deadline = time.monotonic() + patience
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            last = f"; at the end: {state()}" if state else ""
            raise AssertionError(f"{what}: not within {patience:.0f} s (last answer: {answer!r}){last}")
        time.sleep(0.1)
