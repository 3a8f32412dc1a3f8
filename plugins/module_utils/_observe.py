# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the objects a verdict depends on, fetches evidence the judge asks for, and ends with a verdict.

One thread per resource lists and watches; the caller's thread judges on every change. No polling: between events
nothing is requested (an API server that allows list but not watch is polled every POLL_SECONDS instead).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime

from ansible_collections.alauda.image_registry.plugins.module_utils._client import ApiError, Client, ClientError, Watch
from ansible_collections.alauda.image_registry.plugins.module_utils._explain import classify
from ansible_collections.alauda.image_registry.plugins.module_utils._judge import judge
from ansible_collections.alauda.image_registry.plugins.module_utils._kube import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._model import (
    JSON,
    UNSEEN,
    Done,
    Failed,
    Goal,
    History,
    LogFinding,
    Need,
    Probe,
    Snapshot,
    Unseen,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._probe import parse_interval, read_probe

POLL_SECONDS = 2.0
TICK_SECONDS = 0.25
"""How often the judge looks again without any event: verdicts also ripen with time. Costs no request."""
EVIDENCE_SECONDS = 1.0
"""Least time between two probes of the same state."""
PROBE_TIMEOUT = 10.0
LOG_LINES = 200
PROBE_REPOSITORY = "alauda-image-registry-probe/absent"

Progress = Callable[[float, str], None]


@dataclass
class Outcome:
    """How the observation ended. seconds: from the start of the wait. timeline: (seconds, what was true) per change."""

    verdict: Verdict
    snapshot: Snapshot
    seconds: float
    timed_out: bool = False
    timeline: list[tuple[float, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Follow(threading.Thread):
    """Keeps one collection up to date by list and watch; each state goes to a queue as (label, items or error)."""

    def __init__(
        self,
        client: Client,
        sink: queue.SimpleQueue[tuple[str, tuple[JSON, ...] | ApiError]],
        label: str,
        path: str,
        *,
        field_selector: str = "",
        label_selector: str = "",
    ) -> None:
        super().__init__(daemon=True, name=f"follow-{label}")
        self._client, self._sink, self._label, self._path = client, sink, label, path
        self._fields, self._labels = field_selector, label_selector
        self._ended = threading.Event()
        self._watch: Watch | None = None

    def stop(self) -> None:
        """End the thread soon; never blocks."""
        self._ended.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def run(self) -> None:
        """List, watch, list again after a break; ends on a refusal (403) or stop()."""
        pause = 0.2
        while not self._ended.is_set():
            try:
                items, version = self._client.list(self._path, field_selector=self._fields, label_selector=self._labels)
                state = {item["metadata"]["name"]: item for item in items}
                self._report(state)
                pause = 0.2
                self._follow(state, version)
            except ApiError as error:
                if error.status == 403:
                    self._sink.put((self._label, error))
                    return
                self._ended.wait(0.0 if error.status == 410 else pause)
            except ClientError:
                self._ended.wait(pause)
            pause = min(pause * 2, 5.0)

    def _follow(self, state: dict[str, JSON], version: str) -> None:
        """Apply watch events to `state` until the watch breaks for good. Polls where watching is not allowed."""
        while not self._ended.is_set():
            try:
                self._watch = self._client.watch(
                    self._path, version, field_selector=self._fields, label_selector=self._labels
                )
            except ApiError as error:
                if error.status == 403:
                    self._ended.wait(POLL_SECONDS)
                    return
                raise
            if self._ended.is_set():
                self._watch.close()
                return
            try:
                for event in self._watch:
                    meta = event.object.get("metadata") or {}
                    version = str(meta.get("resourceVersion") or version)
                    if event.type == "BOOKMARK":
                        continue
                    if event.type == "DELETED":
                        state.pop(meta.get("name", ""), None)
                    else:
                        state[meta.get("name", "")] = event.object
                    self._report(state)
            finally:
                self._watch.close()

    def _report(self, state: Mapping[str, JSON]) -> None:
        self._sink.put((self._label, tuple(state.values())))


def wait(
    client: Client,
    platform: Platform,
    goal: Goal,
    *,
    claim: str | None,
    first: Snapshot,
    history: History,
    timeout: float,
    progress: Progress | None = None,
) -> Outcome:
    """Watch until the judge says Done or Failed, or `timeout` seconds have passed."""
    started = time.monotonic()
    sink: queue.SimpleQueue[tuple[str, tuple[JSON, ...] | ApiError]] = queue.SimpleQueue()
    namespace = platform.namespace
    follows = [
        Follow(client, sink, "config", f"{platform.api}/configs", field_selector=f"metadata.name={platform.singleton}"),
        Follow(
            client,
            sink,
            "deployment",
            namespaced(namespace, "deployments", api="/apis/apps/v1"),
            field_selector=f"metadata.name={platform.deployment}",
        ),
    ]
    if claim:
        follows.append(
            Follow(
                client,
                sink,
                "claim",
                namespaced(namespace, "persistentvolumeclaims"),
                field_selector=f"metadata.name={claim}",
            )
        )
    for follow in follows:
        follow.start()
    outcome = Outcome(Waiting("starting"), first, 0.0)
    snapshot = first
    selector = ""
    probed_at = -1e9
    try:
        while True:
            now = time.monotonic()
            if not selector and isinstance(snapshot.deployment, Mapping):
                selector = _selector(snapshot.deployment)
                if selector:
                    pods = Follow(client, sink, "pods", namespaced(namespace, "pods"), label_selector=selector)
                    follows.append(pods)
                    pods.start()
            snapshot = replace(snapshot, at=now)
            verdict, history = judge(goal, snapshot, history)
            if isinstance(verdict, Waiting) and verdict.needs and now - probed_at >= EVIDENCE_SECONDS:
                snapshot = gather(client, platform, goal, snapshot, verdict.needs)
                probed_at = snapshot.at
                verdict, history = judge(goal, snapshot, history)
            elapsed = time.monotonic() - started
            _note(outcome, elapsed, verdict, progress)
            outcome.verdict, outcome.snapshot, outcome.seconds = verdict, snapshot, elapsed
            if isinstance(verdict, (Done, Failed)):
                return outcome
            if elapsed >= timeout:
                outcome.timed_out = True
                outcome.events = _events(client, platform, claim)
                return outcome
            snapshot = _absorb(sink, snapshot, min(TICK_SECONDS, timeout - elapsed))
    finally:
        for follow in follows:
            follow.stop()


def _note(outcome: Outcome, elapsed: float, verdict: Verdict, progress: Progress | None) -> None:
    text = (
        verdict.why
        if isinstance(verdict, Waiting)
        else getattr(verdict, "summary", "") or getattr(verdict, "cause", "")
    )
    if outcome.timeline and outcome.timeline[-1][1] == text:
        return
    outcome.timeline.append((round(elapsed, 1), text))
    if progress is not None:
        progress(elapsed, text)


def _absorb(
    sink: queue.SimpleQueue[tuple[str, tuple[JSON, ...] | ApiError]], snapshot: Snapshot, seconds: float
) -> Snapshot:
    """The snapshot after the next event and all that have queued up behind it; unchanged after `seconds` without one.

    What was probed before a Pod or the Deployment changed says nothing about what runs now, so it is dropped.
    """
    block = True
    while True:
        try:
            label, state = sink.get(block=block, timeout=max(0.0, seconds) if block else None)
        except queue.Empty:
            return snapshot
        block = False
        if label == "pods":
            seen: tuple[JSON, ...] | Unseen = UNSEEN if isinstance(state, ApiError) else state
            if seen != snapshot.pods:
                snapshot = replace(snapshot, pods=seen, probes=UNSEEN, log=UNSEEN)
            continue
        value = UNSEEN if isinstance(state, ApiError) else (state[0] if state else None)
        if label == "config":
            snapshot = replace(snapshot, config=value)
        elif label == "deployment":
            if value != snapshot.deployment:
                snapshot = replace(snapshot, deployment=value, probes=UNSEEN, log=UNSEEN)
        elif label == "claim":
            snapshot = replace(snapshot, claim=value)


def _selector(deployment: JSON) -> str:
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


# -- evidence --------------------------------------------------------------------------------------------------------


def gather(client: Client, platform: Platform, goal: Goal, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
    """The snapshot with the evidence that the judge asked for."""
    if Need.PROBE in needs:
        snapshot = replace(snapshot, probes=_probe(client, platform, snapshot))
    if Need.LOG in needs:
        snapshot = replace(snapshot, log=_log(client, platform, goal, snapshot))
    return replace(snapshot, at=time.monotonic())


def _probe(client: Client, platform: Platform, snapshot: Snapshot) -> tuple[Probe, ...]:
    """Ask every running Pod; the Service where the Pods are not known."""
    deployment = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else {}
    scheme = "https" if _has_env(deployment, platform.container, "REGISTRY_HTTP_TLS_CERTIFICATE") else "http"
    interval = parse_interval(deployment)
    namespace = platform.namespace
    pods = (
        [pod for pod in snapshot.pods if not pod["metadata"].get("deletionTimestamp")]
        if isinstance(snapshot.pods, tuple)
        else []
    )
    targets: list[tuple[str, str, JSON | None]] = [
        (
            f"pod/{pod['metadata']['name']}",
            namespaced(namespace, "pods", f"{scheme}:{pod['metadata']['name']}:{platform.port}"),
            pod,
        )
        for pod in pods
    ] or [
        (
            f"service/{platform.service}",
            namespaced(namespace, "services", f"{scheme}:{platform.service}:{platform.port}"),
            None,
        )
    ]
    return tuple(_ask(client, via, path, pod, platform.container, interval) for via, path, pod in targets)


def _ask(client: Client, via: str, path: str, pod: JSON | None, container: str, interval: float) -> Probe:
    """tags/list names the cause at once where anonymous reading is allowed; /v2/ is asked only if a login is wanted."""
    asked = f"/v2/{PROBE_REPOSITORY}/tags/list"
    try:
        reply = client.raw("GET", f"{path}/proxy{asked}", retry=False, read_timeout=PROBE_TIMEOUT)
    except ClientError as error:
        return read_probe(asked, 0, {}, str(error).encode(), via, None, interval, time.monotonic())
    age = None if pod is None else _container_age(pod, container, reply.headers.get("date"))
    return read_probe(asked, reply.status, reply.headers, reply.body, via, age, interval, time.monotonic())


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


def _events(client: Client, platform: Platform, claim: str | None) -> list[str]:
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
