# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `registry`: the vendor's page as one task, configured and verified."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.integration.conftest import NAMESPACE, Lab, writes

pytestmark = pytest.mark.cluster

RETENTION = {"keep_tag_revisions": 3, "keep_younger_than": "60m"}


def ok(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that must not fail."""
    assert not result.get("failed"), result["msg"]
    return result


def page(lab: Lab, **other: Any) -> dict[str, Any]:
    """The page's recipes for a new claim and two new namespaces; `other` replaces parts."""
    teams = [f"page-{uuid.uuid4().hex[:8]}" for _number in range(2)]
    for team in teams:
        lab.client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}})
    return {
        "registry_storage": {
            "backend": "pvc",
            "pvc": {"claim": f"page-{uuid.uuid4().hex[:8]}", "create": True, "size": "1Gi", "storage_class": "lab"},
            "replicas": 1,
        },
        "registry_pullsecret": {"management_state": "Managed", "additional_registry_hosts": ["registry.example.com"]},
        "image_limits": [
            {"namespaces": teams[:1], "quota": {"images": 200}},
            {"namespaces": teams[1:], "image": {"storage": "1Gi"}},
        ],
        "image_pruner": {"schedule": "15 2 * * *", "suspend": False, **RETENTION},
        **other,
    }


def test_the_whole_page_is_configured_and_a_second_run_only_reads(lab: Lab, proxy: ApiProxy) -> None:
    """One task, one summary line per part; Config is read once although two parts need it."""
    task = page(lab)
    first = ok(lab.run("registry", **task))
    assert first["changed"] is True
    assert list(first["parts"]) == ["registry_storage", "registry_pullsecret", "image_limits", "image_pruner"]
    assert [line.split(": ")[:2] for line in first["summary"]] == [
        ["registry_storage", "done"],
        ["registry_pullsecret", "done"],
        ["image_limits[0]", "done"],
        ["image_limits[1]", "done"],
        ["image_pruner", "done"],
    ]
    assert "Config/cluster" in str(first["diff"]["after"])
    proxy.reset()
    again = ok(lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task))
    assert again["changed"] is False
    assert {part["verification"]["verdict"] for part in _parts(again)} == {"done"}
    seen = [f"{item.method} {item.path}" for item in proxy.requests]
    assert {item.method for item in proxy.requests} == {"GET"}, seen
    assert len([one for one in seen if one.endswith("/configs/cluster")]) == 1, seen
    # Config, Deployments, claim, probe; two namespaces, a quota, a limit range; ImagePruner, CronJob.
    assert len(seen) <= 10, seen


def test_with_nothing_to_change_the_whole_page_takes_eight_requests(lab: Lab, proxy: ApiProxy) -> None:
    """Counted at the wire: emptydir, pull secrets, the quotas of two namespaces, and the pruner."""
    task = page(lab, registry_storage={"backend": "emptydir", "replicas": 1, "on_backend_change": "allow"})
    teams = [name for group in task["image_limits"] for name in group["namespaces"]]
    task["image_limits"] = [{"namespaces": teams, "quota": {"images": 200}}]
    ok(lab.run("registry", **task))
    proxy.reset()
    again = ok(lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task))
    assert again["changed"] is False
    assert {part["verification"]["verdict"] for part in _parts(again)} == {"done"}
    seen = [f"{item.method} {item.path}" for item in proxy.requests]
    # Config, Deployments, probe; namespaces, two quotas; ImagePruner, CronJob.
    assert len(seen) <= 8, seen


def _parts(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for part in result["parts"].values() for one in (part if isinstance(part, list) else [part])]


