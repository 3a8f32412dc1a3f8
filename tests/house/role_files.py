# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what a role says about its variables from the documentation of the module (or modules) it wraps.

    python -m tests.house.role_files [--check]

One source, three places: meta/argument_specs.yml, defaults/main.yml and the part of README.md between the markers.
Exit status of --check: 1 when a file on disk differs from what would be written.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "alauda.image_registry"
PARTS = ("registry_storage", "registry_pullsecret", "image_limits", "image_pruner")
"""Modules with a role of the same name, in the order in which the role `registry` goes through them."""
SITE = "registry"
"""The role that takes each part's parameters as one dictionary, named like the part."""
ROLES = (SITE, *PARTS)
SECRETIVE = frozenset({SITE, "registry_storage"})
"""Roles that take secrets besides those for the API server, and so have a variable for what is logged."""
SHARED_FRAGMENTS = ("wait", "platform", "auth")
"""Fragments whose options the role `registry` also takes once for all parts."""
BEGIN = "<!-- variables: written by `make roles` from the module's documentation -->"
END = "<!-- end of variables -->"

Options = dict[str, dict[str, Any]]


@cache
def module_documentation(module: str) -> Mapping[str, Any]:
    """Documentation of one of our modules as ansible-doc sees it, fragments merged. Raises RuntimeError without one."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "module", f"{COLLECTION}.{module}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(f"ansible-doc {COLLECTION}.{module}: {answer.stderr.strip()}")
    found = json.loads(answer.stdout)
    if not found:
        raise RuntimeError(f"ansible-doc knows no module {COLLECTION}.{module}: {answer.stderr.strip()}")
    documentation: Mapping[str, Any] = next(iter(found.values()))["doc"]
    return documentation


def _constant(path: Path, name: str = "DOCUMENTATION") -> Any:
    """YAML in a module's or fragment's constant of that name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return yaml.safe_load(ast.literal_eval(node.value))
    raise RuntimeError(f"{path}: no {name}")


def written_order(module: str) -> dict[str, Any]:
    """Options in the order they are written in (ansible-doc sorts them): the module's own, then the fragments'."""
    source = _constant(ROOT / "plugins" / "modules" / f"{module}.py")
    options = dict(source["options"])
    for fragment in source.get("extends_documentation_fragment", []):
        name = fragment.removeprefix(f"{COLLECTION}.")
        options |= _constant(ROOT / "plugins" / "doc_fragments" / f"{name}.py").get("options") or {}
    return options


def _described(option: Mapping[str, Any]) -> list[str]:
    text = option["description"]
    return [text] if isinstance(text, str) else list(text)


@dataclass(frozen=True)
class _Names:
    """How a module's options and its result are called in a role. known: names of the options."""

    known: frozenset[str]
    option: str
    result: str

    def applied(self, text: str) -> str:
        """References to the module's options turned into ones to the role's: O(wait) -> O(registry_storage_wait)."""

        def renamed(match: re.Match[str]) -> str:
            return f"O({self.option}{match[1]}" if match[1] in self.known else match[0]

        text = re.sub(r"\bRV\((\w+)", rf"C({self.result}.\1", text)
        return re.sub(r"\bO\((\w+)", renamed, text)


def _spec(options: Mapping[str, Any], order: Mapping[str, Any], names: _Names) -> Options:
    """Options of ansible-doc as options of an argument spec, in the order of the sources."""
    result: Options = {}
    for name in sorted(options, key=list(order).index):
        option = options[name]
        entry: dict[str, Any] = {
            "description": [names.applied(line) for line in _described(option)],
            "type": option.get("type", "str"),
        }
        for key in ("elements", "choices", "default"):
            if option.get(key) is not None:
                entry[key] = option[key]
        if option.get("required"):
            entry["required"] = True
        if "suboptions" in option:
            entry["options"] = _spec(option["suboptions"], order[name]["suboptions"], names)
        result[name] = entry
    return result


def _secure_logging(role: str) -> Options:
    if role not in SECRETIVE:
        return {}
    return {
        f"{role}_secure_logging": {
            "description": [
                "Keeps the arguments and the raw result of the module's task out of every log.",
                "The reason of a failure, the diff and what was proven are shown all the same, without secrets.",
            ],
            "type": "bool",
            "default": True,
        }
    }


def _site_options() -> Options:
    """Variables of the role `registry`: a dictionary for each part, and what all parts share."""
    result: Options = {}
    for part in PARTS:
        documentation = module_documentation(part)
        known = documentation["options"]
        names = _Names(frozenset(known), f"{part}.", f"registry_result.{part}")
        several = part == "image_limits"
        result[part] = {
            "description": [
                f"{documentation['short_description']}: the options of M({COLLECTION}.{part}).",
                *(["One dictionary, or a list of them for several groups of namespaces."] if several else []),
                "Without it, or when it is empty, this part is left alone.",
            ],
            # An argument spec has no word for "one or several"; the role itself checks each.
            "type": "raw" if several else "dict",
            "options": _spec(known, written_order(part), names),
        }
    options = module_documentation(PARTS[0])["options"]
    shared: dict[str, Any] = {}
    for fragment in SHARED_FRAGMENTS:
        shared |= _constant(ROOT / "plugins" / "doc_fragments" / f"{fragment}.py")["options"]
    names = _Names(frozenset(shared), "registry_", "registry_result")
    result |= {
        f"registry_{name}": option
        for name, option in _spec({name: options[name] for name in shared}, shared, names).items()
    }
    return result | _secure_logging(SITE)


