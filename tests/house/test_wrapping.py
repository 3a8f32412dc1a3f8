# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in the modules' documentation are wrapped evenly: no line ends early in the middle of a paragraph."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("modules", "doc_fragments")
    for path in (ROOT / "plugins" / folder).glob("*.py")
    if path.stem != "__init__"
)
ENOUGH = 110
"""A line may end early if the next word would take it beyond this column; sources are wrapped at 120."""


def _ragged(text: str) -> list[str]:
    """Lines of YAML that end in the middle of a text although the next word would have fitted."""
    lines = text.splitlines()
    found = []
    for scalar in _scalars(yaml.compose(text)):
        first, last = scalar.start_mark.line, scalar.end_mark.line
        if scalar.style == "|":
            continue
        if scalar.style == ">":
            # The text begins below its header, and its end mark is on the line after it.
            first, last = first + 1, last - 1
        for line, following in pairwise(lines[first : last + 1]):
            if line.strip() and following.strip() and len(line) + 1 + len(following.split()[0]) <= ENOUGH:
                found.append(line)
    return found


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for _key, value in node.value:
            yield from _scalars(value)


def _documentation(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = {to.id for to in node.targets if isinstance(to, ast.Name)}
            if names & {"DOCUMENTATION", "RETURN"}:
                yield str(node.value.value)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_line_ends_early(path: Path) -> None:
    texts = list(_documentation(path))
    assert texts
    assert [line for text in texts for line in _ragged(text)] == []


FULL = " ".join(["word"] * 20) + " dependency"  # 110 characters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"- {FULL}\n  finds.", []),
        (f"- {FULL}\n  that a label\n  selector finds.", ["  that a label"]),
        (f'- "{FULL}\n  that a label\n  selector finds."', ["  that a label"]),
        ("- >-\n  that a label\n  selector finds.\n- other", ["  that a label"]),
        ("- |\n  one: 1\n  two: 2\n", []),
        ("- one\n- two\n", []),
        ("key: one\n\n  two\n", []),
        ("a: short\nb:\n  - short\n", []),
    ],
)
def test_the_check_sees_ragged_lines_and_nothing_else(text: str, expected: list[str]) -> None:
    assert _ragged(text) == expected
