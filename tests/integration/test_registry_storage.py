# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_storage on the embedded cluster: what it reports is what is running."""

from __future__ import annotations

import copy
import uuid
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import DEPLOYMENT, NAMESPACE, REFUSAL, Lab, push, writes
from tests.integration.waiting import until

pytestmark = pytest.mark.cluster


def ok(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that must have succeeded."""
    assert not result.get("failed"), result.get("msg")
    return result


def environment(lab: Lab) -> dict[str, str]:
    """Environment of the registry's container."""
    deployment = lab.client.get(DEPLOYMENT)
    assert deployment is not None
    return {
        item["name"]: item.get("value", "") for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }


# -- the recipes of the page -------------------------------------------------------------------------------------------


def test_pvc_read_write_many(lab: Lab) -> None:
    """A claim is created, bound, mounted by two Pods, and serves; a second run writes nothing."""
    task = {
        "backend": "pvc",
        "pvc": {
            "claim": "made",
            "create": True,
            "size": "1Gi",
            "storage_class": "lab",
            "access_modes": ["ReadWriteMany"],
        },
        "replicas": 2,
        "resources": {"requests": {"cpu": "500m", "memory": "500Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}},
    }
    first = ok(lab.storage(**task))
    assert first["changed"] is True
    assert [item["kind"] for item in first["written"]] == ["PersistentVolumeClaim", "Config"]
    assert first["verification"]["verdict"] == "done"
    assert len(first["verification"]["probes"]) == 2
    states = [entry["state"] for entry in first["verification"]["timeline"]]
    assert not [state for state in states if "does not exist" in state], "the claim has just been created"
    second = ok(lab.storage(**task))
    assert (second["changed"], second["patch"], second["written"]) == (False, {}, [])
    assert second["verification"]["verdict"] == "done"
    lab.storage(backend="emptydir", replicas=1, on_backend_change="allow")
    claim = lab.client.get(namespaced(NAMESPACE, "persistentvolumeclaims", "made"))
    assert claim is not None
    lab.delete("persistentvolumeclaims", "made")


def test_pvc_read_write_once_implies_recreate(lab: Lab) -> None:
    """The page's recipe omits the strategy that the operator demands; the module adds it."""
    claim = lab.claim("ReadWriteOnce")
    result = ok(lab.storage(backend="pvc", pvc={"claim": claim}, replicas=1))
    assert result["patch"]["spec"]["rolloutStrategy"] == "Recreate"
    assert result["config"]["status"]["storage"]["pvc"] == {"claim": claim}


def test_s3_with_private_ca_and_disabled_redirect(lab: Lab) -> None:
    """Secret and ConfigMap are created; the registry reaches a bucket that only the bundle lets it trust."""
    task = {"backend": "s3", "s3": lab.s3(), "replicas": 2, "disable_redirect": True}
    first = ok(lab.storage(**task))
    assert first["verification"]["verdict"] == "done"
    assert environment(lab)["REGISTRY_STORAGE_REDIRECT_DISABLE"] == "true"
    second = ok(lab.storage(**task))
    assert (second["changed"], second["written"]) == (False, [])


def test_wait_for_first_consumer_is_understood(lab: Lab) -> None:
    """Such a claim is Pending until a Pod uses it, which is not a reason to wait beforehand or to fail."""
    claim = lab.claim("ReadWriteMany", storage_class="lab-wffc")
    ok(lab.storage(backend="pvc", pvc={"claim": claim}))
    bound = lab.client.get(namespaced(NAMESPACE, "persistentvolumeclaims", claim))
    assert bound is not None
    assert bound["status"]["phase"] == "Bound"


def test_second_run_after_the_operator_has_rewritten_the_spec(lab: Lab) -> None:
    """An empty httpSecret makes the operator serialise the whole spec again (operator fact 2.1)."""
    task = {"backend": "emptydir", "replicas": 1, "resources": {"requests": {"cpu": "0.5", "memory": "0.5Gi"}}}
    ok(lab.storage(**task))
    lab.patch({"httpSecret": None, "disableRedirect": False})
    ok(lab.storage(**task))
    again = ok(lab.storage(**task))
    assert (again["changed"], again["written"]) == (False, [])


def test_a_claim_grows_on_request_only(lab: Lab) -> None:
    """Another size is reported; with expand it is requested from Kubernetes, where the StorageClass allows it."""
    name = lab.claim("ReadWriteMany")
    left = ok(lab.storage(backend="pvc", pvc={"claim": name, "size": "2Gi"}))
    assert any("left as it is" in text for text in left["warnings"])
    grown = ok(lab.storage(backend="pvc", pvc={"claim": name, "size": "2Gi", "expand": True}))
    assert [item["kind"] for item in grown["written"]] == ["PersistentVolumeClaim"]
    claim = lab.client.get(namespaced(NAMESPACE, "persistentvolumeclaims", name))
    assert claim is not None
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    same = ok(lab.storage(backend="pvc", pvc={"claim": name, "size": "2048Mi", "expand": True}))
    assert same["changed"] is False


def volume_by_hand(lab: Lab, storage_class: str) -> None:
    """A PersistentVolume of 1Gi that nobody resizes; the claim that is bound to it decides what is in it."""
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "storageClassName": storage_class,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": "/nowhere"},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": storage_class}, "spec": spec}
    lab.client.create("/api/v1/persistentvolumes", body)


def test_a_claim_that_nothing_resizes(lab: Lab) -> None:
    """Requested is not grown; the second run, which has nothing to write, reports it as well."""
    name = f"never-{uuid.uuid4().hex[:6]}"
    about = {"metadata": {"name": name}, "provisioner": "lab.alauda.io/nobody", "allowVolumeExpansion": True}
    lab.client.create("/apis/storage.k8s.io/v1/storageclasses", {"apiVersion": "storage.k8s.io/v1", **about})
    volume_by_hand(lab, name)
    task: dict[str, Any] = {"backend": "pvc", "pvc": {"claim": lab.claim("ReadWriteMany", storage_class=name)}}
    ok(lab.storage(**task))
    grows = {"backend": "pvc", "pvc": {**task["pvc"], "size": "2Gi", "expand": True}}
    for changed in (True, False):
        result = lab.storage(**grows, wait_timeout=4)
        assert result.get("failed"), result["verification"]["summary"]
        assert result["changed"] is changed
        assert "has 1Gi of the 2Gi requested" in result["msg"]


def test_a_claim_on_a_volume_made_by_hand(lab: Lab) -> None:
    """No StorageClass of that name exists: Kubernetes binds a claim to a volume with the same one."""
    name = f"by-hand-{uuid.uuid4().hex[:6]}"
    options = {"claim": name, "create": True, "size": "1Gi", "storage_class": name, "access_modes": ["ReadWriteMany"]}
    refused = lab.storage(backend="pvc", pvc=options)
    assert refused.get("failed")
    assert f"StorageClass '{name}' does not exist" in refused["msg"]
    assert "Nothing was written" in refused["msg"]
    volume_by_hand(lab, name)
    result = ok(lab.storage(backend="pvc", pvc=options))
    assert result["verification"]["verdict"] == "done"


def test_a_claim_that_was_forgotten_is_created_and_noticed(lab: Lab) -> None:
    """After a patch by hand the operator may wait for up to 1000 s; creating the claim makes it continue at once."""
    name = f"late-{uuid.uuid4().hex[:6]}"
    lab.patch({"storage": {"emptyDir": None, "pvc": {"claim": name}, "managementState": "Unmanaged"}})
    missing = lab.storage(backend="pvc", pvc={"claim": name})
    assert missing["failed"]
    assert "Nothing was written" in missing["msg"], "so nothing was waited for"
    assert "does not exist" in missing["msg"]
    options = {"claim": name, "create": True, "size": "1Gi", "storage_class": "lab", "access_modes": ["ReadWriteMany"]}
    ok(lab.storage(backend="pvc", pvc=options))


CLOUDS: dict[str, dict[str, Any]] = {
    "swift": {
        "container": "images",
        "auth_url": "https://keystone.example.com/v3",
        "auth_version": "3",
        "domain": "d",
        "domain_id": "1",
        "tenant": "t",
        "tenant_id": "2",
        "region_name": "r",
        "username": "someone",
        "password": "a-password",
    },
    "gcs": {"bucket": "images", "region": "r", "project_id": "p", "key_id": "k", "keyfile": "{}"},
    "ibmcos": {
        "bucket": "images",
        "location": "us",
        "resource_group_name": "g",
        "resource_key_crn": "crn:v1:key",
        "service_instance_crn": "crn:v1:instance",
        "iam_api_key": "a-key",
    },
    "azure": {
        "account_name": "account",
        "container": "images",
        "cloud_name": "AzurePublicCloud",
        "network_access": {"type": "External"},
        "account_key": "a-key",
    },
}


@pytest.mark.parametrize("backend", CLOUDS)
def test_the_api_knows_every_typed_field_of_the_cloud_backends(lab: Lab, backend: str) -> None:
    """The API server validates strictly; each backend has its own Secret keys."""
    options: dict[str, Any] = {backend: CLOUDS[backend]}
    result = ok(lab.run("registry_storage", check=True, backend=backend, **options))
    sent = result["patch"]["spec"]["storage"]
    assert sent["emptyDir"] is None
    assert len(sent[backend]) >= 4
    assert [item["kind"] for item in result["written"]] == ["Secret", "Config"]
    assert "a-password" not in str(result)
    assert "a-key" not in str(result["diff"])


# -- refused before writing --------------------------------------------------------------------------------------------


def test_everything_wrong_is_named_at_once_and_nothing_is_written(lab: Lab, proxy: ApiProxy) -> None:
    """RWO with two replicas and RollingUpdate: both findings, no write."""
    claim = lab.claim("ReadWriteOnce")
    result = lab.storage(
        kubeconfig=str(proxy.kubeconfig),
        backend="pvc",
        pvc={"claim": claim},
        replicas=2,
        rollout_strategy="RollingUpdate",
    )
    assert result["failed"]
    assert result["changed"] is False
    assert "cannot serve 2 replicas" in result["msg"]
    assert "rollout_strategy RollingUpdate" in result["msg"]
    assert writes(proxy.requests) == []


def test_leaving_a_claim_needs_consent(lab: Lab) -> None:
    """The location that is left behind is named in the refusal; with allow it is returned."""
    claim = lab.claim("ReadWriteMany")
    ok(lab.storage(backend="pvc", pvc={"claim": claim}))
    refused = lab.storage(backend="emptydir")
    assert refused["failed"]
    assert f"PersistentVolumeClaim {claim}" in refused["msg"]
    assert "on_backend_change: allow" in refused["msg"]
    allowed = ok(lab.storage(backend="emptydir", on_backend_change="allow"))
    assert allowed["left_behind"] == [f"PersistentVolumeClaim {claim}"]


def test_a_claim_that_was_never_bound_is_corrected_without_consent(lab: Lab) -> None:
    """The operator has accepted it, whatever its phase; nothing was ever stored in it."""
    wrong = lab.claim("ReadWriteMany", storage_class="none")
    ok(lab.storage(backend="pvc", pvc={"claim": wrong}, wait=False))
    until("the operator has accepted the claim", lambda: wrong in str(lab.config()["status"]), state=lab.config)
    result = ok(lab.storage(backend="pvc", pvc={"claim": lab.claim("ReadWriteMany")}))
    assert any(f"PersistentVolumeClaim {wrong} was never bound" in text for text in result["warnings"])
    assert result["left_behind"] == []


def test_development_storage_passes_the_page_s_check(lab: Lab) -> None:
    """What the vendor's check looks at afterwards; every other storage stays the user's."""
    ok(lab.storage(backend="emptydir", replicas=1))
    assert lab.config()["spec"]["storage"] == {"emptyDir": {}, "managementState": "Managed"}
    ok(lab.storage(backend="pvc", pvc={"claim": lab.claim("ReadWriteMany")}))
    assert lab.config()["spec"]["storage"]["managementState"] == "Unmanaged"


def test_images_in_an_emptydir_are_not_lost_without_a_word(lab: Lab, tmp_path: Path) -> None:
    """Counted in check mode too; leaving them needs consent, replacing their Pod is reported."""
    push(lab, tmp_path)
    claim: dict[str, Any] = {"backend": "pvc", "pvc": {"claim": lab.claim("ReadWriteMany")}}
    for check in (True, False):
        refused = lab.run("registry_storage", check=check, **claim)
        assert refused.get("failed")
        assert "1 repository (team/tool) would be lost" in refused["msg"]
        assert "Nothing was written" in refused["msg"]
    other: dict[str, Any] = {"backend": "emptydir", "disable_redirect": True}
    lost = "the images of 1 repository (team/tool) are lost"
    announced = ok(lab.run("registry_storage", check=True, **other))
    assert any(lost in text for text in announced["warnings"])
    assert "team/tool" in lab.cluster.crane("catalog", lab.cluster.registry_address, "--insecure")
    assert any(lost in text for text in ok(lab.storage(**other))["warnings"])
    assert ok(lab.storage(**claim))["changed"] is True, "nothing is left to lose"


def test_a_partial_write_cannot_happen(lab: Lab, proxy: ApiProxy) -> None:
    """The API server refuses the patch (here: by fault); the Secret that comes first has not been written either."""
    lab.delete("secrets", ALAUDA.user_secret)
    proxy.fault("status", code=422, method="PATCH", path=r"/configs/cluster", times=1)
    result = lab.storage(kubeconfig=str(proxy.kubeconfig), backend="s3", s3=lab.s3())
    assert result["failed"]
    assert "Nothing was written" in result["msg"]
    assert lab.client.get(namespaced(NAMESPACE, "secrets", ALAUDA.user_secret)) is None


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"kubeconfig": "/does/not/exist"}, "does not exist"),
        ({"context": "nowhere"}, "nowhere"),
        ({"host": "https://127.0.0.1:1"}, "No answer from the API server"),
        ({"ca_cert": "/does/not/exist"}, "ca_cert"),
        ({"impersonate_user": "nobody"}, "not allowed (403)"),
    ],
)
def test_bad_access_is_explained(lab: Lab, auth: dict[str, Any], expected: str) -> None:
    """A readable message, never a traceback."""
    result = lab.run("registry_storage", backend="emptydir", **auth)
    assert result["failed"]
    assert expected in result["msg"]
    assert "Traceback" not in str(result)


