# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the objects a verdict depends on, fetches evidence the judge asks for, and ends with a verdict.

One thread per resource lists and watches; the caller's thread judges on every change. No polling: between events
nothing is requested (an API server that allows list but not watch is polled every POLL_SECONDS instead).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Union

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import (
    JSON,
    UNSEEN,
    Done,
    Failed,
    History,
    Need,
    Snapshot,
    Verdict,
    Waiting,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
    Watch,
)

POLL_SECONDS = 2.0
TICK_SECONDS = 0.25
"""How often the judge looks again without any event: verdicts also ripen with time. Costs no request."""
EVIDENCE_SECONDS = 1.0
"""Least time between two probes of the same state."""
UNAUTHORIZED_LOOKS = 3
"""How often credentials must be refused before they are taken for expired: a login plugin may be renewing them."""
STALES_EVIDENCE = ("deployment", "pods")
"""Labels whose change makes earlier probes and log lines worthless."""

Progress = Callable[[float, str], None]
Sink = queue.SimpleQueue[tuple[str, Union[tuple[JSON, ...], ApiError]]]


@dataclass(frozen=True)
class Target:
    """A collection to follow. label: the field of Snapshot it fills. single: the selector names one object.

    metadata: only metadata is asked for, so that the content of Secrets never leaves the API server.
    required: without it there is no verdict, so that a refusal (403) ends the wait.
    keep: what is remembered of each object, when there are many; its name and namespace at least.
    """

    label: str
    path: str
    field_selector: str = ""
    label_selector: str = ""
    single: bool = True
    metadata: bool = False
    required: bool = False
    keep: Callable[[JSON], JSON] | None = None


class Watcher(Protocol):
    """What differs between the parts: which objects matter, how they are judged, how evidence is fetched."""

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """Collections to follow; may grow while the snapshot fills."""
        ...

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """The pure judgement."""
        ...

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """The snapshot with the evidence that the judge asked for."""
        ...

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """More for the task's verification than every part has."""
        ...


@dataclass
class Outcome:
    """How the observation ended. seconds: from the start of the wait. timeline: (seconds, what was true) per change."""

    verdict: Verdict
    snapshot: Snapshot
    seconds: float
    timed_out: bool = False
    timeline: list[tuple[float, str]] = field(default_factory=list)


class Follow(threading.Thread):
    """Keeps one collection up to date by list and watch; each state goes to a queue as (label, items or error)."""

    def __init__(self, client: Client, sink: Sink, target: Target) -> None:
        super().__init__(daemon=True, name=f"follow-{target.label}")
        self._client, self._sink, self._label, self._path = client, sink, target.label, target.path
        self._fields, self._labels = target.field_selector, target.label_selector
        self._metadata = target.metadata
        self._keep = target.keep
        self._ended = threading.Event()
        self._watch: Watch | None = None

    def stop(self) -> None:
        """End the thread soon; never blocks."""
        self._ended.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def run(self) -> None:
        """List, watch, list again after a break; ends on a refusal (403, 401 for good) or stop()."""
        pause, unauthorized = 0.2, 0
        while not self._ended.is_set():
            try:
                items, version = self._client.list(
                    self._path,
                    field_selector=self._fields,
                    label_selector=self._labels,
                    metadata=self._metadata,
                    keep=self._keep,
                )
                state = {_key(item): item for item in items}
                self._report(state)
                pause, unauthorized = 0.2, 0
                self._follow(state, version)
            except ApiError as error:
                unauthorized += error.status == 401
                if error.status == 403 or unauthorized == UNAUTHORIZED_LOOKS:
                    self._sink.put((self._label, error))
                    return
                self._ended.wait(0.0 if error.status == 410 else pause)
            except ClientError:
                self._ended.wait(pause)
            pause = min(pause * 2, 5.0)

    def _follow(self, state: dict[str, JSON], version: str) -> None:
        """Apply watch events to `state` until the watch breaks for good. Polls where watching is not allowed."""
        while not self._ended.is_set():
            try:
                self._watch = self._client.watch(
                    self._path,
                    version,
                    field_selector=self._fields,
                    label_selector=self._labels,
                    metadata=self._metadata,
                )
            except ApiError as error:
                if error.status == 403:
                    self._ended.wait(POLL_SECONDS)
                    return
                raise
            if self._ended.is_set():
                self._watch.close()
                return
            try:
                for event in self._watch:
                    meta = event.object.get("metadata") or {}
                    version = str(meta.get("resourceVersion") or version)
                    if event.type == "BOOKMARK":
                        continue
                    if event.type == "DELETED":
                        state.pop(_key(event.object), None)
                    else:
                        state[_key(event.object)] = self._keep(event.object) if self._keep else event.object
                    self._report(state)
            finally:
                self._watch.close()

    def _report(self, state: Mapping[str, JSON]) -> None:
        self._sink.put((self._label, tuple(state.values())))


