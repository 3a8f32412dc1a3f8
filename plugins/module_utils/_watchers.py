# SPDX-License-Identifier: GPL-3.0-or-later
"""What each part watches, and the evidence no watch shows: the registry's own answers, logs, events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils import _pruner, _pullsecret
from ansible_collections.alauda.image_registry.plugins.module_utils._client import ApiError, Client, ClientError, Reply
from ansible_collections.alauda.image_registry.plugins.module_utils._explain import classify, redact
from ansible_collections.alauda.image_registry.plugins.module_utils._facts import own
from ansible_collections.alauda.image_registry.plugins.module_utils._judge import judge
from ansible_collections.alauda.image_registry.plugins.module_utils._kube import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._model import (
    JSON,
    Answer,
    Goal,
    History,
    LogFinding,
    Need,
    Probe,
    Snapshot,
    Verdict,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._observe import Target
from ansible_collections.alauda.image_registry.plugins.module_utils._platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._probe import parse_interval, read_probe

PROBE_TIMEOUT = 10.0
"""Seconds for one answer of the registry."""
LOG_LINES = 200
PROBE_PATH = "/v2/alauda-image-registry-probe/absent/tags/list"


@dataclass(frozen=True)
class Rollout:
    """The Watcher for a Goal on Config/cluster. claim: name of the claim whose binding matters."""

    platform: Platform
    goal: Goal
    claim: str | None = None

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """Config, Deployment, the claim, and the Pods as soon as the Deployment tells their labels."""
        platform = self.platform
        targets = [
            Target(
                "config", f"{platform.api}/configs", field_selector=f"metadata.name={platform.singleton}", required=True
            ),
            Target(
                "deployment",
                namespaced(platform.namespace, "deployments", api="/apis/apps/v1"),
                field_selector=f"metadata.name={platform.deployment}",
                required=True,
            ),
        ]
        if self.claim:
            path = namespaced(platform.namespace, "persistentvolumeclaims")
            targets.append(Target("claim", path, field_selector=f"metadata.name={self.claim}"))
        selector = _selector(snapshot.deployment) if isinstance(snapshot.deployment, Mapping) else ""
        if selector:
            path = namespaced(platform.namespace, "pods")
            targets.append(Target("pods", path, label_selector=selector, single=False))
        return targets

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """See _judge."""
        return judge(self.goal, _own_pods(snapshot), history)

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """The snapshot with the evidence that the judge asked for."""
        snapshot = _own_pods(snapshot)
        if Need.PROBE in needs:
            snapshot = replace(snapshot, probes=_probe(client, self.platform, snapshot))
        if Need.LOG in needs:
            snapshot = replace(snapshot, log=_log(client, self.platform, self.goal, snapshot))
        return replace(snapshot, at=time.monotonic())

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """The rollout, and what the registry and its log said."""
        deployment = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else {}
        status = deployment.get("status") or {}
        return {
            "rollout": {
                "generation": (deployment.get("metadata") or {}).get("generation"),
                "observed_generation": status.get("observedGeneration"),
                "replicas": (deployment.get("spec") or {}).get("replicas"),
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


def _own_pods(snapshot: Snapshot) -> Snapshot:
    """The snapshot without Pods that only look like the registry's (a selector cannot tell who made them)."""
    if not isinstance(snapshot.pods, tuple) or not isinstance(snapshot.deployment, Mapping):
        return snapshot
    return replace(snapshot, pods=own(snapshot.pods, snapshot.deployment))


@dataclass(frozen=True)
class Pruning:
    """The Watcher for ImagePruner/cluster and the CronJob rendered from it."""

    platform: Platform
    goal: _pruner.Goal

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """ImagePruner and CronJob."""
        platform = self.platform
        return [
            Target(
                "pruner",
                f"{platform.api}/imagepruners",
                field_selector=f"metadata.name={platform.singleton}",
                required=True,
            ),
            Target(
                "cronjob",
                namespaced(platform.namespace, "cronjobs", api="/apis/batch/v1"),
                field_selector=f"metadata.name={platform.cronjob}",
                required=True,
            ),
        ]

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """See _pruner."""
        return _pruner.judge(self.goal, snapshot, history)

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """The last lines of the newest failed job."""
        if Need.LOG in needs:
            snapshot = replace(snapshot, log=_job_log(client, self.platform))
        return replace(snapshot, at=time.monotonic())

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """Nothing more."""
        return {}


