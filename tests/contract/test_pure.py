# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator's pure functions and the comparison of recordings, without a cluster."""

from __future__ import annotations

import threading
import time
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.operator_simulator import render
from tests.cluster.operator_simulator.api import Cache
from tests.cluster.operator_simulator.conditions import (
    ApplyError,
    Conditions,
    PermanentError,
    newest_finished_job,
    sync_config_conditions,
    sync_pruner_conditions,
)
from tests.cluster.operator_simulator.golang import (
    canonical_duration,
    canonical_quantity,
    format_duration,
    parse_duration,
)
from tests.cluster.operator_simulator.names import Json
from tests.cluster.operator_simulator.registry import verify
from tests.cluster.operator_simulator.spec import configured_backends, typed_spec
from tests.cluster.operator_simulator.workqueue import Trigger

from . import recording

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("60s", "1m0s"),
        ("1m", "1m0s"),
        ("72h", "72h0m0s"),
        ("90m", "1h30m0s"),
        ("1500ms", "1.5s"),
        ("0", "0s"),
        ("", "0s"),
        ("1.5h", "1h30m0s"),
        ("100us", "100µs"),
        ("-5s", "-5s"),
        ("1h0.25s", "1h0m0.25s"),
        ("7ns", "7ns"),
    ],
)
def test_durations_come_back_as_go_prints_them(text: str, canonical: str) -> None:
    assert canonical_duration(text) == canonical
    assert parse_duration(canonical) == (parse_duration(text) if text else 0)


@pytest.mark.parametrize("text", ["", "5", "soon", "1 s", "1h-2m", "s"])
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"),
        ("500m", "500m"),
        ("1024Mi", "1Gi"),
        ("500Mi", "500Mi"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1000k", "1M"),
        ("1500", "1500"),
        ("2000", "2k"),
        ("1e3", "1e3"),
        ("1024", "1024"),
        ("0.5Ki", "512"),
        (2, "2"),
        ("0", "0"),
        ("-1000m", "-1"),
        ("0.0000000001", "1n"),
    ],
)
def test_quantities_come_back_as_kubernetes_writes_them(text: object, canonical: str) -> None:
    assert canonical_quantity(text) == canonical


