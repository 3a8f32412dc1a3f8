# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that talks to the API server, and the only file that imports ``kubernetes``.

The library gives configuration, authentication and the TLS connection pool; requests go straight through that pool to
paths we know, so there is no API discovery, no cache file and no generated model (those cost ~30 ms of CPU a write).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import ssl
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

try:
    import urllib3
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config
    from urllib3._collections import HTTPHeaderDict  # urllib3 1 has it here only

    IMPORT_ERROR: str | None = None
except ImportError:  # pragma: no cover - depends on the interpreter Ansible chose
    IMPORT_ERROR = traceback.format_exc()

JSON = Mapping[str, Any]

CONNECT_TIMEOUT = 10.0
"""Seconds to open a connection."""
READ_TIMEOUT = 30.0
"""Seconds for one answer."""
RETRY_WINDOW = 20.0
"""Seconds during which an answer of 429, 5xx or a broken connection is tried again."""

MERGE_PATCH = "application/merge-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

ENVIRONMENT = {
    "kubeconfig": "K8S_AUTH_KUBECONFIG",
    "context": "K8S_AUTH_CONTEXT",
    "host": "K8S_AUTH_HOST",
    "api_key": "K8S_AUTH_API_KEY",
    "username": "K8S_AUTH_USERNAME",
    "password": "K8S_AUTH_PASSWORD",
    "validate_certs": "K8S_AUTH_VERIFY_SSL",
    "ca_cert": "K8S_AUTH_SSL_CA_CERT",
    "client_cert": "K8S_AUTH_CERT_FILE",
    "client_key": "K8S_AUTH_KEY_FILE",
    "proxy": "K8S_AUTH_PROXY",
    "no_proxy": "K8S_AUTH_NO_PROXY",
    "persist_config": "K8S_AUTH_PERSIST_CONFIG",
    "impersonate_user": "K8S_AUTH_IMPERSONATE_USER",
    "impersonate_groups": "K8S_AUTH_IMPERSONATE_GROUPS",
}
"""Option name to environment variable, as kubernetes.core has them."""


class ClientError(Exception):
    """The request never got an answer: bad configuration, no connection, a broken TLS chain. The text is for people."""


class ApiError(Exception):
    """The API server (or what stands before it) refused.

    status: HTTP code. reason: Kubernetes' reason ("NotFound", "Invalid", …) or "". message: the server's own text.
    """

    def __init__(self, verb: str, path: str, status: int, body: bytes) -> None:
        self.verb, self.path, self.status = verb, path, status
        self.reason = ""
        self.message = body.decode("utf-8", "replace").strip()[:500]
        self.causes: list[str] = []
        self.details: JSON = {}
        self.is_status = False
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict) and parsed.get("kind") == "Status":
            self.is_status = True
            self.reason = str(parsed.get("reason") or "")
            self.message = str(parsed.get("message") or self.message)
            self.details = parsed.get("details") or {}
            self.causes = [
                f"{cause.get('field') or 'request'}: {cause.get('message')}"
                for cause in self.details.get("causes") or []
            ]
        super().__init__(self.explain())

    @property
    def kind_missing(self) -> bool:
        """True when the API server does not know the resource at all (CRD absent), rather than the one object."""
        return self.status == 404 and not self.details.get("name")

    def explain(self) -> str:
        """One sentence: what was tried, what the server said, what to do."""
        where = f"{self.verb} {self.path.split('?', 1)[0]}"
        if self.status == 401:
            return (
                f"{where}: the API server does not accept the credentials (401 {self.message}). Check kubeconfig, "
                "context, "
                "api_key or the client certificate; a token may have expired."
            )
        if self.status == 403:
            return (
                f"{where}: not allowed (403): {self.message}. Grant this verb on this resource to the account "
                "Ansible uses."
            )
        text = f"{where}: HTTP {self.status}{' ' + self.reason if self.reason else ''}: {self.message}"
        # The API server repeats every cause in the message of an Invalid answer; show only what is new.
        fresh = [cause for cause in self.causes if cause.split(": ", 1)[-1] not in self.message]
        return text + (f" ({'; '.join(fresh)})" if fresh else "")


