# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are lost and API servers in trouble: `changed` and the diff stay true, and the blame is right."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import Lab, writes

pytestmark = pytest.mark.cluster

CONFIG = r"/configs/cluster$"
PRUNER = r"/imagepruners/cluster$"
QUOTA, RANGE = r"/resourcequotas", r"/limitranges"
LIMITS: dict[str, Any] = {"quota": {"images": 5}, "image": {"storage": "1Gi"}}
OTHERS: dict[str, Any] = {"quota": {"images": "6000m"}, "image": {"storage": "2048Mi"}}


def namespace(lab: Lab) -> str:
    """A namespace with a unique name."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    lab.client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def differs(lab: Lab, module: str, task: dict[str, Any]) -> dict[str, Any]:
    """The diff of a task in check mode; it must have one."""
    planned = lab.run(module, check=True, **task)
    assert not planned.get("failed"), planned["msg"]
    assert planned["diff"]["before"] != planned["diff"]["after"]
    return dict(planned["diff"])


def through_a_loss(
    lab: Lab, proxy: ApiProxy, module: str, task: dict[str, Any], method: str, path: str
) -> dict[str, Any]:
    """The result of a task of which one write is carried out and its answer is lost; it must be truthful."""
    planned = differs(lab, module, task)
    fault = proxy.fault("reset", method=method, path=path, dry_run=False, forwarded=True)
    result = lab.run(module, kubeconfig=proxy.kubeconfig, **task)
    assert fault.hits == 1
    assert not result.get("failed"), result["msg"]
    assert result["changed"] is True
    assert result["diff"] == planned
    return result


# -- the answer to a write is lost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/secrets$"), ("POST", "/configmaps$"), ("PATCH", CONFIG)], ids=lambda value: value
)
def test_of_storage_on_s3(lab: Lab, proxy: ApiProxy, method: str, path: str) -> None:
    """Secret, ConfigMap and Config; the effect is verified as if nothing had happened."""
    options = lab.s3()
    options["trusted_ca"] = {**options["trusted_ca"], "name": f"ca-{uuid.uuid4().hex[:8]}"}
    result = through_a_loss(lab, proxy, "registry_storage", {"backend": "s3", "s3": options}, method, path)
    assert result["verification"]["verdict"] == "done"


def test_of_new_credentials_the_rollout_is_still_proven(lab: Lab, proxy: ApiProxy) -> None:
    """The Secret is there already when the request is repeated, and the Pods do not have it yet all the same."""
    good = lab.s3()
    lab.storage(backend="s3", s3=good)
    lab.delete("secrets", ALAUDA.user_secret)
    rotated = lab.cluster.s3.new_key(f"{good['bucket']}-user")
    task: dict[str, Any] = {
        "backend": "s3",
        "s3": {**good, "access_key": rotated.access_key, "secret_key": rotated.secret_key},
    }
    before = {pod["metadata"]["name"] for pod in lab.pods()}
    through_a_loss(lab, proxy, "registry_storage", task, "POST", "/secrets$")
    assert not before & {pod["metadata"]["name"] for pod in lab.pods() if "deletionTimestamp" not in pod["metadata"]}


def test_of_a_claim(lab: Lab, proxy: ApiProxy) -> None:
    """The server writes the size in its own way."""
    claim = {"claim": f"claim-{uuid.uuid4().hex[:8]}", "create": True, "size": "1024Mi", "storage_class": "lab"}
    task: dict[str, Any] = {"backend": "pvc", "pvc": claim, "rollout_strategy": "Recreate", "wait": False}
    through_a_loss(lab, proxy, "registry_storage", task, "POST", "/persistentvolumeclaims$")


@pytest.mark.parametrize("mode", ["replace", "merge"])
def test_of_a_list_that_is_guarded_against_other_writers(lab: Lab, proxy: ApiProxy, mode: str) -> None:
    """The repeated request is refused (409): the object has changed since it was read, by ourselves."""
    lab.patch({"imagePullSecret": {"additionalRegistryHosts": ["old.example.com"]}})
    task: dict[str, Any] = {"additional_registry_hosts": [f"{mode}.example.com"], "list_mode": mode, "wait": False}
    result = through_a_loss(lab, proxy, "registry_pullsecret", task, "PATCH", CONFIG)
    assert result["config"]["metadata"]["generation"] == lab.config()["metadata"]["generation"]
    assert 409 in [request.status for request in writes(proxy.requests)]


def test_of_a_list_that_another_writer_has_changed_by_then(lab: Lab, proxy: ApiProxy) -> None:
    """Our entry is there, theirs too: planned again there is nothing to write, but it was us who wrote ours."""
    lab.patch({"imagePullSecret": {"additionalRegistryHosts": ["old.example.com"]}})
    task: dict[str, Any] = {"additional_registry_hosts": ["ours.example.com"], "list_mode": "merge", "wait": False}
    planned = differs(lab, "registry_pullsecret", task)
    everybody = ["old.example.com", "ours.example.com", "theirs.example.com"]
    proxy.fault("reset", method="PATCH", path=CONFIG, dry_run=False, forwarded=True)
    proxy.meanwhile(
        lambda: lab.patch({"imagePullSecret": {"additionalRegistryHosts": everybody}}),
        method="PATCH",
        path=CONFIG,
        dry_run=False,
    )
    result = lab.run("registry_pullsecret", kubeconfig=proxy.kubeconfig, **task)
    assert not result.get("failed"), result["msg"]
    assert (result["changed"], result["diff"]) == (True, planned)
    assert lab.config()["spec"]["imagePullSecret"]["additionalRegistryHosts"] == everybody
    assert result["config"]["spec"]["imagePullSecret"]["additionalRegistryHosts"] == everybody


def test_of_the_pruner(lab: Lab, proxy: ApiProxy) -> None:
    """The operator writes the duration in its own way in between."""
    lab.run("image_pruner", suspend=True, keep_younger_than="24h")
    result = through_a_loss(
        lab, proxy, "image_pruner", {"keep_younger_than": "90m", "schedule": "7 7 * * *"}, "PATCH", PRUNER
    )
    assert result["verification"]["verdict"] == "done"


def test_of_a_pruner_that_did_not_exist(lab: Lab, proxy: ApiProxy) -> None:
    """409 AlreadyExists, about our own object."""
    with lab.without_operator():
        lab.client.delete(ALAUDA.pruner_path)
        task = {"schedule": "8 8 * * *", "suspend": True, "wait": False}
        through_a_loss(lab, proxy, "image_pruner", task, "POST", "/imagepruners$")
    lab.run("image_pruner", suspend=True)


@pytest.mark.parametrize("path", [QUOTA, RANGE], ids=["quota", "limits"])
def test_of_limits(lab: Lab, proxy: ApiProxy, path: str) -> None:
    """Created, updated (the quantities are stored in another spelling, the LimitRange is guarded), and removed."""
    teams = [namespace(lab), namespace(lab)]
    for method, words, task in (
        ("POST", "created", LIMITS),
        ("PATCH", "updated", OTHERS),
        ("DELETE", "deleted", {"state": "absent"}),
    ):
        where = rf"/{teams[0]}{path}"
        result = through_a_loss(lab, proxy, "image_limits", {"namespaces": teams, **task}, method, where)
        assert {entry["status"] for entry in result["namespaces"].values()} == {words}
        assert result["verification"]["verdict"] == "done"


def test_of_a_quota_that_is_held_by_a_finalizer(lab: Lab, proxy: ApiProxy) -> None:
    """It is still there when the request is repeated, in another version: 409, by our own deletion."""
    team = namespace(lab)
    lab.run("image_limits", namespaces=[team], quota={"images": 5})
    quota = namespaced(team, "resourcequotas", "image-registry-quota")
    lab.client.patch(quota, {"metadata": {"finalizers": ["example.com/hold"]}})
    through_a_loss(
        lab, proxy, "image_limits", {"namespaces": [team], "state": "absent", "wait": False}, "DELETE", QUOTA
    )
    lab.client.patch(quota, {"metadata": {"finalizers": None}})


def test_of_limits_that_another_writer_has_changed_by_then(lab: Lab, proxy: ApiProxy) -> None:
    """Their entry of another type stays, ours is counted as ours."""
    team = namespace(lab)
    lab.run("image_limits", namespaces=[team], **LIMITS)
    limits = namespaced(team, "limitranges", "image-registry-limits")
    task: dict[str, Any] = {"namespaces": [team], "image": {"storage": "3Gi"}, "wait": False}
    planned = differs(lab, "image_limits", task)

    def add() -> None:
        found = lab.client.get(limits)
        assert found is not None
        theirs = {"type": "PersistentVolumeClaim", "max": {"storage": "5Gi"}}
        lab.client.patch(limits, {"spec": {"limits": [*found["spec"]["limits"], theirs]}})

    proxy.fault("reset", method="PATCH", path=RANGE, dry_run=False, forwarded=True)
    proxy.meanwhile(add, method="PATCH", path=RANGE, dry_run=False)
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, **task)
    assert not result.get("failed"), result["msg"]
    assert (result["changed"], result["diff"]) == (True, planned)
    assert result["namespaces"] == {team: {"status": "updated"}}
    found = lab.client.get(limits)
    assert found is not None
    assert [entry["type"] for entry in found["spec"]["limits"]][-1] == "PersistentVolumeClaim"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", CONFIG), ("PATCH", PRUNER), ("POST", QUOTA), ("POST", RANGE)],
    ids=["config", "pruner", "quota", "limits"],
)
def test_of_one_part_of_the_page(lab: Lab, proxy: ApiProxy, method: str, path: str) -> None:
    """Storage and pull secrets share one patch; every part says what it changed."""
    lab.patch({"imagePullSecret": {"additionalRegistryHosts": ["old.example.com"]}, "disableRedirect": False})
    lab.run("image_pruner", suspend=True, schedule="1 1 * * *")
    task: dict[str, Any] = {
        "registry_storage": {"backend": "emptydir", "disable_redirect": True},
        "registry_pullsecret": {"additional_registry_hosts": [f"{uuid.uuid4().hex[:8]}.example.com"]},
        "image_limits": [{"namespaces": [namespace(lab)], **LIMITS}],
        "image_pruner": {"schedule": "2 2 * * *"},
    }
    result = through_a_loss(lab, proxy, "registry", task, method, path)
    parts = result["parts"]
    everything = [
        parts["registry_storage"],
        parts["registry_pullsecret"],
        *parts["image_limits"],
        parts["image_pruner"],
    ]
    assert [part["changed"] for part in everything] == [True] * 4
    assert {part["verification"]["verdict"] for part in everything} == {"done"}


# -- what became of a write cannot be found out ------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are repeated for a second only."""
    monkeypatch.setattr(client_module, "RETRY_WINDOW", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("module", "task", "path"),
    [
        ("registry_storage", {"backend": "emptydir", "disable_redirect": True}, CONFIG),
        ("registry_pullsecret", {"additional_registry_hosts": ["lost.example.com"]}, CONFIG),
        ("image_pruner", {"schedule": "9 9 * * *"}, PRUNER),
    ],
    ids=["storage", "pull secrets", "pruner"],
)
def test_an_api_server_that_is_gone_after_the_write(
    lab: Lab, proxy: ApiProxy, module: str, task: dict[str, Any], path: str
) -> None:
    """The task does not say that nothing was written."""
    lab.patch({"imagePullSecret": None})
    lab.run("image_pruner", suspend=True, schedule="1 1 * * *")
    proxy.fault("reset", method="PATCH", path=path, dry_run=False, forwarded=True, times=None)
    proxy.meanwhile(
        lambda: proxy.fault("reset", method="GET", path=path, times=None), method="PATCH", path=path, dry_run=True
    )
    result = lab.run(module, kubeconfig=proxy.kubeconfig, **task)
    assert result["failed"]
    assert "Whether it was stored all the same is not known." in result["msg"]
    assert result["changed"] is True