def test_an_operator_that_is_not_installed(lab: Lab) -> None:
    """The kind is unknown to the API server; nothing else is tried."""
    result = lab.storage(backend="emptydir", platform="openshift")
    assert result["failed"]
    assert "the registry operator is not installed there" in result["msg"]


def test_a_backend_the_operator_on_this_cluster_does_not_know(lab: Lab) -> None:
    """Decided by the API server's schema, in the dry run."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/configs.{ALAUDA.group}"
    crd = lab.client.get(path)
    assert crd is not None
    versions = copy.deepcopy(crd["spec"]["versions"])
    del versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["storage"]["properties"]["azure"]
    task: dict[str, Any] = {"check": True, "backend": "azure", "azure": CLOUDS["azure"]}

    def refused() -> dict[str, Any] | None:
        result = lab.run("registry_storage", **task)
        return result if result.get("failed") else None

    # The API server takes a moment to use a changed schema; until then it accepts the field, which is the only effect.
    lab.client.patch(path, {"spec": {"versions": versions}})
    try:
        result = until("the API server uses the changed schema", refused)
    finally:
        lab.client.patch(path, {"spec": {"versions": crd["spec"]["versions"]}})
        until("the API server uses the old schema again", lambda: refused() is None, state=refused)
    assert result is not None
    assert "does not have the field" in result["msg"]


# -- refused by the operator, or broken without it noticing ------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"access_key": "AKIAWRONGWRONGWRONG1"}, "InvalidAccessKeyId"),
        ({"secret_key": "wrong-secret-key-value"}, "SignatureDoesNotMatch"),
        ({"region_endpoint": "https://127.0.0.1:1"}, "connection refused"),
        ({"trusted_ca": None}, "x509"),
    ],
)
def test_the_operators_refusal_is_quoted(lab: Lab, wrong: dict[str, Any], expected: str) -> None:
    """Available stays True/Ready throughout; a second run, which writes nothing, reports the same."""
    task = {"backend": "s3", "s3": lab.s3(**wrong)}
    first = lab.fails(REFUSAL, **task)
    assert first["changed"] is True
    assert expected in first["msg"]
    assert "What to do:" in first["msg"]
    assert "Meanwhile the registry still serves: 1 Pod from emptyDir." in first["msg"]
    assert first["verification"]["conditions"]["Available"]["status"] == "True"
    second = lab.fails(REFUSAL, **task)
    assert second["changed"] is False
    assert expected in second["msg"]
    assert "wrong-secret-key-value" not in str((first, second))


def test_a_pod_cut_off_from_the_bucket_is_found(lab: Lab) -> None:
    """The operator reaches the bucket, the Pod is Ready and Available, and yet nothing works (registry over HTTP 1)."""
    lab.annotate_nodes(fault="no-storage-network")
    result = lab.fails("50[03]", backend="s3", s3=lab.s3())
    assert result["verification"]["reason"] == "StorageBroken"
    assert result["verification"]["conditions"]["Available"]["status"] == "True"


def test_one_pod_of_two_that_is_cut_off_is_found_when_nothing_changes(lab: Lab) -> None:
    """Behind the Service the other Pod could answer in its place."""
    task = {"backend": "s3", "s3": lab.s3(), "replicas": 2, "rollout_strategy": "RollingUpdate"}
    ok(lab.storage(**task))
    lab.annotate_nodes(fault="no-storage-network")
    first = lab.pods()[0]["metadata"]["name"]
    lab.delete("pods", first)
    # The Deployment's own status may still be the one from before the deletion.
    until("the Pod is gone", lambda: first not in [pod["metadata"]["name"] for pod in lab.pods()])
    lab.rest()
    for _ in range(3):
        result = lab.fails("50[03]", **task)
        assert result["changed"] is False
        assert result["verification"]["reason"] == "StorageBroken"


def test_an_evicted_pod_is_not_queried(lab: Lab) -> None:
    """It stays listed until the cluster removes it."""
    evicted = lab.pods()[0]["metadata"]["name"]
    status = {"phase": "Failed", "reason": "Evicted", "podIP": None, "podIPs": None, "containerStatuses": None}
    lab.client.patch(f"{namespaced(NAMESPACE, 'pods', evicted)}/status", {"status": status})
    result = ok(lab.storage(backend="emptydir", replicas=1, disable_redirect=True))
    assert evicted not in str(result["verification"]["probes"])
    lab.delete("pods", evicted)


def test_a_bucket_deleted_later_is_found_by_the_same_task(lab: Lab) -> None:
    """Until the operator checks again it reports Available; running the task again fails and names the bucket.

    An operator that checks recreates the bucket at once (operator fact 4.9, registry over HTTP 8), so it is down here.
    """
    bucket = lab.s3()
    task = {"backend": "s3", "s3": bucket}
    ok(lab.storage(**task))
    with lab.without_operator():
        lab.cluster.s3.delete_bucket(bucket["bucket"])
        result = lab.fails("50[03]", **task)
    assert result["changed"] is False
    assert result["verification"]["reason"] == "StorageBroken"
    assert "NoSuchBucket" in result["msg"]
    assert result["verification"]["conditions"]["Available"]["status"] == "True"


def test_a_key_forbidden_later_is_found_by_the_same_task(lab: Lab) -> None:
    """Rotated elsewhere: the Secret still holds the old key, and the operator reports Available until it checks again.

    Task and operator each find out by themselves, and report the same.
    """
    user = lab.cluster.s3.create_user(f"rotated-{uuid.uuid4().hex[:6]}")
    bucket = lab.s3(access_key=user.access_key, secret_key=user.secret_key)
    task = {"backend": "s3", "s3": bucket}
    ok(lab.storage(**task))
    with lab.without_operator():
        lab.cluster.s3.forbid_key(user)
        result = lab.fails("50[03]", **task)
        assert result["changed"] is False
        assert result["verification"]["reason"] == "StorageBroken"
        assert "InvalidAccessKeyId" in result["msg"]
    # The operator is back, and checks at once.
    until("the operator has checked", lambda: "InvalidAccessKeyId" in str(lab.config()["status"]), state=lab.config)
    result = lab.fails(REFUSAL, **task)
    assert result["changed"] is False
    assert result["verification"]["reason"] == "InvalidAccessKeyId"


def test_a_bucket_that_may_only_be_read_is_found_by_an_upload(lab: Lab) -> None:
    """All other requests succeed on such a bucket (registry over HTTP 5); a successful upload leaves two bytes.

    The operator only reads, so it never notices.
    """
    bucket = lab.s3()
    task = {"backend": "s3", "s3": bucket}
    first = ok(lab.storage(**task, probe="write"))
    assert "the registry took an upload (pod/" in first["verification"]["summary"]
    (left,) = lab.cluster.s3.objects(bucket["bucket"])
    assert left.startswith("docker/registry/v2/blobs/sha256/44/")
    lab.cluster.s3.only_reading(f"{bucket['bucket']}-user")
    assert ok(lab.storage(**task, probe="require"))["verification"]["verdict"] == "done"
    for _ in range(2):
        result = lab.fails("50[03]", **task, probe="write")
        assert result["changed"] is False
        assert result["verification"]["reason"] == "StorageBroken"
        assert "beginning an upload" in result["msg"]
        assert "AccessDenied" in result["msg"]
        # The same holds when the operator has just checked once more.
        lab.cluster.restart("operator")
        lab.rest()


def test_an_upload_to_a_claim_leaves_no_image(lab: Lab, proxy: ApiProxy) -> None:
    """The catalogue stays empty; and a registry that accepts no upload from this task is not reported as verified."""
    task = {"backend": "pvc", "pvc": {"claim": lab.claim("ReadWriteMany")}, "probe": "write"}
    ok(lab.storage(**task))
    lab.rest()
    assert ok(lab.storage(kubeconfig=str(proxy.kubeconfig), **task))["changed"] is False
    wire = [(item.method, item.path.rpartition("/proxy/")[2]) for item in proxy.requests if "/proxy/v2/" in item.path]
    assert [method for method, _path in wire] == ["GET", "POST", "PUT", "DELETE"]
    assert lab.cluster.crane("catalog", lab.cluster.registry_address, "--insecure").strip() == ""
    lab.patch({"readOnly": True})
    result = lab.fails("upload", **task)
    assert result["verification"]["reason"] == "UploadRefused"
    assert "spec.readOnly is true" in result["msg"]
    lab.patch({"readOnly": None})


def test_a_claim_that_never_binds(lab: Lab) -> None:
    """Kubernetes' own reason is in the message, even if the wait ends before a failure is certain."""
    claim = lab.claim("ReadWriteMany", storage_class="none")
    task: dict[str, Any] = {"backend": "pvc", "pvc": {"claim": claim}}
    ok(lab.storage(**task, wait=False))
    until("the scheduler gives its reason", lambda: "unbound" in str(lab.pods()), state=lab.pods)
    result = lab.storage(**task, wait_timeout=2)
    assert result["failed"]
    assert result["verification"]["reason"] == "Timeout"
    assert f"claim {claim} is Pending (StorageClass none)" in result["msg"]
    assert "unbound" in result["msg"]


