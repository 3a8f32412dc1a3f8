# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not be in any file of the repository, and what must be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.cluster.build import find_go

ROOT = Path(__file__).resolve().parents[2]
# Written in pieces, so that this file does not name them.
PLACES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
    )
)
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|opt/wheels)/\w")


def tracked() -> list[Path]:
    """Every file that git tracks or would track, except links and go.sum."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink() and path.name != "go.sum"]


def _texts() -> list[tuple[Path, str]]:
    texts = []
    for path in tracked():
        try:
            texts.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return texts


def test_no_file_names_a_package_registry_or_a_machine() -> None:
    texts = _texts()
    assert len(texts) > 20, "the list of files is not the repository's"
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts
        for number, line in enumerate(text.splitlines(), 1)
        if any(place in line for place in PLACES) or MACHINE.search(line)
    ]
    assert not found


@pytest.mark.parametrize("suffix", [".py", ".go", ".sh"])
def test_every_source_file_states_its_licence(suffix: str) -> None:
    # An empty __init__.py has nothing to license; Ansible's own checks require it to be empty.
    sources = [path for path in tracked() if path.suffix == suffix and path.stat().st_size]
    missing = [
        str(path.relative_to(ROOT))
        for path in sources
        if "SPDX-License-Identifier: GPL-3.0-or-later" not in path.read_text(encoding="utf-8")[:600]
    ]
    assert not missing


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path, text in _texts():
        if path.suffix != ".md" or (path.parts[0] == "tests" and "fixtures" in path.parts):
            continue
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
            if not (ROOT / path.parent / target).exists():
                broken.append(f"{path}: {target}")
    assert not broken


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = [
        f"{path}: make {name}"
        for path, text in _texts()
        if path.suffix == ".md"
        for name in re.findall(r"`make ([a-z-]+)", text)
        if name not in targets
    ]
    assert not unknown


def test_continuous_integration_runs_what_the_readme_names_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test"]
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_go_sources_are_formatted() -> None:
    go, _ = find_go(lambda text, last: None)
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    gofmt = Path(root) / "bin" / "gofmt"
    if not gofmt.exists():
        pytest.skip(f"the Go toolchain in {root} has no gofmt")
    sources = [str(path) for path in tracked() if path.suffix == ".go"]
    assert sources
    done = subprocess.run([str(gofmt), "-l", *sources], capture_output=True, text=True, check=True)
    assert done.stdout == ""
