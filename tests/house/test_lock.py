# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock files contain what is required, with hashes, and do not say where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
LOCKS = ("dev", "oldest")


def test_the_oldest_versions_are_those_that_are_promised() -> None:
    """The oldest versions that runtime.in allows are those that tests/integration/test_oldest_versions.py runs on."""
    allowed = dict(re.findall(r"^([a-z-]+)>=([0-9.]+)$", (REQUIREMENTS / "runtime.in").read_text(), re.MULTILINE))
    tested = dict(
        re.findall(r"^([a-z-]+)==([0-9.]+?)(?:\.\*)?$", (REQUIREMENTS / "oldest.in").read_text(), re.MULTILINE)
    )
    assert {name: allowed[name] for name in tested} == tested


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


def _locked(name: str) -> dict[str, list[str]]:
    """Hashes by package name."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    locked: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==\S+", line)
        assert match, f"not a pinned requirement: {line[:80]!r}"
        locked.setdefault(_canonical(match[1]), []).extend(re.findall(r"--hash=sha256:[0-9a-f]{64}", line))
    return locked


@pytest.mark.parametrize("name", LOCKS)
def test_everything_asked_for_is_locked(name: str) -> None:
    asked = _asked(f"{name}.in")
    assert {"ansible-core", "kubernetes"} <= asked
    assert asked <= _locked(name).keys()


@pytest.mark.parametrize("name", LOCKS)
def test_everything_locked_has_hashes(name: str) -> None:
    assert [package for package, hashes in _locked(name).items() if not hashes] == []


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_names_no_place(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
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
    documented = re.findall(r"^  - ((?:kubernetes|PyYAML) >= [\d.]+)(?: \(.*\))?$", fragment, re.MULTILINE)
    assert [line.replace(" ", "").lower() for line in documented] == runtime
