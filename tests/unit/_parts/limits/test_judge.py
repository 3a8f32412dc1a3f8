# SPDX-License-Identifier: GPL-3.0-or-later
"""When the limits of a namespace are in force."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import judge as _judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    LimitsGoal,
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
