# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/permissions is what was recorded at the wire, for every module and product, and each file can be applied."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import (
    ALAUDA,
    OPENSHIFT,
    PLATFORMS,
)
from tests.house import permissions
from tests.house.permissions import Right
from tests.house.role_files import PARTS

WHERE = (permissions.REGISTRY, "", "secrets")


def test_the_committed_files_are_what_the_record_gives() -> None:
    wanted = permissions.files(permissions.read())
    present = {*permissions.FOLDER.rglob("*.yaml"), *permissions.FOLDER.glob("*.md")}
    assert present == set(wanted)
    assert [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text] == []


def test_every_module_and_option_is_recorded() -> None:
    assert set(PARTS) == set(permissions.OPTIONS)
    recorded = permissions.read()
    assert {name: list(rights) for name, rights in recorded.items()} == {
        name: list(options) for name, options in permissions.OPTIONS.items()
    }
    assert [(name, option) for name, options in recorded.items() for option in options if not options[option]] == []


def test_what_every_task_needs_writes_nothing_and_reads_no_secret() -> None:
    for module, options in permissions.read().items():
        assert {one.verb for one in options[""]} <= permissions.READING, module
        assert "secrets" not in {one.resource for one in options[""]}, module


def test_what_is_written_can_be_read_again() -> None:
    """Where the answer to a write is lost, the object itself shows whether it was carried out."""
    for module, options in permissions.read().items():
        rights = {one for option in options.values() for one in option if "/" not in one.resource}
        readable = {(one.where, one.group, one.resource, one.name) for one in rights if one.verb == "get"}
        for one in rights:
            if one.verb not in permissions.READING:
                names = {name for *place, name in readable if place == [one.where, one.group, one.resource]}
                assert names & {one.name, ""} or (names and one.verb == "create"), (module, one)


def test_what_a_task_does_without_is_in_the_file_named_for_it() -> None:
    recorded = permissions.read()
    for module, options in permissions.OPTIONAL.items():
        for option, rights in options.items():
            assert rights <= recorded[module][option], (module, option)
            others = {one for name, found in recorded[module].items() if name != option for one in found}
            assert not rights & others, (module, option)


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_a_file_names_one_product_only(platform: object) -> None:
    mine, other = (ALAUDA, OPENSHIFT) if platform is ALAUDA else (OPENSHIFT, ALAUDA)
    files = sorted((permissions.FOLDER / mine.name).glob("*.yaml"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert other.group not in text, path
        assert other.namespace not in text, path
        for item in yaml.safe_load_all(text):
            assert item["metadata"]["name"]
            assert item["kind"] in {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"}


def test_a_right_without_a_name_covers_the_same_with_one() -> None:
    wide, narrow = Right(*WHERE, "", "get"), Right(*WHERE, "one", "get")
    assert wide.covers(narrow)
    assert not narrow.covers(wide)
    assert not wide.covers(Right(*WHERE, "", "patch"))


def test_rules_join_what_has_the_same_verbs_and_keep_names_apart() -> None:
    rights = [
        Right(*WHERE, "", "create"),
        Right(*WHERE, ALAUDA.user_secret, "patch"),
        Right(*WHERE, ALAUDA.user_secret, "get"),
        Right(permissions.REGISTRY, "", "configmaps", "", "create"),
    ]
    assert permissions.rules(rights, OPENSHIFT) == [
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [OPENSHIFT.user_secret],
            "verbs": ["get", "patch"],
        },
    ]
