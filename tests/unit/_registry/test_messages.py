# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known trouble has a cause and a remedy, unknown ones pass through, and credentials never do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.messages import (
    classify,
    explain,
    explain_pod,
    explain_storage,
    normalise,
    plain,
    redact,
)

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
        # Silent but for their refusals: these name no cause.
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
        # Clients choose names; those are not the storage's words.
        'level=info msg="trying again after: connection refused"',
        '{"level":"debug","msg":"s3aws: NoSuchBucket seen in a listing"}',
        'level=info msg="response completed" http.request.uri="/v2/NoSuchBucket/x509:/manifests/1"',
        'level=error msg="response completed with error" err.code="name unknown" http.request.uri="/v2/NoSuchBucket/"',
        '192.0.2.1 - - [22/Nov/2026:09:12:30 +0000] "GET /v2/NoSuchBucket/x HTTP/1.1" 404 2 "" "x509: agent"',
        '192.0.2.1 - - [22/Nov/2026:09:12:30 +0000] "GET /healthz HTTP/1.1" 503 2 "" ""',
    ],
)
def test_everyday_lines_are_not_trouble(line: str) -> None:
    assert classify([line]) == []


def test_the_same_trouble_is_listed_once() -> None:
    lines = [f'level=error err.detail="s3aws: AccessDenied: no, request id: R{n}X, host id: H{n}"' for n in range(9)]
    assert len(classify(lines)) == 1


SECRETS = [
    ("https://s3/b?AWSAccessKeyId=AKIDSECRET&Expires=1&Signature=c2lnbmF0dXJl", ["AKIDSECRET", "c2lnbmF0dXJl"]),
    ("X-Amz-Credential=AKIDSECRET%2F20261122%2Fus-east-1&X-Amz-Signature=0badc0de", ["AKIDSECRET", "0badc0de"]),
    ("x-amz-signature%3D0badc0de", ["0badc0de"]),
    ("Authorization: Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
    ('"authorization":"Bearer eyJhbGciOi.x.y"', ["eyJhbGciOi"]),
    ("Authorization: AWS4-HMAC-SHA256 Credential=AKIDSECRET/2026, Signature=0badc0de", ["AKIDSECRET", "0badc0de"]),
    ("http://admin:s3cret@proxy:3128", ["s3cret", "admin"]),
    ("http://admin:p@ssword@proxy:3128", ["ssword"]),
    ("secretkey=wJalrXUtnFEMI next", ["wJalrXUtnFEMI"]),
    ('REGISTRY_STORAGE_S3_SECRETKEY="wJalr XUtn" next', ["wJalr", "XUtn"]),
    ("token=abcdef0123&x=1", ["abcdef0123"]),
    ("user AKIAIOSFODNN7EXAMPLE is unknown", ["AKIAIOSFODNN7EXAMPLE"]),
]


@pytest.mark.parametrize(("text", "secrets"), SECRETS)
def test_credentials_are_hidden(text: str, secrets: list[str]) -> None:
    for secret in secrets:
        assert secret not in redact(text)
        assert all(secret not in finding.line for finding in classify([f"panic: x509: {text}"]))
        assert secret not in plain(text)


@pytest.mark.parametrize(
    "text",
    [
        'secret "ns/image-registry-private-configuration-user" does not contain "REGISTRY_STORAGE_S3_ACCESSKEY"',
        'Head "https://s3.example.com/images": dial tcp: lookup s3.example.com: no such host',
        "authorization header required",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=80))
def test_redaction_is_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_the_same_error_reads_the_same_however_often_it_is_said() -> None:
    first = "InvalidAccessKeyId: no\n\tstatus code: 403, request id: M5WOGgNI47oobQ, host id: "
    second = "InvalidAccessKeyId: no\n\tstatus code: 403, request id: Ap9BVBfeOQoVleUb, host id: x7"
    assert normalise(first) == normalise(second)
    one = "read tcp 192.0.2.5:41234->192.0.2.9:443: connection reset by peer"
    two = "read tcp 192.0.2.5:51111->192.0.2.9:443: connection reset by peer"
    assert normalise(one) == normalise(two)
    assert normalise("NoSuchBucket: a") != normalise("AccessDenied: a")
    assert plain(first) == "InvalidAccessKeyId: no status code: 403"


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


def test_a_reason_speaks_when_the_text_does_not() -> None:
    assert explain("", "StorageNotConfigured").kind == "unconfigured"
    assert explain("something", "RouteDegraded").kind == "ingress"
    assert explain("something new", "Error").kind == "unknown"
    assert explain_storage("s3aws: Teapot").kind == "unknown"
    assert explain_pod("CrashLoopBackOff: Pod x back-off").kind == "crash"


@given(st.lists(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")), max_size=5))
def test_any_log_is_read(lines: list[str]) -> None:
    for finding in classify(lines, "p"):
        assert finding.kind