def role_options(role: str) -> Options:
    """Every variable of a role by its full name: one for each option of its module, and the role's own."""
    if role == SITE:
        return _site_options()
    known = module_documentation(role)["options"]
    options = _spec(known, written_order(role), _Names(frozenset(known), f"{role}_", f"{role}_result"))
    for option in options.values():
        # What the module must be told the role may lack: without it the role does nothing.
        option.pop("required", None)
    return {f"{role}_{name}": option for name, option in options.items()} | _secure_logging(role)


def _head(role: str) -> tuple[str, list[str]]:
    if role == SITE:
        return "The whole registry from one set of variables", [
            "Goes through storage, pull secrets, image limits and image pruning, each only where it is asked for.",
            "Looks at all of them before it writes anything, so that what one refuses leaves nothing half done.",
        ]
    documentation = module_documentation(role)
    return documentation["short_description"], _described(documentation)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def argument_specs(role: str) -> str:
    """Text of meta/argument_specs.yml."""
    short, description = _head(role)
    spec = {"short_description": short, "description": description, "options": role_options(role)}
    return "---\n# Written by `make roles` from the module's documentation.\n" + _yaml(
        {"argument_specs": {"main": spec}}
    )


def _plain(text: str) -> str:
    """Ansible's markup as plain text."""
    text = re.sub(r"\b[OVEPC]\(([^()]*(?:\([^()]*\))?[^()]*)\)", lambda match: match[1].removesuffix("="), text)
    text = re.sub(r"\bRV\(([^()]*)\)", r"\1", text)
    text = re.sub(r"\b[BIM]\(([^()]*)\)", r"\1", text)
    return re.sub(r"\bL\(([^,()]*),[^()]*\)", r"\1", text)


def defaults(role: str) -> str:
    """Text of defaults/main.yml: variables with a default as such, the others listed in comments."""
    lines = [
        "---",
        "# Written by `make roles` from the module's documentation.",
        "# A variable that is commented out has no default: what it stands for is left as it is in the cluster.",
    ]
    for name, option in role_options(role).items():
        lines.append("")
        for sentence in option["description"]:
            lines += [f"# {line}" for line in textwrap.wrap(_plain(sentence), 110)]
        if "choices" in option:
            lines.append(f"# One of: {', '.join(map(str, option['choices']))}")
        if "default" in option:
            lines.append(_yaml({name: option["default"]}).rstrip())
        else:
            shape = "{" + ", ".join(option["options"]) + "}" if "options" in option else f"<{option['type']}>"
            lines += [f"# {line}" for line in textwrap.wrap(f"{name}: {shape}", 110, subsequent_indent="  ")]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Ansible's markup as Markdown inside a table cell."""
    text = re.sub(r"\b[OVEC]\(([^()]*(?:\([^()]*\))?[^()]*)\)", r"`\1`", text)
    text = re.sub(r"\bRV\(([^()]*)\)", r"`\1`", text)
    text = re.sub(r"\bB\(([^()]*)\)", r"**\1**", text)
    text = re.sub(r"\b[IM]\(([^()]*)\)", r"*\1*", text)
    text = re.sub(r"\bL\(([^,()]*),\s*([^()]*)\)", r"[\1](\2)", text)
    return text.replace("|", "\\|")


def _rows(options: Options, prefix: str = "") -> list[str]:
    rows = []
    for name, option in options.items():
        shown = (
            "" if "default" not in option else f"`{json.dumps(option['default'], ensure_ascii=False)}`".replace('"', "")
        )
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        said = " ".join(option["description"])
        if "choices" in option:
            said += f" One of: {', '.join(f'V({choice})' for choice in option['choices'])}."
        if option.get("required"):
            said += " B(Required.)"
        rows.append(f"| `{prefix}{name}` | {kind} | {shown} | {_cell(said)} |")
        if "options" in option:
            rows += _rows(option["options"], f"{prefix}{name}.")
    return rows


def readme_variables(role: str) -> str:
    """The part of README.md between the markers, markers included."""
    options = role_options(role)
    if role == SITE:
        options |= {part: {**options[part], "options": {}} for part in PARTS}
    table = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |", *_rows(options)]
    return "\n".join([BEGIN, "", *table, "", END])


def files(role: str) -> dict[Path, str]:
    """What should be on disk, by path. Raises RuntimeError when the README has no place for the table."""
    folder = ROOT / "roles" / role
    readme = (folder / "README.md").read_text(encoding="utf-8")
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{folder / 'README.md'}: put the lines {BEGIN!r} and {END!r} where the variables belong")
    return {
        folder / "meta" / "argument_specs.yml": argument_specs(role),
        folder / "defaults" / "main.yml": defaults(role),
        folder / "README.md": before + readme_variables(role) + after,
    }


def main() -> int:
    """Writes or checks the files of every role; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    check = parser.parse_args().check
    stale = 0
    for role in ROLES:
        for path, text in files(role).items():
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale += 1
            print(f"{path.relative_to(ROOT)}: {'differs; run `make roles`' if check else 'written'}")
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