@dataclass(frozen=True)
class PullSecrets:
    """The Watcher for spec.imagePullSecret and, on request, for what it brings about in namespaces."""

    platform: Platform
    goal: _pullsecret.Goal

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """Config, and cluster-wide what the controller makes: the content of Secrets is never asked for."""
        platform, goal = self.platform, self.goal
        targets = [Target("config", f"{platform.api}/configs", field_selector=f"metadata.name={platform.singleton}")]
        if goal.checks:
            binding = f"metadata.name={_pullsecret.binding_name(platform)}"
            label = f"{_pullsecret.secret_label(platform)}=true"
            targets += [
                Target("namespaces", "/api/v1/namespaces", single=False, metadata=True),
                Target(
                    "bindings",
                    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
                    field_selector=binding,
                    single=False,
                    metadata=True,
                ),
                Target("secrets", "/api/v1/secrets", label_selector=label, single=False, metadata=True),
                Target("accounts", "/api/v1/serviceaccounts", field_selector=_one(goal.accounts), single=False),
            ]
        if goal.selector:
            path = "/api/v1/namespaces"
            targets.append(Target("selected", path, label_selector=goal.selector, single=False, metadata=True))
        return targets

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """See _pullsecret."""
        return _pullsecret.judge(self.goal, snapshot, history)

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """Everything this part needs can be watched."""
        return snapshot

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """What the checked namespaces lack."""
        config = snapshot.config if isinstance(snapshot.config, Mapping) else {}
        complete = isinstance(snapshot.namespaces, tuple) and isinstance(snapshot.accounts, tuple)
        found = _pullsecret.gaps(self.goal, config.get("spec") or {}, snapshot) if complete else []
        return {
            "gaps": [{"namespace": gap.namespace, "service_account": gap.account, "what": gap.what} for gap in found]
        }


def _one(names: Sequence[str]) -> str:
    """Field selector for one name; several names need the whole collection."""
    return f"metadata.name={names[0]}" if len(names) == 1 else ""


def _job_log(client: Client, platform: Platform) -> tuple[LogFinding, ...]:
    """Last log lines of the newest failed job's Pod; empty when they are gone or not allowed to be read."""
    try:
        jobs, _version = client.list(namespaced(platform.namespace, "jobs", api="/apis/batch/v1"))
        failed = [job for job in jobs if int((job.get("status") or {}).get("failed") or 0) > 0]
        if not failed:
            return ()
        newest = max(failed, key=lambda job: str(job["metadata"].get("creationTimestamp") or ""))
        name = newest["metadata"]["name"]
        pods, _version = client.list(namespaced(platform.namespace, "pods"), label_selector=f"job-name={name}")
        for pod in pods:
            path = namespaced(platform.namespace, "pods", pod["metadata"]["name"])
            reply = client.raw("GET", f"{path}/log?tailLines=5", retry=False, read_timeout=PROBE_TIMEOUT)
            if reply.status == 200:
                return tuple(
                    LogFinding("job", redact(line), pod["metadata"]["name"])
                    for line in reply.text.splitlines()
                    if line.strip()
                )
    except (ApiError, ClientError):
        pass
    return ()


