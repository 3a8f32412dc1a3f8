# SPDX-License-Identifier: GPL-3.0-or-later
"""A real image with a real client: built without network access, pushed with crane, pulled, compared byte by byte.

    python -m tests.demo.image ADDRESS [--repository NAME]

ADDRESS is host:port of a registry; its certificate is not checked. Exit status 0: the pulled image is the pushed one.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binary

TIMEOUT = 120.0  # seconds for one crane command


class ImageError(Exception):
    """A push or pull that failed; the text is shown to the user."""


@dataclass(frozen=True)
class Pushed:
    """An image as it was pushed. name: host:port/repository:tag; layer: SHA-256 of the one layer, uncompressed."""

    name: str
    digest: str
    layer: str


def _crane(*arguments: str) -> str:
    """Runs crane; returns what it printed. Raises ImageError with crane's own last line."""
    command = [str(binary()), "crane", *arguments, "--insecure"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ImageError(f"crane {arguments[0]} did not end within {TIMEOUT:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ImageError(f"crane {arguments[0]} exited with status {done.returncode}: {lines[-1]}")
    return done.stdout.strip()


def _layer(text: str) -> bytes:
    """A tar archive with one file; the same text gives the same bytes."""
    content = text.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("hello.txt")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def push(address: str, repository: str = "demo/hello", tag: str = "1", text: str = "hello\n") -> Pushed:
    """Pushes an image of one layer holding `text`. Raises ImageError."""
    layer = _layer(text)
    name = f"{address}/{repository}:{tag}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.tar"
        path.write_bytes(layer)
        _crane("append", "--new_layer", str(path), "--new_tag", name)
    return Pushed(name, _crane("digest", name), hashlib.sha256(layer).hexdigest())


def pull(image: Pushed) -> None:
    """Pulls the image and compares it with what was pushed. Raises ImageError when anything differs."""
    digest = _crane("digest", image.name)
    if digest != image.digest:
        raise ImageError(f"{image.name}: pushed {image.digest}, the registry now has {digest}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tar"
        _crane("pull", image.name, str(path))
        with tarfile.open(path) as archive:
            layers = json.loads(_member(archive, "manifest.json"))[0]["Layers"]
            blobs = [_member(archive, layer) for layer in layers]
    found = [hashlib.sha256(_unpacked(blob)).hexdigest() for blob in blobs]
    if found != [image.layer]:
        raise ImageError(f"{image.name}: pushed a layer with SHA-256 {image.layer}, pulled {found}")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise ImageError(f"the pulled archive does not contain {name}")
    return member.read()


def _unpacked(blob: bytes) -> bytes:
    return gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("address")
    parser.add_argument("--repository", default="demo/hello")
    options = parser.parse_args(arguments)
    try:
        image = push(options.address, options.repository)
        pull(image)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"pushed and pulled {image.name} {image.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
