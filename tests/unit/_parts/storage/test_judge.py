# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge in situations that the recordings do not contain: Pods, claims, probes, other writers, repairs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Done,
    Failed,
    History,
    Verdict,
    Waiting,
    sentence,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import template_edition
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import (
    answers,
    case,
    troubles,
    trusted_ca,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import HIDDEN_PATIENCE
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    Carried,
    Renewal,
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.judge import NO_ROLLOUT, judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.part import StoragePart
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer, Probe
from tests.unit._parts.storage.situations import params

Object = dict[str, Any]


def config() -> Object:
    """Config of a registry that runs on a claim, at rest."""
    return {
        "metadata": {"name": "cluster", "generation": 7},
        "spec": {
            "managementState": "Managed",
            "replicas": 1,
            "rolloutStrategy": "Recreate",
            "requests": {"read": {"maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}},
            "storage": {"managementState": "Unmanaged", "pvc": {"claim": "image-registry"}},
        },
        "status": {
            "observedGeneration": 7,
            "readyReplicas": 1,
            "storage": {"managementState": "Unmanaged", "pvc": {"claim": "image-registry"}},
            "conditions": [
                {"type": "Available", "status": "True", "reason": "Ready", "message": "The registry is ready"},
                {"type": "Progressing", "status": "False", "reason": "Ready", "message": "The registry is ready"},
                {"type": "Degraded", "status": "False"},
                {"type": "StorageExists", "status": "True", "reason": "PVC Exists"},
            ],
        },
    }


def deployment() -> Object:
    """The Deployment that belongs to config()."""
    return {
        "metadata": {"name": "image-registry", "generation": 28},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "registry",
                            "env": [
                                {"name": "REGISTRY_STORAGE", "value": "filesystem"},
                                {"name": "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "value": "10s"},
                            ],
                            "resources": {},
                        }
                    ],
                    "volumes": [
                        {"name": "registry-storage", "persistentVolumeClaim": {"claimName": "image-registry"}},
                        {"name": "trusted-ca", "configMap": {"name": "trusted-ca"}},
                    ],
                }
            },
        },
        "status": {
            "observedGeneration": 28,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        },
    }


def pod(name: str = "new-1", template: str = "new", created: str = "2026-11-22T10:00:10Z", **status: Any) -> Object:
    """A running, ready Pod; ``status`` replaces parts of its status."""
    running = {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [{"name": "registry", "ready": True, "restartCount": 0, "state": {"running": {}}}],
    }
    return {
        "metadata": {"name": name, "creationTimestamp": created, "labels": {"pod-template-hash": template}},
        "status": {**running, **status},
    }


def terminating(which: Object) -> Object:
    """The same Pod, deleted but not gone yet."""
    return {**which, "metadata": {**which["metadata"], "deletionTimestamp": "2026-11-22T10:00:11Z"}}


def waits(reason: str, message: str = "") -> list[Object]:
    """containerStatuses of a container that cannot start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return [{"name": "registry", "ready": False, "restartCount": 1, "state": state}]


def unschedulable(message: str) -> Object:
    """Status of a Pod that no node takes."""
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [placed], "containerStatuses": []}


def claim(phase: str = "Bound") -> Object:
    """The claim image-registry."""
    return {
        "metadata": {"name": "image-registry"},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": phase},
    }


GOAL = StorageGoal(
    spec={
        "managementState": "Managed",
        "replicas": 1,
        "rolloutStrategy": "Recreate",
        "storage": {
            "managementState": "Unmanaged",
            "pvc": {"claim": "image-registry"},
            "emptyDir": None,
            "s3": None,
        },
    },
    min_generation=7,
    backend="pvc",
    probe="skip",
)
AT_REST = StorageSnapshot(at=0.0, config=config(), deployment=deployment(), requested_at=math.inf)


def condition(kind: str, status: str, reason: str = "", message: str = "", changed: str = "") -> Object:
    """One condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": changed}


def with_conditions(value: Object, *conditions: Object) -> Object:
    """The object with these conditions in place of those of the same type."""
    result = copy.deepcopy(value)
    kinds = {condition["type"] for condition in conditions}
    kept = [condition for condition in result["status"]["conditions"] if condition["type"] not in kinds]
    result["status"]["conditions"] = [*kept, *conditions]
    return result


def changed(value: Object, path: str, to: object) -> Object:
    """The object with the field at a dotted path set, or removed when ``to`` is None."""
    result = copy.deepcopy(value)
    *way, last = path.split(".")
    inner: Any = result
    for key in way:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    if to is None:
        del inner[last]
    elif isinstance(inner, list):
        inner[int(last)] = to
    else:
        inner[last] = to
    return result


def watch(
    snapshot: StorageSnapshot, seconds: float, goal: StorageGoal = GOAL, history: History | None = None
) -> tuple[Verdict, float, History]:
    """Judge an unchanging snapshot every quarter of a second: the first final verdict, when, and the history."""
    history = history or History()
    at = snapshot.at
    while True:
        verdict, history = judge(goal, replace(snapshot, at=at), history)
        if not isinstance(verdict, Waiting) or at >= snapshot.at + seconds:
            return verdict, at - snapshot.at, history
        at += 0.25


def fails(snapshot: StorageSnapshot, within: float, goal: StorageGoal = GOAL) -> Failed:
    """The failure that an unchanging snapshot ends in, after the first judgement and within ``within`` seconds."""
    verdict, after, _history = watch(snapshot, within, goal)
    assert isinstance(verdict, Failed), verdict
    assert after > 0
    return verdict


def waiting(snapshot: StorageSnapshot, seconds: float = 120.0, goal: StorageGoal = GOAL) -> str:
    """Why an unchanging snapshot keeps waiting for ``seconds``."""
    verdict, _after, _history = watch(snapshot, seconds, goal)
    assert isinstance(verdict, Waiting), verdict
    return verdict.why


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_a_registry_at_rest_is_done_at_the_first_judgement() -> None:
    verdict, _history = judge(GOAL, AT_REST, History())
    assert verdict == Done("pvc/image-registry: 1/1 replicas serve")