def _probe(client: Client, platform: Platform, snapshot: Snapshot) -> tuple[Probe, ...]:
    """Ask every running Pod; the Service where the Pods are not known."""
    deployment = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else {}
    scheme = "https" if _has_env(deployment, platform.container, "REGISTRY_HTTP_TLS_CERTIFICATE") else "http"
    interval = parse_interval(deployment)

    def ask(resource: str, name: str) -> Reply | ClientError:
        """tags/list tells about the storage at once and names the cause; with a login wanted it is as good as /v2/."""
        path = namespaced(platform.namespace, resource, f"{scheme}:{name}:{platform.port}")
        try:
            return client.raw("GET", f"{path}/proxy{PROBE_PATH}", retry=False, read_timeout=PROBE_TIMEOUT)
        except ClientError as error:
            return error

    def read(via: str, reply: Reply | ClientError, pods: Sequence[JSON]) -> Probe:
        """pods: those that may have answered, as far as they are known; the youngest container counts."""
        if isinstance(reply, ClientError):
            return read_probe(PROBE_PATH, 0, {}, str(reply).encode(), via, None, interval, time.monotonic())
        ages = [_container_age(pod, platform.container, reply.headers.get("date")) for pod in pods]
        known = [age for age in ages if age is not None]
        age = min(known) if known and len(known) == len(ages) else None
        return read_probe(PROBE_PATH, reply.status, reply.headers, reply.body, via, age, interval, time.monotonic())

    if isinstance(snapshot.pods, tuple):
        staying = {pod["metadata"]["name"]: pod for pod in _staying(snapshot.pods)}
        if staying:
            return tuple(read(f"pod/{name}", ask("pods", name), (pod,)) for name, pod in staying.items())
    via, reply = f"service/{platform.service}", ask("services", platform.service)
    probe = read(via, reply, ())
    if probe.answer is Answer.TOO_EARLY and probe.status in (401, 403):
        # Who wants a login has looked at the storage before, once it has been running for a while.
        probe = read(via, reply, _pods(client, platform, deployment))
    return (probe,)


def _staying(pods: Sequence[JSON]) -> tuple[JSON, ...]:
    return tuple(pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))


def _pods(client: Client, platform: Platform, deployment: JSON) -> tuple[JSON, ...]:
    """The Deployment's Pods, read once; none when that is not allowed."""
    path = namespaced(platform.namespace, "pods")
    try:
        pods, _version = client.list(path, label_selector=_selector(deployment))
    except (ApiError, ClientError):
        return ()
    return own(_staying(pods), deployment)


def _container_age(pod: JSON, container: str, date: str | None) -> float | None:
    """Seconds the container has been running, by the cluster's clock where the answer carries it."""
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == container:
            started = ((status.get("state") or {}).get("running") or {}).get("startedAt")
            if not started:
                return None
            begin = datetime.fromisoformat(started.replace("Z", "+00:00"))
            try:
                now = parsedate_to_datetime(date) if date else datetime.now(begin.tzinfo)
            except ValueError:
                now = datetime.now(begin.tzinfo)
            return (now - begin).total_seconds()
    return None


def _has_env(deployment: JSON, container: str, name: str) -> bool:
    template = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    for item in template.get("containers") or []:
        if item.get("name") == container:
            return any(entry.get("name") == name for entry in item.get("env") or [])
    return False


def _log(client: Client, platform: Platform, goal: Goal, snapshot: Snapshot) -> tuple[LogFinding, ...]:
    """Classified log lines of the Pods that run now, current container and, after a crash, the one before."""
    if not isinstance(snapshot.pods, tuple):
        return ()
    findings: list[LogFinding] = []
    for pod in snapshot.pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        name = pod["metadata"]["name"]
        base = f"{namespaced(platform.namespace, 'pods', name)}/log?container={goal.container}&tailLines={LOG_LINES}"
        restarted = any(
            int(status.get("restartCount") or 0) > 0
            for status in (pod.get("status") or {}).get("containerStatuses") or []
        )
        for path in [f"{base}&previous=true", base] if restarted else [base]:
            try:
                reply = client.raw("GET", path, retry=False, read_timeout=PROBE_TIMEOUT)
            except ClientError:
                continue
            if reply.status == 200:
                findings += classify(reply.text.splitlines(), name)
    return tuple(findings)


def _selector(deployment: JSON) -> str:
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def warning_events(client: Client, platform: Platform, claim: str | None) -> list[str]:
    """Warnings of the namespace about the registry's Pods and its claim, newest last; nothing when not allowed."""
    try:
        items, _version = client.list(namespaced(platform.namespace, "events"), field_selector="type=Warning")
    except (ApiError, ClientError):
        return []
    lines = []
    for item in sorted(items, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
        about = item.get("involvedObject") or {}
        name = str(about.get("name") or "")
        if name.startswith(platform.deployment) or name == claim:
            line = f"{about.get('kind')}/{name}: {item.get('reason')}: {item.get('message')}"
            if line not in lines:
                lines.append(line)
    return lines[-5:]