@dataclass(frozen=True)
class Reply:
    """A raw answer; headers have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, undecodable bytes replaced."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Event:
    """One line of a watch. type: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: JSON


@dataclass
class Counters:
    """What the client did, for results and benchmarks. http_seconds: wall time spent waiting for answers."""

    requests: int = 0
    retries: int = 0
    http_seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


def missing_library() -> str | None:
    """A sentence that names the interpreter when the kubernetes library cannot be imported, else None."""
    if IMPORT_ERROR is None:
        return None
    return (
        f"The Python library 'kubernetes' is not importable by {sys.executable} "
        f"({IMPORT_ERROR.strip().splitlines()[-1]}). "
        f"Install it there ({sys.executable} -m pip install kubernetes) or point ansible_python_interpreter at a "
        "Python that has it."
    )


def auth_value(params: JSON, option: str, environ: Mapping[str, str]) -> Any:
    """Value of an authentication option: the task's, else the K8S_AUTH_* variable's, else None."""
    value = params.get(option)
    if value is not None:
        return value
    variable = ENVIRONMENT.get(option)
    text = environ.get(variable) if variable else None
    if text is None or text == "":
        return None
    if option in ("validate_certs", "persist_config"):
        return text.strip().lower() not in ("0", "no", "false", "off", "n", "f")
    if option == "impersonate_groups":
        return [group.strip() for group in text.split(",") if group.strip()]
    return text


def _proxy_headers(params: JSON, environ: Mapping[str, str]) -> dict[str, str]:
    """The option proxy_headers as urllib3 wants it."""
    given = params.get("proxy_headers") or {}
    wanted: dict[str, Any] = {}
    for key in ("proxy_basic_auth", "basic_auth", "user_agent"):
        value = given.get(key) or environ.get(f"K8S_AUTH_PROXY_HEADERS_{key.upper()}")
        if value:
            wanted[key] = value
    return dict(urllib3.util.make_headers(**wanted)) if wanted else {}


def configuration(params: JSON, environ: Mapping[str, str] | None = None) -> tuple[Any, dict[str, str]]:
    """Connection settings as kubernetes.core finds them, and the headers (impersonation) that every request carries.

    Order: host with credentials given, else kubeconfig/context given, else the Pod's service account, else the default
    kubeconfig; single options then override what the kubeconfig says.

    Raises ClientError when none of it works.
    """
    environ = os.environ if environ is None else environ
    value = {option: auth_value(params, option, environ) for option in ENVIRONMENT}
    settings = kubernetes_client.Configuration()
    kubeconfig, context = value["kubeconfig"], value["context"]
    persist = bool(value["persist_config"]) if value["persist_config"] is not None else False
    explicit = value["host"] and (
        value["api_key"] or (value["username"] and value["password"]) or (value["client_cert"] and value["client_key"])
    )
    try:
        if explicit:
            pass  # a kubeconfig beside it (from the environment, say) must not lend its credentials
        elif isinstance(kubeconfig, Mapping):
            kubernetes_config.load_kube_config_from_dict(
                dict(kubeconfig), context=context, client_configuration=settings, persist_config=persist
            )
        elif kubeconfig:
            path = os.path.expanduser(str(kubeconfig))
            if not any(os.path.exists(part) for part in path.split(os.pathsep)):
                raise ClientError(f"kubeconfig {path} does not exist on the host that runs the task.")
            kubernetes_config.load_kube_config(
                path, context=context, client_configuration=settings, persist_config=persist
            )
        else:
            _load_default(settings, context, persist)
    except ClientError:
        raise
    except Exception as error:  # the library raises many kinds for a bad file, among them AttributeError and TypeError
        source = "the given dictionary" if isinstance(kubeconfig, Mapping) else kubeconfig or "the default kubeconfig"
        raise ClientError(f"Cannot read the Kubernetes configuration from {source}: {_no_secret(error)}") from None
    _override(settings, value, params, environ)
    headers: dict[str, str] = {}
    if value["impersonate_user"]:
        headers["Impersonate-User"] = str(value["impersonate_user"])
    if value["impersonate_groups"]:
        if not value["impersonate_user"]:
            raise ClientError(
                "impersonate_groups needs impersonate_user: the API server refuses groups without a user."
            )
        headers["Impersonate-Group"] = ",".join(value["impersonate_groups"])
    if value["username"] and value["password"]:
        headers["Authorization"] = str(settings.get_basic_auth_token())
    return settings, headers