def test_a_config_that_was_made_again_counts_anew() -> None:
    """Generation 1, where our write was 7 of another Config; with other values it was changed back."""
    goal = replace(GOAL, config_uid="first")
    for uid, kind in (("first", Waiting), ("second", Done)):
        again = config()
        for path, to in (("metadata.uid", uid), ("metadata.generation", 1), ("status.observedGeneration", 1)):
            again = changed(again, path, to)
        assert isinstance(judge(goal, replace(AT_REST, config=again), History())[0], kind)
    failed = fails(replace(AT_REST, config=changed(again, "spec.replicas", 5)), 30.0, goal)
    assert "recreated without it" in failed.cause


CONFIG_FAULTS: list[tuple[str, object]] = [
    ("metadata.generation", 8),
    ("metadata.generation", 6),
    ("status.observedGeneration", 6),
    ("status.observedGeneration", None),
    ("status.storage", {"emptyDir": {}}),
    ("status.storage.pvc", {"claim": "other"}),
    ("status.storage.pvc", None),
    ("status.conditions.0.reason", "MinimumAvailability"),
    ("status.conditions.0.reason", "Removed"),
    ("status.conditions.0.reason", "Unmanaged"),
    ("status.conditions.0.status", "False"),
    ("status.conditions.1.status", "True"),
    ("status.conditions.1.reason", "Error"),
    ("status.conditions.2.status", "True"),
    ("status.conditions", []),
    ("spec.managementState", "Removed"),
    ("spec.managementState", None),
    ("spec.replicas", 0),
    ("spec.replicas", 2),
    ("spec.storage.pvc", {"claim": "other"}),
    ("spec.storage.emptyDir", {}),
    ("spec.rolloutStrategy", None),
    ("metadata.deletionTimestamp", "2026-11-22T10:00:00Z"),
]
DEPLOYMENT_FAULTS: list[tuple[str, object]] = [
    ("metadata.generation", 29),
    ("metadata.deletionTimestamp", "2026-11-22T10:00:00Z"),
    ("spec.replicas", 2),
    ("spec.strategy.type", "RollingUpdate"),
    ("spec.template.spec.containers.0.env.0.value", "s3"),
    ("spec.template.spec.containers.0.name", "other"),
    ("spec.template.spec.volumes.0", {"name": "registry-storage", "emptyDir": {}}),
    ("spec.template.spec.volumes.0.persistentVolumeClaim.claimName", "other"),
    ("status.observedGeneration", 27),
    ("status.replicas", 2),
    ("status.updatedReplicas", None),
    ("status.readyReplicas", None),
    ("status.availableReplicas", 0),
    ("status.terminatingReplicas", 1),
    ("status.conditions.1.reason", "ReplicaSetUpdated"),
]


@pytest.mark.parametrize(("path", "to"), CONFIG_FAULTS)
def test_every_piece_of_config_counts(path: str, to: object) -> None:
    verdict, _after, _history = watch(replace(AT_REST, config=changed(config(), path, to)), 300.0)
    assert not isinstance(verdict, Done)


@pytest.mark.parametrize(("path", "to"), DEPLOYMENT_FAULTS)
def test_every_piece_of_the_deployment_counts(path: str, to: object) -> None:
    verdict, _after, _history = watch(replace(AT_REST, deployment=changed(deployment(), path, to)), 300.0)
    assert not isinstance(verdict, Done)


def test_a_deployment_that_is_complete_with_other_replicas_is_not_ours() -> None:
    two = deployment()
    for path in ("spec.replicas", *(f"status.{kind}eplicas" for kind in ("r", "updatedR", "readyR", "availableR"))):
        two = changed(two, path, 2)
    assert "still the one before (replicas 2 instead of 1)" in waiting(replace(AT_REST, deployment=two))


def test_the_requested_environment_counts() -> None:
    goal = replace(GOAL, spec={**GOAL.spec, "disableRedirect": False})
    assert isinstance(judge(goal, AT_REST, History())[0], Done)
    goal = replace(GOAL, spec={**GOAL.spec, "disableRedirect": True})
    redirecting = replace(AT_REST, config=changed(config(), "spec.disableRedirect", True))
    assert "environment REGISTRY_STORAGE_REDIRECT_DISABLE" in waiting(redirecting, goal=goal)
    without = replace(AT_REST, deployment=changed(deployment(), "spec.template.spec.containers.0.env", []))
    assert "storage driver not set" in waiting(without)


def test_resources_count_by_value() -> None:
    goal = replace(GOAL, spec={**GOAL.spec, "resources": {"limits": {"cpu": "1"}}})
    wanted = changed(config(), "spec.resources", {"limits": {"cpu": "1"}})
    rendered = changed(deployment(), "spec.template.spec.containers.0.resources", {"limits": {"cpu": "1000m"}})
    assert isinstance(judge(goal, replace(AT_REST, config=wanted, deployment=rendered), History())[0], Done)
    assert "(resources)" in waiting(replace(AT_REST, config=wanted), goal=goal)


@pytest.mark.parametrize(
    ("goal", "snapshot", "text"),
    [
        (
            replace(GOAL, renewal=Renewal(credentials={"key": "digest"}, bundle="", before="old")),
            replace(AT_REST, carried=Carried(0.0, frozenset())),
            "has not passed the changed credentials on",
        ),
        (GOAL, replace(AT_REST, deployment=changed(deployment(), "spec.replicas", 2)), "still the one before"),
    ],
    ids=["renewal", "edited Deployment"],
)
def test_what_only_the_operator_can_do_is_waited_for_as_its_turn(
    goal: StorageGoal, snapshot: StorageSnapshot, text: str
) -> None:
    """So that an operator that hangs is named, although it has looked at this generation before."""
    verdict, _history = judge(goal, snapshot, History())
    assert isinstance(verdict, Waiting)
    assert text in verdict.why
    assert verdict.on_operator


def test_a_rollout_is_not_the_operators_turn() -> None:
    """Kubernetes carries it out; it may take its time whatever the operator does."""
    verdict, _history = judge(
        GOAL, replace(AT_REST, deployment=changed(deployment(), "status.updatedReplicas", 0)), History()
    )
    assert isinstance(verdict, Waiting)
    assert "rollout 0/1 updated" in verdict.why
    assert not verdict.on_operator


