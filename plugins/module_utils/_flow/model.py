# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that travel between the rooms: what is wanted, what was seen, what is concluded.

Nothing here does I/O. Kubernetes objects are plain mappings as the API server sent them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Union

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding

JSON = Mapping[str, Any]


class Unseen(Enum):
    """Marks a part of a Snapshot that nobody looked at (None means: looked, and it does not exist)."""

    UNSEEN = "unseen"


UNSEEN = Unseen.UNSEEN
Seen = Union[JSON, None, Unseen]


class Need(Enum):
    """Evidence the judge asks for before it can conclude; the observer fetches it and asks again."""

    PROBE = "probe"
    LOG = "log"
    PODS = "pods"


@dataclass(frozen=True)
class Goal:
    """What must be true of the cluster before a task may say done.

    spec: owned fields of Config.spec in merge patch form (None = must be absent or empty).
    backend: key in spec.storage ("emptyDir", "pvc", "s3", …), or None when storage is not this task's business.
    min_generation: metadata.generation of Config after our write, or as read when nothing was written.
    deployment_generation_over: the Deployment's generation must be greater than this one; set when something that
        shows in no spec field was changed (credentials, a CA bundle), so that the old rollout is never taken for ours.
    deployment_uid: which Deployment that generation belongs to ("" when not known); another one is newer in any case.
    renewal_may_not_come: the Pods may have been started with these values already, and nobody can tell beforehand.
    env: environment of the container "registry" that must be set so (None = must be absent).
    """

    spec: JSON
    min_generation: int
    backend: str | None = None
    deployment_generation_over: int | None = None
    deployment_uid: str = ""
    renewal_may_not_come: bool = False
    env: Mapping[str, str | None] = field(default_factory=dict)
    probe: str = "auto"  # "auto", "require", "write", "skip"
    container: str = "registry"


class Answer(Enum):
    """What one probe of the registry proves (see _probe)."""

    SERVES = "serves"
    BROKEN = "broken"
    TOO_EARLY = "too early"
    FORBIDDEN = "forbidden"
    REFUSED = "upload refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Probe:
    """One answer of the registry through the API server's proxy. at: monotonic seconds."""

    answer: Answer
    via: str
    status: int
    at: float
    detail: str = ""


@dataclass(frozen=True)
class Snapshot:
    """What the cluster showed at one moment. at: monotonic seconds."""

    at: float
    config: Seen = UNSEEN
    deployment: Seen = UNSEEN
    pods: tuple[JSON, ...] | Unseen = UNSEEN
    claim: Seen = UNSEEN
    storage_class: Seen = UNSEEN
    pruner: Seen = UNSEEN
    cronjob: Seen = UNSEEN
    namespaces: tuple[JSON, ...] | Unseen = UNSEEN
    selected: tuple[JSON, ...] | Unseen = UNSEEN
    bindings: tuple[JSON, ...] | Unseen = UNSEEN
    secrets: tuple[JSON, ...] | Unseen = UNSEEN
    accounts: tuple[JSON, ...] | Unseen = UNSEEN
    probes: tuple[Probe, ...] | Unseen = UNSEEN
    log: tuple[LogFinding, ...] | Unseen = UNSEEN


@dataclass(frozen=True)
class Done:
    """The effect is there. summary: one line for people. warnings: what could not be proven, and why."""

    summary: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """Not there yet.

    why: one line, what is true now and what is missing. needs: evidence to fetch before judging again.
    """

    why: str
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True)
class Failed:
    """It will not get there by itself.

    reason: the operator's or Kubernetes' reason code. quoted: the text as the cluster said it.
    cause: what that means. remedy: what to do next.
    """

    reason: str
    quoted: str
    cause: str
    remedy: str


def changed_back(kind: str, resource: str, fields: str) -> Failed:
    """Our write was undone. resource: the name of the kind for kubectl."""
    return Failed(
        "SpecChanged",
        f"{kind}.spec differs again in: {fields}",
        "Another writer or the operator changed it back after our write.",
        "Run the task again; if this happens again, find the other writer (GitOps, another playbook) with "
        f"kubectl get {resource} cluster -o yaml --show-managed-fields.",
    )


def unauthorized(quoted: str, cause: str) -> Failed:
    """The API server rejects credentials that it accepted before."""
    return Failed(
        "Unauthorized",
        quoted,
        cause,
        "Renew the credentials and run the task again; it continues from the current state.",
    )


Verdict = Union[Done, Waiting, Failed]


@dataclass(frozen=True)
class History:
    """What the judge remembers between snapshots.

    since: from when (monotonic seconds) each sign has been there without a break.
    """

    since: Mapping[str, float] = field(default_factory=dict)
