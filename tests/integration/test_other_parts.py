# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_pullsecret, image_limits and image_pruner on the embedded cluster."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import client as client_module
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import NAMESPACE, Lab, writes
from tests.integration.test_registry_storage import ok

pytestmark = pytest.mark.cluster

CRONJOB = namespaced(NAMESPACE, "cronjobs", ALAUDA.cronjob, api="/apis/batch/v1")
RETENTION: dict[str, Any] = {"keep_tag_revisions": 3, "keep_younger_than": "60m"}
LIMITS: dict[str, Any] = {
    "quota": {"imagestreams": 20, "images": 200, "image_tags": 200},
    "image": {"storage": "1Gi"},
    "image_stream": {"images": 100, "image_tags": 100},
}


def namespace(lab: Lab, labels: dict[str, str] | None = None) -> str:
    """A new namespace."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
    lab.client.create("/api/v1/namespaces", body)
    return name


def hosts(lab: Lab) -> list[str]:
    """The hosts the Config holds."""
    return list(lab.config()["spec"].get("imagePullSecret", {}).get("additionalRegistryHosts") or [])


# -- registry_pullsecret -----------------------------------------------------------------------------------------------


def test_the_page_s_recipe_and_a_second_run(lab: Lab, proxy: ApiProxy) -> None:
    """Values are stored; a second run, in another order and with duplicates, costs one request."""
    task: dict[str, Any] = {
        "management_state": "Managed",
        "additional_registry_hosts": ["registry.example.com", "registry.example.com:8443"],
        "ignored_namespaces": ["kube-public"],
        "ignore_system_namespaces": True,
    }
    lab.patch({"imagePullSecret": None})
    first = ok(lab.run("registry_pullsecret", **task))
    assert first["changed"] is True
    assert first["config"]["spec"]["imagePullSecret"]["ignoredNamespaces"] == ["kube-public"]
    reordered = ["registry.example.com:8443", "registry.example.com", "registry.example.com"]
    again = ok(
        lab.run(
            "registry_pullsecret", kubeconfig=str(proxy.kubeconfig), **{**task, "additional_registry_hosts": reordered}
        )
    )
    assert again["changed"] is False
    assert again["verification"]["verdict"] == "done"
    assert len(proxy.requests) == 1


def test_replacing_reports_what_was_dropped(lab: Lab) -> None:
    """As the page says, the array fields replace the current arrays."""
    ok(lab.run("registry_pullsecret", additional_registry_hosts=["a.example.com", "b.example.com"]))
    result = ok(lab.run("registry_pullsecret", additional_registry_hosts=["b.example.com"]))
    assert result["dropped"] == ["additionalRegistryHosts: a.example.com"]
    ok(lab.run("registry_pullsecret", additional_registry_hosts=["c.example.com"], list_mode="merge"))
    assert hosts(lab) == ["b.example.com", "c.example.com"]
    ok(lab.run("registry_pullsecret", additional_registry_hosts=["b.example.com"], list_mode="remove"))
    assert hosts(lab) == ["c.example.com"]


def test_twenty_writers_each_add_a_host(lab: Lab) -> None:
    """Separate processes, all at once: no host is lost."""
    ok(lab.run("registry_pullsecret", additional_registry_hosts=[]))
    wanted = [f"r{number}.example.com" for number in range(20)]
    script = (
        "import json, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.alauda.image_registry.plugins.modules.registry_pullsecret import main\n"
        "with patch_module_args(json.loads(sys.argv[1])):\n"
        "    main()\n"
    )

    def add(host: str) -> str:
        arguments = {"kubeconfig": lab.kubeconfig, "additional_registry_hosts": [host], "list_mode": "merge"}
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": "tests/collections", "PATH": "/usr/bin:/bin"},
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    with ThreadPoolExecutor(20) as pool:
        assert [failure for failure in pool.map(add, wanted) if failure] == []
    assert sorted(hosts(lab)) == sorted(wanted)


def test_bad_hosts_are_refused_together(lab: Lab, proxy: ApiProxy) -> None:
    """Nothing is written."""
    result = lab.run(
        "registry_pullsecret",
        kubeconfig=str(proxy.kubeconfig),
        additional_registry_hosts=["https://a.example.com", "b.example.com/x", "good.example.com"],
    )
    assert result["failed"]
    assert "a.example.com" in result["msg"]
    assert "b.example.com/x" in result["msg"]
    assert "good" not in result["msg"]
    assert writes(proxy.requests) == []


def test_namespaces_really_have_their_pull_secrets(lab: Lab) -> None:
    """The operator adds them later, so the task waits; ignored namespaces have none; a missing account is a gap."""
    served, ignored = namespace(lab, {"lab": "pull"}), namespace(lab, {"lab": "pull"})
    result = ok(
        lab.run(
            "registry_pullsecret",
            management_state="Managed",
            ignored_namespaces=[ignored],
            verify_namespaces=[served],
            verify_namespace_selector="lab=pull",
        )
    )
    assert result["verification"]["gaps"] == []
    assert "2 namespaces" in result["verification"]["summary"]
    missing = lab.run(
        "registry_pullsecret",
        verify_namespaces=[served, "not-there"],
        verify_service_accounts=["builder"],
        wait_timeout=3,
    )
    assert missing["failed"]
    assert {(gap["namespace"], gap["service_account"]) for gap in missing["verification"]["gaps"]} == {
        (served, "builder"),
        ("not-there", ""),
    }


# -- image_pruner ------------------------------------------------------------------------------------------------------


def test_the_cronjob_has_the_schedule(lab: Lab, proxy: ApiProxy) -> None:
    """The page's recipe, seen in the CronJob; nothing to change costs two requests."""
    ok(lab.run("image_pruner", suspend=True))
    task: dict[str, Any] = {
        "schedule": "30 2 * * 6",
        "suspend": False,
        "keep_tag_revisions": 0,
        "keep_younger_than": "72h",
    }
    ok(lab.run("image_pruner", **task))
    cronjob = lab.client.get(CRONJOB)
    assert cronjob is not None
    assert (cronjob["spec"]["schedule"], cronjob["spec"]["suspend"]) == ("30 2 * * 6", False)
    args = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--keep-tag-revisions=0", "--keep-younger-than=72h0m0s"} <= set(args)
    again = ok(lab.run("image_pruner", kubeconfig=str(proxy.kubeconfig), **{**task, "keep_younger_than": "4320m"}))
    assert again["changed"] is False
    assert again["verification"]["verdict"] == "done"
    assert len(proxy.requests) <= 2