def test_a_deployment_that_is_gone_does_not_prove_that_the_operator_has_tried() -> None:
    """It may have stopped since it looked at this Config."""
    failed = fails(replace(AT_REST, deployment=None), 30.0)
    assert "has seen the change" not in failed.cause
    assert "or does not run any more" in failed.cause
    assert "Pod" in failed.remedy


def checksum(value: str, shape: Object | None = None, generation: int = 28) -> Object:
    """The Deployment with the operator's checksum of what its Pods read when they start."""
    shape = changed(shape or deployment(), "metadata.generation", generation)
    shape = changed(shape, "status.observedGeneration", generation)
    annotations = {"imageregistry.operator.alauda.io/dependencies-checksum": value}
    return changed(shape, "spec.template.metadata", {"annotations": annotations})


KEYS = replace(GOAL, renewal=Renewal(credentials={"key": "digest"}, bundle="", before="old"))
CA = replace(GOAL, renewal=Renewal(credentials={}, bundle="digest", before="old", patience=8.0))
BOTH = replace(GOAL, renewal=Renewal(credentials={"key": "digest"}, bundle="digest", before="old"))


def carrying(*parts: str, shape: Object, at: float = 0.0, hidden: str = "") -> StorageSnapshot:
    """A registry at rest whose operator passes these on to the Pods."""
    return replace(AT_REST, at=at, deployment=shape, carried=Carried(at, frozenset(parts), hidden))