def test_two_parts_that_patch_config_share_one_request(lab: Lab, proxy: ApiProxy) -> None:
    """The operator could lose the second of two (operator fact 2.3); a list edit's resourceVersion guards both."""
    task = page(lab)
    task["registry_pullsecret"] = {
        "management_state": "Managed",
        "additional_registry_hosts": [f"{uuid.uuid4().hex[:8]}.example.com"],
        "list_mode": "merge",
    }
    result = ok(lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task))
    assert result["parts"]["registry_storage"]["changed"] is True
    assert result["parts"]["registry_pullsecret"]["changed"] is True
    patches = [item for item in writes(proxy.requests) if item.path == ALAUDA.config_path]
    assert [item.method for item in patches] == ["PATCH"]
    spec = lab.config()["spec"]
    assert spec["storage"]["pvc"] == {"claim": task["registry_storage"]["pvc"]["claim"]}
    assert set(task["registry_pullsecret"]["additional_registry_hosts"]) <= set(
        spec["imagePullSecret"]["additionalRegistryHosts"]
    )


def test_somebody_else_patches_config_between_the_look_and_the_write(lab: Lab, proxy: ApiProxy) -> None:
    """The shared request is refused (409), both parts decide again, and nobody loses anything."""
    task = page(lab)
    task["registry_pullsecret"] = {"additional_registry_hosts": ["mine.example.com"], "list_mode": "merge"}
    proxy.meanwhile(
        lambda: lab.patch({"imagePullSecret": {"additionalRegistryHosts": ["theirs.example.com"]}}),
        method="PATCH",
        path="/configs/cluster$",
        dry_run=False,
    )
    ok(lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task))
    hosts = lab.config()["spec"]["imagePullSecret"]["additionalRegistryHosts"]
    assert {"mine.example.com", "theirs.example.com"} <= set(hosts)


def test_a_refusal_by_one_part_leaves_nothing_half_done(lab: Lab, proxy: ApiProxy) -> None:
    """Every finding of every part is listed with the part's name."""
    ok(lab.run("image_pruner", suspend=True))
    task = page(lab, image_pruner={"suspend": False}, image_limits=[{"namespaces": ["nope"], "quota": {"images": 1}}])
    task["registry_pullsecret"]["additional_registry_hosts"] = ["https://x"]
    result = lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task)
    assert result["failed"]
    assert result["msg"].startswith("Nothing was written. (1) registry_pullsecret: ")
    assert "(2) image_limits: These namespaces do not exist" in result["msg"]
    assert "(3) image_pruner: " in result["msg"]
    assert writes(proxy.requests) == []


def test_what_only_the_api_server_can_check_names_its_part_too(lab: Lab, proxy: ApiProxy) -> None:
    """An invalid schedule shows only in a dry run; nothing is written for any part."""
    task = page(lab, image_pruner={"schedule": "every night", "suspend": True})
    result = lab.run("registry", kubeconfig=str(proxy.kubeconfig), **task)
    assert result["failed"]
    assert "image_pruner: The schedule 'every night' is not valid" in result["msg"]
    assert writes(proxy.requests) == []


def test_a_part_that_fails_does_not_hide_what_the_others_achieved(lab: Lab) -> None:
    """The registry's Pods crash; pull secrets, limits and pruner are done nevertheless."""
    task = page(lab)
    lab.annotate_nodes(fault="crash-loop")
    result = lab.run("registry", wait_timeout=120, **task)
    assert result["failed"]
    assert result["changed"] is True
    assert "registry_storage: The change was stored, but it did not take effect" in result["msg"]
    assert [line.split(": ")[:2] for line in result["summary"]] == [
        ["registry_storage", "failed"],
        ["registry_pullsecret", "done"],
        ["image_limits[0]", "done"],
        ["image_limits[1]", "done"],
        ["image_pruner", "done"],
    ]


def test_an_api_server_that_does_not_answer_fails_once(lab: Lab) -> None:
    """One message after one window, not one for each part."""
    started = time.monotonic()
    result = lab.run("registry", kubeconfig=None, host="https://127.0.0.1:1", api_key="nobody", **page(lab))
    assert result["failed"]
    assert result["msg"].count("No answer from the API server") == 1
    assert time.monotonic() - started < 40


