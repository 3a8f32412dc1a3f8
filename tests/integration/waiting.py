# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a condition instead of a fixed time: on a slow machine the wait is longer, and nothing else differs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

PATIENCE = 180.0
"""Seconds. What happens at all happens in a fraction of this time, so only a failure takes this long."""


def until(
    what: str,
    look: Callable[[], Answer | None],
    patience: float = PATIENCE,
    state: Callable[[], object] | None = None,
) -> Answer:
    """Call ``look`` until its answer is true, then return it.

    state: called when patience has run out; describes the final state in the failure's message.
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