def test_changed_credentials_are_looked_for_in_what_the_operator_passes_on() -> None:
    verdict, _history = judge(KEYS, replace(AT_REST, deployment=checksum("new")), History())
    assert isinstance(verdict, Waiting)
    assert StorageNeed.CARRIED in verdict.needs
    # Whoever restarts the Pods meanwhile restarts them with the old credentials, in a newer generation.
    restarted = checksum("old", generation=29)
    restarted["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    assert "not passed the changed credentials on" in waiting(carrying(shape=restarted), goal=KEYS)
    assert "has not been renewed" in waiting(carrying("credentials", shape=restarted), goal=KEYS)
    # Another rendering, for other reasons, proves nothing either.
    assert "not passed the changed credentials on" in waiting(carrying(shape=checksum("new")), goal=KEYS)
    assert "CA bundle" in waiting(carrying("credentials", shape=checksum("new")), goal=BOTH)


def test_changed_credentials_have_arrived_with_the_next_rendering() -> None:
    """One that was there before the operator's copy was seen may be older than the copy; a later one is not."""
    verdict, after, _history = watch(carrying("credentials", shape=checksum("new")), 3.0, KEYS)
    assert isinstance(verdict, Done)
    assert after == case.RENDERING
    _verdict, history = judge(KEYS, carrying("credentials", shape=checksum("old")), History())
    verdict, _history = judge(KEYS, carrying("credentials", shape=checksum("new", generation=29), at=0.25), history)
    assert isinstance(verdict, Done)


def test_a_template_without_a_checksum_is_compared_as_a_whole() -> None:
    """Another release may name the annotation otherwise (operator fact 0.8)."""
    assert KEYS.renewal is not None
    before = template_edition(deployment())
    goal = replace(GOAL, renewal=replace(KEYS.renewal, before=before))
    restarted = changed(deployment(), "spec.template.metadata", {"annotations": {"kubectl.kubernetes.io/x": "1"}})
    assert template_edition(restarted) == before
    assert "has not been renewed" in waiting(carrying("credentials", shape=restarted), goal=goal)
    renewed = changed(deployment(), "spec.template.metadata", {"annotations": {"checksum": "1"}})
    assert isinstance(watch(carrying("credentials", shape=renewed), 3.0, goal)[0], Done)


def test_what_the_operator_passes_on_may_be_hidden() -> None:
    """A new rendering is then the best evidence there is, and it is said that it proves nothing."""
    hidden = carrying(shape=checksum("new"), hidden="secrets is forbidden")
    verdict, _after, _history = watch(hidden, 3.0, KEYS)
    assert isinstance(verdict, Done)
    assert any("not proven" in text and "secrets is forbidden" in text for text in verdict.warnings)
    assert "renewed" in waiting(carrying(shape=checksum("old"), hidden="no"), goal=KEYS)


def test_a_renewal_that_nobody_can_see_is_not_waited_for_indefinitely() -> None:
    """Credentials that were changed back before the operator noticed need no rendering."""
    assert KEYS.renewal is not None
    goal = replace(KEYS, renewal=replace(KEYS.renewal, patience=HIDDEN_PATIENCE))
    hidden = carrying(shape=checksum("old"), hidden="secrets is forbidden")
    assert isinstance(watch(hidden, HIDDEN_PATIENCE - 1.0, goal)[0], Waiting)
    verdict, _after, _history = watch(hidden, HIDDEN_PATIENCE + 3.0, goal)
    assert isinstance(verdict, Done)
    assert [text for text in verdict.warnings if "not proven" in text]
    assert not [text for text in verdict.warnings if "most likely" in text]


def s3_pair() -> tuple[StorageGoal, Object, Object]:
    """StorageGoal, Config and Deployment of a registry on S3."""
    settings = {"bucket": "images", "region": "us-east-1", "regionEndpoint": "https://s3.example.com"}
    spec = {"managementState": "Managed", "storage": {"s3": settings, "pvc": None}}
    written_back = {**settings, "virtualHostedStyle": False, "trustedCA": {"name": ""}}
    live = changed(config(), "spec.storage", {"s3": written_back})
    live = changed(live, "status.storage", {"s3": {**settings, "trustedCA": {"name": ""}}})
    values = {
        "REGISTRY_STORAGE": "s3",
        "REGISTRY_STORAGE_S3_BUCKET": "images",
        "REGISTRY_STORAGE_S3_REGION": "us-east-1",
        "REGISTRY_STORAGE_S3_REGIONENDPOINT": "https://s3.example.com",
        "REGISTRY_STORAGE_S3_FORCEPATHSTYLE": "true",
    }
    environment = [{"name": name, "value": value} for name, value in values.items()]
    rendered = changed(deployment(), "spec.template.spec.containers.0.env", environment)
    rendered = changed(rendered, "spec.template.spec.volumes", [])
    return StorageGoal(spec=spec, min_generation=7, backend="s3", probe="skip"), live, rendered


@pytest.mark.parametrize("index", range(5))
def test_each_setting_of_s3_counts(index: int) -> None:
    goal, live, rendered = s3_pair()
    assert judge(goal, replace(AT_REST, config=live, deployment=rendered), History())[0] == Done(
        "s3/images: 1/1 replicas serve"
    )
    older = changed(rendered, f"spec.template.spec.containers.0.env.{index}.value", "other")
    assert "still the one before" in waiting(replace(AT_REST, config=live, deployment=older), goal=goal)


def test_a_certificate_bundle_that_was_not_renewed_is_reported() -> None:
    goal, live, rendered = s3_pair()
    live = with_conditions(
        live, condition("ImageRegistryCertificatesControllerDegraded", "True", "Error", 'no "s3-ca"')
    )
    verdict, _history = judge(goal, replace(AT_REST, config=live, deployment=rendered), History())
    assert isinstance(verdict, Done)
    assert "s3-ca" in verdict.warnings[0]


def test_nothing_seen_is_nothing_done() -> None:
    assert waiting(StorageSnapshot(at=0.0)) == "Config has not been read yet"
    assert "Deployment has not been read" in waiting(replace(AT_REST, deployment=StorageSnapshot(at=0.0).deployment))


# -- Pods and claims ---------------------------------------------------------------------------------------------------


def test_old_pods_must_be_gone() -> None:
    before = pod("old-1", "old", "2026-11-22T09:00:00Z")
    assert isinstance(judge(GOAL, replace(AT_REST, pods=(pod(),)), History())[0], Done)
    assert waiting(replace(AT_REST, pods=(pod(), terminating(before)))).endswith("1 old Pod terminating")
    assert waiting(replace(AT_REST, pods=(before, pod()))).endswith("1 old Pod still running")
    evicted = {**before, "status": {"phase": "Failed", "reason": "Evicted"}}
    assert isinstance(judge(GOAL, replace(AT_REST, pods=(evicted, pod())), History())[0], Done)


def test_a_recreate_rollout_is_reported_step_by_step() -> None:
    start = changed(changed(deployment(), "metadata.generation", 29), "status.observedGeneration", 29)
    for count in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
        start = changed(start, f"status.{count}", None)
    unavailable = with_conditions(config(), condition("Available", "False", "NoReplicasAvailable"))
    text = waiting(replace(AT_REST, config=unavailable, deployment=start, pods=(terminating(pod()),)))
    assert text == "Config accepted pvc/image-registry; rollout 0/1 updated, 1 old Pod terminating"
    started = changed(changed(start, "status.replicas", 1), "status.updatedReplicas", 1)
    pending = replace(AT_REST, config=unavailable, deployment=started, claim=claim("Pending"))
    assert waiting(replace(pending, storage_class={"volumeBindingMode": "WaitForFirstConsumer"})) == (
        "Config accepted pvc/image-registry; rollout 1/1 updated, 0/1 available, claim image-registry is Pending "
        "(it is bound when the first Pod that uses it starts)"
    )
    assert waiting(pending).endswith("claim image-registry is Pending (StorageClass fast)")
    assert waiting(replace(pending, storage_class=None)).endswith("(StorageClass fast does not exist)")


@pytest.mark.parametrize(
    ("reason", "within", "words"),
    [
        ("CrashLoopBackOff", 6.0, "again and again"),
        ("ImagePullBackOff", 9.0, "cannot be pulled"),
        ("ErrImagePull", 9.0, "cannot be pulled"),
        ("CreateContainerConfigError", 9.0, "missing"),
    ],
)
def test_pods_that_cannot_start_end_the_wait(reason: str, within: float, words: str) -> None:
    rolling = with_conditions(
        changed(deployment(), "status.availableReplicas", None), condition("Progressing", "True", "ReplicaSetUpdated")
    )
    broken = pod(containerStatuses=waits(reason, "back-off"))
    verdict = fails(replace(AT_REST, deployment=rolling, pods=(broken,)), within)
    assert verdict.reason == reason
    assert words in verdict.cause
    assert "new-1" in verdict.quoted


def test_the_log_of_a_crashing_pod_names_the_cause() -> None:
    rolling = changed(deployment(), "status.availableReplicas", None)
    snapshot = replace(AT_REST, deployment=rolling, pods=(pod(containerStatuses=waits("CrashLoopBackOff")),))
    verdict, _history = judge(GOAL, snapshot, History())
    assert isinstance(verdict, Waiting)
    assert StorageNeed.LOG in verdict.needs
    line = LogFinding("region", "panic: no region parameter provided", "new-1")
    failure = fails(replace(snapshot, log=(line,)), 6.0)
    assert "region is missing" in failure.cause
    assert "no region parameter" in failure.quoted


def test_an_old_pod_that_crashes_while_it_is_replaced_proves_nothing() -> None:
    rolling = changed(deployment(), "status.replicas", 2)
    crashing = pod("old-1", "old", "2026-11-22T09:00:00Z", containerStatuses=waits("CrashLoopBackOff"))
    assert "1 old Pod running" in waiting(replace(AT_REST, deployment=rolling, pods=(crashing, pod())), 20.0)
    not_yet = changed(deployment(), "status.updatedReplicas", None)
    waiting(replace(AT_REST, deployment=not_yet, pods=(crashing,)), 20.0)
    outdated = changed(deployment(), "spec.template.spec.volumes.0.persistentVolumeClaim.claimName", "other")
    waiting(replace(AT_REST, deployment=outdated, pods=(crashing,)), 20.0)


def test_unschedulable_pods_end_the_wait_unless_something_still_moves() -> None:
    rolling = changed(deployment(), "status.availableReplicas", None)
    lonely = pod(**unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
    verdict = fails(replace(AT_REST, deployment=rolling, pods=(lonely,)), 16.0)
    assert verdict.reason == "Unschedulable"
    assert verdict.quotation == "Unschedulable: Pod new-1 0/1 nodes are available: 1 Insufficient cpu."
    assert "No node" in verdict.cause
    leaving = terminating(pod("old-1", "old", "2026-11-22T09:00:00Z"))
    waiting(replace(AT_REST, deployment=rolling, pods=(lonely, leaving)), 60.0)
    unbound = pod(**unschedulable("pod has unbound immediate PersistentVolumeClaims"))
    binding = replace(AT_REST, deployment=rolling, pods=(unbound,), claim=claim("Pending"))
    waiting(binding, 25.0)
    assert "claim" in fails(binding, 31.0).cause


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (None, "ClaimAbsent"),
        (claim("Lost"), "ClaimLost"),
        ({**claim(), "metadata": {"name": "image-registry", "deletionTimestamp": "2026"}}, "ClaimLost"),
    ],
)
def test_a_claim_that_is_gone_ends_the_wait(state: Object | None, reason: str) -> None:
    assert fails(replace(AT_REST, claim=state), 6.0).reason == reason


