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
OWN = {"secure_logging", "on_backend_change", "allow_nothing"}
"""Variables of the role `registry` that are not options shared by all parts."""

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
    text = path.read_text(encoding="utf-8")
    listed = re.findall(r"^(?:# )?(\w+):", text, re.MULTILINE)
    assert [name for name in listed if name in spec or name.startswith(f"{role}_")] == list(spec)
    # What is set here would hide module_defaults, so the modules' defaults are in comments only.
    assert (_yaml(path) or {}) == {name: False for name in spec if name.endswith("_secure_logging")}
    shown = yaml.safe_load("\n".join(re.findall(r"^(?:# )?(\w+: [^<{\n].*)$", text, re.MULTILINE)))
    assert {name: shown[name] for name in spec if "default" in spec[name]} == {
        name: option["default"] for name, option in spec.items() if "default" in option
    }


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
    # A dictionary is named after the module whose options it holds.
    parts = set(role_files.PARTS) if role == role_files.SITE else {role}
    assert all(name.startswith(f"{role}_") for name in set(_spec(role)) - parts)


@each_part
def test_every_option_of_the_module_can_be_given(role: str) -> None:
    options = role_files.module_documentation(role)["options"]
    spec = _spec(role)
    own = {name.removeprefix(f"{role}_") for name in spec} - {"secure_logging", role}
    assert own == set(options)
    # The module refuses other names, so the role's spec lists none.
    assert not [name for name, option in spec.items() if "options" in option]
    assert set(role_files.role_options(role)[role]["options"]) == set(options) - _shared()
    arguments = _module_task(role, role)[f"{role_files.COLLECTION}.{role}"]
    assert set(arguments) == set(options)
    for name, value in arguments.items():
        # An argument that is always passed would hide module_defaults.
        otherwise = f"registry_{name}" if name in _shared() else f"__{role}_given.{name}"
        expected = f"{{{{ {role}_{name} | default({otherwise} | default(omit)) }}}}"
        if name == "on_backend_change":
            expected = expected.replace("default(", "default(registry_on_backend_change | default(", 1).replace(
                " }}", ") }}"
            )
        assert value == expected, name


def test_the_role_for_all_takes_every_option_of_its_module_once() -> None:
    site = role_files.SITE
    options = role_files.module_documentation(site)["options"]
    arguments = _module_task(site, site)[f"{role_files.COLLECTION}.{site}"]
    assert set(arguments) == set(options)
    assert {name.removeprefix("registry_") for name in _spec(site)} - OWN - {"storage", "pullsecret"} == set(
        options
    ) - {"mode", "registry_storage", "registry_pullsecret", "allow_nothing"}
    for name, value in arguments.items():
        if name in _shared() | {"allow_nothing"}:
            assert value == f"{{{{ registry_{name} | default(omit) }}}}", name
        elif name != "mode":
            assert value == f"{{{{ __registry_given.{name} | default(omit, true) }}}}", name


@each_part
def test_every_option_can_be_given_in_the_dictionary_of_the_role_for_all(role: str) -> None:
    options = role_files.module_documentation(role)["options"]
    # What all parts share is given once for all. The module refuses other names, so the role's spec lists none.
    assert "options" not in _spec(role_files.SITE)[role]
    assert set(role_files.role_options(role_files.SITE)[role]["options"]) == set(options) - _shared()
    taken = role_files.module_documentation(role_files.SITE)["options"][role]["suboptions"]
    assert set(taken) == set(options) - _shared()


def test_both_entry_points_are_the_same_task_in_another_mode() -> None:
    folder = ROOT / "roles" / role_files.SITE
    entries = _yaml(folder / "meta" / "argument_specs.yml")["argument_specs"]
    assert set(entries) == {"main", "verify"}
    assert entries["verify"]["options"] == entries["main"]["options"]
    for entry, mode in (("main", "configure"), ("verify", "verify")):
        (task,) = _yaml(folder / "tasks" / f"{entry}.yml")
        assert task["ansible.builtin.import_tasks"] == "page.yml"
        assert task["vars"] == {"__registry_mode": mode}
    (page,) = _yaml(folder / "tasks" / "page.yml")
    assert page["alauda.image_registry.registry"]["mode"] == "{{ __registry_mode }}"
    assert page["tags"] == ["registry", *role_files.PARTS]
    assert _yaml(folder / "vars" / "main.yml")["__registry_parts"] == list(role_files.PARTS)
    assert not {"check_mode", "changed_when", "failed_when"} & set(page)


@each_part
def test_a_part_with_nothing_to_do_names_what_would_give_it_something(role: str) -> None:
    variables = _yaml(ROOT / "roles" / role / "vars" / "main.yml")
    asked = set(re.findall(rf"({role}_\w+) is defined", variables[f"__{role}_asked"]))
    assert asked
    assert asked <= set(re.findall(rf"{role}_\w+", variables[f"__{role}_idle"]))
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
    for place in (role, role_files.SITE):
        task = _module_task(place, place)
        logged = secretive or place == role_files.SITE
        assert task.get("no_log") == (f"{{{{ {place}_secure_logging }}}}" if logged else None)
        assert task["register"] == f"{place}_result"
        # The module masks its secrets (tests/integration/test_secrets.py), so hiding the whole task is a choice.
        if logged:
            assert _yaml(ROOT / "roles" / place / "defaults" / "main.yml")[f"{place}_secure_logging"] is False


def _has_secrets(spec: dict[str, Any]) -> bool:
    return any(option.get("no_log") or _has_secrets(option.get("options") or {}) for option in spec.values())


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbooks_are_tagged_alike_and_gather_nothing(playbook: str) -> None:
    (play,) = _yaml(ROOT / "playbooks" / f"{playbook}.yml")
    assert play["gather_facts"] is False
    (task,) = play["tasks"]
    called = task.get("ansible.builtin.import_role") or task["ansible.builtin.include_role"]
    # The role for all parts tags its task itself.
    if called["name"] == f"{role_files.COLLECTION}.{role_files.SITE}":
        assert "tags" not in task
        return
    part = {"limits": "image_limits", "pruner": "image_pruner", "pullsecret": "registry_pullsecret"}.get(
        playbook, "registry_storage"
    )
    assert part in called["name"]
    assert task["tags"] == called.get("apply", task)["tags"] == ["registry", part]