def _load_default(settings: Any, context: str | None, persist: bool) -> None:
    """Service account of the Pod we run in, else the default kubeconfig."""
    if context is None:
        try:
            kubernetes_config.load_incluster_config(client_configuration=settings)
            return
        except kubernetes_config.ConfigException:
            pass
    try:
        kubernetes_config.load_kube_config(context=context, client_configuration=settings, persist_config=persist)
    except kubernetes_config.ConfigException as error:
        raise ClientError(
            "No cluster to talk to: no kubeconfig, no host with api_key, no K8S_AUTH_* variable, not inside a Pod "
            f"({error})."
        ) from None


def _override(settings: Any, value: Mapping[str, Any], params: JSON, environ: Mapping[str, str]) -> None:
    """Single options win over the kubeconfig."""
    if value["host"]:
        settings.host = str(value["host"]).strip().rstrip("/")
        if not settings.host.lower().startswith(("https://", "http://")):
            raise ClientError(f"host: {settings.host!r} is not a URL; write it as https://HOST[:PORT].")
    if value["api_key"]:
        # A token that was read from a file often brings the file's last line break along.
        settings.api_key = {"authorization": f"Bearer {str(value['api_key']).strip()}"}
        settings.refresh_api_key_hook = None
    for option, attribute in (
        ("username", "username"),
        ("password", "password"),
        ("validate_certs", "verify_ssl"),
        ("ca_cert", "ssl_ca_cert"),
        ("client_cert", "cert_file"),
        ("client_key", "key_file"),
        ("proxy", "proxy"),
        ("no_proxy", "no_proxy"),
    ):
        if value[option] is not None:
            given = value[option]
            if attribute in ("ssl_ca_cert", "cert_file", "key_file"):
                given = os.path.expanduser(str(given))
                if not os.path.exists(given):
                    raise ClientError(f"{option}: the file {given} does not exist on the host that runs the task.")
            setattr(settings, attribute, given)
    headers = _proxy_headers(params, environ)
    if headers:
        settings.proxy_headers = headers


