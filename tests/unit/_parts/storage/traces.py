# SPDX-License-Identifier: GPL-3.0-or-later
"""Replays the recordings of the genuine operator to the judge, and works out independently what was true when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Done,
    Failed,
    History,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import template_edition
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    Carried,
    Renewal,
    StorageGoal,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.judge import judge

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"
BACKENDS = ("emptyDir", "pvc", "s3")
TICK = 0.25
"""Seconds between two judgements when nothing changes, as in the observer."""
AFTERWARDS = 15.0
"""Seconds for which the last recorded state is held: a recording ends when nothing changes any more."""


# -- the recording as Kubernetes objects -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """One recorded line. ``line`` is as written in the file."""

    t: float
    kind: str
    line: Mapping[str, Any]


def load(name: str) -> list[Moment]:
    """The lines of one recording."""
    lines = [json.loads(text) for text in (TRACES / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return [Moment(line["t"], line["kind"], line) for line in lines]


def trace_names() -> list[str]:
    """All recordings."""
    return sorted(path.stem for path in TRACES.glob("*.jsonl"))


def _compact(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def config_object(line: Mapping[str, Any]) -> dict[str, Any]:
    """A Config as the API server would send it."""
    status = _compact(line["status"])
    recorded = status.pop("conditions", None) or line.get("conditions") or []
    status["conditions"] = [
        _compact({"type": kind, "status": state, "reason": reason, "message": message})
        for kind, state, reason, message in recorded
    ]
    metadata = {"name": "cluster", "generation": line["generation"]}
    if line.get("deleting"):
        metadata["deletionTimestamp"] = "2026-11-22T00:00:00Z"
    return {"metadata": metadata, "spec": line["spec"], "status": status}


def deployment_object(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """A Deployment as the API server would send it, without what the recording leaves out; None when it is absent."""
    if line.get("absent"):
        return None
    names = {
        "observed_generation": "observedGeneration",
        "replicas": "replicas",
        "updated_replicas": "updatedReplicas",
        "ready_replicas": "readyReplicas",
        "available_replicas": "availableReplicas",
    }
    status = _compact({names[key]: value for key, value in line["status"].items()})
    status["conditions"] = [
        {"type": kind, "status": state, "reason": reason} for kind, state, reason in line["conditions"]
    ]
    metadata = {"name": "image-registry", "generation": line["generation"]}
    if line["deleting"]:
        metadata["deletionTimestamp"] = "2026-11-22T00:00:00Z"
    container = {"name": "registry", "env": [{"name": name, "value": value} for name, value in line["env"].items()]}
    return {
        "metadata": metadata,
        "spec": {
            "replicas": line["replicas"],
            "strategy": {"type": line["strategy"]},
            "template": {
                # Not recorded. Nobody but the operator wrote these Deployments, so a generation is a rendering.
                "metadata": {"annotations": {"operator/dependencies-checksum": str(line["generation"])}},
                "spec": {"containers": [container], "volumes": [_volume(text) for text in line["volumes"]]},
            },
        },
        "status": status,
    }


def _volume(text: str) -> dict[str, Any]:
    name, _, source = text.partition(":")
    if source == "emptyDir":
        return {"name": name, "emptyDir": {}}
    return {"name": name, "persistentVolumeClaim": {"claimName": source.removeprefix("pvc=")}}


# -- runs: what a task would have requested, and when ------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One task over a recording: it starts at ``start``, and nothing else happens until ``end``."""

    trace: str
    action: str
    goal: StorageGoal
    start: float
    end: float


