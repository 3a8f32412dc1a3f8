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


def test_the_reason_is_used_when_the_text_is_not_known() -> None:
    assert explain("", "StorageNotConfigured").kind == "unconfigured"
    assert explain("something", "RouteDegraded").kind == "ingress"
    assert explain("something new", "Error").kind == "unknown"
    assert explain_storage("s3aws: Teapot").kind == "unknown"
    assert explain_pod("CrashLoopBackOff: Pod x back-off").kind == "crash"