@pytest.mark.usefixtures("impatient")
def test_limits_whose_answer_is_lost_for_good(lab: Lab, proxy: ApiProxy) -> None:
    """The object itself cannot be read either; the others are written."""
    teams = [namespace(lab), namespace(lab)]
    where = rf"/{teams[0]}{QUOTA}"
    proxy.fault("reset", method="POST", path=where, dry_run=False, forwarded=True, times=None)
    proxy.fault("reset", method="GET", path=rf"{where}/.+", watch=False, times=None)
    task: dict[str, Any] = {"namespaces": [*teams, namespace(lab)], "quota": {"images": 5}, "wait": False}
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, **task)
    assert (result["failed"], result["changed"]) == (True, True)
    assert "Whether it was stored all the same is not known." in result["namespaces"][teams[0]]["reason"]
    assert [result["namespaces"][team]["status"] for team in teams] == ["failed", "created"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("method", "path"), [("POST", "/secrets$"), ("PATCH", CONFIG)], ids=["create", "patch"])
def test_a_write_that_was_never_carried_out(lab: Lab, proxy: ApiProxy, method: str, path: str) -> None:
    """503 may mean anything; the object shows that nothing was written."""
    proxy.fault("status", code=503, method=method, path=path, dry_run=False, times=None)
    task: dict[str, Any] = (
        {"backend": "s3", "s3": lab.s3()} if method == "POST" else {"backend": "emptydir", "disable_redirect": True}
    )
    result = lab.run("registry_storage", kubeconfig=proxy.kubeconfig, **task)
    assert result["failed"]
    assert "not known" not in result["msg"]
    assert "HTTP 503" in result["msg"]
    if method == "PATCH":
        assert "Nothing had been written before." in result["msg"]
        assert result["changed"] is False


