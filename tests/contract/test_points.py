# SPDX-License-Identifier: GPL-3.0-or-later
"""Points of the simulator contract (operator facts, section 8) that no recording covers; each test names its point.

Covered by recordings (test_traces.py): 1 to 5, 7, 9, 14, 16, 18 to 23, 25, 26, 28, 29, 31, 32, 34, 35, 37;
in part also 6 and 11.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.operator_simulator import names
from tests.cluster.operator_simulator.__main__ import Operator
from tests.cluster.operator_simulator.api import Api, ApiError
from tests.cluster.operator_simulator.cluster import Cluster as OperatorCluster
from tests.cluster.operator_simulator.others import NoiseController

from . import recording
from .recording import Json
from .replay import PATIENCE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# 5 minutes of inertia become 10 s, the progress deadline 4 s.
SCALE = 30.0
NS = names.NAMESPACE
READY = ("True", "Ready")


class Lab:
    """The stage with shorter calls."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.api: Api = stage.api

    def patch(self, **spec: Any) -> Json:
        """Merge patch of Config's spec."""
        return self.api.merge("Config", names.SINGLETON, {"spec": spec})

    def config(self) -> Json:
        """Config as it is."""
        return self.api.get("Config", names.SINGLETON)

    def find(self, kind: str, name: str) -> Json | None:
        """An object of the registry's namespace."""
        return self.api.find(kind, name, NS)

    def condition(self, kind: str, which: str = "Config") -> tuple[str, str | None]:
        """Status and reason of a condition; Unknown if there is none."""
        item = self.item(kind, which)
        return item.get("status", "Unknown"), item.get("reason")

    def message(self, kind: str, which: str = "Config") -> str:
        """Message of a condition."""
        return str(self.item(kind, which).get("message", ""))

    def item(self, kind: str, which: str = "Config") -> Json:
        """A condition."""
        status = self.api.get(which, names.SINGLETON).get("status") or {}
        found: Json = next((item for item in status.get("conditions") or [] if item["type"] == kind), {})
        return found

    def observed(self) -> bool:
        """Whether the operator has seen the present generation."""
        config = self.config()
        return bool(config.get("status", {}).get("observedGeneration") == config["metadata"]["generation"])

    def done(self) -> bool:
        """Whether the registry runs as configured."""
        return (
            self.observed()
            and self.condition("Available") == READY
            and self.condition("Progressing") == ("False", "Ready")
            and self.stage.settled_deployment()
        )

    def wait(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait for a condition; the failure shows Config's status."""
        assert self.stage.recorder.wait(condition, timeout), self.config().get("status")

    def claim(self, name: str, mode: str, storage_class: str = "lab") -> None:
        """Create a claim and wait until it is bound, if its class can bind it."""
        self.stage.act(f"create PVC {name} {mode} class={storage_class}")
        if storage_class == "lab":
            self.stage.await_bound()

    def secret(self, kind: str = "create S3 secret") -> None:
        """Write the user's S3 Secret."""
        self.stage.act(kind)

    def s3(self, bucket: str = "images", **more: Any) -> Json:
        """An S3 section for this cluster's server."""
        return {"bucket": bucket, "region": "us-east-1", "regionEndpoint": self.stage.cluster.s3.endpoint, **more}

    def use(self, backend: str, section: Json, state: str | None = "Unmanaged", **spec: Any) -> Json:
        """Patch to one backend, as the recipes of the vendor's page do."""
        storage: Json = dict.fromkeys(("emptyDir", "pvc", "s3"))
        return self.patch(storage={**storage, backend: section, "managementState": state}, **spec)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Cluster(time_scale=SCALE, s3=True) as cluster:
        stage = Stage(cluster, scale=SCALE / 3)
        yield stage
        stage.close()


@pytest.fixture
def lab(stage: Stage) -> Lab:
    stage.settle(recording.load("two-backends"))
    return Lab(stage)


def test_the_simulator_is_ready_when_its_configuration_exists() -> None:
    with Cluster(operator=False) as cluster:
        api = Api(cluster.kubeconfig)
        operator = Operator(api)
        operator.start()
        try:
            assert api.find("Config", names.SINGLETON), "once it is ready, users may patch at once"
            assert api.find("ImagePruner", names.SINGLETON)
        finally:
            operator.stop()


def test_point_01_status_stays_frozen_while_a_sync_is_blocked(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as deaf:
        deaf.settimeout(PATIENCE)  # takes connections, answers nothing
        lab.secret()
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        before = lab.config()["status"]
        generation = lab.use("s3", lab.s3(regionEndpoint=endpoint))["metadata"]["generation"]
        # It has called, waited for its read timeout (60 s / scale) and called again: the same sync is still blocked.
        with deaf.accept()[0], deaf.accept()[0]:
            assert lab.config()["status"] == before
        assert before["observedGeneration"] == generation - 1
    lab.wait(lab.observed)
    assert lab.condition("StorageExists") == ("Unknown", "Unknown Error Occurred")


def test_point_06_no_backend_and_no_deployment_is_not_available(lab: Lab) -> None:
    lab.patch(managementState="Removed")
    lab.wait(lambda: lab.condition("Available") == ("True", "Removed"))
    lab.use("emptyDir", None, managementState="Managed")  # type: ignore[arg-type]
    lab.wait(lambda: lab.condition("Available") == ("False", "StorageNotConfigured"))
    assert lab.config()["spec"]["storage"] == {}
    assert lab.condition("Progressing") == ("False", "Error")
    assert lab.message("Degraded") == "Error: storage backend not configured"


def test_point_08_removed_deletes_managed_storage_and_keeps_user_storage(lab: Lab) -> None:
    for state, survives in (("Unmanaged", True), ("Managed", False)):
        if lab.find("PersistentVolumeClaim", "data") is None:
            lab.claim("data", "ReadWriteMany")
        lab.use("pvc", {"claim": "data"}, state, managementState="Managed")
        lab.wait(lab.done)
        lab.patch(managementState="Removed")
        lab.wait(lambda: lab.condition("Progressing") == ("False", "Removed"))

        def claim_deleted() -> bool:
            claim = lab.find("PersistentVolumeClaim", "data")
            return claim is None or "deletionTimestamp" in claim["metadata"]

        assert lab.config()["status"]["storage"] == {}
        assert lab.config()["status"]["readyReplicas"] == 0
        assert claim_deleted() is not survives
    assert lab.find("CronJob", names.CRONJOB) is not None
    lab.wait(lambda: lab.find("Deployment", names.API_SERVER) is None)


def test_point_08_a_managed_bucket_is_emptied_and_its_name_blanked(lab: Lab) -> None:
    lab.secret()
    lab.stage.cluster.s3.create_bucket("mine")
    lab.use("s3", lab.s3("mine"), "Managed")
    lab.wait(lab.done)
    lab.stage.cluster.s3.client().put_object(Bucket="mine", Key="docker/registry/v2/x", Body=b"x")
    lab.patch(managementState="Removed")

    def removed() -> bool:
        # All of one look: what failed in between is tried again while Progressing already says Removed.
        config = lab.config()
        buckets = [item["Name"] for item in lab.stage.cluster.s3.client().list_buckets()["Buckets"]]
        return "mine" not in buckets and "bucket" not in config["spec"]["storage"]["s3"] and lab.observed()

    lab.wait(removed)
    lab.wait(lambda: lab.condition("Progressing") == ("False", "Removed"))


def test_point_07_two_backends_stop_a_removal_silently(lab: Lab) -> None:
    lab.patch(managementState="Removed", storage={"pvc": {"claim": "x"}})
    lab.wait(lambda: lab.observed() and lab.condition("Progressing") == ("True", "DeletingDeployment"))
    time.sleep(1)  # and nothing follows
    assert lab.condition("Available") == READY
    assert lab.condition("Degraded") == ("False", "Removed")
    assert lab.find("Deployment", names.REGISTRY) is not None


def test_point_10_unset_management_state_means_removed_on_this_product(lab: Lab) -> None:
    lab.claim("data", "ReadWriteMany")
    lab.use("pvc", {"claim": "data"}, "Managed")
    lab.wait(lab.done)
    lab.patch(managementState=None)
    lab.wait(lambda: lab.observed() and lab.condition("Available") == ("True", "Removed"))
    assert lab.find("Deployment", names.REGISTRY) is None
    lab.wait(lambda: lab.find("Deployment", names.API_SERVER) is None)
    claim = lab.find("PersistentVolumeClaim", "data")
    assert claim is not None
    assert "deletionTimestamp" not in claim["metadata"]


def test_point_11_an_empty_storage_state_is_filled_in_and_then_sticks(lab: Lab) -> None:
    lab.claim("data", "ReadWriteMany")
    lab.use("pvc", {"claim": "data"})
    lab.wait(lab.done)
    lab.use("emptyDir", {}, None)
    lab.wait(lab.done)
    assert lab.config()["spec"]["storage"] == {"emptyDir": {}, "managementState": "Managed"}
    lab.patch(storage={"emptyDir": None, "pvc": {"claim": "data"}})
    lab.wait(lab.done)
    assert lab.config()["spec"]["storage"] == {"pvc": {"claim": "data"}, "managementState": "Managed"}


def test_point_11_user_claims_become_unmanaged(lab: Lab) -> None:
    lab.claim("data", "ReadWriteMany")
    generation = lab.use("pvc", {"claim": "data"}, None)["metadata"]["generation"]
    lab.wait(lab.done)
    config = lab.config()
    assert config["spec"]["storage"] == {"pvc": {"claim": "data"}, "managementState": "Unmanaged"}
    assert config["metadata"]["generation"] == generation + 1


def test_point_12_13_an_operator_write_reserialises_the_whole_spec(lab: Lab) -> None:
    generation = lab.patch(
        httpSecret="",
        readOnly=False,
        routes=[],
        nodeSelector={},
        requests={"read": {"maxRunning": 1, "maxWaitInQueue": "60s"}},
        resources={"limits": None, "requests": {"cpu": "1000m", "memory": "1024Mi"}},
    )["metadata"]["generation"]
    lab.wait(lambda: lab.observed() and lab.config()["metadata"]["generation"] == generation + 1)
    spec = lab.config()["spec"]
    assert len(spec["httpSecret"]) == 128
    assert not {"readOnly", "routes", "nodeSelector"} & set(spec)
    assert spec["requests"] == {"read": {"maxRunning": 1, "maxWaitInQueue": "1m0s"}, "write": {"maxWaitInQueue": "0s"}}
    assert spec["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}}
    assert spec["observedConfig"] is None


def test_point_12_without_a_reason_to_write_the_literals_stay(lab: Lab) -> None:
    resources = {"limits": None, "requests": {"cpu": "1000m"}}
    generation = lab.patch(readOnly=False, resources=resources)["metadata"]["generation"]
    lab.wait(lab.done)
    assert lab.config()["metadata"]["generation"] == generation
    assert lab.config()["spec"]["readOnly"] is False
    assert lab.config()["spec"]["resources"]["requests"]["cpu"] == "1000m"


def test_point_12_a_patch_during_a_sync_that_writes_is_lost_but_for_the_state(lab: Lab) -> None:
    lab.secret()
    with socket.create_server(("127.0.0.1", 0), backlog=8) as deaf:
        deaf.settimeout(PATIENCE)
        # The credentials work on the real server only; the sync hangs here until the socket is closed.
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        lab.patch(httpSecret="", storage={"emptyDir": None, "s3": lab.s3(regionEndpoint=endpoint)})
        with deaf.accept()[0]:
            lab.patch(readOnly=True)
            # Until it calls again, a read timeout later, it has long heard of the patch: or else it would write onto
            # an older version, be refused, and start again from the patched one.
            deaf.accept()[0].close()
    lab.wait(lambda: lab.observed() and bool(lab.config()["spec"].get("httpSecret")))
    assert "readOnly" not in lab.config()["spec"]


def test_point_15_more_than_one_replica_is_refused_before_the_strategy(lab: Lab) -> None:
    lab.claim("rwo", "ReadWriteOnce")
    lab.use("pvc", {"claim": "rwo"}, replicas=2)
    lab.wait(lambda: lab.condition("Progressing") == ("True", "Error"))
    text = "cannot use ReadWriteOnce access mode with more than one replica of the image registry"
    assert lab.message("Progressing") == f"Unable to apply resources: unable to sync storage configuration: {text}"
    assert (lab.condition("StorageExists"), lab.message("StorageExists")) == (("False", "PVC Issues Found"), text)


def test_point_14_an_unset_strategy_leaves_two_blanks(lab: Lab) -> None:
    lab.claim("rwo", "ReadWriteOnce")
    lab.use("pvc", {"claim": "rwo"}, rolloutStrategy=None)
    lab.wait(lambda: lab.condition("Progressing") == ("True", "Error"))
    assert lab.message("StorageExists") == "cannot use ReadWriteOnce access mode with  rollout strategy"


def test_point_16_a_late_claim_is_noticed_with_the_next_event(lab: Lab) -> None:
    lab.use("pvc", {"claim": "late"})
    lab.wait(lambda: lab.condition("StorageExists") == ("False", "PVC Issues Found"))
    time.sleep(1)  # let the backoff grow beyond this test's timeout
    lab.claim("late", "ReadWriteMany")
    lab.api.merge("Config", names.SINGLETON, {"metadata": {"annotations": {"poke": str(time.time())}}})
    lab.wait(lab.done)


def test_point_17_an_accepted_claim_is_not_checked_again(lab: Lab) -> None:
    lab.claim("rwo", "ReadWriteOnce")
    lab.use("pvc", {"claim": "rwo"}, rolloutStrategy="Recreate")
    lab.wait(lab.done)
    lab.patch(rolloutStrategy="RollingUpdate", replicas=3)
    lab.wait(lab.observed)
    assert lab.condition("Progressing")[1] != "Error"
    assert lab.condition("StorageExists") == ("True", "PVC Exists")


def test_point_18_a_pending_claim_is_accepted_and_degrades_after_the_inertia(lab: Lab) -> None:
    lab.claim("stuck", "ReadWriteOnce", "none")
    lab.use("pvc", {"claim": "stuck"}, rolloutStrategy="Recreate")
    lab.wait(lambda: lab.condition("Progressing") == ("True", "DeploymentNotCompleted"))
    assert lab.condition("Available") == ("False", "NoReplicasAvailable")
    assert lab.config()["status"]["storage"]["pvc"] == {"claim": "stuck"}
    assert lab.condition("Degraded") == ("False", None)

    def degraded() -> bool:
        # There is no timer for it: only an event makes the operator check the time.
        lab.api.merge("Config", names.SINGLETON, {"metadata": {"annotations": {"poke": str(time.time())}}})
        return lab.condition("Degraded") == ("True", "Unavailable")

    lab.wait(degraded)
    assert lab.message("Degraded") == "The deployment does not have available replicas"


def test_point_24_a_managed_bucket_is_encrypted_and_spec_shows_it(lab: Lab) -> None:
    lab.secret()
    lab.stage.cluster.s3.create_bucket("mine")
    lab.use("s3", lab.s3("mine", encrypt=False), "Managed")
    lab.wait(lab.done)
    assert lab.config()["spec"]["storage"]["s3"]["encrypt"] is True
    for kind in ("StorageTagged", "StorageEncrypted", "StoragePublicAccessBlocked"):
        assert lab.condition(kind)[0] == "True", kind
    assert lab.item("StorageIncompleteUploadCleanupEnabled") != {}
    env = recording.reduce("Deployment", lab.find("Deployment", names.REGISTRY))["env"]
    assert env["REGISTRY_STORAGE_S3_ENCRYPT"] == "true"


def test_point_25_bad_new_credentials_do_not_roll_the_pods(lab: Lab) -> None:
    lab.secret()
    lab.stage.cluster.s3.create_bucket("images")
    lab.use("s3", lab.s3())
    lab.wait(lab.done)
    deployment = lab.find("Deployment", names.REGISTRY)
    assert deployment is not None
    lab.secret("create S3 secret (unknown access key)")
    lab.wait(lambda: lab.condition("Progressing") == ("True", "Error"))
    assert lab.condition("StorageExists") == ("False", "InvalidAccessKeyId")
    assert lab.condition("Available") == READY
    after = lab.find("Deployment", names.REGISTRY)
    assert after is not None
    assert after["metadata"]["generation"] == deployment["metadata"]["generation"]


def test_point_27_emptydir_is_accepted_with_any_number_of_replicas(lab: Lab) -> None:
    lab.patch(replicas=2)
    lab.wait(lab.done)
    assert lab.config()["status"]["readyReplicas"] == 2


@pytest.mark.parametrize("routes", [[{"name": "a"}, {"name": "a"}], [{"name": "default-route"}]])
def test_point_29_route_names_must_be_unique(lab: Lab, routes: list[Json]) -> None:
    lab.patch(routes=routes)
    lab.wait(lambda: lab.condition("Degraded") == ("True", "VerificationFailed"))
    assert lab.condition("Progressing") == ("False", "Error")
    assert lab.message("Degraded") == (
        "Error: unable to complete resource: duplication of names has been detected in the additional routes"
    )


def test_point_30_no_replicas_with_rolling_update_are_refused_by_the_api_server(lab: Lab) -> None:
    lab.patch(replicas=0)
    lab.wait(lambda: lab.condition("Progressing") == ("True", "Error"))
    assert "unable to apply objects: failed to update object *v1.Deployment" in lab.message("Progressing")
    assert "maxUnavailable" in lab.message("Progressing")
    lab.patch(rolloutStrategy="Recreate")
    lab.wait(lambda: lab.condition("Available") == ("False", "NoReplicasAvailable"))
    assert lab.condition("Progressing") == ("False", "Ready")


def test_point_31_scaling_without_a_new_template_never_progresses(lab: Lab) -> None:
    lab.stage.recorder.restart()
    lab.patch(replicas=3)
    lab.wait(lambda: lab.config()["status"]["readyReplicas"] == 3 and lab.condition("Available") == READY)
    seen = recording.tracks(lab.stage.recorder.lines(), "Config")
    assert [step.value[1] for step in seen["Progressing"]] == ["Ready"]


def test_point_32_hand_edits_of_the_deployment_are_reverted_of_the_cronjob_not(lab: Lab) -> None:
    lab.api.merge("CronJob", names.CRONJOB, {"spec": {"schedule": "1 1 1 1 *"}}, NS)
    lab.api.merge("Deployment", names.REGISTRY, {"spec": {"replicas": 3}}, NS)

    def reverted() -> bool:
        deployment = lab.find("Deployment", names.REGISTRY)
        return deployment is not None and deployment["spec"]["replicas"] == 1

    lab.wait(reverted)
    lab.wait(lab.done)
    cronjob = lab.find("CronJob", names.CRONJOB)
    assert cronjob is not None
    assert cronjob["spec"]["schedule"] == "1 1 1 1 *"


def test_point_33_a_deleted_config_comes_back_with_defaults(lab: Lab) -> None:
    before = lab.config()["metadata"]["uid"]
    lab.api.delete("Config", names.SINGLETON)

    def fresh() -> bool:
        config = lab.api.find("Config", names.SINGLETON)
        return config is not None and config["metadata"]["uid"] != before and bool(config.get("status"))

    lab.wait(fresh)
    assert lab.config()["spec"]["managementState"] == "Removed"
    assert lab.config()["spec"]["storage"] == {}
    lab.wait(lambda: lab.find("Deployment", names.REGISTRY) is None)


def test_point_36_the_newest_finished_job_decides(lab: Lab) -> None:
    assert lab.condition("Failed", "ImagePruner") == ("False", "Complete")
    name = f"any-{time.monotonic_ns()}"
    lab.api.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": NS},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "metadata": {"annotations": {"lab.alauda.io/run-for": "0s", "lab.alauda.io/exit-code": "1"}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "any", "image": "any"}]},
                },
            },
        }
    )
    lab.wait(lambda: lab.condition("Failed", "ImagePruner")[0] == "True")
    assert lab.condition("Degraded", "ImagePruner") == ("True", "JobFailed")
    assert lab.message("Failed", "ImagePruner") == "Job has reached the specified backoff limit"
    lab.api.delete("Job", name, NS)
    lab.wait(lambda: lab.condition("Degraded", "ImagePruner") == ("False", "AsExpected"))


