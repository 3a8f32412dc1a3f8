# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_storage as a part: what it reads, what it follows, and how its evidence is gathered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part, Target, seen_object
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Plan,
    Readings,
    Ref,
    Write,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    History,
    Need,
    Seen,
    Signs,
    State,
    Verdict,
    only,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import label_selector
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
    namespaced,
    uid,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import written
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import owned_pods
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import evidence
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import MADE
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.events import telling_events
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    JSON,
    Carried,
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.images import note_bucket
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.judge import judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.plan import needs, plan
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.standing import serving
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform


class StoragePart(Part[StorageGoal, StorageSnapshot]):
    """Config/cluster and everything that has to follow from it: Deployment, Pods, claim, the registry's own answer."""

    name = "registry_storage"
    main = "config"
    confirm = True

    def __init__(self, platform: Platform, params: JSON) -> None:
        super().__init__(platform)
        self._intent = parse_intent(params, platform)

    @property
    def main_path(self) -> str:
        """Path of Config/cluster."""
        return self.platform.config_path

    def needs(self, seen: Readings) -> list[Ref]:
        """See plan."""
        return needs(self._intent, seen)

    def plan(self, seen: Readings) -> Plan[StorageGoal]:
        """See plan."""
        return plan(self._intent, seen)

    def aim(self, goal: StorageGoal, seen: Readings, failures: Mapping[str, str]) -> StorageGoal:
        """The generation that carries our values is known once the patch has been answered."""
        config = seen["config"]
        changed_at = max(written(seen.get(label)) for label in ("config", "secret", "ca"))
        return replace(
            goal,
            min_generation=max(goal.min_generation, generation(config)),
            config_uid=uid(config),
            changed_at=changed_at,
        )

    def first(self, goal: StorageGoal, seen: Readings, at: float) -> StorageSnapshot:
        """Config, Deployment and claim, as they were read."""
        deployments = seen.get("deployments")
        return StorageSnapshot(
            at=at,
            config=seen_object(seen["config"]),
            deployment=named(deployments, self.platform.deployment) if isinstance(deployments, tuple) else UNSEEN,
            claim=seen_object(seen["claim"]) if goal.claim else UNSEEN,
        )

    def targets(self, goal: StorageGoal, snapshot: StorageSnapshot) -> Sequence[Target[StorageSnapshot]]:
        """Config, Deployment, the claim, and the Pods as soon as the Deployment shows their labels."""
        platform = self.platform
        targets = [
            Target(
                "config",
                f"{platform.api}/configs",
                _with_config,
                field_selector=f"metadata.name={platform.singleton}",
                required=True,
            ),
            Target(
                "deployment",
                namespaced(platform.namespace, "deployments", api="/apis/apps/v1"),
                _with_deployment,
                field_selector=f"metadata.name={platform.deployment}",
                required=True,
            ),
        ]
        if goal.claim:
            path = namespaced(platform.namespace, "persistentvolumeclaims")
            targets.append(Target("claim", path, _with_claim, field_selector=f"metadata.name={goal.claim}"))
        labels = label_selector(snapshot.deployment) if isinstance(snapshot.deployment, Mapping) else ""
        if labels:
            path = namespaced(platform.namespace, "pods")
            targets.append(Target("pods", path, _with_pods, label_selector=labels, single=False))
        return targets

    def judge(self, goal: StorageGoal, snapshot: StorageSnapshot, history: History) -> tuple[Verdict, History]:
        """See judge."""
        return judge(goal, _own_pods(snapshot), history)

    def gather(
        self, client: Client, goal: StorageGoal, snapshot: StorageSnapshot, needs: frozenset[Need]
    ) -> StorageSnapshot:
        """The registry's answers, its log, the claim's StorageClass."""
        snapshot = _own_pods(snapshot)
        if StorageNeed.DEPLOYMENT in needs:
            found = evidence.deployment(client, self.platform)
            if found is not UNSEEN:
                state = (found,) if isinstance(found, Mapping) else ()
                snapshot = replace(_with_deployment(snapshot, state), requested_at=time.monotonic())
        if StorageNeed.PROBE in needs:
            snapshot = replace(snapshot, probes=evidence.probes(client, self.platform, goal, snapshot))
        if StorageNeed.LOG in needs:
            snapshot = replace(snapshot, log=evidence.log(client, self.platform, goal, snapshot))
        if StorageNeed.STORAGE_CLASS in needs:
            name = str(mapping_at(snapshot.claim, "spec").get("storageClassName"))
            snapshot = replace(snapshot, storage_class=evidence.storage_class(client, name))
        if StorageNeed.CARRIED in needs and goal.renewal is not None:
            snapshot = replace(snapshot, carried=evidence.carried(client, self.platform, goal.backend, goal.renewal))
        return replace(snapshot, at=time.monotonic())

    def report(self, goal: StorageGoal, snapshot: StorageSnapshot) -> Mapping[str, Any]:
        """The rollout, the registry's answers, and findings from its log."""
        status = mapping_at(snapshot.deployment, "status")
        return {
            "rollout": {
                "generation": mapping_at(snapshot.deployment, "metadata").get("generation"),
                "observed_generation": status.get("observedGeneration"),
                "replicas": mapping_at(snapshot.deployment, "spec").get("replicas"),
                "updated": status.get("updatedReplicas", 0),
                "available": status.get("availableReplicas", 0),
            },
            "probes": [
                {"via": probe.via, "answer": probe.answer.value, "status": probe.status, "detail": probe.detail}
                for probe in (snapshot.probes if isinstance(snapshot.probes, tuple) else ())
            ],
            "log": [
                {"pod": finding.pod, "kind": finding.kind, "line": finding.line}
                for finding in (snapshot.log if isinstance(snapshot.log, tuple) else ())
            ],
        }

    def note(self, goal: StorageGoal, snapshot: StorageSnapshot, history: History) -> Write | None:
        """That the operator has made the bucket, which it reports only for a moment."""
        made, config = Signs(history, snapshot.at).kept(MADE), self.main_object(snapshot)
        return note_bucket(self.platform, config) if made and config is not None else None

    def standing(self, goal: StorageGoal, snapshot: StorageSnapshot) -> str:
        """What serves although the goal was not reached, and from where."""
        return serving(self.platform.container, _own_pods(snapshot))

    def main_object(self, snapshot: StorageSnapshot) -> JSON | None:
        """Config/cluster."""
        return snapshot.config if isinstance(snapshot.config, Mapping) else None

    def events(self, client: Client, goal: StorageGoal, snapshot: StorageSnapshot) -> list[str]:
        """Warnings about the registry's Pods and its claim."""
        found = evidence.warning_events(client, self.platform)
        return telling_events(found, self.platform, goal, _own_pods(snapshot))