# -- requests that are repeated, and who is to blame -------------------------------------------------------------------


@pytest.mark.parametrize("code", [500, 503, 429])
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "write"])
def test_a_post_is_repeated(lab: Lab, proxy: ApiProxy, code: int, dry_run: bool) -> None:
    """A dry run creates nothing, and an object that has a name is created once."""
    team = namespace(lab)
    proxy.fault("status", code=code, retry_after=1, method="POST", dry_run=dry_run)
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, namespaces=[team], quota={"images": 5})
    assert not result.get("failed"), result["msg"]
    posts = [request for request in proxy.requests if request.method == "POST"]
    refused = next(number for number, request in enumerate(posts) if request.status == code)
    assert posts[refused + 1].started - posts[refused].started > 0.7
    assert result["changed"] is True


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", [500, 503, 429])
@pytest.mark.parametrize("path", [r"/cronjobs$", PRUNER], ids=["check", "dry run"])
def test_an_api_server_in_trouble_is_not_blamed_on_the_values(lab: Lab, proxy: ApiProxy, code: int, path: str) -> None:
    """Who answered is reported apart from what was asked."""
    lab.run("image_pruner", suspend=True, schedule="1 1 * * *")
    proxy.fault("status", code=code, path=path, dry_run=True, times=None)
    result = lab.run("image_pruner", kubeconfig=proxy.kubeconfig, schedule="3 3 * * *")
    assert (result["failed"], result["changed"]) == (True, False)
    assert "not valid" not in result["msg"]
    assert "refused the change" not in result["msg"]
    assert result["msg"].startswith("Nothing was written. ")
    assert f"HTTP {code}" in result["msg"]
    assert "This says nothing about the values" in result["msg"]
    assert writes(proxy.requests) == []


