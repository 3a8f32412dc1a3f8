# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_storage's decisions: what is refused, what is patched, what must then be true."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import plan as _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import expected_deployment
from tests.unit._parts.storage.situations import (
    CREDENTIALS,
    LIVE,
    OPERATOR,
    PEM,
    REGISTRY,
    S3,
    check_refusals,
    claim,
    config,
    decide,
    params,
    rendered,
    secret,
    stamped,
)


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        ({"backend": "emptydir", "replicas": 2}, {}, ["emptyDir with 2 replicas"]),
        ({"backend": "emptydir"}, {"config": config({"emptyDir": {}}, replicas=2)}, ["emptyDir with 2 replicas"]),
        (
            {"backend": "pvc", "replicas": 2, "rollout_strategy": "RollingUpdate"},
            {"claim": claim("ReadWriteOnce")},
            ["cannot serve 2 replicas", "cannot be used with rollout_strategy RollingUpdate"],
        ),
        (
            {"backend": "emptydir"},
            {"config": config({"pvc": {"claim": "image-registry"}})},
            ["images are in PersistentVolumeClaim image-registry", "on_backend_change: allow"],
        ),
        (
            {"backend": "pvc", "pvc": {"claim": "other"}},
            {"config": config({"pvc": {"claim": "image-registry"}}), "claim": claim("ReadWriteMany")},
            ["images are in PersistentVolumeClaim image-registry"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "bucket": "images-2"}},
            {
                "config": config({"s3": {"bucket": "images", "regionEndpoint": "https://s3.example.com"}}),
                "secret": secret(CREDENTIALS),
            },
            ["images are in s3 bucket images at https://s3.example.com"],
        ),
        ({"backend": "emptydir"}, {"config": None}, ["Config/cluster does not exist"]),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """All findings are listed at once."""
    check_refusals(given, seen, expected)


@pytest.mark.parametrize(
    ("given", "live", "expected"),
    [
        ({"backend": "emptydir"}, {"replicas": 0}, "the Config has 0"),
    ],
)
def test_refused_before_it_can_do_harm(given: dict[str, Any], live: dict[str, Any], expected: str) -> None:
    """Values that would be stored and could only fail later, or would show a secret."""
    plan = decide(params(**given), config=config({"emptyDir": {}}, **live), secret=None)
    assert any(expected in text for text in plan.refusals), plan.refusals
    assert plan.writes == ()


def test_nothing_to_change_writes_nothing() -> None:
    """Even when the operator has rewritten the spec: false dropped, quantities canonical, zero structs added."""
    live = config(
        {
            "managementState": "Unmanaged",
            "s3": {
                "bucket": "images",
                "region": "us-east-1",
                "regionEndpoint": "https://s3.example.com",
                "virtualHostedStyle": False,
                "trustedCA": {"name": ""},
            },
        },
        resources={"requests": {"cpu": "1", "memory": "1Gi"}},
        requests={"read": {"maxWaitInQueue": "0s"}},
        proxy={},
    )
    given = params(
        backend="s3",
        s3={**S3, "virtual_hosted_style": False, "encrypt": False},
        replicas=1,
        disable_redirect=False,
        resources={"requests": {"cpu": "1000m", "memory": "1024Mi"}},
    )
    plan = decide(given, config=live, secret=secret(CREDENTIALS))
    assert (plan.refusals, plan.writes) == ((), ())


def test_one_patch_nulls_the_other_backends_and_sets_the_coupled_fields() -> None:
    """Registry v2 page, Configure PVC Storage; Recreate is implied by ReadWriteOnce (newer pages, Storage)."""
    live = config({"emptyDir": {}, "managementState": "Managed", "oss": {"bucket": "x"}}, replicas=2)
    plan = decide(params(backend="pvc", replicas=1), config=live, claim=claim("ReadWriteOnce"))
    assert [write.body for write in plan.writes] == [
        {
            "spec": {
                "replicas": 1,
                "rolloutStrategy": "Recreate",
                "storage": {
                    "managementState": "Unmanaged",
                    "pvc": {"claim": "image-registry"},
                    "emptyDir": None,
                    "oss": None,
                },
            }
        }
    ]
    assert plan.goal is not None
    assert expected_deployment(apply(plan.goal.spec, live["spec"]), plan.goal.spec, plan.goal.backend).drivers == (
        "filesystem",
    )
    assert plan.values["left_behind"] == []


