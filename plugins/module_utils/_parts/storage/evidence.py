# SPDX-License-Identifier: GPL-3.0-or-later
"""What no watch shows about the registry's storage: the registry's own answers, its log, the StorageClass, events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from urllib.parse import urlencode

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN, Seen
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.bounds import POD_BYTES
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
    Reply,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import label_selector
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    mapping_at,
    mappings_at,
    member_path,
    namespaced,
    number_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.pods import (
    container_status,
    owned_pods,
    staying_pods,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.times import answered_at, moment
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import (
    carries_credentials,
    generated_path,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import (
    BUNDLE,
    CREDENTIALS,
    JSON,
    Carried,
    Renewal,
    StorageGoal,
    StorageSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.trusted_ca import (
    bundles_path,
    carries_bundle,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding, classify
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.probe import (
    Answer,
    Probe,
    read_probe,
    read_upload,
    upload_place,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    health_interval,
    serves_https,
)

PROBE_TIMEOUT = 10.0
"""Seconds for one answer of the registry."""
LOG_LINES = 200
LOG_BYTES = 1024 * 1024
PROBE_PATH = "/v2/alauda-image-registry-probe/absent/tags/list"
UPLOAD_REPOSITORY = "/v2/alauda-image-registry-probe/upload"
UPLOAD_DIGEST = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
"""Digest of the uploaded blob: the empty JSON object, which many images refer to anyway."""


def probes(client: Client, platform: Platform, goal: StorageGoal, snapshot: StorageSnapshot) -> tuple[Probe, ...]:
    """Query every running Pod, or the Service where the Pods are not known. On request, also upload to each."""
    deployment = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else {}
    scheme = "https" if serves_https(deployment, platform.container) else "http"
    interval = health_interval(deployment, platform.container)

    def send(resource: str, name: str, verb: str, path: str, body: JSON | None = None) -> Reply:
        base = namespaced(platform.namespace, resource, f"{scheme}:{name}:{platform.port}")
        blob = None if body is None else "application/octet-stream"
        try:
            return client.raw(
                verb,
                f"{base}/proxy{path}",
                body,
                content_type=blob,
                retry=False,
                read_timeout=PROBE_TIMEOUT,
                limit=POD_BYTES,
            )
        except ClientError as error:
            return Reply(0, {}, str(error).encode())

    def ask(resource: str, name: str) -> Reply:
        """tags/list checks the storage at once and names the cause; behind a login it proves as much as /v2/."""
        return send(resource, name, "GET", PROBE_PATH)

    def written(probe: Probe, resource: str, name: str) -> Probe:
        """The result of an upload where one is requested and the probe does not rule it out; else the probe."""
        if goal.probe != "write" or probe.answer not in (Answer.SERVES, Answer.TOO_EARLY):
            return probe
        return _upload(partial(send, resource, name), probe)

    def read(via: str, reply: Reply, pods: Sequence[JSON]) -> Probe:
        """pods: those that may have answered, as far as they are known; the youngest container counts."""
        ages = [_container_age(pod, platform.container, reply.headers) for pod in pods]
        known = [age for age in ages if age is not None]
        age = min(known) if known and len(known) == len(ages) else None
        return read_probe(PROBE_PATH, reply.status, reply.headers, reply.body, via, age, interval, time.monotonic())

    def of_pod(pod: JSON) -> Probe:
        name = pod["metadata"]["name"]
        return written(read(f"pod/{name}", ask("pods", name), (pod,)), "pods", name)

    pods: Sequence[JSON] = staying_pods(snapshot.pods) if isinstance(snapshot.pods, tuple) else ()
    if not pods and number_at(deployment, "spec", "replicas") > 1:
        pods = _pods(client, platform, deployment)  # behind the Service a good Pod could answer for a broken one
    if pods:
        return tuple(map(of_pod, pods))
    via, reply = f"service/{platform.service}", ask("services", platform.service)
    probe = read(via, reply, ())
    if probe.answer is Answer.TOO_EARLY and probe.status in (401, 403):
        # A registry that requires a login has checked its storage once it has been running for a while.
        probe = read(via, reply, _pods(client, platform, deployment))
    return (written(probe, "services", platform.service),)


def _upload(send: Callable[..., Reply], probe: Probe) -> Probe:
    """Push a blob of two bytes and remove it from its repository: the probe, or why writing fails.

    An upload that is started and cancelled would leave a new file behind each time; this blob is the same each time.
    """

    def step(what: str, verb: str, path: str, body: JSON | None = None) -> tuple[Probe, Reply]:
        reply: Reply = send(verb, path, body)
        return read_upload(what, reply.status, reply.headers, reply.body, probe.via, time.monotonic()), reply

    result, reply = step("beginning an upload", "POST", f"{UPLOAD_REPOSITORY}/blobs/uploads/")
    if result.answer is not Answer.SERVES:
        return result
    location = upload_place(f"{UPLOAD_REPOSITORY}/blobs/uploads/", reply.headers)
    if not location:
        return replace(result, answer=Answer.REFUSED, detail="beginning an upload: the answer names no location for it")
    result, _reply = step("uploading", "PUT", f"{location}{'&' if '?' in location else '?'}digest={UPLOAD_DIGEST}", {})
    if result.answer is not Answer.SERVES:
        send("DELETE", location)  # what was begun would stay for days
        return result
    result, _reply = step("removing the upload", "DELETE", f"{UPLOAD_REPOSITORY}/blobs/{UPLOAD_DIGEST}")
    # A registry may be configured to refuse deletion; it has accepted the upload nevertheless.
    written = result.answer in (Answer.SERVES, Answer.REFUSED)
    return replace(probe, answer=Answer.SERVES, detail="") if written else result


def _pods(client: Client, platform: Platform, deployment: JSON) -> tuple[JSON, ...]:
    """The Deployment's Pods, read once; none when that is not allowed."""
    path = namespaced(platform.namespace, "pods")
    try:
        pods, _version = client.list(path, label_selector=label_selector(deployment))
    except (ApiError, ClientError):
        return ()
    return owned_pods(tuple(staying_pods(tuple(pods))), deployment)