@pytest.mark.parametrize("schedule", ["*/0 * * * *", "every night", "0 0 * *", "61 0 * * *"])
def test_a_bad_schedule_is_refused_by_the_api_server_itself(lab: Lab, proxy: ApiProxy, schedule: str) -> None:
    """The operator would accept it and keep the old CronJob."""
    result = lab.run("image_pruner", kubeconfig=str(proxy.kubeconfig), schedule=schedule)
    assert result["failed"]
    assert schedule in result["msg"]
    assert writes(proxy.requests) == []


def test_starting_to_prune_needs_the_retention(lab: Lab) -> None:
    """The page: confirm the retention policy before enabling the schedule."""
    ok(lab.run("image_pruner", suspend=True))
    refused = lab.run("image_pruner", suspend=False)
    assert refused["failed"]
    assert "keep_tag_revisions and keep_younger_than" in refused["msg"]
    ok(lab.run("image_pruner", suspend=False, **RETENTION))
    absent = lab.run("image_pruner", state="absent")
    assert absent["failed"]
    assert "suspend: true" in absent["msg"]


CONTAINER = "/spec/jobTemplate/spec/template/spec/containers/0"
EDITS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "suspended jobs": (
        [{"op": "add", "path": "/spec/jobTemplate/spec/suspend", "value": True}],
        "Jobs that are created suspended",
    ),
    "another argument": (
        [{"op": "add", "path": f"{CONTAINER}/args/-", "value": "--keep-tag-revisions=1"}],
        "the argument --keep-tag-revisions=1",
    ),
    "an unknown argument": (
        [{"op": "add", "path": f"{CONTAINER}/args/-", "value": "--all=false"}],
        "args written by kubectl-patch",
    ),
    "another command": (
        [{"op": "replace", "path": f"{CONTAINER}/command", "value": ["/bin/true"]}],
        "command written by kubectl-patch",
    ),
    "another schedule": ([{"op": "replace", "path": "/spec/schedule", "value": "1 1 1 1 *"}], "schedule '1 1 1 1 *'"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_cronjob_that_somebody_edited_is_never_done(lab: Lab, edit: str) -> None:
    """The operator does not undo it (operator fact 3.4.3); what differs is named, and the remedy heals."""
    task: dict[str, Any] = {"schedule": "30 2 * * 6", "suspend": False, "log_level": "Debug", **RETENTION}
    ok(lab.run("image_pruner", **task))
    patch, named = EDITS[edit]
    kubectl = ("-n", NAMESPACE, "cronjob", ALAUDA.cronjob)
    lab.cluster.kubectl("patch", *kubectl, "--type=json", "-p", json.dumps(patch))
    result = lab.run("image_pruner", **task)
    assert result["failed"]
    assert (result["changed"], result["verification"]["reason"]) == (False, "CronJobDiffers")
    assert named in result["msg"]
    assert "wait_timeout" not in result["msg"]
    assert f"kubectl -n {NAMESPACE} delete cronjob {ALAUDA.cronjob}" in result["verification"]["remedy"]
    lab.cluster.kubectl("delete", *kubectl)
    assert ok(lab.run("image_pruner", **task))["changed"] is False


def test_an_image_of_the_site_s_own_mirror_is_left_to_the_operator(lab: Lab) -> None:
    """Where the image comes from says nothing about what is pruned."""
    task: dict[str, Any] = {"schedule": "30 2 * * 6", "suspend": False, **RETENTION}
    ok(lab.run("image_pruner", **task))
    patch = [{"op": "replace", "path": f"{CONTAINER}/image", "value": "mirror.example.com/tools:v1"}]
    kubectl = ("-n", NAMESPACE, "cronjob", ALAUDA.cronjob)
    lab.cluster.kubectl("patch", *kubectl, "--type=json", "-p", json.dumps(patch))
    ok(lab.run("image_pruner", **task))
    lab.cluster.kubectl("delete", *kubectl)


def test_a_deleted_pruner_is_restored(lab: Lab) -> None:
    """The operator creates a new one with defaults; the task restores the requested values."""
    ok(lab.run("image_pruner", schedule="1 1 * * *", suspend=False, **RETENTION))
    lab.client.delete(ALAUDA.pruner_path)
    result = ok(lab.run("image_pruner", schedule="1 1 * * *", suspend=False, **RETENTION))
    assert result["pruner"]["spec"]["schedule"] == "1 1 * * *"


# -- image_limits ------------------------------------------------------------------------------------------------------


def test_limits_for_a_list_a_second_run_and_removal(lab: Lab) -> None:
    """The page's objects; what no controller counts is reported; only what the collection created is removed."""
    teams = [namespace(lab) for _number in range(3)]
    first = ok(lab.run("image_limits", namespaces=teams, **LIMITS))
    assert {entry["status"] for entry in first["namespaces"].values()} == {"created"}
    assert len([text for text in first["warnings"] if "no controller of this cluster counts these keys" in text]) == 1
    assert ok(lab.run("image_limits", namespaces=teams, **LIMITS))["changed"] is False
    byhand = namespaced(teams[0], "limitranges", "image-registry-limits")
    lab.client.patch(byhand, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    gone = ok(lab.run("image_limits", namespaces=teams, state="absent"))
    assert gone["verification"]["summary"] == (
        "2 of 3 namespaces are without the limits; 1 object that was not made by this collection stays"
    )
    assert gone["namespaces"][teams[1]]["status"] == "deleted"
    assert lab.client.get(byhand) is not None
    ok(lab.run("image_limits", namespaces=teams, state="absent", adopt=True))
    assert lab.client.get(byhand) is None


@pytest.mark.parametrize("number", [1, 3])
def test_a_stricter_object_of_somebody_else_is_named(lab: Lab, proxy: ApiProxy, number: int) -> None:
    """The smallest maximum counts, whoever set it; naming it costs no request."""
    teams = [namespace(lab) for _number in range(number)]
    entry = {"type": "alauda.io/Image", "max": {"storage": "1Mi"}}
    for kind, resource, spec in (
        ("LimitRange", "limitranges", {"limits": [entry]}),
        ("ResourceQuota", "resourcequotas", {"hard": {"alauda.io/images": "7", "pods": "1"}}),
    ):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "by-hand"}, "spec": spec}
        lab.client.create(namespaced(teams[0], resource), body)
    task: dict[str, Any] = {"namespaces": teams, "quota": {"images": 9}, "image": {"storage": "1Gi"}}
    expected = (
        "Other objects of these namespaces limit more, and the smallest maximum counts: "
        f"{teams[0]}: LimitRange by-hand has alauda.io/Image storage 1Mi, not 1Gi. "
        f"{teams[0]}: ResourceQuota by-hand has alauda.io/images 7, not 9."
    )
    assert expected in ok(lab.run("image_limits", **task))["warnings"]
    again = ok(lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), **task))
    assert expected in again["warnings"]
    assert (again["changed"], len(proxy.requests)) == (False, 3)
    lower = {**task, "quota": {"images": 7}, "image": {"storage": "1048576"}}
    assert not [text for text in ok(lab.run("image_limits", **lower))["warnings"] if "limit more" in text]


