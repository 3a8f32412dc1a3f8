# SPDX-License-Identifier: GPL-3.0-or-later
"""When the limits of a namespace are in force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, Failed, Waiting
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import judge as _judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    LimitsGoal,
    LimitsNeed,
    LimitsSnapshot,
    Step,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import QUOTA, RANGE
from tests.unit._parts.limits.situations import ENTRIES, HARD, intent, limit_range, quota


def test_what_no_controller_counts_and_what_is_not_in_force_yet() -> None:
    """status.hard is a copy of the spec; status.used exists for counted keys only (newer pages, Image limits)."""
    want = intent()
    fresh = {"spec": {"hard": HARD}, "status": {}}
    assert "status.hard does not hold" in _judge.shortfall(want, fresh, limit_range(ENTRIES))
    counted = quota(HARD, used={"alauda.io/imagestreams": "0"})
    assert _judge.shortfall(want, counted, limit_range(ENTRIES)) == ""
    assert _judge.uncounted(want, counted) == ["alauda.io/images", "alauda.io/image-tags"]
    assert _judge.shortfall(want, counted, None) == "the LimitRange is not there"


ALL = {"alauda.io/images": "0", "alauda.io/image-tags": "0", "alauda.io/imagestreams": "0"}


@pytest.mark.parametrize(
    ("used", "keys"),
    [
        (({}, {}), "alauda.io/image-tags, alauda.io/images, alauda.io/imagestreams (in 2 of 2 namespaces)"),
        (
            ({}, {"alauda.io/images": "0"}),
            (
                "alauda.io/image-tags, alauda.io/imagestreams (in 2 of 2 namespaces); "
                "alauda.io/images (in 1 of 2 namespaces)"
            ),
        ),
        ((ALL, {**ALL, "other": "1"}), ""),
    ],
)
def test_one_warning_lists_all_keys_that_no_controller_counts(
    used: tuple[dict[str, str], dict[str, str]], keys: str
) -> None:
    live = {name: quota(HARD, used=counted) for name, counted in zip(("a", "b"), used, strict=True)}
    goal = LimitsGoal(intent(), ("a", "b"), ())
    outcome = _judge.outcome(Plan(goal=goal), (), {}, (goal, LimitsSnapshot(at=0.0, live={QUOTA: live})))
    text = (
        "ResourceQuota: no controller of this cluster counts these keys, so their limits have no effect (they are in "
        f"status.hard but not in status.used): {keys}."
    )
    assert outcome.warnings == ((text,) if keys else ())


@pytest.mark.parametrize(
    ("kept", "summary"),
    [
        ((), "2 of 2 namespaces are without the limits"),
        (
            (("a", QUOTA),),
            "1 of 2 namespaces are without the limits; 1 object that was not made by this collection stays",
        ),
        (
            (("a", QUOTA), ("a", RANGE)),
            "1 of 2 namespaces are without the limits; 2 objects that were not made by this collection stay",
        ),
        (
            (("a", QUOTA), ("b", QUOTA)),
            "0 of 2 namespaces are without the limits; 2 objects that were not made by this collection stay",
        ),
    ],
)
def test_a_namespace_whose_own_quota_stays_is_not_without_limits(
    kept: tuple[tuple[str, str], ...], summary: str
) -> None:
    """What somebody made by hand stays and limits on."""
    steps = tuple(Step(namespace, kind, "kept") for namespace, kind in kept)
    live = {QUOTA: {name: quota(HARD) for name, kind in kept if kind == QUOTA}}
    goal = LimitsGoal(intent(state="absent"), ("a", "b"), steps)
    assert _judge.judge(goal, LimitsSnapshot(at=0.0, live=live)) == Done(summary)


def snapshot(at: float, names: str, **more: Any) -> LimitsSnapshot:
    """These namespaces (a letter each) hold the quota; the controller has not looked at the others of a to d."""
    live = {name: {"spec": {"hard": HARD}, "status": {"hard": HARD if name in names else {}}} for name in "abcd"}
    return LimitsSnapshot(at=at, live={QUOTA: live, RANGE: dict.fromkeys("abcd", limit_range(ENTRIES))}, **more)


def test_the_pace_and_what_is_left_are_shown() -> None:
    goal = LimitsGoal(intent(namespaces=list("abcd")), tuple("abcd"), ())
    early = _judge.judge(goal, snapshot(101.0, "ab", before=(100.0, 1)))
    assert isinstance(early, Waiting)
    assert early.reached == 2
    assert early.why.startswith("2 of 4 namespaces hold the limits; c: ")
    later = _judge.judge(goal, snapshot(104.0, "abc", before=(100.0, 1)))
    assert isinstance(later, Waiting)
    assert later.why.startswith("3 of 4 namespaces hold the limits, 0.5 more each second, about 2 s left; d: ")
    assert later.reached == 3


def test_an_object_that_has_vanished_has_its_namespace_looked_at() -> None:
    """Once; a namespace that is being deleted does not keep the others from being waited for."""
    goal = LimitsGoal(intent(namespaces=list("abcd")), tuple("abcd"), ())
    whole = snapshot(1.0, "abd")
    lacking = replace(whole, live={**whole.live, QUOTA: {n: q for n, q in whole.live[QUOTA].items() if n != "b"}})
    asked = _judge.judge(goal, lacking)
    assert isinstance(asked, Waiting)
    assert asked.needs == {LimitsNeed.NAMESPACES}
    assert _judge.vanished(goal, lacking) == ["b"]
    waits = _judge.judge(goal, replace(lacking, ending={"b": True}))
    assert isinstance(waits, Waiting)
    assert waits.needs == frozenset()
    assert "; c: status.hard" in waits.why
    ready = replace(lacking, live={**lacking.live, QUOTA: {n: quota(HARD) for n in "acd"}}, ending={"b": True})
    failed = _judge.judge(goal, ready)
    assert isinstance(failed, Failed)
    assert failed.reason == "NamespaceTerminating"
    assert "3 of 4 namespaces hold the limits" in failed.cause
    there = _judge.judge(goal, replace(ready, ending={"b": False}))
    assert isinstance(there, Waiting)
    assert "b: the ResourceQuota is not there" in there.why