def test_a_claim_whose_storage_class_does_not_exist(lab: Lab) -> None:
    """The most common reason is named, although nothing in the claim itself shows it."""
    claim = lab.claim("ReadWriteMany", storage_class="misspelt")
    result = lab.storage(backend="pvc", pvc={"claim": claim}, wait_timeout=3)
    assert result["failed"]
    assert f"claim {claim} is Pending (StorageClass misspelt does not exist)" in result["msg"]


def test_a_claim_that_waits_for_its_first_pod_says_so(lab: Lab) -> None:
    """A Pod that cannot be scheduled leaves the claim unbound: the StorageClass explains why that is normal."""
    claim = lab.claim("ReadWriteMany", storage_class="lab-wffc")
    task: dict[str, Any] = {"backend": "pvc", "pvc": {"claim": claim}}
    impossible = {"requests": {"cpu": "9000"}, "limits": {"cpu": "9000"}}
    result = lab.storage(**task, resources=impossible, wait_timeout=3)
    assert result["failed"]
    assert f"claim {claim} is Pending (it is bound when the first Pod that uses it starts)" in result["msg"]


def test_pods_that_never_become_ready(lab: Lab) -> None:
    """Never done early: the old Pod serves and every condition is green at first."""
    claim = lab.claim("ReadWriteMany")
    lab.annotate_nodes(fault="never-ready")
    result = lab.storage(backend="pvc", pvc={"claim": claim}, wait_timeout=8)
    assert result["failed"]
    assert result["verification"]["verdict"] == "failed"
    assert "Meanwhile the registry still serves: 1 Pod from emptyDir." in result["msg"]


