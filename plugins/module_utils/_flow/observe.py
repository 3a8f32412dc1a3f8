# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the objects that verdicts depend on, fetches the evidence that judges request, and ends with verdicts.

One thread per collection lists and watches; the caller's thread judges on every change. No polling: between events
nothing is requested (an API server that allows list but not watch is polled every POLL_SECONDS instead). Several parts
are observed at once, on one clock; a collection that more than one of them follows is watched once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Generic, Union

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import G, Part, S, Target
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    JSON,
    UNSEEN,
    Course,
    Done,
    Effect,
    Failed,
    History,
    Need,
    Verdict,
    Waiting,
    sentence,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
    Watch,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    decoded,
    mappings_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.times import answered_at
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.operator import (
    OperatorTrouble,
    operator_trouble,
    still_serving,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

POLL_SECONDS = 2.0
TICK_SECONDS = 0.25
"""Seconds between judgements when no event arrives: verdicts also depend on elapsed time. Costs no request."""
EVIDENCE_SECONDS = 1.0
"""Minimum time between two rounds of evidence for the same part."""
PROMPT_SECONDS = 0.2
"""The same for evidence that is prompt."""
AWAITED_SECONDS = 10.0
"""How long a wait may exceed its timeout until a collection has been listed without which there is no verdict."""
QUICKLY = 1.0
"""Seconds after which a watch may end without being taken for one that ends at once."""
EVIDENCE_FLOOR = 10.0
"""Seconds that a round of evidence gets in any case, however little of the wait is left."""
UNAUTHORIZED_LOOKS = 3
"""How many times credentials must be rejected before they count as expired: a login plugin may be renewing them."""

OPERATOR_PATIENCE = 3.0
"""Seconds of waiting for the operator after which it is looked at itself; a sync takes a fraction of one."""
OPERATOR_SECONDS = 5.0
"""Between two looks at it, of two requests each."""
OPERATOR_OBJECTS = 100
"""How many Deployments, and how many Leases, of the operator's namespace are looked at; there are a few."""
OPERATOR_AT_LEAST = 15.0
"""Seconds of waiting for it before it is given up: its Lease may be one that it no longer uses."""

Progress = Callable[[float, str], None]


@dataclass
class Observation(Generic[G, S]):
    """One part being observed. title: prefix of each progress line when several parts are observed.

    on_operator_since: from when on it has been waiting for the operator without a break.
    reached, reached_at: how far its effect has got, and since when (monotonic seconds).
    _gathered_at: when evidence was gathered last, that which is prompt and the other.
    """

    part: Part[G, S]
    goal: G
    snapshot: S
    course: Course
    title: str = ""
    history: History = field(default_factory=History)
    ended: bool = False
    on_operator_since: float | None = None
    reached: int = 0
    reached_at: float = -1e9
    _gathered_at: dict[bool, float] = field(default_factory=dict)
    _shown_at: float = -1e9

    @property
    def decided(self) -> bool:
        """Whether the latest verdict is final."""
        return isinstance(self.course.verdict, (Done, Failed))

    def look(self, client: Client) -> None:
        """Judge the snapshot, with the evidence that the judge requests."""
        verdict, self.history = self.part.judge(self.goal, self.snapshot, self.history)
        in_time = client.until is None or self.snapshot.at < client.until
        if isinstance(verdict, Waiting) and verdict.needs and in_time and self._due(verdict.needs):
            self.snapshot = self.part.gather(client, self.goal, self.snapshot, verdict.needs)
            self._gathered_at[_is_prompt(verdict.needs)] = self.snapshot.at
            verdict, self.history = self.part.judge(self.goal, self.snapshot, self.history)
        self.course.verdict = verdict
        if isinstance(verdict, Waiting) and verdict.reached > self.reached:
            self.reached, self.reached_at = verdict.reached, self.snapshot.at

    def _due(self, needs: frozenset[Need]) -> bool:
        return self.snapshot.at - self._gathered_at.get(_is_prompt(needs), float("-inf")) >= pause(needs)

    def note(self, seconds: float, progress: Progress | None) -> None:
        """Add an entry to the timeline and report progress, if the verdict's text has changed."""
        course = self.course
        course.seconds = seconds
        text = sentence(course.verdict)
        if course.timeline and course.timeline[-1][1] == text:
            return
        if not self.decided and seconds - self._shown_at < self.part.line_seconds:
            return
        self._shown_at = seconds
        course.timeline.append((round(seconds, 1), text))
        if progress is not None:
            progress(seconds, f"{self.title}: {text}" if self.title else text)


def pause(needs: frozenset[Need]) -> float:
    """Seconds at least between two rounds of this evidence."""
    return PROMPT_SECONDS if _is_prompt(needs) else EVIDENCE_SECONDS


def _is_prompt(needs: frozenset[Need]) -> bool:
    return all(need.prompt for need in needs)


class _Operator:
    """Looks at the operator itself while something waits for it, and never otherwise."""

    def __init__(self, client: Client, platform: Platform) -> None:
        self._client, self._platform = client, platform
        self._looked_at = -1e9
        self._first: dict[str, float] = {}
        self._readable = {"deployments", "leases"}
        self._trouble: OperatorTrouble | None = None
        self._now = datetime.now(timezone.utc)
        self._serving = ""

    def explained(self, observation: Observation[Any, Any], now: float) -> Verdict:
        """The verdict of the observation; if it waits for an operator that does not work, with that as the reason."""
        verdict = observation.course.verdict
        if not (isinstance(verdict, Waiting) and verdict.on_operator):
            observation.on_operator_since = None
            return verdict
        if observation.on_operator_since is None:
            observation.on_operator_since = now
        waited = now - observation.on_operator_since
        if waited < OPERATOR_PATIENCE:
            return verdict
        if now - self._looked_at >= OPERATOR_SECONDS:
            self._look(now)
        trouble = self._trouble
        if trouble is None:
            return verdict
        # A part that knows what serves says so itself, at the end of its failure.
        serving = "" if observation.part.standing(observation.goal, observation.snapshot) else self._serving
        lasted = now - self._first.setdefault(trouble.reason, now)
        if trouble.since is not None:
            lasted = max(lasted, (self._now - trouble.since).total_seconds() + now - self._looked_at)
        if lasted >= trouble.patience and waited >= OPERATOR_AT_LEAST:
            return self._given_up(trouble, serving)
        serving = f". {serving}".rstrip(".") if serving else ""
        return replace(verdict, why=f"{verdict.why}; the operator does not work: {trouble.what}{serving}")

    def _given_up(self, trouble: OperatorTrouble, serving: str) -> Failed:
        namespace, deployment = self._platform.namespace, f"deployment/{self._platform.operator_deployment}"
        again = f"scale {deployment} --replicas=1" if trouble.scaled_down else f"rollout restart {deployment}"
        return Failed(
            trouble.reason,
            trouble.what,
            f"The operator does not work: {trouble.what}. {serving}".rstrip(),
            f"Look at its Pods (kubectl -n {namespace} get pods,leases; kubectl -n {namespace} logs {deployment}) and "
            f"have it run again, for instance with kubectl -n {namespace} {again}. It then applies what "
            "is stored; run the task again to verify it.",
        )

    def _look(self, now: float) -> None:
        namespace = self._platform.namespace
        deployments, first = self._read("deployments", namespaced(namespace, "deployments", api="/apis/apps/v1"))
        leases, second = self._read("leases", namespaced(namespace, "leases", api="/apis/coordination.k8s.io/v1"))
        self._looked_at, self._now = now, second or first or datetime.now(timezone.utc)
        self._trouble = operator_trouble(self._platform, deployments, leases, self._now)
        self._serving = still_serving(self._platform, deployments)
        if self._trouble is None:
            self._first.clear()

    def _read(self, resource: str, path: str) -> tuple[list[JSON] | None, datetime | None]:
        """The items and the API server's clock; None when they may not be read or there is no answer."""
        if resource not in self._readable:
            return None, None
        try:
            reply = self._client.raw(
                "GET", f"{path}?limit={OPERATOR_OBJECTS}", retry=False, read_timeout=OPERATOR_SECONDS
            )
        except ClientError:
            return None, None
        if reply.status in (401, 403):
            self._readable.discard(resource)
        content = decoded(reply.body) if reply.status == 200 else None
        if not isinstance(content, dict):
            return None, None
        return mappings_at(content, "items"), answered_at(reply.headers)


class Follow(threading.Thread):
    """Keeps one collection up to date by list and watch; puts each state on a queue as (follow, items or error)."""

    def __init__(self, client: Client, sink: Sink, target: Target[Any]) -> None:
        super().__init__(daemon=True, name=f"follow-{target.label}")
        self._client, self._sink, self._path = client, sink, target.path
        self._fields, self._labels = target.field_selector, target.label_selector
        self._metadata = target.metadata
        self._keep = target.keep
        self._ended = threading.Event()
        self._watch: Watch | None = None
        self.current = False
        """Whether the last request for the collection was answered, so that its state is not outdated."""

    def stop(self) -> None:
        """End the thread soon; never blocks."""
        self._ended.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def run(self) -> None:
        """List, watch, and list again when the watch breaks; end on a refusal (403, or 401 repeatedly) or stop()."""
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
                self.current = True
                self._report(state)
                pause, unauthorized = 0.2, 0
                self._follow(state, version)
            except ApiError as error:
                self.current = error.status == 410  # listed again at once
                unauthorized += error.status == 401
                if error.status == 403 or unauthorized == UNAUTHORIZED_LOOKS:
                    self._sink.put((self, error))
                    return
                self._ended.wait(0.0 if error.status == 410 else pause)
            except ClientError:
                self.current = False
                self._ended.wait(pause)
            pause = min(pause * 2, 5.0)

    def _follow(self, state: dict[str, JSON], version: str) -> None:
        """Apply watch events to `state` until the watch breaks for good. Poll where watching is not allowed."""
        while not self._ended.is_set():
            begun = time.monotonic()
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
            if time.monotonic() - begun < QUICKLY:
                self._ended.wait(QUICKLY)  # a server that ends every watch at once is not asked without a pause

    def _report(self, state: Mapping[str, JSON]) -> None:
        self._sink.put((self, tuple(state.values())))


def _key(item: JSON) -> str:
    meta = item.get("metadata") or {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"


Sink = queue.SimpleQueue[tuple[Follow, Union[tuple[JSON, ...], ApiError]]]
Subscription = tuple[Observation[Any, Any], Target[Any]]


@dataclass
class _Feed:
    """A followed collection, its latest state, and its subscribers.

    latest: None before the first list.
    """

    follow: Follow
    single: bool
    subscriptions: list[Subscription] = field(default_factory=list)
    latest: tuple[JSON, ...] | ApiError | None = None


class _Feeds:
    """All collections that are followed during one wait."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sink: Sink = queue.SimpleQueue()
        self._feeds: dict[Hashable, _Feed] = {}

    def subscribe(self, observation: Observation[Any, Any]) -> None:
        """Follow every collection that the observation's part needs at this point."""
        for target in observation.part.targets(observation.goal, observation.snapshot):
            key = (target.path, target.field_selector, target.label_selector, target.metadata, target.keep)
            feed = self._feeds.get(key)
            if feed is None:
                feed = self._feeds[key] = _Feed(Follow(self._client, self._sink, target), target.single)
                feed.follow.start()
            if all(observation is not one or target.label != other.label for one, other in feed.subscriptions):
                feed.subscriptions.append((observation, target))
                if feed.latest is not None:
                    _absorb(observation, target, feed.latest)

    @property
    def quiet(self) -> bool:
        """Whether every state that has arrived has been absorbed."""
        return self._sink.empty()

    def refusals(self, observation: Observation[Any, Any]) -> list[tuple[Target[Any], ApiError]]:
        """The observation's targets that the API server refuses to show."""
        return [
            (target, feed.latest)
            for feed in self._feeds.values()
            for one, target in feed.subscriptions
            if one is observation and isinstance(feed.latest, ApiError)
        ]

    def incomplete(self, observation: Observation[Any, Any]) -> bool:
        """Whether a collection that the verdict must wait for has not been listed yet."""
        return any(
            one is observation and target.awaited and feed.latest is None
            for feed in self._feeds.values()
            for one, target in feed.subscriptions
        )

    def blind(self, observation: Observation[Any, Any]) -> bool:
        """Whether what the verdict depends on has never been read, or cannot be read any more."""
        return any(
            one is observation and target.required and not feed.follow.current
            for feed in self._feeds.values()
            for one, target in feed.subscriptions
        )

    def absorb(self, seconds: float) -> None:
        """Pass on the next state that arrives within ``seconds``, and all states queued up behind it.

        Stops after the state of a single object: each of those is judged separately.
        """
        by_follow = {feed.follow: feed for feed in self._feeds.values()}
        block = True
        ends = time.monotonic() + seconds
        while block or time.monotonic() < ends:  # states may arrive faster than they are absorbed
            try:
                follow, state = self._sink.get(block=block, timeout=max(0.0, seconds) if block else None)
            except queue.Empty:
                return
            block = False
            feed = by_follow[follow]
            feed.latest = state
            for observation, target in feed.subscriptions:
                _absorb(observation, target, state)
            if feed.single:
                return

    def stop(self) -> None:
        """End all threads soon."""
        for feed in self._feeds.values():
            feed.follow.stop()


def _absorb(observation: Observation[Any, Any], target: Target[Any], state: tuple[JSON, ...] | ApiError) -> None:
    if not observation.ended:
        seen = UNSEEN if isinstance(state, ApiError) else state
        observation.snapshot = target.absorb(observation.snapshot, seen)


def observe(
    client: Client, observations: Sequence[Observation[Any, Any]], timeout: float, progress: Progress | None = None
) -> None:
    """Run every observation until it is decided or has timed out, ``timeout`` seconds after its last progress.

    Where nothing was written, a final verdict on what was just read is enough.
    """
    for observation in observations:
        if not observation.course.changed:
            started = observation.snapshot.at
            observation.look(client)
            if observation.decided:
                observation.ended = True
                observation.note(time.monotonic() - started, None)
    open_ones = [observation for observation in observations if not observation.ended]
    if open_ones:
        _follow(client, open_ones, timeout, progress)


def _follow(
    client: Client, observations: Sequence[Observation[Any, Any]], timeout: float, progress: Progress | None
) -> None:
    started = time.monotonic()
    feeds = _Feeds(client)
    operator = _Operator(client, observations[0].part.platform)
    try:
        while True:
            now = time.monotonic()
            for observation in observations:
                if not observation.ended:
                    feeds.subscribe(observation)
                    observation.snapshot = replace(observation.snapshot, at=now)
                    left = max(started, observation.reached_at) + timeout - now
                    with client.within(max(left, EVIDENCE_FLOOR)):
                        observation.look(client)
                    observation.course.verdict = operator.explained(observation, now)
                    observation.course.verdict = _unless_blind(observation.course.verdict, feeds.refusals(observation))
                    observation.note(time.monotonic() - started, progress)
            open_ones = [one for one in observations if not one.ended]
            client.until = timeout + max(max(started, one.reached_at) for one in open_ones)
            for observation in open_ones:
                over = time.monotonic() - timeout - max(started, observation.reached_at)
                if feeds.incomplete(observation) and over < AWAITED_SECONDS:
                    continue
                # A verdict on a state that newer ones have already superseded is not final.
                if observation.decided and (feeds.quiet or over >= 0):
                    observation.ended = True
                elif over >= 0:
                    observation.ended = observation.course.timed_out = True
                    observation.course.blind = feeds.blind(observation)
            if all(observation.ended for observation in observations):
                return
            left = client.until - time.monotonic()
            feeds.absorb(min(TICK_SECONDS, left) if left > 0 else TICK_SECONDS)
    finally:
        feeds.stop()


def _unless_blind(verdict: Verdict, refusals: Sequence[tuple[Target[Any], ApiError]]) -> Verdict:
    """The verdict, or why there can be none: what it depends on may not be read, or the credentials have expired."""
    expired = [error for _target, error in refusals if error.status == 401]
    hidden = [error for target, error in refusals if target.required]
    if expired:
        return unauthorized(expired[0].message, f"Whether it takes effect can no longer be observed: {expired[0]}")
    if hidden and isinstance(verdict, Waiting):
        return Failed(
            "Forbidden",
            hidden[0].message,
            f"Whether it takes effect cannot be observed: {hidden[0]}",
            "Allow this account to list and watch the resource, or set wait: false.",
            Effect.UNCONFIRMED,
        )
    return verdict
