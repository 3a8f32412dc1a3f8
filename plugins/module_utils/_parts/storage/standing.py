# SPDX-License-Identifier: GPL-3.0-or-later
"""What serves images although a change did not take effect, and from where. Pure."""

from __future__ import annotations

from collections import Counter

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import count
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import condition, mapping_at
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import pod_name, staying_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import JSON, StorageSnapshot
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import place_of_images


def serving(container: str, snapshot: StorageSnapshot) -> str:
    """A sentence; empty when it is not known. container: the registry's.

    By the Pods themselves, since those of before use another storage than the Deployment by now. Ready says nothing
    about storage, so a Pod that was found broken does not count.
    """
    if not isinstance(snapshot.pods, tuple):
        return ""
    probes = snapshot.probes if isinstance(snapshot.probes, tuple) else ()
    broken = {probe.via for probe in probes if probe.answer is Answer.BROKEN}
    ready = [pod for pod in staying_pods(snapshot.pods) if condition(pod, "Ready").true]
    behind_service = any(via.startswith("service/") for via in broken)
    good = [pod for pod in ready if not behind_service and f"pod/{pod_name(pod)}" not in broken]
    if not good:
        return "At the moment no Pod of the registry serves images."
    places = Counter(place_of_images(_as_workload(pod), container) for pod in good)
    parts = [f"{count(number, 'Pod')}{f' from {place}' if place else ''}" for place, number in sorted(places.items())]
    return f"Meanwhile the registry still serves: {', '.join(parts)}."


def _as_workload(pod: JSON) -> JSON:
    return {"spec": {"template": {"spec": mapping_at(pod, "spec")}}}
