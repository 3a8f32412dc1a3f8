# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions: every one takes linear time, and what checks a name or a value checks the whole of it.

Texts come from clusters, registries and buckets; a pattern that tries again from every position lets a few kilobytes
of them occupy the task for minutes.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
PACKAGE = "ansible_collections.alauda.image_registry.plugins."
FILES = sorted((PLUGINS / "module_utils").rglob("*.py"))
SIZE = 4000
QUICK = 0.003
"""Seconds in which no quadratic search of SIZE characters can end."""


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PLUGINS).with_suffix("").parts).removesuffix(".__init__")


def _held(value: Any, depth: int = 3) -> Iterator[re.Pattern[str]]:
    """The patterns in a value of a module, and in the collections and dataclasses there, compiled later or not."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, (tuple, list)):
        for member in value:
            yield from _held(member, depth - 1)
    elif depth and hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        lazily = [name for name, member in vars(type(value)).items() if isinstance(member, cached_property)]
        for name in (*value.__dataclass_fields__, *lazily):
            yield from _held(getattr(value, name), depth - 1)


def _patterns() -> dict[str, re.Pattern[str]]:
    found: dict[re.Pattern[str], str] = {}
    for path in FILES:
        for name, value in vars(importlib.import_module(PACKAGE + _dotted(path))).items():
            for number, pattern in enumerate(_held(value)):
                found.setdefault(pattern, f"{path.stem}.{name}.{number}")
    return {name: pattern for pattern, name in found.items()}


PATTERNS = _patterns()


def _calls(path: Path) -> Iterator[ast.Call]:
    """Every call of a function of the module re, or of a method of the same name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node


def test_every_pattern_is_known_here() -> None:
    """Compiled when its module is imported: the tests below would not see any other."""
    plugins = [path for path in PLUGINS.rglob("*.py") if "ansible_collections" not in path.parts]
    inline = [
        f"{path.name}:{node.lineno}"
        for path in plugins
        for node in _calls(path)
        if isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr != "compile"
    ]
    assert inline == []
    assert len(PATTERNS) > 80


def _pieces(pattern: str) -> list[str]:
    """What repetitions are made of: the words of the pattern itself, and a character of each usual class."""
    words = re.findall(r"[A-Za-z0-9 :/=.\"'-]{1,}", re.sub(r"\\[a-zA-Z]|\(\?[^)]{0,3}", "\0", pattern))
    return list(dict.fromkeys([*(word for word in words if word)][:8] + list(" a0-:/=\"'\\,.@[")))


def _attacks(pattern: str, size: int) -> Iterator[str]:
    """Texts of this size that match almost everywhere."""
    pieces = _pieces(pattern)
    for piece in pieces:
        yield (piece * size)[:size]
        for other in pieces[:4]:
            if other != piece:
                yield other + (piece * size)[: size - len(other)]
                yield ((other + piece) * size)[:size]


def _seconds(pattern: re.Pattern[str], text: str) -> float:
    begin = time.thread_time()
    for _found in pattern.finditer(text):
        pass
    pattern.fullmatch(text)
    return time.thread_time() - begin


@pytest.mark.parametrize("name", PATTERNS)
def test_a_text_twice_as_long_takes_twice_as_long(name: str) -> None:
    """Quadratic time would be four times as long. What else the machine does takes none of it."""
    pattern = PATTERNS[name]
    for short, long in zip(_attacks(pattern.pattern, SIZE // 2), _attacks(pattern.pattern, SIZE), strict=True):
        for _attempt in range(6):
            once, twice = _seconds(pattern, short), _seconds(pattern, long)
            if twice < QUICK or twice < 3 * once:
                break
        else:
            raise AssertionError(f"{long[:40]!r}… takes {once:.4f} s, twice as much of it {twice:.4f} s")


def _unescaped_ends(text: str) -> bool:
    """Whether a pattern has ``$`` (or ``^``) as an anchor: ``$`` also matches before a line break at the end."""
    return re.search(r"(?<!\\)\$", re.sub(r"\[[^]]*\]", "", text)) is not None


def test_no_pattern_ends_before_a_line_break() -> None:
    """``$`` lets a line break through, which then stands in a stored name or in a header: fullmatch does not."""
    assert [name for name, pattern in PATTERNS.items() if _unescaped_ends(pattern.pattern)] == []


def test_what_checks_a_value_checks_the_whole_of_it() -> None:
    """match and search are for reading texts; these files read texts."""
    reads = {"_module", "_registry.log", "_registry.messages", "_kubernetes.values", "_parts.storage.case"}
    reads |= {"_kubernetes.kubeconfig"}
    others = [
        f"{path.name}:{node.lineno}"
        for path in FILES
        if _dotted(path).removeprefix("module_utils.") not in reads
        for node in _calls(path)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("match", "search")
    ]
    assert others == []