# What was probed or logged before a Pod or the Deployment changed says nothing about what runs now.


LONG_AGO = float("-inf")


def _look_again(snapshot: StorageSnapshot) -> StorageSnapshot:
    """The operator has been at work: it may have passed on more since the last look."""
    carried = snapshot.carried
    return replace(snapshot, carried=replace(carried, at=LONG_AGO)) if isinstance(carried, Carried) else snapshot


def _with_config(snapshot: StorageSnapshot, state: State) -> StorageSnapshot:
    config = only(state)
    return replace(snapshot if config == snapshot.config else _look_again(snapshot), config=config)


def _with_deployment(snapshot: StorageSnapshot, state: State) -> StorageSnapshot:
    deployment = only(state)
    if _is_older(deployment, snapshot.deployment):
        return snapshot  # a watch that lags behind what was requested
    fresh = snapshot if deployment == snapshot.deployment else _look_again(snapshot.without_evidence())
    return replace(fresh, deployment=deployment)


def _is_older(state: Seen, known: Seen) -> bool:
    """Whether it is an earlier edition of the same object."""
    same = mapping_at(state, "metadata").get("uid") == mapping_at(known, "metadata").get("uid")
    return bool(state) and same and generation(state) < generation(known)


def _with_pods(snapshot: StorageSnapshot, state: State) -> StorageSnapshot:
    fresh = snapshot if state == snapshot.pods else snapshot.without_evidence()
    return replace(fresh, pods=state)


def _with_claim(snapshot: StorageSnapshot, state: State) -> StorageSnapshot:
    claim = only(state)
    if mapping_at(claim, "spec").get("storageClassName") != mapping_at(snapshot.claim, "spec").get("storageClassName"):
        snapshot = replace(snapshot, storage_class=UNSEEN)
    return replace(snapshot, claim=claim)


def _own_pods(snapshot: StorageSnapshot) -> StorageSnapshot:
    """The snapshot without Pods that only look like the registry's (a selector does not show who created them)."""
    if not isinstance(snapshot.pods, tuple) or not isinstance(snapshot.deployment, Mapping):
        return snapshot
    return replace(snapshot, pods=owned_pods(snapshot.pods, snapshot.deployment))
