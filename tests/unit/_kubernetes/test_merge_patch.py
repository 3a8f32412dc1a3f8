# SPDX-License-Identifier: GPL-3.0-or-later
"""What a patch does to an object. What goes into a patch depends on the fields: see _registry/test_fields.py."""

from __future__ import annotations

import copy

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply, names


def test_applying_changes_neither_side() -> None:
    live = {"a": {"b": 1, "c": [1]}, "d": 2}
    patch = {"a": {"b": None, "e": {"f": None, "g": 1}}, "d": None, "h": None}
    before = copy.deepcopy((live, patch))
    assert apply(patch, live) == {"a": {"c": [1], "e": {"g": 1}}}
    assert (live, patch) == before
    assert apply({"a": {"b": 1}}, {"a": "text"}) == {"a": {"b": 1}}
    assert apply({"a": 1}, None) == {"a": 1}


def test_names_for_messages() -> None:
    assert names({"storage": {"s3": {"bucket": "b"}, "pvc": None, "emptyDir": {}}, "replicas": 2}) == [
        "replicas",
        "storage.emptyDir",
        "storage.pvc",
        "storage.s3.bucket",
    ]
