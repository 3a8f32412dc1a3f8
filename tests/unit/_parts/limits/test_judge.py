# SPDX-License-Identifier: GPL-3.0-or-later
"""When the limits of a namespace are in force."""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import judge as _judge
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