def _key(item: JSON) -> str:
    meta = item.get("metadata") or {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"


def wait(
    client: Client,
    watcher: Watcher,
    *,
    first: Snapshot,
    history: History,
    timeout: float,
    progress: Progress | None = None,
) -> Outcome:
    """Watch until the judge says Done or Failed, or `timeout` seconds have passed."""
    started = time.monotonic()
    sink: Sink = queue.SimpleQueue()
    follows: dict[str, Follow] = {}
    singles: set[str] = set()
    required: set[str] = set()
    refused: dict[str, ApiError] = {}
    outcome = Outcome(Waiting("starting"), first, 0.0)
    snapshot = first
    asked_at = -1e9
    try:
        while True:
            now = time.monotonic()
            for target in watcher.targets(snapshot):
                if target.label not in follows:
                    follows[target.label] = Follow(client, sink, target)
                    follows[target.label].start()
                    if target.single:
                        singles.add(target.label)
                    if target.required:
                        required.add(target.label)
            snapshot = replace(snapshot, at=now)
            verdict, history = watcher.judge(snapshot, history)
            if isinstance(verdict, Waiting) and verdict.needs and now - asked_at >= EVIDENCE_SECONDS:
                snapshot = watcher.gather(client, snapshot, verdict.needs)
                asked_at = snapshot.at
                verdict, history = watcher.judge(snapshot, history)
            elapsed = time.monotonic() - started
            verdict = _unless_blind(verdict, refused, required)
            note(outcome.timeline, elapsed, sentence(verdict), progress)
            outcome.verdict, outcome.snapshot, outcome.seconds = verdict, snapshot, elapsed
            # A verdict about a state that others have followed already is none.
            if isinstance(verdict, (Done, Failed)) and (sink.empty() or elapsed >= timeout):
                return outcome
            if elapsed >= timeout:
                outcome.timed_out = True
                return outcome
            snapshot = _absorb(sink, singles, refused, snapshot, min(TICK_SECONDS, timeout - elapsed))
    finally:
        for follow in follows.values():
            follow.stop()


def _unless_blind(verdict: Verdict, refused: Mapping[str, ApiError], required: set[str]) -> Verdict:
    """The verdict, or why there can be none: what it depends on may not be seen, or nothing may be seen any more."""
    expired = [error for error in refused.values() if error.status == 401]
    hidden = [error for label, error in refused.items() if label in required]
    if expired:
        return unauthorized(expired[0].message, f"Whether it takes effect cannot be observed any more: {expired[0]}")
    if hidden and isinstance(verdict, Waiting):
        return Failed(
            "Forbidden",
            hidden[0].message,
            f"Whether it takes effect cannot be observed: {hidden[0]}",
            "Allow list and watch on this resource to the account, or say wait: false.",
        )
    return verdict


def sentence(verdict: Verdict) -> str:
    """A verdict as one line for people."""
    if isinstance(verdict, Done):
        return verdict.summary
    return verdict.why if isinstance(verdict, Waiting) else verdict.cause


def note(timeline: list[tuple[float, str]], elapsed: float, text: str, progress: Progress | None) -> None:
    """One more entry, and a line for people, if something else is true now. elapsed: seconds since the start."""
    if timeline and timeline[-1][1] == text:
        return
    timeline.append((round(elapsed, 1), text))
    if progress is not None:
        progress(elapsed, text)


def told(timeline: Sequence[tuple[float, str]]) -> list[dict[str, Any]]:
    """A timeline as the task returns it."""
    return [{"seconds": seconds, "state": text} for seconds, text in timeline]


def _absorb(
    sink: Sink, singles: set[str], refused: dict[str, ApiError], snapshot: Snapshot, seconds: float
) -> Snapshot:
    """The snapshot after the next event, or after all that have queued up of a collection; unchanged after `seconds`.

    Each state of a single object is handed over by itself: what it says in passing may never be said again.

    What was probed before a Pod or the Deployment changed says nothing about what runs now, so it is dropped.
    """
    block = True
    while True:
        try:
            label, state = sink.get(block=block, timeout=max(0.0, seconds) if block else None)
        except queue.Empty:
            return snapshot
        block = False
        value: Any = state
        if isinstance(state, ApiError):
            value = UNSEEN
            refused[label] = state
        elif label in singles:
            value = state[0] if state else None
        if label in STALES_EVIDENCE and value != getattr(snapshot, label):
            snapshot = replace(snapshot, probes=UNSEEN, log=UNSEEN)
        snapshot = replace(snapshot, **{label: value})
        if label in singles:
            return snapshot