@pytest.mark.parametrize(
    ("backend", "given", "sent"),
    [("emptydir", None, "Managed"), ("pvc", None, "Unmanaged"), ("emptydir", "Unmanaged", "Unmanaged")],
)
def test_the_storage_is_the_operator_s_only_where_nothing_can_be_lost(
    backend: str, given: str | None, sent: str
) -> None:
    """Always sent, or a claim would inherit what the operator fills in for an emptyDir (operator facts 2.4, 4.3)."""
    task = params(backend=backend, storage_management_state=given)
    plan = decide(task, config=config({"swift": {}}), claim=claim("ReadWriteMany"))
    assert plan.writes[0].body["spec"]["storage"]["managementState"] == sent


def test_allowing_a_change_names_what_is_left_behind() -> None:
    """Data is never copied or deleted, only named."""
    live = config({"pvc": {"claim": "image-registry"}})
    plan = decide(params(backend="emptydir", on_backend_change="allow"), config=live)
    assert plan.refusals == ()
    assert plan.values["left_behind"] == ["PersistentVolumeClaim image-registry"]


@pytest.mark.parametrize(("phase", "refused"), [("Pending", False), ("Bound", True), ("Lost", True), (None, True)])
def test_a_claim_that_was_never_bound_can_be_corrected(phase: str | None, refused: bool) -> None:
    """The operator accepts a claim whatever its phase, but no image can be in one without a volume."""
    left = None if phase is None else {**claim("ReadWriteMany"), "status": {"phase": phase}}
    given = params(backend="pvc", pvc={"claim": "right"})
    live = config({"managementState": "Unmanaged", "pvc": {"claim": "wrong"}})
    seen: dict[str, Reading] = {"config": live, "deployments": (OPERATOR, REGISTRY)}
    assert "left" in [ref.label for ref in _storage.needs(parse_intent(given, ALAUDA), seen)]
    plan = decide(given, config=live, claim=claim("ReadWriteMany"), left=left)
    assert bool(plan.refusals) is refused, plan.refusals
    assert plan.values.get("left_behind", []) == []


@pytest.mark.parametrize(
    ("observed", "reason", "refused"), [(4, "Error", False), (3, "Error", True), (4, "Ready", True)]
)
def test_a_bucket_that_was_never_accepted_can_be_corrected(observed: int, reason: str, refused: bool) -> None:
    """The operator refuses it in this very generation and has accepted nothing: that is a mistake, not a place.

    After a removal status.storage is empty too (operator fact 4.4), and then the bucket is where the images are.
    """
    live = config({"s3": {"bucket": "typo", "region": "us-east-1"}}, status={})
    conditions = [{"type": "Progressing", "status": "True", "reason": reason, "message": "NoSuchBucket"}]
    live["status"] = {"observedGeneration": observed, "conditions": conditions}
    plan = decide(params(backend="s3", s3={**S3, "region_endpoint": None}), config=live, secret=secret(CREDENTIALS))
    assert bool(plan.refusals) is refused
    assert any("has never accepted s3 bucket typo" in text for text in plan.warnings) is not refused


@pytest.mark.parametrize(("backend", "said"), [("s3", True), ("emptydir", False)])
def test_recreate_left_from_a_claim_is_remarked_before_writing(backend: str, said: bool) -> None:
    """Two replicas that are replaced at the same time interrupt pulls, which a bucket does not ask for."""
    live = config({"pvc": {"claim": "image-registry"}}, rolloutStrategy="Recreate")
    options: dict[str, Any] = {"s3": S3, "replicas": 2} if backend == "s3" else {"replicas": 1}
    given = params(backend=backend, on_backend_change="allow", **options)
    plan = decide(given, config=live, secret=secret(CREDENTIALS))
    assert plan.refusals == ()
    assert any("rolloutStrategy is Recreate" in text for text in plan.warnings) is said