def _container_age(pod: JSON, container: str, headers: Mapping[str, str]) -> float | None:
    """Seconds the container has been running, by the cluster's clock where the answer provides it."""
    begin = moment(mapping_at(container_status(pod, container), "state", "running").get("startedAt"))
    return None if begin is None else ((answered_at(headers) or datetime.now(timezone.utc)) - begin).total_seconds()


def log(client: Client, platform: Platform, goal: StorageGoal, snapshot: StorageSnapshot) -> tuple[LogFinding, ...]:
    """Classified log lines of the Pods that run now, current container and, after a crash, the one before."""
    if not isinstance(snapshot.pods, tuple):
        return ()
    findings: list[LogFinding] = []
    for pod in staying_pods(snapshot.pods):
        name = pod["metadata"]["name"]
        bounds = {"container": goal.container, "tailLines": str(LOG_LINES), "limitBytes": str(LOG_BYTES)}
        base = f"{namespaced(platform.namespace, 'pods', name)}/log?{urlencode(bounds)}"
        restarted = any(number_at(status, "restartCount") for status in mappings_at(pod, "status", "containerStatuses"))
        for path in [f"{base}&previous=true", base] if restarted else [base]:
            try:
                reply = client.raw("GET", path, retry=False, read_timeout=PROBE_TIMEOUT, limit=LOG_BYTES)
            except ClientError:
                continue
            if reply.status == 200:
                findings += classify(reply.text.splitlines(), name)
    return tuple(findings)


def warning_events(client: Client, platform: Platform) -> list[JSON]:
    """Warnings of the registry's namespace; nothing when not allowed."""
    try:
        items, _version = client.list(namespaced(platform.namespace, "events"), field_selector="type=Warning")
    except (ApiError, ClientError):
        return []
    return items


def deployment(client: Client, platform: Platform) -> Seen:
    """The registry's Deployment, None when it does not exist, unseen when it cannot be read.

    By a list, which the wait needs the right to anyway; without a resourceVersion it is never older than what was seen.
    """
    path = namespaced(platform.namespace, "deployments", api="/apis/apps/v1")
    try:
        items, _version = client.list(path, field_selector=f"metadata.name={platform.deployment}")
    except (ApiError, ClientError):
        return UNSEEN
    return items[0] if items else None


def carried(client: Client, platform: Platform, backend: str | None, renewal: Renewal) -> Carried:
    """Which of the changed credentials and CA bundle the operator's own objects carry."""
    parts: set[str] = set()
    hidden = ""
    try:
        if renewal.credentials:
            generated = client.get(generated_path(platform))
            if carries_credentials(backend or "", generated, renewal.credentials):
                parts.add(CREDENTIALS)
        if renewal.bundle and carries_bundle(client.get(bundles_path(platform)), renewal.bundle):
            parts.add(BUNDLE)
    except ApiError as error:
        hidden = error.message if error.status == 403 else ""
    except ClientError:
        pass  # read again later
    return Carried(time.monotonic(), frozenset(parts), hidden)


def storage_class(client: Client, name: str) -> Seen:
    """The StorageClass, None when it does not exist, empty when it may not be read."""
    try:
        return client.get(member_path("/apis/storage.k8s.io/v1/storageclasses", name))
    except (ApiError, ClientError):
        return {}
