# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the API server: verbs, retries, watches, errors.

Requests go straight through a connection pool to known paths: no API discovery, no cache files, no generated models
(those cost about 30 ms of CPU per write). Where the pool and the credentials come from is the business of
``connection``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import bounds
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    decoded,
    is_object,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import redact

try:
    import urllib3
    from urllib3._collections import HTTPHeaderDict  # urllib3 1 has it here only
except ImportError:  # pragma: no cover - connection.connect() reports it before anything here is used
    pass

CONNECT_TIMEOUT = 10.0
"""Seconds to establish a connection."""
READ_TIMEOUT = 30.0
"""Seconds for one whole answer."""
PAGE = 500
"""Objects requested at once when a collection is listed."""
PAGES = 1000
"""The longest collection that is listed, in pages."""
RETRY_WINDOW = 20.0
"""Seconds during which a request is repeated after 429, 5xx or a broken connection."""

_ANONYMOUS = "system:anonymous"
"""Who the API server takes a request without credentials for; it must never be granted anything for our sake."""
LONGEST_MESSAGE = 4000
"""Characters of an error that are kept; an Invalid answer quotes every cause."""
MOST_CAUSES = 20

MERGE_PATCH = "application/merge-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


LAST_SECONDS = 3.0
"""Seconds for a request and its answer once the task's time is up."""
UNSURE = (500, 502, 503, 504)
"""Statuses after which a request is repeated; it may have been carried out nevertheless."""


class ClientError(Exception):
    """There was no answer: wrong configuration, no connection, an untrusted certificate. Users read the text.

    lost: the request may have been carried out, and only its answer was lost.
    """

    def __init__(self, text: str, *, lost: bool = False) -> None:
        super().__init__(text)
        self.lost = lost


class ApiError(Exception):
    """The API server, or a proxy in front of it, answered with an error.

    status: HTTP code. reason: Kubernetes' reason ("NotFound", "Invalid", …) or "". message: the server's own text.
    lost: the request may have been carried out: now (5xx), or when it was sent before and its answer was lost.
    """

    def __init__(self, verb: str, path: str, status: int, body: bytes, *, lost: bool = False) -> None:
        self.verb, self.path, self.status, self.lost = verb, path, status, lost
        self.reason = ""
        self.message = body[:2000].decode("utf-8", "replace").strip()[:500]
        self.causes: list[str] = []
        self.details: JSON = {}
        self.is_status = False
        parsed = decoded(body)
        if isinstance(parsed, dict) and parsed.get("kind") == "Status":
            self.is_status = True
            self.reason = str(parsed.get("reason") or "")[:100]
            self.message = _shortened(str(parsed.get("message") or self.message))
            details = parsed.get("details")
            self.details = details if isinstance(details, dict) else {}
            causes = self.details.get("causes")
            self.causes = [
                _shortened(f"{cause.get('field') or 'request'}: {cause.get('message')}")
                for cause in (causes if isinstance(causes, list) else [])[:MOST_CAUSES]
                if isinstance(cause, dict)
            ]
        super().__init__(self.explain())

    def _has_cause(self, reason: str) -> bool:
        """Whether one of the causes has this reason."""
        causes = self.details.get("causes")
        found = causes if isinstance(causes, list) else []
        return any(isinstance(cause, dict) and cause.get("reason") == reason for cause in found)

    @property
    def is_verdict(self) -> bool:
        """Whether the API server refuses what was sent for its content, as opposed to rights, races and troubles."""
        return self.status in (400, 413, 422)

    @property
    def is_trouble(self) -> bool:
        """Whether the API server, or a proxy in front of it, was not able to answer."""
        return self.status == 429 or self.status >= 500

    @property
    def kind_missing(self) -> bool:
        """Whether the API server does not know the resource at all (no CRD), as opposed to a single missing object."""
        return self.status == 404 and not self.details.get("name")

    def explain(self) -> str:
        """The message: what was tried, what the server answered and, where that is clear, what to do."""
        where = f"{self.verb} {self.path.split('?', 1)[0]}"
        if self.status == 401:
            return (
                f"{where}: the API server does not accept the credentials (401 {self.message}). "
                "Check kubeconfig, context, api_key or the client certificate; a token may have expired."
            )
        if self.status == 403 and _ANONYMOUS in self.message:
            return (
                f"{where}: the request carried no credentials that the API server accepts (403): {self.message}. "
                "Check kubeconfig, context, api_key or the client certificate, and that the login plugin still works."
            )
        if self.status == 403 and self._has_cause("NamespaceTerminating"):
            return (
                f"{where}: the namespace is being deleted (403): {self.message}. "
                "Take it out of the task, or run the task again once it has been recreated."
            )
        if self.status == 403:
            return (
                f"{where}: not allowed (403): {self.message}. "
                "Grant the account that Ansible uses this verb on this resource."
            )
        text = f"{where}: HTTP {self.status}{' ' + self.reason if self.reason else ''}: {self.message}"
        # The message of an Invalid answer already contains the causes; add only those it lacks.
        fresh = [cause for cause in self.causes if cause.split(": ", 1)[-1] not in self.message]
        return text + (f" ({'; '.join(fresh)})" if fresh else "")


