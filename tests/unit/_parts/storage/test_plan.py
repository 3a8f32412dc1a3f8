# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_storage's decisions: what is refused (all findings at once), what is patched, what must then be true."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import STORAGE, WAIT
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Plan, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import plan as _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import StorageGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import expected_deployment

PEM = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(bytes(range(120))).decode()}\n-----END CERTIFICATE-----\n"
OPERATOR: dict[str, Any] = {
    "metadata": {"name": "cluster-image-registry-operator"},
    "spec": {"replicas": 1},
    "status": {"availableReplicas": 1},
}
REGISTRY: dict[str, Any] = {"metadata": {"name": "image-registry", "generation": 7}}
CREDENTIALS = {"REGISTRY_STORAGE_S3_ACCESSKEY": "AKIDEXAMPLE", "REGISTRY_STORAGE_S3_SECRETKEY": "wJalrXUtnFEMI"}


def params(**given: Any) -> dict[str, Any]:
    """Parameters as Ansible hands them over: every option present, unset ones None, defaults filled in."""

    def filled(spec: dict[str, dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
        result = {}
        for name, option in spec.items():
            value = values.get(name, option.get("default"))
            if isinstance(value, dict) and "options" in option:
                value = filled(option["options"], value)
            result[name] = value
        return result

    return filled({**STORAGE, **WAIT}, given)


def config(storage: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A Config as it stands; status.storage follows the spec unless given."""
    return {
        "metadata": {"name": "cluster", "generation": 4},
        "spec": {
            "managementState": "Managed",
            "replicas": 1,
            "rolloutStrategy": "RollingUpdate",
            "storage": storage,
            **spec,
        },
        "status": {"storage": storage if status is None else status},
    }


def claim(*modes: str, **spec: Any) -> dict[str, Any]:
    """A bound claim of 100Gi."""
    return {
        "metadata": {"name": "image-registry"},
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": "100Gi"}},
            "storageClassName": "fast",
            **spec,
        },
        "status": {"phase": "Bound"},
    }


def secret(values: dict[str, str]) -> dict[str, Any]:
    """A Secret with these values."""
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


def decide(given: dict[str, Any], **seen: Reading) -> Plan[StorageGoal]:
    """The plan for these parameters on a cluster that looks so."""
    readings: dict[str, Reading] = {"config": config({"emptyDir": {}}), "deployments": (OPERATOR, REGISTRY), **seen}
    return _storage.plan(parse_intent(given, ALAUDA), readings)


def goal_of(plan: Plan[StorageGoal]) -> StorageGoal:
    """The goal of a plan that is not refused."""
    assert plan.goal is not None
    return plan.goal


S3 = {"bucket": "images", "region": "us-east-1", "region_endpoint": "https://s3.example.com"}


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        ({"backend": "emptydir", "replicas": 2}, {}, ["emptyDir with 2 replicas"]),
        ({"backend": "emptydir"}, {"config": config({"emptyDir": {}}, replicas=2)}, ["emptyDir with 2 replicas"]),
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
        ({"backend": "pvc"}, {"claim": None}, ["PersistentVolumeClaim image-registry does not exist"]),
        ({"backend": "pvc", "pvc": {"claim": ""}}, {}, ["pvc.claim"]),
        (
            {"backend": "pvc", "replicas": 2, "rollout_strategy": "RollingUpdate"},
            {"claim": claim("ReadWriteOnce")},
            ["cannot serve 2 replicas", "cannot be used with rollout_strategy RollingUpdate"],
        ),
        ({"backend": "pvc"}, {"claim": claim("ReadOnlyMany")}, ["access modes ReadOnlyMany"]),
        ({"backend": "pvc"}, {"claim": claim("ReadWriteMany", volumeMode="Block")}, ["block device"]),
        (
            {"backend": "pvc", "pvc": {"claim": "image-registry", "create": True}},
            {"claim": None, "classes": ()},
            ["pvc.size: is needed", "no default StorageClass"],
        ),
        (
            {"backend": "pvc", "pvc": {"create": True, "size": "1Gi", "storage_class": "fats"}},
            {"claim": None, "classes": ({"metadata": {"name": "fast"}},)},
            ["StorageClass 'fats' does not exist; the cluster has: fast"],
        ),
        (
            {"backend": "pvc", "pvc": {"size": "200Gi", "expand": True}},
            {"claim": claim("ReadWriteMany"), "classes": ({"metadata": {"name": "fast"}},)},
            ["does not allow expansion"],
        ),
        ({"backend": "pvc", "pvc": {"size": "lots"}}, {"claim": claim("ReadWriteMany")}, ["pvc.size"]),
        ({"backend": "s3", "s3": S3}, {"secret": None}, ["the task gives no credentials"]),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({"ACCESS_KEY": "x"})},
            ["lacks REGISTRY_STORAGE_S3_ACCESSKEY+REGISTRY_STORAGE_S3_SECRETKEY", "it has: ACCESS_KEY"],
        ),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({**CREDENTIALS, "REGISTRY_STORAGE_S3_SECRETKEY": ""})},
            ["lacks REGISTRY_STORAGE_S3_SECRETKEY"],
        ),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({**CREDENTIALS, "REGISTRY_STORAGE_S3_SECRETKEY": "x\n"})},
            ["ends with a blank or a line break"],
        ),
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
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": None},
            ["ConfigMap s3-ca does not exist"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": {"data": {"ca.crt": PEM}}},
            ["has no key ca-bundle.crt (it has: ca.crt)"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": {"data": {"ca-bundle.crt": "not a certificate"}}},
            ["holds no PEM certificate"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca", "pem": "nonsense"}}},
            {"secret": secret(CREDENTIALS), "ca": None},
            ["s3.trusted_ca.pem"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "credentials_secret": "bucket-claim"}},
            {"secret": None, "source": None},
            ["Secret bucket-claim does not exist"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "credentials_secret": "bucket-claim"}},
            {"secret": None, "source": secret({"AWS_ACCESS_KEY_ID": "x"})},
            ["no usable key REGISTRY_STORAGE_S3_SECRETKEY or AWS_SECRET_ACCESS_KEY"],
        ),
        (
            {"backend": "swift", "swift": {"container": "c"}},
            {"secret": secret({"REGISTRY_STORAGE_SWIFT_USERNAME": "u"})},
            ["lacks REGISTRY_STORAGE_SWIFT_PASSWORD or"],
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
        ({"backend": "emptydir", "wait_timeout": 0}, {}, ["wait_timeout"]),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """Every finding is there, and there is no other one."""
    findings = decide(params(**given), **seen).refusals
    assert findings
    assert [text for text in expected if not any(text in finding for finding in findings)] == [], findings
    assert [finding for finding in findings if not any(text in finding for text in expected)] == []


def test_nothing_to_change_writes_nothing() -> None:
    """Also when the operator has rewritten the spec: false dropped, quantities canonical, zero structs added."""
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


def test_one_patch_nulls_the_others_and_carries_the_coupled_fields() -> None:
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


def test_a_claim_is_made_before_the_config_is_patched() -> None:
    """PVCs are not watched by the operator (operator fact 3.4.1), so the claim comes first."""
    given = params(backend="pvc", pvc={"create": True, "size": "1Gi", "storage_class": "fast"}, replicas=1)
    plan = decide(given, claim=None, classes=({"metadata": {"name": "fast"}},))
    assert [(write.verb, write.kind) for write in plan.writes] == [
        ("create", "PersistentVolumeClaim"),
        ("patch", "Config"),
    ]
    assert plan.writes[0].body["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }


def test_an_existing_claim_that_differs_is_reported_and_left() -> None:
    """Never modified: size, class and modes become warnings."""
    given = params(backend="pvc", pvc={"size": "200Gi", "storage_class": "slow", "access_modes": ["ReadWriteOnce"]})
    plan = decide(given, claim=claim("ReadWriteMany"))
    assert [write.kind for write in plan.writes] == ["Config"]
    assert len([text for text in plan.warnings if "left as it is" in text]) == 3


def test_growing_a_claim_patches_its_size_only() -> None:
    """On request, where the class allows it."""
    fast = {"metadata": {"name": "fast"}, "allowVolumeExpansion": True}
    given = params(backend="pvc", pvc={"size": "0.2Ti", "expand": True})
    plan = decide(given, claim=claim("ReadWriteMany"), classes=(fast,))
    assert plan.writes[0].body == {"spec": {"resources": {"requests": {"storage": "0.2Ti"}}}}


def test_secret_keeps_other_keys_and_shows_fingerprints_only() -> None:
    """Only the key that differs is sent; neither diff nor goal holds its value."""
    live = secret({**CREDENTIALS, "OTHER": "kept"})
    given = params(backend="s3", s3={**S3, "access_key": "AKIDEXAMPLE", "secret_key": "rotated-value"})
    plan = decide(given, secret=live, generated=None)
    write = plan.writes[0]
    assert write.verb == "patch"
    assert set(write.body["data"]) == {"REGISTRY_STORAGE_S3_SECRETKEY"}
    shown = repr((write.before, write.after, plan.goal, plan.warnings))
    assert "rotated-value" not in shown
    assert "wJalrXUtnFEMI" not in shown
    assert shown.count("sha256:") == 2


def test_rotation_waits_for_a_new_rollout_unless_the_pods_already_have_the_value() -> None:
    """A changed Secret changes no field of the spec, so the Deployment's generation has to move (operator fact 4.8)."""
    live = config({"managementState": "Unmanaged", "s3": {"bucket": "images", "region": "us-east-1"}})
    given = params(
        backend="s3", s3={**S3, "region_endpoint": None, "access_key": "AKIDEXAMPLE", "secret_key": "new-value"}
    )
    plan = decide(given, config=live, secret=secret(CREDENTIALS), generated=secret({"credentials": "old"}))
    assert plan.goal is not None
    assert plan.goal.deployment_generation_over == 7
    running = secret({"credentials": "aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = new-value"})
    plan = decide(given, config=live, secret=secret(CREDENTIALS), generated=running)
    assert plan.goal is not None
    assert plan.goal.deployment_generation_over is None


def test_credentials_are_copied_from_a_bucket_claim() -> None:
    """The operator reads one fixed Secret; keys of object bucket claims are understood."""
    source = secret({"AWS_ACCESS_KEY_ID": "AKID2", "AWS_SECRET_ACCESS_KEY": "s2"})
    plan = decide(params(backend="s3", s3={**S3, "credentials_secret": "bucket-claim"}), secret=None, source=source)
    assert plan.refusals == ()
    assert plan.writes[0].verb == "create"
    assert set(plan.writes[0].body["data"]) == set(CREDENTIALS)


def test_allowing_a_change_names_what_stays_behind() -> None:
    """Data is never copied or deleted, only named."""
    live = config({"pvc": {"claim": "image-registry"}})
    plan = decide(params(backend="emptydir", on_backend_change="allow"), config=live)
    assert plan.refusals == ()
    assert plan.values["left_behind"] == ["PersistentVolumeClaim image-registry"]


def test_correcting_a_place_that_was_never_accepted_is_no_change_of_place() -> None:
    """status.storage says where images are: a refused bucket holds none."""
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
    """The change can be stored; the verification will tell."""
    plan = decide(params(backend="emptydir"), deployments=deployments)
    assert plan.refusals == ()
    assert any(expected in text for text in plan.warnings), plan.warnings


def test_reads_only_what_it_needs() -> None:
    """Nothing to change: emptyDir 2 reads, pvc 3, s3 4 (the probe is one more)."""

    def labels(given: dict[str, Any], **seen: Reading) -> list[str]:
        want = parse_intent(given, ALAUDA)
        found: list[str] = []
        readings: dict[str, Reading] = {}
        answers: dict[str, Reading] = {"config": config({}), "deployments": (OPERATOR, REGISTRY), **seen}
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
    assert labels(params(backend="s3", s3=s3), secret=secret(CREDENTIALS), ca={"data": {"ca-bundle.crt": PEM}}) == [
        "config",
        "deployments",
        "secret",
        "ca",
    ]


def test_an_operator_that_missed_the_claim_is_nudged() -> None:
    """The spec is right already, but the operator looks again after up to 1000 s only (operator facts 3.4.2, 4.7)."""
    live = config({"managementState": "Unmanaged", "pvc": {"claim": "image-registry"}}, status={"emptyDir": {}})
    live["metadata"]["resourceVersion"] = "12"
    message = 'Unable to apply resources: … persistentvolumeclaims "image-registry" not found'
    live["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "Error", "message": message}]
    plan = decide(params(backend="pvc"), config=live, claim=claim("ReadWriteMany"))
    (write,) = plan.writes
    assert write.body == {"metadata": {"annotations": {_storage.NUDGE: "image-registry@12"}}}
    live["status"]["conditions"] = []
    assert decide(params(backend="pvc"), config=live, claim=claim("ReadWriteMany")).writes == ()


# -- what runs is what was asked ---------------------------------------------------------------------------------------

LIVE = {
    "managementState": "Unmanaged",
    "s3": {"bucket": "images", "region": "us-east-1", "regionEndpoint": S3["region_endpoint"]},
}
INI = f"[default]\naws_access_key_id = {CREDENTIALS['REGISTRY_STORAGE_S3_ACCESSKEY']}\naws_secret_access_key = "
RUNNING = {"credentials": INI + CREDENTIALS["REGISTRY_STORAGE_S3_SECRETKEY"] + "\n"}


def keys(access: str, other: str) -> dict[str, Any]:
    """An S3 task with these credentials."""
    return params(backend="s3", s3={**S3, "access_key": access, "secret_key": other})


@pytest.mark.parametrize(
    ("access", "other", "rolls"),
    [
        ("AKIDEXAMPLE", "wJalrXUtnFEMI", False),
        ("AKIDEXAMPLE", "wJalrXUtnFEM", True),
        ("AKIDEXAMPL", "wJalrXUtnFEMI", True),
        ("wJalrXUtnFEMI", "AKIDEXAMPLE", True),
    ],
    ids=["the ones that run", "last letter lost", "last letter of the other lost", "changed places"],
)
def test_other_credentials_need_another_rollout(access: str, other: str, rolls: bool) -> None:
    """Compared as a whole and each in its place; the user Secret is gone or says something else."""
    for stored in (None, secret({"REGISTRY_STORAGE_S3_ACCESSKEY": "old", "REGISTRY_STORAGE_S3_SECRETKEY": "old"})):
        plan = decide(keys(access, other), config=config(LIVE), secret=stored, generated=secret(RUNNING))
        assert (goal_of(plan).deployment_generation_over == 7) is rolls


def test_the_generated_secret_is_read_when_the_user_secret_is_gone() -> None:
    """Else a rollout that never comes would be waited for."""
    want = parse_intent(keys("AKIDEXAMPLE", "wJalrXUtnFEMI"), ALAUDA)
    seen: dict[str, Reading] = {"config": config({"emptyDir": {}}), "deployments": (OPERATOR, REGISTRY), "secret": None}
    assert [ref.label for ref in _storage.needs(want, seen)] == ["generated"]


def stamped(item: dict[str, Any], time: str, **status: str) -> dict[str, Any]:
    """The object, written at that time."""
    fields = [{"time": time}, *({"time": at, "subresource": name} for name, at in status.items())]
    return {**item, "metadata": {**item.get("metadata", {}), "managedFields": fields}}


@pytest.mark.parametrize("given", [keys("AKIDEXAMPLE", "wJalrXUtnFEMI"), params(backend="s3", s3=S3)])
@pytest.mark.parametrize(
    ("written", "generated", "rolls"),
    [
        ("2026-01-01T00:00:09Z", secret(RUNNING), False),
        ("2026-01-01T00:00:09Z", secret({"credentials": INI + "old"}), True),
        ("2026-01-01T00:00:01Z", None, False),
    ],
    ids=["newer, the same", "newer, something else runs", "older than the Deployment"],
)
def test_a_secret_that_never_reached_the_pods_is_noticed(
    given: dict[str, Any], written: str, generated: Any, rolls: bool
) -> None:
    """Written while the operator stood still: nothing is left to write, and the old credentials still run."""
    registry = stamped(REGISTRY, "2026-01-01T00:00:05Z", status="2026-01-01T00:00:30Z")
    seen: dict[str, Reading] = {
        "config": config(LIVE),
        "deployments": (OPERATOR, registry),
        "secret": stamped(secret(CREDENTIALS), written),
    }
    want = parse_intent(given, ALAUDA)
    asked = [ref.label for ref in _storage.needs(want, seen)]
    assert asked == ([] if generated is None else ["generated"])
    if generated is not None:
        seen["generated"] = generated
    plan = _storage.plan(want, seen)
    assert plan.writes == ()
    assert (goal_of(plan).deployment_generation_over == 7) is rolls


OTHER_PEM = PEM.replace("AAEC", "BBEC")


@pytest.mark.parametrize(
    ("bundles", "rolls"),
    [
        ({"data": {"storage-ca-bundle.pem": PEM}}, False),
        ({"data": {"storage-ca-bundle.pem": OTHER_PEM}}, True),
        (None, True),
    ],
)
def test_another_ca_needs_another_rollout(bundles: Any, rolls: bool) -> None:
    """Pods read the bundle when they start; until then the operator's answer is about the CA before."""
    given = params(backend="s3", s3={**S3, "trusted_ca": {"name": "s3-ca", "pem": PEM}})
    want = parse_intent(given, ALAUDA)
    seen: dict[str, Reading] = {
        "config": config(LIVE),
        "deployments": (OPERATOR, REGISTRY),
        "secret": secret(CREDENTIALS),
        "ca": {"data": {"ca-bundle.crt": OTHER_PEM}},
    }
    assert [ref.label for ref in _storage.needs(want, seen)] == ["bundles"]
    plan = _storage.plan(want, {**seen, "bundles": bundles})
    assert (goal_of(plan).deployment_generation_over == 7) is rolls


def test_line_ends_of_another_system_are_no_other_ca() -> None:
    """A PEM from a Windows share says the same, and is stored with plain line ends."""
    given = params(backend="s3", s3={**S3, "trusted_ca": {"name": "s3-ca", "pem": PEM.replace("\n", "\r\n")}})
    ca = {"data": {"ca-bundle.crt": PEM}}
    plan = decide(given, secret=secret(CREDENTIALS), ca=ca)
    assert [write.kind for write in plan.writes] == ["Config"]
    made = decide(given, secret=secret(CREDENTIALS), ca=None)
    assert made.writes[0].body["data"]["ca-bundle.crt"] == PEM


@pytest.mark.parametrize(
    ("given", "live", "expected"),
    [
        ({"backend": "emptydir"}, {"replicas": 0}, "the Config has 0"),
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
def test_refused_before_it_can_harm(given: dict[str, Any], live: dict[str, Any], expected: str) -> None:
    """Values that would be stored and could only fail later, or would show a secret."""
    plan = decide(params(**given), config=config({"emptyDir": {}}, **live), secret=None)
    assert any(expected in text for text in plan.refusals), plan.refusals
    assert plan.writes == ()


def test_a_volume_that_has_not_grown_yet_is_told() -> None:
    """The request says 200Gi, the volume does not."""
    grown = claim("ReadWriteMany", resources={"requests": {"storage": "200Gi"}})
    grown["status"] = {
        "phase": "Bound",
        "capacity": {"storage": "100Gi"},
        "conditions": [{"type": "FileSystemResizePending", "message": "Waiting for user to (re-)start a pod"}],
    }
    plan = decide(params(backend="pvc", pvc={"claim": "image-registry", "size": "200Gi"}), claim=grown)
    assert any("is still 100Gi" in text and "(re-)start" in text for text in plan.warnings)
    grown["status"]["capacity"]["storage"] = "200Gi"
    plan = decide(params(backend="pvc", pvc={"claim": "image-registry", "size": "200Gi"}), claim=grown)
    assert not any("still" in text for text in plan.warnings)


def test_an_endpoint_and_its_ca_can_be_removed() -> None:
    """From a private S3 to the public one: what is not named stays, an empty text goes."""
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