def _no_secret(error: BaseException) -> str:
    """Text of an exception without what may be a credential: configuration errors can carry whole sections."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 300 and "token" not in text.lower() else type(error).__name__


_tempdir = threading.Lock()  # the process has one for all threads


@contextlib.contextmanager
def _files_of_our_own() -> Iterator[None]:
    """Whatever the library writes meanwhile (certificates and keys that a kubeconfig holds inline) is gone afterwards.

    Its own clean-up runs when the interpreter ends, and a worker of ansible-playbook ends without that.
    """
    with _tempdir, tempfile.TemporaryDirectory(prefix="alauda-image-registry-") as folder:
        before = tempfile.tempdir
        tempfile.tempdir = folder  # kubernetes 24 has no option for it
        try:
            yield
        finally:
            tempfile.tempdir = before
            known = getattr(kubernetes_config.kube_config, "_temp_files", {})  # it would hand out files that are gone
            for content in [content for content, path in known.items() if path.startswith(folder)]:
                del known[content]


def _keep_in_memory(manager: Any) -> None:
    """Load the files of a pool's TLS settings once, as urllib3 does for each connection, so that they can go away."""
    pool = manager.connection_pool_kw
    authorities, data = pool.pop("ca_certs", None), pool.pop("ca_cert_data", None)
    certificate, key = pool.pop("cert_file", None), pool.pop("key_file", None)

    def context() -> ssl.SSLContext:
        made: ssl.SSLContext = urllib3.util.ssl_.create_urllib3_context(cert_reqs=pool["cert_reqs"])
        if authorities or data:
            made.load_verify_locations(cafile=authorities, cadata=data)
        elif made.verify_mode != ssl.CERT_NONE:
            made.load_default_certs()
        return made

    pool["ssl_context"] = context()
    if certificate:
        pool["ssl_context"].load_cert_chain(certificate, key, password=_no_password)
    proxy = getattr(manager, "proxy_config", None)
    if proxy is not None and proxy.ssl_context is None:  # an HTTPS proxy is trusted by the same authorities
        manager.proxy_config = pool["_proxy_config"] = proxy._replace(ssl_context=context())


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal."""
    raise ValueError("the client key is encrypted, give one without a password")


class Client:
    """Requests to one API server. Safe to use from several threads; holds nothing that outlives it.

    Reads and merge patches are repeated on 429, 5xx and broken connections for RETRY_WINDOW seconds, creates only when
    the server said it did nothing (429, 503 with Retry-After).
    """

    def __init__(self, params: JSON, *, sleep: Callable[[float], None] = time.sleep) -> None:
        trouble = missing_library()
        if trouble:
            raise ClientError(trouble)
        with _files_of_our_own():
            self._settings, self._headers = configuration(params)
            if not self._settings.verify_ssl:
                # One warning per request would bury the task's own output; the user asked for it with validate_certs.
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            self._settings.connection_pool_maxsize = 16
            # The library's hook that renews tokens also puts the kubeconfig's server back into the settings.
            self._host = str(self._settings.host).rstrip("/")
            try:
                self._pool = kubernetes_client.ApiClient(configuration=self._settings).rest_client.pool_manager
                if self._host.lower().startswith("https://"):
                    _keep_in_memory(self._pool)
            except (OSError, ValueError) as error:
                raise ClientError(f"Cannot set up the connection to {self._host}: {_no_secret(error)}") from None
        self._sleep = sleep
        self.counters = Counters()

    @property
    def host(self) -> str:
        """URL of the API server, without a trailing slash."""
        return self._host

    # -- one request -----------------------------------------------------------------------------------------------

    def _request_headers(self, extra: Mapping[str, str]) -> Any:
        """Headers with fresh credentials (the library's hook renews expiring tokens)."""
        headers = HTTPHeaderDict({"Accept": "application/json", "User-Agent": "alauda.image_registry"})
        for setting in self._settings.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        for name, text in self._headers.items():
            if name == "Impersonate-Group":
                for group in text.split(","):
                    headers.add(name, group)
            else:
                headers[name] = text
        for name, text in extra.items():
            headers[name] = text
        return headers

    def _send(
        self, verb: str, path: str, body: bytes | None, extra: Mapping[str, str], stream: bool, read: float
    ) -> Any:
        started = time.monotonic()
        try:
            return self._pool.request(
                verb,
                self.host + path,
                body=body,
                headers=self._request_headers(extra),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read),
                retries=False,
                redirect=False,
                preload_content=not stream,
            )
        except (urllib3.exceptions.HTTPError, OSError):
            raise
        except ValueError:
            # http.client quotes the whole header, so its text must go no further.
            raise ClientError(
                "A request header cannot hold one of the given values: api_key, the kubeconfig's token, "
                "impersonate_user or impersonate_groups has a line break or a character outside Latin-1 in it."
            ) from None
        finally:
            with self.counters.lock:
                self.counters.requests += 1
                self.counters.http_seconds += time.monotonic() - started

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
    ) -> Reply:
        """One answer, whatever its status.

        retry: repeat on 429, 5xx and broken connections; by default for GET and PATCH, not for POST (a POST is repeated
        only on 429). Raises ClientError when no answer came.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        if data is not None and content_type is None:
            content_type = "application/json"
        extra = {"Content-Type": content_type} if content_type else {}
        if accept:
            extra["Accept"] = accept
        idempotent = verb in ("GET", "PATCH", "PUT", "DELETE") if retry is None else retry
        deadline = time.monotonic() + RETRY_WINDOW
        pause = 0.1
        while True:
            try:
                answer = self._send(verb, path, data, extra, False, read_timeout)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                refused = isinstance(error, urllib3.exceptions.NewConnectionError)
                certificate = "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate" in str(error).lower()
                if certificate or not (idempotent or refused) or time.monotonic() + pause > deadline:
                    raise ClientError(self._unreachable(error)) from None
                wait = pause
            else:
                again = answer.status == 429 or (idempotent and answer.status in (500, 502, 503, 504))
                if retry is False or not again or time.monotonic() + pause > deadline:
                    headers = {name.lower(): text for name, text in answer.headers.items()}
                    return Reply(answer.status, headers, answer.data)
                asked = answer.headers.get("Retry-After", "")
                wait = max(pause, min(float(asked), deadline - time.monotonic())) if asked.isdigit() else pause
            with self.counters.lock:
                self.counters.retries += 1
            self._sleep(max(0.0, wait) * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 3.0)

    def _unreachable(self, error: BaseException) -> str:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "its certificate is not trusted: give ca_cert (or certificate-authority in the kubeconfig)"
        elif isinstance(error, urllib3.exceptions.ReadTimeoutError):
            hint = "it accepted the connection but did not answer in time"
        elif isinstance(error, urllib3.exceptions.LocationParseError):
            hint = "the host is not a URL such as https://api.example.com:6443"
        else:
            hint = "check host, port, proxy and firewall"
        cause = text.split(": ", 1)[-1] if ": " in text else text
        return f"No answer from the API server {self.host}: {hint} ({cause[:300]})."

    def _json(
        self, verb: str, path: str, body: JSON | None = None, content_type: str | None = None, accept: str = ""
    ) -> JSON:
        reply = self.raw(verb, path, body, content_type=content_type, accept=accept)
        if reply.status >= 300:
            raise ApiError(verb, path, reply.status, reply.body)
        try:
            parsed = json.loads(reply.body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise ClientError(
                f"{self.host} answered {verb} {path.split('?', 1)[0]} with something that is not a Kubernetes object "
                f"({reply.headers.get('content-type', 'no content type')}): is host the API server itself?"
            )
        return parsed

    # -- verbs -----------------------------------------------------------------------------------------------------

    def get(self, path: str) -> JSON | None:
        """The object, or None when it does not exist. Raises ApiError for everything else, also for an unknown kind."""
        try:
            return self._json("GET", path)
        except ApiError as error:
            if error.status == 404 and not error.kind_missing:
                return None
            raise

    def pages(
        self, path: str, *, label_selector: str = "", field_selector: str = "", limit: int = 500, metadata: bool = False
    ) -> Iterator[JSON]:
        """The collection page by page, so that a large one never is in memory as a whole.

        metadata: ask for the objects' metadata only.
        """
        token = ""
        while True:
            query = {"limit": str(limit)}
            if label_selector:
                query["labelSelector"] = label_selector
            if field_selector:
                query["fieldSelector"] = field_selector
            if token:
                query["continue"] = token
            page = self._json("GET", f"{path}?{urlencode(query)}", accept=METADATA_LIST if metadata else "")
            yield page
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def list(
        self,
        path: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata: bool = False,
        keep: Callable[[JSON], JSON] | None = None,
    ) -> tuple[list[JSON], str]:
        """All items, and the resourceVersion a watch can go on from. keep: what is remembered of each item."""
        items: list[JSON] = []
        version = ""
        for page in self.pages(path, label_selector=label_selector, field_selector=field_selector, metadata=metadata):
            found = page.get("items") or []
            items.extend(map(keep, found) if keep else found)
            version = str((page.get("metadata") or {}).get("resourceVersion") or "")
        return items, version

    def patch(self, path: str, body: JSON, *, dry_run: bool = False) -> JSON:
        """Merge patch with strict field validation: a field the server does not know is an error, never ignored."""
        return self._json("PATCH", path + _write_query(dry_run), body, MERGE_PATCH)

    def delete(self, path: str, *, dry_run: bool = False, resource_version: str = "") -> None:
        """Delete one object, only in the given version if there is one. An object that is gone already is no error."""
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
        """Create in the collection `path`, with strict field validation."""
        return self._json("POST", path + _write_query(dry_run), body)

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
        """Open a watch that the server ends after `seconds`. Raises ApiError or ClientError when that fails."""
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
            answer = self._send("GET", full, None, extra, True, seconds + READ_TIMEOUT)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClientError(self._unreachable(error)) from None
        if answer.status >= 300:
            raise ApiError("GET", path, answer.status, answer.read())
        return Watch(answer, path)

    def close(self) -> None:
        """Drop all connections."""
        self._pool.clear()


class Watch:
    """An open watch: iterate for events; close() from any thread ends the iteration."""

    def __init__(self, answer: Any, path: str) -> None:
        self._answer, self._path = answer, path

    def __iter__(self) -> Iterator[Event]:
        """Events until the server ends the watch. Raises ApiError (410: start again from a list) or ClientError."""
        rest = b""
        try:
            for chunk in self._answer.stream(amt=None if self._answer.chunked else 65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if not line.strip():
                        continue
                    event = json.loads(line)
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        raise ApiError("WATCH", self._path, int(status.get("code") or 500), json.dumps(status).encode())
                    yield Event(str(event.get("type")), event.get("object") or {})
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: urllib3 when the connection is closed under a reader.
            raise ClientError(f"The watch on {self._path} broke: {type(error).__name__}") from None

    def close(self) -> None:
        """End the watch, also when another thread waits for its next event."""
        try:
            if hasattr(self._answer, "shutdown"):
                self._answer.shutdown()
            else:  # urllib3 before 2.3: close() alone would wait for the reader, which waits for the server
                connection = getattr(self._answer, "_connection", None)
                if connection is not None and connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RD)
            self._answer.close()
        except (OSError, RuntimeError, ValueError, AttributeError):
            pass


def _write_query(dry_run: bool) -> str:
    """Strict: unknown fields are refused instead of dropped in silence (operator fact 1.6)."""
    return "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")


def kubeconfig_secrets(params: JSON) -> Sequence[str]:
    """Leaf values of a kubeconfig given as a dictionary that must never be printed; any shape is looked through."""
    kubeconfig = params.get("kubeconfig")
    users = kubeconfig.get("users") if isinstance(kubeconfig, Mapping) else None
    found: list[Any] = []
    for entry in users if isinstance(users, list) else []:
        user = entry.get("user") if isinstance(entry, Mapping) else None
        if not isinstance(user, Mapping):
            continue
        found += [user.get(key) for key in ("token", "password", "client-key-data", "client-certificate-data")]
        provider = user.get("auth-provider")
        settings = provider.get("config") if isinstance(provider, Mapping) else None
        if isinstance(settings, Mapping):
            found += [text for key, text in settings.items() if str(key).endswith(("token", "secret"))]
        plugin = user.get("exec")
        variables = plugin.get("env") if isinstance(plugin, Mapping) else None
        for variable in variables if isinstance(variables, list) else []:
            found.append(variable.get("value") if isinstance(variable, Mapping) else None)
    return [text for text in found if isinstance(text, str) and text]
