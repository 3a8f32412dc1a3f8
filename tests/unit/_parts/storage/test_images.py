# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in an emptyDir: counted and named before a change that loses them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Denied, Reading
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.images import MADE_BUCKET, MOST
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.plan import needs
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import (
    CREDENTIALS,
    LIVE,
    OPERATOR,
    REGISTRY,
    S3,
    claim,
    config,
    decide,
    params,
    secret,
)

RUNNING = {**REGISTRY, "status": {"availableReplicas": 1}}
USED = {"emptyDir": {}, "managementState": "Managed"}
TWO: Reading = {"repositories": ["team/a", "team/b"]}


def seen(images: Reading, storage: Any = None) -> dict[str, Reading]:
    """A registry that runs on an emptyDir, or other storage, with these images, and a claim to go to."""
    live = config(USED if storage is None else storage)
    return {"config": live, "deployments": (OPERATOR, RUNNING), "claim": claim("ReadWriteMany"), "images": images}


def test_leaving_an_emptydir_with_images_needs_consent() -> None:
    """As leaving a bucket does; only here the images are gone."""
    (refusal,) = decide(params(backend="pvc"), **seen(TWO)).refusals
    assert "2 repositories (team/a, team/b) would be lost" in refusal
    assert "start with PersistentVolumeClaim image-registry" in refusal
    assert "on_backend_change: allow" in refusal
    allowed = decide(params(backend="pvc", on_backend_change="allow"), **seen(TWO))
    assert allowed.refusals == ()
    assert any("2 repositories (team/a, team/b) are lost" in text for text in allowed.warnings)


def test_taking_back_a_change_that_was_not_accepted_loses_nothing() -> None:
    """The Pod has served from its emptyDir all the while, and stays."""
    known = seen(TWO)
    live: Any = known["config"]
    refused = {"pvc": {"claim": "absent"}, "managementState": "Unmanaged"}
    known["config"] = {**live, "spec": {**live["spec"], "storage": refused}, "status": {"storage": USED}}
    plan = decide(params(backend="emptydir", replicas=1), **known)
    assert plan.writes
    assert not any("lost" in text for text in plan.warnings)
    assert any("would be lost" in text for text in decide(params(backend="pvc"), **known).refusals)


@pytest.mark.parametrize("repositories", [[], None, "team/a"])
def test_an_emptydir_without_images_is_left_without_a_word(repositories: Any) -> None:
    """The page's way from development storage to a claim."""
    plan = decide(params(backend="pvc"), **seen({"repositories": repositories}))
    assert plan.refusals == ()
    assert not any("emptyDir" in text for text in plan.warnings)


def test_images_that_cannot_be_counted_are_a_warning() -> None:
    """A registry that requires a login, or an account without the right to use the proxy."""
    plan = decide(params(backend="pvc"), **seen(Denied("401 authentication required")))
    assert plan.refusals == ()
    assert any("could not be counted (401 authentication required)" in text for text in plan.warnings)


def test_a_registry_that_is_not_to_be_queried_is_not_asked() -> None:
    """Then it is not known whether anything is lost."""
    known = seen(None)
    del known["images"]
    given = params(backend="pvc", probe="skip")
    assert needs(parse_intent(given, ALAUDA), known) == []
    assert any("with probe: skip the registry is not queried" in text for text in decide(given, **known).warnings)


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ({"resources": {"requests": {"cpu": "1"}}}, True),
        ({"disable_redirect": True}, True),
        ({"rollout_strategy": "Recreate"}, False),
        ({"storage_management_state": "Unmanaged"}, False),
        ({"management_state": "Unmanaged", "disable_redirect": True}, False),
        ({}, False),
    ],
)
def test_a_change_that_replaces_the_pod_says_what_is_lost(options: dict[str, Any], lost: bool) -> None:
    """Nothing else is asked for: the catalog is read only where something is at stake."""
    given = params(backend="emptydir", **options)
    known = seen(TWO)
    del known["images"]
    asked = [ref.label for ref in needs(parse_intent(given, ALAUDA), known)]
    assert asked == (["images"] if lost else [])
    plan = decide(given, **(seen(TWO) if lost else known))
    assert plan.refusals == ()
    assert any("the images of 2 repositories (team/a, team/b) are lost" in text for text in plan.warnings) is lost


@pytest.mark.parametrize(
    ("storage", "deployment"),
    [({"pvc": {"claim": "image-registry"}}, RUNNING), (USED, REGISTRY), (USED, None)],
    ids=["on a claim", "nothing available", "no Deployment"],
)
def test_only_a_registry_on_an_emptydir_is_asked(storage: dict[str, Any], deployment: Any) -> None:
    """Other storage keeps its images, and a registry that does not run cannot answer."""
    known: dict[str, Reading] = {**seen(None, storage), "deployments": (OPERATOR, *filter(None, [deployment]))}
    del known["images"]
    given = params(backend="pvc", disable_redirect=True)
    assert [ref.label for ref in needs(parse_intent(given, ALAUDA), known)] == []


def test_names_from_a_registry_are_shown_as_text_and_cut() -> None:
    """Nobody knows who wrote them; the number is a bound too."""
    wild = ["\x1b[2J" + "x" * 500, *(f"r{number}" for number in range(MOST))]
    (refusal,) = decide(params(backend="pvc"), **seen({"repositories": wild})).refusals
    assert "1000 or more repositories (\\x1b[2Jxxx" in refusal
    assert "\x1b" not in refusal
    assert len(refusal) < 600


# -- a bucket that the operator has made -------------------------------------------------------------------------------


def made(noted: str, catalog: Reading, used: str = "images") -> dict[str, Reading]:
    """A registry on a bucket, with such a note on the Config."""
    bucket = {**LIVE["s3"], "bucket": used}
    live = config({"managementState": "Unmanaged", "s3": bucket})
    live["metadata"]["annotations"] = {MADE_BUCKET: noted}
    return {"config": live, "deployments": (OPERATOR, RUNNING), "secret": secret(CREDENTIALS), "made": catalog}


@pytest.mark.parametrize(
    ("noted", "catalog", "said"),
    [
        ("images", {"repositories": []}, "created it, empty"),
        ("images", TWO, ""),
        ("images", Denied("401"), "could not be seen"),
        ("another", {"repositories": []}, ""),
    ],
)
def test_a_bucket_made_by_the_operator_is_named_while_it_is_empty(noted: str, catalog: Reading, said: str) -> None:
    """The operator itself reports it for one sync only (operator fact 4.9); other buckets cost no request."""
    known = made(noted, catalog)
    given = params(backend="s3", s3=S3)
    del known["made"]
    asked = [ref.label for ref in needs(parse_intent(given, ALAUDA), {**known, "generated": secret({})})]
    assert asked == (["made"] if noted == "images" else [])
    warnings = decide(given, **made(noted, catalog)).warnings
    assert any(said in text for text in warnings if "did not exist" in text) is bool(said)
