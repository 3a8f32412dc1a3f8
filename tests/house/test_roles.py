# SPDX-License-Identifier: GPL-3.0-or-later
"""A role, its module and its documents say the same: names, types, values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house import role_files

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
OWN = {"secure_logging"}

pytestmark = pytest.mark.parametrize("role", ROLES)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _spec(role: str) -> dict[str, Any]:
    options: dict[str, Any] = _yaml(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return options


def _module_task(role: str) -> dict[str, Any]:
    """Arguments of the one task that calls the role's module."""
    found: list[dict[str, Any]] = []

    def search(node: Any) -> None:
        if isinstance(node, list):
            for entry in node:
                search(entry)
        elif isinstance(node, dict):
            if f"{role_files.COLLECTION}.{role}" in node:
                found.append(node)
            for key in ("block", "rescue", "always"):
                search(node.get(key))

    for path in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")):
        search(_yaml(path))
    assert len(found) == 1, f"the role calls its module {len(found)} times"
    return found[0]


def test_the_generator_knows_the_role(role: str) -> None:
    assert role in role_files.ROLES


def test_files_are_as_the_modules_documentation_says(role: str) -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, text in role_files.files(role).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make roles`"


def test_defaults_are_the_specs_names_and_values(role: str) -> None:
    spec = _spec(role)
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    assert _yaml(path) == {name: option["default"] for name, option in spec.items() if "default" in option}
    listed = re.findall(r"^(?:# )?(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in listed if name.startswith(f"{role}_")] == list(spec)


def test_the_readme_has_every_variable_with_its_default(role: str) -> None:
    rows = {}
    for line in (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if len(cells) == 6 and cells[1].startswith(f"`{role}_") and "." not in cells[1]:
            rows[cells[1].strip("`")] = cells
    spec = _spec(role)
    assert list(rows) == list(spec)
    for name, option in spec.items():
        default = rows[name][3].strip("`")
        assert default == ("" if "default" not in option else json.dumps(option["default"]).replace('"', "")), name
        assert rows[name][2].startswith(option["type"]), name


def test_variables_carry_the_roles_name(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in _spec(role))


def test_every_option_of_the_module_can_be_given(role: str) -> None:
    options = role_files.module_documentation(role)["options"]
    spec = _spec(role)
    assert {name.removeprefix(f"{role}_") for name in spec} - OWN == set(options)
    arguments = _module_task(role)[f"{role_files.COLLECTION}.{role}"]
    assert set(arguments) == set(options)
    for name, value in arguments.items():
        variable = f"{role}_{name}"
        always = "default" in spec[variable] or options[name].get("required")
        assert value == (f"{{{{ {variable} }}}}" if always else f"{{{{ {variable} | default(omit) }}}}"), name


def test_the_modules_task_is_kept_out_of_logs_and_publishes_its_result(role: str) -> None:
    task = _module_task(role)
    assert task["no_log"] == f"{{{{ {role}_secure_logging }}}}"
    assert task["register"] == f"{role}_result"
    assert _yaml(ROOT / "roles" / role / "defaults" / "main.yml")[f"{role}_secure_logging"] is True