def test_a_pending_claim_is_named_when_the_rollout_times_out() -> None:
    late = with_conditions(
        changed(deployment(), "status.availableReplicas", None),
        condition("Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "x" has timed out progressing.'),
    )
    verdict = fails(replace(AT_REST, deployment=late, claim=claim("Pending"), pods=(pod(),)), 2.0)
    assert verdict.reason == "ProgressDeadlineExceeded"
    assert "claim image-registry is Pending" in verdict.cause


def test_refused_pods_end_the_wait() -> None:
    refused = with_conditions(
        changed(deployment(), "status.replicas", None),
        condition("ReplicaFailure", "True", "FailedCreate", 'pods "x" is forbidden: exceeded quota: compute'),
    )
    verdict = fails(replace(AT_REST, deployment=refused), 7.0)
    assert (verdict.reason, "quota" in verdict.cause) == ("FailedCreate", True)


def test_a_quota_used_up_by_terminating_pods_is_waited_for() -> None:
    over_quota = condition("ReplicaFailure", "True", "FailedCreate", 'pods "x" is forbidden: exceeded quota: compute')
    leaving = with_conditions(changed(deployment(), "status.terminatingReplicas", 1), over_quota)
    assert isinstance(watch(replace(AT_REST, deployment=leaving), 40.0)[0], Waiting)
    starting = with_conditions(changed(deployment(), "status.readyReplicas", 0), over_quota)
    verdict, _took, history = watch(replace(AT_REST, deployment=starting), 40.0)
    assert isinstance(verdict, Waiting)
    # What is refused when nothing changes any more is refused for good.
    idle = with_conditions(changed(deployment(), "status.updatedReplicas", 0), over_quota)
    verdict, took, _history = watch(replace(AT_REST, at=40.0, deployment=idle), 60.0, history=history)
    assert isinstance(verdict, Failed)
    assert took == troubles.PODS_REFUSED


@pytest.mark.parametrize(("placed", "final"), [("10:05:01", False), ("10:04:59", True)])
def test_a_rollout_that_timed_out_and_goes_on_is_waited_for(placed: str, final: bool) -> None:
    """Somebody has made room for the Pods: the Deployment reports a timeout until they are ready."""
    late = with_conditions(
        changed(deployment(), "status.availableReplicas", None),
        condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out progressing", "2026-11-22T10:05:00Z"),
    )
    scheduled = condition("PodScheduled", "True", changed=f"2026-11-22T{placed}Z")
    verdict, _took, _history = watch(replace(AT_REST, deployment=late, pods=(pod(conditions=[scheduled]),)), 20.0)
    assert isinstance(verdict, Failed) is final


# -- what the operator reports -----------------------------------------------------------------------------------------

REFUSED = condition(
    "Progressing",
    "True",
    "Error",
    'Unable to apply resources: unable to sync storage: persistentvolumeclaims "image-registry" not found',
)


def test_errors_about_an_older_generation_do_not_count() -> None:
    stale = changed(with_conditions(config(), REFUSED), "metadata.generation", 8)
    text = waiting(replace(AT_REST, config=stale), goal=replace(GOAL, min_generation=8))
    assert text == "waiting for the operator to notice the change (generation 8, it has seen 7)"
    permanent = with_conditions(stale, condition("Degraded", "True", "StorageNotConfigured", "Error: …"))
    waiting(replace(AT_REST, config=permanent), goal=replace(GOAL, min_generation=8))


def test_a_passing_error_does_not_end_the_wait() -> None:
    wrong = replace(AT_REST, config=with_conditions(config(), REFUSED))
    verdict, _after, history = watch(wrong, 3.0)
    assert isinstance(verdict, Waiting)
    verdict, _after, _history = watch(replace(AT_REST, at=3.25), 10.0, history=history)
    assert isinstance(verdict, Done)


def test_an_error_that_comes_and_goes_starts_again() -> None:
    history = History()
    for second in range(0, 40, 4):
        wrong = replace(AT_REST, at=float(second), config=with_conditions(config(), REFUSED))
        verdict, history = judge(GOAL, wrong, history)
        verdict, history = judge(GOAL, replace(wrong, at=second + 3.0), history)
        assert isinstance(verdict, Waiting)
        fine = with_conditions(config(), condition("Progressing", "True", "DeploymentNotCompleted"))
        verdict, history = judge(GOAL, replace(AT_REST, at=second + 3.5, config=fine), history)
        assert isinstance(verdict, Waiting)


def test_an_error_with_ever_new_words_ends_the_wait_too() -> None:
    history, second = History(), 0.0
    verdict: Verdict = Waiting("")
    words = ("alpha", "beta", "gamma", "delta")
    while isinstance(verdict, Waiting) and second < 60:
        error = condition("Progressing", "True", "Error", f"trouble {words[int(second) % 4]}")
        verdict, history = judge(GOAL, replace(AT_REST, at=second, config=with_conditions(config(), error)), history)
        second += 1.0
    assert isinstance(verdict, Failed)
    assert second <= 15
    assert "does not know the message" in verdict.cause
    assert "trouble" in verdict.quoted


def test_a_changing_request_id_is_the_same_error() -> None:
    history, second = History(), 0.0
    verdict: Verdict = Waiting("")
    while isinstance(verdict, Waiting) and second < 60:
        error = condition(
            "Progressing", "True", "Error", f"AccessDenied: no\n\tstatus code: 403, request id: R{second}xYz, host id: "
        )
        verdict, history = judge(GOAL, replace(AT_REST, at=second, config=with_conditions(config(), error)), history)
        second += 0.5
    assert second <= troubles.OPERATOR_ERROR + 1
    assert isinstance(verdict, Failed)
    assert verdict.quoted == "AccessDenied: no status code: 403"


def test_a_claim_that_exists_by_now_is_waited_for() -> None:
    wrong = replace(AT_REST, config=with_conditions(config(), REFUSED))
    assert "does not exist" in fails(replace(wrong, claim=None), 6.0).cause
    assert "has not noticed yet" in waiting(replace(wrong, claim=claim("Pending")))


def test_an_error_from_before_changed_credentials_gets_time() -> None:
    goal = KEYS
    wrong = condition("Progressing", "True", "Error", "InvalidAccessKeyId: request id: A1, host id: ")
    before = replace(AT_REST, config=with_conditions(config(), wrong))
    verdict, _after, history = watch(before, 7.0, goal)
    assert isinstance(verdict, Waiting)
    # Reported again after our change: the usual time starts now.
    again = with_conditions(config(), {**wrong, "message": "InvalidAccessKeyId: request id: B2, host id: "})
    verdict, after, _history = watch(replace(before, at=7.25, config=again), 20.0, goal, history)
    assert isinstance(verdict, Failed)
    assert troubles.OPERATOR_ERROR <= after <= troubles.OPERATOR_ERROR + 0.25
    # Never reported again: nothing shows that it will be.
    verdict, after, _history = watch(before, 20.0, goal)
    assert isinstance(verdict, Failed)
    assert after <= 10.0


def test_another_writer_is_named() -> None:
    reverted = changed(changed(config(), "spec.storage", {"emptyDir": {}}), "metadata.generation", 8)
    verdict = fails(replace(AT_REST, config=reverted), 4.0)
    assert verdict.reason == "SpecChanged"
    assert "storage.pvc" in verdict.quoted
    assert "another writer" in verdict.cause.lower()


@pytest.mark.parametrize("state", [None, "Removed", "Unmanaged", "Force"])
def test_only_managed_can_serve(state: str | None) -> None:
    other = changed(config(), "spec.managementState", state)
    other = with_conditions(other, condition("Available", "True", state or "Removed"))
    goal = replace(GOAL, spec={"replicas": 1})
    verdict = fails(replace(AT_REST, config=other), 2.0, goal)
    assert verdict.reason == f"ManagementState{state or 'Unset'}"


def test_a_complete_rollout_is_not_reported_like_trouble() -> None:
    lagging = with_conditions(config(), condition("Available", "False", "NoReplicasAvailable"))
    assert waiting(replace(AT_REST, config=lagging)) == (
        "Config accepted pvc/image-registry; rollout complete; waiting for the operator to report it "
        "(now Available=False/NoReplicasAvailable)"
    )


def test_unavailable_from_before_does_not_spoil_a_repair() -> None:
    down = [condition("Degraded", "True", "Unavailable", "The deployment does not have available replicas")]
    down.append(condition("Available", "False", "NoReplicasAvailable"))
    rolling = with_conditions(
        changed(deployment(), "status.availableReplicas", None), condition("Progressing", "True", "ReplicaSetUpdated")
    )
    repair = replace(AT_REST, config=with_conditions(config(), *down), deployment=rolling)
    waiting(repair, 100.0)
    at_rest = replace(repair, deployment=changed(deployment(), "status.availableReplicas", None))
    assert fails(at_rest, 9.0).reason == "Unavailable"


def test_a_timeout_of_the_previous_rollout_does_not_count() -> None:
    late = with_conditions(config(), condition("Degraded", "True", "ProgressDeadlineExceeded", "timed out progressing"))
    rolling = with_conditions(
        changed(deployment(), "status.availableReplicas", None), condition("Progressing", "True", "ReplicaSetUpdated")
    )
    waiting(replace(AT_REST, config=late, deployment=rolling), 60.0)


def test_another_degradation_is_quoted() -> None:
    """Unknown reasons are passed through."""
    degraded = condition("Degraded", "True", "SomethingNew", "the frobnicator is out of order")
    verdict = fails(replace(AT_REST, config=with_conditions(config(), degraded)), 9)
    assert verdict.reason == "SomethingNew"
    assert verdict.quoted == "the frobnicator is out of order"


def test_a_problem_with_the_ingress_is_reported_but_not_held_against_the_storage() -> None:
    message = "ingress default-route has no host and no published load balancer address"
    snapshot = replace(
        AT_REST, config=with_conditions(config(), condition("Degraded", "True", "IngressDegraded", message))
    )
    verdict, _history = judge(replace(GOAL, probe="skip"), snapshot, History())
    assert isinstance(verdict, Done)
    assert any(message in warning for warning in verdict.warnings)


def test_a_deployment_that_never_comes_ends_the_wait() -> None:
    gone = with_conditions(
        config(), condition("Available", "False", "DeploymentNotFound", "The deployment does not exist")
    )
    assert fails(replace(AT_REST, config=gone, deployment=None), 11.0).reason == "DeploymentNotFound"


@pytest.mark.parametrize("value", [None, {**config(), "metadata": {"generation": 7, "deletionTimestamp": "2026"}}])
def test_a_config_that_goes_away_ends_the_wait(value: Object | None) -> None:
    assert fails(replace(AT_REST, config=value), 2.0).reason == "ConfigAbsent"


# -- the probe ---------------------------------------------------------------------------------------------------------

AUTO = replace(GOAL, probe="auto")
NAMED = "UNKNOWN: s3aws: NoSuchBucket: The specified bucket does not exist"
UNNAMED = "UNAVAILABLE: health check failed: please see /debug/health"


def answer(kind: Answer, at: float, detail: str = "", via: str = "service/image-registry", status: int = 404) -> Probe:
    """One answer of the registry."""
    return Probe(kind, via, status, at, detail)


def probing(
    answers: Callable[[float], Iterable[Probe]], goal: StorageGoal = AUTO, limit: float = 60.0, **seen: Any
) -> tuple[Verdict, float]:
    """Probe every second while the judge requests it; the final verdict and when it was reached."""
    history, at = History(), 0.0
    snapshot = replace(AT_REST, **seen)
    while True:
        verdict, history = judge(goal, replace(snapshot, at=at), history)
        if not isinstance(verdict, Waiting) or at > limit:
            return verdict, at
        if StorageNeed.PROBE in verdict.needs:
            snapshot = replace(snapshot, probes=tuple(answers(at)))
            verdict, history = judge(goal, replace(snapshot, at=at), history)
            if not isinstance(verdict, Waiting):
                return verdict, at
        at += 1.0


def test_at_rest_one_probe_is_requested_and_nothing_else() -> None:
    verdict, history = judge(AUTO, AT_REST, History())
    assert isinstance(verdict, Waiting)
    assert verdict.needs == {StorageNeed.PROBE}
    verdict, _history = judge(AUTO, replace(AT_REST, at=0.1, probes=(answer(Answer.SERVES, 0.05),)), history)
    assert verdict == Done("pvc/image-registry: 1/1 replicas serve, the registry answered (service/image-registry)")


def test_after_a_rollout_the_log_is_requested_too() -> None:
    rolling = replace(AT_REST, deployment=changed(deployment(), "status.availableReplicas", None))
    _verdict, history = judge(AUTO, rolling, History())
    verdict, _history = judge(AUTO, replace(AT_REST, at=5.0), history)
    assert isinstance(verdict, Waiting)
    assert verdict.needs == {StorageNeed.PROBE, StorageNeed.LOG}


def test_an_answer_from_before_the_rollout_ended_does_not_count() -> None:
    early = replace(AT_REST, at=10.0, probes=(answer(Answer.SERVES, 9.0),))
    verdict, _history = judge(AUTO, early, History())
    assert isinstance(verdict, Waiting)
    assert StorageNeed.PROBE in verdict.needs


def test_broken_storage_is_named_after_a_second_probe() -> None:
    verdict, at = probing(lambda now: [answer(Answer.BROKEN, now, NAMED, status=500)])
    assert isinstance(verdict, Failed)
    assert at == answers.SECOND_LOOK
    assert "bucket does not exist" in verdict.cause
    assert "NoSuchBucket" in verdict.quoted
    verdict, _at = probing(lambda now: [answer(Answer.BROKEN if now < 2 else Answer.SERVES, now, NAMED)])
    assert isinstance(verdict, Done)


def test_a_refusal_without_a_cause_outlives_a_repair_so_it_gets_an_interval() -> None:
    verdict, at = probing(lambda now: [answer(Answer.BROKEN if now < 10 else Answer.SERVES, now, UNNAMED, status=503)])
    assert isinstance(verdict, Done)
    found = LogFinding("auth", "s3aws: AccessDenied: Access Denied", "new-1")
    verdict, at = probing(lambda now: [answer(Answer.BROKEN, now, UNNAMED, status=503)], log=(found,))
    assert isinstance(verdict, Failed)
    assert at == 12.0
    assert "denies this action to the account" in verdict.cause


def test_one_broken_pod_of_two_is_broken() -> None:
    def pair(now: float) -> list[Probe]:
        return [answer(Answer.SERVES, now, via="pod/a"), answer(Answer.BROKEN, now, NAMED, via="pod/b")]

    assert isinstance(probing(pair)[0], Failed)


def test_forbidden_is_reported_and_only_required_probes_fail() -> None:
    def forbidden(now: float) -> list[Probe]:
        return [answer(Answer.FORBIDDEN, now, "pods is forbidden", status=403)]

    verdict, at = probing(forbidden)
    assert isinstance(verdict, Done)
    assert at == 0.0
    assert verdict.summary.endswith("not probed")
    assert "pods is forbidden" in verdict.warnings[0]
    verdict, _at = probing(forbidden, replace(AUTO, probe="require"))
    assert isinstance(verdict, Failed)
    assert verdict.reason == "ProbeForbidden"


def test_credentials_that_are_refused_meanwhile_are_a_failure() -> None:
    verdict, _at = probing(lambda now: [answer(Answer.UNREACHABLE, now, "Unauthorized", status=401)])
    assert isinstance(verdict, Failed)
    assert verdict.reason == "Unauthorized"


def test_too_early_waits_for_the_first_check_of_the_storage() -> None:
    verdict, at = probing(lambda now: [answer(Answer.TOO_EARLY, now, "it has not checked its storage", status=401)])
    assert isinstance(verdict, Done)
    assert at == 12.0


WRITE = replace(GOAL, probe="write")


def test_an_upload_is_reported() -> None:
    verdict, _at = probing(lambda now: [answer(Answer.SERVES, now)], WRITE)
    assert verdict == Done(
        "pvc/image-registry: 1/1 replicas serve, the registry took an upload (service/image-registry)"
    )


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "requires a login"), (405, "spec.readOnly"), (404, "with a client")]
)
def test_a_refused_upload_is_a_failure_at_once(status: int, remedy: str) -> None:
    here = changed(config(), "spec.readOnly", status == 405)
    verdict, at = probing(lambda now: [answer(Answer.REFUSED, now, "why", status=status)], WRITE, config=here)
    assert isinstance(verdict, Failed)
    assert (verdict.reason, verdict.quoted, at) == ("UploadRefused", f"{status} why", 0.0)
    assert remedy in verdict.remedy


