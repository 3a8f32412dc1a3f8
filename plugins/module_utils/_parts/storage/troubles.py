# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against the goal, and for how long it must before it counts as the end. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN, Failed, changed_back
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    Condition,
    being_deleted,
    condition,
    mapping_at,
    number_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import (
    container_status,
    newest_pods,
    pod_name,
    terminating_pods,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import normalise, plain
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import ELSEWHERE, Case
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import (
    Explanation,
    explain,
    explain_pod,
    explain_storage,
)

# How long (seconds) a sign must stay before it counts as the end.
AT_ONCE = 1.5
"""For what never heals by itself: the operator's two permanent errors, an unmanaged registry, a passed deadline."""
SPEC_CHANGED = 3.0
OPERATOR_ERROR = 4.5
"""Shorter ones are seen while Secrets, claims and ConfigMaps arrive one after the other."""
OPERATOR_ERROR_FROM_BEFORE = 9.0
"""The operator may not have looked again since our change, but nothing shows that it will."""
ANY_OPERATOR_ERROR = 12.0
"""For errors whose text changes all the time."""
OTHER_DEGRADED = 8.0
CLAIM = 5.0
DEPLOYMENT_ABSENT = 10.0
PODS_REFUSED = 6.0
PODS_REFUSED_WHILE_MOVING = 60.0
POD_CRASH = 5.0
POD_CONFIG = 8.0
UNSCHEDULABLE = 15.0
UNSCHEDULABLE_WHILE_BINDING = 30.0

_PERMANENT = frozenset({"VerificationFailed", "StorageNotConfigured"})
_CONTAINER_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True)
class Trouble:
    """Something that ends in ``failure`` when ``sign`` has stayed for ``window`` seconds."""

    sign: str
    window: float
    failure: Failed


def troubles(case: Case) -> Iterator[Trouble]:
    """Everything that speaks against the goal now, most telling first."""
    yield from _config_troubles(case)
    if not case.config or not case.serves:
        return
    if case.fresh:
        yield from _operator_troubles(case)
    yield from _claim_troubles(case)
    yield from _deployment_troubles(case)
    yield from _pod_troubles(case)


def _config_troubles(case: Case) -> Iterator[Trouble]:
    if not case.config or being_deleted(case.config):
        gone = "is being deleted" if case.config else "does not exist"
        yield Trouble(
            "config",
            AT_ONCE,
            Failed(
                "ConfigAbsent",
                f"Config/cluster {gone}",
                f"Somebody deleted Config/cluster, or the operator is not installed: it {gone}.",
                "Install the operator, or wait until it has created a new Config/cluster; then run the task again.",
            ),
        )
        return
    state = case.spec.get("managementState")
    if case.serves and state != "Managed":
        yield Trouble(
            "state",
            AT_ONCE,
            Failed(
                f"ManagementState{state or 'Unset'}",
                f"{case.available.text} {plain(case.available.message)}".strip(),
                f"spec.managementState is {state or 'not set'}: the operator runs no registry and changes nothing, "
                "although it may say Available.",
                "Set management_state: Managed.",
            ),
        )
    changed = diff(case.goal.spec, case.spec)
    if changed:
        fields = ", ".join(names(changed))
        yield Trouble(
            f"spec:{fields}",
            SPEC_CHANGED,
            changed_back("Config", "configs", fields, made_again=case.made_again),
        )
    if case.serves and state == "Managed" and number_at(case.spec, "replicas") == 0:
        yield Trouble(
            "replicas",
            AT_ONCE,
            Failed("NoReplicas", "spec.replicas is 0", "No registry Pod is wanted.", "Set replicas to 1 or more."),
        )