def test_limits_of_one_namespace_need_no_right_to_list(lab: Lab, proxy: ApiProxy) -> None:
    """Then objects of somebody else are not looked at."""
    team = namespace(lab)
    task: dict[str, Any] = {"namespaces": [team], "image": {"storage": "1Gi"}}
    ok(lab.run("image_limits", **task))
    proxy.fault("status", code=403, method="GET", path=r"/limitranges$", times=None)
    assert ok(lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), **task))["changed"] is False


def test_limits_held_by_a_finalizer_are_not_reported_as_absent(lab: Lab) -> None:
    """A quota with a finalizer stays in force after its deletion; a second run must not report it as absent either."""
    team = namespace(lab)
    quota = namespaced(team, "resourcequotas", "image-registry-quota")
    ok(lab.run("image_limits", namespaces=[team], quota={"images": 5}))
    lab.client.patch(quota, {"metadata": {"finalizers": ["example.com/hold"]}})
    for changed in (True, False):
        result = lab.run("image_limits", namespaces=[team], state="absent", wait_timeout=2)
        assert (result["failed"], result["changed"]) == (True, changed)
        assert "the ResourceQuota is being deleted" in result["msg"]
    lab.client.patch(quota, {"metadata": {"finalizers": None}})
    assert ok(lab.run("image_limits", namespaces=[team], state="absent"))["changed"] is False


