# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the API server and the credentials for it, and sets up TLS and the connection pool.

Static credentials need urllib3 and PyYAML only; ``library`` does the rest.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit
from urllib.request import getproxies

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import kubeconfig as _kubeconfig
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import library, private
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ClientError, Connection
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.kubeconfig import (
    Content,
    Document,
    File,
    NeedsLibrary,
    Refused,
    Settings,
    url_secrets,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import (
    error_text,
    redact,
    without,
)

try:
    import urllib3
    import yaml as _yaml  # noqa: F401 - kubeconfig needs it

    IMPORT_ERROR: str | None = None
except ImportError:  # pragma: no cover - depends on the interpreter Ansible chose
    IMPORT_ERROR = traceback.format_exc()

DEFAULT = "~/.kube/config"
"""The kubeconfig that is read if none is named."""
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Folder in which a Pod finds its token and the cluster's CA certificates."""
TOKEN_AGE = 60.0
"""Seconds after which a token file is read again; the tokens of service accounts expire."""
POOL_SIZE = 16
"""Connections kept open for reuse."""

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
"""Environment variable of each option, as in kubernetes.core."""


def missing_packages() -> str | None:
    """What to do when the packages that every connection needs cannot be imported; None when they can."""
    if IMPORT_ERROR is None:
        return None
    return (
        f"{sys.executable} cannot import the Python packages 'urllib3' and 'yaml' "
        f"({IMPORT_ERROR.strip().splitlines()[-1]}). "
        f"Install them there ({sys.executable} -m pip install urllib3 pyyaml), or set ansible_python_interpreter to a "
        "Python that has them."
    )


def auth_value(params: JSON, option: str, environ: Mapping[str, str]) -> Any:
    """The value of an authentication option: from the task, else from its K8S_AUTH_* variable, else None."""
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


def _options(params: JSON, environ: Mapping[str, str]) -> dict[str, Any]:
    return {option: auth_value(params, option, environ) for option in ENVIRONMENT}


def _proxy_header_options(params: JSON, environ: Mapping[str, str]) -> dict[str, Any]:
    """The option proxy_headers, in the words of urllib3.util.make_headers()."""
    given = params.get("proxy_headers") or {}
    names = ("proxy_basic_auth", "basic_auth", "user_agent")
    found = {name: given.get(name) or environ.get(f"K8S_AUTH_PROXY_HEADERS_{name.upper()}") for name in names}
    return {name: value for name, value in found.items() if value}


# -- from the options to settings --------------------------------------------------------------------------------------

Authorization = Callable[[], Optional[str]]
"""Gives the current Authorization header, None where there is none."""


@dataclass(frozen=True)
class Access:
    """All that a connection is made of; the settings' files are read. headers: further ones of every request."""

    settings: Settings
    authorization: Authorization = field(repr=False)
    headers: Sequence[tuple[str, str]] = ()
    no_proxy: str = ""
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class _Source:
    """A kubeconfig that was chosen. given: it, as the library takes it. name: it, in a message."""

    documents: Sequence[Document]
    context: str | None
    given: str | JSON = field(repr=False)
    name: str

    def refused(self, why: str) -> ClientError:
        return ClientError(f"Cannot read the Kubernetes configuration from {self.name}: {why}")


def access(params: JSON, environ: Mapping[str, str] | None = None) -> Access:
    """The connection settings, found as kubernetes.core finds them. Raises ClientError or Refused when none are usable.

    In this order: host together with credentials; kubeconfig or context; the Pod's service account; the default
    kubeconfig. Single options then override what was found.
    """
    environ = os.environ if environ is None else environ
    value = _options(params, environ)
    secrets = {*kubeconfig_secrets(params), *_environment_secrets(environ)}
    settings = Settings()
    authorization: Authorization | None = None
    if not _is_explicit(value):
        source = _source(value, environ)
        if isinstance(source, Settings):
            settings, authorization = source, _authorization(source)
        else:
            for document in source.documents:
                secrets.update(_kubeconfig.secrets(document.content))
            try:
                settings, authorization = _from_kubeconfig(source, bool(value["persist_config"]))
            except library.LoginFailed as error:
                raise ClientError(without(str(error), secrets)) from None  # a plugin may quote what it was given
    settings = _overridden(settings, value)
    if not settings.server:
        raise ClientError("The kubeconfig's cluster has no server; set it there, or set the option host.")
    if value["username"] and value["password"]:
        authorization = _authorization(Settings(username=str(value["username"]), password=str(value["password"])))
    elif value["api_key"]:
        # A token read from a file often ends with that file's line break.
        authorization = _authorization(Settings(token=str(value["api_key"]).strip()))
    elif authorization is None:
        authorization = _authorization(settings)
    proxies = getproxies()  # urllib3 leaves that to its user
    if settings.proxy is None:
        scheme = settings.server.partition(":")[0].lower()
        settings = replace(settings, proxy=proxies.get(scheme) or proxies.get("all") or "")
    try:
        proxy_headers = dict(urllib3.util.make_headers(**_proxy_header_options(params, environ)))
    except UnicodeEncodeError:
        raise ClientError(
            "proxy_headers: proxy_basic_auth or basic_auth contains a character outside Latin-1."
        ) from None
    sent = (authorization(), *(proxy_headers.get(name) for name in ("authorization", "proxy-authorization")))
    secrets.update((header or "").partition(" ")[2] for header in sent)  # as a gateway may quote them
    return Access(
        settings=settings,
        authorization=authorization,
        headers=_impersonation(value),
        no_proxy=str(proxies.get("no") or "" if value["no_proxy"] is None else value["no_proxy"]),
        proxy_headers=proxy_headers,
        secrets=frozenset({*secrets, *url_secrets(settings.server), *url_secrets(settings.proxy)} - {""}),
    )


def needs_library(environ: Mapping[str, str]) -> bool:
    """Whether a task that sets no option of its own would have its kubeconfig read by the library."""
    try:
        value = _options({}, environ)
        source = None if _is_explicit(value) else _source(value, environ)
        if isinstance(source, _Source):
            _kubeconfig.select(source.documents, source.context)
    except NeedsLibrary:
        return True
    except (ClientError, Refused):
        pass  # for the task to report, if it gets there
    return False


def _is_explicit(value: Mapping[str, Any]) -> bool:
    """Whether there is a host with credentials. A kubeconfig given as well, perhaps by the environment, adds none."""
    return bool(
        value["host"]
        and (
            value["api_key"]
            or (value["username"] and value["password"])
            or (value["client_cert"] and value["client_key"])
        )
    )


def _source(value: Mapping[str, Any], environ: Mapping[str, str]) -> _Source | Settings:
    """The kubeconfig to read, or what the Pod's service account is."""
    kubeconfig, context = value["kubeconfig"], value["context"]
    if isinstance(kubeconfig, Mapping):
        return _Source([Document("", dict(kubeconfig))], context, kubeconfig, "the given dictionary")
    if kubeconfig:
        if _kubeconfig.is_content(str(kubeconfig)):
            raise ClientError("kubeconfig: this is the content of a kubeconfig. Give its path, or a dictionary.")
        paths = os.path.expanduser(str(kubeconfig))
        if not any(os.path.exists(path) for path in paths.split(os.pathsep)):
            raise ClientError(f"kubeconfig: {paths} does not exist on the host that runs the task.")
        return _files(paths, context, paths)
    service_account = _service_account(environ) if context is None else None
    if service_account is not None:
        return service_account
    source = _files(environ.get("KUBECONFIG", DEFAULT), context, "the default kubeconfig")
    if not source.documents:
        raise ClientError(
            "No cluster is configured: there is no kubeconfig, no host with api_key, no K8S_AUTH_* variable, and the "
            "task does not run in a Pod."
        )
    return source


def _files(paths: str, context: str | None, name: str) -> _Source:
    """Those files of a list like KUBECONFIG that exist, parsed."""
    existing = [path for path in map(os.path.expanduser, filter(None, paths.split(os.pathsep))) if os.path.exists(path)]
    source = _Source([], context, paths, name)
    documents = []
    for path in existing:
        try:
            # Not bytes: the encoding is the locale's, as for the library.
            documents.append(Document(path, _kubeconfig.parse(Path(path).read_text())))
        except OSError as error:
            raise source.refused(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise source.refused(f"{path} is not {error.encoding} text") from None
        except Refused as error:
            raise source.refused(f"{path} {error}") from None
    return replace(source, documents=documents)


def _service_account(environ: Mapping[str, str]) -> Settings | None:
    """The service account of the Pod this runs in; None outside of a Pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token, authorities = Path(SERVICE_ACCOUNT, "token"), Path(SERVICE_ACCOUNT, "ca.crt")
    if not (host and port and token.is_file() and authorities.is_file()):
        return None
    try:
        content = authorities.read_bytes()
        if not content or not token.read_text().strip():
            return None
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"Cannot read the Pod's service account in {SERVICE_ACCOUNT}: {error_text(error)}") from None
    server = f"https://[{host}]:{port}" if ":" in host or "%" in host else f"https://{host}:{port}"
    return Settings(server=server, authorities=content, token=File(str(token), ""))


def _from_kubeconfig(source: _Source, persist: bool) -> tuple[Settings, Authorization]:
    """What the kubeconfig says, read here or by the library."""
    try:
        settings = _kubeconfig.select(source.documents, source.context)
        settings = replace(
            settings,
            authorities=_read(settings.authorities),
            certificate=_read(settings.certificate),
            key=_read(settings.key),
        )
        return settings, _authorization(settings)
    except Refused as error:
        raise source.refused(str(error)) from None
    except NeedsLibrary as need:
        reason = str(need)
    trouble = library.missing(reason)
    if trouble:
        raise ClientError(trouble)
    try:
        return library.read(source.given, source.context, persist)
    except ClientError:
        raise
    except Exception as error:  # for a bad file, the library raises many types, AttributeError and TypeError included
        raise source.refused(error_text(error)) from None


def _path(file: File) -> str:
    """A relative name counts from the folder of the kubeconfig, or from here for a dictionary."""
    folder = os.path.abspath(os.path.dirname(file.beside)) if file.beside else ""
    return os.path.normpath(os.path.join(folder, file.name))


def _read(content: Content) -> bytes | None:
    """The content, from its file if it is in one. Raises Refused when there is no such file."""
    if not isinstance(content, File):
        return content
    path = _path(content)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def _authorization(settings: Settings) -> Authorization:
    """The header's source for static credentials. Raises Refused when a token file cannot be read."""
    value = None
    if isinstance(settings.token, File):
        return TokenFile(_path(settings.token))
    if settings.token:
        value = f"Bearer {settings.token}"
    elif settings.password is not None:
        value = _basic(settings.username, settings.password)
    return lambda: value


def _basic(username: str, password: str) -> str:
    try:
        return str(urllib3.util.make_headers(basic_auth=f"{username}:{password}")["authorization"])
    except UnicodeEncodeError:
        raise Refused("username or password contains a character outside Latin-1") from None


class TokenFile:
    """The Authorization header with the token of a file that is replaced from time to time (see TOKEN_AGE)."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        try:
            self._token = Path(path).read_text().strip()
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Refused(f"{path} is not text") from None
        if not self._token:
            raise Refused(f"{path} is empty")
        self._read_at = clock()

    def __call__(self) -> str:
        """With the last good token while the file is missing or empty: whether it still counts, the server knows."""
        if self._clock() - self._read_at >= TOKEN_AGE:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._token = Path(self._path).read_text().strip() or self._token
            self._read_at = self._clock()
        return f"Bearer {self._token}"


def _overridden(settings: Settings, value: Mapping[str, Any]) -> Settings:
    """The settings with single options in their place."""
    changes: dict[str, Any] = {}
    if value["host"]:
        changes["server"] = str(value["host"]).strip().rstrip("/")
        if not changes["server"].lower().startswith(("https://", "http://")):
            raise ClientError(f"host: {redact(changes['server'])!r} is not a URL of the form https://HOST[:PORT].")
    if value["validate_certs"] is not None:
        changes["verify"] = bool(value["validate_certs"])
    for option, name in (("ca_cert", "authorities"), ("client_cert", "certificate"), ("client_key", "key")):
        if value[option] is not None:
            if "-----BEGIN" in str(value[option]):
                raise ClientError(f"{option}: this is the content of a file. Give its path.")
            path = os.path.expanduser(str(value[option]))
            if not os.path.exists(path):
                raise ClientError(f"{option}: {path} does not exist on the host that runs the task.")
            try:
                changes[name] = Path(path).read_bytes()
            except OSError as error:
                raise ClientError(f"{option}: cannot read {path}: {error.strerror}") from None
    if value["proxy"] is not None:
        changes["proxy"] = str(value["proxy"])
    return replace(settings, **changes)


def _impersonation(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not value["impersonate_user"]:
        if value["impersonate_groups"]:
            raise ClientError(
                "impersonate_groups requires impersonate_user: the API server rejects groups without a user."
            )
        return []
    groups = [("Impersonate-Group", str(group)) for group in value["impersonate_groups"] or []]
    return [("Impersonate-User", str(value["impersonate_user"])), *groups]


# -- what must not be printed ------------------------------------------------------------------------------------------


def kubeconfig_secrets(params: JSON) -> Sequence[str]:
    """What the options hold that Ansible does not know to be secret: in the kubeconfig, URLs and proxy headers."""
    headers = _proxy_header_options(params, {})
    found = [
        *_kubeconfig.secrets(params.get("kubeconfig")),
        *url_secrets(params.get("host")),
        *url_secrets(params.get("proxy")),
        *(str(params[name]) for name in ("client_cert", "client_key") if "-----BEGIN" in str(params.get(name))),
        *(str(headers.get(name, "")).partition(":")[2] for name in ("proxy_basic_auth", "basic_auth")),
    ]
    return [text for text in found if text]


def _environment_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """The same, of the K8S_AUTH_* variables, of which Ansible knows nothing."""
    for option in ("api_key", "password"):
        yield environ.get(ENVIRONMENT[option], "").strip()
    for option in ("host", "proxy"):
        yield from url_secrets(environ.get(ENVIRONMENT[option]))
    for name in ("proxy_basic_auth", "basic_auth"):
        whole = str(_proxy_header_options({}, environ).get(name, ""))
        yield from (whole, whole.partition(":")[2])


# -- from settings to a pool -------------------------------------------------------------------------------------------


def connect(params: JSON, environ: Mapping[str, str] | None = None) -> Connection:
    """The connection that the authentication options describe. Raises ClientError when it cannot be set up."""
    trouble = missing_packages()
    if trouble:
        raise ClientError(trouble)
    try:
        found = access(params, environ)
    except Refused as error:
        raise ClientError(f"Cannot set up the connection: {error}.") from None
    if not found.settings.verify:
        # One warning per request would bury the task's own output; validate_certs says that this is intended.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    host = found.settings.server
    try:
        pool = _pool(found)
    except (OSError, ValueError) as error:
        raise ClientError(f"Cannot set up the connection to {redact(host)}: {error_text(error)}") from None

    def headers() -> Iterator[tuple[str, str]]:
        value = found.authorization()
        if value:
            yield "Authorization", value
        yield from found.headers

    return Connection(host, pool, headers, found.secrets)


def _pool(found: Access) -> Any:
    """urllib3's pool with all TLS settings loaded; urllib3 itself would read their files for each connection."""
    settings = found.settings
    proxy = settings.proxy if settings.proxy and not _bypasses(settings.server, found.no_proxy) else ""
    proxy_scheme = proxy.partition("://")[0].lower() if proxy else ""
    keywords: dict[str, Any] = {
        "maxsize": POOL_SIZE,
        "cert_reqs": ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE,
    }
    if settings.server_name:
        keywords["server_hostname"] = settings.server_name
    if settings.server.lower().startswith("https://") or proxy_scheme == "https":
        keywords["ssl_context"] = _tls(settings, keywords["cert_reqs"])
        if isinstance(settings.certificate, bytes):
            _identify(keywords["ssl_context"], settings.certificate, settings.key)
    if not proxy:
        return urllib3.PoolManager(**keywords)
    if proxy_scheme in ("socks4", "socks4a", "socks5", "socks5h"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError:
            raise ValueError("a SOCKS proxy needs the Python package PySocks") from None
        return SOCKSProxyManager(proxy, headers=found.proxy_headers, **keywords)
    # The same authorities vouch for an HTTPS proxy.
    context = _tls(settings, keywords["cert_reqs"]) if proxy_scheme == "https" else None
    return urllib3.ProxyManager(proxy, proxy_headers=found.proxy_headers or None, proxy_ssl_context=context, **keywords)


def _tls(settings: Settings, cert_reqs: ssl.VerifyMode) -> ssl.SSLContext:
    made: ssl.SSLContext = urllib3.util.ssl_.create_urllib3_context(cert_reqs=cert_reqs)
    if isinstance(settings.authorities, bytes):
        with _as_file(settings.authorities) as path:
            made.load_verify_locations(cafile=path)
    elif made.verify_mode != ssl.CERT_NONE:
        made.load_default_certs()
    return made


def _identify(context: ssl.SSLContext, certificate: bytes, key: Content) -> None:
    """Load the client certificate. Its key is in its own file or in the certificate's."""
    with _as_file(certificate) as path, _as_file(key) if isinstance(key, bytes) else _nothing as key_path:
        context.load_cert_chain(path, key_path, password=_no_password)


_nothing: contextlib.nullcontext[None] = contextlib.nullcontext()


def _no_password() -> str:
    """Instead of OpenSSL asking for it at the terminal."""
    raise ValueError("the client key is encrypted; use one without a password")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path for OpenSSL, which loads keys from files only; in memory where the system can, so that no disk has it.

    A file in memory without a name is gone with its process, however that ends.
    """
    descriptor = _in_memory(content)
    if descriptor is not None:
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with private.folder() as folder:
        path = Path(folder, "pem")
        path.write_bytes(content)
        yield str(path)


def _in_memory(content: bytes) -> int | None:
    """A file in memory with this content; None where the system has none or does not let it be opened again."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        descriptor = os.memfd_create("alauda-image-registry")
    except OSError:
        return None
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        if Path(f"/proc/self/fd/{descriptor}").read_bytes() == content:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _bypasses(server: str, no_proxy: str) -> bool:
    """Whether a server is reached without the proxy: the library's rules for names, networks and ports."""
    parsed = urlsplit(server)
    if not parsed.hostname:
        return True
    host, place = parsed.hostname.lower(), parsed.netloc.lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in filter(None, (entry.strip().lower() for entry in no_proxy.split(","))):
        if entry == "*":
            return True
        with contextlib.suppress(ValueError):
            if address is not None and address in ipaddress.ip_network(entry, strict=False):
                return True
        name = entry.lstrip(".")
        if name in (host, place) or host.endswith(f".{name}") or place.endswith(f".{name}"):
            return True
    return False
