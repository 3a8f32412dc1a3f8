# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the operator itself works, from its Deployment and its Lease. Pure.

Only the leader acts. It renews its Lease; one that hangs, or was killed, does not, and nobody replaces it before the
Lease has run out (operator fact 3.4.7). The Lease's name may differ between products, so it is known by its holder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    condition,
    mapping_at,
    number_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import quoted
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.times import moment
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

NO_POD = 20.0
"""Seconds without a ready Pod after which the operator is not taken to be just starting."""
SUCCESSION = 30.0
"""Seconds after the end of a Lease within which another leader takes over; at most the Lease's own duration."""


@dataclass(frozen=True)
class OperatorTrouble:
    """Why nothing acts on a change.

    what: a clause without a full stop. since: when it began, by the cluster's clock; None when that is not known.
    patience: how many seconds of it may pass by themselves.
    """

    reason: str
    what: str
    since: datetime | None
    patience: float

    @property
    def scaled_down(self) -> bool:
        """Whether somebody wants no Pod of it."""
        return self.reason == _SCALED_DOWN


_SCALED_DOWN = "OperatorScaledDown"


def operator_trouble(
    platform: Platform, deployments: Iterable[JSON] | None, leases: Iterable[JSON] | None, now: datetime
) -> OperatorTrouble | None:
    """What is wrong with the operator; None when nothing is, as far as can be seen.

    deployments, leases: those of the operator's namespace, None when they may not be read. now: the cluster's clock.
    """
    if deployments is not None:
        found = _deployment_trouble(platform, deployments)
        if found is not None:
            return found
    return None if leases is None else _lease_trouble(platform, leases, now)


def _deployment_trouble(platform: Platform, deployments: Iterable[JSON]) -> OperatorTrouble | None:
    name = platform.operator_deployment
    operator = _named(deployments, name)
    if operator is None:
        return OperatorTrouble("OperatorAbsent", f"its Deployment {name} does not exist", None, NO_POD)
    if number_at(operator, "status", "readyReplicas"):
        return None
    if mapping_at(operator, "spec").get("replicas") == 0:
        return OperatorTrouble(_SCALED_DOWN, f"its Deployment {name} is scaled to 0", None, NO_POD)
    available = condition(operator, "Available")
    since = moment(available.changed) if available.status == "False" else None
    text = f"its Deployment {name} has no ready Pod" + (f" since {available.changed}" if since else "")
    return OperatorTrouble("OperatorNotReady", text, since, NO_POD)


def _lease_trouble(platform: Platform, leases: Iterable[JSON], now: datetime) -> OperatorTrouble | None:
    held = []
    for lease in leases:
        spec = mapping_at(lease, "spec")
        renewed = moment(spec.get("renewTime"))
        if str(spec.get("holderIdentity") or "").startswith(f"{platform.operator_deployment}-") and renewed is not None:
            held.append((renewed, number_at(spec, "leaseDurationSeconds"), lease))
    if not held:
        return None
    renewed, duration, lease = max(held, key=lambda entry: entry[0])  # an earlier release's may have stayed behind
    late = (now - renewed).total_seconds() - duration
    if late <= 0:
        return None
    name, text = quoted(str(mapping_at(lease, "metadata").get("name"))), mapping_at(lease, "spec").get("renewTime")
    return OperatorTrouble(
        "OperatorNotLeading",
        f"its Lease {name} was last renewed at {text} and has run out ({duration} s): the leader hangs or was killed",
        datetime.fromtimestamp(renewed.timestamp() + duration, renewed.tzinfo),
        min(SUCCESSION, float(duration)),
    )


def still_serving(platform: Platform, deployments: Iterable[JSON] | None) -> str:
    """What serves meanwhile, as a sentence; empty when nothing does or it is not known."""
    registry = _named(deployments or (), platform.deployment)
    ready = number_at(registry, "status", "readyReplicas")
    if not ready:
        return ""
    wanted = number_at(registry, "spec", "replicas")
    return f"The registry itself serves meanwhile, as it did before ({ready}/{wanted} replicas are ready)."


def _named(items: Iterable[JSON], name: str) -> JSON | None:
    return next((item for item in items if mapping_at(item, "metadata").get("name") == name), None)
