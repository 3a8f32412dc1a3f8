# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part wants to read, what it found, and what it wants to write, as values. Pure.

Reading and writing happen in ``reconcile`` only.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, Union

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    being_deleted,
    mapping_at,
    member_path,
    object_path,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff, owned

JSON = Mapping[str, Any]
_KEY = secrets.token_bytes(32)
"""Without it a weak secret could be guessed from its digest in a log."""

# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ref:
    """One thing to read: an object or, with ``collection``, all objects that the selectors choose.

    required: a 403 ends the run; otherwise the check that needs it is skipped with a warning.
    foreign: not an object of the API server but what a Pod answers through its proxy: a JSON object, asked for once and
        for a few seconds only. Everything else counts as not readable (Denied).
    keep: reduces each object of a large collection to what decisions need.
    """

    label: str
    path: str
    collection: bool = False
    required: bool = False
    foreign: bool = False
    field_selector: str = ""
    label_selector: str = ""
    keep: Callable[[JSON], JSON] | None = None


@dataclass(frozen=True)
class Denied:
    """Stands in for what we cannot read, as a rule because we are not allowed to. message: why, in its own words."""

    message: str


Reading = Union[JSON, tuple[JSON, ...], Denied, None]
"""An object, a collection's items, a refusal, or None for an object that does not exist."""

Readings = Mapping[str, Reading]
"""What has been read so far, by label."""


def with_answers(refs: Mapping[str, Ref], seen: Readings, answers: Mapping[str, JSON]) -> dict[str, Reading]:
    """The readings with the API server's answers to our writes in their place.

    refs: what each label stands for. answers: by the object's path; empty for a delete, which may not be complete yet.
    """
    objects = {path: answer for path, answer in answers.items() if answer}
    result = dict(seen)
    for label, ref in refs.items():
        before = seen[label]
        keep = ref.keep or (lambda item: item)
        if not ref.collection:
            if ref.path in objects:
                result[label] = keep(objects[ref.path])
        elif isinstance(before, tuple):
            items = {object_path(ref.path, item): item for item in before}
            ours = {path: keep(item) for path, item in objects.items() if object_path(ref.path, item) == path}
            result[label] = tuple({**items, **ours}.values())
    return result


def named(items: Reading, name: str) -> JSON | None:
    """The object of that name in a collection that was read."""
    if isinstance(items, tuple):
        for item in items:
            if item.get("metadata", {}).get("name") == name:
                return item
    return None


# -- planning ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """One request that changes something. before, after: owned fields only, secrets as fingerprints.

    path: of the object, or of its collection for ``verb`` "create". differs: whether the object is not as
    requested without it; False for a write that only prompts the operator to look again.
    """

    verb: str
    path: str
    body: JSON
    kind: str
    name: str
    before: JSON
    after: JSON
    differs: bool = True

    @property
    def object_path(self) -> str:
        """Path of the object that is created, patched or deleted."""
        return member_path(self.path, self.body["metadata"]["name"]) if self.verb == "create" else self.path

    @property
    def namespace(self) -> str:
        """The object's namespace, empty for an object of the cluster."""
        return self.path.partition("/namespaces/")[2].partition("/")[0]

    @property
    def content(self) -> str:
        """What is sent, without what differs from one namespace to the next: the same for all of the same content."""
        own = ("namespace", "resourceVersion")
        metadata = {key: value for key, value in mapping_at(self.body, "metadata").items() if key not in own}
        body = {key: value for key, value in self.body.items() if key not in own}
        return json.dumps([self.verb, self.kind, self.name, {**body, "metadata": metadata}], sort_keys=True)

    @property
    def label(self) -> str:
        """What messages and diffs call the object: KIND/NAME or KIND/NAMESPACE/NAME."""
        return "/".join(filter(None, (self.kind, self.namespace, self.name)))


def carried_out(write: Write, found: JSON | None) -> bool:
    """Whether an object, read after the answer to a write was lost, is as the write left it.

    A plan contains only what differed before, so what is there now has been written since. found: None if it is absent.
    """
    if write.verb == "delete":
        return found is None or being_deleted(found)
    if found is None or being_deleted(found):
        return False
    metadata = {key: value for key, value in mapping_at(write.body, "metadata").items() if key != "resourceVersion"}
    others = {**{key: value for key, value in write.body.items() if key != "spec"}, "metadata": metadata}
    return not diff(others, found) and not diff(mapping_at(write.body, "spec"), mapping_at(found, "spec"))


@dataclass(frozen=True)
class Findings:
    """The outcome of one check of a plan: reasons to refuse, warnings, and the writes it requires."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()

    @classmethod
    def refuse(cls, *refusals: str) -> Findings:
        """Reasons to refuse, and nothing else."""
        return cls(refusals=refusals)

    @classmethod
    def warn(cls, *warnings: str) -> Findings:
        """Warnings, and nothing else."""
        return cls(warnings=warnings)

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.refusals + other.refusals, self.warnings + other.warnings, self.writes + other.writes)


G = TypeVar("G")


@dataclass(frozen=True)
class Plan(Generic[G]):
    """What is to be done.

    refusals: with any of these nothing is written, and ``goal`` may be None.
    withheld: what would have been written but for the refusals; shows how the cluster differs.
    goal: what must be true afterwards. verify: whether there is an effect to prove.
    checks: requests that are only ever sent as dry runs. values: additions to the task's result.
    independent: no write depends on another; one that fails does not stop the others.
    """

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    withheld: tuple[Write, ...] = ()
    goal: G | None = None
    verify: bool = True
    checks: tuple[Write, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    independent: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a part adds to the task's result at the very end. failure: takes precedence over the flow's own."""

    failure: str = ""
    warnings: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def spec_patch(path: str, kind: str, name: str, desired: JSON, live: JSON) -> Write | None:
    """The write that makes a live spec what is desired; None when nothing differs."""
    patch = diff(desired, live)
    if not patch:
        return None
    before, after = owned(desired, live), owned(desired, apply(patch, live))
    return Write("patch", path, {"spec": patch}, kind, name, {"spec": before}, {"spec": after})


def digest(text: str) -> str:
    """A digest of a secret, with which two can be compared in this run; of no use to anybody who guesses."""
    return hashlib.blake2b(text.encode(), key=_KEY, digest_size=16).hexdigest()


def fingerprint(text: str) -> str:
    """A short digest of a secret: shows whether it changes, not what it is. Another one in the next run."""
    return f"fingerprint:{digest(text)[:12]}"
