# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of the registry's storage, and what of the cluster that depends on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Need,
    Seen,
    Snapshot,
    State,
    Unseen,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Probe

JSON = Mapping[str, Any]


class StorageNeed(Need):
    """Evidence that the judge of storage asks for."""

    PROBE = "probe"
    LOG = "log"
    STORAGE_CLASS = "storage class"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True)
class StorageGoal:
    """What must be true of the cluster before registry_storage may say done.

    spec: owned fields of Config.spec in merge patch form (None = must be absent or empty).
    backend: key in spec.storage ("emptyDir", "pvc", "s3", …), or None when storage is not this task's business.
    claim: name of the claim whose binding matters, None without one.
    min_generation: metadata.generation of Config after our write, or as read when nothing was written.
    config_uid: which Config that generation belongs to.
    deployment_generation_over: the Deployment's generation must be greater than this one; set when something that
        shows in no spec field was changed (credentials, a CA bundle), so that the old rollout is never taken for ours.
    deployment_uid: which Deployment that generation belongs to ("" when not known); another one is newer in any case.
    changed_at: when Config or what goes with it was last written, by the API server's clock; "" when not known.
    renewal_may_not_come: the Pods may have been started with these values already, and nobody can tell beforehand.
    """

    spec: JSON
    min_generation: int
    backend: str | None = None
    claim: str | None = None
    deployment_generation_over: int | None = None
    deployment_uid: str = ""
    changed_at: str = ""
    config_uid: str = ""
    renewal_may_not_come: bool = False
    probe: str = "auto"  # "auto", "require", "write", "skip"
    container: str = "registry"


@dataclass(frozen=True)
class StorageSnapshot(Snapshot):
    """What the cluster showed at one moment. storage_class: the claim's own, empty when it may not be read.

    requested_at: when the Deployment was last read by a request of its own (monotonic seconds), whose answer is never
    older than anything seen before; what is watched may arrive late.
    """

    config: Seen = UNSEEN
    deployment: Seen = UNSEEN
    pods: State = UNSEEN
    claim: Seen = UNSEEN
    storage_class: Seen = UNSEEN
    requested_at: float = float("-inf")
    probes: tuple[Probe, ...] | Unseen = UNSEEN
    log: tuple[LogFinding, ...] | Unseen = UNSEEN

    def without_evidence(self) -> StorageSnapshot:
        """The same without what was probed or logged: that is worthless once a Pod or the Deployment has changed."""
        return replace(self, probes=UNSEEN, log=UNSEEN)
