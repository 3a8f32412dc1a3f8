# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wrote the fields of an object."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import (
    owned_fields,
    writers,
    written,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([".", "f:spec", "f:a", "k:{}", "v:1", "manager"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def entry(manager: str, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    """One entry of managedFields."""
    return {"manager": manager, "subresource": subresource, "fieldsV1": fields}


def test_fields_by_author() -> None:
    """Keys of lists are not part of a path; what was written through a subresource is not the object itself."""
    containers: dict[str, Any] = {
        "f:containers": {'k:{"name":"a"}': {".": {}, "f:args": {}, "f:resources": {"f:limits": {}}}}
    }
    item = {
        "metadata": {
            "managedFields": [
                entry("operator", {"f:spec": {"f:schedule": {}, **containers}, "f:metadata": {"f:labels": {}}}),
                entry("labels-only", {"f:metadata": {"f:labels": {}}}),
                entry("controller", {"f:spec": {"f:schedule": {}}}, "status"),
            ]
        }
    }
    found = owned_fields(item, "spec")
    assert {manager: sorted(paths) for manager, paths in found.items()} == {
        "operator": [("containers", "args"), ("containers", "resources", "limits"), ("schedule",)]
    }
    assert writers(item, "status") == {"controller"}
    assert writers(item) == {"operator", "labels-only"}


@given(st.lists(JSON_VALUES, max_size=3) | JSON_VALUES)
def test_whatever_the_cluster_sends_is_read(managed: Any) -> None:
    """An object may come from a hostile or a broken server."""
    item = {"metadata": {"managedFields": managed}}
    assert all(path for paths in owned_fields(item, "spec").values() for path in paths)
    assert all(isinstance(name, str) for name in writers(item))


def test_a_deep_or_endless_entry_costs_a_bounded_time() -> None:
    """A hundred thousand levels neither overflow the stack nor take long."""
    deep: dict[str, Any] = {}
    for _level in range(100_000):
        deep = {"f:a": deep}
    assert owned_fields({"metadata": {"managedFields": [entry("x", {"f:spec": deep})]}}, "spec") == {}


def test_the_time_of_a_change_is_the_api_server_s() -> None:
    """What controllers write into the status is not a change."""
    entries = [
        {"manager": "ansible", "time": "2026-01-01T12:00:00Z"},
        {"manager": "operator", "time": "2026-01-01T13:00:00Z", "subresource": "status"},
        {"manager": "kubectl", "time": "2026-01-01T11:00:00Z"},
    ]
    assert written({"metadata": {"managedFields": entries}}) == "2026-01-01T12:00:00Z"
    assert written({"metadata": {}}) == written(None) == ""