@pytest.mark.parametrize("text", ["much", "", "1 Gi", "1KB"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        canonical_quantity(text)


def test_formatting_nanoseconds() -> None:
    assert format_duration(3600000000000) == "1h0m0s"


def test_the_typed_spec_drops_zeroes_and_adds_structs() -> None:
    spec = {
        "replicas": 2,
        "managementState": "Managed",
        "readOnly": False,
        "routes": [],
        "nodeSelector": {},
        "httpSecret": "",
        "logging": 0,
        "storage": {"s3": {"bucket": "b", "encrypt": False}, "pvc": None, "managementState": "Unmanaged"},
        "requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "60s"}},
        "resources": {"limits": {}, "requests": {"cpu": "1000m"}},
    }
    before = deepcopy(spec)
    assert typed_spec(spec) == {
        "managementState": "Managed",
        "replicas": 2,
        "observedConfig": None,
        "unsupportedConfigOverrides": None,
        "proxy": {},
        "storage": {
            "s3": {"bucket": "b", "virtualHostedStyle": False, "trustedCA": {"name": ""}},
            "managementState": "Unmanaged",
        },
        "requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "1m0s"}, "write": {"maxWaitInQueue": "0s"}},
        "resources": {"requests": {"cpu": "1"}},
    }
    assert spec == before
    assert typed_spec(typed_spec(spec)) == typed_spec(spec)


def test_backends_are_named_in_the_operators_order() -> None:
    assert configured_backends({"pvc": {}, "oss": {}, "emptyDir": {}, "azure": None}) == ["emptyDir", "pvc"]


def _deploy(available: int = 1, replicas: int = 1, reason: str = "NewReplicaSetAvailable", **meta: str) -> Json:
    status = {
        "replicas": replicas,
        "availableReplicas": available,
        "conditions": [{"type": "Progressing", "status": "True", "reason": reason, "message": "why"}],
    }
    return {"metadata": meta, "status": status}


_NO_STORAGE = PermanentError("StorageNotConfigured", "e")
_TIMED_OUT = "ProgressDeadlineExceeded"


@pytest.mark.parametrize(
    ("state", "deploy", "error", "expected"),
    [
        ("Unmanaged", None, None, "True Unmanaged, False Unmanaged, False Unmanaged"),
        ("Managed", None, None, "False DeploymentNotFound, True WaitingForDeployment, False None"),
        ("Managed", _deploy(), None, "True Ready, False Ready, False None, False None"),
        ("Managed", _deploy(1, 2, "x"), None, "True MinimumAvailability, True DeploymentNotCompleted, False None"),
        ("Managed", _deploy(0), None, "False NoReplicasAvailable, False Ready, False None"),
        ("Managed", _deploy(deletionTimestamp="x"), None, "False DeploymentDeleted, True FinalizingDeployment"),
        ("Managed", _deploy(), ApplyError("e"), "True Ready, True Error, False None"),
        ("Managed", _deploy(), _NO_STORAGE, "True Ready, False Error, True StorageNotConfigured"),
        ("Managed", None, _NO_STORAGE, "False StorageNotConfigured, False Error, True StorageNotConfigured"),
        ("Managed", _deploy(reason=_TIMED_OUT), None, f"True Ready, True DeploymentNotCompleted, True {_TIMED_OUT}"),
        ("Removed", _deploy(), ApplyError("e"), "True Ready, True DeletingDeployment, False Removed, True Removed"),
        ("Removed", None, None, "True Removed, False Removed, False Removed, True Removed"),
        ("", None, None, "True Removed, False Removed, False Removed, True Removed"),
    ],
)
def test_conditions_of_config(state: str, deploy: Json | None, error: ApplyError | None, expected: str) -> None:
    conditions = Conditions([], NOW)
    sync_config_conditions(conditions, state, deploy, error)
    found = {item["type"]: f"{item['status']} {item.get('reason')}" for item in conditions.items}
    assert ", ".join(found[kind] for kind in ("Available", "Progressing", "Degraded", "Removed")).startswith(expected)


def test_unavailability_degrades_only_after_the_inertia() -> None:
    items: list[Json] = []
    for minutes, expected in ((0, "False"), (4, "False"), (6, "True")):
        conditions = Conditions(items, NOW + timedelta(minutes=minutes))
        sync_config_conditions(conditions, "Managed", _deploy(0), None)
        degraded = conditions.get("Degraded") or {}
        assert degraded["status"] == expected


def test_a_conditions_time_moves_with_its_status_only() -> None:
    items: list[Json] = []
    Conditions(items, NOW).set("X", "True", "A", "a")
    Conditions(items, NOW + timedelta(hours=1)).set("X", "True", "B")
    assert items == [{"type": "X", "status": "True", "reason": "B", "lastTransitionTime": "2026-01-01T12:00:00Z"}]
    Conditions(items, NOW + timedelta(hours=1)).set("X", "False")
    assert items == [{"type": "X", "status": "False", "lastTransitionTime": "2026-01-01T13:00:00Z"}]


def test_pruner_conditions_in_the_operators_order() -> None:
    conditions = Conditions([], NOW)
    sync_pruner_conditions(conditions, suspend=True, cronjob=False, failed_job=None, error="no")
    assert [(item["type"], item["status"], item.get("reason")) for item in conditions.items] == [
        ("Available", "False", "Error"),
        ("Failed", "False", "Complete"),
        ("Scheduled", "False", "Suspended"),
        ("Degraded", "True", "SyncError"),
    ]


def test_the_newest_finished_job_of_the_namespace_decides() -> None:
    def job(created: str, kind: str) -> Json:
        return {
            "metadata": {"creationTimestamp": created},
            "status": {"conditions": [{"type": kind, "status": "True"}]},
        }

    failed, complete = job("2026-01-01T00:00:00Z", "Failed"), job("2026-01-02T00:00:00Z", "Complete")
    assert newest_finished_job([complete, failed]) is None
    assert newest_finished_job([failed]) == {"type": "Failed", "status": "True"}
    assert newest_finished_job([{"metadata": {}, "status": {}}]) is None


@pytest.mark.parametrize(
    ("replicas", "rolling"),
    [
        (0, {"maxUnavailable": -1, "maxSurge": "25%"}),
        (1, {"maxUnavailable": 0, "maxSurge": "25%"}),
        (2, {"maxUnavailable": 1, "maxSurge": 1}),
        (5, {"maxUnavailable": 4, "maxSurge": "25%"}),
    ],
)
def test_rolling_update_parameters(replicas: int, rolling: Json) -> None:
    assert render.strategy({"replicas": replicas}) == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert render.strategy({"replicas": replicas, "rolloutStrategy": "Recreate"}) == {"type": "Recreate"}


def test_request_limits_need_a_number_to_take_effect() -> None:
    spec = typed_spec({"replicas": 1, "requests": {"read": {"maxWaitInQueue": "5s"}}})
    assert render.request_env(spec) == []
    spec = typed_spec({"replicas": 1, "requests": {"write": {"maxInQueue": -1}}})
    with pytest.raises(ApplyError, match=r"Requests\.Write\.MaxInQueue must be positive number"):
        render.request_env(spec)


def test_log_levels() -> None:
    assert render.log_level({"logLevel": "Trace"}) == "debug"
    assert [render.log_level({"logging": number}) for number in range(5)] == ["info", "warn", "info", "info", "debug"]


def test_the_default_topology_yields_to_a_node_selector() -> None:
    def pod(**spec: object) -> Json:
        whole = typed_spec({"replicas": 2, **spec})
        result: Json = render.registry_deployment(whole, render.StorageParts(), "d", True, 120)["spec"]["template"][
            "spec"
        ]
        return result

    assert len(pod()["topologySpreadConstraints"]) == 3
    assert "podAntiAffinity" in pod()["affinity"]
    assert "affinity" not in pod(replicas=3)
    chosen = pod(nodeSelector={"a": "b"})
    assert "topologySpreadConstraints" not in chosen
    assert chosen["nodeSelector"] == {"a": "b", "kubernetes.io/os": "linux"}


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({}, "60m"),
        ({"keepYoungerThan": 3600000000000}, "1h0m0s"),
        ({"keepYoungerThan": 1, "keepYoungerThanDuration": "60m"}, "1h0m0s"),
        ({"keepYoungerThanDuration": "72h"}, "72h0m0s"),
    ],
)
def test_keep_younger_than(spec: Json, value: str) -> None:
    assert render.keep_younger_than(spec) == value


