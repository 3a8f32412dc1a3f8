# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates what a role says about its variables from the documentation of the module (or modules) it wraps.

    python -m tests.house.role_files [--check]

From one source come meta/argument_specs.yml, defaults/main.yml, and between markers the variables in README.md and the
arguments in the role's task.
Exit status with --check: 1 if a file on disk differs from what would be written.
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
PAGE_MODULE = ROOT / "plugins" / "modules" / "registry.py"
PARTS = ("registry_storage", "registry_pullsecret", "image_limits", "image_pruner")
"""Modules with a role of the same name, in the order in which the role `registry` runs them."""
SITE = "registry"
"""The role that takes the parameters of each part as a dictionary with the name of the part."""
ROLES = (SITE, *PARTS)
SECRETIVE = frozenset({SITE, "registry_storage"})
"""Roles that take secrets other than those for the API server, and so have a variable for what is logged."""
SHARED_FRAGMENTS = ("wait", "platform", "auth")
"""Fragments whose options the role `registry` also takes for all parts at once."""
TASKS = {SITE: "page.yml"}
"""The file of a role with the one task that calls its module; main.yml unless it is listed here."""
ARGUMENTS_BEGIN = "    # arguments: written by `make roles`\n"
ARGUMENTS_END = "    # end of arguments\n"
BEGIN = "<!-- variables: written by `make roles` from the module's documentation -->"
END = "<!-- end of variables -->"

Options = dict[str, dict[str, Any]]


@cache
def module_documentation(module: str) -> Mapping[str, Any]:
    """Documentation of one of our modules as ansible-doc sees it, with fragments. Raises RuntimeError without one."""
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
        raise RuntimeError(f"ansible-doc does not know the module {COLLECTION}.{module}: {answer.stderr.strip()}")
    documentation: Mapping[str, Any] = next(iter(found.values()))["doc"]
    return documentation


def _constant(path: Path, name: str = "DOCUMENTATION") -> Any:
    """The YAML in the constant of that name in a module or fragment."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return yaml.safe_load(ast.literal_eval(node.value))
    raise RuntimeError(f"{path} has no {name}")


def _fragment_options(fragment: str) -> dict[str, Any]:
    """Options of a documentation fragment, in the order they are written in."""
    options: dict[str, Any] = _constant(ROOT / "plugins" / "doc_fragments" / f"{fragment}.py").get("options") or {}
    return options


def written_order(module: str) -> dict[str, Any]:
    """Options in the order of the sources (ansible-doc sorts them): the module's own, then those of the fragments."""
    source = _constant(ROOT / "plugins" / "modules" / f"{module}.py")
    options = dict(source["options"])
    for fragment in source.get("extends_documentation_fragment", []):
        name = fragment.removeprefix(f"{COLLECTION}.")
        options |= _fragment_options(name)
    return options


def _described(option: Mapping[str, Any]) -> list[str]:
    text = option["description"]
    return [text] if isinstance(text, str) else list(text)


@dataclass(frozen=True)
class _Names:
    """What a module's options and its result are called in a role.

    known: names of the options, which get the prefix `option`; options that all parts share get the prefix `shared`.
    """

    known: frozenset[str]
    option: str
    result: str
    shared: str = ""

    def applied(self, text: str) -> str:
        """The text with the role's variables in place of the module's options: O(registry_storage_wait) for O(wait)."""

        def renamed(match: re.Match[str]) -> str:
            return f"O({self.option if match[1] in self.known else self.shared}{match[1]}"

        text = re.sub(r"\bRV\((\w+)", rf"C({self.result}.\1", text)
        return re.sub(r"\bO\((\w+)", renamed, text)


def _spec(options: Mapping[str, Any], order: Mapping[str, Any], names: _Names, nested: str = "options") -> Options:
    """The options that ansible-doc returns, as options of an argument spec, in the order of the sources.

    nested: what the options below an option are called; "suboptions" in a module's documentation.
    """
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
            entry[nested] = _spec(option["suboptions"], order[name]["suboptions"], names, nested)
        result[name] = entry
    return result