def test_events_of_a_trouble_that_is_over_do_not_explain_a_timeout(lab: Lab) -> None:
    """Of a Pod that is gone, and of before the change; what happens to the new Pods since then does explain it."""

    def warn(kind: str, name: str, message: str, moment: str) -> None:
        about = {"kind": kind, "name": name, "namespace": NAMESPACE, "uid": "gone"}
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{uuid.uuid4().hex[:8]}"},
            "involvedObject": about,
            "type": "Warning",
            "reason": "FailedMount",
            "message": message,
            "lastTimestamp": moment,
        }
        lab.client.create(namespaced(NAMESPACE, "events"), body)

    warn("Pod", "image-registry-gone-1", "of another Pod", "2099-01-01T00:00:00Z")
    warn("ReplicaSet", "image-registry-gone", "of before", "2026-01-01T00:00:00Z")
    warn("ReplicaSet", "image-registry-new", "of now", "2099-01-01T00:00:00Z")
    claim = lab.claim("ReadWriteMany")
    lab.annotate_nodes(fault="never-ready")
    result = lab.storage(backend="pvc", pvc={"claim": claim}, wait_timeout=8)
    assert result["verification"]["reason"] == "Timeout"
    assert "ReplicaSet/image-registry-new: FailedMount: of now" in result["verification"]["events"]
    assert not [line for line in result["verification"]["events"] if "of another Pod" in line or "of before" in line]


