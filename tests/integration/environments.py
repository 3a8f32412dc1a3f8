# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook for the tests that need it: this environment's, and others made from the locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
THIS = Path(sys.executable).parent / "ansible-playbook"


def play(
    folder: Path,
    tasks: list[dict[str, Any]],
    *flags: str,
    timeout: float,
    command: Path = THIS,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run tasks on localhost, whether or not they succeed. folder: for the run's files. variables: environment."""
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    ansible = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home")}
    return subprocess.run(
        [str(command), str(playbook), *flags],
        cwd=ROOT,
        env={**os.environ, **ansible, **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def find_python(version: str) -> Path | None:
    """A working Python of this version: from PATH, or one that pyenv keeps without having it on PATH."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(kept.glob(f"{version}*/bin/python{version}"))]
    for candidate in candidates:
        if candidate is None:
            continue
        tried = subprocess.run([str(candidate), "-c", "import venv"], capture_output=True, check=False)
        if tried.returncode == 0:
            return Path(candidate)
    return None


def environment(name: str, python: Path, what: Sequence[str]) -> Path:
    """The bin folder of a virtual environment in .cache; `what` goes to `uv pip install`, and a change recreates it.

    Skips the test when uv is missing.
    """
    folder = ROOT / ".cache" / name
    stamp = folder / "made-of"
    wanted = "\n".join([str(python), *what, *(Path(item).read_text() for item in what if item.endswith(".txt"))])
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if uv is None:
            pytest.skip(f"skipped on {name}: uv is missing, so it cannot be installed")
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", str(python), str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(folder), *what],
        ):
            subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return folder / "bin"