def test_a_selector_that_matches_nothing_is_reported(lab: Lab) -> None:
    """Otherwise a spelling mistake in it would look like success."""
    result = ok(lab.run("image_limits", namespace_selector="lab=of-nobody", **LIMITS))
    assert result["namespaces"] == {}
    assert any("'lab=of-nobody' matches none" in text for text in result["warnings"])


def test_namespaces_that_do_not_exist_are_all_named(lab: Lab, proxy: ApiProxy) -> None:
    """Before anything is written."""
    there = namespace(lab)
    result = lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), namespaces=[there, "nope-1", "nope-2"], **LIMITS)
    assert result["failed"]
    assert "nope-1, nope-2" in result["msg"]
    assert writes(proxy.requests) == []


def test_one_failing_namespace_does_not_stop_the_others(lab: Lab, proxy: ApiProxy) -> None:
    """The others are done; the task fails at the end and names the reason."""
    teams = [namespace(lab) for _number in range(4)]
    proxy.fault("status", code=403, method="POST", path=rf"/namespaces/{teams[1]}/resourcequotas", times=None)
    result = lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), namespaces=teams, **LIMITS)
    assert result["failed"]
    assert result["changed"] is True
    assert {name for name, entry in result["namespaces"].items() if entry["status"] == "failed"} == {teams[1]}
    assert teams[1] in result["msg"]


