# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of module_utils: imports run downwards, what decides does no I/O, and what a judge reads is filled.

modules, action plugins -> parts -> flow -> registry -> kubernetes. Parts do not import each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.alauda.image_registry.plugins.module_utils."
ROOMS = ("_kubernetes", "_registry", "_flow", "_parts")
"""From the lowest to the highest: a room imports from itself and from those before it."""
PARTS = sorted(path.name for path in (UTILS / "_parts").iterdir() if (path / "part.py").exists())

DOES_IO = frozenset(
    {
        *("_kubernetes.bounds", "_kubernetes.client", "_kubernetes.connection", "_kubernetes.library"),
        "_kubernetes.private",
        *("_flow.observe", "_flow.part", "_flow.reconcile"),
        *(f"_parts.{name}.part" for name in PARTS),
        "_parts.storage.evidence",
    }
)
"""The files that send requests, start threads or read a clock, and those that hand them on; all others are pure."""
IO_MODULES = frozenset(
    {
        *(
            "asyncio",
            "http",
            "kubernetes",
            "multiprocessing",
            "os",
            "pathlib",
            "random",
            "requests",
            "select",
            "shutil",
        ),
        *("socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib3", "concurrent"),
    }
)


def _files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (UTILS / room).rglob("*.py") if path.name != "__init__.py")


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(UTILS).with_suffix("").parts)


def _imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own(path: Path) -> set[str]:
    """What a file imports of module_utils, as dotted paths of existing files."""
    known = {_dotted(file) for file in _files()}
    names = {name.removeprefix(PREFIX) for name in _imports(path) if name.startswith(PREFIX)}
    return {name for name in names if name in known}


@pytest.mark.parametrize("path", _files(), ids=_dotted)
def test_imports_run_downwards(path: Path) -> None:
    height = ROOMS.index(path.relative_to(UTILS).parts[0])
    upwards = [name for name in _own(path) if ROOMS.index(name.split(".")[0]) > height]
    assert not upwards


@pytest.mark.parametrize("path", _files(), ids=_dotted)
def test_rooms_do_not_know_the_edge_to_ansible(path: Path) -> None:
    edge = {file.stem for file in UTILS.glob("_*.py")}
    known = {name.removeprefix(PREFIX).split(".")[0] for name in _imports(path) if name.startswith(PREFIX)}
    assert not known & edge
    assert not [name for name in _imports(path) if name == "ansible" or name.startswith("ansible.")]


@pytest.mark.parametrize("part", PARTS)
def test_parts_do_not_import_each_other(part: str) -> None:
    strangers = {
        name
        for path in (UTILS / "_parts" / part).glob("*.py")
        for name in _own(path)
        if name.startswith("_parts.") and not name.startswith(f"_parts.{part}.")
    }
    assert not strangers


@pytest.mark.parametrize("path", [path for path in _files() if _dotted(path) not in DOES_IO], ids=_dotted)
def test_what_decides_does_no_io(path: Path) -> None:
    """Every recorded state of a cluster can be a test, because nothing else goes into a decision."""
    assert not {name.split(".")[0] for name in _imports(path)} & IO_MODULES
    assert not _own(path) & DOES_IO


def test_the_list_of_files_with_io_is_true() -> None:
    assert {_dotted(path) for path in _files()} >= DOES_IO


def test_only_one_file_imports_the_library_kubernetes_and_only_when_it_is_needed() -> None:
    plugins = [path for path in (ROOT / "plugins").rglob("*.py") if "kubernetes" in path.read_text(encoding="utf-8")]
    users = [
        path.relative_to(UTILS).as_posix()
        for path in plugins
        if any(name == "kubernetes" or name.startswith("kubernetes.") for name in _imports(path))
    ]
    assert users == ["_kubernetes/library.py"]
    loaded = ast.parse((UTILS / users[0]).read_text(encoding="utf-8")).body
    assert not [node for node in loaded if isinstance(node, ast.ImportFrom) and node.module == "kubernetes"]


def test_each_module_imports_its_own_part_alone() -> None:
    """An ordinary module is packed and compiled for every run."""
    for path in (ROOT / "plugins" / "modules").glob("*.py"):
        if path.stem == "registry":  # all parts as one task
            continue
        used = {name.removeprefix(PREFIX) for name in _imports(path) if name.startswith(f"{PREFIX}_parts.")}
        assert len({name.split(".")[1] for name in used}) == 1, path.name


# -- what a judge reads is filled --------------------------------------------------------------------------------------


def _class(part: str, base: str) -> ast.ClassDef | None:
    """The part's own Snapshot or Need."""
    for node in ast.parse((UTILS / "_parts" / part / "goal.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and any(isinstance(one, ast.Name) and one.id == base for one in node.bases):
            return node
    return None


def _trees(part: str) -> dict[str, ast.Module]:
    folder = UTILS / "_parts" / part
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("part", PARTS)
def test_every_field_of_a_snapshot_is_filled_and_read(part: str) -> None:
    """By the first reading, by a collection that is followed, or by evidence that is gathered: part.py does it all."""
    snapshot = _class(part, "Snapshot")
    assert snapshot is not None
    fields = {ast.unparse(node.target) for node in snapshot.body if isinstance(node, ast.AnnAssign)}
    filled = {
        keyword.arg
        for call in ast.walk(_trees(part)["part"])
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("replace", snapshot.name)
        for keyword in call.keywords
    }
    assert fields
    assert fields - filled == set()
    read = {name for stem, tree in _trees(part).items() if stem not in ("part", "plan") for name in _attributes(tree)}
    assert fields - read == set()


@pytest.mark.parametrize("part", [name for name in PARTS if _class(name, "Need") is not None])
def test_every_need_is_asked_for_and_served(part: str) -> None:
    need = _class(part, "Need")
    assert need is not None
    members = {ast.unparse(node.targets[0]) for node in need.body if isinstance(node, ast.Assign)}
    trees = _trees(part)
    asked = {name for stem, tree in trees.items() if stem != "part" for name in _members_used(tree, need.name)}
    served = _members_used(trees["part"], need.name)
    assert members
    assert members == asked == served


def _members_used(tree: ast.AST, name: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }
