# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's own answers prove, once everything else is as it should be. Pure."""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    Effect,
    Failed,
    Need,
    Verdict,
    Waiting,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import condition
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import plain
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.case import (
    ELSEWHERE,
    MADE,
    Case,
    short,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import Carried, StorageNeed
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.images import made_by_the_operator
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import explain_storage
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer, Probe
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    health_interval,
    storage_location,
)

SECOND_LOOK = 3.0
"""Between two probes that must both find the storage broken."""
UNNAMED_SECOND_LOOK = 2.0
"""On top of one health interval, for a refusal without the storage's own words: it outlives a repair that long."""
UNREACHABLE = 10.0
_WORST_FIRST = (
    Answer.BROKEN,
    Answer.UNREACHABLE,
    Answer.REFUSED,
    Answer.TOO_EARLY,
    Answer.FORBIDDEN,
    Answer.SERVES,
)
"""Of the answers of several Pods the first of these decides."""


def judge_answers(case: Case, accepted: str, where: str) -> Verdict:
    """The verdict once all but the registry's own answer is there. accepted, where: words for the lines."""
    settled = case.signs.hold("settled")
    state = case.rollout
    summary = f"{where}: {state.available}/{state.wanted} replicas serve"
    if case.goal.probe == "skip":
        return Done(summary, remarks(case))
    latest = _latest(case, settled)
    if not latest:
        return Waiting(f"{accepted}; rollout complete, asking the registry", _probe_needs(case))
    for answer in _WORST_FIRST:
        chosen = [probe for probe in latest if probe.answer is answer]
        if not chosen:
            continue
        if answer is Answer.BROKEN:
            return _broken(case, accepted, chosen[0])
        if answer is Answer.UNREACHABLE:
            return _unreachable(case, accepted, chosen[0])
        if answer is Answer.REFUSED:
            return _upload_refused(case, chosen[0])
        if answer is Answer.TOO_EARLY:
            window = health_interval(case.deployment, case.goal.container) + UNNAMED_SECOND_LOOK
            if case.goal.probe == "write" or chosen[0].at - settled < window:
                return Waiting(f"{accepted}; rollout complete, {chosen[0].detail}", frozenset({StorageNeed.PROBE}))
        if answer is Answer.FORBIDDEN:
            return _not_probed(case, summary, chosen[0])
        did = "took an upload" if case.goal.probe == "write" else "answered"
        return Done(f"{summary}, the registry {did} ({chosen[0].via})", remarks(case))
    return Waiting(f"{accepted}; rollout complete, asking the registry", frozenset({StorageNeed.PROBE}))


def _probe_needs(case: Case) -> frozenset[Need]:
    """A rollout that was watched also leaves old Pods and a fresh log behind; one that was at rest does not."""
    needs = {StorageNeed.PROBE}
    if case.signs.kept("moved") and case.snapshot.log is UNSEEN:
        needs.add(StorageNeed.LOG)
    return frozenset(needs)


def _latest(case: Case, settled: float) -> list[Probe]:
    """The newest answer of each that was asked after everything else had become true."""
    newest_by: dict[str, Probe] = {}
    for probe in case.snapshot.probes if isinstance(case.snapshot.probes, tuple) else ():
        if probe.at >= settled and (probe.via not in newest_by or probe.at >= newest_by[probe.via].at):
            newest_by[probe.via] = probe
    return list(newest_by.values())


def _broken(case: Case, accepted: str, probe: Probe) -> Verdict:
    meaning = explain_storage(probe.detail)
    unnamed = meaning.kind in ("health", "unknown")
    interval = health_interval(case.deployment, case.goal.container)
    window = interval + UNNAMED_SECOND_LOOK if unnamed else SECOND_LOOK
    since = case.signs.hold("broken", probe.at)
    if probe.at - since < window:
        return Waiting(
            f"{accepted}; rollout complete, but the registry answers {probe.status} ({short(probe.detail)}); "
            "asking again",
            frozenset({StorageNeed.PROBE, StorageNeed.LOG} if case.snapshot.log is UNSEEN else {StorageNeed.PROBE}),
        )
    lines = case.log_lines
    if unnamed:
        # The health check's refusal names no cause; the newest line that names one says more.
        found = [(line, explain_storage(line)) for line in lines]
        causes = [(line, cause) for line, cause in found if cause.kind not in ("health", "unknown")]
        if causes:
            lines, meaning = [causes[-1][0]], causes[-1][1]
    return Failed(
        "StorageBroken",
        "; ".join([probe.detail, *lines[-2:]]),
        f"The operator is satisfied, but the registry cannot use its storage. {meaning.cause}",
        meaning.remedy,
    )


