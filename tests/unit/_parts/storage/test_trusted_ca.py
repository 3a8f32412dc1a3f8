# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA bundle of an S3 endpoint: refused or written, and whether the Pods have to be renewed for it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import plan as _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.trusted_ca import (
    UNRENEWED,
    UNRENEWED_AT_REST,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import (
    CREDENTIALS,
    LIVE,
    OPERATOR,
    PEM,
    REGISTRY,
    S3,
    check_refusals,
    config,
    decide,
    goal_of,
    params,
    rendered,
    secret,
    stamped,
)

OTHER_PEM = PEM.replace("AAEC", "BBEC")


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": None},
            ["ConfigMap s3-ca does not exist"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": {"data": {"ca.crt": PEM}}},
            ["has no key ca-bundle.crt (it has: ca.crt)"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "trusted_ca": {"name": "s3-ca"}}},
            {"secret": secret(CREDENTIALS), "ca": {"data": {"ca-bundle.crt": "not a certificate"}}},
            ["holds no PEM certificate"],
        ),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """All findings are listed at once."""
    check_refusals(given, seen, expected)


@pytest.mark.parametrize(
    ("bundles", "rolls"),
    [
        ({"data": {"storage-ca-bundle.pem": PEM}}, False),
        ({"data": {"storage-ca-bundle.pem": OTHER_PEM}}, True),
        (None, True),
    ],
)
def test_another_ca_needs_another_rollout(bundles: Any, rolls: bool) -> None:
    """Pods read the bundle when they start; until then the operator's answer is about the previous CA."""
    given = params(backend="s3", s3={**S3, "trusted_ca": {"name": "s3-ca", "pem": PEM}})
    want = parse_intent(given, ALAUDA)
    seen: dict[str, Reading] = {
        "config": config(LIVE),
        "deployments": (OPERATOR, rendered(REGISTRY, "2026-01-01T00:00:05Z")),
        "secret": stamped(secret(CREDENTIALS), "2026-01-01T00:00:01Z"),
        "ca": {"data": {"ca-bundle.crt": OTHER_PEM}},
    }
    assert [ref.label for ref in _storage.needs(want, seen)] == ["bundles"]
    plan = _storage.plan(want, {**seen, "bundles": bundles})
    renewal = goal_of(plan).renewal
    assert (renewal is not None) is rolls
    assert renewal is None or renewal.patience == UNRENEWED


@pytest.mark.parametrize(
    ("stored", "bundles", "patience"),
    [
        ("2026-01-01T00:00:09Z", {"data": {"storage-ca-bundle.pem": PEM}}, 0.0),
        ("2026-01-01T00:00:09Z", {"data": {"storage-ca-bundle.pem": OTHER_PEM}}, UNRENEWED),
        (
            "2026-01-01T00:00:09Z",
            stamped({"data": {"storage-ca-bundle.pem": PEM}}, "2026-01-01T00:00:10Z"),
            UNRENEWED_AT_REST,
        ),
        ("2026-01-01T00:00:09Z", Denied("configmaps is forbidden"), 0.0),
        ("2026-01-01T00:00:01Z", None, 0.0),
    ],
    ids=["newer, the same", "newer, not passed on", "newer, passed on, not rendered yet", "hidden", "older"],
)
@pytest.mark.parametrize(
    "given",
    [{"trusted_ca": {"name": "s3-ca", "pem": PEM}}, {"trusted_ca": {"name": "s3-ca"}}, {}],
    ids=["by the task", "by hand", "not mentioned"],
)
def test_a_bundle_that_never_reached_the_pods_is_noticed(
    given: dict[str, Any], stored: str, bundles: Reading, patience: float
) -> None:
    """Whoever stored it, and whatever restarted the Pods since: only what the operator passes on proves anything."""
    want = parse_intent(params(backend="s3", s3={**S3, **given}), ALAUDA)
    live = {"managementState": "Unmanaged", "s3": {**LIVE["s3"], "trustedCA": {"name": "s3-ca"}}}
    at = "2026-01-01T00:00:05Z"
    seen: dict[str, Reading] = {
        "config": config(live),
        "deployments": (OPERATOR, rendered(REGISTRY, at, restarted="2026-01-01T00:00:30Z")),
        "secret": stamped(secret(CREDENTIALS), "2026-01-01T00:00:00Z"),
        "ca": stamped({"data": {"ca-bundle.crt": PEM}}, stored),
    }
    assert [ref.label for ref in _storage.needs(want, seen)] == ([] if bundles is None else ["bundles"])
    plan = _storage.plan(want, seen if bundles is None else {**seen, "bundles": bundles})
    assert plan.writes == ()
    renewal = goal_of(plan).renewal
    assert (renewal is not None) is bool(patience)
    assert renewal is None or renewal.patience == patience
    assert any("may not be read" in text for text in plan.warnings) is isinstance(bundles, Denied)


def test_line_endings_of_another_system_are_not_another_ca() -> None:
    """A PEM from a Windows share means the same, and is stored with plain line endings."""
    given = params(backend="s3", s3={**S3, "trusted_ca": {"name": "s3-ca", "pem": PEM.replace("\n", "\r\n")}})
    ca = {"data": {"ca-bundle.crt": PEM}}
    plan = decide(given, secret=secret(CREDENTIALS), ca=ca)
    assert [write.kind for write in plan.writes] == ["Config"]
    made = decide(given, secret=secret(CREDENTIALS), ca=None)
    assert made.writes[0].body["data"]["ca-bundle.crt"] == PEM


def test_a_bundle_that_the_task_does_not_mention_is_nobody_s_mistake() -> None:
    """It is only looked at: whether it is there, and readable, is between its owner and the operator."""
    live = config({"managementState": "Unmanaged", "s3": {**LIVE["s3"], "trustedCA": {"name": "s3-ca"}}})
    found: tuple[Reading, ...] = (None, Denied("no"), {"data": {}})
    for ca in found:
        plan = decide(params(backend="s3", s3=S3), config=live, secret=secret(CREDENTIALS), ca=ca, bundles={})
        assert (plan.refusals, plan.warnings, goal_of(plan).renewal) == ((), (), None)