def _secure_logging(role: str) -> Options:
    if role not in SECRETIVE:
        return {}
    return {
        f"{role}_secure_logging": {
            "description": [
                "Hides the whole task from all logs, including the reason for a failure.",
                "Secrets do not need it, because the module masks them by itself.",
            ],
            "type": "bool",
            "default": False,
        }
    }


def shared_options() -> dict[str, Any]:
    """Options that all parts share, in the order of the sources."""
    result: dict[str, Any] = {}
    for fragment in SHARED_FRAGMENTS:
        result |= _fragment_options(fragment)
    return result


def _own_options(part: str, option: str, result: str, shared: str = "", nested: str = "options") -> Options:
    """Options of a part without those that all parts share. option, result, shared: as in _Names."""
    known = {name: said for name, said in module_documentation(part)["options"].items() if name not in shared_options()}
    return _spec(known, written_order(part), _Names(frozenset(known), option, result, shared), nested)


def _site_options() -> Options:
    """Variables of the role `registry`: a dictionary for each part, and those that all parts share."""
    result: Options = {}
    shared = shared_options()
    for part in PARTS:
        documentation = module_documentation(part)
        several = part == "image_limits"
        result[part] = {
            "description": [
                f"{documentation['short_description']}.",
                f"Takes the options of M({COLLECTION}.{part}) except those that all parts share.",
                *(["One dictionary, or a list of them for several groups of namespaces."] if several else []),
                "If it is not set, or empty, this part is left alone.",
            ],
            # An argument spec cannot express "one or several".
            "type": "raw" if several else "dict",
            "options": _own_options(part, f"{part}.", f"registry_result.parts.{part}", "registry_"),
        }
    options = module_documentation(PARTS[0])["options"]
    names = _Names(frozenset(shared), "registry_", "registry_result")
    result |= {
        f"registry_{name}": option
        for name, option in _spec({name: options[name] for name in shared}, shared, names).items()
    }
    result["registry_on_backend_change"] = {
        "description": [
            "If set, it takes precedence over C(registry_storage.on_backend_change).",
            "It is for what only one run may do: C(-e registry_on_backend_change=allow) beside the file of variables.",
        ],
        "type": "str",
        "choices": list(result["registry_storage"]["options"]["on_backend_change"]["choices"]),
    }
    names = _Names(frozenset(), "", "registry_result", "registry_")
    own = {"allow_nothing": module_documentation(SITE)["options"]["allow_nothing"]}
    result |= {f"registry_{name}": option for name, option in _spec(own, own, names).items()}
    return result | _secure_logging(SITE)


def role_options(role: str) -> Options:
    """All variables of a role by their full names: one for each option of its module, and the role's own."""
    if role == SITE:
        return _site_options()
    known = module_documentation(role)["options"]
    options = _spec(known, written_order(role), _Names(frozenset(known), f"{role}_", f"{role}_result"))
    for option in options.values():
        # The role does not require what its module requires: without it, the role does nothing.
        option.pop("required", None)
    own = _own_options(role, f"{role}.", f"{role}_result", f"{role}_")
    for option in own.values():
        option.pop("required", None)
    dictionary = {
        "description": [
            "The dictionary that the role C(registry) takes, so that one file of variables serves every role.",
            "The role's other variables take precedence over what is in it.",
            *(["One dictionary; a list of them is for the role C(registry)."] if role == "image_limits" else []),
        ],
        "type": "dict",
        "options": own,
    }
    return {f"{role}_{name}": option for name, option in options.items()} | {role: dictionary} | _secure_logging(role)


def _head(role: str) -> tuple[str, list[str]]:
    if role == SITE:
        return "Configure the whole registry from one set of variables", [
            "Configures storage, pull secrets, image limits and image pruning, each only if its variable is set.",
            "Checks all of them before it writes anything, so that a refusal leaves nothing half done.",
        ]
    documentation = module_documentation(role)
    return documentation["short_description"], _described(documentation)


PAGE_BEGIN = "  # parts: written by `make roles` from the parts' modules"
PAGE_END = "  # end of parts\n"


