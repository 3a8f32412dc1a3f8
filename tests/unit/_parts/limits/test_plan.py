# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of image_limits for one namespace."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import goal as _goal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import plan as _limits
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    Step,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    QUOTA,
    RANGE,
)
from tests.unit._parts.limits.situations import ENTRIES, HARD, intent, limit_range, quota


def actions(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    """Kind and action of each step."""
    return [(step.kind, step.action) for step in steps]


def test_new_objects_are_those_of_the_page_and_have_our_label() -> None:
    """Registry v2 page, Configure Image Limits."""
    made, limits = _limits.steps(intent(), "team-a", None, None)
    assert made.write is not None
    assert made.write.body["spec"] == {"hard": HARD}
    assert made.write.body["metadata"]["labels"] == {_goal.OWNER_LABEL: _goal.OWNER}
    assert limits.write is not None
    assert limits.write.body["spec"] == {"limits": ENTRIES}


def test_objects_made_by_hand_are_adopted_without_a_change() -> None:
    """Compared by value: 1024Mi is 1Gi, 0.2k is 200."""
    entries = [
        {"type": "alauda.io/Image", "max": {"storage": "1024Mi"}},
        ENTRIES[1],
        {"type": "Pod", "max": {"cpu": "1"}},
    ]
    steps = _limits.steps(intent(), "team-a", quota({**HARD, "alauda.io/images": "0.2k"}), limit_range(entries))
    assert actions(steps) == [(QUOTA, "unchanged"), (RANGE, "unchanged")]


def test_a_change_keeps_everything_else() -> None:
    """Other keys of the quota, other entries and other maxima of the LimitRange stay."""
    entries = [
        {"type": "Pod", "max": {"cpu": "1"}},
        {"type": "alauda.io/Image", "max": {"storage": "2Gi"}, "min": {"storage": "1"}},
        ENTRIES[1],
    ]
    steps = _limits.steps(
        intent(), "team-a", quota({"pods": "3", **HARD, "alauda.io/images": "9"}), limit_range(entries)
    )
    first, second = (step.write for step in steps)
    assert first is not None
    assert first.body == {"spec": {"hard": {"alauda.io/images": "200"}}}
    assert second is not None
    assert second.body["metadata"] == {"resourceVersion": "6"}
    assert second.body["spec"]["limits"] == [
        {"type": "Pod", "max": {"cpu": "1"}},
        {"type": "alauda.io/Image", "max": {"storage": "1Gi"}, "min": {"storage": "1"}},
        ENTRIES[1],
    ]


def test_lowering_below_what_is_in_use_needs_consent() -> None:
    """Only keys that a controller counts show what is in use."""
    live = quota({**HARD, "alauda.io/images": "500"}, used={"alauda.io/images": "300"})
    (step,) = _limits.steps(intent(image=None, image_stream=None), "team-a", live, None)
    assert "alauda.io/images to 200 while 300 are in use" in step.finding
    assert step.write is None
    (step,) = _limits.steps(intent(image=None, image_stream=None, allow_below_usage=True), "team-a", live, None)
    assert step.action == "updated"
    assert "lowered" in step.warning


def test_removal_takes_only_what_is_ours() -> None:
    """Objects made by hand stay unless adopted; a delete names the version that was read."""
    ours = quota(HARD, labels={_goal.OWNER_LABEL: _goal.OWNER})
    steps = _limits.steps(intent(state="absent"), "team-a", ours, limit_range(ENTRIES))
    assert actions(steps) == [(QUOTA, "deleted"), (RANGE, "kept")]
    assert steps[0].write is not None
    assert steps[0].write.body == {"resourceVersion": "5"}
    assert "was not made by this collection" in steps[1].warning
    steps = _limits.steps(intent(state="absent", adopt=True), "team-a", None, limit_range(ENTRIES))
    assert actions(steps) == [(QUOTA, "absent"), (RANGE, "deleted")]


@pytest.mark.parametrize("strange", [None, 5, "text", [5], {"a": 1}, [{"type": ["x"], "max": "text"}]])
def test_a_live_object_of_any_content_is_compared(strange: Any) -> None:
    """What the API server itself would never store."""
    for live in (quota({"alauda.io/images": strange}, {"alauda.io/images": strange}), limit_range(strange)):
        want = intent(quota={"images": "7"}, image={"storage": "1Gi"})
        found = _limits.steps(want, "team-a", live, live)
        assert {step.action for step in found} <= {"updated", "created", "unchanged"}
