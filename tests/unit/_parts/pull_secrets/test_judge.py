# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_pullsecret's judge: what namespaces lack, and who changed what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, Failed, History, Waiting
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets import judge as _judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    PullSecretsGoal,
    PullSecretsSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.judge import Gap
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.pull_secrets.situations import decide


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
    assert verdict.on_operator, "it creates and removes them"
    done, _history = _judge.judge(PullSecretsGoal({}, 2, ALAUDA, namespaces=("team-a",)), snapshot(), History())
    assert isinstance(done, Done)


def test_nothing_is_required_of_a_namespace_that_may_be_a_system_one() -> None:
    """Which ones the product ignores is not documented (operator fact 0.7); what is there is reported."""
    system = ("kube-public", "cpaas-system", ALAUDA.namespace)
    goal = PullSecretsGoal({}, 2, ALAUDA, namespaces=("team-a", *system))
    seen = snapshot()
    seen = replace(
        seen,
        namespaces=(*(seen.namespaces if isinstance(seen.namespaces, tuple) else ()), *map(named, system)),
        secrets=(named("s1", "team-a"), named("s2", "kube-public")),
    )
    assert isinstance(seen.config, dict)
    verdict, _history = _judge.judge(goal, seen, History())
    assert isinstance(verdict, Waiting)
    assert "cpaas-system: no RoleBinding" in verdict.why
    seen.config["spec"]["imagePullSecret"]["ignoreSystemNamespaces"] = True
    verdict, _history = _judge.judge(goal, seen, History())
    assert isinstance(verdict, Done)
    assert verdict.summary.endswith("; 1 namespace is as it should be")
    (warning,) = verdict.warnings
    assert warning == (
        "System namespaces are ignored, but which ones count as such is not documented. So nothing was required of "
        "those that may: "
        "kube-public has managed pull secrets; cpaas-system does not have managed pull secrets; "
        "image-registry-system does not have managed pull secrets."
    )
    seen.config["spec"]["imagePullSecret"]["ignoredNamespaces"].append("kube-public")
    verdict, _history = _judge.judge(goal, seen, History())
    assert isinstance(verdict, Waiting)
    assert "1 gap in 4 namespaces: kube-public: still has the managed Secret s2" in verdict.why


def test_a_spec_that_is_changed_back_fails() -> None:
    """The operator can lose an edit (operator fact 2.3); that is reported, not waited for."""
    goal = PullSecretsGoal({"imagePullSecret": {"ignoredNamespaces": ["other"]}}, 2, ALAUDA)
    verdict, history = _judge.judge(goal, snapshot(), History())
    assert isinstance(verdict, Waiting)
    verdict, _history = _judge.judge(goal, snapshot(at=3.5), history)
    assert isinstance(verdict, Failed)
    assert verdict.reason == "SpecChanged"


def test_edits_alongside_other_writers_are_judged_by_their_own_entries() -> None:
    """Somebody else's host in the list is not a difference; our own missing one is."""
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


def test_a_config_that_was_made_again_counts_anew() -> None:
    """Generation 2, where our write was 9 of another Config."""
    goal = PullSecretsGoal({"imagePullSecret": {"managementState": "Managed"}}, 9, ALAUDA, uid="first")
    for uid, kind in (("first", Waiting), ("second", Done)):
        seen = snapshot()
        assert isinstance(seen.config, dict)
        seen.config["metadata"]["uid"] = uid
        assert isinstance(_judge.judge(goal, seen, History())[0], kind)
