# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of the API server that counts requests at the wire and injects faults.

Clients use the kubeconfig the proxy writes (plain HTTP on loopback, or TLS with a certificate and a client key made for
it); the proxy holds the credentials of the kubeconfig it was given. A client that brings its own ``Authorization``
header is forwarded with that header instead of them, so that tests with a restricted identity work too.

    with ApiProxy(kubeconfig) as proxy:
        run(kubeconfig=proxy.kubeconfig)
        assert len(proxy.requests) <= 3
        proxy.reset()
        proxy.fault("status", code=429, retry_after=1, method="PATCH", path=r"/configs/cluster$", times=2)
        proxy.meanwhile(somebody_deletes_it, method="PATCH", path=r"/configs/cluster$")

Protocol upgrades (exec, attach, port-forward) are answered with 501: nothing here needs them.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import re
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.certificates import b64, pair
from tests.cluster.kubeconfig import current_context, material

FaultKind = Literal["slow", "status", "reset", "close", "truncate", "drop", "expire", "act"]

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"}


class ProxyError(Exception):
    """The proxy cannot be set up with the kubeconfig it was given; the text says what is wrong and where."""


@dataclass
class Request:
    """One request as it crossed the wire.

    ``status`` is 0 until an answer begins, and stays 0 if the connection is reset. Times are seconds of the
    monotonic clock. ``body`` and ``response`` are filled when the proxy keeps bodies, ``response`` not for watches.
    """

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    started: float
    status: int = 0
    finished: float | None = None
    fault: str = ""
    body: bytes = b""
    response: bytes = b""

    @property
    def watch(self) -> bool:
        """Whether the client asked for a watch."""
        return self.query.get("watch", "").lower() in {"1", "true"}

    def __str__(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.query.items())
        return f"{self.method} {self.path}{'?' + query if query else ''} -> {self.status or 'no answer'}"


@dataclass
class Fault:
    """A fault that waits for matching requests; ``hits`` counts those it affected. ``times`` None means always."""

    kind: FaultKind
    method: str | None
    path: re.Pattern[str] | None
    watch: bool | None
    times: int | None
    skip: int
    delay: float
    code: int
    retry_after: int | None
    message: str
    events: int
    forwarded: bool
    dry_run: bool | None
    act: Callable[[], object] | None
    when: Callable[[Request], bool] | None
    hits: int = field(default=0)

    def matches(self, request: Request) -> bool:
        """Whether the fault applies to the request and is not used up; counts those that it lets through."""
        if not self._is_for(request):
            return False
        self.skip -= 1
        return self.skip < 0

    def _is_for(self, request: Request) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method is not None and re.fullmatch(self.method, request.method) is None:
            return False
        if self.watch is not None and self.watch != request.watch:
            return False
        if self.dry_run is not None and self.dry_run != (request.query.get("dryRun") == "All"):
            return False
        if self.when is not None and not self.when(request):
            return False
        return self.path is None or self.path.search(request.path) is not None