def _unreachable(case: Case, accepted: str, probe: Probe) -> Verdict:
    since = case.signs.hold("unreachable", probe.at)
    if probe.at - since < UNREACHABLE:
        seen = f"the registry was not reached ({short(probe.detail)})"
        return Waiting(f"{accepted}; rollout complete, but {seen}; asking again", frozenset({StorageNeed.PROBE}))
    if probe.status == 401:
        return unauthorized(
            probe.detail,
            "The API server no longer accepts the credentials, so the registry's storage is not proven.",
        )
    return Failed(
        "RegistryUnreachable",
        probe.detail,
        f"The registry could not be asked through the API server ({probe.via}); its storage is not proven.",
        "Check the registry's Service and network policies; where the API server cannot reach Pods at all, "
        "use probe: skip.",
        Effect.UNCONFIRMED,
    )


def _not_probed(case: Case, summary: str, probe: Probe) -> Verdict:
    if case.goal.probe in ("require", "write"):
        verbs = "get" if case.goal.probe == "require" else "get, create, update and delete"
        return Failed(
            "ProbeForbidden",
            probe.detail,
            "The registry was not probed: the API server refuses the proxy to this user, and probe is "
            f"'{case.goal.probe}'.",
            f"Allow {verbs} on pods/proxy and services/proxy in the registry's namespace, or use probe: auto.",
            Effect.UNCONFIRMED,
        )
    warning = (
        f"The registry was not probed, so its storage is not proven to work: {probe.detail}. "
        "Allow get on pods/proxy and services/proxy in the registry's namespace to have it probed."
    )
    return Done(f"{summary}, not probed", (warning, *remarks(case)))


def _upload_refused(case: Case, probe: Probe) -> Verdict:
    """The registry reads its storage, but takes no upload from us; that need not be the storage's fault."""
    if probe.status in (401, 403):
        remedy = (
            "The registry requires a login, and the API server does not pass one on: push an image with a client that "
            "logs in, and use probe: require here."
        )
    elif case.spec.get("readOnly"):
        remedy = "spec.readOnly is true: set it to false when images are to be pushed, or use probe: require."
    else:
        remedy = "Push an image with a client to see more, or use probe: require."
    return Failed(
        "UploadRefused",
        f"{probe.status} {probe.detail}",
        f"The registry reaches its storage, but takes no upload ({probe.via}), so it is not proven that images can "
        "be pushed, and probe is 'write'.",
        remedy,
        Effect.UNCONFIRMED,
    )


def remarks(case: Case) -> tuple[str, ...]:
    """What does not speak against the goal but must not go unsaid."""
    warnings = []
    if isinstance(case.snapshot.log, tuple):
        warnings += [f"log of {finding.pod} ({finding.kind}): {finding.line}" for finding in case.snapshot.log]
    carried = case.snapshot.carried
    if isinstance(carried, Carried) and carried.hidden:
        warnings.append(
            "It is not proven that the Pods were started with the changed credentials or CA bundle: what the operator "
            f"passes on to them may not be read ({carried.hidden})."
        )
    elif case.signs.kept("left alone"):
        warnings.append(
            "The operator passes the changed CA bundle on, and has left the Pods as they are: most likely they were "
            "started with the same bundle."
        )
    if case.goal.capacity and not case.claim:
        warnings.append(
            f"Whether the volume has grown to {case.goal.capacity} is not proven: its claim cannot be read."
        )
    certificates = condition(case.config, "ImageRegistryCertificatesControllerDegraded")
    if case.degraded.true and case.degraded.reason in ELSEWHERE:
        warnings.append(f"{case.degraded.text}: {plain(case.degraded.message)}")
    if case.signs.kept(MADE):
        warnings.append(made_by_the_operator(storage_location(case.spec, "s3")))
    if case.goal.backend == "s3" and certificates.true:
        warnings.append(f"{certificates.text}: {plain(certificates.message)}")
    return tuple(warnings)
