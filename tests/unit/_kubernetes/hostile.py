# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers whatever it likes, byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """A request as it arrived. line: its first one. head: it and the headers."""

    line: str
    head: str
    body: bytes


Script = Callable[[socket.socket, Request], None]
"""Writes one answer to a request."""


@dataclass
class Hostile:
    """A server on loopback. requests: the request lines that reached it."""

    url: str
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def hostile(answer: Script) -> Iterator[Hostile]:
    """Answer every connection's first request with the script, and go on when the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            head, _, body = head.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            while length is not None and len(body) < int(length[1]):
                body += connection.recv(65536)
            server.requests.append(head.partition(b"\r\n")[0].decode())
            answer(connection, Request(server.requests[-1], head.decode("latin-1"), body))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def endless(begin: bytes, piece: bytes, pause: float = 0.0) -> Script:
    """What begins like this and goes on like that until the client closes the connection."""

    def answer(connection: socket.socket, _request: Request) -> None:
        connection.sendall(begin)
        over = threading.Event()
        while not over.wait(pause):
            connection.sendall(piece)

    return answer


def answered(body: bytes, *headers: str, status: int = 200) -> Script:
    """One whole answer."""
    lines = [f"HTTP/1.1 {status} whatever", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]

    def answer(connection: socket.socket, _request: Request) -> None:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)

    return answer
