# SPDX-License-Identifier: GPL-3.0-or-later
"""When a controller runs: on events, on retries with exponential backoff, never faster than its client allows."""

from __future__ import annotations

import threading
import time


class Trigger:
    """A work queue with one key (operator facts 3.4.2 and 3.4.5).

    :param base: first retry delay in seconds, doubled with every further failure up to ``cap``.
    :param scale: divides base and cap.
    """

    def __init__(self, scale: float = 1.0, base: float = 0.005, cap: float = 1000.0) -> None:
        self._base, self._cap = base / scale, cap / scale
        self._wake = threading.Condition()
        self._dirty = False
        self._due: float | None = None
        self._failures = 0

    def poke(self) -> None:
        """Something changed: run as soon as possible."""
        with self._wake:
            self._dirty = True
            self._wake.notify_all()

    def after(self, delay: float) -> None:
        """Run in ``delay`` seconds, unless an earlier run is due already."""
        with self._wake:
            due = time.monotonic() + delay
            self._due = due if self._due is None else min(self._due, due)
            self._wake.notify_all()

    def retry(self) -> float:
        """The run failed: run again after the backoff, which is returned in seconds."""
        delay: float = min(self._base * 2.0 ** min(self._failures, 40), self._cap)
        self._failures += 1
        self.after(delay)
        return delay

    def succeeded(self) -> None:
        """The run succeeded: the next failure starts with the shortest delay."""
        self._failures = 0

    def wait(self, stop: threading.Event) -> bool:
        """Block until a run is due; False when ``stop`` was set (checked every 0.2 s)."""
        with self._wake:
            while not stop.is_set():
                now = time.monotonic()
                if self._dirty or (self._due is not None and self._due <= now):
                    self._dirty = False
                    if self._due is not None and self._due <= now:
                        self._due = None
                    return True
                self._wake.wait(min(0.2, self._due - now) if self._due is not None else 0.2)
        return False


class Throttle:
    """A token bucket: ``burst`` runs at once, then one per ``interval`` seconds.

    Models the rate limit of the genuine operator's API client, which slows its hot loops down to 0.6 s a turn.
    """

    def __init__(self, interval: float, burst: int) -> None:
        self._interval, self._burst = interval, float(burst)
        self._tokens, self._last_refill = float(burst), time.monotonic()

    def take(self, stop: threading.Event) -> None:
        """Wait for a token."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._last_refill) / self._interval)
        self._last_refill = now
        if self._tokens < 1:
            stop.wait((1 - self._tokens) * self._interval)
            self._tokens, self._last_refill = 1.0, time.monotonic()
        self._tokens -= 1