@pytest.mark.parametrize("limit", [{"max": {"memory": "100Mi"}}, {"default": {"memory": "100Mi"}}])
def test_a_limit_range_that_refuses_the_pods(lab: Lab, limit: dict[str, Any]) -> None:
    """Above its maximum they are forbidden; a default limit below their request makes them invalid."""
    ranges = namespaced(NAMESPACE, "limitranges")
    spec = {"limits": [{"type": "Container", **limit}]}
    lab.client.create(ranges, {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "tight"}, "spec": spec})
    try:
        asked = {"requests": {"memory": "256Mi"}, "limits": {"memory": "300Mi"} if "max" in limit else None}
        result = lab.fails("FailedCreate", backend="emptydir", replicas=1, resources=asked)
    finally:
        lab.delete("limitranges", "tight")
    assert "a LimitRange of the registry's namespace" in result["msg"]
    assert "does not know the message" not in result["msg"]


def test_a_crashing_registry(lab: Lab) -> None:
    """CrashLoopBackOff ends the wait."""
    claim = lab.claim("ReadWriteMany")
    lab.annotate_nodes(fault="crash-loop")
    result = lab.fails("CrashLoopBackOff", backend="pvc", pvc={"claim": claim})
    assert "CrashLoopBackOff" in result["msg"]


