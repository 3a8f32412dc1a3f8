# SPDX-License-Identifier: GPL-3.0-or-later
"""Equality field by field, as in the operator's Go structs; patches that contain only what differs.

A patch results in the desired state, and never nulls what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff, owned, same

PVC_RECIPE = {
    "managementState": "Managed",
    "replicas": 1,
    "rolloutStrategy": "Recreate",
    "storage": {
        "managementState": "Unmanaged",
        "pvc": {"claim": "image-registry"},
        "emptyDir": None,
        "s3": None,
        "swift": None,
        "gcs": None,
        "ibmcos": None,
        "azure": None,
    },
    "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}},
}
REWRITTEN = {
    "httpSecret": "x",
    "managementState": "Managed",
    "replicas": 1,
    "rolloutStrategy": "Recreate",
    "proxy": {},
    "observedConfig": None,
    "requests": {"read": {"maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}},
    "storage": {"managementState": "Unmanaged", "pvc": {"claim": "image-registry"}},
    "resources": {"requests": {"cpu": "0.5"}, "limits": {"cpu": "500m"}},
}


def test_a_spec_that_the_operator_rewrote_needs_no_patch() -> None:
    assert diff(PVC_RECIPE, REWRITTEN) == {}


def test_switching_backends_nulls_only_what_is_there() -> None:
    live = {
        **REWRITTEN,
        "storage": {"managementState": "Unmanaged", "emptyDir": {}},
        "rolloutStrategy": "RollingUpdate",
    }
    assert diff(PVC_RECIPE, live) == {
        "rolloutStrategy": "Recreate",
        "storage": {"pvc": {"claim": "image-registry"}, "emptyDir": None},
    }


@pytest.mark.parametrize(
    ("desired", "live", "patch"),
    [
        # A map owned as a whole loses what is not requested, and only differing members are sent.
        (
            {"resources": {"limits": {"cpu": "1"}}},
            {"resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "1"}}},
            {"resources": {"limits": {"memory": None}, "requests": None}},
        ),
        ({"resources": {}}, {"resources": {"limits": {"cpu": "1"}}}, {"resources": None}),
        ({"nodeSelector": {"a": ""}}, {"nodeSelector": {"a": "", "b": "c"}}, {"nodeSelector": {"b": None}}),
        ({"nodeSelector": {"a": ""}}, {}, {"nodeSelector": {"a": ""}}),
        ({"nodeSelector": {"a": ""}}, {"nodeSelector": {}}, {"nodeSelector": {"a": ""}}),
        (
            {"requests": {"read": {"maxRunning": 5}}},
            {"requests": {"read": {"maxInQueue": 7, "maxWaitInQueue": "0s"}, "write": {"maxRunning": 9}}},
            {"requests": {"read": {"maxInQueue": None, "maxRunning": 5}}},
        ),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "a"}]}),
        ({"tolerations": []}, {"tolerations": [{"key": "b"}]}, {"tolerations": None}),
        ({"tolerations": []}, {}, {}),
        # Merged members leave their siblings alone.
        ({"proxy": {"http": None}}, {"proxy": {"http": "h", "https": "s"}}, {"proxy": {"http": None}}),
        ({"proxy": {"http": None}}, {}, {}),
        ({"storage": {"s3": {"bucket": "b", "keyID": None}}}, {}, {"storage": {"s3": {"bucket": "b"}}}),
        ({"storage": {"s3": {"keyID": None}}}, {"storage": {"s3": {"bucket": "b"}}}, {}),
        ({"storage": {"emptyDir": {}}}, {"storage": {"pvc": {"claim": "c"}}}, {"storage": {"emptyDir": {}}}),
        ({"storage": {"emptyDir": None}}, {"storage": {"emptyDir": {}}}, {"storage": {"emptyDir": None}}),
        ({"readOnly": False}, {"readOnly": True}, {"readOnly": False}),
        ({"readOnly": False}, {}, {}),
        ({"rolloutStrategy": ""}, {"rolloutStrategy": "Recreate"}, {"rolloutStrategy": None}),
        ({"affinity": {}}, {"affinity": {"podAffinity": {"x": [1]}}}, {"affinity": {"podAffinity": None}}),
    ],
)
def test_patches(desired: dict[str, Any], live: dict[str, Any], patch: dict[str, Any]) -> None:
    assert diff(desired, live) == patch
    assert diff(desired, apply(patch, live)) == {}


def test_the_owned_part_is_what_the_request_mentions() -> None:
    live = {**REWRITTEN, "storage": {"emptyDir": {}, "s3": {"bucket": "b"}}, "disableRedirect": True}
    assert owned(
        {"storage": {"emptyDir": {}, "s3": None, "gcs": None}, "replicas": 3, "proxy": {"http": "h"}}, live
    ) == {
        "storage": {"emptyDir": {}, "s3": {"bucket": "b"}},
        "replicas": 1,
    }
    assert owned({"resources": {"limits": {"cpu": "1"}}}, live) == {"resources": REWRITTEN["resources"]}


_QUANTITIES = st.sampled_from(["1", "1000m", "500m", "0.5", "1Gi", "1024Mi", "0"])
_DURATIONS = st.sampled_from(["60s", "1m0s", "0s", "30s"])
_TEXTS = st.sampled_from(["", "a", "b"])


def _objects(optional: Mapping[str, st.SearchStrategy[Any]], nulls: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {}, optional={key: st.none() | value if nulls else value for key, value in optional.items()}
    )


def _specs(nulls: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Specs as the API server may hold them; with ``nulls``, requested specs in merge patch form."""
    amounts = _objects({"cpu": _QUANTITIES, "memory": _QUANTITIES}, nulls)
    limits = _objects(
        {"maxRunning": st.integers(0, 2), "maxInQueue": st.integers(0, 2), "maxWaitInQueue": _DURATIONS}, nulls
    )
    labels = _objects({"x": _TEXTS, "y": _TEXTS}, nulls)
    s3 = _objects(
        {
            "bucket": _TEXTS,
            "encrypt": st.booleans(),
            "trustedCA": _objects({"name": _TEXTS}, nulls),
            "cloudFront": _objects({"duration": _DURATIONS, "baseURL": _TEXTS}, nulls),
        },
        nulls,
    )
    storage = _objects(
        {"managementState": _TEXTS, "emptyDir": st.just({}), "pvc": _objects({"claim": _TEXTS}, nulls), "s3": s3}, nulls
    )
    return _objects(
        {
            "replicas": st.integers(-1, 2),
            "readOnly": st.booleans(),
            "logLevel": st.sampled_from(["", "Normal", "Debug"]),
            "resources": _objects({"limits": amounts, "requests": amounts}, nulls),
            "nodeSelector": labels,
            "proxy": _objects({"http": _TEXTS, "https": _TEXTS}, nulls),
            "requests": _objects({"read": limits, "write": limits}, nulls),
            "tolerations": st.lists(_objects({"key": _TEXTS, "operator": _TEXTS}, False), max_size=2),
            "affinity": _objects({"podAffinity": labels, "nodeAffinity": labels}, nulls),
            "storage": storage,
        },
        nulls,
    )