def _operator_troubles(case: Case) -> Iterator[Trouble]:
    degraded, progressing = case.degraded, case.progressing
    if degraded.true and degraded.reason in _PERMANENT:
        yield _trouble("permanent", AT_ONCE, degraded.reason, degraded.message)
        return
    if progressing.reason == "Error" and not case.claim_appeared:
        # Right after a change that shows in no spec field, the operator may still repeat what it reported before.
        before = case.goal.renewal is not None and case.signs.kept(f"said:{case.operator_statement}")
        text = normalise(progressing.message)
        reason = _storage_reason(case, progressing.message) or progressing.reason
        window = OPERATOR_ERROR_FROM_BEFORE if before else OPERATOR_ERROR
        yield _trouble(f"error:{before}:{text}", window, reason, progressing.message)
        yield _trouble("error", ANY_OPERATOR_ERROR, reason, progressing.message)
    elif degraded.true and degraded.reason not in ELSEWHERE:
        yield from _degraded_troubles(case, degraded)


def _degraded_troubles(case: Case, degraded: Condition) -> Iterator[Trouble]:
    if degraded.reason == "ProgressDeadlineExceeded":
        # Computed from the operator's cached Deployment, so it may be about the rollout before ours.
        if case.snapshot.deployment is UNSEEN:
            yield _trouble("deadline", AT_ONCE, degraded.reason, degraded.message)
    elif degraded.reason == "Unavailable":
        # Stays for the whole of a repair. Its own five minutes count only once the Deployment has come to rest.
        resting = case.rollout.updated == case.rollout.wanted and case.rollout.reason == "NewReplicaSetAvailable"
        if case.snapshot.deployment is UNSEEN or (case.ours and case.rollout.observed and resting):
            yield _failed_rollout(case, "unavailable", OTHER_DEGRADED, degraded.reason, degraded.message)
    else:
        yield _trouble(f"degraded:{degraded.reason}", OTHER_DEGRADED, degraded.reason, degraded.message)


def _storage_reason(case: Case, message: str) -> str:
    """The storage's reason code, when it belongs to the error; a code alone may be left from an older attempt."""
    exists = condition(case.config, "StorageExists")
    return exists.reason if exists.status == "False" and exists.message and exists.message in message else ""


def _claim_troubles(case: Case) -> Iterator[Trouble]:
    if case.goal.backend != "pvc" or case.snapshot.claim is UNSEEN:
        return
    name = str(mapping_at(case.spec, "storage", "pvc").get("claim") or "")
    phase = mapping_at(case.claim, "status").get("phase")
    if case.claim and not being_deleted(case.claim) and phase != "Lost":
        return
    if being_deleted(case.claim):
        state = "is being deleted"
    else:
        state = "has lost its volume" if case.claim else "does not exist"
    yield Trouble(
        f"claim:{state}",
        CLAIM,
        Failed(
            "ClaimLost" if case.claim else "ClaimAbsent",
            f"PersistentVolumeClaim {name} {state}",
            f"The claim {name} {state}; Pods that use it cannot start.",
            "Create or restore the claim (decide first about its data), then run the task again.",
        ),
    )


def _deployment_troubles(case: Case) -> Iterator[Trouble]:
    if case.snapshot.deployment is None and case.fresh and case.progressing.reason != "Error":
        yield _trouble(
            "deployment",
            DEPLOYMENT_ABSENT,
            case.available.reason or "DeploymentNotFound",
            case.available.message or "The deployment does not exist",
            Explanation(
                "deployment",
                "There is no Deployment, although the operator has looked at this Config: it may not create one, or "
                "does not run any more.",
                "Look at the operator's Pod and its log; check that it is allowed to create Deployments (quota, "
                "admission policies).",
            ),
        )
    if not (case.ours and case.fresh and case.rollout.observed):
        return
    refused = condition(case.deployment, "ReplicaFailure")
    if refused.true:
        # A quota that is full of old Pods has room when they are gone; the condition outlives that for a while.
        state, terminating = case.rollout, case.terminating
        moving = terminating or state.total > state.ready
        sign = f"refused:{terminating}:{state.updated}:{state.ready}"
        window = PODS_REFUSED_WHILE_MOVING if moving else PODS_REFUSED
        yield _trouble(sign, window, refused.reason or "ReplicaFailure", refused.message)
    deadline = condition(case.deployment, "Progressing")
    if deadline.reason == "ProgressDeadlineExceeded" and not _scheduled_after(case, deadline.changed):
        message = case.degraded.message if case.degraded.reason == deadline.reason else deadline.message
        yield _failed_rollout(
            case, "deadline", AT_ONCE, deadline.reason, message or "the rollout has timed out progressing"
        )