# -- modes -------------------------------------------------------------------------------------------------------------


def test_check_mode_is_a_dry_run_with_the_same_diff(lab: Lab, proxy: ApiProxy) -> None:
    """Same diff and patch as the real run, nothing written."""
    task = {
        "backend": "pvc",
        "pvc": {"claim": "checked", "create": True, "size": "1Gi", "storage_class": "lab"},
        "replicas": 1,
    }
    check = ok(lab.run("registry_storage", check=True, kubeconfig=str(proxy.kubeconfig), **task))
    assert check["changed"] is True
    assert writes(proxy.requests) == []
    real = ok(lab.storage(**task))
    assert check["diff"] == real["diff"]
    assert check["patch"] == real["patch"]
    assert check["verification"]["verdict"] == "not verified"
    lab.storage(backend="emptydir", on_backend_change="allow")
    lab.delete("persistentvolumeclaims", "checked")


def test_without_wait_nothing_is_reported_as_verified(lab: Lab) -> None:
    """The task writes, and reports that nothing was verified."""
    claim = lab.claim("ReadWriteMany")
    result = ok(lab.storage(backend="pvc", pvc={"claim": claim}, wait=False))
    assert result["changed"] is True
    assert result["verification"]["verdict"] == "not verified"


def test_unknown_fields_are_refused(lab: Lab, proxy: ApiProxy) -> None:
    """Every write requests strict field validation, dry run or not."""
    ok(lab.storage(kubeconfig=str(proxy.kubeconfig), backend="emptydir", replicas=1, disable_redirect=True))
    sent = [item for item in proxy.requests if item.method != "GET"]
    assert sent
    assert all(item.query.get("fieldValidation") == "Strict" for item in sent)
    assert {item.content_type for item in sent} == {"application/merge-patch+json"}