# -- image_limits: all or nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False], ids=["check", "real"])
def test_limits_of_which_one_is_refused_are_not_written_at_all(lab: Lab, proxy: ApiProxy, check: bool) -> None:
    """Half an image cannot be counted; the LimitRanges would be fine."""
    teams = [namespace(lab) for _number in range(3)]
    task: dict[str, Any] = {"namespaces": teams, "quota": {"images": "1.5"}, "image": {"storage": "1Gi"}}
    result = lab.run("image_limits", check=check, kubeconfig=proxy.kubeconfig, **task)
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["msg"].startswith("Nothing was written. ")
    assert "must be an integer" in result["msg"]
    assert writes(proxy.requests) == []


def test_one_dry_run_for_each_distinct_content(lab: Lab, proxy: ApiProxy) -> None:
    """Not one for each namespace: three without limits, two whose quota differs, one whose LimitRange has more."""
    teams = [namespace(lab) for _number in range(6)]
    lab.run("image_limits", namespaces=teams[3:5], quota={"images": 4})
    lab.run("image_limits", namespaces=teams[5:], image={"storage": "9Gi"})
    task: dict[str, Any] = {"namespaces": teams, "wait": False, **LIMITS}
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, **task)
    assert not result.get("failed"), result["msg"]
    tried = [request for request in proxy.requests if request.query.get("dryRun") == "All"]
    kinds = sorted((request.method, request.path.split("/")[5]) for request in tried)
    assert kinds == [
        ("PATCH", "limitranges"),
        ("PATCH", "resourcequotas"),
        ("POST", "limitranges"),
        ("POST", "resourcequotas"),
    ]
    assert len(writes(proxy.requests)) == 12


