# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at the registry's storage: what a snapshot shows, for all who conclude from it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Need,
    Signs,
    Waiting,
    not_observed,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import (
    rollout,
    template_edition,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    NOTHING,
    being_deleted,
    condition,
    generation,
    made_again,
    mapping_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import terminating_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    JSON,
    Carried,
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    deployment_difference,
    expected_deployment,
)

MADE = "made"
"""Sign that the operator has created the bucket."""
ELSEWHERE = frozenset({"IngressDegraded", "RouteDegraded"})
"""Trouble with exposing the registry: it stays available (operator fact 0.5), so a rollout only warns of it."""
RENDERING = 1.0
"""From when the operator carries a changed value until it has rendered the Deployment with it."""
CARRIED_AGAIN = 5.0
"""Between two looks at the operator's own objects while nothing else shows that it has been at work."""
_CLAIM_NOT_FOUND = re.compile(r"persistentvolumeclaims? \"(?P<name>[^\"]+)\" not found")


class Case:
    """One look at one snapshot: what it shows, read once."""

    def __init__(self, goal: StorageGoal, snapshot: StorageSnapshot, signs: Signs) -> None:
        self.goal, self.snapshot, self.signs = goal, snapshot, signs
        self.config: JSON = snapshot.config if isinstance(snapshot.config, Mapping) else NOTHING
        self.deployment: JSON = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else NOTHING
        self.claim: JSON = snapshot.claim if isinstance(snapshot.claim, Mapping) else NOTHING
        self.spec = mapping_at(self.config, "spec")
        self.generation = generation(self.config)
        self.made_again = made_again(self.config, goal.config_uid)
        self.min_generation = 0 if self.made_again else goal.min_generation
        self.observed = observed_generation(self.config)
        self.available = condition(self.config, "Available")
        self.progressing = condition(self.config, "Progressing")
        self.degraded = condition(self.config, "Degraded")
        self.rollout = rollout(self.deployment)
        if self.carried:
            self.carried_since = signs.hold("carried")
            signs.keep_first("carried beside", template_edition(self.deployment))
        self.stale = (
            deployment_difference(
                expected_deployment(self.spec, goal.spec, goal.backend), self.deployment, goal.container
            )
            if self.deployment
            else ""
        )

    @property
    def fresh(self) -> bool:
        """Whether the operator's status is about the spec that is there now, and not older than our change."""
        return bool(self.config) and self.observed >= max(self.min_generation, self.generation)

    @property
    def ours(self) -> bool:
        """Whether the Deployment is the one rendered from our Config, and its controller has taken note of it."""
        there = bool(self.deployment) and not being_deleted(self.deployment)
        return there and not self.stale and not self.unrenewed

    @property
    def unrenewed(self) -> str:
        """What shows that the Pods do not have the credentials or the CA bundle yet; empty when they do.

        The operator copies them into objects of its own first, and renders the Deployment anew afterwards. A template
        that was there already when the copy was seen first may be from before: then it gets a moment to be replaced.
        """
        renewal, carried = self.goal.renewal, self.snapshot.carried
        if renewal is None or self.signs.kept("no renewal"):
            return ""
        if not isinstance(carried, Carried):
            return "whether the operator has passed on what changed is being read"
        if not self.carried:
            missing = " and ".join(sorted(renewal.wanted - carried.parts))
            return f"the Pods have not been renewed: the operator has not passed the changed {missing} on to them yet"
        edition = template_edition(self.deployment)
        if edition == renewal.before:
            return f"the Deployment has not been renewed for the changed {' and '.join(sorted(renewal.wanted))} yet"
        if self.signs.kept(f"carried beside:{edition}") and self.signs.now - self.carried_since < RENDERING:
            return "checking whether the Deployment is renewed once more"
        return ""

    @property
    def carried(self) -> bool:
        """Whether the operator's own objects carry all that has to be renewed, as far as they may be read."""
        renewal, carried = self.goal.renewal, self.snapshot.carried
        return renewal is not None and isinstance(carried, Carried) and carried.holds(renewal)

    @property
    def serves(self) -> bool:
        """Whether a running registry is the goal."""
        return self.goal.spec.get("managementState", "Managed") not in ("Removed", "Unmanaged", None)

    @property
    def terminating(self) -> int:
        """Old Pods that are known to be terminating."""
        seen = len(terminating_pods(self.snapshot.pods)) if isinstance(self.snapshot.pods, tuple) else 0
        return max(seen, self.rollout.terminating)

    @property
    def claim_appeared(self) -> bool:
        """Whether the operator complains about a claim that is there by now: it does not watch claims."""
        missing = _CLAIM_NOT_FOUND.search(self.progressing.message)
        name = mapping_at(self.claim, "metadata").get("name")
        return missing is not None and name == missing["name"] and not being_deleted(self.claim)

    @property
    def claim_phase(self) -> str:
        """Phase of the claim in use, empty when it does not matter or was not looked at."""
        if self.goal.backend != "pvc" or not self.claim:
            return ""
        return str(mapping_at(self.claim, "status").get("phase") or "Pending")

    @property
    def claim_state(self) -> str:
        """The claim's phase, and what its StorageClass has to do with it."""
        name = mapping_at(self.claim, "metadata").get("name")
        class_name = mapping_at(self.claim, "spec").get("storageClassName")
        text = f"claim {name} is {self.claim_phase}"
        if self.snapshot.storage_class is None and class_name:
            return f"{text} (StorageClass {class_name} does not exist)"
        storage_class = self.snapshot.storage_class if isinstance(self.snapshot.storage_class, Mapping) else NOTHING
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return f"{text} (it is bound when the first Pod that uses it starts)"
        return f"{text} (StorageClass {class_name})" if class_name else text

    @property
    def claim_note(self) -> str:
        """The state of a claim that is not bound, to be appended to a line; else empty."""
        return f", {self.claim_state}" if self.claim_phase not in ("", "Bound") else ""

    @property
    def log_lines(self) -> list[str]:
        """What the registry's log says that matters."""
        return [finding.line for finding in self.snapshot.log] if isinstance(self.snapshot.log, tuple) else []

    @property
    def operator_statement(self) -> str:
        """A short name for what the operator reports, and about which generation."""
        exists = condition(self.config, "StorageExists")
        words = (self.observed, self.progressing, exists)
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]

    @property
    def deployment_edition(self) -> str:
        """Which edition of the Deployment is there."""
        metadata = mapping_at(self.deployment, "metadata")
        return f"edition:{metadata.get('uid')}:{metadata.get('generation')}"

    def remember_first_look(self) -> None:
        """Keep what was there at first: what changes afterwards is an answer to our change."""
        if not self.signs.kept("begun"):
            self.signs.keep("begun")
            self.signs.keep(f"said:{self.operator_statement}")
            self.signs.keep(self.deployment_edition)

    def remember_creation(self) -> None:
        """The operator reports only for a moment that it has created the bucket; then, that it exists."""
        exists = condition(self.config, "StorageExists")
        made = exists.true and exists.reason == "Creation Successful" and "bucket" in exists.message.lower()
        if self.goal.backend == "s3" and self.fresh and made:
            self.signs.keep(MADE)

    def unnoticed(self) -> Waiting:
        """Waiting for the operator to look at this generation."""
        return self.awaiting_operator(not_observed(self.generation, self.observed).why)

    def awaiting_operator(self, why: str) -> Waiting:
        """Waiting for what only the operator does; if it does not work, that is the reason."""
        return replace(self.waiting(why), on_operator=True)

    def waiting(self, why: str, *needs: Need) -> Waiting:
        """Waiting for the operator or the rollout; from now on, old Pods and the log matter as well."""
        self.signs.keep("moved")
        if self._carried_due:
            needs = (*needs, StorageNeed.CARRIED)
        class_name = mapping_at(self.claim, "spec").get("storageClassName")
        if self.claim_phase not in ("", "Bound") and class_name and self.snapshot.storage_class is UNSEEN:
            needs = (*needs, StorageNeed.STORAGE_CLASS)
        return Waiting(why, frozenset(needs))

    @property
    def _carried_due(self) -> bool:
        """Whether to look (again) at the objects in which the operator passes on credentials and certificates."""
        if self.goal.renewal is None or self.carried:
            return False
        carried = self.snapshot.carried
        return not isinstance(carried, Carried) or self.signs.now - carried.at >= CARRIED_AGAIN


def short(text: str, limit: int = 160) -> str:
    """The beginning of a text that would be too long for one line."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
