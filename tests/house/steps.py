# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the steps behind `make test`, `make lint` and so on; shows each step and its duration, and ends with a table.

    python tests/house/steps.py [--stop] GROUP...

Every step runs even if an earlier one failed (so that one run names everything that is broken), except steps whose
prerequisite failed. --stop ends at the first failure. Exit status: 0 success, 1 something failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CACHE = ROOT / ".cache"
COLLECTION = "alauda.image_registry"
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


@dataclass(frozen=True)
class Step:
    """One command.

    needs: titles of the steps that must succeed first.
    clusters: embedded clusters that the command leaves running if it is interrupted; they are then stopped.
    """

    title: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()


def _pytest(title: str, *arguments: str, needs: tuple[str, ...] = ()) -> Step:
    return Step(title, ("python", "-m", "pytest", *arguments), needs)


BINARY = Step("cluster binary", ("python", "-m", "tests.cluster", "binary"))
_LAB = (BINARY.title,)

GROUPS: dict[str, tuple[Step, ...]] = {
    "lint": (
        Step("ruff check", ("ruff", "check", ".")),
        Step("ruff format", ("ruff", "format", "--check", ".")),
        Step("mypy --strict", ("mypy",)),
        Step("yamllint", ("yamllint", "--strict", ".")),
        Step("ansible-lint (production)", ("ansible-lint", "--offline", "-q")),
        Step("documentation", ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".")),
        Step("changelog fragments", ("antsibull-changelog", "lint")),
        Step(
            "collection builds",
            ("ansible-galaxy", "collection", "build", "--force", "--output-path", str(CACHE / "build"), "."),
        ),
    ),
    "unit": (_pytest("unit", "tests/unit", "-n", "auto", "-q"),),
    "house": (_pytest("house rules", "tests/house", "-n", "auto", "-q"),),
    "binary": (BINARY,),
    "contract": (BINARY, _pytest("operator contract", "tests/contract", "-v", needs=_LAB)),
    "integration": (BINARY, _pytest("integration", "tests/integration", "-v", "--durations=10", needs=_LAB)),
    "molecule": (
        BINARY,
        Step(
            "molecule",
            ("molecule", "test", "--all"),
            _LAB,
            tuple(f"molecule-{name.replace('_', '-')}" for name in SCENARIOS),
        ),
    ),
}


def _environment() -> dict[str, str]:
    """Environment of every step: this checkout's tools and settings first; nothing is written outside the checkout."""
    environment = dict(os.environ)
    environment["PATH"] = f"{BIN}{os.pathsep}{environment.get('PATH', '')}"
    environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    environment["ANSIBLE_HOME"] = str(CACHE / "ansible")
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("COLUMNS", "150")  # Molecule wraps at 80 if there is no terminal
    environment.setdefault("PY_COLORS", "1" if sys.stdout.isatty() else "0")
    return environment


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:2d}:{int(seconds) % 60:02d}"


def _say(text: str) -> None:
    print(text, flush=True)


def _run(step: Step) -> int:
    """Runs one command with its output on the screen; returns its exit status (127: the command does not exist)."""
    try:
        child = subprocess.Popen(step.command, cwd=ROOT, env=_environment())
    except FileNotFoundError:
        _say(f"{step.command[0]} is neither in {BIN} nor on PATH; `make venv` installs it")
        return 127
    try:
        return child.wait()
    except KeyboardInterrupt:
        # The terminal has sent the same Ctrl-C to the child process, which may have to stop a cluster.
        try:
            child.wait(timeout=60)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            child.kill()
        for name in step.clusters:
            subprocess.run(
                ("python", "-m", "tests.cluster", "down", "--name", name),
                cwd=ROOT,
                env=_environment(),
                stderr=subprocess.DEVNULL,
                check=False,
            )
        raise


def main() -> int:
    """Runs the groups named on the command line, in that order; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("groups", nargs="+", choices=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--stop", action="store_true", help="end at the first failure")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    steps = list(dict.fromkeys(step for group in options.groups for step in GROUPS[group]))
    begin = time.monotonic()
    outcome: dict[str, tuple[str, float]] = {}
    try:
        for number, step in enumerate(steps, 1):
            missing = [need for need in step.needs if outcome.get(need, ("", 0))[0] != "ok"]
            if missing:
                outcome[step.title] = (f"not run: {', '.join(missing)} failed", 0.0)
                continue
            now = _clock(time.monotonic() - begin)
            _say(f"\n==> [{now}] {number}/{len(steps)} {step.title}: {' '.join(step.command)}")
            started = time.monotonic()
            status = _run(step)
            took = time.monotonic() - started
            outcome[step.title] = ("ok" if status == 0 else f"FAILED (exit status {status})", took)
            if status and options.stop:
                break
    except KeyboardInterrupt:
        _say("\n==> interrupted")
        return 130

    width = max(len(title) for title in outcome)
    failed = [title for title, (result, _) in outcome.items() if result != "ok"]
    _say(f"\n==> [{_clock(time.monotonic() - begin)}] {'all passed' if not failed else 'FAILED: ' + ', '.join(failed)}")
    for title, (result, took) in outcome.items():
        _say(f"    {title:<{width}}  {took:7.1f} s  {result}")
    return 1 if failed else 0


if __name__ == "__main__":
    if shutil.which("git") is None:
        _say("note: git is not on PATH; house tests that need its list of files fail")
    sys.exit(main())