def test_correcting_a_location_that_was_never_accepted_is_not_a_change_of_location() -> None:
    """status.storage shows where the images are: a refused bucket holds none."""
    live = config({"s3": {"bucket": "typo", "region": "us-east-1"}}, status={"emptyDir": {}})
    plan = decide(params(backend="s3", s3={**S3, "region_endpoint": None}), config=live, secret=secret(CREDENTIALS))
    assert (plan.refusals, plan.values["left_behind"]) == ((), [])


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        ((REGISTRY,), "does not exist"),
        (({**OPERATOR, "spec": {"replicas": 0}},), "scaled to 0"),
        (({**OPERATOR, "status": {}},), "no available replica"),
        (Denied("no"), "cannot be verified"),
    ],
)
def test_an_operator_that_is_down_is_a_warning(deployments: Reading, expected: str) -> None:
    """The change can be stored; the verification will show whether it takes effect."""
    plan = decide(params(backend="emptydir"), deployments=deployments)
    assert plan.refusals == ()
    assert any(expected in text for text in plan.warnings), plan.warnings


def test_reads_only_what_it_needs() -> None:
    """Nothing to change: emptyDir 2 reads, pvc 3, s3 4 (the probe is one more)."""

    def labels(given: dict[str, Any], **seen: Reading) -> list[str]:
        want = parse_intent(given, ALAUDA)
        found: list[str] = []
        readings: dict[str, Reading] = {}
        at_rest = rendered(REGISTRY, "2026-01-01T00:00:05Z")
        used = config({"s3": {**LIVE["s3"], "trustedCA": {"name": "s3-ca"}}})
        answers: dict[str, Reading] = {"config": used, "deployments": (OPERATOR, at_rest), **seen}
        while refs := _storage.needs(want, readings):
            for ref in refs:
                found.append(ref.label)
                readings[ref.label] = answers[ref.label]
        return found

    assert labels(params(backend="emptydir")) == ["config", "deployments"]
    assert labels(params(backend="pvc", pvc={"create": True, "size": "1Gi"}), claim=claim("ReadWriteMany")) == [
        "config",
        "deployments",
        "claim",
    ]
    s3 = {**S3, "trusted_ca": {"name": "s3-ca"}, "access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}
    before = "2026-01-01T00:00:01Z"
    stored = stamped({"data": {"ca-bundle.crt": PEM}}, before)
    assert labels(params(backend="s3", s3=s3), secret=stamped(secret(CREDENTIALS), before), ca=stored) == [
        "config",
        "deployments",
        "secret",
        "ca",
    ]


def test_an_operator_that_missed_the_claim_is_nudged() -> None:
    """The spec is right already, but the operator checks again only after up to 1000 s (operator facts 3.4.2, 4.7)."""
    live = config({"managementState": "Unmanaged", "pvc": {"claim": "image-registry"}}, status={"emptyDir": {}})
    live["metadata"]["resourceVersion"] = "12"
    message = 'Unable to apply resources: … persistentvolumeclaims "image-registry" not found'
    live["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "Error", "message": message}]
    plan = decide(params(backend="pvc"), config=live, claim=claim("ReadWriteMany"))
    (write,) = plan.writes
    assert write.body == {"metadata": {"annotations": {_storage.NUDGE: "image-registry@12"}}}
    live["status"]["conditions"] = []
    assert decide(params(backend="pvc"), config=live, claim=claim("ReadWriteMany")).writes == ()


def test_an_endpoint_and_its_ca_can_be_removed() -> None:
    """From a private S3 to the public one: what is not mentioned stays, an empty text removes the field."""
    bucket = {"bucket": "images", "region": "us-east-1"}
    live = config(
        {
            "managementState": "Unmanaged",
            "s3": {**bucket, "regionEndpoint": "https://s3", "trustedCA": {"name": "s3-ca"}},
        }
    )
    options = {**bucket, "region_endpoint": "", "trusted_ca": {"name": ""}}
    given = params(backend="s3", s3=options, on_backend_change="allow")
    plan = decide(given, config=live, secret=secret(CREDENTIALS))
    assert plan.refusals == ()
    (write,) = plan.writes
    assert write.body == {"spec": {"storage": {"s3": {"regionEndpoint": None, "trustedCA": None}}}}
    kept = decide(params(backend="s3", s3=bucket), config=live, secret=secret(CREDENTIALS))
    assert kept.writes == ()