# -- cost, rights, weather ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "budget"), [("emptydir", 3), ("pvc", 4), ("s3", 5)])
def test_request_budget_with_nothing_to_change(lab: Lab, proxy: ApiProxy, backend: str, budget: int) -> None:
    """Including verification and probe, counted on the wire."""
    choices: dict[str, dict[str, Any]] = {
        "emptydir": {"replicas": 1},
        "pvc": {"pvc": {"claim": lab.claim("ReadWriteMany")}},
        "s3": {"s3": lab.s3()},
    }
    options = choices[backend]
    ok(lab.storage(backend=backend, **options))
    lab.rest()
    result = ok(lab.storage(kubeconfig=str(proxy.kubeconfig), backend=backend, **options))
    assert result["changed"] is False
    assert result["verification"]["verdict"] == "done"
    assert result["verification"]["probes"]
    assert len(proxy.requests) <= budget, [f"{item.method} {item.path}" for item in proxy.requests]


def test_a_registry_that_requires_a_login(lab: Lab, proxy: ApiProxy) -> None:
    """Once it has been running for a while, its 401 proves that the storage works: one more request, and no wait."""
    lab.annotate_nodes(fault="login")
    task: dict[str, Any] = {"backend": "emptydir", "replicas": 1, "disable_redirect": True}
    first = ok(lab.storage(**task))
    assert {probe["status"] for probe in first["verification"]["probes"]} == {401}
    lab.rest()
    # Done when the container is old enough, however long the rollout took before.
    again = ok(lab.storage(kubeconfig=str(proxy.kubeconfig), **task))
    assert again["changed"] is False
    assert [probe["via"] for probe in again["verification"]["probes"]] == ["service/image-registry"]
    assert len(proxy.requests) <= 4, [f"{item.method} {item.path}" for item in proxy.requests]
    upload = lab.fails("upload", **task, probe="write")
    assert upload["verification"]["reason"] == "UploadRefused"
    assert "requires a login" in upload["msg"]


