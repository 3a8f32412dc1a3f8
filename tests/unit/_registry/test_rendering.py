# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator renders from Config and ImagePruner, and what of it a Deployment or CronJob lacks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import (
    cronjob_difference,
    cronjob_edits,
    deployment_difference,
    expected_cronjob,
    expected_deployment,
    health_interval,
    serves_https,
    storage_location,
)


def deployment(env: dict[str, str | None], volume: dict[str, Any] | None = None, **registry: Any) -> dict[str, Any]:
    """A Deployment with one replica. env: None stands for a value that comes from a Secret."""
    entries = [
        {"name": name, "valueFrom": {"secretKeyRef": {}}} if value is None else {"name": name, "value": value}
        for name, value in env.items()
    ]
    volumes = [] if volume is None else [{"name": "registry-storage", **volume}]
    containers = [{"name": "other", "env": []}, {"name": "registry", "env": entries, **registry}]
    return {"spec": {"replicas": 1, "template": {"spec": {"containers": containers, "volumes": volumes}}}}


S3 = {"bucket": "images", "region": "us-east-1"}
S3_ENVIRONMENT = {
    "REGISTRY_STORAGE": "s3",
    "REGISTRY_STORAGE_S3_BUCKET": "images",
    "REGISTRY_STORAGE_S3_REGION": "us-east-1",
}
CLAIM = {"persistentVolumeClaim": {"claimName": "image-registry"}}


@pytest.mark.parametrize(
    ("storage", "env", "volume", "difference"),
    [
        ({"emptyDir": {}}, {"REGISTRY_STORAGE": "filesystem"}, {"emptyDir": {}}, ""),
        ({"emptyDir": {}}, {"REGISTRY_STORAGE": "filesystem"}, CLAIM, "volume without emptyDir"),
        ({"pvc": {"claim": "image-registry"}}, {"REGISTRY_STORAGE": "filesystem"}, CLAIM, ""),
        ({"pvc": {"claim": "other"}}, {"REGISTRY_STORAGE": "filesystem"}, CLAIM, "volume image-registry"),
        ({"pvc": {"claim": "other"}}, {"REGISTRY_STORAGE": "filesystem"}, None, "volume without a claim"),
        ({"pvc": {"claim": "other"}}, {}, None, "storage driver not set"),
        ({"s3": S3}, S3_ENVIRONMENT, None, ""),
        ({"s3": S3}, S3_ENVIRONMENT, CLAIM, "volume of the storage before"),
        ({"s3": S3}, {**S3_ENVIRONMENT, "REGISTRY_STORAGE": "filesystem"}, None, "storage driver filesystem"),
        (
            {"s3": {**S3, "regionEndpoint": "https://s3"}},
            S3_ENVIRONMENT,
            None,
            "environment REGISTRY_STORAGE_S3_REGIONENDPOINT",
        ),
        ({"s3": S3}, {**S3_ENVIRONMENT, "REGISTRY_STORAGE_S3_REGIONENDPOINT": ""}, None, ""),
        (
            {"s3": S3},
            {**S3_ENVIRONMENT, "REGISTRY_STORAGE_S3_BUCKET": None},
            None,
            "environment REGISTRY_STORAGE_S3_BUCKET",
        ),
        (
            {"s3": {**S3, "encrypt": True}},
            {**S3_ENVIRONMENT, "REGISTRY_STORAGE_S3_ENCRYPT": "false"},
            None,
            "environment REGISTRY_STORAGE_S3_ENCRYPT",
        ),
        ({"s3": {**S3, "virtualHostedStyle": True}}, S3_ENVIRONMENT, None, ""),
        ({"ibmcos": {"bucket": "images"}}, {"REGISTRY_STORAGE": "s3"}, None, ""),
        ({"oss": {"bucket": "images"}}, {"REGISTRY_STORAGE": "oss"}, None, ""),
    ],
)
def test_storage_becomes_environment_and_volume(
    storage: dict[str, Any], env: dict[str, str | None], volume: dict[str, Any] | None, difference: str
) -> None:
    """Names that not every release has are compared where they exist."""
    (backend,) = storage
    expected = expected_deployment({"replicas": 1, "storage": storage}, {}, backend)
    assert deployment_difference(expected, deployment(env, volume), "registry") == difference


