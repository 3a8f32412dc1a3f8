# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides from what was seen whether the goal is reached, still on its way, or will not be reached by itself.

Pure: no clock, no requests. Two rules stand above the others. *Done* needs evidence of every step from Config to an
answer of the registry, because single conditions lie: ``Available=True/Ready`` stays from the rollout before, and also
while the operator refuses the change (operator facts, section 3.3). *Failed* needs a sign that is about **our**
generation and that has stayed for a while, because errors come and go while the parts of a change arrive one by one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    Failed,
    History,
    Need,
    Signs,
    Verdict,
    Waiting,
    changed_back,
    not_observed,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import Rollout, rollout
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import diff, names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    NOTHING,
    Condition,
    being_deleted,
    condition,
    generation,
    mapping_at,
    number_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import (
    container_status,
    newest_pods,
    old_pods,
    pod_name,
    terminating_pods,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    JSON,
    StorageGoal,
    StorageNeed,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import (
    Explanation,
    explain,
    explain_pod,
    explain_storage,
    normalise,
    plain,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import Answer, Probe
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    deployment_difference,
    expected_deployment,
    health_interval,
    storage_location,
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
NO_ROLLOUT = 1.0
"""From when the operator has seen a change until a Deployment that stayed the same counts as the answer to it."""
NO_RENEWAL = 8.0
"""How long a contented operator leaves the Deployment alone until it is taken to have nothing to renew."""
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
_ELSEWHERE = frozenset({"IngressDegraded", "RouteDegraded"})
"""Trouble with exposing the registry: it stays available (operator facts, section 0), so a rollout only warns of it."""
_PERMANENT = frozenset({"VerificationFailed", "StorageNotConfigured"})
_CLAIM_NOT_FOUND = re.compile(r"persistentvolumeclaims? \"(?P<name>[^\"]+)\" not found")
_CONFIG_TROUBLES = frozenset(
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
class _Trouble:
    """Something that ends in ``failure`` when ``sign`` has stayed for ``window`` seconds."""

    sign: str
    window: float
    failure: Failed


def judge(goal: StorageGoal, snapshot: StorageSnapshot, history: History) -> tuple[Verdict, History]:
    """The verdict on one snapshot, and what to remember for the next one (an empty History at first)."""
    signs = Signs(history, snapshot.at)
    verdict = _Case(goal, snapshot, signs).verdict()
    return verdict, signs.history()


class _Case:
    """One look at one snapshot."""

    def __init__(self, goal: StorageGoal, snapshot: StorageSnapshot, signs: Signs) -> None:
        self.goal, self.snapshot, self.signs = goal, snapshot, signs
        self.config: JSON = snapshot.config if isinstance(snapshot.config, Mapping) else NOTHING
        self.deployment: JSON = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else NOTHING
        self.claim: JSON = snapshot.claim if isinstance(snapshot.claim, Mapping) else NOTHING
        self.spec = mapping_at(self.config, "spec")
        self.generation = generation(self.config)
        self.observed = observed_generation(self.config)
        self.available = condition(self.config, "Available")
        self.progressing = condition(self.config, "Progressing")
        self.degraded = condition(self.config, "Degraded")
        self.rollout = rollout(self.deployment)
        self.stale = (
            deployment_difference(
                expected_deployment(self.spec, goal.spec, goal.backend), self.deployment, goal.container
            )
            if self.deployment
            else ""
        )

    # -- the order of evidence -----------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        if self.snapshot.config is UNSEEN:
            return Waiting("Config has not been read yet")
        if self.config and self.generation < self.goal.min_generation:
            return Waiting(f"Config is read from before the change (generation {self.generation})")
        troubles = list(self._troubles())
        self._remember_first_look()
        self._remember_made()
        for trouble in troubles:
            if self.signs.now - self.signs.hold(trouble.sign) >= trouble.window:
                return trouble.failure
        if troubles:
            first = troubles[0]
            needs = [StorageNeed.LOG] if first.sign == "pod:CrashLoopBackOff" and self.snapshot.log is UNSEEN else []
            said = first.failure.quoted
            if not said.startswith(first.failure.reason):
                said = f"{first.failure.reason}: {said}"
            return self._moving(f"{_short(said)}{self._claim_note()}; seeing if it lasts", *needs)
        aim = self.goal.spec.get("managementState", "Managed")
        if aim == "Removed" or aim is None:
            return self._removed()
        if aim == "Unmanaged":
            return self._unmanaged()
        return self._serving()

    @property
    def fresh(self) -> bool:
        """Whether the operator's status is about the spec that is there now, and not older than our change."""
        return bool(self.config) and self.observed >= max(self.goal.min_generation, self.generation)

    @property
    def ours(self) -> bool:
        """Whether the Deployment is the one rendered from our Config, and its controller has taken note of it."""
        over = self.goal.deployment_generation_over
        renewed = over is None or self._renewed(over) or self.signs.kept("no renewal")
        return bool(self.deployment) and not being_deleted(self.deployment) and not self.stale and renewed

    def _renewed(self, over: int) -> bool:
        meta = mapping_at(self.deployment, "metadata")
        another = bool(self.goal.deployment_uid) and meta.get("uid") != self.goal.deployment_uid
        return another or generation(self.deployment) > over

    @property
    def serves(self) -> bool:
        """Whether a running registry is the goal."""
        return self.goal.spec.get("managementState", "Managed") not in ("Removed", "Unmanaged", None)

    # -- failures ------------------------------------------------------------------------------------------------------

    def _troubles(self) -> Iterator[_Trouble]:
        """Everything that speaks against the goal now, most telling first."""
        yield from self._config_troubles()
        if not self.config or not self.serves:
            return
        if self.fresh:
            yield from self._operator_troubles()
        yield from self._claim_troubles()
        yield from self._deployment_troubles()
        yield from self._pod_troubles()

    def _config_troubles(self) -> Iterator[_Trouble]:
        if not self.config or being_deleted(self.config):
            gone = "is being deleted" if self.config else "does not exist"
            yield _Trouble(
                "config",
                AT_ONCE,
                Failed(
                    "ConfigAbsent",
                    f"Config/cluster {gone}",
                    f"Somebody deleted Config/cluster, or the operator is not installed: it {gone}.",
                    "Install the operator, or wait until it has made a new Config/cluster; then run the task again.",
                ),
            )
            return
        state = self.spec.get("managementState")
        if self.serves and state != "Managed":
            yield _Trouble(
                "state",
                AT_ONCE,
                Failed(
                    f"ManagementState{state or 'Unset'}",
                    f"{self.available.text} {plain(self.available.message)}".strip(),
                    f"spec.managementState is {state or 'not set'}: the operator runs no registry and changes nothing, "
                    "although it may say Available.",
                    "Set management_state: Managed.",
                ),
            )
        changed = diff(self.goal.spec, self.spec)
        if changed:
            fields = ", ".join(names(changed))
            yield _Trouble(
                f"spec:{fields}",
                SPEC_CHANGED,
                changed_back("Config", "configs", fields),
            )
        if self.serves and state == "Managed" and number_at(self.spec, "replicas") == 0:
            yield _Trouble(
                "replicas",
                AT_ONCE,
                Failed(
                    "NoReplicas", "spec.replicas is 0", "No registry Pod is asked for.", "Set replicas to 1 or more."
                ),
            )

    def _operator_troubles(self) -> Iterator[_Trouble]:
        degraded, progressing = self.degraded, self.progressing
        if degraded.true and degraded.reason in _PERMANENT:
            yield _trouble("permanent", AT_ONCE, degraded.reason, degraded.message)
            return
        if progressing.reason == "Error" and not self._claim_appeared():
            # Right after a change that shows in no spec field, the operator may still repeat what it said before it.
            before = self.goal.deployment_generation_over is not None and self.signs.kept(f"said:{self._said()}")
            text = normalise(progressing.message)
            reason = self._storage_reason(progressing.message) or progressing.reason
            window = OPERATOR_ERROR_FROM_BEFORE if before else OPERATOR_ERROR
            yield _trouble(f"error:{before}:{text}", window, reason, progressing.message)
            yield _trouble("error", ANY_OPERATOR_ERROR, reason, progressing.message)
        elif degraded.true and degraded.reason not in _ELSEWHERE:
            yield from self._degraded_troubles(degraded)

    def _degraded_troubles(self, degraded: Condition) -> Iterator[_Trouble]:
        if degraded.reason == "ProgressDeadlineExceeded":
            # Computed from the operator's cached Deployment, so it may be about the rollout before ours.
            if self.snapshot.deployment is UNSEEN:
                yield _trouble("deadline", AT_ONCE, degraded.reason, degraded.message)
        elif degraded.reason == "Unavailable":
            # Stays for the whole of a repair. Its own five minutes count only once the Deployment has come to rest.
            resting = self.rollout.updated == self.rollout.wanted and self.rollout.reason == "NewReplicaSetAvailable"
            if self.snapshot.deployment is UNSEEN or (self.ours and self.rollout.observed and resting):
                yield self._blamed("unavailable", OTHER_DEGRADED, degraded.reason, degraded.message)
        else:
            yield _trouble(f"degraded:{degraded.reason}", OTHER_DEGRADED, degraded.reason, degraded.message)

    def _claim_appeared(self) -> bool:
        """Whether the operator complains about a claim that is there by now: it does not watch claims."""
        missing = _CLAIM_NOT_FOUND.search(self.progressing.message)
        name = mapping_at(self.claim, "metadata").get("name")
        return missing is not None and name == missing["name"] and not being_deleted(self.claim)

    def _storage_reason(self, message: str) -> str:
        """The storage's reason code, when it belongs to the error; a code alone may be left from an older attempt."""
        exists = condition(self.config, "StorageExists")
        return exists.reason if exists.status == "False" and exists.message and exists.message in message else ""

    def _said(self) -> str:
        """A short name for what the operator says and when it said it."""
        exists = condition(self.config, "StorageExists")
        words = (self.observed, self.progressing, exists)
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]

    def _remember_made(self) -> None:
        """The operator says only for a moment that a bucket is its own work; then that it exists."""
        exists = condition(self.config, "StorageExists")
        made = exists.true and exists.reason == "Creation Successful" and "bucket" in exists.message.lower()
        if self.goal.backend == "s3" and self.fresh and made:
            self.signs.keep("made")

    def _remember_first_look(self) -> None:
        if not self.signs.kept("begun"):
            self.signs.keep("begun")
            self.signs.keep(f"said:{self._said()}")
            self.signs.keep(self._edition())

    def _edition(self) -> str:
        """Which edition of the Deployment is there."""
        metadata = mapping_at(self.deployment, "metadata")
        return f"edition:{metadata.get('uid')}:{metadata.get('generation')}"

    def _claim_troubles(self) -> Iterator[_Trouble]:
        if self.goal.backend != "pvc" or self.snapshot.claim is UNSEEN:
            return
        name = str(mapping_at(self.spec, "storage", "pvc").get("claim") or "")
        phase = mapping_at(self.claim, "status").get("phase")
        if self.claim and not being_deleted(self.claim) and phase != "Lost":
            return
        if being_deleted(self.claim):
            state = "is being deleted"
        else:
            state = "has lost its volume" if self.claim else "does not exist"
        yield _Trouble(
            f"claim:{state}",
            CLAIM,
            Failed(
                "ClaimLost" if self.claim else "ClaimAbsent",
                f"PersistentVolumeClaim {name} {state}",
                f"The claim {name} {state}; Pods that use it cannot start.",
                "Create or restore the claim (decide first about its data), then run the task again.",
            ),
        )

    def _deployment_troubles(self) -> Iterator[_Trouble]:
        if self.snapshot.deployment is None and self.fresh and self.progressing.reason != "Error":
            yield _trouble(
                "deployment",
                DEPLOYMENT_ABSENT,
                self.available.reason or "DeploymentNotFound",
                self.available.message or "The deployment does not exist",
                Explanation(
                    "deployment",
                    "The operator has seen the change but there is no Deployment.",
                    "Read the operator's log; check that it may create Deployments (quota, admission policies).",
                ),
            )
        if not (self.ours and self.fresh and self.rollout.observed):
            return
        refused = condition(self.deployment, "ReplicaFailure")
        if refused.true:
            # A quota that is full of old Pods has room when they are gone; the condition outlives that for a while.
            state, leaving = self.rollout, self._leaving()
            moving = leaving or state.total > state.ready
            sign = f"refused:{leaving}:{state.updated}:{state.ready}"
            window = PODS_REFUSED_WHILE_MOVING if moving else PODS_REFUSED
            yield _trouble(sign, window, refused.reason or "ReplicaFailure", refused.message)
        deadline = condition(self.deployment, "Progressing")
        if deadline.reason == "ProgressDeadlineExceeded" and not self._placed_after(deadline.changed):
            said = self.degraded.message if self.degraded.reason == deadline.reason else deadline.message
            yield self._blamed("deadline", AT_ONCE, deadline.reason, said or "the rollout has timed out progressing")

    def _placed_after(self, moment: str) -> bool:
        """Whether a new Pod has found its node since: what timed out before that is under way again."""
        if not isinstance(self.snapshot.pods, tuple) or not moment:
            return False
        placed = [condition(pod, "PodScheduled") for pod in newest_pods(self.snapshot.pods)]
        return any(one.true and one.changed > moment for one in placed)

    def _blamed(self, sign: str, window: float, reason: str, message: str) -> _Trouble:
        """A failed rollout with what is known about its cause: the claim, the Pods, the log."""
        hints = []
        if self._claim_phase() not in ("", "Bound"):
            hints.append(self._claim_state())
        if isinstance(self.snapshot.pods, tuple):
            hints += [text for _name, _window, text in _pod_states(self.snapshot.pods, self.goal.container)]
        if isinstance(self.snapshot.log, tuple):
            hints += [f"{finding.pod}: {finding.line}" for finding in self.snapshot.log[-2:]]
        cause = explain_pod(hints[0]) if hints else explain(message, reason)
        if cause.kind == "unknown" and hints:
            cause = explain(message, reason)
        if self._claim_phase() not in ("", "Bound"):
            cause = Explanation(
                "claim",
                f"The Pods cannot start: {self._claim_state()}.",
                "Check the claim's StorageClass, access mode, size and events (kubectl describe pvc).",
            )
        return _trouble(sign, window, reason, "; ".join([message, *hints]), cause)

    def _pod_troubles(self) -> Iterator[_Trouble]:
        """Pods of the newest template that cannot start; older ones are on their way out and prove nothing."""
        if not isinstance(self.snapshot.pods, tuple) or not (self.ours and self.fresh and self.rollout.observed):
            return
        if not self.rollout.updated:
            return
        for reason, window, text in _pod_states(self.snapshot.pods, self.goal.container):
            if reason == "Unschedulable":
                if len(terminating_pods(self.snapshot.pods)):
                    continue  # a terminating Pod still holds its node or its volume
                if self._claim_phase() == "Pending":
                    window = UNSCHEDULABLE_WHILE_BINDING
            yield self._pod_trouble(reason, window, text)

    def _pod_trouble(self, reason: str, window: float, text: str) -> _Trouble:
        lines = [finding.line for finding in self.snapshot.log] if isinstance(self.snapshot.log, tuple) else []
        said = explain_storage(lines[-1]) if lines else explain_pod(text)
        if said.kind == "unknown":
            said = explain_pod(text)
        return _trouble(f"pod:{reason}", window, reason, "; ".join([text, *lines[-2:]]), said)

    # -- what is still missing -----------------------------------------------------------------------------------------

    def _moving(self, why: str, *needs: Need) -> Waiting:
        """Waiting for the operator or the rollout: from now on, old Pods and the log matter as well."""
        self.signs.keep("moved")
        class_name = mapping_at(self.claim, "spec").get("storageClassName")
        if self._claim_phase() not in ("", "Bound") and class_name and self.snapshot.storage_class is UNSEEN:
            needs = (*needs, StorageNeed.STORAGE_CLASS)
        return Waiting(why, frozenset(needs))

    def _serving(self) -> Verdict:
        where = storage_location(self.spec, self.goal.backend) if self.goal.backend else "the change"
        if not self.fresh:
            if self._claim_appeared():
                return self._moving("the operator has not noticed yet that the claim exists")
            return self._moving(not_observed(self.generation, self.observed).why)
        if self._claim_appeared() and self.progressing.reason == "Error":
            return self._moving("the claim exists now; the operator has not noticed yet, it looks with growing pauses")
        self.signs.hold("fresh")
        missing = self._not_accepted()
        if missing:
            return self._moving(f"the operator has not accepted {where} yet: {missing}")
        accepted = f"Config accepted {where}"
        self._await_renewal()
        missing = self._not_rolled_out()
        if missing:
            return self._moving(f"{accepted}; {missing}{self._claim_note()}")
        missing = self._not_said()
        if missing:
            return self._moving(f"{accepted}; rollout complete, but the operator says {missing}")
        # The operator has seen a change, but this Deployment is older than our first look: what the operator writes to
        # it may reach us later than what it writes to Config.
        unchanged = self.signs.kept("moved") and self.signs.kept(self._edition())
        if unchanged and self.signs.now - self.signs.hold("fresh") < NO_ROLLOUT:
            return self._moving(f"{accepted}; seeing if the Deployment follows")
        missing = self._pods_left() or self._claim_note()
        if missing:
            return self._moving(f"{accepted}; rollout complete, {missing.lstrip(', ')}")
        return self._probed(accepted, where)

    def _not_accepted(self) -> str:
        """What shows that the operator has not taken the backend; status.storage is what it accepted last."""
        backend = self.goal.backend
        if backend is None:
            return ""
        accepted = mapping_at(self.config, "status", "storage")
        if not isinstance(accepted.get(backend), Mapping):
            found = ", ".join(key for key in accepted if key != "managementState")
            return f"it still uses {found}" if found else "it uses no storage"
        wish = mapping_at(self.goal.spec, "storage").get(backend)
        wanted = wish if isinstance(wish, Mapping) and wish else mapping_at(self.spec, "storage", backend)
        differing = diff({backend: wanted}, {backend: accepted[backend]}, ("storage",))
        return f"it still uses other values of {', '.join(names(differing))}" if differing else ""

    def _not_rolled_out(self) -> str:
        if self.snapshot.deployment is UNSEEN:
            return "the Deployment has not been read yet"
        if not self.deployment:
            return "the Deployment does not exist yet"
        if being_deleted(self.deployment):
            return "the Deployment is being deleted"
        if self.stale:
            return f"the Deployment is still the one before ({self.stale})"
        if not self.ours:
            return "the Deployment has not been renewed for the changed credentials or certificates yet"
        state = self.rollout
        return "" if state.complete else _progress(state, self._leaving())

    def _await_renewal(self) -> None:
        """Give up waiting for Pods to be renewed when they may have nothing to be renewed for."""
        may_wait = self.goal.renewal_may_not_come and self.deployment and not self.stale and not self.ours
        if may_wait and self.signs.now - self.signs.hold("unrenewed") >= NO_RENEWAL:
            self.signs.keep("no renewal")

    def _leaving(self) -> int:
        """Old Pods that are known to be terminating."""
        seen = len(terminating_pods(self.snapshot.pods)) if isinstance(self.snapshot.pods, tuple) else 0
        return max(seen, self.rollout.terminating)

    def _not_said(self) -> str:
        """Which of the operator's conditions is not what a running registry has."""
        for said, status in ((self.available, "True"), (self.progressing, "False")):
            if (said.status, said.reason) != (status, "Ready"):
                return said.text
        return self.degraded.text if self.degraded.true and self.degraded.reason not in _ELSEWHERE else ""

    def _pods_left(self) -> str:
        if not isinstance(self.snapshot.pods, tuple):
            return ""
        running, leaving = len(old_pods(self.snapshot.pods)), len(terminating_pods(self.snapshot.pods))
        if running:
            return f"{_count(running, 'old Pod')} still running"
        return f"{_count(leaving, 'old Pod')} terminating" if leaving else ""

    def _claim_phase(self) -> str:
        """Phase of the claim in use, empty when it does not matter or was not looked at."""
        if self.goal.backend != "pvc" or not self.claim:
            return ""
        return str(mapping_at(self.claim, "status").get("phase") or "Pending")

    def _claim_state(self) -> str:
        name = mapping_at(self.claim, "metadata").get("name")
        class_name = mapping_at(self.claim, "spec").get("storageClassName")
        text = f"claim {name} is {self._claim_phase()}"
        if self.snapshot.storage_class is None and class_name:
            return f"{text} (StorageClass {class_name} does not exist)"
        storage_class = self.snapshot.storage_class if isinstance(self.snapshot.storage_class, Mapping) else NOTHING
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return f"{text} (it is bound when the first Pod that uses it starts)"
        return f"{text} (StorageClass {class_name})" if class_name else text

    def _claim_note(self) -> str:
        return f", {self._claim_state()}" if self._claim_phase() not in ("", "Bound") else ""

    # -- the registry's own answer -------------------------------------------------------------------------------------

    def _probed(self, accepted: str, where: str) -> Verdict:
        settled = self.signs.hold("settled")
        state = self.rollout
        summary = f"{where}: {state.available}/{state.wanted} replicas serve"
        if self.goal.probe == "skip":
            return Done(summary, self._warnings())
        latest = self._latest(settled)
        if not latest:
            return Waiting(f"{accepted}; rollout complete, asking the registry", self._probe_needs())
        for answer in _WORST_FIRST:
            chosen = [probe for probe in latest if probe.answer is answer]
            if not chosen:
                continue
            if answer is Answer.BROKEN:
                return self._broken(accepted, chosen[0])
            if answer is Answer.UNREACHABLE:
                return self._unreachable(accepted, chosen[0])
            if answer is Answer.REFUSED:
                return self._upload_refused(chosen[0])
            if answer is Answer.TOO_EARLY:
                window = health_interval(self.deployment, self.goal.container) + UNNAMED_SECOND_LOOK
                if self.goal.probe == "write" or chosen[0].at - settled < window:
                    return Waiting(f"{accepted}; rollout complete, {chosen[0].detail}", frozenset({StorageNeed.PROBE}))
            if answer is Answer.FORBIDDEN:
                return self._not_probed(summary, chosen[0])
            did = "took an upload" if self.goal.probe == "write" else "answered"
            return Done(f"{summary}, the registry {did} ({chosen[0].via})", self._warnings())
        return Waiting(f"{accepted}; rollout complete, asking the registry", frozenset({StorageNeed.PROBE}))

    def _probe_needs(self) -> frozenset[Need]:
        """A rollout that was watched also leaves old Pods and a fresh log behind; one that was at rest does not."""
        needs = {StorageNeed.PROBE}
        if self.signs.kept("moved") and self.snapshot.log is UNSEEN:
            needs.add(StorageNeed.LOG)
        return frozenset(needs)

    def _latest(self, settled: float) -> list[Probe]:
        """The newest answer of everyone who was asked after everything else had become true."""
        newest_by: dict[str, Probe] = {}
        for probe in self.snapshot.probes if isinstance(self.snapshot.probes, tuple) else ():
            if probe.at >= settled and (probe.via not in newest_by or probe.at >= newest_by[probe.via].at):
                newest_by[probe.via] = probe
        return list(newest_by.values())

    def _broken(self, accepted: str, probe: Probe) -> Verdict:
        meaning = explain_storage(probe.detail)
        unnamed = meaning.kind in ("health", "unknown")
        interval = health_interval(self.deployment, self.goal.container)
        window = interval + UNNAMED_SECOND_LOOK if unnamed else SECOND_LOOK
        since = self.signs.hold("broken", probe.at)
        if probe.at - since < window:
            return Waiting(
                f"{accepted}; rollout complete, but the registry answers {probe.status} ({_short(probe.detail)}); "
                "asking again",
                frozenset({StorageNeed.PROBE, StorageNeed.LOG} if self.snapshot.log is UNSEEN else {StorageNeed.PROBE}),
            )
        lines = self._log_lines()
        if unnamed:
            # The health check's refusal is no cause; the newest line that is one tells more.
            found = [(line, explain_storage(line)) for line in lines]
            causes = [(line, said) for line, said in found if said.kind not in ("health", "unknown")]
            if causes:
                lines, meaning = [causes[-1][0]], causes[-1][1]
        return Failed(
            "StorageBroken",
            "; ".join([probe.detail, *lines[-2:]]),
            f"The operator is satisfied, but the registry cannot use its storage. {meaning.cause}",
            meaning.remedy,
        )

    def _unreachable(self, accepted: str, probe: Probe) -> Verdict:
        since = self.signs.hold("unreachable", probe.at)
        if probe.at - since < UNREACHABLE:
            seen = f"the registry was not reached ({_short(probe.detail)})"
            return Waiting(f"{accepted}; rollout complete, but {seen}; asking again", frozenset({StorageNeed.PROBE}))
        if probe.status == 401:
            return unauthorized(
                probe.detail,
                "The API server does not accept the credentials any more, so the registry's storage is not proven.",
            )
        return Failed(
            "RegistryUnreachable",
            probe.detail,
            f"The registry could not be asked through the API server ({probe.via}); its storage is not proven.",
            "Check the registry's Service and network policies; where the API server cannot reach Pods at all, "
            "use probe: skip.",
        )

    def _not_probed(self, summary: str, probe: Probe) -> Verdict:
        if self.goal.probe in ("require", "write"):
            verbs = "get" if self.goal.probe == "require" else "get, create, update and delete"
            return Failed(
                "ProbeForbidden",
                probe.detail,
                "The registry was not probed: the API server refuses the proxy to this user, and probe is "
                f"'{self.goal.probe}'.",
                f"Allow {verbs} on pods/proxy and services/proxy in the registry's namespace, or use probe: auto.",
            )
        warning = (
            f"The registry was not probed, so its storage is not proven to work: {probe.detail}. "
            "Allow get on pods/proxy and services/proxy in the registry's namespace to have it probed."
        )
        return Done(f"{summary}, not probed", (warning, *self._warnings()))

    def _upload_refused(self, probe: Probe) -> Verdict:
        """The registry reads its storage, but takes no upload from us; that need not be the storage's fault."""
        if probe.status in (401, 403):
            remedy = (
                "The registry wants a login, and the API server passes none on: push an image with a client that has "
                "one, and use probe: require here."
            )
        elif self.spec.get("readOnly"):
            remedy = "spec.readOnly is true: set it to false when images are to be pushed, or use probe: require."
        else:
            remedy = "Push an image with a client to see more, or use probe: require."
        return Failed(
            "UploadRefused",
            f"{probe.status} {probe.detail}",
            f"The registry reaches its storage, but takes no upload ({probe.via}), so it is not proven that images can "
            "be pushed, and probe is 'write'.",
            remedy,
        )

    def _log_lines(self) -> list[str]:
        return [finding.line for finding in self.snapshot.log] if isinstance(self.snapshot.log, tuple) else []

    def _warnings(self) -> tuple[str, ...]:
        """What does not stand against the goal but must not go unsaid."""
        warnings = []
        if isinstance(self.snapshot.log, tuple):
            warnings += [f"log of {finding.pod} ({finding.kind}): {finding.line}" for finding in self.snapshot.log]
        over = self.goal.deployment_generation_over
        if self.signs.kept("no renewal") and over is not None and not self._renewed(over):
            warnings.append(
                "The operator did not renew the Pods for the changed CA bundle: either they were started with this "
                "bundle before, or the operator has not taken notice of it."
            )
        certificates = condition(self.config, "ImageRegistryCertificatesControllerDegraded")
        if self.degraded.true and self.degraded.reason in _ELSEWHERE:
            warnings.append(f"{self.degraded.text}: {plain(self.degraded.message)}")
        if self.signs.kept("made"):
            warnings.append(
                f"{storage_location(self.spec, 's3')} did not exist: the operator has created it, empty. Check the "
                "bucket's name if there should have been images in it."
            )
        if self.goal.backend == "s3" and certificates.true:
            warnings.append(f"{certificates.text}: {plain(certificates.message)}")
        return tuple(warnings)

    # -- other goals ---------------------------------------------------------------------------------------------------

    def _removed(self) -> Verdict:
        """Removed, and in products without a default the same for an unset state (operator facts, section 0)."""
        if not self.fresh:
            return self._moving(not_observed(self.generation, self.observed).why)
        for said, status in ((self.available, "True"), (self.progressing, "False")):
            if (said.status, said.reason) != (status, "Removed"):
                return self._moving(f"the operator says {said.text}")
        if self.snapshot.deployment is not None:
            return self._moving("the Deployment is still there")
        if isinstance(self.snapshot.pods, tuple) and self.snapshot.pods:
            return self._moving(f"{_count(len(self.snapshot.pods), 'Pod')} still there")
        return Done("the registry is removed")

    def _unmanaged(self) -> Verdict:
        if not self.fresh:
            return self._moving(not_observed(self.generation, self.observed).why)
        for said in (self.available, self.progressing):
            if said.reason != "Unmanaged":
                return self._moving(f"the operator says {said.text}")
        return Done("the operator leaves the registry alone (Unmanaged)")


def _trouble(sign: str, window: float, reason: str, message: str, meaning: Explanation | None = None) -> _Trouble:
    said = meaning or explain(message, reason)
    return _Trouble(sign, window, Failed(reason, plain(message), said.cause, said.remedy))


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
        elif reason in _CONFIG_TROUBLES:
            yield reason, POD_CONFIG, f"{reason}: Pod {name} {message}"
        else:
            placed = condition(pod, "PodScheduled")
            if placed.status == "False" and placed.reason == "Unschedulable":
                yield "Unschedulable", UNSCHEDULABLE, f"Unschedulable: Pod {name} {placed.message}"


def _progress(state: Rollout, leaving: int) -> str:
    if not state.observed:
        return "the Deployment has just been changed"
    parts = [f"rollout {state.updated}/{state.wanted} updated"]
    if state.updated:
        parts.append(f"{min(state.available, state.wanted)}/{state.wanted} available")
    left = state.total - state.updated
    if left > 0:
        parts.append(f"{_count(left, 'old Pod')} running")
    if leaving:
        parts.append(f"{_count(leaving, 'old Pod')} terminating")
    elif not state.updated and not state.total:
        parts.append("old Pods terminating")
    if len(parts) == 2 and state.updated == state.available == state.wanted:
        parts.append(f"Kubernetes says {state.reason or 'nothing'}")
    return ", ".join(parts)


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
