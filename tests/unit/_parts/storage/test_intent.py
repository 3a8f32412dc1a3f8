# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the parameters of registry_storage alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import (
    CREDENTIALS,
    PEM,
    S3,
    check_refusals,
    claim,
    config,
    decide,
    params,
    secret,
)


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        ({"backend": "emptydir", "replicas": 0}, {}, ["replicas: 0"]),
        ({"backend": "emptydir", "replicas": -1}, {}, ["below zero"]),
        ({"backend": "emptydir", "s3": S3}, {}, ["options for the backend s3"]),
        (
            {"backend": "emptydir", "resources": {"requests": {"cpu": "half"}}},
            {},
            ["resources.requests.cpu"],
        ),
        (
            {"backend": "emptydir", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}},
            {},
            ["request for cpu (2) is above its limit (1500m)"],
        ),
        ({"backend": "pvc", "pvc": {"claim": ""}}, {}, ["pvc.claim"]),
        ({"backend": "pvc", "pvc": {"size": "lots"}}, {"claim": claim("ReadWriteMany")}, ["pvc.size"]),
        (
            {"backend": "s3", "s3": {**S3, "region_endpoint": "s3.example.com", "bucket": "a/b", "region": None}},
            {"secret": secret(CREDENTIALS)},
            ["has no scheme", "is not a bucket name", "s3.region"],
        ),
        ({"backend": "s3", "s3": {**S3, "chunk_size_mib": 4}}, {"secret": secret(CREDENTIALS)}, ["outside 5..5120"]),
        (
            {"backend": "s3", "s3": {**S3, "access_key": "", "secret_key": "x "}},
            {"secret": None},
            ["s3.access_key: is empty", "s3.secret_key: begins or ends"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca", "pem": "nonsense"}}},
            {"secret": secret(CREDENTIALS), "ca": None},
            ["s3.trusted_ca.pem"],
        ),
        ({"backend": "emptydir", "wait_timeout": 0}, {}, ["wait_timeout"]),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """All findings are listed at once."""
    check_refusals(given, seen, expected)


@pytest.mark.parametrize(
    ("given", "live", "expected"),
    [
        ({"backend": "emptydir", "resources": {"limits": {"cpu": "-1"}}}, {}, "below zero"),
        ({"backend": "s3", "s3": {**S3, "access_key": "a\ud800", "secret_key": "b"}}, {}, "is not Unicode text"),
        ({"backend": "s3", "s3": {**S3, "region": "us-east-1\n"}}, {}, "s3.region"),
        ({"backend": "s3", "s3": {**S3, "bucket": "b\0"}}, {}, "s3.bucket"),
        ({"backend": "s3", "storage_management_state": "Managed", "s3": {**S3, "encrypt": False}}, {}, "s3.encrypt"),
        ({"backend": "s3", "s3": {**S3, "credentials_secret": "../x"}}, {}, "s3.credentials_secret"),
        ({"backend": "swift", "swift": {"container": ""}}, {}, "swift.container: is empty"),
        (
            {
                "backend": "s3",
                "s3": {**S3, "trusted_ca": {"name": "x", "pem": f"{PEM}-----BEGIN PRIVATE KEY-----\nx\n"}},
            },
            {},
            "private key",
        ),
    ],
)
def test_refused_before_it_can_do_harm(given: dict[str, Any], live: dict[str, Any], expected: str) -> None:
    """Values that would be stored and could only fail later, or would show a secret."""
    plan = decide(params(**given), config=config({"emptyDir": {}}, **live), secret=None)
    assert any(expected in text for text in plan.refusals), plan.refusals
    assert plan.writes == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"backend": "pvc", "pvc": {"claim": "image-registry\n"}}, "pvc.claim"),
        ({"backend": "s3", "s3": {**S3, "credentials_secret": "bucket-claim\n"}}, "s3.credentials_secret"),
        ({"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca\n"}}}, "s3.trusted_ca.name"),
    ],
)
def test_a_name_that_ends_with_a_line_break_is_not_a_name(given: dict[str, Any], expected: str) -> None:
    """A common mistake with values read from files; the API server would not find such an object."""
    (problem,) = parse_intent(params(**given), ALAUDA).problems
    assert problem.startswith(expected)