def _requested(patch: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """What a patch requests; values that it leaves to the operator are omitted."""
    requested: dict[str, Any] = {}
    for key, value in patch.items():
        if value == "" or (inside == "storage" and key == "managementState" and value is None):
            continue
        requested[key] = _requested(value, key) if isinstance(value, dict) else value
    return requested


def _backend(spec: Mapping[str, Any]) -> str | None:
    named = [name for name in BACKENDS if (spec.get("storage") or {}).get(name) is not None]
    return named[-1] if named else None


def runs(trace: str) -> Iterator[Run]:
    """The runs of one recording: a check of the settled state at its beginning, then one per action that matters."""
    moments = load(trace)
    actions = [index for index, moment in enumerate(moments) if moment.kind == "Action"]
    ends = {index: moments[after].t for index, after in pairwise(actions)}
    last = moments[-1].t + AFTERWARDS
    settled = moments[actions[0] - 1].t
    config, deployment = _state(moments[: actions[0]])
    goal = StorageGoal(
        spec={
            "managementState": "Managed",
            "replicas": config["spec"]["replicas"],
            "storage": {"emptyDir": {}, "pvc": None},
        },
        min_generation=config["metadata"]["generation"],
        backend="emptyDir",
        probe="skip",
    )
    yield Run(trace, "(nothing)", goal, settled, moments[actions[0]].t)
    for index in actions:
        action = moments[index].line["do"]
        config, deployment = _state(moments[:index])
        end = ends.get(index, last)
        patch = re.fullmatch(r"patch Config (\{.*\})", action)
        if patch:
            spec = _requested(json.loads(patch[1])["spec"])
            goal = StorageGoal(
                spec=spec, min_generation=config["metadata"]["generation"] + 1, backend=_backend(spec), probe="skip"
            )
            yield Run(trace, action, goal, moments[index].t, end)
            continue
        same_goal = replace(goal, min_generation=config["metadata"]["generation"], renewal=None)
        renewed = action in ("rotate S3 secret", "correct the S3 secret") or (
            action == "create S3 secret" and index != actions[0]
        )
        if renewed and goal.backend == "s3":
            assert deployment is not None
            renewal = Renewal(credentials={"recorded": ""}, bundle="", before=template_edition(deployment))
            changed = replace(same_goal, renewal=renewal)
            # The bucket that follows belongs to the same preparation.
            following = [
                moments[after].t for after in actions if after > index and "bucket" not in moments[after].line["do"]
            ]
            yield Run(trace, action, changed, moments[index].t, min(following, default=last))
        elif action == "delete Deployment" or (action == "delete ConfigMap s3-ca" and goal.backend == "s3"):
            # Nobody can know before it shows; the recorded objects change together.
            yield Run(trace, action, same_goal, moments[index + 1].t + 0.1, end)


def _state(moments: list[Moment]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    config = next(moment.line for moment in reversed(moments) if moment.kind == "Config")
    deployment = next(moment.line for moment in reversed(moments) if moment.kind == "Deployment")
    return config_object(config), deployment_object(deployment)


def states(run: Run) -> Iterator[StorageSnapshot]:
    """What an observer sees during a run: every recorded change, and a snapshot every TICK in between."""
    moments = load(run.trace)
    known = [moment for moment in moments if moment.t <= run.start]
    coming = [
        moment for moment in moments if run.start < moment.t < run.end and moment.kind in ("Config", "Deployment")
    ]
    config, deployment = _state(known)
    now = run.start

    def snapshot() -> StorageSnapshot:
        """What the operator passes on was not recorded: it is there at the latest when it has rendered the Pods."""
        renewal, carried = run.goal.renewal, frozenset[str]()
        if renewal is not None and deployment is not None and template_edition(deployment) != renewal.before:
            carried = renewal.wanted
        return StorageSnapshot(
            at=now, config=config, deployment=deployment, requested_at=now, carried=Carried(now, carried)
        )

    yield snapshot()
    for moment in [*coming, None]:
        until = moment.t if moment is not None else run.end
        while now + TICK < until:
            now = round(now + TICK, 3)
            yield snapshot()
        if moment is None:
            return
        now = moment.t
        if moment.kind == "Config":
            config = config_object(moment.line)
        else:
            deployment = deployment_object(moment.line)
        yield snapshot()


@dataclass(frozen=True)
class Outcome:
    """The first verdict that ends a run (or the last Waiting), and when it was given."""

    verdict: Verdict
    at: float


def replay(run: Run) -> Outcome:
    """Feed a run into the judge."""
    history, at = History(), run.start
    verdict: Verdict = Waiting("nothing was seen")
    for snapshot in states(run):
        verdict, history = judge(run.goal, snapshot, history)
        at = snapshot.at
        if isinstance(verdict, (Done, Failed)):
            break
    return Outcome(verdict, at)


# -- the truth, worked out from the recorded lines alone ---------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """true_at: when the effect was complete. named_at: when the operator began to report the error it ended with."""

    true_at: float | None
    named_at: float | None
    named: str


def truth(run: Run) -> Truth:
    """When a run's goal was really reached, and since when the error that persisted was reported."""
    true_at: float | None = None
    named_at: float | None = None
    named = ""
    for snapshot in states(run):
        config, deployment = snapshot.config, snapshot.deployment
        assert isinstance(config, dict)
        current = config["metadata"]["generation"] >= run.goal.min_generation
        current = current and config["status"].get("observedGeneration") == config["metadata"]["generation"]
        error = _error(run, config) if current else ""
        if error != named:
            named, named_at = error, snapshot.at if error else None
        if true_at is None and current and not error:
            assert deployment is None or isinstance(deployment, dict)
            if _reached(run.goal, config, deployment):
                true_at = snapshot.at
    return Truth(true_at, named_at, named)


def _conditions(value: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        entry["type"]: (entry["status"], entry.get("reason", ""), entry.get("message", ""))
        for entry in value["status"]["conditions"]
    }


def _error(run: Run, config: Mapping[str, Any]) -> str:
    conditions = _conditions(config)
    if (
        run.goal.spec.get("managementState", "Managed") == "Managed"
        and config["spec"].get("managementState") == "Unmanaged"
    ):
        return "Unmanaged"
    if conditions["Degraded"][0] == "True":
        return conditions["Degraded"][1]
    if conditions["Progressing"][1] == "Error":
        return re.sub(r"request id: \w*", "", conditions["Progressing"][2])
    return ""


def _reached(goal: StorageGoal, config: Mapping[str, Any], deployment: Mapping[str, Any] | None) -> bool:
    spec, conditions = config["spec"], _conditions(config)
    if not _holds(goal.spec, spec):
        return False
    aim = goal.spec.get("managementState", "Managed")
    if aim is None or aim == "Removed":
        return deployment is None and conditions["Available"][:2] == ("True", "Removed")
    if aim == "Unmanaged":
        return conditions["Available"][1] == "Unmanaged"
    if (conditions["Available"][:2], conditions["Progressing"][:2]) != (("True", "Ready"), ("False", "Ready")):
        return False
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return False
    if goal.renewal is not None and template_edition(deployment) == goal.renewal.before:
        return False
    status, counts = deployment["status"], ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and [status.get(count) for count in counts] == [spec["replicas"]] * 4
        and ("Progressing", "NewReplicaSetAvailable") in [(c["type"], c["reason"]) for c in status["conditions"]]
        and deployment["spec"]["strategy"]["type"] == spec["rolloutStrategy"]
        and _rendered(spec, deployment)
    )


def _rendered(spec: Mapping[str, Any], deployment: Mapping[str, Any]) -> bool:
    """Whether the recorded environment and volume are those of the spec (all of it, not only what was requested)."""
    template = deployment["spec"]["template"]["spec"]
    env = {entry["name"]: entry["value"] for entry in template["containers"][0]["env"]}
    storage, volumes = spec["storage"], template["volumes"]
    if "s3" in storage:
        placed = env.get("REGISTRY_STORAGE_S3_BUCKET") == storage["s3"]["bucket"] and not volumes
    elif "pvc" in storage:
        placed = volumes == [_volume(f"registry-storage:pvc={storage['pvc']['claim']}")]
    else:
        placed = volumes == [_volume("registry-storage:emptyDir")]
    reading = (spec.get("requests") or {}).get("read", {}).get("maxRunning")
    return (
        placed
        and ("REGISTRY_STORAGE_MAINTENANCE_READONLY" in env) == bool(spec.get("readOnly"))
        and ("REGISTRY_STORAGE_REDIRECT_DISABLE" in env) == bool(spec.get("disableRedirect"))
        and env.get("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING") == (str(reading) if reading else None)
    )


def _holds(requested: Mapping[str, Any], have: Mapping[str, Any]) -> bool:
    """Whether every requested value is there (recorded in the literal form that was sent)."""
    for key, value in requested.items():
        if isinstance(value, dict):
            if not isinstance(have.get(key), dict) or not _holds(value, have[key]):
                return False
        elif value is None or value is False:
            if key == "requests":
                if any(limits.get("maxRunning") for limits in have.get(key, {}).values()):
                    return False
            elif have.get(key) or (value is None and key in have):
                return False
        elif have.get(key) != value:
            return False
    return True