@pytest.mark.parametrize(
    "spec",
    [
        {"rolloutStrategy": "Restart"},
        {"managementState": "On"},
        {"replicas": None},
        {"logLevel": "debug"},
        {"storage": {"s3": {"chunkSizeMiB": 4}}},
        {"storage": {"s3": {"trustedCA": {"name": "Not_A_Name"}}}},
        {"storage": {"managementState": "Removed"}},
        {"requests": {"read": {"maxWaitInQueue": "soon"}}},
        {"resources": {"limits": {"cpu": "much"}}},
    ],
)
def test_point_38_bad_values_are_refused_by_the_schema(lab: Lab, spec: Json) -> None:
    generation = lab.config()["metadata"]["generation"]
    with pytest.raises(ApiError) as refused:
        lab.patch(**spec)
    assert refused.value.status == 422
    assert lab.config()["metadata"]["generation"] == generation


def test_point_38_unknown_fields_are_pruned_unless_strict(lab: Lab) -> None:
    path = lab.api.path("Config", None, names.SINGLETON)
    body: Json = {"spec": {"storage": {"filesystem": {"path": "/x"}}}}
    generation = lab.config()["metadata"]["generation"]
    with pytest.raises(ApiError, match="unknown field"):
        lab.api.call("PATCH", f"{path}?fieldValidation=Strict", body, "application/merge-patch+json")
    lab.api.call("PATCH", path, body, "application/merge-patch+json")
    assert lab.config()["metadata"]["generation"] == generation


