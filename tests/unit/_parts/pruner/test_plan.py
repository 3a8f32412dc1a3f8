# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of image_pruner."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner import plan as _pruner
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import (
    PrunerGoal,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.pruner.situations import pruner


def decide(live: dict[str, Any] | None, **params: Any) -> Plan[PrunerGoal]:
    """The plan for these parameters on such a cluster."""
    return _pruner.plan(parse_intent(params, ALAUDA), {"pruner": live, "cronjob": None})


@pytest.mark.parametrize(
    ("live", "params", "expected"),
    [
        ({}, {"state": "absent"}, "creates ImagePruner/cluster again"),
        ({}, {"keep_younger_than": "60"}, "has no unit"),
        ({}, {"keep_younger_than": "soon"}, "keep_younger_than"),
        ({}, {"keep_younger_than": "-1h"}, "below zero"),
        ({}, {"keep_tag_revisions": -1}, "below zero"),
        ({}, {"resources": {"limits": {"cpu": "much"}}}, "resources.limits.cpu"),
        ({"suspend": True}, {"suspend": False}, "keep_tag_revisions and keep_younger_than"),
        ({"suspend": True}, {"suspend": False, "keep_tag_revisions": 3}, "keep_younger_than is not given"),
        (None, {"schedule": "0 0 * * *"}, "keep_tag_revisions and keep_younger_than"),
    ],
)
def test_refused(live: dict[str, Any] | None, params: dict[str, Any], expected: str) -> None:
    """What is known to be wrong, or has not been confirmed, is not written."""
    findings = decide(None if live is None else pruner(live), **params).refusals
    assert len(findings) == 1
    assert expected in findings[0]


@pytest.mark.parametrize(("schedule", "remarked"), [("0 0 31 2 *", True), ("0 0 29 2 *", False)])
def test_a_schedule_that_never_comes_is_remarked(schedule: str, remarked: bool) -> None:
    """Kubernetes accepts it, and the operator reports that pruning is scheduled."""
    plan = decide(pruner({}), schedule=schedule)
    assert plan.refusals == ()
    assert any("never due" in text for text in plan.warnings) is remarked


def test_a_running_schedule_may_stay_without_naming_the_retention_again() -> None:
    """Only the step from suspended to running requires it."""
    assert decide(pruner({"suspend": False}), suspend=False).refusals == ()
    assert decide(pruner({}), schedule="1 1 * * *").refusals == ()
    assert decide(pruner({"suspend": True}), schedule="1 1 * * *").refusals == ()


def test_durations_and_quantities_are_equal_by_value() -> None:
    """The operator never rewrites this spec, but a person may write it differently."""
    live = pruner(
        {"keepYoungerThanDuration": "1h0m0s", "resources": {"requests": {"cpu": "0.5"}}, "logLevel": "Normal"}
    )
    plan = decide(live, keep_younger_than="60m", resources={"requests": {"cpu": "500m"}, "limits": None})
    assert (plan.refusals, plan.writes, plan.checks) == ((), (), ())


def test_only_a_changed_schedule_is_checked_by_the_api_server() -> None:
    """A dry-run CronJob costs a request, so only when it matters."""
    assert decide(pruner({"schedule": "0 0 * * *"}), schedule="0 0 * * *").checks == ()
    (check,) = decide(pruner({"schedule": "0 0 * * *"}), schedule="*/0 * * * *").checks
    assert check.body["spec"]["schedule"] == "*/0 * * * *"
    assert (check.kind, check.name) == ("schedule", "*/0 * * * *")


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("node_selector", {"role": "infra"}, "nodeSelector"),
        ("tolerations", [{"key": "a", "operator": "Exists"}], "tolerations"),
        ("affinity", {"nodeAffinity": {}}, "affinity"),
    ],
)
def test_the_checked_cronjob_carries_everything_that_will_be_rendered(option: str, value: Any, field: str) -> None:
    """What is stored already as well: only together it may be what no CronJob takes."""
    stored = {"schedule": "5 5 * * *", "resources": {"limits": {"cpu": "1"}}, "nodeSelector": {"a": "b"}}
    (check,) = decide(pruner(stored), **{option: value}).checks
    assert check.body["spec"]["schedule"] == "5 5 * * *"
    pod = check.body["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod[field] == value
    assert ("a" in pod["nodeSelector"]) is (option != "node_selector")
    assert pod["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


def test_what_the_operator_does_not_copy_is_not_checked() -> None:
    assert decide(pruner({}), keep_tag_revisions=5, suspend=True).checks == ()
    assert decide(pruner({"nodeSelector": {"a": "b"}}), node_selector={}).checks == ()
