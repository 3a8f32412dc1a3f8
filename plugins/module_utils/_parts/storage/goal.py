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
    CARRIED = "carried"

    @property
    def prompt(self) -> bool:
        """What is passed on is seen before the rollout that it causes, so that both are waited for at once."""
        return self is StorageNeed.CARRIED


CREDENTIALS = "credentials"
BUNDLE = "CA bundle"
"""What can have to be renewed; also the words for it in messages."""


@dataclass(frozen=True)
class Renewal:
    """What has to reach the Pods although it shows in no field of the spec. The operator copies it first into objects
    of its own, which the Pods read when they start, and then renders the Deployment anew (operator facts 4.8 and 4.11).

    credentials: digest of each wanted credential by key of the user Secret. bundle: digest of the CA bundle. Empty:
        these do not matter.
    before: edition of the Pod template at planning, which has to be replaced.
    patience: seconds after which a template that stays the same, although the operator's objects carry everything,
        counts as rendered from the same content; None when it certainly was not.
    """

    credentials: Mapping[str, str]
    bundle: str
    before: str
    patience: float | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """What the operator's own objects have to carry."""
        named = ((CREDENTIALS, self.credentials), (BUNDLE, self.bundle))
        return frozenset(name for name, digests in named if digests)


@dataclass(frozen=True)
class Carried:
    """Of what is wanted, what the operator's own objects carried. at: monotonic seconds.

    hidden: why they could not be read; empty when they could.
    """

    at: float
    parts: frozenset[str]
    hidden: str = ""

    def holds(self, renewal: Renewal) -> bool:
        """Whether nothing that can be read is missing."""
        return bool(self.hidden) or renewal.wanted <= self.parts


@dataclass(frozen=True)
class StorageGoal:
    """What must be true of the cluster before registry_storage may say done.

    spec: owned fields of Config.spec in merge patch form (None = must be absent or empty).
    backend: key in spec.storage ("emptyDir", "pvc", "s3", …), or None when storage is not this task's business.
    claim: name of the claim whose binding matters, None without one.
    capacity: size that the claim's volume must have (a quantity), "" when that does not matter.
    min_generation: metadata.generation of Config after our write, or as read when nothing was written.
    config_uid: which Config that generation belongs to.
    changed_at: when Config or what goes with it was last written, by the API server's clock; "" when not known.
    renewal: credentials or a CA bundle that have to reach the Pods; None when the Pods have them.
    """

    spec: JSON
    min_generation: int
    backend: str | None = None
    claim: str | None = None
    capacity: str = ""
    renewal: Renewal | None = None
    changed_at: str = ""
    config_uid: str = ""
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
    carried: Carried | Unseen = UNSEEN
    probes: tuple[Probe, ...] | Unseen = UNSEEN
    log: tuple[LogFinding, ...] | Unseen = UNSEEN

    def without_evidence(self) -> StorageSnapshot:
        """The same without what was probed or logged: that is worthless once a Pod or the Deployment has changed."""
        return replace(self, probes=UNSEEN, log=UNSEEN)