REDIRECT = "REGISTRY_STORAGE_REDIRECT_DISABLE"
READ_ONLY = "REGISTRY_STORAGE_MAINTENANCE_READONLY"
RUNNING = "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING"
LIMITED = {
    RUNNING: "5",
    "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXINQUEUE": "0",
    "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE": "1m0s",
}


@pytest.mark.parametrize(
    ("spec", "env", "difference"),
    [
        ({"disableRedirect": True}, {REDIRECT: "true"}, ""),
        ({"disableRedirect": True}, {}, f"environment {REDIRECT}"),
        ({"disableRedirect": False}, {REDIRECT: "true"}, f"environment {REDIRECT}"),
        ({"disableRedirect": False}, {REDIRECT: None}, f"environment {REDIRECT}"),
        ({"readOnly": True}, {READ_ONLY: "{enabled: true}"}, ""),
        ({"readOnly": False}, {READ_ONLY: "{enabled: true}"}, f"environment {READ_ONLY}"),
        ({"requests": {"read": {"maxRunning": 5, "maxWaitInQueue": "60s"}}}, LIMITED, ""),
        ({"requests": {"read": {"maxRunning": 6, "maxWaitInQueue": "60s"}}}, LIMITED, f"environment {RUNNING}"),
        ({"requests": {"read": {"maxWaitInQueue": "60s"}}}, {}, ""),
        ({"requests": {}}, LIMITED, f"environment {RUNNING}"),
        ({"replicas": 2}, {}, "replicas 1 instead of 2"),
        ({"rolloutStrategy": "Recreate"}, {}, "strategy RollingUpdate"),
    ],
)
def test_settings_that_a_task_mentions_are_compared(
    spec: dict[str, Any], env: dict[str, str | None], difference: str
) -> None:
    """A setting that the task does not own is ignored."""
    whole = {"replicas": 1, **spec}
    shape = deployment(env)
    assert deployment_difference(expected_deployment(whole, spec, None), shape, "registry") == difference
    always = "replicas" in spec or "rolloutStrategy" in spec
    assert bool(deployment_difference(expected_deployment(whole, {}, None), shape, "registry")) is always


def test_a_reduced_deployment_is_not_held_against_the_operator() -> None:
    """Placement and resources are compared where the Deployment shows them."""
    spec = {"replicas": 1, "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "infra"}]}
    expected = expected_deployment(spec, spec, None)
    shape = deployment({})
    assert deployment_difference(expected, shape, "registry") == ""
    template = shape["spec"]["template"]["spec"]
    template["tolerations"] = [{"key": "other"}]
    assert deployment_difference(expected, shape, "registry") == "tolerations"
    template["nodeSelector"] = {"kubernetes.io/os": "linux"}
    assert deployment_difference(expected, shape, "registry") == "node selector"
    template |= {"nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"}, "tolerations": [{"key": "infra"}]}
    assert deployment_difference(expected, shape, "registry") == ""


@pytest.mark.parametrize("amount", ["1", "junk", [], None])
def test_resources_that_cannot_be_read_are_compared_as_written(amount: object) -> None:
    """They are not the task's own; the judge must not end with a traceback because of them."""
    resources = {"limits": {"cpu": amount}}
    spec = {"replicas": 1, "resources": resources}
    expected = expected_deployment(spec, spec, None)
    assert deployment_difference(expected, deployment({}, resources=resources), "registry") == ""
    other = deployment({}, resources={"limits": {"cpu": "7"}})
    assert deployment_difference(expected, other, "registry") == "resources"


@pytest.mark.parametrize(
    ("storage", "location"),
    [
        ({"pvc": {"claim": "image-registry"}}, "pvc/image-registry"),
        ({"s3": S3}, "s3/images"),
        ({"swift": {"container": "c"}}, "swift/c"),
        ({"emptyDir": {}}, "emptyDir"),
    ],
)
def test_the_location_of_the_images_in_short(storage: dict[str, Any], location: str) -> None:
    """Backend, and the name of the place there."""
    (backend,) = storage
    assert storage_location({"storage": storage}, backend) == location


