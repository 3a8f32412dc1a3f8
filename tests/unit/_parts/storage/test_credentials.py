# SPDX-License-Identifier: GPL-3.0-or-later
"""The user Secret: refused or written, and whether the Pods have to be renewed for it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Reading, digest
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage import plan as _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import (
    HIDDEN_PATIENCE,
    carries_credentials,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import (
    CREDENTIALS,
    LIVE,
    OPERATOR,
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

INI = f"[default]\naws_access_key_id = {CREDENTIALS['REGISTRY_STORAGE_S3_ACCESSKEY']}\naws_secret_access_key = "
RUNNING = {"credentials": INI + CREDENTIALS["REGISTRY_STORAGE_S3_SECRETKEY"] + "\n"}


@pytest.mark.parametrize(
    ("given", "seen", "expected"),
    [
        ({"backend": "s3", "s3": S3}, {"secret": None}, ["the task gives no credentials"]),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({"ACCESS_KEY": "x"})},
            ["lacks REGISTRY_STORAGE_S3_ACCESSKEY+REGISTRY_STORAGE_S3_SECRETKEY", "it has: ACCESS_KEY"],
        ),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({**CREDENTIALS, "REGISTRY_STORAGE_S3_SECRETKEY": ""})},
            ["lacks REGISTRY_STORAGE_S3_SECRETKEY"],
        ),
        (
            {"backend": "s3", "s3": S3},
            {"secret": secret({**CREDENTIALS, "REGISTRY_STORAGE_S3_SECRETKEY": "x\n"})},
            ["ends with a blank or a line break"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "credentials_secret": "bucket-claim"}},
            {"secret": None, "source": None},
            ["Secret bucket-claim does not exist"],
        ),
        (
            {"backend": "s3", "s3": {**S3, "credentials_secret": "bucket-claim"}},
            {"secret": None, "source": secret({"AWS_ACCESS_KEY_ID": "x"})},
            ["no usable key REGISTRY_STORAGE_S3_SECRETKEY or AWS_SECRET_ACCESS_KEY"],
        ),
        (
            {"backend": "swift", "swift": {"container": "c"}},
            {"secret": secret({"REGISTRY_STORAGE_SWIFT_USERNAME": "u"})},
            ["lacks REGISTRY_STORAGE_SWIFT_PASSWORD or"],
        ),
    ],
)
def test_refused_before_writing(given: dict[str, Any], seen: dict[str, Reading], expected: list[str]) -> None:
    """All findings are listed at once."""
    check_refusals(given, seen, expected)


def keys(access: str, other: str) -> dict[str, Any]:
    """An S3 task with these credentials."""
    return params(backend="s3", s3={**S3, "access_key": access, "secret_key": other})


def test_secret_keeps_other_keys_and_shows_fingerprints_only() -> None:
    """Only the key that differs is sent; neither diff nor goal contains its value."""
    live = secret({**CREDENTIALS, "OTHER": "kept"})
    given = params(backend="s3", s3={**S3, "access_key": "AKIDEXAMPLE", "secret_key": "rotated-value"})
    plan = decide(given, secret=live, generated=None)
    write = plan.writes[0]
    assert write.verb == "patch"
    assert set(write.body["data"]) == {"REGISTRY_STORAGE_S3_SECRETKEY"}
    shown = repr((write.before, write.after, plan.goal, plan.warnings))
    assert "rotated-value" not in shown
    assert "wJalrXUtnFEMI" not in shown
    assert shown.count("fingerprint:") == 2


def test_rotation_waits_for_a_new_rollout_unless_the_pods_already_have_the_value() -> None:
    """A changed Secret changes no field of the spec, so the Deployment has to be rendered anew (operator fact 4.8)."""
    live = config({"managementState": "Unmanaged", "s3": {"bucket": "images", "region": "us-east-1"}})
    given = params(
        backend="s3", s3={**S3, "region_endpoint": None, "access_key": "AKIDEXAMPLE", "secret_key": "new-value"}
    )
    plan = decide(given, config=live, secret=secret(CREDENTIALS), generated=secret({"credentials": "old"}))
    assert plan.goal is not None
    assert plan.goal.renewal is not None
    assert plan.goal.renewal.wanted == {"credentials"}
    running = secret({"credentials": "aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = new-value"})
    plan = decide(given, config=live, secret=secret(CREDENTIALS), generated=running)
    assert plan.goal is not None
    assert plan.goal.renewal is None


def test_credentials_are_copied_from_a_bucket_claim() -> None:
    """The operator reads one fixed Secret; keys of object bucket claims are understood."""
    source = secret({"AWS_ACCESS_KEY_ID": "AKID2", "AWS_SECRET_ACCESS_KEY": "s2"})
    plan = decide(params(backend="s3", s3={**S3, "credentials_secret": "bucket-claim"}), secret=None, source=source)
    assert plan.refusals == ()
    assert plan.writes[0].verb == "create"
    assert set(plan.writes[0].body["data"]) == set(CREDENTIALS)


@pytest.mark.parametrize(
    ("access", "other", "rolls"),
    [
        ("AKIDEXAMPLE", "wJalrXUtnFEMI", False),
        ("AKIDEXAMPLE", "wJalrXUtnFEM", True),
        ("AKIDEXAMPL", "wJalrXUtnFEMI", True),
        ("wJalrXUtnFEMI", "AKIDEXAMPLE", True),
    ],
    ids=["the ones that run", "last letter lost", "last letter of the other lost", "swapped"],
)
def test_other_credentials_need_another_rollout(access: str, other: str, rolls: bool) -> None:
    """Compared as a whole, each in its place; the user Secret is missing or holds other values."""
    for stored in (None, secret({"REGISTRY_STORAGE_S3_ACCESSKEY": "old", "REGISTRY_STORAGE_S3_SECRETKEY": "old"})):
        plan = decide(keys(access, other), config=config(LIVE), secret=stored, generated=secret(RUNNING))
        assert (goal_of(plan).renewal is not None) is rolls


def test_the_generated_secret_is_read_when_the_user_secret_is_gone() -> None:
    """Otherwise the task would wait for a rollout that never comes."""
    want = parse_intent(keys("AKIDEXAMPLE", "wJalrXUtnFEMI"), ALAUDA)
    seen: dict[str, Reading] = {"config": config({"emptyDir": {}}), "deployments": (OPERATOR, REGISTRY), "secret": None}
    assert [ref.label for ref in _storage.needs(want, seen)] == ["generated"]


@pytest.mark.parametrize("given", [keys("AKIDEXAMPLE", "wJalrXUtnFEMI"), params(backend="s3", s3=S3)])
@pytest.mark.parametrize(
    ("written", "generated", "rolls"),
    [
        ("2026-01-01T00:00:09Z", secret(RUNNING), False),
        ("2026-01-01T00:00:09Z", secret({"credentials": INI + "old"}), True),
        ("2026-01-01T00:00:09Z", stamped(secret(RUNNING), "2026-01-01T00:00:10Z"), True),
        ("2026-01-01T00:00:01Z", None, False),
        (None, secret(RUNNING), False),
        (None, secret({"credentials": INI + "old"}), True),
    ],
    ids=[
        "newer, the same",
        "newer, something else runs",
        "newer, passed on, not rendered yet",
        "older than the rendering",
        "no times, the same",
        "no times, something else runs",
    ],
)
def test_a_secret_that_never_reached_the_pods_is_noticed(
    given: dict[str, Any], written: str | None, generated: Any, rolls: bool
) -> None:
    """Written while the operator was down: nothing is left to write, and the Pods still use the old credentials.

    Times decide only whether it is worth a look. Restarting the Pods by hand, or an annotation on the Deployment, is
    not a rendering, and so makes the operator's Secret no newer.
    """
    registry = rendered(REGISTRY, "2026-01-01T00:00:05Z", restarted="2026-01-01T00:00:30Z")
    live = secret(CREDENTIALS)
    seen: dict[str, Reading] = {
        "config": config(LIVE),
        "deployments": (OPERATOR, registry),
        "secret": live if written is None else stamped(live, written, labels="2026-01-01T00:00:40Z"),
    }
    want = parse_intent(given, ALAUDA)
    asked = [ref.label for ref in _storage.needs(want, seen)]
    assert asked == ([] if generated is None else ["generated"])
    if generated is not None:
        seen["generated"] = generated
    plan = _storage.plan(want, seen)
    assert plan.writes == ()
    assert (goal_of(plan).renewal is not None) is rolls


def test_what_the_operator_passes_on_may_be_forbidden() -> None:
    """Nothing was changed by us, so there is nothing to wait for; that nothing is proven is said."""
    seen: dict[str, Reading] = {"secret": secret(CREDENTIALS), "generated": Denied("secrets is forbidden")}
    plan = decide(params(backend="s3", s3=S3), config=config(LIVE), **seen)
    assert goal_of(plan).renewal is None
    assert any("may not be read (secrets is forbidden)" in text for text in plan.warnings)
    new = params(backend="s3", s3={**S3, "access_key": "ANOTHER", "secret_key": "another-key"})
    changed = decide(new, config=config(LIVE), deployments=(OPERATOR, REGISTRY), **seen)
    renewal = goal_of(changed).renewal
    assert renewal is not None
    assert renewal.patience == HIDDEN_PATIENCE


def test_a_line_break_in_a_secret_made_by_hand_is_a_warning_while_it_serves() -> None:
    """A common slip with files; the operator writes an ini file, whose reader removes it, so S3 accepts the key."""
    slip = secret({key: f"{value}\n" for key, value in CREDENTIALS.items()})
    serving = (OPERATOR, {**REGISTRY, "status": {"availableReplicas": 1}})
    given = params(backend="s3", s3=S3)
    plan = decide(given, config=config(LIVE), deployments=serving, secret=slip, generated=secret(RUNNING))
    assert plan.refusals == ()
    assert any("ends with a blank or a line break" in text for text in plan.warnings)
    assert goal_of(plan).renewal is None, "the same key"
    for seen in ({"config": config(LIVE)}, {"config": config({"emptyDir": {}}), "deployments": serving}):
        assert any("line break" in text for text in decide(given, secret=slip, **seen).refusals)


@pytest.mark.parametrize(
    ("generated", "carried"),
    [
        ({"REGISTRY_STORAGE_SWIFT_USERNAME": "u", "REGISTRY_STORAGE_SWIFT_PASSWORD": "p"}, True),
        ({"REGISTRY_STORAGE_SWIFT_USERNAME": "u", "REGISTRY_STORAGE_SWIFT_PASSWORD": "old"}, False),
        ({"user": "u", "password": "p", "token": "t"}, True),
        ({}, False),
    ],
    ids=["one way to log in", "another password", "other names", "nothing"],
)
def test_credentials_of_other_backends_are_passed_on_as_variables(generated: dict[str, str], carried: bool) -> None:
    """The operator may leave out what it does not use, here the token."""
    wanted = {"USERNAME": "u", "PASSWORD": "p", "TOKENID": "t"}
    digests = {f"REGISTRY_STORAGE_SWIFT_{key}": digest(value) for key, value in wanted.items()}
    assert carries_credentials("swift", secret(generated), digests) is carried


def test_the_pods_on_ibmcos_get_other_credentials() -> None:
    """The operator uses the key of the Secret itself, to fetch those of the bucket: nothing has to reach the Pods."""
    given = params(backend="ibmcos", ibmcos={"bucket": "images", "iam_api_key": "new"})
    want = parse_intent(given, ALAUDA)
    seen: dict[str, Reading] = {"secret": secret({"REGISTRY_STORAGE_IBMCOS_IAMAPIKEY": "old"})}
    known = {"config": config({"ibmcos": {"bucket": "images"}}), "deployments": (OPERATOR, REGISTRY), **seen}
    assert _storage.needs(want, known) == []
    assert goal_of(decide(given, **seen)).renewal is None