def _satisfied(desired: Mapping[str, Any], live: Mapping[str, Any], path: tuple[str, ...] = ()) -> bool:
    """The same without the code under test: fields owned as a whole are equal, the others member by member."""
    for key, wanted in desired.items():
        here, current = (*path, key), live.get(key)
        merged = here in [("storage",), ("proxy",), ("requests",)] or here[0] == "storage"
        if isinstance(wanted, Mapping) and merged:
            if here[:1] == ("storage",) and len(here) == 2 and current is None:
                return False
            if not _satisfied(wanted, current if isinstance(current, Mapping) else {}, here):
                return False
        elif not same(here, wanted, current):
            return False
    return True


def _nulls_only_what_is_there(patch: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    for key, value in patch.items():
        if value is None and live.get(key) is None:
            return False
        inner = live.get(key)
        if isinstance(value, Mapping) and not _nulls_only_what_is_there(
            value, inner if isinstance(inner, Mapping) else {}
        ):
            return False
    return True


@given(_specs(nulls=True), _specs(nulls=False))
def test_a_patch_reaches_the_requested_state_once_and_for_all(desired: dict[str, Any], live: dict[str, Any]) -> None:
    patch = diff(desired, live)
    after = apply(patch, live)
    assert _satisfied(desired, after)
    assert diff(desired, after) == {}
    assert _nulls_only_what_is_there(patch, live)
    if _satisfied(desired, live):
        assert patch == {}


@given(_specs(nulls=True), _specs(nulls=False))
def test_fields_that_are_not_mentioned_stay(desired: dict[str, Any], live: dict[str, Any]) -> None:
    after = apply(diff(desired, live), live)
    for key in live.keys() - desired.keys():
        assert after[key] == live[key]
    assert set(after) <= set(live) | set(desired)


RESOURCES = {"limits": {"cpu": "500m", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("path", "wanted", "live", "expected"),
    [
        (("readOnly",), False, None, True),
        (("readOnly",), None, False, True),
        (("readOnly",), True, None, False),
        (("replicas",), 0, None, False),
        (("replicas",), 1, 1, True),
        (("replicas",), 1, True, False),
        (("httpSecret",), "", None, True),
        (("routes",), [], None, True),
        (("tolerations",), None, [], True),
        (("nodeSelector",), {}, None, True),
        (("nodeSelector",), {"node-role.kubernetes.io/infra": ""}, None, False),
        (("nodeSelector",), {"node-role.kubernetes.io/infra": ""}, {"node-role.kubernetes.io/infra": ""}, True),
        (("proxy",), None, {}, True),
        (("requests",), None, {"read": {"maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}}, True),
        (
            ("requests", "read"),
            {"maxRunning": 100, "maxWaitInQueue": "60s"},
            {"maxRunning": 100, "maxWaitInQueue": "1m0s"},
            True,
        ),
        (("requests", "read"), {"maxRunning": 0}, None, True),
        (("resources",), RESOURCES, {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {}}, True),
        (("resources",), RESOURCES, {"limits": {"cpu": "500m"}}, False),
        (("resources", "limits"), {"cpu": "0"}, {}, False),
        (("storage", "emptyDir"), {}, {}, True),
        (("storage", "emptyDir"), {}, None, False),
        (("storage", "pvc"), None, {}, False),
        (("storage", "pvc"), {"claim": ""}, {}, True),
        (
            ("storage", "s3"),
            {"bucket": "images", "encrypt": False},
            {"bucket": "images", "virtualHostedStyle": False, "trustedCA": {"name": ""}},
            True,
        ),
        (("storage", "s3"), {"bucket": "images"}, {"bucket": "images", "encrypt": True}, False),
        (("storage", "s3", "cloudFront", "duration"), "0s", None, True),
        (("keepYoungerThanDuration",), "60m", "1h0m0s", True),
        (("keepYoungerThanDuration",), "0s", None, False),
        (("keepTagRevisions",), 0, None, False),
        (("suspend",), False, None, True),
        (("logLevel",), "Normal", None, True),
        (("logLevel",), "Debug", None, False),
        (("rolloutStrategy",), "RollingUpdate", None, False),
        (("affinity",), {}, None, False),
        (("routes",), [{"name": "a", "hostname": ""}], [{"name": "a"}], True),
        (("routes",), [{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}], False),
        (("topologySpreadConstraints",), [{"labelSelector": {}}], [{}], False),
    ],
)
def test_equality_is_field_by_field(path: tuple[str, ...], wanted: Any, live: Any, expected: bool) -> None:
    assert same(path, wanted, live) is expected


def test_a_bad_requested_value_is_refused_with_its_field_but_a_bad_live_value_only_differs() -> None:
    with pytest.raises(ValueError, match=r"^resources\.limits\.cpu: 'much' is not a quantity"):
        same(("resources",), {"limits": {"cpu": "much"}}, None)
    assert not same(("resources",), RESOURCES, {"limits": {"cpu": "much"}})
    assert not same(("requests", "read", "maxWaitInQueue"), "30s", "soon")
