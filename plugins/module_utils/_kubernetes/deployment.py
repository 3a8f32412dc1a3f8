# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Deployment shows: its template, and how far its rollout is. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    NOTHING,
    condition,
    generation,
    mapping_at,
    mappings_at,
    number_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import written

_CHECKSUM = "/dependencies-checksum"
"""How the name of the operator's annotation ends, whatever the API group (operator facts 0.8 and 4.8)."""

# -- the template ------------------------------------------------------------------------------------------------------


def pod_spec(deployment: JSON) -> JSON:
    """The spec of the Pods that the Deployment makes."""
    return mapping_at(deployment, "spec", "template", "spec")


def container(deployment: JSON, name: str) -> JSON:
    """The container ``name`` of the template; empty when there is none."""
    return next(
        (entry for entry in mappings_at(pod_spec(deployment), "containers") if entry.get("name") == name), NOTHING
    )


def environment(deployment: JSON, name: str) -> dict[str, str | None]:
    """Environment of the container ``name``; None for a value that comes from elsewhere (valueFrom)."""
    values: dict[str, str | None] = {}
    for entry in mappings_at(container(deployment, name), "env"):
        value = entry.get("value")
        values[str(entry.get("name"))] = None if value is None and entry.get("valueFrom") else str(value or "")
    return values


def volume(deployment: JSON, name: str) -> JSON:
    """The volume ``name`` of the template; empty when there is none."""
    return next((entry for entry in mappings_at(pod_spec(deployment), "volumes") if entry.get("name") == name), NOTHING)


def label_selector(deployment: JSON) -> str:
    """The Deployment's selector as a query for its Pods; empty when it has none."""
    labels = mapping_at(deployment, "spec", "selector", "matchLabels")
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def template_edition(deployment: JSON) -> str:
    """What changes whenever the operator renders other Pods: its checksum of all that they read when they start.

    Without that annotation, the Deployment and its whole template, except for what kubectl adds to restart the Pods.
    """
    annotations = mapping_at(deployment, "spec", "template", "metadata", "annotations")
    checksum = next((str(text) for key, text in annotations.items() if key.endswith(_CHECKSUM)), "")
    if checksum or not deployment:
        return checksum
    template = mapping_at(deployment, "spec", "template")
    own = {key: text for key, text in annotations.items() if not key.startswith("kubectl.kubernetes.io/")}
    shape = [mapping_at(deployment, "metadata").get("uid"), template.get("spec"), own]
    return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()


def template_rendered(deployment: JSON) -> str:
    """When the operator last wrote the Pods' template (RFC 3339), "" when that does not show.

    By who owns its checksum or else the containers: a restart or an annotation by hand is not a rendering.
    """
    template = ("spec", "template")
    checksum = written(deployment, *template, "metadata", "annotations", f"*{_CHECKSUM}")
    return checksum or written(deployment, *template, "spec", "containers")


# -- the rollout -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rollout:
    """How far the Deployment's controller is.

    observed: whether it has looked at the newest generation. wanted, updated, ready, available, total: Pods.
    terminating: Pods that are being deleted, as far as the status counts them.
    """

    observed: bool
    wanted: int
    updated: int
    ready: int
    available: int
    total: int
    terminating: int
    reason: str

    @property
    def complete(self) -> bool:
        """Whether exactly the wanted Pods run, all of the newest template."""
        counts = {self.updated, self.ready, self.available, self.total}
        settled = not self.terminating and self.reason == "NewReplicaSetAvailable"
        return self.observed and settled and counts == {self.wanted}


def rollout(deployment: JSON) -> Rollout:
    """The state of a Deployment's rollout (kubectl rollout status, plus old Pods that are still terminating)."""
    status = mapping_at(deployment, "status")
    return Rollout(
        observed=observed_generation(deployment) >= generation(deployment),
        wanted=number_at(deployment, "spec", "replicas"),
        updated=number_at(status, "updatedReplicas"),
        ready=number_at(status, "readyReplicas"),
        available=number_at(status, "availableReplicas"),
        total=number_at(status, "replicas"),
        terminating=number_at(status, "terminatingReplicas"),
        reason=condition(deployment, "Progressing").reason,
    )