@pytest.mark.parametrize(
    "kind", [Answer.TOO_EARLY, Answer.FORBIDDEN, Answer.UNREACHABLE, Answer.BROKEN, Answer.REFUSED]
)
def test_a_requested_upload_is_never_assumed(kind: Answer) -> None:
    verdict, _at = probing(
        lambda now: [answer(Answer.SERVES, now, via="pod/a"), answer(kind, now, "why", "pod/b")], WRITE
    )
    assert not isinstance(verdict, Done)


def test_an_unreachable_registry_is_not_final_at_once() -> None:
    def lost(now: float) -> list[Probe]:
        return [answer(Answer.UNREACHABLE, now, "no endpoints available", status=503)]

    verdict, at = probing(lost)
    assert isinstance(verdict, Failed)
    assert (verdict.reason, at) == ("RegistryUnreachable", answers.UNREACHABLE)
    verdict, _at = probing(lambda now: lost(now) if now < 5 else [answer(Answer.SERVES, now)])
    assert isinstance(verdict, Done)


def test_a_problem_in_the_log_of_a_serving_registry_is_reported() -> None:
    full = LogFinding("full", "filesystem: mkdir …: no space left on device", "new-1")
    verdict, _at = probing(lambda now: [answer(Answer.SERVES, now)], log=(full,))
    assert isinstance(verdict, Done)
    assert verdict.warnings == ("log of new-1 (full): filesystem: mkdir …: no space left on device",)