def test_verify_lists_every_difference_and_cannot_write(lab: Lab, proxy: ApiProxy) -> None:
    """Fields as they are and as they should be; what does not differ is verified."""
    task = page(lab)
    ok(lab.run("registry", **task))
    verified = ok(lab.run("registry", kubeconfig=str(proxy.kubeconfig), mode="verify", **task))
    assert verified["changed"] is False
    assert {part["verification"]["verdict"] for part in _parts(verified)} == {"done"}
    lab.patch({"storage": {"pvc": None, "emptyDir": {}}})
    lab.client.patch(ALAUDA.pruner_path, {"spec": {"keepTagRevisions": 9}})
    team = task["image_limits"][0]["namespaces"][0]
    lab.client.delete(namespaced(team, "resourcequotas", "image-registry-quota"))
    result = lab.run("registry", kubeconfig=str(proxy.kubeconfig), mode="verify", **task)
    assert result["failed"]
    assert result["changed"] is False
    assert result["parts"]["image_pruner"]["differences"] == [
        {"object": "ImagePruner/cluster", "field": "spec.keepTagRevisions", "is": 9, "should": 3}
    ]
    assert result["parts"]["image_limits"][0]["differences"] == [
        {"object": f"ResourceQuota/{team}/image-registry-quota", "field": "", "is": None, "should": "present"}
    ]
    assert {one["field"] for one in result["parts"]["registry_storage"]["differences"]} >= {"spec.storage.pvc"}
    assert result["parts"]["image_limits"][1]["verification"]["verdict"] == "done"
    assert "image_pruner: ImagePruner/cluster spec.keepTagRevisions is 9, should be 3" in result["msg"]
    assert {item.method for item in proxy.requests} == {"GET"}
    assert lab.config()["spec"]["storage"].get("pvc") is None


def test_verify_names_the_difference_where_a_change_would_be_refused(lab: Lab, proxy: ApiProxy) -> None:
    """Images are on a claim, S3 is requested: the report is the difference, not the advice to move the data first."""
    claim = {"backend": "pvc", "pvc": {"claim": lab.claim("ReadWriteMany")}}
    ok(lab.run("registry", registry_storage=claim))
    asked = {"backend": "s3", "s3": lab.s3()}
    refused = lab.run("registry", registry_storage=asked)
    assert "Move the data first" in refused["msg"]
    result = lab.run("registry", kubeconfig=str(proxy.kubeconfig), mode="verify", registry_storage=asked)
    assert result["failed"]
    assert "Move the data first" not in result["msg"]
    assert "Config/cluster spec.storage.s3" in result["msg"]
    assert {item.method for item in proxy.requests} == {"GET"}


def test_unknown_names_are_refused_at_every_level(lab: Lab) -> None:
    """The argument spec refuses them, so this works in check mode and without a cluster too."""
    wrong: list[dict[str, Any]] = [
        {"registry_store": {}},
        {"registry_storage": {"backend": "emptydir", "replica": 1}},
        {"image_limits": [{"namespaces": ["a"], "quota": {"image": 1}}]},
    ]
    for task in wrong:
        result = lab.run("registry", **task)
        assert result["failed"]
        assert "Unsupported parameters" in result["msg"]


def test_check_mode_announces_what_the_run_does(lab: Lab, proxy: ApiProxy) -> None:
    """Same diff, nothing written."""
    task = page(lab)
    check = ok(lab.run("registry", check=True, kubeconfig=str(proxy.kubeconfig), **task))
    assert check["changed"] is True
    assert writes(proxy.requests) == []
    real = ok(lab.run("registry", **task))
    assert check["diff"] == real["diff"]
    assert lab.client.get(namespaced(NAMESPACE, "persistentvolumeclaims", task["registry_storage"]["pvc"]["claim"]))
