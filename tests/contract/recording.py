# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of the operator: reading them, reducing live objects to the same form, and comparing the two.

What is compared, per recording and object, is a set of *tracks*. A track is the ordered sequence of distinct values
that one part of the object went through:

==================  ==================================================================================================
Config              spec (with its generation step), observedGeneration, status.storage, each condition
                    (status, reason, message), readyReplicas, and ``joint`` (see below)
ImagePruner         spec (with its generation step), observedGeneration, each condition
Deployment          generation step, strategy, replicas, env, volume, deletion (its status belongs to the real
                    controller-manager, not to the operator)
CronJob             schedule, suspend, args
==================  ==================================================================================================

Sequences must be equal, values compared in full, with one exception. Available, Progressing and readyReplicas of
Config are functions of the Deployment's status *at the moment of a sync*, so which of the short-lived states of a
running rollout end up in Config depends on the relative speed of operator and controller-manager. A value of these
three tracks that lasted less than `TRANSIENT` seconds may therefore be missing on either side. Nothing else may.

``joint`` holds those tracks together: every whole status that lasted at least `TRANSIENT` seconds in the recording must
appear in the simulation, in order; and so must the first status written after an action (the one that still carries
the old Deployment's conditions), however short it was.

Normalised before comparing: request ids of S3 answers, names of ReplicaSets, ``httpSecret``, the addresses of the S3
servers, generations (relative to the first line, or to the object's creation), keys that are null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TRACES = Path(__file__).resolve().parent.parent / "fixtures" / "traces"
# The genuine operator's client lets one sync pass every 0.6 s once its burst is used up: a value shown for less than
# about that long was shown by chance.
TRANSIENT = 0.7
OBJECTS = ("Config", "ImagePruner", "Deployment", "CronJob")
CONFIG_CONDITIONS = (
    "Available",
    "Progressing",
    "Degraded",
    "Removed",
    "StorageExists",
    "ImageRegistryCertificatesControllerDegraded",
)
ROLLOUT_TRACKS = ("Available", "Progressing", "readyReplicas")
PRUNER_CONDITIONS = ("Available", "Failed", "Scheduled", "Degraded")
_ENV = ("REGISTRY_STORAGE", "REGISTRY_OPENSHIFT_REQUESTS")


@dataclass
class Line:
    """One line of a recording: seconds since its start, the object's kind (or Action), the reduced object."""

    t: float
    kind: str
    body: Json


@dataclass
class Recording:
    """All lines of one scenario, in order."""

    name: str
    lines: list[Line]

    def first(self, kind: str) -> Json:
        """The state of an object before the first action."""
        return next(line.body for line in self.lines if line.kind == kind)

    def actions(self) -> list[Line]:
        """What was done, and when."""
        return [line for line in self.lines if line.kind == "Action"]


def load(name: str) -> Recording:
    """Read a recording by its name without suffix."""
    lines = []
    for text in (TRACES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        body = json.loads(text)
        lines.append(Line(body.pop("t"), body.pop("kind"), body))
    return Recording(name, lines)


def names() -> list[str]:
    """Names of all recordings."""
    return sorted(path.stem for path in TRACES.glob("*.jsonl"))


# From live objects to recorded lines.


def reduce(kind: str, obj: Json | None) -> Json:
    """A live object in the form of the recordings; None is an object that does not exist."""
    if obj is None:
        return {"absent": True}
    if kind in ("Config", "ImagePruner"):
        return _reduce_custom(obj)
    if kind == "Deployment":
        return _reduce_deployment(obj)
    container = obj["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    return {
        "schedule": obj["spec"]["schedule"],
        "suspend": obj["spec"]["suspend"],
        "args": [argument for argument in container["args"] if argument.startswith("--")],
    }


def _reduce_custom(obj: Json) -> Json:
    status = obj.get("status") or {}
    return {
        "generation": obj["metadata"]["generation"],
        "deleting": "deletionTimestamp" in obj["metadata"],
        "spec": {key: value for key, value in obj["spec"].items() if key != "observedConfig"},
        "status": {
            "observedGeneration": status.get("observedGeneration"),
            "readyReplicas": status.get("readyReplicas"),
            "storage": status.get("storage"),
            "conditions": [
                [item["type"], item["status"], item.get("reason"), item.get("message")]
                for item in status.get("conditions") or []
            ],
        },
    }


def _reduce_deployment(obj: Json) -> Json:
    pod = obj["spec"]["template"]["spec"]
    volumes = []
    for volume in pod["volumes"]:
        if volume["name"] == "registry-storage":
            claim = volume.get("persistentVolumeClaim")
            volumes.append(f"registry-storage:pvc={claim['claimName']}" if claim else "registry-storage:emptyDir")
    return {
        "generation": obj["metadata"]["generation"],
        "deleting": "deletionTimestamp" in obj["metadata"],
        "replicas": obj["spec"]["replicas"],
        "strategy": obj["spec"]["strategy"]["type"],
        "env": {
            item["name"]: item.get("value", "") for item in pod["containers"][0]["env"] if item["name"].startswith(_ENV)
        },
        "volumes": volumes,
    }


def normalise(body: Json, addresses: Mapping[str, str]) -> Json:
    """Remove what differs between two runs of the same scenario.

    :param addresses: texts of this run, such as an S3 endpoint, and what replaces them.
    """
    text = json.dumps(body)
    for address, replacement in addresses.items():
        text = text.replace(address, replacement)
    text = re.sub(r"request id: [^,\"\\]*", "request id: *", text)
    text = re.sub(r"host id: [^,\"\\]*", "host id: *", text)
    text = re.sub(r"image-registry-[0-9a-f]{8,10}\b", "image-registry-*", text)
    result: Json = _without_nulls(json.loads(text))
    if result.get("spec", {}).get("httpSecret"):
        result["spec"]["httpSecret"] = "<128 hex>"
    return result


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) if isinstance(item, dict) else item for item in value]
    return value


# Tracks.


@dataclass
class Step:
    """One value of a track: since when and for how long (seconds), and whether it is the first after an action."""

    value: Any
    since: float
    duration: float = float("inf")
    after_action: bool = False


Tracks = dict[str, list[Step]]


def tracks(lines: Iterable[Line], kind: str, addresses: Mapping[str, str] | None = None) -> Tracks:
    """The tracks of one object of a run."""
    result: Tracks = {}
    base: int | None = None
    previous: int | None = None
    pending_action = False
    for line in lines:
        if line.kind == "Action":
            pending_action = True
        if line.kind != kind:
            continue
        body = normalise(line.body, addresses or {})
        generation = body.get("generation")
        if generation is None:
            base, previous = 0, None
        else:
            if base is None:
                base = generation
            elif previous is not None and generation < previous:
                base = 0  # created again
            previous = generation
        for name, value in _values(kind, body, base or 0).items():
            steps = result.setdefault(name, [])
            if steps and steps[-1].value == value:
                continue
            if steps:
                steps[-1].duration = line.t - steps[-1].since
            observed = name == "joint" and steps and value[0] != steps[-1].value[0]
            steps.append(Step(value, line.t, after_action=bool(observed and pending_action)))
            if observed:
                pending_action = False
    return result


def _values(kind: str, body: Json, base: int) -> Json:
    if kind == "CronJob":
        return {name: body.get(name) for name in ("schedule", "suspend", "args")}
    if kind == "Deployment":
        fields = ("deleting", "replicas", "strategy", "env", "volumes")
        if body.get("absent"):
            return {"object": "absent"}
        return {"object": [body["generation"] - base, *(body.get(name) for name in fields)]}
    status = body.get("status", {})
    conditions = {item[0]: item[1:] for item in status.get("conditions") or []}
    observed = status.get("observedGeneration")
    step = observed - base if observed is not None else None
    result: Json = {"spec": [body["generation"] - base, body["deleting"], body["spec"]], "observedGeneration": step}
    for name in PRUNER_CONDITIONS if kind == "ImagePruner" else CONFIG_CONDITIONS:
        result[name] = conditions.get(name)
    if kind == "Config":
        result["storage"] = status.get("storage")
        result["readyReplicas"] = status.get("readyReplicas")
        # Another controller writes the certificates' condition: its place among these writes is a matter of chance.
        shared = [conditions.get(name) for name in CONFIG_CONDITIONS[:-1]]
        result["joint"] = [step, *shared, status.get("storage")]
    return result


# Comparing.


@dataclass
class Difference:
    """A track whose sequences do not agree."""

    kind: str
    track: str
    recorded: list[Any]
    simulated: list[Any]

    def __str__(self) -> str:
        def lines(values: list[Any]) -> str:
            return "".join(f"\n    {json.dumps(value)}" for value in values)

        return f"{self.kind} {self.track}\n  recorded:{lines(self.recorded)}\n  simulated:{lines(self.simulated)}"


@dataclass
class Comparison:
    """Result of comparing one recording: how many recorded values were matched, and what does not agree."""

    steps: int = 0
    differences: list[Difference] = field(default_factory=list)


def compare(
    recorded: Recording, simulated: list[Line], recorded_addresses: Mapping[str, str], addresses: Mapping[str, str]
) -> Comparison:
    """Compare a recording with the lines of a simulation of it."""
    result = Comparison()
    for kind in OBJECTS:
        expected, actual = tracks(recorded.lines, kind, recorded_addresses), tracks(simulated, kind, addresses)
        for name, steps in expected.items():
            counterpart = actual.get(name, [])
            result.steps += len(steps)
            if kind == "Config" and name == "joint":
                equal = _contains(counterpart, steps)
            else:
                equal = same_track(steps, counterpart, transients=kind == "Config" and name in ROLLOUT_TRACKS)
            if not equal:
                result.differences.append(
                    Difference(kind, name, [step.value for step in steps], [step.value for step in counterpart])
                )
    return result


def same_track(left: list[Step], right: list[Step], transients: bool) -> bool:
    """Whether two sequences agree, apart from transients where these are allowed."""

    @cache
    def match(i: int, j: int, last: str | None) -> bool:
        """Whether the rests from i and j can be aligned; ``last`` is the value both sides have now."""
        if i == len(left) and j == len(right):
            return True
        both = i < len(left) and j < len(right) and left[i].value == right[j].value
        if both and match(i + 1, j + 1, json.dumps(left[i].value)):
            return True
        for steps, position, following in ((left, i, (i + 1, j)), (right, j, (i, j + 1))):
            if position == len(steps):
                continue
            step = steps[position]
            # After a skipped transient a side may fall back to the value that both had before.
            repeated = json.dumps(step.value) == last
            if transients and (repeated or step.duration < TRANSIENT) and match(*following, last):
                return True
        return False

    return match(0, 0, None)


def _contains(simulated: list[Step], recorded: list[Step]) -> bool:
    """Whether every recorded status that lasted, or came first after an action, appears in the simulation, in order."""
    position = 0
    for step in recorded:
        if step.duration < TRANSIENT and not step.after_action:
            continue
        while position < len(simulated) and simulated[position].value != step.value:
            position += 1
        if position == len(simulated):
            return False
    return True