# -- other goals -------------------------------------------------------------------------------------------------------


def test_removed_means_gone() -> None:
    goal = StorageGoal(spec={"managementState": "Removed"}, min_generation=7)
    removed = changed(config(), "spec.managementState", "Removed")
    removed = with_conditions(
        removed, condition("Available", "True", "Removed"), condition("Progressing", "False", "Removed")
    )
    gone = replace(AT_REST, config=removed, deployment=None)
    assert isinstance(judge(goal, gone, History())[0], Done)
    assert "Deployment is still there" in waiting(replace(gone, deployment=deployment()), goal=goal)
    assert "1 Pod still there" in waiting(replace(gone, pods=(terminating(pod()),)), goal=goal)
    assert "Available=True/Ready" in waiting(
        replace(AT_REST, config=changed(config(), "spec.managementState", "Removed")), goal=goal
    )


# -- whatever comes ----------------------------------------------------------------------------------------------------

_JUNK: st.SearchStrategy[Any] = st.sampled_from([None, 0, -1, True, "", "x", [], {}, [None], [{}], {"a": None}, 1.5])


@st.composite
def _damaged(draw: st.DrawFn, value: Any) -> Any:
    """The value with one part of it replaced by something that should not be there."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(_damaged(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(_damaged(value[index])), *value[index + 1 :]]
    return draw(_JUNK)


def _object(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


@settings(deadline=None)
@given(
    _damaged(config()).map(_object),
    _damaged(deployment()).map(_object),
    _damaged(pod(containerStatuses=waits("CrashLoopBackOff"))).map(_object),
    _damaged(claim("Pending")).map(_object),
)
def test_no_object_however_damaged_breaks_the_judge(live: Object, shape: Object, one: Object, bound: Object) -> None:
    snapshot = StorageSnapshot(
        at=0.0, config=live, deployment=shape, pods=(one, pod()), claim=bound, requested_at=math.inf
    )
    for goal in (GOAL, AUTO, StorageGoal(spec={"managementState": None}, min_generation=0)):
        verdict, _after, _history = watch(snapshot, 1.0, goal)
        assert isinstance(verdict, (Done, Waiting, Failed))


# -- what may or may not follow ----------------------------------------------------------------------------------------


def test_a_recreated_deployment_is_newer_than_any_generation_of_the_old_one() -> None:
    """Somebody deleted it during the wait: the operator's new one starts at generation 1 again."""
    recreated = checksum("new", changed(deployment(), "metadata.uid", "two"), generation=1)
    assert isinstance(watch(carrying("credentials", shape=recreated), 3.0, KEYS)[0], Done)
    same = checksum("old", changed(deployment(), "metadata.uid", "one"), generation=1)
    assert "renewed" in waiting(carrying("credentials", shape=same), goal=KEYS)


