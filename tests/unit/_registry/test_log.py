# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known problem is found in a log, ordinary lines are ignored, and credentials are never included."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import classify
from tests.unit._kubernetes.test_redact import SECRETS

LOGS = Path(__file__).parents[2] / "fixtures" / "registry-logs"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("filesystem-full", {"full"}),
        ("filesystem-good", set()),
        ("filesystem-read-only", {"read-only"}),
        ("s3-auth-good", set()),
        ("s3-good", set()),
        ("s3-region-missing", {"region"}),
        # These log nothing but failed health checks, which name no cause.
        ("s3-bucket-missing", {"health"}),
        ("s3-certificate-unknown-authority", {"health"}),
        ("s3-endpoint-refused", {"health"}),
        ("s3-endpoint-unknown-host", {"health"}),
        ("s3-no-credentials", {"health"}),
        ("s3-plain-http-on-https-port", {"health"}),
        ("s3-wrong-access-key", {"health"}),
        ("s3-wrong-secret-key", {"health"}),
    ],
)
def test_recorded_logs(name: str, kinds: set[str]) -> None:
    findings = classify((LOGS / f"{name}.log").read_text("utf-8").splitlines(), "pod-1")
    assert {finding.kind for finding in findings} == kinds
    assert {finding.pod for finding in findings} <= {"pod-1"}


def test_every_recorded_log_is_tested() -> None:
    mark = test_recorded_logs.pytestmark[0]  # type: ignore[attr-defined]
    assert {path.stem for path in LOGS.glob("*.log")} == {case[0] for case in mark.args[1]}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('level=error msg="response completed with error" err.detail="s3aws: AccessDenied: Access Denied"', "auth"),
        ("panic: s3aws: AccessDenied: User: arn:x is not authorized to perform: s3:ListBucket", "auth"),
        ('{"level":"error","error":"s3aws: AccessDenied: Access Denied","msg":"error resolving upload"}', "auth"),
        ('{"storagedriver_s3":"s3aws: NoCredentialProviders: no valid providers in chain. Deprecated"}', "auth"),
        ('level=error msg="s3aws: InvalidAccessKeyId: The AWS Access Key Id you provided does not exist"', "auth"),
        ('level=error err.detail="s3: SignatureDoesNotMatch: The request signature we calculated"', "auth"),
        ('level=error err.detail="s3aws: RequestTimeTooSkewed: too large"', "auth"),
        ('level=error err.detail="s3aws: NoSuchBucket: The specified bucket does not exist"', "bucket"),
        ("panic: no bucket parameter provided", "bucket"),
        ("panic: EOF", "bucket"),
        ("panic: invalid region provided: nowhere", "region"),
        ("level=error err.detail=\"AuthorizationHeaderMalformed: the region 'us-east-1' is wrong\"", "region"),
        ("panic: StorageDriver not registered: oss", "config"),
        ("panic: on Amazon S3 this storage driver can only be used with v4 authentication", "config"),
        (
            r'level=error err.detail="s3aws: RequestError: failed\ncaused by: Get \"https://s3/\": no such host"',
            "endpoint",
        ),
        ('level=error err.detail="dial tcp 192.0.2.1:443: connect: connection refused"', "endpoint"),
        ('level=error err.detail="dial tcp 192.0.2.1:443: i/o timeout"', "endpoint"),
        (
            'level=error err.detail="s3aws: RequestError: failed\\ncaused by: Get: x509: signed by unknown authority"',
            "certificate",
        ),
        ("panic: Swift authentication failed: Post https://swift: x509: certificate has expired", "certificate"),
        ('level=error err.detail="tls: first record does not look like a TLS handshake"', "endpoint"),
        ('level=error msg="storage driver health check: timeout"', "health"),
        ('level=error err.detail="s3aws: Path not found: /docker/registry"', "path"),
        ('level=error err.detail="filesystem: mkdir /registry/docker: permission denied"', "permission"),
        ("panic: filesystem: mkdir /registry: file exists", "permission"),
        ('level=error err.detail="filesystem: mkdir /registry/docker/x: no space left on device"', "full"),
        ('level=error err.detail="filesystem: mkdir /registry/docker: read-only file system"', "read-only"),
        ('level=error msg="upload resumed at wrong offset: 1 != 2"', "upload"),
        ('level=error msg="refusing to write blob exceeding limit range team-a: too large"', "quota"),
        ('level=error msg="Too many requests, please try again later."', "limit"),
        ("panic: something else", "crash"),
    ],
)
def test_lines_are_classified_by_their_core(line: str, kind: str) -> None:
    assert [finding.kind for finding in classify([line])] == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "start registry distribution_version=v3",
        'time="2026-11-22T09:12:25Z" level=warning msg="No HTTP secret provided - generated random secret."',
        'time="2026-11-22T09:12:25Z" level=warning msg="error authorizing context: authorization header required"',
        'level=error msg="response completed with error" err.code="manifest unknown" err.detail="unknown tag=NoSuch"',
        # Clients choose names; those do not come from the storage.
        'level=info msg="trying again after: connection refused"',
        '{"level":"debug","msg":"s3aws: NoSuchBucket seen in a listing"}',
        'level=info msg="response completed" http.request.uri="/v2/NoSuchBucket/x509:/manifests/1"',
        'level=error msg="response completed with error" err.code="name unknown" http.request.uri="/v2/NoSuchBucket/"',
        '192.0.2.1 - - [22/Nov/2026:09:12:30 +0000] "GET /v2/NoSuchBucket/x HTTP/1.1" 404 2 "" "x509: agent"',
        '192.0.2.1 - - [22/Nov/2026:09:12:30 +0000] "GET /healthz HTTP/1.1" 503 2 "" ""',
    ],
)
def test_ordinary_lines_are_not_findings(line: str) -> None:
    assert classify([line]) == []


def test_the_same_problem_is_listed_once() -> None:
    lines = [f'level=error err.detail="s3aws: AccessDenied: no, request id: R{n}X, host id: H{n}"' for n in range(9)]
    assert len(classify(lines)) == 1


@pytest.mark.parametrize(("text", "secrets"), SECRETS)
def test_credentials_are_hidden(text: str, secrets: list[str]) -> None:
    for secret in secrets:
        assert all(secret not in finding.line for finding in classify([f"panic: x509: {text}"]))


@given(st.lists(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")), max_size=5))
def test_any_log_is_read(lines: list[str]) -> None:
    for finding in classify(lines, "p"):
        assert finding.kind
