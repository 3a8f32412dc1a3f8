# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen and what is concluded from it. Pure.

A Snapshot is what the cluster showed at one moment; a judgement of it is Done, Waiting or Failed; History keeps, from
one judgement to the next, since when each sign has been present.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Union

JSON = Mapping[str, Any]


# -- seen --------------------------------------------------------------------------------------------------------------


class Unseen(Enum):
    """Marks a part of a Snapshot that has not been read (None means that it was read and does not exist)."""

    UNSEEN = "unseen"


UNSEEN = Unseen.UNSEEN
Seen = Union[JSON, None, Unseen]
State = Union[tuple[JSON, ...], Unseen]
"""Everything in a collection that is followed; UNSEEN before its first list, and when the API server refuses it."""


def only(state: State) -> Seen:
    """The one object of a collection that a selector has narrowed to one name."""
    if isinstance(state, Unseen):
        return UNSEEN
    return state[0] if state else None


@dataclass(frozen=True)
class Snapshot:
    """What the cluster showed at one moment; each part adds its own fields. at: monotonic seconds."""

    at: float


class Need(Enum):
    """Evidence that a judge requests before it can conclude; each part has its own members."""

    @property
    def prompt(self) -> bool:
        """Whether it is cheap, and requested only when the cluster has shown something new."""
        return False


# -- concluded ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """The effect is verified. summary: one line. warnings: what could not be proven, and why."""

    summary: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """The effect is not verified yet.

    why: one line, what is true now and what is missing. needs: evidence to fetch before judging again.
    on_operator: whether it is the operator that has to act next.
    reached: how far an effect has got that comes about step by step; the time to wait counts from the last step.
    """

    why: str
    needs: frozenset[Need] = frozenset()
    on_operator: bool = False
    reached: int = 0


class Effect(Enum):
    """What is known of the effect of something that failed. The value completes "The change was stored, but …"."""

    NONE = "it did not take effect"
    UNCONFIRMED = "its effect is not confirmed"
    UNDONE = "it did not last"


@dataclass(frozen=True)
class Failed:
    """The effect will not come about by itself, or cannot be observed.

    reason: the operator's or Kubernetes' reason code. quoted: the text as the cluster gave it.
    cause: what that means. remedy: what to do next. effect: what is known of it.
    """

    reason: str
    quoted: str
    cause: str
    remedy: str
    effect: Effect = Effect.NONE

    @property
    def quotation(self) -> str:
        """The quoted text with the reason before it, unless it begins with the reason already."""
        if not self.reason or self.quoted.startswith(self.reason):
            return self.quoted
        return f"{self.reason}: {self.quoted}"


Verdict = Union[Done, Waiting, Failed]


def sentence(verdict: Verdict) -> str:
    """A verdict as one line."""
    if isinstance(verdict, Done):
        return verdict.summary
    return verdict.why if isinstance(verdict, Waiting) else verdict.cause


@dataclass
class Course:
    """The course of an observation.

    changed: whether anything had been written before. seconds: from the start of the wait.
    blind: whether, at the end, what the verdict depends on could not be read.
    spent: seconds of the task's time that reading and writing had taken by then.
    timeline: (seconds, what was true) per change.
    """

    changed: bool
    verdict: Verdict = field(default_factory=lambda: Waiting("starting"))
    seconds: float = 0.0
    timed_out: bool = False
    blind: bool = False
    spent: float = 0.0
    timeline: list[tuple[float, str]] = field(default_factory=list)


# -- remembered --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """What a judge remembers between snapshots.

    since: the time (monotonic seconds) from which each sign has been present without a break.
    """

    since: Mapping[str, float] = field(default_factory=dict)


class Signs:
    """The signs of one snapshot, and since when each has been present. A sign absent from one is forgotten."""

    def __init__(self, history: History, now: float) -> None:
        self.now = now
        self._before = history.since
        self._since: dict[str, float] = {sign: at for sign, at in history.since.items() if sign.startswith("kept:")}

    def hold(self, sign: str, at: float | None = None) -> float:
        """Record that ``sign`` is present (since ``at``, by default now); returns since when it has been."""
        self._since[sign] = self._before.get(sign, self.now if at is None else at)
        return self._since[sign]

    def lasted(self, sign: str) -> float:
        """Record that ``sign`` is present; returns for how many seconds it has been."""
        return self.now - self.hold(sign)

    def keep(self, sign: str) -> None:
        """Record something that stays known for the rest of the observation."""
        self._since.setdefault(f"kept:{sign}", self.now)

    def kept(self, sign: str) -> bool:
        """Whether keep() was ever called with ``sign``."""
        return f"kept:{sign}" in self._since

    def keep_first(self, sign: str, value: str) -> None:
        """Record the first value of something, as ``sign:value``; later ones are not recorded."""
        if not any(known.startswith(f"kept:{sign}:") for known in self._since):
            self.keep(f"{sign}:{value}")

    def history(self) -> History:
        """What to hand to the next judgement."""
        return History(since=self._since)


# -- words -------------------------------------------------------------------------------------------------------------


def count(number: int, noun: str) -> str:
    """``1 Pod``, ``2 Pods``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


# -- what several parts conclude ---------------------------------------------------------------------------------------


def not_observed(generation: int, observed: int) -> Waiting:
    """The operator's status is about an earlier generation of the object."""
    why = f"waiting for the operator to notice the change (generation {generation}, it has seen {observed})"
    return Waiting(why, on_operator=True)


def changed_back(kind: str, resource: str, fields: str, *, made_again: bool = False) -> Failed:
    """Our write was undone. resource: the name of the kind for kubectl. made_again: the object is another one now."""
    return Failed(
        "SpecChanged",
        f"{kind}.spec differs again in: {fields}",
        f"{kind}/cluster was deleted after our write, and recreated without it."
        if made_again
        else "Another writer or the operator changed it back after our write.",
        "Run the task again; if this happens again, find the other writer (GitOps, another playbook) with "
        f"kubectl get {resource} cluster -o yaml --show-managed-fields.",
        Effect.UNDONE,
    )


def unauthorized(quoted: str, cause: str) -> Failed:
    """The API server rejects credentials that it accepted before."""
    return Failed(
        "Unauthorized",
        quoted,
        cause,
        "Renew the credentials and run the task again; it continues from the current state.",
        Effect.UNCONFIRMED,
    )