@pytest.mark.parametrize("dry_run", [True, None], ids=["dry run only", "write too"])
def test_a_namespace_that_refuses_does_not_stop_the_others(lab: Lab, proxy: ApiProxy, dry_run: bool | None) -> None:
    """The first one, where the content is tried first."""
    teams = [namespace(lab) for _number in range(3)]
    path = rf"/namespaces/{teams[0]}/resourcequotas"
    proxy.fault("status", code=403, method="POST", path=path, dry_run=dry_run, times=None)
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, namespaces=teams, wait=False, **LIMITS)
    assert result.get("failed", False) is (dry_run is None)
    assert [result["namespaces"][team]["status"] for team in teams[1:]] == ["created", "created"]
    assert result["namespaces"][teams[0]]["status"] == ("failed" if dry_run is None else "created")


def test_a_right_that_is_missing_everywhere_is_found_before_anything_is_written(lab: Lab, proxy: ApiProxy) -> None:
    """Quotas may be created, LimitRanges may not."""
    teams = [namespace(lab) for _number in range(3)]
    proxy.fault("status", code=403, method="POST", path=RANGE, times=None)
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, namespaces=teams, **LIMITS)
    assert (result["failed"], result["changed"]) == (True, False)
    assert "not allowed (403)" in result["msg"]
    assert writes(proxy.requests) == []


def test_check_mode_names_the_namespace_that_would_fail(lab: Lab, proxy: ApiProxy) -> None:
    """And does not claim that anything has been done."""
    teams = [namespace(lab) for _number in range(3)]
    proxy.fault("status", code=403, method="POST", path=rf"/namespaces/{teams[1]}/resourcequotas", times=None)
    result = lab.run("image_limits", check=True, kubeconfig=proxy.kubeconfig, namespaces=teams, **LIMITS)
    assert result["failed"]
    assert result["msg"].startswith(f"1 of 6 objects could not be written. {teams[1]}: ")
    assert "done" not in result["msg"]


# -- what is deleted while the task is under way -----------------------------------------------------------------------


def held(lab: Lab, team: str) -> str:
    """Keep a namespace from being gone once it is deleted; returns the path of what holds it."""
    path = namespaced(team, "configmaps")
    metadata = {"name": "held", "finalizers": ["example.com/hold"]}
    lab.client.create(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    return f"{path}/held"


@pytest.mark.parametrize("dry_run", [True, False], ids=["before", "after"])
def test_a_namespace_that_is_deleted_meanwhile(lab: Lab, proxy: ApiProxy, dry_run: bool) -> None:
    """Between the dry run and the write, and after the write: named as what it is, long before the timeout."""
    team = namespace(lab)
    hold = held(lab, team)

    def end() -> None:
        lab.client.delete(f"/api/v1/namespaces/{team}")
        lab.client.delete(namespaced(team, "resourcequotas", "image-registry-quota"))  # as its controller soon does

    proxy.meanwhile(end, method="POST", path=QUOTA, dry_run=dry_run, forwarded=True)
    task: dict[str, Any] = {"namespaces": [team], "quota": {"images": 5}, "wait_timeout": 120}
    result = lab.run("image_limits", kubeconfig=proxy.kubeconfig, **task)
    lab.client.patch(hold, {"metadata": {"finalizers": None}})
    assert result["failed"]
    assert "being deleted" in result["msg"]
    assert "Grant" not in result["msg"]
    assert "wait_timeout" not in result["msg"]
    assert result["changed"] is not dry_run


@pytest.mark.parametrize(
    ("module", "task", "path", "collection"),
    [
        ("image_pruner", {"schedule": "4 4 * * *", "suspend": True}, ALAUDA.pruner_path, "/imagepruners$"),
        ("registry_pullsecret", {"additional_registry_hosts": ["x.example.com"]}, ALAUDA.config_path, "/configs$"),
    ],
    ids=["pruner", "config"],
)
def test_an_object_that_is_deleted_and_made_again(
    lab: Lab, proxy: ApiProxy, module: str, task: dict[str, Any], path: str, collection: str
) -> None:
    """The new one begins at generation 1, below that of our write, and without our values."""
    for number in range(3):
        lab.client.patch(
            path, {"spec": {"operatorLogLevel" if "configs" in path else "logLevel": ("Debug", "Trace")[number % 2]}}
        )
    with lab.without_operator():

        def again() -> None:
            lab.client.delete(path)
            lab.cluster.launch("operator")

        proxy.meanwhile(again, path=collection, watch=True)
        result = lab.run(module, kubeconfig=proxy.kubeconfig, wait_timeout=120, **task)
    assert result["failed"]
    assert result["verification"]["reason"] == "SpecChanged"
    assert "was deleted after our write, and recreated without it" in result["msg"]
    lab.run("image_pruner", suspend=True)
    lab.settle()


# -- a CronJob that would not be taken ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ({"node_selector": {"not a label!": "x"}}, "nodeSelector"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "not with Exists"}]}, "tolerations"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "requests"),
        (
            {
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
                }
            },
            "nodeSelectorTerms",
        ),
    ],
    ids=["node_selector", "tolerations", "resources", "affinity"],
)
def test_what_no_cronjob_takes_is_not_written(lab: Lab, proxy: ApiProxy, task: dict[str, Any], named: str) -> None:
    """The operator would store it, and keep the old CronJob."""
    result = lab.run("image_pruner", kubeconfig=proxy.kubeconfig, **task)
    assert result["failed"]
    assert result["msg"].startswith("Nothing was written. ")
    assert named in result["msg"]
    assert writes(proxy.requests) == []