def test_a_registry_that_requires_a_login_and_has_just_been_started(lab: Lab) -> None:
    """It may not have checked its storage yet: a failure would show only after its first check."""
    lab.annotate_nodes(fault="login")
    task: dict[str, Any] = {"backend": "emptydir", "replicas": 1, "disable_redirect": True}
    ok(lab.storage(**task))
    lab.rest()
    # In effect just started, however late the task runs on this machine.
    (pod,) = lab.pods()
    statuses = copy.deepcopy(pod["status"]["containerStatuses"])
    statuses[0]["state"]["running"]["startedAt"] = "2999-01-01T00:00:00Z"
    path = f"{namespaced(NAMESPACE, 'pods', pod['metadata']['name'])}/status"
    lab.client.patch(path, {"status": {"containerStatuses": statuses}})
    again = ok(lab.storage(**task))
    assert again["changed"] is False
    states = [entry["state"] for entry in again["verification"]["timeline"]]
    assert any("requires a login; it has not checked its storage yet" in state for state in states)
    assert again["verification"]["seconds"] > 10, "one interval of the registry's own checks"


def test_credentials_that_expire_while_it_waits(lab: Lab, proxy: ApiProxy) -> None:
    """Reported soon, and never mistaken for a missing permission, which would still allow a verdict."""
    lab.annotate_nodes(fault="never-ready")  # nothing else can end the wait
    proxy.fault("status", code=401, method="GET", path=r"/pods$", times=None, message="Unauthorized")
    task: dict[str, Any] = {"backend": "emptydir", "replicas": 1, "disable_redirect": True}
    result = lab.fails("credentials", kubeconfig=str(proxy.kubeconfig), **task)
    assert result["changed"] is True
    assert result["verification"]["reason"] == "Unauthorized"
    assert "does not accept the credentials" in result["msg"]
    assert "api_key" in result["msg"]


def test_a_wait_in_which_nothing_happens_sends_no_requests(lab: Lab, proxy: ApiProxy) -> None:
    """A Pod takes its time; changes arrive through watches, which the server keeps open for 300 seconds."""
    lab.annotate_nodes(ready_after="25s")
    ok(lab.storage(kubeconfig=str(proxy.kubeconfig), backend="emptydir", replicas=1, disable_redirect=True))
    requests = proxy.requests
    assert requests[-1].started - requests[0].started > 20
    written = max(number for number, item in enumerate(requests) if item in writes(requests))
    probed = min(number for number, item in enumerate(requests) if "/proxy/v2/" in item.path and number > written)
    # From the write to the first request to the registry: each collection is listed once and watched from there.
    waiting = [(item.path.rpartition("/")[2], item.watch) for item in requests[written + 1 : probed]]
    assert sorted(waiting) == [
        (collection, watch) for collection in ("configs", "deployments", "pods") for watch in (False, True)
    ]


def test_without_the_right_to_probe(lab: Lab) -> None:
    """auto warns, require fails; the account may do everything else."""
    rules = [
        {"apiGroups": [ALAUDA.group], "resources": ["configs"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    ]
    with lab.cluster_role("no-probe", rules) as kubeconfig:
        auto = ok(lab.storage(kubeconfig=kubeconfig, backend="emptydir", disable_redirect=True))
        assert any("not probed" in text for text in auto["warnings"])
        required = lab.storage(kubeconfig=kubeconfig, backend="emptydir", disable_redirect=True, probe="require")
    assert required["failed"]
    assert "pods/proxy" in required["msg"]


def test_bad_weather(lab: Lab, proxy: ApiProxy) -> None:
    """Throttling, server errors, broken connections and dropped watches delay the task and change nothing else."""
    proxy.fault("status", code=429, retry_after=1, times=1)
    proxy.fault("status", code=500, method="PATCH", times=1)
    proxy.fault("reset", method="GET", path=r"/configs/cluster", times=1)
    proxy.fault("drop", watch=True, times=3, events=1)
    claim = lab.claim("ReadWriteMany")
    result = ok(lab.storage(kubeconfig=str(proxy.kubeconfig), backend="pvc", pvc={"claim": claim}))
    assert result["changed"] is True
    assert result["verification"]["verdict"] == "done"