class _Upstream:
    """Where the API server is and how to authenticate to it, read from the current context of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        try:
            cluster, user = current_context(kubeconfig)
        except (OSError, ValueError) as error:
            raise ProxyError(str(error)) from error
        url = urlsplit(cluster["server"])
        self.secure = url.scheme == "https"
        self.host = url.hostname or ""
        self.port = url.port or (443 if self.secure else 80)
        self.prefix = url.path.rstrip("/")
        self.token: str = user.get("token", "")
        base = kubeconfig.parent
        self._anonymous = self._context(cluster, base)
        self._authenticated = self._context(cluster, base)
        certificate = material(user, "client-certificate", base)
        key = material(user, "client-key", base)
        if certificate and key:
            with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pem:
                pem.write(certificate + b"\n" + key)
                pem.flush()
                self._authenticated.load_cert_chain(pem.name)

    @staticmethod
    def _context(cluster: dict[str, Any], base: Path) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority = material(cluster, "certificate-authority", base)
        if authority:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self, anonymous: bool) -> http.client.HTTPConnection:
        """A new connection; ``anonymous`` leaves out the client certificate."""
        if not self.secure:
            return http.client.HTTPConnection(self.host, self.port)
        return http.client.HTTPSConnection(
            self.host, self.port, context=self._anonymous if anonymous else self._authenticated
        )


class ApiProxy:
    """Counting and fault-injecting proxy; use it as a context manager.

    :param kubeconfig: path of the kubeconfig whose current context names the real API server.
    :param keep_bodies: record request and response bodies as well (never those of watches).
    :param tls: serve TLS; the kubeconfig then has a client key, which is also in :attr:`client_key`.
    """

    def __init__(self, kubeconfig: str | Path, keep_bodies: bool = False, tls: bool = False) -> None:
        self._upstream = _Upstream(Path(kubeconfig))
        self.keep_bodies = keep_bodies
        self.tls = tls
        self.client_key = ""
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._faults: list[Fault] = []
        self._failures: list[Exception] = []
        self._live: set[socket.socket] = set()
        self._watching: set[socket.socket] = set()
        self._stop = threading.Event()
        self._server: _Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.kubeconfig = ""

    def __enter__(self) -> ApiProxy:
        self._folder = tempfile.TemporaryDirectory(prefix="api-proxy-")
        cluster: dict[str, str] = {}
        user: dict[str, str] = {}
        context = None
        if self.tls:
            certificate, key = pair("proxy", address="127.0.0.1")
            pem = Path(self._folder.name) / "proxy.pem"
            pem.touch(mode=0o600)
            pem.write_bytes(certificate + key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            own, own_key = pair("client")
            self.client_key = own_key.decode()
            cluster = {"certificate-authority-data": b64(certificate)}
            user = {"client-certificate-data": b64(own), "client-key-data": b64(own_key)}
        self._server = _Server(self, context)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        path = Path(self._folder.name) / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "proxy",
                    "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
                    "clusters": [{"name": "proxy", "cluster": {"server": self.url, **cluster}}],
                    "users": [{"name": "proxy", "user": user}],
                }
            ),
            encoding="utf-8",
        )
        self.kubeconfig = str(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self.drop_connections()
        if self._folder is not None:
            self._folder.cleanup()
        if self._failures and error is None:
            raise self._failures[0]

    @property
    def url(self) -> str:
        """Address of the proxy, without a trailing slash."""
        if self._server is None:
            raise ProxyError("the proxy is not running: use it as a context manager")
        host, port = self._server.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{host!s}:{port}"

    @property
    def requests(self) -> list[Request]:
        """All requests since the start or the last reset, in order of arrival, those still running included."""
        with self._lock:
            return list(self._requests)

    def reset(self) -> None:
        """Forget all requests and faults."""
        with self._lock:
            self._requests.clear()
            self._faults.clear()

    def fault(
        self,
        kind: FaultKind,
        *,
        method: str | None = None,
        path: str | None = None,
        watch: bool | None = None,
        times: int | None = 1,
        skip: int = 0,
        delay: float = 1.0,
        code: int = 500,
        retry_after: int | None = None,
        message: str = "injected by the test proxy",
        events: int = 0,
        forwarded: bool = False,
        dry_run: bool | None = None,
        act: Callable[[], object] | None = None,
        when: Callable[[Request], bool] | None = None,
    ) -> Fault:
        """Arm a fault.

        :param kind: ``slow`` forwards the request after ``delay`` seconds; ``status`` answers ``code`` (with
            ``retry_after`` seconds if given) as the API server would; ``reset`` cuts the connection with RST;
            ``close`` ends it in order instead (under TLS with its own farewell); ``truncate`` ends it in the middle of
            the answer; ``drop`` lets a watch through and cuts it after ``events`` events, ``expire`` has it end with
            the event ERROR 410 instead; ``act`` is for :meth:`meanwhile`.
        :param path: regular expression searched in the path; ``method`` (a regular expression for the whole of it),
            ``watch`` and ``when`` narrow further.
        :param times: how many matching requests are affected, None for all.
        :param skip: how many matching requests are let through first.
        :param forwarded: for ``status``, ``reset`` and ``close``: let the API server act first, so that only its
            answer is lost.
        """
        armed = Fault(
            kind=kind,
            method=method,
            path=re.compile(path) if path is not None else None,
            watch=True if kind in ("drop", "expire") else watch,
            times=times,
            skip=skip,
            delay=delay,
            code=code,
            retry_after=retry_after,
            message=message,
            events=events,
            forwarded=forwarded,
            dry_run=dry_run,
            act=act,
            when=when,
        )
        with self._lock:
            self._faults.append(armed)
        return armed

    def meanwhile(
        self,
        act: Callable[[], object],
        *,
        method: str | None = None,
        path: str | None = None,
        watch: bool | None = None,
        dry_run: bool | None = None,
        skip: int = 0,
        forwarded: bool = False,
    ) -> Fault:
        """Have something done at the first matching request, which goes on when it has been done: one order, no race.

        What ``act`` raises is raised again when the proxy is left.

        :param dry_run: whether the request is to be a dry run; None: either.
        :param forwarded: let the API server answer first; the client has its answer when ``act`` is over.
        """
        return self.fault(
            "act", method=method, path=path, watch=watch, skip=skip, forwarded=forwarded, dry_run=dry_run, act=act
        )

    def clear_faults(self) -> None:
        """Disarm all faults, keep the requests."""
        with self._lock:
            self._faults.clear()

    def drop_watches(self) -> int:
        """Cut every watch that runs now; returns how many."""
        with self._lock:
            targets = list(self._watching)
        for target in targets:
            _cut(target)
        return len(targets)

    def drop_connections(self) -> int:
        """Cut every client connection that is open now; returns how many."""
        with self._lock:
            targets = list(self._live)
        for target in targets:
            _cut(target)
        return len(targets)

    def _begin(self, request: Request) -> Fault | None:
        with self._lock:
            self._requests.append(request)
            for armed in self._faults:
                if armed.matches(request):
                    armed.hits += 1
                    request.fault = armed.kind
                    return armed
        return None


def _cut(target: socket.socket) -> None:
    """Close with RST instead of FIN, as a dying peer does."""
    with contextlib.suppress(OSError):
        target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        target.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        # socket.close() would wait for the handler's file objects; the peer must notice now.
        os.close(target.detach())


def _end(target: socket.socket) -> None:
    """Close in order: with the farewell of TLS where there is one, and FIN."""
    with contextlib.suppress(OSError, ValueError):
        if isinstance(target, ssl.SSLSocket):
            target.settimeout(1)
            target = target.unwrap()
        target.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: ApiProxy, context: ssl.SSLContext | None) -> None:
        self.proxy = proxy
        self._context = context
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake is the handler's own: here it would make all others wait."""
        connection, address = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def server_bind(self) -> None:
        # HTTPServer would look up the host's own name, which can take seconds without DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name = "127.0.0.1"
        self.server_port = self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away and connections we cut are normal here."""


def _status(code: int, message: str) -> dict[str, Any]:
    """An error as the API server answers it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._links: dict[bool, http.client.HTTPConnection] = {}
        with self.server.proxy._lock:
            self.server.proxy._live.add(self.connection)

    def finish(self) -> None:
        with self.server.proxy._lock:
            self.server.proxy._live.discard(self.connection)
        for link in self._links.values():
            link.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """The list of requests is the log."""

    def _any(self) -> None:
        proxy = self.server.proxy
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            content_type=self.headers.get("Content-Type", ""),
            started=time.monotonic(),
        )
        body = self._read_body()
        if proxy.keep_bodies:
            request.body = body
        fault = proxy._begin(request)
        try:
            self._serve(request, body, fault)
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            if request.status == 0 and not isinstance(error, (BrokenPipeError, ConnectionResetError)):
                self._answer(request, 502, f"the proxy cannot reach the API server: {error}")
        finally:
            request.finished = time.monotonic()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _serve(self, request: Request, body: bytes, fault: Fault | None) -> None:
        if "upgrade" in self.headers.get("Connection", "").lower():
            self._answer(request, 501, "the proxy does not support protocol upgrades")
            return
        if fault is not None and fault.kind == "slow":
            self.server.proxy._stop.wait(fault.delay)
        if fault is not None and fault.kind in ("status", "reset", "close"):
            if fault.forwarded:
                self._forward(body).read()
            if fault.kind != "status":
                self.close_connection = True
                (_cut if fault.kind == "reset" else _end)(self.connection)
            else:
                self._answer(request, fault.code, fault.message, fault.retry_after)
            return
        act = fault.act if fault is not None else None
        if act is not None and fault is not None and not fault.forwarded:
            self._do(act)
        response = self._forward(body)
        if act is not None and fault is not None and fault.forwarded:
            self._do(act)
        request.status = response.status
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = response.getheader("Content-Length")
        bodiless = request.method == "HEAD" or response.status in (204, 304)
        if length is None and not bodiless:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if request.watch and response.status == 200:
            self._stream(response, fault)
            return
        data = response.read()
        if self.server.proxy.keep_bodies:
            request.response = data
        if bodiless:
            return
        if fault is not None and fault.kind == "truncate":
            self.close_connection = True
            self.wfile.write((b"%x\r\n" % len(data) if length is None else b"") + data[: len(data) // 2])
            _end(self.connection)
            return
        if length is None:
            self._chunk(data)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(data)

    def _do(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # of the test's own: told where the test sees it
            self.server.proxy._failures.append(error)

    def _stream(self, response: http.client.HTTPResponse, fault: Fault | None) -> None:
        proxy = self.server.proxy
        with proxy._lock:
            proxy._watching.add(self.connection)
        try:
            count = 0
            if fault is not None and fault.kind in ("drop", "expire") and fault.events == 0:
                self._stop_watch(fault)
                return
            while data := response.read1(1 << 16):
                if fault is not None and fault.kind == "truncate":
                    self._chunk(data[: len(data) // 2])
                    _end(self.connection)
                    return
                self._chunk(data)
                count += data.count(b"\n")
                if fault is not None and fault.kind in ("drop", "expire") and count >= fault.events:
                    self._stop_watch(fault)
                    return
            self.wfile.write(b"0\r\n\r\n")
        finally:
            with proxy._lock:
                proxy._watching.discard(self.connection)
            # The rest of a cut watch cannot be drained: neither connection can be reused.
            self.close_connection = True
            response.close()
            for link in self._links.values():
                link.close()

    def _stop_watch(self, fault: Fault) -> None:
        """End a watch before its time: cut off, or with the API server's own word that its version is too old."""
        if fault.kind == "drop":
            _cut(self.connection)
            return
        gone = {"type": "ERROR", "object": _status(410, fault.message)}
        self._chunk(json.dumps(gone).encode() + b"\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _forward(self, body: bytes) -> http.client.HTTPResponse:
        upstream = self.server.proxy._upstream
        anonymous = "Authorization" in self.headers
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        if upstream.token and not anonymous:
            headers["Authorization"] = f"Bearer {upstream.token}"
        headers["Content-Length"] = str(len(body))
        for fresh in (False, True):
            link = self._links.get(anonymous)
            if link is None or fresh:
                link = self._links[anonymous] = upstream.connect(anonymous)
            try:
                link.request(self.command, upstream.prefix + self.path, body=body or None, headers=headers)
                return link.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # A kept-alive connection may have been closed; only a fresh one that fails is a real failure.
                link.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def _answer(self, request: Request, code: int, message: str, retry_after: int | None = None) -> None:
        request.status = code
        status = _status(code, message)
        if retry_after is not None:
            status["details"] = {"retryAfterSeconds": retry_after}
        data = json.dumps(status).encode()
        self.send_response_only(code, http.client.responses.get(code, ""))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(data)
