# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a write whose answer was lost has been carried out, and which writes have the same content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Write, carried_out, spec_patch
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply

CLAIMS = "/api/v1/namespaces/registry/persistentvolumeclaims"
CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "a", "namespace": "registry", "labels": {"ours": "yes"}},
    "spec": {"resources": {"requests": {"storage": "1024Mi"}}},
}
STORED: dict[str, Any] = {
    **CLAIM,
    "metadata": {**CLAIM["metadata"], "uid": "u", "resourceVersion": "7", "labels": {"ours": "yes", "theirs": "too"}},
    "spec": {"resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
    "status": {"phase": "Pending"},
}
CREATE = Write("create", CLAIMS, CLAIM, "PersistentVolumeClaim", "a", {}, {})
DELETE = Write("delete", f"{CLAIMS}/a", {"resourceVersion": "7"}, "PersistentVolumeClaim", "a", {}, {})


@pytest.mark.parametrize(
    ("write", "found", "done"),
    [
        (CREATE, STORED, True),
        (CREATE, None, False),
        (CREATE, {**STORED, "metadata": {**STORED["metadata"], "deletionTimestamp": "now"}}, False),
        (CREATE, {**STORED, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}, False),
        (CREATE, {**STORED, "metadata": {"name": "a", "namespace": "registry"}}, False),
        (DELETE, None, True),
        (DELETE, {**STORED, "metadata": {**STORED["metadata"], "deletionTimestamp": "now"}}, True),
        (DELETE, STORED, False),
    ],
)
def test_an_object_shows_whether_a_write_was_carried_out(
    write: Write, found: dict[str, Any] | None, done: bool
) -> None:
    assert carried_out(write, found) is done


def test_the_guard_of_a_patch_is_not_part_of_what_it_writes() -> None:
    """The object has another resourceVersion afterwards."""
    body = {"metadata": {"resourceVersion": "6"}, "spec": {"volumeMode": "Filesystem"}}
    assert carried_out(Write("patch", f"{CLAIMS}/a", body, "PersistentVolumeClaim", "a", {}, {}), STORED)


_values = st.one_of(st.booleans(), st.integers(0, 9), st.text("ab", min_size=1), st.lists(st.text("ab", min_size=1)))
_specs = st.dictionaries(
    st.sampled_from(["one", "two", "three"]), st.one_of(_values, st.dictionaries(st.text("cd"), _values))
)


@given(live=_specs, desired=_specs)
def test_every_patch_is_recognised_after_it_was_carried_out_and_not_before(
    live: dict[str, Any], desired: dict[str, Any]
) -> None:
    write = spec_patch("/apis/example.com/v1/configs/cluster", "Config", "cluster", desired, live)
    if write is None:
        return
    before = {"metadata": {"name": "cluster"}, "spec": live}
    assert not carried_out(write, before)
    assert carried_out(write, {**before, "spec": apply(write.body["spec"], live)})


def test_the_content_of_a_write_is_the_same_in_every_namespace() -> None:
    other = {**CLAIM, "metadata": {**CLAIM["metadata"], "namespace": "other"}}
    path = CLAIMS.replace("/registry/", "/other/")
    assert CREATE.content == replace(CREATE, path=path, body=other).content
    assert DELETE.content == replace(DELETE, path=f"{path}/a", body={"resourceVersion": "8"}).content
    assert CREATE.content != replace(CREATE, body={**CLAIM, "spec": {}}).content
    assert CREATE.content != replace(CREATE, kind="Other").content