@dataclass(frozen=True)
class Reply:
    """A raw answer; headers have lower-case names. lost: as for ApiError."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    lost: bool = False

    @property
    def text(self) -> str:
        """The body as text, with undecodable bytes replaced."""
        return self.body.decode("utf-8", "replace")


class _Time(threading.local):
    """When the time of this thread's requests is over, in monotonic seconds."""

    ends = math.inf


@dataclass(frozen=True)
class Event:
    """One line of a watch. type: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: JSON


@dataclass(frozen=True)
class Connection:
    """How to reach one API server, and with which credentials.

    host: URL without a trailing slash. pool: urllib3's pool for it, with the TLS settings loaded.
    headers: the headers that authenticate (and impersonate); called for every request, because credentials expire and
        are renewed.
    secrets: the credentials in use, which no output may contain.
    """

    host: str
    pool: Any
    headers: Callable[[], Iterable[tuple[str, str]]] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


class Client:
    """Requests to one API server. Safe to use from several threads; leaves nothing behind.

    For RETRY_WINDOW seconds, requests that do no harm twice are repeated after 429, 5xx and broken connections; others
    only when the server certainly did nothing (429, or no connection at all). Whoever repeats a write may meet the
    effect of the first attempt: errors say so (``lost``). With ``read_only`` nothing but GET is ever sent.
    """

    def __init__(
        self, connection: Connection, *, read_only: bool = False, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._connection = connection
        self._read_only = read_only
        self._sleep = sleep
        self._answered = False
        self.until: float | None = None
        """Monotonic time at which the task's time is up: nothing is repeated or awaited longer (but LAST_SECONDS)."""
        self._time = _Time()
        bounds.limit_time(connection.pool)

    @property
    def host(self) -> str:
        """URL of the API server, without a trailing slash."""
        return self._connection.host

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give this thread's requests so many seconds altogether; what is not answered by then raises ClientError."""
        before = self._time.ends
        self._time.ends = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._time.ends = before

    # -- one request -----------------------------------------------------------------------------------------------

    def _request_headers(self, extra: Mapping[str, str]) -> Any:
        headers = HTTPHeaderDict({"Accept": "application/json", "User-Agent": "alauda.image_registry"})
        for name, text in self._connection.headers():
            headers.add(name, text)
        for name, text in extra.items():
            headers[name] = text
        return headers

    def _send(self, verb: str, path: str, body: bytes | None, extra: Mapping[str, str], read: float) -> Any:
        """One request, once, its answer not read yet. Every request of this class passes here.

        So a client that must not write refuses here, and so does every client when a path could lead elsewhere.
        A dry run counts as writing: only its query keeps it from being one.
        """
        if not bounds.stays(path):
            raise ClientError(
                f"{verb} {path.split('?', 1)[0][:200]!r} was not sent: the path could lead to another object than it "
                "names."
            )
        if self._read_only and verb != "GET":
            raise ClientError(f"{verb} {path.split('?', 1)[0]} was not sent: this run only reads.")
        left = self._time.ends - time.monotonic()
        if left <= 0:
            raise ClientError(f"{verb} {path.split('?', 1)[0]} was not sent: its time is over.")
        try:
            return self._connection.pool.request(
                verb,
                self.host + path,
                body=body,
                headers=self._request_headers(extra),
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, read, left), read=min(read, left)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError):
            raise
        except ValueError:
            # http.client quotes the whole header, so its text must not get out.
            raise ClientError(
                "One of the given values cannot be sent in a request header: api_key, the kubeconfig's token, "
                "impersonate_user or impersonate_groups contains a line break or a character outside Latin-1."
            ) from None

    def raw(
        self,
        verb: str,
        path: str,
        body: JSON | None = None,
        *,
        content_type: str | None = None,
        accept: str = "",
        retry: bool | None = None,
        read_timeout: float = READ_TIMEOUT,
        limit: int = bounds.ANSWER_BYTES,
    ) -> Reply:
        """One answer, whatever its status. Raises ClientError when there is none, or when it is too large.

        read_timeout: seconds for the whole answer. limit: of its body, in bytes.
        retry: whether to repeat after 429, 5xx and when there was no connection or it broke. By default, everything
            but POST is repeated; a POST only after 429 or when there was no connection.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        if data is not None and content_type is None:
            content_type = "application/json"
        extra = {"Content-Type": content_type} if content_type else {}
        if accept:
            extra["Accept"] = accept
        idempotent = verb in ("GET", "PATCH", "PUT", "DELETE") if retry is None else retry
        deadline = min(time.monotonic() + self._left(RETRY_WINDOW), self._time.ends)
        pause, lost = 0.1, False
        while True:
            try:
                answer = self._send(verb, path, data, extra, self._left(read_timeout))
                content = bounds.body(answer, limit)
            except bounds.TooLarge as error:
                raise ClientError(self._too_large(verb, path, error), lost=True) from None
            except ClientError as error:  # it was not sent this time
                raise ClientError(str(error), lost=lost) from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                refused = retry is None and isinstance(error, urllib3.exceptions.NewConnectionError)
                lost = lost or not _was_not_sent(error)
                if self._is_final(error) or not (idempotent or refused) or time.monotonic() + pause > deadline:
                    raise ClientError(self._unreachable(error), lost=lost) from None
                wait = pause
            else:
                self._answered = True
                lost = lost or answer.status in UNSURE
                again = answer.status == 429 or (idempotent and answer.status in UNSURE)
                if retry is False or not again or time.monotonic() + pause > deadline:
                    headers = {name.lower(): text for name, text in answer.headers.items()}
                    return Reply(answer.status, headers, content, lost)
                wait = max(pause, min(_retry_after(answer.headers), deadline - time.monotonic()))
            self._sleep(max(0.0, wait) * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 3.0)

    def _left(self, seconds: float) -> float:
        """The seconds, as far as the task's time lasts."""
        return seconds if self.until is None else min(seconds, max(self.until - time.monotonic(), LAST_SECONDS))

    def _is_final(self, error: BaseException) -> bool:
        """Whether repeating the request cannot help: a wrong URL, an unknown name, an untrusted certificate.

        A name that has resolved before is not wrong; then it is the resolver that has a moment of trouble.
        """
        if isinstance(error, urllib3.exceptions.LocationValueError) or "certificate" in str(error).lower():
            return True
        return _is_unresolved(error) and not self._answered

    def _unreachable(self, error: BaseException) -> str:
        text = redact(str(error))
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "its certificate is not trusted; set ca_cert (or certificate-authority in the kubeconfig)"
        elif isinstance(error, urllib3.exceptions.ReadTimeoutError):
            hint = "it accepted the connection but did not answer in time"
        elif _is_unresolved(error):
            hint = "its host name, or the proxy's, does not resolve; check host, proxy and the name server"
        elif isinstance(error, urllib3.exceptions.LocationValueError):
            hint = "host is not a URL such as https://api.example.com:6443"
        else:
            hint = "check host, port, proxy and firewall"
        cause = text.split(": ", 1)[-1] if ": " in text else text
        return f"No answer from the API server {redact(self.host)}: {hint} ({cause[:300]})."

    def _too_large(self, verb: str, path: str, error: bounds.TooLarge) -> str:
        where = f"{redact(self.host)} answered {verb} {path.split('?', 1)[0]}"
        return f"{where} with {error}, which is not read. Check that host is the API server itself."

    def _json(
        self,
        verb: str,
        path: str,
        body: JSON | None = None,
        content_type: str | None = None,
        accept: str = "",
        retry: bool | None = None,
    ) -> JSON:
        """The answer. Raises ApiError for an error, ClientError for what is not JSON."""
        reply = self.raw(verb, path, body, content_type=content_type, accept=accept, retry=retry)
        if reply.status >= 300:
            raise ApiError(verb, path, reply.status, reply.body, lost=reply.lost)
        parsed = decoded(reply.body)
        if not isinstance(parsed, dict):
            content_type = reply.headers.get("content-type", "no content type")
            raise ClientError(self._foreign(verb, path, content_type[:100]))
        return parsed

    def _object(
        self,
        verb: str,
        path: str,
        body: JSON | None = None,
        content_type: str | None = None,
        retry: bool | None = None,
    ) -> JSON:
        """The answer, which is one object; raises as _json does."""
        found = self._json(verb, path, body, content_type, retry=retry)
        if not is_object(found):
            raise ClientError(self._foreign(verb, path, "it is JSON without a name, or its spec is not an object"))
        return found

    def _foreign(self, verb: str, path: str, what: str) -> str:
        return (
            f"{redact(self.host)} answered {verb} {path.split('?', 1)[0]} with something other than a Kubernetes "
            f"object ({what}). Check that host is the API server itself."
        )

    # -- verbs -----------------------------------------------------------------------------------------------------

    def get(self, path: str) -> JSON | None:
        """The object, or None when it does not exist. Raises ApiError for any other error, an unknown kind included."""
        try:
            return self._object("GET", path)
        except ApiError as error:
            if error.status == 404 and not error.kind_missing:
                return None
            raise

    def pages(
        self, path: str, *, label_selector: str = "", field_selector: str = "", metadata: bool = False
    ) -> Iterator[JSON]:
        """The collection page by page, so that a large one is never in memory as a whole.

        metadata: request only the objects' metadata. Raises ClientError for a collection that does not end.
        """
        token = ""
        for _ in range(PAGES):
            query = {"limit": str(PAGE)}
            if label_selector:
                query["labelSelector"] = label_selector
            if field_selector:
                query["fieldSelector"] = field_selector
            if token:
                query["continue"] = token
            page = self._json("GET", f"{path}?{urlencode(query)}", accept=METADATA_LIST if metadata else "")
            items = page.get("items")
            if not isinstance(items, (list, type(None))) or not all(map(is_object, items or [])):
                raise ClientError(self._foreign("GET", path, "it is not a list of objects that have a name"))
            yield page
            token = str(mapping_at(page, "metadata").get("continue") or "")
            if not token:
                return
        raise ClientError(f"{redact(self.host)}: GET {path} does not end: {PAGES} pages were read.")

    def list(
        self,
        path: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata: bool = False,
        keep: Callable[[JSON], JSON] | None = None,
    ) -> tuple[list[JSON], str]:
        """All items, and the resourceVersion from which to watch. keep: reduces each item to what is to be kept."""
        items: list[JSON] = []
        version = ""
        for page in self.pages(path, label_selector=label_selector, field_selector=field_selector, metadata=metadata):
            found = page.get("items") or []
            items.extend(map(keep, found) if keep else found)
            version = str(mapping_at(page, "metadata").get("resourceVersion") or "")
        return items, version

    def patch(self, path: str, body: JSON, *, dry_run: bool = False) -> JSON:
        """Merge patch with strict field validation: a field that the server does not know is an error, not ignored."""
        return self._object("PATCH", path + _write_query(dry_run), body, MERGE_PATCH)

    def delete(self, path: str, *, dry_run: bool = False, resource_version: str = "") -> None:
        """Delete one object, if given only in this version. It is not an error when the object no longer exists."""
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if resource_version:
            body["preconditions"] = {"resourceVersion": resource_version}
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            self._json("DELETE", path + ("?dryRun=All" if dry_run else ""), body)
        except ApiError as error:
            if error.status != 404:
                raise

    def create(self, path: str, body: JSON, *, dry_run: bool = False) -> JSON:
        """Create an object in the collection at `path`, with strict field validation.

        An object that has a name cannot be made twice, so its request is repeated like the others (ApiError 409 with
        ``lost`` may then be about the object that an earlier attempt made).
        """
        named = bool((body.get("metadata") or {}).get("name"))
        return self._object("POST", path + _write_query(dry_run), body, retry=True if dry_run or named else None)

    def watch(
        self,
        path: str,
        resource_version: str,
        *,
        field_selector: str = "",
        label_selector: str = "",
        seconds: int = 300,
        metadata: bool = False,
    ) -> Watch:
        """Open a watch, which the server ends after `seconds`. Raises ApiError or ClientError when that fails."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        if field_selector:
            query["fieldSelector"] = field_selector
        if label_selector:
            query["labelSelector"] = label_selector
        full = f"{path}?{urlencode(query)}"
        try:
            extra = {"Accept": METADATA_WATCH} if metadata else {}
            answer = self._send("GET", full, None, extra, seconds + READ_TIMEOUT)
            if answer.status >= 300:
                raise ApiError("GET", path, answer.status, bounds.body(answer, bounds.ANSWER_BYTES))
        except bounds.TooLarge as error:
            raise ClientError(self._too_large("GET", path, error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClientError(self._unreachable(error)) from None
        return Watch(answer, path)

    def close(self) -> None:
        """Close all connections."""
        self._connection.pool.clear()


class Watch:
    """An open watch: iterate over it for events; close(), from any thread, ends the iteration."""

    def __init__(self, answer: Any, path: str) -> None:
        self._answer, self._path = answer, path

    def __iter__(self) -> Iterator[Event]:
        """Events until the server ends the watch. Raises ApiError (410: list again and start over) or ClientError."""
        try:
            for line in bounds.lines(self._answer, bounds.LINE_BYTES):
                if line.strip():
                    yield self._event(line)
        except (
            *(urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError),
            AttributeError,  # from urllib3, when the connection is closed while being read
            bounds.TooLarge,
        ) as error:
            raise ClientError(f"The watch on {self._path} broke off: {type(error).__name__}") from None

    def _event(self, line: bytes) -> Event:
        """Raises ApiError for the event that reports one, ValueError for what is not an event."""
        event = decoded(line)
        kind, found = mapping_at(event).get("type"), mapping_at(event, "object")
        if kind == "ERROR":
            code = found.get("code")
            raise ApiError("WATCH", self._path, code if type(code) is int else 500, json.dumps(found).encode())
        if kind == "BOOKMARK" and isinstance(found.get("metadata"), Mapping):
            return Event("BOOKMARK", found)
        if kind not in ("ADDED", "MODIFIED", "DELETED") or not is_object(found):
            raise ValueError("not an event")
        return Event(kind, found)

    def close(self) -> None:
        """End the watch, even while another thread waits for its next event."""
        try:
            if hasattr(self._answer, "shutdown"):
                self._answer.shutdown()
            else:  # urllib3 before 2.3: close() alone would wait for the reader, and that for the server
                connection = getattr(self._answer, "_connection", None)
                if connection is not None and connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RD)
            self._answer.close()
        except (OSError, RuntimeError, ValueError, AttributeError):
            pass


def _shortened(text: str) -> str:
    """Both ends of a text that is too long: an Invalid answer quotes the whole object before it gives the reason."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} … {text[-half:]}"


def _was_not_sent(error: BaseException) -> bool:
    """Whether the server certainly has not received the request: there was no connection."""
    refused = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return isinstance(error, (*refused, urllib3.exceptions.LocationValueError)) or _is_unresolved(error)


def _is_unresolved(error: BaseException) -> bool:
    """Whether a name could not be resolved; urllib3 1 has no exception of its own for it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait; 0 when it does not say, or says it in another form."""
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0.0


def _write_query(dry_run: bool) -> str:
    """Strict: unknown fields are refused instead of dropped in silence (operator fact 1.6)."""
    return "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