def _scheduled_after(case: Case, moment: str) -> bool:
    """Whether a new Pod has been scheduled since: what timed out before that is under way again."""
    if not isinstance(case.snapshot.pods, tuple) or not moment:
        return False
    scheduled = [condition(pod, "PodScheduled") for pod in newest_pods(case.snapshot.pods)]
    return any(entry.true and entry.changed > moment for entry in scheduled)


def _failed_rollout(case: Case, sign: str, window: float, reason: str, message: str) -> Trouble:
    """A failed rollout with what is known about its cause: the claim, the Pods, the log."""
    hints = []
    if case.claim_phase not in ("", "Bound"):
        hints.append(case.claim_state)
    if isinstance(case.snapshot.pods, tuple):
        hints += [text for _name, _window, text in _pod_states(case.snapshot.pods, case.goal.container)]
    if isinstance(case.snapshot.log, tuple):
        hints += [f"{finding.pod}: {finding.line}" for finding in case.snapshot.log[-2:]]
    cause = explain_pod(hints[0]) if hints else explain(message, reason)
    if cause.kind == "unknown" and hints:
        cause = explain(message, reason)
    if case.claim_phase not in ("", "Bound"):
        cause = Explanation(
            "claim",
            f"The Pods cannot start: {case.claim_state}.",
            "Check the claim's StorageClass, access mode, size and events (kubectl describe pvc).",
        )
    return _trouble(sign, window, reason, "; ".join([message, *hints]), cause)


def _pod_troubles(case: Case) -> Iterator[Trouble]:
    """Pods of the newest template that cannot start; older ones are on their way out and prove nothing."""
    if not isinstance(case.snapshot.pods, tuple) or not (case.ours and case.fresh and case.rollout.observed):
        return
    if not case.rollout.updated:
        return
    for reason, window, text in _pod_states(case.snapshot.pods, case.goal.container):
        if reason == "Unschedulable":
            if terminating_pods(case.snapshot.pods):
                continue  # a terminating Pod still holds its node or its volume
            if case.claim_phase == "Pending":
                window = UNSCHEDULABLE_WHILE_BINDING
        yield _pod_trouble(case, reason, window, text)


def _pod_trouble(case: Case, reason: str, window: float, text: str) -> Trouble:
    lines = case.log_lines
    meaning = explain_storage(lines[-1]) if lines else explain_pod(text)
    if meaning.kind == "unknown":
        meaning = explain_pod(text)
    return _trouble(f"pod:{reason}", window, reason, "; ".join([text, *lines[-2:]]), meaning)


def _trouble(sign: str, window: float, reason: str, message: str, meaning: Explanation | None = None) -> Trouble:
    meaning = meaning or explain(message, reason)
    return Trouble(sign, window, Failed(reason, plain(message), meaning.cause, meaning.remedy))


def _pod_states(pods: tuple[JSON, ...], container: str) -> Iterator[tuple[str, float, str]]:
    """(reason, window, text) of every Pod of the newest template that cannot start."""
    for pod in newest_pods(pods):
        name = pod_name(pod)
        status = container_status(pod, container)
        waiting = mapping_at(status, "state", "waiting")
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        terminated = mapping_at(status, "state", "terminated")
        ended = terminated or mapping_at(status, "lastState", "terminated")
        code = f" (exit code {number_at(ended, 'exitCode')})" if ended else ""
        if reason == "CrashLoopBackOff" or (terminated and number_at(status, "restartCount")):
            yield "CrashLoopBackOff", POD_CRASH, f"CrashLoopBackOff: Pod {name} {message}{code}"
        elif reason in _CONTAINER_REASONS:
            yield reason, POD_CONFIG, f"{reason}: Pod {name} {message}"
        else:
            scheduled = condition(pod, "PodScheduled")
            if scheduled.status == "False" and scheduled.reason == "Unschedulable":
                yield "Unschedulable", UNSCHEDULABLE, f"Unschedulable: Pod {name} {scheduled.message}"