def test_point_39_a_route_without_its_secret_fails_after_the_deployment(lab: Lab) -> None:
    lab.patch(readOnly=True, routes=[{"name": "extra", "hostname": "r.example.com", "secretName": "absent"}])
    lab.wait(lambda: lab.condition("Progressing") == ("True", "Error"))
    assert lab.message("Progressing") == (
        "Unable to apply resources: unable to apply objects: failed to create object *v1.Ingress, "
        f'Namespace={NS}, Name=extra: secret "absent" not found'
    )
    env = recording.reduce("Deployment", lab.find("Deployment", names.REGISTRY))["env"]
    assert env["REGISTRY_STORAGE_MAINTENANCE_READONLY"] == "{enabled: true}"


def test_point_39_a_default_route_without_a_host_degrades_until_it_is_removed(lab: Lab) -> None:
    lab.patch(defaultRoute=True, routes=[{"name": "extra", "hostname": "r.example.com"}])
    lab.wait(lambda: lab.condition("Degraded") == ("True", "IngressDegraded"))
    text = "ingress default-route has no host and no published load balancer address"
    assert lab.message("Degraded") == text
    assert lab.condition("Available") == READY
    extra = lab.find("Ingress", "extra")
    assert extra is not None
    assert extra["spec"]["rules"][0]["host"] == "r.example.com"
    assert extra["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    lab.patch(defaultRoute=False, routes=None)
    lab.wait(lambda: lab.condition("Degraded") == ("False", None))
    lab.wait(lambda: lab.find("Ingress", "extra") is None and lab.find("Ingress", "default-route") is None)


def test_point_21_a_wrong_key_rewrites_the_status_all_the_time(lab: Lab) -> None:
    lab.secret("create S3 secret (unknown access key)")
    lab.use("s3", lab.s3())
    lab.wait(lambda: lab.condition("StorageExists") == ("False", "InvalidAccessKeyId"))
    first = lab.config()
    lab.wait(
        lambda: (
            lab.item("StorageExists")["lastTransitionTime"]
            not in [item.get("lastTransitionTime") for item in first["status"]["conditions"]]
        )
    )
    second = lab.config()
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert second["metadata"]["generation"] == first["metadata"]["generation"]
    assert lab.message("StorageExists").startswith("InvalidAccessKeyId: ")
    assert "\n\tstatus code: 403, request id: " in lab.message("StorageExists")
    assert lab.condition("Available") == READY


def test_point_40_other_writers_of_the_status_do_no_harm(lab: Lab) -> None:
    noise = NoiseController(OperatorCluster(lab.api))
    stop = threading.Event()

    def bump() -> None:
        while not stop.wait(0.05):
            noise.sync()

    thread = threading.Thread(target=bump)
    before = lab.config()
    thread.start()
    try:
        lab.wait(lambda: lab.config()["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"])
        assert lab.config()["metadata"]["generation"] == before["metadata"]["generation"]
        lab.patch(readOnly=True)
        lab.wait(lab.done)
    finally:
        stop.set()
        thread.join()
    assert lab.config()["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_fork_pull_secrets_come_and_go_with_their_state(lab: Lab) -> None:
    for name in ("team-a", "team-b"):
        if lab.api.find("Namespace", name) is None:
            lab.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    selector = f"labelSelector={names.MANAGED_PULL_SECRET}%3Dtrue"

    def provided(namespace: str) -> bool:
        account = lab.api.find("ServiceAccount", "default", namespace) or {}
        listed = {item["name"] for item in account.get("imagePullSecrets") or []}
        secrets = {item["metadata"]["name"] for item in lab.api.list("Secret", namespace, selector)}
        binding = lab.api.find("RoleBinding", names.PULLERS_BINDING, namespace)
        return bool(secrets & listed) and binding is not None and binding["roleRef"]["name"] == "system:image-puller"

    def bare(namespace: str) -> bool:
        account = lab.api.find("ServiceAccount", "default", namespace) or {}
        return (
            not lab.api.list("Secret", namespace, selector)
            and lab.api.find("RoleBinding", names.PULLERS_BINDING, namespace) is None
            and not account.get("imagePullSecrets")
        )

    lab.patch(imagePullSecret={"managementState": "Managed", "ignoredNamespaces": ["team-b"]})
    lab.wait(lambda: provided("team-a") and bare("team-b"))
    lab.patch(imagePullSecret={"managementState": "Removed"})
    lab.wait(lambda: bare("team-a"))


def test_fork_the_image_api_server_runs_while_managed(lab: Lab) -> None:
    assert lab.find("Deployment", names.API_SERVER) is not None
    assert lab.find("Deployment", names.OPERATOR) is not None
