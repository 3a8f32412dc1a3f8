# SPDX-License-Identifier: GPL-3.0-or-later
"""A part: one module's share of the flow.

The flow does not know the individual parts. A part decides, with pure functions over its own typed Goal and Snapshot,
and names what to read, write and follow; only ``reconcile`` and ``observe`` read, write and follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Outcome,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    History,
    Need,
    Seen,
    Snapshot,
    State,
    Verdict,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

G = TypeVar("G")
S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True)
class Target(Generic[S]):
    """A collection to follow. absorb: the snapshot with the collection's latest state in it.

    single: the selector names one object, and each of its states is judged separately: what an operator reports
    briefly may never be repeated. metadata: only metadata is requested, so that the content of Secrets never leaves the
    API server. required: without it there is no verdict, so a refusal (403) ends the wait.
    awaited: there is no verdict before its first state, for which the wait may exceed its timeout slightly.
    keep: reduces each object of a large collection; its name and namespace must stay.
    """

    label: str
    path: str
    absorb: Callable[[S, State], S]
    field_selector: str = ""
    label_selector: str = ""
    single: bool = True
    metadata: bool = False
    required: bool = False
    awaited: bool = False
    keep: Callable[[JSON], JSON] | None = None


def seen_object(reading: Reading) -> Seen:
    """A reading in the form that a judge expects: what we may not read is unseen."""
    return UNSEEN if isinstance(reading, (Denied, tuple)) else reading


class Part(ABC, Generic[G, S]):
    """What differs between the modules: the objects that matter, the decision, the verdict and its evidence.

    name: the module's name. main: key under which the task returns its main object, "" for none.
    main_path: that object's path. confirm: after a successful change, read and plan once more, since somebody may
    meanwhile have written to an object that no watch follows. line_seconds: minimum time between two progress lines.
    """

    name: ClassVar[str]
    main: ClassVar[str] = ""
    confirm: ClassVar[bool] = False
    line_seconds: ClassVar[float] = 0.0

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.label = self.name
        """Names the part in messages; differs from ``name`` where one task has several parts of a kind."""

    @property
    def main_path(self) -> str:
        """Path of the main object; "" without one."""
        return ""

    @abstractmethod
    def needs(self, seen: Readings) -> list[Ref]:
        """What to read next; empty when everything needed has been read."""

    @abstractmethod
    def plan(self, seen: Readings) -> Plan[G]:
        """The decision."""

    def revise(self, write: Write, live: JSON | None) -> Write | str | None:
        """Decide an independent write again: None when nothing is left to do, a text when it must not be sent.

        live: the object as it is after somebody else wrote it.
        """
        raise NotImplementedError(f"{self.name} plans no independent writes")

    def aim(self, goal: G, seen: Readings, failures: Mapping[str, str]) -> G:
        """The goal once the writes have been answered. seen: the readings with the answers in their place.

        failures: why independent writes failed, by the object's path.
        """
        return goal

    @abstractmethod
    def first(self, goal: G, seen: Readings, at: float) -> S:
        """The readings as a snapshot."""

    @abstractmethod
    def targets(self, goal: G, snapshot: S) -> Sequence[Target[S]]:
        """Collections to follow; may grow while the snapshot fills."""

    @abstractmethod
    def judge(self, goal: G, snapshot: S, history: History) -> tuple[Verdict, History]:
        """The pure judgement."""

    def gather(self, client: Client, goal: G, snapshot: S, needs: frozenset[Need]) -> S:
        """The snapshot with the evidence that the judge requested, and with the time at which it was complete."""
        return snapshot

    def report(self, goal: G, snapshot: S) -> Mapping[str, Any]:
        """This part's own entries in the task's verification."""
        return {}

    def note(self, goal: G, snapshot: S, history: History) -> Write | None:
        """What to note on an object, for later runs, once a change is verified: something that shows only briefly."""
        return None

    def standing(self, goal: G, snapshot: S) -> str:
        """A sentence about what works all the same although the goal was not reached; empty when it is not known."""
        return ""

    def main_object(self, snapshot: S) -> JSON | None:
        """The main object as last seen."""
        return None

    def outcome(
        self, plan: Plan[G], sent: tuple[Write, ...], failures: Mapping[str, str], observed: tuple[G, S] | None
    ) -> Outcome:
        """This part's additions to the task's result. sent: the writes that succeeded. failures: as for aim.

        observed: the goal and the last snapshot, None when nothing was observed.
        """
        return Outcome()

    def events(self, client: Client, goal: G, snapshot: S) -> list[str]:
        """Lines that help to explain a timeout."""
        return []
