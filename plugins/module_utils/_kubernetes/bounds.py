# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of an answer is read, for how long, and which paths are requested at all. Answers are hostile until read.

urllib3's own read timeout counts anew with every byte, and its chunks and lines may be of any size.
"""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import unquote

ANSWER_BYTES = 16 * 1024 * 1024
"""The largest answer that is read: a page of a collection is smaller by far, and etcd takes 1.5 MiB an object."""
LINE_BYTES = 8 * 1024 * 1024
"""The longest line of a watch, which is one object."""
POD_BYTES = 256 * 1024
"""The largest answer of a Pod, through the API server's proxy: a catalog's page of a thousand names is smaller."""
_PIECE = 65536
_PRINTABLE = re.compile(r"/[!-~]*")
_DECODED_TIMES = 3
"""How often a path may be decoded on its way: by a gateway, by the API server, by what it is passed on to."""


class TooLarge(Exception):
    """An answer, or a line of it, is longer than what is read. The text says by which limit."""


# -- paths -------------------------------------------------------------------------------------------------------------


def stays(path: str) -> bool:
    """Whether a path with its query names one place: nothing in it can lead to a host or an object of another name.

    ``.`` and ``..`` are refused as segments, and so is an encoded slash or backslash, however often it is encoded:
    the API server decodes a path before it splits it.
    """
    if _PRINTABLE.fullmatch(path) is None or "#" in path:
        return False
    bare = path.partition("?")[0]
    slashes = bare.count("/")
    for _ in range(_DECODED_TIMES + 1):
        if "\\" in bare or bare.count("/") != slashes or {".", ".."}.intersection(bare.split("/")):
            return False
        bare = unquote(bare)
    return bare == unquote(bare)


# -- time --------------------------------------------------------------------------------------------------------------


class _Timed(io.RawIOBase):
    """A socket's bytes until a moment; a timeout of the socket itself counts anew with every byte that arrives."""

    def __init__(self, sock: Any, raw: Any, seconds: float) -> None:
        self._sock, self._raw = sock, raw
        self._ends = time.monotonic() + seconds

    def readable(self) -> bool:
        """For io.BufferedReader."""
        return True

    def readinto(self, buffer: Any) -> Any:
        """Raises socket.timeout once the time is over."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """The socket's own file too: it keeps the socket open."""
        if not self.closed:
            self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """An answer that has to be complete, headers included, within its socket's timeout."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = sock.gettimeout()
        if seconds is not None:
            self.fp: Any = io.BufferedReader(_Timed(sock, self.fp.detach(), seconds))


def limit_time(pool: Any) -> None:
    """Have the read timeout of every request of urllib3's pool manager count for its whole answer."""

    def timed(pool_class: Any) -> Any:
        connection = type("Connection", (pool_class.ConnectionCls,), {"response_class": _TimedResponse})
        return type(pool_class.__name__, (pool_class,), {"ConnectionCls": connection})

    classes = pool.pool_classes_by_scheme
    pool.pool_classes_by_scheme = {scheme: timed(pool_class) for scheme, pool_class in classes.items()}


# -- size --------------------------------------------------------------------------------------------------------------


def body(answer: Any, limit: int) -> bytes:
    """The body of urllib3's answer. Raises TooLarge, and whatever urllib3 raises.

    Nothing is decompressed: compression was not asked for, and a few bytes of it can become gigabytes.
    """
    read = bytearray()
    while piece := answer.read(_PIECE, decode_content=False):
        read += piece
        if len(read) > limit:
            answer.close()
            raise TooLarge(f"more than {limit // 1024} KiB")
    return bytes(read)


def lines(answer: Any, limit: int) -> Iterator[bytes]:
    """The lines of urllib3's answer as they arrive. Raises TooLarge, and whatever urllib3 and http.client raise."""
    # urllib3 1 passes on whole chunks only, of any size.
    read: Callable[[int], bytes] = answer.read1 if hasattr(answer, "read1") else answer._fp.read1
    waiting, searched = bytearray(), 0
    while piece := read(_PIECE):
        waiting += piece
        while (end := waiting.find(b"\n", searched)) >= 0:
            yield bytes(waiting[:end])
            del waiting[: end + 1]
            searched = 0
        searched = len(waiting)
        if searched > limit:
            raise TooLarge(f"a line of more than {limit // 1024} KiB")
