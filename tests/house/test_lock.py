# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock holds what was asked for, with hashes, and says nothing of where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _asked(name: str) -> set[str]:
    asked: set[str] = set()
    for line in (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            asked |= _asked(line[3:])
        elif line:
            asked.add(_canonical(re.split(r"[\[<>=!~;\s]", line)[0]))
    return asked


def _locked() -> dict[str, list[str]]:
    """Hashes by package name."""
    text = (REQUIREMENTS / "dev.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    locked: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==\S+", line)
        assert match, f"not a pinned requirement: {line[:80]!r}"
        locked.setdefault(_canonical(match[1]), []).extend(re.findall(r"--hash=sha256:[0-9a-f]{64}", line))
    return locked


def test_everything_asked_for_is_locked() -> None:
    asked = _asked("dev.in")
    assert {"ansible-core", "kubernetes", "pyyaml"} <= asked
    assert asked <= _locked().keys()


def test_everything_locked_has_hashes() -> None:
    assert [name for name, hashes in _locked().items() if not hashes] == []


def test_the_lock_names_no_place() -> None:
    text = (REQUIREMENTS / "dev.txt").read_text(encoding="utf-8")
    assert not re.findall(r"://|--index|--find-links|--extra|^\s*/|file:", text, re.MULTILINE)


def test_modules_documentation_and_execution_environments_ask_for_the_same() -> None:
    fragment = (REQUIREMENTS.parent / "plugins" / "doc_fragments" / "auth.py").read_text(encoding="utf-8")
    environment = (REQUIREMENTS.parent / "meta" / "ee-requirements.txt").read_text(encoding="utf-8").split()
    runtime = [
        line
        for line in (REQUIREMENTS / "runtime.in").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("#", "ansible-core"))
    ]
    assert environment == runtime
    documented = re.findall(r"^  - ((?:kubernetes|PyYAML) >= .*)$", fragment, re.MULTILINE)
    assert [line.replace(" ", "").lower() for line in documented] == runtime
