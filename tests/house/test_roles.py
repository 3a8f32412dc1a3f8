# SPDX-License-Identifier: GPL-3.0-or-later
"""A role, its module and its documentation agree in names, types and values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils import _argspec
from tests.house import role_files

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
OWN = {"secure_logging"}

each_role = pytest.mark.parametrize("role", ROLES)
each_part = pytest.mark.parametrize("role", role_files.PARTS)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _spec(role: str) -> dict[str, Any]:
    options: dict[str, Any] = _yaml(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return options


def _module_task(role: str, module: str) -> dict[str, Any]:
    """The one task of the role that calls the module."""
    found: list[dict[str, Any]] = []

    def search(node: Any) -> None:
        if isinstance(node, list):
            for entry in node:
                search(entry)
        elif isinstance(node, dict):
            if f"{role_files.COLLECTION}.{module}" in node:
                found.append(node)
            for key in ("block", "rescue", "always"):
                search(node.get(key))

    for path in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")):
        search(_yaml(path))
    assert len(found) == 1, f"the role calls its module {len(found)} times"
    return found[0]


def _shared() -> set[str]:
    """Options that the role `registry` takes for all parts at once."""
    return {name.removeprefix("registry_") for name in _spec(role_files.SITE)} - set(role_files.PARTS) - OWN


@each_role
def test_the_generator_knows_the_role(role: str) -> None:
    assert role in role_files.ROLES


@each_role
def test_files_are_as_the_modules_documentation_says(role: str) -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, text in role_files.files(role).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make roles`"


@each_role
def test_defaults_are_the_specs_names_and_values(role: str) -> None:
    spec = _spec(role)
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    assert _yaml(path) == {name: option["default"] for name, option in spec.items() if "default" in option}
    listed = re.findall(r"^(?:# )?(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in listed if name in spec or name.startswith(f"{role}_")] == list(spec)


@each_role
def test_the_readme_has_every_variable_with_its_default(role: str) -> None:
    spec = _spec(role)
    rows = {}
    for line in (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if len(cells) == 6 and cells[1].startswith("`") and "." not in cells[1]:
            rows[cells[1].strip("`")] = cells
    assert list(rows) == list(spec)
    for name, option in spec.items():
        default = rows[name][3].strip("`")
        assert default == ("" if "default" not in option else json.dumps(option["default"]).replace('"', "")), name
        assert rows[name][2].startswith(option["type"]), name


@each_role
def test_variables_carry_the_roles_name(role: str) -> None:
    # The dictionaries of the role `registry` are named after the modules whose options they hold.
    parts = set(role_files.PARTS) if role == role_files.SITE else set()
    assert all(name.startswith(f"{role}_") for name in set(_spec(role)) - parts)


@each_part
def test_every_option_of_the_module_can_be_given(role: str) -> None:
    options = role_files.module_documentation(role)["options"]
    spec = _spec(role)
    assert {name.removeprefix(f"{role}_") for name in spec} - OWN == set(options)
    arguments = _module_task(role, role)[f"{role_files.COLLECTION}.{role}"]
    assert set(arguments) == set(options)
    for name, value in arguments.items():
        variable = f"{role}_{name}"
        always = "default" in spec[variable] or options[name].get("required")
        assert value == (f"{{{{ {variable} }}}}" if always else f"{{{{ {variable} | default(omit) }}}}"), name


@each_part
def test_every_option_can_be_given_in_the_dictionary_of_the_role_for_all(role: str) -> None:
    options = role_files.module_documentation(role)["options"]
    assert set(_spec(role_files.SITE)[role]["options"]) == set(options)
    arguments = _module_task(role_files.SITE, role)[f"{role_files.COLLECTION}.{role}"]
    assert set(arguments) == set(options)
    source = "__registry_limit" if role == "image_limits" else role
    for name, value in arguments.items():
        if name not in _shared():
            otherwise = "omit"
        elif "default" in _spec(role_files.SITE)[f"registry_{name}"]:
            otherwise = f"registry_{name}"
        else:
            otherwise = f"registry_{name} | default(omit)"
        assert value == f"{{{{ {source}.{name} | default({otherwise}) }}}}", name


@each_part
def test_the_first_look_writes_nothing_and_check_mode_stays_check_mode(role: str) -> None:
    task = _module_task(role_files.SITE, role)
    assert task["check_mode"] == "{{ __registry_first or ansible_check_mode }}"
    assert task["changed_when"] == "not __registry_first and __registry_seen is changed"


def test_the_role_for_all_goes_through_all_parts_in_order() -> None:
    includes = _yaml(ROOT / "roles" / role_files.SITE / "tasks" / "parts.yml")
    assert [task["ansible.builtin.include_tasks"]["file"] for task in includes] == [
        f"{part}.yml" for part in role_files.PARTS
    ]
    for task, part in zip(includes, role_files.PARTS, strict=True):
        assert task["tags"] == task["ansible.builtin.include_tasks"]["apply"]["tags"] == ["registry", part]


@each_part
def test_a_part_with_nothing_to_do_names_what_would_give_it_something(role: str) -> None:
    said = (ROOT / "roles" / role / "tasks" / "main.yml").read_text(encoding="utf-8")
    decides = ROOT / "roles" / role / "vars" / "main.yml"
    asked = set(
        re.findall(rf"({role}_\w+) is defined", decides.read_text(encoding="utf-8") if decides.exists() else said)
    )
    assert asked
    assert asked <= set(re.findall(rf"{role}_\w+", said))
    if role == "image_pruner":
        assert {name.removeprefix("image_pruner_") for name in asked} == set(_own_settings(role))


def _own_settings(role: str) -> list[str]:
    """Options without a default that only this module has."""
    options = role_files.module_documentation(role)["options"]
    return [name for name, option in options.items() if option.get("default") is None and name not in _shared()]


@each_part
def test_what_could_log_secrets_is_kept_out_of_logs_and_the_result_is_published(role: str) -> None:
    spec = getattr(_argspec, role.removeprefix("registry_").removeprefix("image_").upper())
    secretive = role in role_files.SECRETIVE
    assert secretive is _has_secrets(spec)
    for place, prefix in ((role, role), (role_files.SITE, "registry")):
        task = _module_task(place, role)
        assert task.get("no_log") == (f"{{{{ {prefix}_secure_logging }}}}" if secretive else None)
    assert _module_task(role, role)["register"] == f"{role}_result"
    if secretive:
        assert _yaml(ROOT / "roles" / role / "defaults" / "main.yml")[f"{role}_secure_logging"] is True
        assert _yaml(ROOT / "roles" / role_files.SITE / "defaults" / "main.yml")["registry_secure_logging"] is True


def _has_secrets(spec: dict[str, Any]) -> bool:
    return any(option.get("no_log") or _has_secrets(option.get("options") or {}) for option in spec.values())


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbooks_are_tagged_alike_and_gather_nothing(playbook: str) -> None:
    (play,) = _yaml(ROOT / "playbooks" / f"{playbook}.yml")
    assert play["gather_facts"] is False
    (task,) = play["tasks"]
    role = task["ansible.builtin.import_role"]["name"].removeprefix(f"{role_files.COLLECTION}.")
    # The role for all parts tags each part itself.
    assert task.get("tags") == (None if role == role_files.SITE else ["registry", role])
