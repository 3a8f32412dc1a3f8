# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a key stays on a disk, not even of a process that was killed while it loaded the key."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import private
from tests.certificates import pair

ROOT = Path(__file__).parents[3]
PACKAGE = "ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes"

KILLED_IN_A_FOLDER = f"""
import os, signal
from pathlib import Path
from {PACKAGE} import private
with private.folder() as folder:
    Path(folder, "key").write_text("never left")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_WHILE_LOADING = f"""
import os, signal, ssl, sys
from {PACKAGE} import connection
class Context(ssl.SSLContext):
    def load_cert_chain(self, *args, **options):
        super().load_cert_chain(*args, **options)
        print("loaded", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
connection.urllib3.util.ssl_.create_urllib3_context = lambda cert_reqs: Context(ssl.PROTOCOL_TLS_CLIENT)
connection.connect({{"host": "https://127.0.0.1:1", "client_cert": sys.argv[1], "client_key": sys.argv[2]}}, {{}})
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder in memory and the usual one, both empty."""
    memory, usual = tmp_path / "memory", tmp_path / "usual"
    memory.mkdir()
    usual.mkdir()
    monkeypatch.setattr(private, "MEMORY", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", str(usual))
    return memory, usual


def killed(code: str, *args: str, temporary: Path) -> str:
    """What a process has printed that kills itself."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / "tests" / "collections")}
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


def test_the_next_folder_sweeps_what_a_killed_process_has_left(tmp_path: Path) -> None:
    left = Path(killed(KILLED_IN_A_FOLDER, temporary=tmp_path))
    assert (left / "key").exists()
    with private.folder() as folder:
        assert folder != str(left)
    assert not left.exists()


def test_a_folder_in_use_is_not_swept(places: tuple[Path, Path]) -> None:
    """Of this process or another: the lock says so, not the age."""
    with private.folder() as one:
        Path(one, "key").write_text("in use")
        with private.folder() as other:
            assert other != one
        assert Path(one, "key").read_text() == "in use"
        assert oct(Path(one).stat().st_mode)[-3:] == "700"
    assert [str(left) for place in places for left in place.rglob("*")] == []


def test_only_our_own_folders_are_swept(places: tuple[Path, Path]) -> None:
    memory, usual = places
    victim = usual / "victim"
    victim.mkdir()
    (victim / "file").write_text("stays")
    (memory / f"{private.PREFIX}link").symlink_to(victim)
    (memory / f"{private.PREFIX}file").write_text("stays")
    (usual / f"{private.PREFIX}left").mkdir()
    (usual / f"{private.PREFIX}left" / "key").write_text("goes")
    with private.folder():
        pass
    assert (victim / "file").read_text() == "stays"
    assert (memory / f"{private.PREFIX}file").read_text() == "stays"
    assert not (usual / f"{private.PREFIX}left").exists()


def test_without_a_file_system_in_memory_the_usual_folder_is_used(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "MEMORY", "/does/not/exist")
    with private.folder() as folder:
        assert Path(folder).parent == places[1]


def left(folder: Path) -> bool:
    """Whether no process uses this folder: its lock is free."""
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no files in memory")
def test_a_process_that_is_killed_while_it_loads_a_key_leaves_nothing(tmp_path: Path) -> None:
    """The key is in a file in memory that has no name."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    for path, content in zip((certificate, key), pair("client"), strict=True):
        path.write_bytes(content)
    memory = set(Path(private.MEMORY).glob(f"{private.PREFIX}*"))
    assert killed(KILLED_WHILE_LOADING, str(certificate), str(key), temporary=temporary) == "loaded"
    assert list(temporary.rglob("*")) == []
    assert [path for path in Path(private.MEMORY).glob(f"{private.PREFIX}*") if path not in memory and left(path)] == []
