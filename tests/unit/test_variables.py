# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables count as misspelt ones of the collection's roles and playbooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.plugin_utils import _variables
from ansible_collections.alauda.image_registry.plugins.plugin_utils._variables import (
    KNOWN,
    refusal,
    unknown_keys,
    unknown_variables,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("registry_storge", "registry_storage"),
        ("registry_storage_replica", "registry_storage_replicas"),
        ("registry_pvc_sise", "registry_pvc_size"),
        ("image_prunner", "image_pruner"),
        ("image_pruner_scheduel", "image_pruner_schedule"),
        ("registry_wait_timout", "registry_wait_timeout"),
    ],
)
def test_a_misspelt_variable_is_found_with_the_right_name(name: str, meant: str) -> None:
    assert unknown_variables({name: {}, "registry_storage": {}}) == [f"{name} (did you mean {meant}?)"]


def test_a_roles_own_beginning_is_its_own_even_if_no_name_is_near() -> None:
    assert unknown_variables({"image_pruner_whatever_else": 1}) == ["image_pruner_whatever_else"]


@pytest.mark.parametrize("name", ["registry_hostname", "registry_url", "image_name", "imagery", "registry", "pruner"])
def test_other_peoples_variables_are_left_alone(name: str) -> None:
    assert unknown_variables({name: {}}) == []


def test_a_text_is_not_a_misspelt_dictionary_unless_it_may_become_one() -> None:
    assert unknown_variables({"registry_pull_secret": "my-secret"}) == []
    assert unknown_variables({"registry_pull_secret": "{{ wanted }}"})
    assert unknown_variables({"registry_pull_secret": {"management_state": "Managed"}})


@given(st.sampled_from(sorted(KNOWN)))
def test_known_variables_are_never_refused(name: str) -> None:
    assert unknown_variables({name: {}}) == []


def test_every_variable_that_roles_and_playbooks_read_is_known() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").glob("*.yml")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "roles").glob("*/[tvdm]*/*.yml")]
    read = {name for text in texts for name in re.findall(r"(?<![\w.])(?:registry|image)_\w+", text)}
    # Options, modules and objects that look like variables.
    read -= {"image_registry", "image_tags", "image_stream"}
    assert {name for name in read if name not in KNOWN and not name.startswith("registry_ca")} <= {"registry_hosts"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"schedule": "@daily", "scheduel": 1}, ["image_pruner.scheduel (did you mean schedule?)"]),
        ({"kubeconfig": "x"}, ["image_pruner.kubeconfig (give it as registry_kubeconfig)"]),
        ({"wholly_different": 1}, ["image_pruner.wholly_different"]),
        ([{"schedule": 1}], []),
        (None, []),
    ],
)
def test_keys_of_a_dictionary(given: object, found: list[str]) -> None:
    assert unknown_keys("image_pruner", given) == found


def test_the_refusal_names_the_way_out_and_nothing_is_no_refusal() -> None:
    assert f"{_variables.ALLOW_UNKNOWN}: true" in refusal(["registry_storge"])
    assert refusal([]) == ""