@pytest.mark.parametrize(
    ("value", "seconds"), [("10s", 10.0), ("1m30s", 90.0), ("500ms", 0.5), ("soon", 10.0), (None, 10.0)]
)
def test_the_interval_is_the_deployments(value: str | None, seconds: float) -> None:
    entry = {"name": "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", **({"value": value} if value else {})}
    containers: list[dict[str, Any]] = [{"name": "other"}, {"name": "registry", "env": [{"name": "A"}, entry]}]
    assert health_interval({"spec": {"template": {"spec": {"containers": containers}}}}, "registry") == seconds
    assert health_interval({}, "registry") == 10.0


def test_the_scheme_is_the_deployments() -> None:
    """The certificate's path is set where the registry speaks HTTPS, wherever its value comes from."""
    assert not serves_https(deployment({}), "registry")
    assert serves_https(deployment({"REGISTRY_HTTP_TLS_CERTIFICATE": "/etc/secrets/tls.crt"}), "registry")
    assert serves_https(deployment({"REGISTRY_HTTP_TLS_CERTIFICATE": None}), "registry")


# -- ImagePruner -------------------------------------------------------------------------------------------------------


def cronjob(spec: dict[str, Any]) -> dict[str, Any]:
    """The CronJob that the operator makes of this spec."""
    expected = expected_cronjob(spec)
    return {
        "spec": {
            "schedule": expected.schedule,
            "suspend": expected.suspend,
            "successfulJobsHistoryLimit": expected.successful_jobs,
            "failedJobsHistoryLimit": expected.failed_jobs,
            "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"args": list(expected.arguments)}]}}}},
        }
    }


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        ({}, ("--keep-tag-revisions=3", "--keep-younger-than=60m", "--ignore-invalid-refs=false")),
        (
            {"keepTagRevisions": 0, "keepYoungerThanDuration": "90m", "ignoreInvalidImageReferences": True},
            ("--keep-tag-revisions=0", "--keep-younger-than=1h30m0s", "--ignore-invalid-refs=true"),
        ),
        (
            {"keepYoungerThan": 60_000_000_000},
            ("--keep-tag-revisions=3", "--keep-younger-than=1m0s", "--ignore-invalid-refs=false"),
        ),
        (
            {"keepYoungerThanDuration": "1 day"},
            ("--keep-tag-revisions=3", "--keep-younger-than=1 day", "--ignore-invalid-refs=false"),
        ),
    ],
)
def test_retention_becomes_arguments(spec: dict[str, Any], arguments: tuple[str, ...]) -> None:
    """A duration is printed as Go prints it; one that Go cannot read must not end in a traceback."""
    assert expected_cronjob(spec).arguments == arguments


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ({}, {"schedule": "1 1 * * *"}, "schedule '0 0 * * *' instead of '1 1 * * *'"),
        ({}, {"suspend": True}, "suspend False instead of True"),
        ({}, {"failedJobsHistoryLimit": 5}, "failedJobsHistoryLimit 3 instead of 5"),
        ({}, {"keepTagRevisions": 5}, "arguments without --keep-tag-revisions=5"),
        ({"schedule": ""}, {"schedule": "0 0 * * *"}, ""),
    ],
)
def test_a_cronjob_of_the_old_spec_is_named(before: dict[str, Any], after: dict[str, Any], difference: str) -> None:
    """The first thing that differs."""
    assert cronjob_difference(expected_cronjob(after), cronjob(before)) == difference


