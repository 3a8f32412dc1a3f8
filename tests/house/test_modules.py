# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's documentation, argument spec and examples agree."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.house import role_files

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
PACKAGE = "ansible_collections.alauda.image_registry.plugins.modules"
SECRET_WORDS = ("secret", "password", "token", "api_key", "keyfile", "account_key", "access_key", "basic_auth")

pytestmark = pytest.mark.parametrize("name", MODULES)


class _Called(Exception):
    """Carries what a module passed to AnsibleModule."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.given = given


def _given(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keyword arguments with which the module creates its AnsibleModule."""
    module = importlib.import_module(f"{PACKAGE}.{name}")

    def called(**given: Any) -> None:
        raise _Called(**given)

    monkeypatch.setattr(module, "AnsibleModule", called)
    with pytest.raises(_Called) as caught:
        module.main()
    return caught.value.given


def _documented(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "aliases": sorted(option.get("aliases") or []),
            "options": _documented(option["suboptions"]) if "suboptions" in option else None,
        }
        for name, option in options.items()
    }


def _specified(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "aliases": sorted(option.get("aliases") or []),
            "options": _specified(option["options"]) if "options" in option else None,
        }
        for name, option in spec.items()
    }


def _string(name: str, constant: str) -> str:
    source = (ROOT / "plugins" / "modules" / f"{name}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == constant for to in node.targets):
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{name} has no {constant}")


def test_documentation_is_the_argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _given(name, monkeypatch)["argument_spec"]
    assert _documented(role_files.module_documentation(name)["options"]) == _specified(spec)


def test_every_secret_is_kept_out_of_logs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    undecided = []

    def look(spec: Mapping[str, Any], prefix: str) -> None:
        for option_name, option in spec.items():
            if any(word in option_name for word in SECRET_WORDS) and "no_log" not in option and "options" not in option:
                undecided.append(prefix + option_name)
            look(option.get("options") or {}, f"{prefix}{option_name}.")

    look(_given(name, monkeypatch)["argument_spec"], "")
    assert not undecided, "say no_log: true, or false where the name only sounds like a secret"


def test_check_mode_is_supported_as_documented(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _given(name, monkeypatch)["supports_check_mode"] is True
    attributes = role_files.module_documentation(name)["attributes"]
    for attribute in ("check_mode", "diff_mode", "idempotent", "action_group"):
        assert attributes[attribute]["support"] in ("full", "partial", "none"), attribute


def test_examples_are_valid_named_tasks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _given(name, monkeypatch)
    rules = {key: given[key] for key in ("mutually_exclusive", "required_together", "required_if") if key in given}
    validator = ArgumentSpecValidator(given["argument_spec"], **rules)
    tasks = yaml.safe_load(_string(name, "EXAMPLES"))
    own = 0
    for task in tasks:
        assert task.get("name"), task
        arguments = task.get(f"{role_files.COLLECTION}.{name}")
        if arguments is not None:
            own += 1
            assert validator.validate(arguments).error_messages == [], task["name"]
    assert own, "no example uses the module"


def test_return_values_are_described(name: str) -> None:
    values = yaml.safe_load(_string(name, "RETURN"))

    def look(values: Mapping[str, Any], prefix: str) -> list[str]:
        lacking = []
        for key, value in values.items():
            if not value.get("description") or not value.get("type"):
                lacking.append(prefix + key)
            lacking += look(value.get("contains") or {}, f"{prefix}{key}.")
        return lacking

    assert values
    assert look(values, "") == []


def test_a_module_is_short(name: str) -> None:
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{name}.py").read_text(encoding="utf-8"))
    code = [
        node
        for node in tree.body
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
        and not isinstance(node, ast.Expr)
    ]
    lines = sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in code)
    assert lines <= 40, "what a module does belongs in module_utils"