def test_a_bundle_the_pods_may_already_have_is_not_waited_for_indefinitely() -> None:
    """A wrong CA was refused and is repaired: what runs never changed, so nothing is renewed.

    An operator that has not noticed is another matter, however long it takes.
    """
    verdict, after, _history = watch(carrying("CA bundle", shape=checksum("old")), 30.0, CA)
    assert isinstance(verdict, Done)
    assert after >= trusted_ca.UNRENEWED
    assert any("has left the Pods as they are" in text for text in verdict.warnings)
    assert CA.renewal is not None
    resting = replace(CA, renewal=replace(CA.renewal, patience=trusted_ca.UNRENEWED_AT_REST))
    verdict, after, _history = watch(carrying("CA bundle", shape=checksum("old")), 30.0, resting)
    assert isinstance(verdict, Done)
    assert (verdict.warnings, after < trusted_ca.UNRENEWED) == ((), True)
    assert "not passed the changed CA bundle on" in waiting(carrying(shape=checksum("old")), goal=CA)
    assert "renewed" in waiting(carrying("credentials", shape=checksum("old")), goal=KEYS)


def test_an_operator_that_refuses_the_bundle_is_believed_first() -> None:
    """Its error ends the run long before the task stops waiting for a renewal."""
    refusing = with_conditions(config(), condition("Progressing", "True", "Error", "Unable to apply resources: x509"))
    before = carrying("CA bundle", shape=checksum("old"))
    verdict, history = judge(CA, before, History())
    later = replace(before, at=1.0, config=refusing)
    verdict, after, _history = watch(later, 30.0, CA, history)
    assert isinstance(verdict, Failed)
    assert after <= troubles.OPERATOR_ERROR + 0.5


def test_a_deployment_that_did_not_change_is_requested_before_it_counts() -> None:
    """What is watched may arrive late; what was requested after the operator had looked cannot be older."""
    late = replace(AT_REST, requested_at=-math.inf)
    before = changed(config(), "status.observedGeneration", 6)
    verdict, history = judge(GOAL, replace(late, config=before), History())
    assert isinstance(verdict, Waiting)
    for at in (1.0, 1.0 + NO_ROLLOUT):
        verdict, history = judge(GOAL, replace(late, at=at), history)
        assert isinstance(verdict, Waiting)
        assert "checking whether the Deployment follows" in verdict.why
    assert verdict.needs == {StorageNeed.DEPLOYMENT}
    too_early, _history = judge(GOAL, replace(late, at=9.0, requested_at=0.5), history)
    assert isinstance(too_early, Waiting)
    verdict, _history = judge(GOAL, replace(late, at=9.0, requested_at=8.0), history)
    assert "checking whether" not in sentence(verdict)


def test_a_watch_that_lags_does_not_replace_what_was_requested() -> None:
    newer = changed(deployment(), "metadata.generation", 29)
    known = replace(AT_REST, deployment=newer)
    target = next(
        target
        for target in StoragePart(ALAUDA, params(backend="emptydir")).targets(GOAL, known)
        if target.label == "deployment"
    )
    assert target.absorb(known, (deployment(),)).deployment == newer
    another = changed(deployment(), "metadata.uid", "another")
    assert target.absorb(known, (another,)).deployment == another
    assert target.absorb(known, ()).deployment is None