@pytest.mark.parametrize(
    ("live", "missing"),
    [
        ({}, ""),
        ({"resources": {"requests": {"cpu": "1000m"}}}, ""),
        ({"resources": {"requests": {"cpu": "7"}}}, "resources.requests.cpu"),
        ({"resources": {}}, "resources"),
        ({"nodeSelector": {}}, "nodeSelector"),
        ({"tolerations": []}, "tolerations"),
    ],
)
def test_a_cronjob_with_other_resources_or_places_is_not_the_one_asked_for(live: dict[str, Any], missing: str) -> None:
    """The operator does not correct a CronJob that somebody has edited."""
    asked = {
        "schedule": "0 0 * * *",
        "resources": {"requests": {"cpu": "1"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
    }
    shown = {**asked, **live}
    made = cronjob(asked)
    pod = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    pod["containers"][0]["resources"] = shown["resources"]
    pod |= {"nodeSelector": shown["nodeSelector"], "tolerations": shown["tolerations"]}
    difference = cronjob_difference(expected_cronjob(asked), made)
    assert difference.startswith("other values of") is bool(missing)
    assert missing.partition(".")[0] in difference


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ([], ""),
        (["--confirm=true", "--loglevel=4", "--prune-registry=true"], ""),
        (["--keep-tag-revisions=1"], "the argument --keep-tag-revisions=1"),
        (["--keep-tag-revisions", "1"], "the argument --keep-tag-revisions"),
        (["--keep-tag-revisions=3"], "the argument --keep-tag-revisions=3"),
        (["--confirm=true", "--confirm=false"], "the argument --confirm=false"),
        (["--confirm"], ""),
        (["--confirm=false"], "the argument --confirm=false"),
        (["--loglevel=1"], "the argument --loglevel=1"),
    ],
)
def test_an_argument_that_overrides_the_operator_s_is_named(arguments: list[str], difference: str) -> None:
    """The command takes the last of two: that ours is there as well proves nothing (operator fact 5.2)."""
    spec = {"logLevel": "Debug"}
    made = cronjob(spec)
    container = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["-c", "prune", "arg0", *container["args"], *arguments]
    assert cronjob_difference(expected_cronjob(spec), made) == difference


@pytest.mark.parametrize(
    ("job", "difference"),
    [({"suspend": True}, "Jobs that are created suspended"), ({"parallelism": 0}, "Jobs with parallelism 0")],
)
def test_jobs_that_never_run_are_named(job: dict[str, Any], difference: str) -> None:
    """The schedule is right, and nothing is ever pruned."""
    made = cronjob({})
    made["spec"]["jobTemplate"]["spec"] |= job
    assert cronjob_difference(expected_cronjob({}), made) == difference


OPERATOR = "cluster-image-registry-operator"
RENDERED: dict[str, Any] = {"f:schedule": {}, "f:jobTemplate": {"f:spec": {"f:backoffLimit": {}}}}


def written(**fields: dict[str, Any]) -> dict[str, Any]:
    """A CronJob whose spec's fields were last written by these managers (_ stands for -)."""
    managed = [
        {"manager": manager.replace("_", "-"), "operation": "Update", "fieldsV1": {"f:spec": entry}}
        for manager, entry in fields.items()
    ]
    controller = {
        "manager": "kube-controller-manager",
        "subresource": "status",
        "fieldsV1": {"f:status": {"f:lastScheduleTime": {}}},
    }
    return {**cronjob({}), "metadata": {"managedFields": [*managed, controller]}}


def of_container(**fields: Any) -> dict[str, Any]:
    """Entries for fields of the CronJob's container (f: goes before each name)."""
    named = {f"f:{name}": below for name, below in fields.items()}
    containers = {'k:{"name":"image-pruner"}': {".": {}, **named}}
    return {"f:jobTemplate": {"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}}}


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ({"f:startingDeadlineSeconds": {}}, ["startingDeadlineSeconds"]),
        (of_container(command={}, args={}), ["args", "command"]),
        (of_container(image={}), []),
        (of_container(resources={"f:requests": {"f:cpu": {}}}), ["resources.requests.cpu"]),
        ({"f:schedule": {}, "f:suspend": {}}, []),
        ({"f:jobTemplate": {"f:spec": {"f:suspend": {}}}}, ["suspend"]),
        ({"f:jobTemplate": {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {}}}}}}, []),
    ],
)
def test_what_somebody_else_wrote_into_the_cronjob_is_named(entry: dict[str, Any], fields: list[str]) -> None:
    """What the operator renders cannot all be predicted, but the API server records who wrote it.

    The image may come from a mirror of the site; what is compared by value needs no author.
    """
    live = written(kubectl_edit=entry, cluster_image_registry_operator=RENDERED)
    assert cronjob_edits(expected_cronjob({}), live, {OPERATOR}) == ({"kubectl-edit": fields} if fields else {})


def test_an_operator_under_another_name_is_not_taken_for_somebody_else() -> None:
    """Only where the operator is known among the authors does another one prove an edit."""
    live = written(another_name=of_container(args={}))
    assert cronjob_edits(expected_cronjob({}), live, {OPERATOR}) == {}
    assert cronjob_edits(expected_cronjob({}), cronjob({}), {OPERATOR}) == {}
