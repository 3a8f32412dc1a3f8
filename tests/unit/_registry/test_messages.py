# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known problem has a cause and a remedy; unknown ones pass through."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import (
    explain,
    explain_pod,
    explain_storage,
)

PREFIX = "Unable to apply resources: unable to sync storage configuration: "


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            PREFIX + "exactly one storage type should be configured at the same time, got 2: [EmptyDir S3]",
            "backends",
            "S3",
        ),
        ("Error: storage backend not configured", "unconfigured", "no backend"),
        (
            PREFIX + "cannot use ReadWriteOnce access mode with more than one replica of the image registry",
            "claim",
            "one",
        ),
        (PREFIX + "cannot use ReadWriteOnce access mode with RollingUpdate rollout strategy", "claim", "rolling"),
        (PREFIX + "cannot use ReadWriteOnce access mode with  rollout strategy", "claim", "rolling"),
        (
            PREFIX + "PVC data does not contain the necessary access modes: ReadWriteMany or ReadWriteOnce",
            "claim",
            "data",
        ),
        (PREFIX + 'persistentvolumeclaims "data" not found', "claim", "data"),
        ("could not create default PVC, it already exists and is not owned by the operator", "claim", "somebody else"),
        (PREFIX + 'secret "ns/name" does not contain required key "KEY"', "credentials", "KEY"),
        (PREFIX + 'unable to get cluster minted credentials "a/b": secret "b" not found', "credentials", "no S3"),
        (
            PREFIX + 'unable to get S3 CA bundle: failed to get trusted CA "ca": configmap "ca" not found',
            "certificate",
            "ca",
        ),
        (
            PREFIX + 'trusted CA config map "ca" does not contain required key "ca-bundle.crt"',
            "certificate",
            "ca-bundle",
        ),
        (PREFIX + "bucket images exists but is owned by another account", "bucket", "another account"),
        (PREFIX + "NoSuchBucket: The specified bucket does not exist", "bucket", "does not exist"),
        (
            PREFIX + 'RequestError: send request failed\ncaused by: Head "https://s": x509: unknown',
            "certificate",
            "trusted",
        ),
        (PREFIX + "MissingRegion: could not find region configuration", "region", "region"),
        (PREFIX + "BucketRegionError: incorrect region, the bucket is not in 'a' region", "region", "region"),
        ("Error: unable to complete resource: replicas must be greater than or equal to 0", "replicas", "negative"),
        ("duplication of names has been detected in the additional routes", "routes", "same name"),
        ('failed to create object *v1.Route, Name=a: secret "tls" not found', "routes", "tls"),
        ("unable to apply objects: Requests.Read.MaxRunning must be positive number", "requests", "Read.MaxRunning"),
        ('CronJob.batch "image-pruner" is invalid: spec.schedule: Invalid value: "x"', "schedule", "cron"),
        ("Registry deployment has timed out progressing: x", "rollout", "ready in time"),
        ("ingress default-route has no host and no published load balancer address", "ingress", "address"),
        ("Operation cannot be fulfilled on configs: the object has been modified", "conflict", "Two writers"),
    ],
)
def test_operator_errors(text: str, kind: str, words: str) -> None:
    meaning = explain(text, "Error")
    assert meaning.kind == kind
    assert words in meaning.cause
    assert meaning.remedy
    assert "{" not in meaning.cause + meaning.remedy


@pytest.mark.parametrize(
    "text",
    [
        'pods "a" is forbidden: minimum memory usage per Container is 1Gi, but request is 256Mi',
        'pods "a" is forbidden: [minimum cpu usage per Pod is 2. No request is specified, maximum memory usage per ',
        'pods "a" is forbidden: maximum alauda.io/gpu usage per Container is 1, but limit is 2',
        'pods "a" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000',
        'Pod "a" is invalid: requests: Invalid value: "256Mi": must be less than or equal to memory limit of 1Mi',
    ],
)
def test_a_limit_range_that_refuses_the_pods_is_named(text: str) -> None:
    """In Kubernetes' own words; a default limit below the Pod's request makes the Pod invalid instead of forbidden."""
    meaning = explain(text, "FailedCreate")
    assert meaning.kind == "admission"
    assert "LimitRange of the registry's namespace" in meaning.cause
    assert "resources" in meaning.remedy


@pytest.mark.parametrize(
    "text",
    [
        'RequestError: send request failed caused by: Head "http://s": dial tcp: connect: connection refused',
        'Head "http://s": dial tcp: lookup s: no such host',
        'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1',
        "filesystem: write /registry/x: no space left on device",
    ],
)
def test_a_cause_that_may_pass_by_itself_needs_no_change(text: str) -> None:
    """The verdict stays early; what is left to do then is to run the task again."""
    assert explain(text, "Error").remedy.endswith("If it passes by itself, running the task again is enough.")


def test_a_cause_that_never_passes_by_itself_promises_nothing() -> None:
    assert "passes by itself" not in explain("InvalidAccessKeyId", "Error").remedy


def test_the_reason_is_used_when_the_text_is_not_known() -> None:
    assert explain("", "StorageNotConfigured").kind == "unconfigured"
    assert explain("something", "RouteDegraded").kind == "ingress"
    assert explain("something new", "Error").kind == "unknown"
    assert explain_storage("s3aws: Teapot").kind == "unknown"
    assert explain_pod("CrashLoopBackOff: Pod x back-off").kind == "crash"