def page_options() -> Options:
    """Options of the module `registry`: each part's own, without those that all parts share."""
    result: Options = {}
    for part in PARTS:
        documentation = module_documentation(part)
        several = part == "image_limits"
        result[part] = {
            "description": [
                f"{documentation['short_description']}.",
                f"Takes the options of M({COLLECTION}.{part}) except those that all parts share.",
                *(["One entry for each group of namespaces."] if several else []),
                "If it is not set, this part is left alone.",
            ],
            "type": "list" if several else "dict",
            **({"elements": "dict"} if several else {}),
            "suboptions": _own_options(
                part, f"{part}[]." if several else f"{part}.", f"parts.{part}", nested="suboptions"
            ),
        }
    return result


def page_module() -> str:
    """Text of plugins/modules/registry.py with its parts' options as their modules document them."""
    source = PAGE_MODULE.read_text(encoding="utf-8")
    before, begin, rest = source.partition(PAGE_BEGIN)
    _, end, after = rest.partition(PAGE_END)
    if not begin or not end:
        raise RuntimeError(f"{PAGE_MODULE}: put {PAGE_BEGIN!r} and {PAGE_END!r} where the parts' options belong")
    return f"{before}{begin}\n{_documented(page_options(), '  ')}{end}{after}"


def _documented(options: Options, indent: str) -> str:
    """Options as they are written in a module's documentation: descriptions wrapped at column 110."""
    lines = []
    for name, option in options.items():
        lines += [f"{indent}{name}:", f"{indent}  description:"]
        for text in option["description"]:
            quoted = text if re.fullmatch(r"[A-Z](?:(?!: | #).)*", text) else json.dumps(text, ensure_ascii=False)
            lines += textwrap.wrap(
                f"- {quoted}",
                110,
                initial_indent=f"{indent}    ",
                subsequent_indent=f"{indent}      ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        rest = {key: value for key, value in option.items() if key not in ("description", "suboptions")}
        lines += textwrap.indent(_yaml(rest), f"{indent}  ").splitlines()
        if "suboptions" in option:
            lines += [f"{indent}  suboptions:", *_documented(option["suboptions"], f"{indent}    ").splitlines()]
    return "".join(f"{line}\n" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as ansible-lint expects."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Only dictionaries can be meant to be the same: the options of two entry points."""
        return not isinstance(data, dict) or bool(super().ignore_aliases(data))


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def _unchecked(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option without what the module refuses in one sentence; Ansible would print the whole spec in answer."""
    result = {key: value for key, value in option.items() if key not in ("options", "choices")}
    if "choices" in option:
        result["description"] = [*option["description"], _choices(option)]
    return result


def _choices(option: Mapping[str, Any]) -> str:
    return f"One of: {', '.join(f'V({choice})' for choice in option['choices'])}."


def argument_specs(role: str) -> str:
    """Text of meta/argument_specs.yml. Entry points that take the same options share them by an anchor."""
    short, description = _head(role)
    options = {name: _unchecked(option) for name, option in role_options(role).items()}
    entries: dict[str, Any] = {"main": {"short_description": short, "description": description, "options": options}}
    if role == SITE:
        entries["verify"] = {
            "short_description": "Compare the whole registry with one set of variables, and verify it",
            "description": [
                "Compares the cluster with the variables, lists every difference, and verifies what does not differ.",
                "Writes nothing: it uses a client that sends nothing but C(GET).",
            ],
            "options": options,
        }
    return "---\n# Written by `make roles` from the module's documentation.\n" + _yaml({"argument_specs": entries})


def arguments(role: str) -> dict[str, str]:
    """The arguments of the role's task. What is not set is omitted, so that module_defaults apply to it."""
    if role == SITE:
        parts = {part: f"{{{{ __registry_given.{part} | default(omit, true) }}}}" for part in PARTS}
        others = (*shared_options(), "allow_nothing")
        return parts | {name: f"{{{{ registry_{name} | default(omit) }}}}" for name in others}
    result = {}
    for name in written_order(role):
        if name in shared_options():
            otherwise = f"registry_{name} | default(omit)"
        else:
            otherwise = f"__{role}_given.{name} | default(omit)"
        if name == "on_backend_change":
            otherwise = f"registry_{name} | default({otherwise})"
        result[name] = f"{{{{ {role}_{name} | default({otherwise}) }}}}"
    return result


def tasks_file(role: str) -> Path:
    """The file with the task that calls the role's module."""
    return ROOT / "roles" / role / "tasks" / TASKS.get(role, "main.yml")


def task(role: str) -> str:
    """Text of the file with the role's task, with all arguments of its module."""
    path = tasks_file(role)
    before, begin, rest = path.read_text(encoding="utf-8").partition(ARGUMENTS_BEGIN)
    _, end, after = rest.partition(ARGUMENTS_END)
    if not begin or not end:
        raise RuntimeError(f"{path}: put {ARGUMENTS_BEGIN!r} and {ARGUMENTS_END!r} where the arguments belong")
    lines = ""
    for name, value in arguments(role).items():
        short = f'    {name}: "{value}"\n'
        lines += short if len(short) <= 120 else f"    {name}: >-\n      {value}\n"
    return f"{before}{begin}{lines}{end}{after}"


def _plain(text: str) -> str:
    """Ansible's markup as plain text."""
    text = re.sub(r"\b[OVEPC]\(([^()]*(?:\([^()]*\))?[^()]*)\)", lambda match: match[1].removesuffix("="), text)
    text = re.sub(r"\bRV\(([^()]*)\)", r"\1", text)
    text = re.sub(r"\b[BIM]\(([^()]*)\)", r"\1", text)
    return re.sub(r"\bL\(([^,()]*),[^()]*\)", r"\1", text)


def defaults(role: str) -> str:
    """Text of defaults/main.yml: all variables in comments, because a value here would hide module_defaults."""
    lines = [
        "---",
        "# Written by `make roles` from the module's documentation.",
        "# Nothing is set here, so that module_defaults apply to the role. A value in a comment is the module's.",
        "# A variable without a value has no default; unless you set it, the cluster's value is left as it is.",
    ]
    own = _secure_logging(role)
    for name, option in role_options(role).items():
        lines.append("")
        for sentence in option["description"]:
            lines += [f"# {line}" for line in textwrap.wrap(_plain(sentence), 110)]
        if "choices" in option:
            lines.append(f"# One of: {', '.join(map(str, option['choices']))}")
        if name in own:
            lines.append(_yaml({name: option["default"]}).rstrip())
        elif "default" in option:
            lines.append(f"# {name}: {json.dumps(option['default'], ensure_ascii=False)}".replace('"', ""))
        else:
            shape = "{" + ", ".join(option["options"]) + "}" if "options" in option else f"<{option['type']}>"
            lines += [f"# {line}" for line in textwrap.wrap(f"{name}: {shape}", 110, subsequent_indent="  ")]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Ansible's markup as Markdown in a table cell."""
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
            said += f" {_choices(option)}"
        if option.get("required"):
            said += " B(Required.)"
        rows.append(f"| `{prefix}{name}` | {kind} | {shown} | {_cell(said)} |")
        if "options" in option:
            rows += _rows(option["options"], f"{prefix}{name}.")
    return rows


def readme_variables(role: str) -> str:
    """The part of README.md between the markers, including the markers."""
    options = role_options(role)
    options |= {part: {**options[part], "options": {}} for part in PARTS if part in options}
    table = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |", *_rows(options)]
    return "\n".join([BEGIN, "", *table, "", END])


def files(role: str) -> dict[Path, str]:
    """The files that should be on disk, by path. Raises RuntimeError if the README has no place for the table."""
    folder = ROOT / "roles" / role
    readme = (folder / "README.md").read_text(encoding="utf-8")
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(
            f"{folder / 'README.md'}: add the lines {BEGIN!r} and {END!r} around the place for the variables"
        )
    return {
        folder / "meta" / "argument_specs.yml": argument_specs(role),
        folder / "defaults" / "main.yml": defaults(role),
        folder / "README.md": before + readme_variables(role) + after,
        tasks_file(role): task(role),
    }


def everything() -> dict[Path, str]:
    """What should be on disk for all roles and for the module `registry`, by path."""
    return {PAGE_MODULE: page_module()} | {path: text for role in ROLES for path, text in files(role).items()}


def main() -> int:
    """Writes or checks the files of all roles; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, report what differs")
    check = parser.parse_args().check
    stale = 0
    for path, text in everything().items():
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
