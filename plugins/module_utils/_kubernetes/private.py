# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders for keys that can be loaded from files only: in memory where there is such a place, and never left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

PREFIX = "alauda-image-registry-"
MEMORY = "/dev/shm"
"""File system in memory, on Linux."""

tempdir = threading.RLock()
"""Held while tempfile.tempdir, which is the same for all threads of a process, leads to a folder that is removed."""


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A folder for this account alone, which is removed afterwards.

    A process that is killed meanwhile leaves it behind, so each call removes what earlier processes have left: a folder
    whose lock, which ends with its process, is free.
    """
    with tempdir:
        usual = tempfile.gettempdir()
    base = MEMORY if os.path.isdir(MEMORY) and os.access(MEMORY, os.W_OK | os.X_OK) else usual
    for place in {base, usual}:
        _sweep(place)
    path, lock = _locked(base)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked(base: str) -> tuple[str, int]:
    """A new folder, and its lock; another one if somebody has swept it before it was locked."""
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.isdir(path):
                return path, lock
            os.close(lock)


def _sweep(base: str) -> None:
    for path in Path(base).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, in use, not a folder, or gone by now
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