def test_pruner_defaults_and_zeroes() -> None:
    spec = render.pruner_cronjob({"keepTagRevisions": 0, "failedJobsHistoryLimit": 0, "logLevel": "Debug"}, False)[
        "spec"
    ]
    args = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--keep-tag-revisions=0", "--loglevel=4", "--prune-registry=false"} <= set(args)
    assert (spec["schedule"], spec["failedJobsHistoryLimit"], spec["successfulJobsHistoryLimit"]) == ("0 0 * * *", 0, 3)


def test_an_ingress_is_fine_with_a_host_or_an_address() -> None:
    bare = render.ingress("default-route", "", "")
    assert render.ingress_problem([bare]) == (
        "ingress default-route has no host and no published load balancer address"
    )
    assert render.ingress_problem([{**bare, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}]) == ""
    assert render.ingress_problem([render.ingress("a", "a.example.com", "")]) == ""


def test_verification_names_the_first_problem() -> None:
    with pytest.raises(PermanentError, match="replicas must be greater"):
        verify(typed_spec({"replicas": -1, "routes": [{"name": "a"}, {"name": "a"}]}))
    verify(typed_spec({"replicas": 0, "routes": [{"name": "a"}]}))


def test_backoff_doubles_and_starts_over() -> None:
    trigger = Trigger(scale=1.0)
    assert [trigger.retry() for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    for _ in range(30):
        longest = trigger.retry()
    assert longest == 1000
    trigger.succeeded()
    assert trigger.retry() == 0.005


def test_an_event_does_not_wait_for_the_backoff() -> None:
    trigger, stop = Trigger(), threading.Event()
    trigger.after(60)
    threading.Timer(0.05, trigger.poke).start()
    start = time.monotonic()
    assert trigger.wait(stop)
    assert time.monotonic() - start < 5
    stop.set()
    assert not trigger.wait(stop)


# The comparison itself: it must detect every kind of difference.


@pytest.mark.parametrize("name", recording.names())
def test_a_recording_agrees_with_itself(name: str) -> None:
    scenario = recording.load(name)
    result = recording.compare(scenario, scenario.lines, {}, {})
    assert result.differences == []
    assert result.steps >= 20


def _changed(name: str, kind: str, number: int, change: object) -> list[recording.Difference]:
    scenario = recording.load(name)
    lines = deepcopy(scenario.lines)
    line = [line for line in lines if line.kind == kind][number]
    assert callable(change)
    change(line.body)
    return recording.compare(scenario, lines, {}, {}).differences


def _word(body: Json) -> None:
    body["status"]["conditions"] = [
        [*item[:3], "something else"] if item[0] == "StorageExists" else item for item in body["status"]["conditions"]
    ]


def _lag(body: Json) -> None:
    body["status"]["observedGeneration"] -= 1


def _schedule(body: Json) -> None:
    body["schedule"] = "1 1 1 1 1"


def _env(body: Json) -> None:
    body["env"]["REGISTRY_STORAGE"] = "inmemory"


@pytest.mark.parametrize(
    ("name", "kind", "number", "change", "track"),
    [
        ("pvc-rwo-rolling-rejected", "Config", -1, _word, "StorageExists"),
        ("pvc-rwo-rolling-rejected", "Config", -1, _lag, "observedGeneration"),
        ("pruner", "CronJob", -1, _schedule, "schedule"),
        ("s3-good", "Deployment", 1, _env, "object"),
    ],
)
def test_the_comparison_detects_a_change(name: str, kind: str, number: int, change: object, track: str) -> None:
    assert track in {difference.track for difference in _changed(name, kind, number, change)}


def test_the_comparison_detects_a_missing_stale_window() -> None:
    scenario = recording.load("pvc-rwx-rolling")
    stale = [line for line in scenario.lines if line.kind == "Config"][2]
    fresh = [line for line in scenario.lines if line.kind == "Config"][3]
    lines = [recording.Line(line.t, line.kind, fresh.body if line is stale else line.body) for line in scenario.lines]
    differences = recording.compare(scenario, lines, {}, {}).differences
    assert [(item.kind, item.track) for item in differences] == [("Config", "joint")]


def test_only_transients_of_a_rollout_may_be_missing() -> None:
    step = recording.Step
    long = [step("a", 0, 5), step("b", 5, 5), step("a", 10)]
    short = [step("a", 0, 5), step("b", 5, 0.1), step("a", 5.1)]
    assert recording.same_track(short, [step("a", 0)], transients=True)
    assert recording.same_track([step("a", 0)], short, transients=True)
    assert not recording.same_track(short, [step("a", 0)], transients=False)
    assert not recording.same_track(long, [step("a", 0)], transients=True)
    assert not recording.same_track(long, [step("a", 0, 5), step("b", 5)], transients=True)


def test_a_cache_neither_brings_back_what_is_gone_nor_loses_what_is_new() -> None:
    """Answers to the operator's own writes and events of its watch come in any order."""

    def secret(version: int) -> Json:
        return {"metadata": {"name": "a", "namespace": "n", "resourceVersion": str(version)}}

    cache = Cache(None, "Secret", "n")  # type: ignore[arg-type]
    cache.learn(secret(1))
    cache._drop(secret(3), 3)
    cache.learn(secret(2))  # the answer to the deletion, too late
    assert cache.get("a") is None
    cache.learn(secret(5))  # made anew, before the watch tells of the end of the first one
    cache._drop(secret(4), 4)
    assert cache.get("a") == {**secret(5), "kind": "Secret"}
    cache._replace([], 6)
    assert cache.get("a") is None