def test_a_conflict_is_decided_again(lab: Lab, proxy: ApiProxy) -> None:
    """Somebody else edits the LimitRange between our read and our write: their entry stays."""
    team = namespace(lab)
    ok(lab.run("image_limits", namespaces=[team], **LIMITS))
    proxy.fault("status", code=409, method="PATCH", path=r"/limitranges/", times=2)
    ok(lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), namespaces=[team], image={"storage": "2Gi"}))
    found = lab.client.get(namespaced(team, "limitranges", "image-registry-limits"))
    assert found is not None
    assert found["spec"]["limits"][0]["max"]["storage"] == "2Gi"


def test_limits_in_check_mode_write_nothing(lab: Lab, proxy: ApiProxy) -> None:
    """A dry run has the same diff as the real run."""
    team = namespace(lab)
    check = ok(lab.run("image_limits", check=True, kubeconfig=str(proxy.kubeconfig), namespaces=[team], **LIMITS))
    assert check["changed"] is True
    assert writes(proxy.requests) == []
    real = ok(lab.run("image_limits", namespaces=[team], **LIMITS))
    assert check["diff"] == real["diff"]


def test_a_quota_that_no_controller_processes(lab: Lab, proxy: ApiProxy) -> None:
    """A wait without events requests nothing, times out, and reports what it saw; later success is reported at once."""
    team = namespace(lab)
    task: dict[str, Any] = {"namespaces": [team], **LIMITS}
    lab.cluster.kill("kube-controller-manager")
    try:
        result = lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), wait_timeout=6, **task)
    finally:
        lab.cluster.launch("kube-controller-manager")
    assert result["failed"]
    assert result["changed"] is True
    assert "status.hard does not hold" in result["msg"]
    assert "status.hard does not hold" in result["verification"]["timeline"][0]["state"]
    requests = [f"{request.method} {request.path}" for request in proxy.requests]
    assert len(requests) <= 11, requests  # namespace, two objects, two dry runs, two writes, two lists, two watches
    again = ok(lab.run("image_limits", **task))
    assert again["changed"] is False
    assert again["verification"]["timeline"][-1]["state"] == "1 of 1 namespaces hold the limits"


def test_sixty_namespaces_cost_no_request_each(lab: Lab, proxy: ApiProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lists in two pages each, as 1,000 namespaces take at the real page size."""
    for _number in range(60):
        namespace(lab, {"lab": "many"})
    task: dict[str, Any] = {"namespace_selector": "lab=many", **LIMITS}
    first = ok(lab.run("image_limits", **task))
    assert len(first["namespaces"]) == 60
    assert ok(lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), **task))["changed"] is False
    assert len(proxy.requests) == 3
    proxy.reset()
    monkeypatch.setattr(client_module, "PAGE", 31)
    assert ok(lab.run("image_limits", kubeconfig=str(proxy.kubeconfig), **task))["changed"] is False
    lists = [request for request in proxy.requests if request.method == "GET"]
    # Two pages of namespaces; the objects include those in namespaces of other tests, and of others: they limit too.
    sizes = [
        len(lab.client.list("/api/v1/namespaces", label_selector="lab=many")[0]),
        len(lab.client.list("/api/v1/resourcequotas")[0]),
        len(lab.client.list("/api/v1/limitranges")[0]),
    ]
    assert sizes[0] == 60
    assert len(lists) == len(proxy.requests) == sum(math.ceil(size / 31) for size in sizes)
    assert {request.query.get("limit") for request in lists} == {"31"}
