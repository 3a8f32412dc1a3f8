# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_pullsecret's decisions: hosts, lists, and what namespaces lack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, Failed, History, Waiting
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets import judge as _judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets import plan as _pullsecret
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    PullSecretsGoal,
    PullSecretsSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import (
    host_problem,
    parse_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.judge import Gap
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.plan import (
    edited,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=6)


@pytest.mark.parametrize(
    "host",
    ["registry.example.com", "registry.example.com:8443", "localhost:5000", "10.0.0.1", "[fd00::1]:443", "[::1]"],
)
def test_good_hosts(host: str) -> None:
    """HOST or HOST:PORT."""
    assert host_problem(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://r.example.com",
        "r.example.com/team",
        "r.example.com:",
        "r.example.com:0",
        "r:70000",
        "r:x",
        "-r.example",
        "a b",
        "user@r",
        "fd00::1",
        "[fd00::1",
        "[zz]:1",
        "r..example",
    ],
)
def test_bad_hosts(host: str) -> None:
    """No scheme, no path, a port that exists."""
    assert host_problem(host)


@given(live=NAMES, given_items=NAMES, mode=st.sampled_from(["replace", "merge", "remove"]))
def test_list_edits(live: list[str], given_items: list[str], mode: str) -> None:
    """The result is the set asked for; order and duplicates are no change; a second run changes nothing."""
    wanted = {
        "replace": set(given_items),
        "merge": set(live) | set(given_items),
        "remove": set(live) - set(given_items),
    }[mode]
    result = edited(live, given_items, mode)
    if wanted == set(live):
        assert result is None
    else:
        assert result is not None
        assert set(result) == wanted
        assert len(result) == len(wanted)
        assert edited(result, given_items, mode) is None


def decide(settings: dict[str, Any], **params: Any) -> Plan[PullSecretsGoal]:
    """The plan for these parameters on a Config with these settings."""
    config = {
        "metadata": {"generation": 2, "resourceVersion": "77"},
        "spec": {"managementState": "Managed", "imagePullSecret": settings},
    }
    return _pullsecret.plan(parse_intent({"list_mode": "replace", **params}, ALAUDA), {"config": config})


def test_replacing_a_list_names_what_was_dropped_and_guards_the_write() -> None:
    """As on the page the array replaces; never over somebody else's edit."""
    plan = decide({"additionalRegistryHosts": ["a", "b"]}, additional_registry_hosts=["b", "c"])
    (write,) = plan.writes
    assert write.body == {
        "spec": {"imagePullSecret": {"additionalRegistryHosts": ["b", "c"]}},
        "metadata": {"resourceVersion": "77"},
    }
    assert plan.values == {"dropped": ["additionalRegistryHosts: a"]}


def test_nothing_to_change() -> None:
    """Other order, duplicates, absent false."""
    plan = decide(
        {"managementState": "Managed", "additionalRegistryHosts": ["a", "b"]},
        management_state="Managed",
        additional_registry_hosts=["b", "a", "b"],
        ignored_namespaces=[],
        ignore_system_namespaces=False,
    )
    assert (plan.refusals, plan.writes) == ((), ())


def test_emptying_a_list() -> None:
    """An empty list is a wish, an absent one is not."""
    (write,) = decide({"ignoredNamespaces": ["a"]}, ignored_namespaces=[]).writes
    assert write.body["spec"] == {"imagePullSecret": {"ignoredNamespaces": None}}


def test_refused() -> None:
    """All findings at once."""
    plan = decide({}, additional_registry_hosts=["https://x", "ok"], ignored_namespaces=["Bad_Name"])
    assert len(plan.refusals) == 2
    assert plan.writes == ()


def named(name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    """An object of that name."""
    return {"metadata": {"name": name, "namespace": namespace}, **more}


def snapshot(at: float = 0.0, **more: Any) -> PullSecretsSnapshot:
    """team-a has everything, team-b nothing, legacy is ignored and has a leftover."""
    config = {
        "metadata": {"generation": 2},
        "spec": {"imagePullSecret": {"managementState": "Managed", "ignoredNamespaces": ["legacy"]}},
        "status": {"observedGeneration": 2},
    }
    seen: dict[str, Any] = {
        "config": config,
        "namespaces": (named("team-a"), named("team-b"), named("legacy")),
        "bindings": (named("x", "team-a"),),
        "secrets": (named("s1", "team-a"), named("old", "legacy")),
        "accounts": (named("default", "team-a", imagePullSecrets=[{"name": "s1"}]), named("default", "team-b")),
        **more,
    }
    return PullSecretsSnapshot(at=at, **seen)


def test_gaps_are_named_by_namespace_and_account() -> None:
    """Newer pages, Managed pull secrets."""
    goal = PullSecretsGoal({}, 2, ALAUDA, namespaces=("team-a", "team-b", "legacy", "gone"))
    config = snapshot().config
    assert isinstance(config, dict)
    found = _judge.gaps(goal, config["spec"], snapshot())
    assert found == [
        Gap("team-b", "", "no RoleBinding image-registry-system-image-pullers"),
        Gap("team-b", "", "no Secret labelled imageregistry.operator.alauda.io/managed-pull-secret=true"),
        Gap("team-b", "default", "imagePullSecrets lists no managed Secret"),
        Gap("legacy", "", "still has the managed Secret old"),
        Gap("gone", "", "the namespace does not exist"),
    ]
    verdict, _history = _judge.judge(goal, snapshot(), History())
    assert isinstance(verdict, Waiting)
    assert "team-b/default" in verdict.why
    done, _history = _judge.judge(PullSecretsGoal({}, 2, ALAUDA, namespaces=("team-a",)), snapshot(), History())
    assert isinstance(done, Done)


def test_a_spec_that_is_changed_back_fails() -> None:
    """The operator can lose an edit (operator fact 2); that is told, not waited for."""
    goal = PullSecretsGoal({"imagePullSecret": {"ignoredNamespaces": ["other"]}}, 2, ALAUDA)
    verdict, history = _judge.judge(goal, snapshot(), History())
    assert isinstance(verdict, Waiting)
    verdict, _history = _judge.judge(goal, snapshot(at=3.5), history)
    assert isinstance(verdict, Failed)
    assert verdict.reason == "SpecChanged"


def test_edits_next_to_other_writers_are_judged_by_their_own_entries() -> None:
    """Somebody else's host in the list is no difference; our own missing one is."""
    plan = decide({"additionalRegistryHosts": ["a"]}, additional_registry_hosts=["b"], list_mode="merge")
    assert plan.goal is not None
    assert plan.goal.has == (("additionalRegistryHosts", "b"),)
    seen = snapshot()
    assert isinstance(seen.config, dict)
    seen.config["spec"] = {"imagePullSecret": {"additionalRegistryHosts": ["a", "b", "c"]}}
    verdict, _history = _judge.judge(plan.goal, seen, History())
    assert isinstance(verdict, Done)
    assert "managementState is not set" in verdict.warnings[0]
    seen.config["spec"]["imagePullSecret"]["managementState"] = "Managed"
    assert _judge.judge(plan.goal, seen, History())[0] == replace(verdict, warnings=())
    seen.config["spec"] = {"imagePullSecret": {"additionalRegistryHosts": ["a", "c"]}}
    verdict, _history = _judge.judge(plan.goal, seen, History())
    assert isinstance(verdict, Waiting)
    assert "without b" in verdict.why