# -- one clock ---------------------------------------------------------------------------------------------------------


def test_reading_and_writing_count_as_time_of_the_task(lab: Lab, proxy: ApiProxy) -> None:
    """Five requests at 0.7 s before the wait; without the operator the schedule never takes effect."""
    lab.run("image_pruner", suspend=True, schedule="1 1 * * *")
    proxy.fault("slow", delay=0.7, watch=False, times=None)
    with lab.without_operator():
        result = lab.run("image_pruner", kubeconfig=proxy.kubeconfig, schedule="6 6 * * *", wait_timeout=9)
    assert result["failed"]
    assert result["verification"]["reason"] == "Timeout"
    assert result["verification"]["seconds"] < 8.0
    assert "(reading and writing had taken " in result["msg"]


def test_limits_are_waited_for_as_long_as_they_progress(lab: Lab) -> None:
    """A quota controller that takes 3 s for each namespace, which the test plays itself, and 6 s to wait."""
    teams = [namespace(lab) for _number in range(3)]
    over, wrong = threading.Event(), []

    def count() -> None:
        for team in teams:
            quota = namespaced(team, "resourcequotas", "image-registry-quota")
            while not over.wait(3.0):
                found = lab.client.get(quota)
                if found is not None:
                    hard = {**found["spec"]["hard"]}
                    lab.client.patch(f"{quota}/status", {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}})
                    break

    def play() -> None:
        try:
            count()
        except Exception as error:
            wrong.append(error)

    lab.cluster.kill("kube-controller-manager")
    controller = threading.Thread(target=play)
    controller.start()
    try:
        result = lab.run("image_limits", namespaces=teams, quota={"images": 5}, wait_timeout=6)
    finally:
        over.set()
        controller.join()
        lab.cluster.launch("kube-controller-manager")
    assert not wrong
    assert not result.get("failed"), result["msg"]
    assert result["verification"]["seconds"] > 6.0
    states = [entry["state"] for entry in result["verification"]["timeline"]]
    assert any("more each second, about " in state for state in states), states


# -- the write probe ---------------------------------------------------------------------------------------------------


def test_an_upload_that_cannot_be_finished_is_cancelled(lab: Lab, proxy: ApiProxy) -> None:
    """The registry would keep what was begun for a week."""
    uploads = r"/blobs/uploads/"
    proxy.fault("status", code=503, method="PUT", path=uploads)
    result = lab.storage(kubeconfig=proxy.kubeconfig, backend="emptydir", probe="write")
    assert not result.get("failed"), result["msg"]
    sent = [(request.method, request.status) for request in proxy.requests if "/blobs/uploads/" in request.path]
    assert sent == [("POST", 202), ("PUT", 503), ("DELETE", 204), ("POST", 202), ("PUT", 201)]
