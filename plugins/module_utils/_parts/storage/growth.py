# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the claim's volume has grown as requested, by what Kubernetes reports on the claim. Pure.

Growing is Kubernetes' work: its resizer enlarges the volume, then the kubelet of the node enlarges the file system,
with some drivers only when a Pod that uses the volume starts. Source: Kubernetes, Expanding Persistent Volumes Claims.
"""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Failed,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import label_selector
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    condition,
    mapping_at,
    mappings_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import plain
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import Case, short

INFEASIBLE = 3.0
"""Seconds that a resize must be called infeasible; Kubernetes tries again slowly, but expects it to fail."""
FILE_SYSTEM = 90.0
"""Seconds that the file system may take to follow its volume while a Pod uses it; a kubelet looks once a minute."""


def judge_growth(case: Case, accepted: str) -> Verdict | None:
    """The verdict while the volume has less than what was requested; None when it has enough. accepted: for lines."""
    has = str(mapping_at(case.claim, "status", "capacity").get("storage") or "")
    if not case.claim or not case.goal.capacity or not has:
        return None
    try:
        if parse_quantity(has) >= parse_quantity(case.goal.capacity):
            return None
    except ValueError:
        return None
    name = mapping_at(case.claim, "metadata").get("name")
    state = f"claim {name} has {has} of the {case.goal.capacity} requested"
    reason, message = _reported(case)
    resizing = condition(case.claim, "FileSystemResizePending")
    if "Infeasible" in reason and case.signs.lasted("infeasible") >= INFEASIBLE:
        return Failed(
            reason,
            message,
            f"The volume cannot grow: {state}.",
            "Look at the claim's events (kubectl describe pvc); request what the storage can give, or move the images.",
        )
    if resizing.true and case.signs.lasted("file system") >= FILE_SYSTEM:
        return Failed(
            resizing.kind,
            plain(resizing.message),
            f"The volume has grown, its file system has not: {state}. The storage driver does not grow it while "
            "a Pod uses it.",
            f"Restart the registry's Pods ({_restart(case)}), which interrupts them for a moment; then run the task "
            "again.",
        )
    words = (
        f" ({reason}: {short(message)})" if message else f" ({reason or 'nothing reports that it is being resized'})"
    )
    # No rollout follows, so this is not something that the Deployment would have to answer.
    return Waiting(f"{accepted}; rollout complete, but {state}{words}")


def _reported(case: Case) -> tuple[str, str]:
    """What the claim reports about its resizing: reason and message, empty when nothing."""
    state = str(mapping_at(case.claim, "status", "allocatedResourceStatuses").get("storage") or "")
    entries = [item for item in mappings_at(case.claim, "status", "conditions") if "Resiz" in str(item.get("type"))]
    errors = [item for item in entries if "Error" in str(item.get("type"))]
    chosen = next(iter([*errors, *entries]), {})
    message = plain(str(chosen.get("message") or ""))
    return state or str(chosen.get("type") or ""), message


def _restart(case: Case) -> str:
    """The command that has the Pods started again; the operator would undo a restart by an annotation."""
    namespace = mapping_at(case.claim, "metadata").get("namespace")
    return f"kubectl -n {namespace} delete pod -l {label_selector(case.deployment)}"
