# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the API server and the credentials for it. The only file that imports ``kubernetes``.

The library provides configuration, authentication and the TLS connection pool.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ClientError, Connection
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import error_text

try:
    import urllib3
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config

    IMPORT_ERROR: str | None = None
except ImportError:  # pragma: no cover - depends on the interpreter Ansible chose
    IMPORT_ERROR = traceback.format_exc()

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


def missing_library() -> str | None:
    """What to do when the library kubernetes cannot be imported; None when it can."""
    if IMPORT_ERROR is None:
        return None
    return (
        f"{sys.executable} cannot import the Python library 'kubernetes' "
        f"({IMPORT_ERROR.strip().splitlines()[-1]}). "
        f"Install it there ({sys.executable} -m pip install kubernetes), or set ansible_python_interpreter to a "
        "Python that has it."
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


def _proxy_headers(params: JSON, environ: Mapping[str, str]) -> dict[str, str]:
    """The option proxy_headers as urllib3 expects it."""
    given = params.get("proxy_headers") or {}
    wanted: dict[str, Any] = {}
    for key in ("proxy_basic_auth", "basic_auth", "user_agent"):
        value = given.get(key) or environ.get(f"K8S_AUTH_PROXY_HEADERS_{key.upper()}")
        if value:
            wanted[key] = value
    return dict(urllib3.util.make_headers(**wanted)) if wanted else {}


def configuration(params: JSON, environ: Mapping[str, str] | None = None) -> tuple[Any, list[tuple[str, str]]]:
    """The connection settings, found as kubernetes.core finds them, and further headers for every request.

    In this order: host together with credentials; kubeconfig or context; the Pod's service account; the default
    kubeconfig. Single options then override what was found. Raises ClientError when nothing usable is found.
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
            pass  # a kubeconfig given as well, for example by the environment, must not add its credentials
        elif isinstance(kubeconfig, Mapping):
            kubernetes_config.load_kube_config_from_dict(
                dict(kubeconfig), context=context, client_configuration=settings, persist_config=persist
            )
        elif kubeconfig:
            path = os.path.expanduser(str(kubeconfig))
            if not any(os.path.exists(part) for part in path.split(os.pathsep)):
                raise ClientError(f"kubeconfig: {path} does not exist on the host that runs the task.")
            kubernetes_config.load_kube_config(
                path, context=context, client_configuration=settings, persist_config=persist
            )
        else:
            _load_default(settings, context, persist)
    except ClientError:
        raise
    except Exception as error:  # for a bad file, the library raises many types, AttributeError and TypeError included
        source = "the given dictionary" if isinstance(kubeconfig, Mapping) else kubeconfig or "the default kubeconfig"
        raise ClientError(f"Cannot read the Kubernetes configuration from {source}: {error_text(error)}") from None
    _override(settings, value, params, environ)
    headers: list[tuple[str, str]] = []
    if value["impersonate_user"]:
        headers.append(("Impersonate-User", str(value["impersonate_user"])))
    if value["impersonate_groups"]:
        if not value["impersonate_user"]:
            raise ClientError(
                "impersonate_groups requires impersonate_user: the API server rejects groups without a user."
            )
        headers += [("Impersonate-Group", str(group)) for group in value["impersonate_groups"]]
    if value["username"] and value["password"]:
        headers.append(("Authorization", str(settings.get_basic_auth_token())))
    return settings, headers


def _load_default(settings: Any, context: str | None, persist: bool) -> None:
    """Load the service account of the Pod this runs in, else the default kubeconfig."""
    if context is None:
        try:
            kubernetes_config.load_incluster_config(client_configuration=settings)
            return
        except kubernetes_config.ConfigException:
            pass
    try:
        kubernetes_config.load_kube_config(context=context, client_configuration=settings, persist_config=persist)
    except kubernetes_config.ConfigException as error:
        if "No configuration found" not in str(error):
            raise  # there is a kubeconfig, but not a usable one
        raise ClientError(
            "No cluster is configured: there is no kubeconfig, no host with api_key, no K8S_AUTH_* variable, and the "
            "task does not run in a Pod."
        ) from None


def _override(settings: Any, value: Mapping[str, Any], params: JSON, environ: Mapping[str, str]) -> None:
    """Let single options override the kubeconfig."""
    if value["host"]:
        settings.host = str(value["host"]).strip().rstrip("/")
        if not settings.host.lower().startswith(("https://", "http://")):
            raise ClientError(f"host: {settings.host!r} is not a URL of the form https://HOST[:PORT].")
    if value["api_key"]:
        # A token read from a file often ends with that file's line break.
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
                    raise ClientError(f"{option}: {given} does not exist on the host that runs the task.")
            setattr(settings, attribute, given)
    headers = _proxy_headers(params, environ)
    if headers:
        settings.proxy_headers = headers


_tempdir = threading.Lock()  # tempfile.tempdir is the same for all threads of a process


@contextlib.contextmanager
def _private_tempdir() -> Iterator[None]:
    """Remove what the library writes meanwhile: the certificates and keys that a kubeconfig contains.

    The library itself removes them when the interpreter exits, but a worker of ansible-playbook ends without that.
    """
    with _tempdir, tempfile.TemporaryDirectory(prefix="alauda-image-registry-") as folder:
        before = tempfile.tempdir
        tempfile.tempdir = folder  # kubernetes 24 has no option for it
        try:
            yield
        finally:
            tempfile.tempdir = before
            # The library would hand out files that no longer exist.
            known = getattr(kubernetes_config.kube_config, "_temp_files", {})
            for content in [content for content, path in known.items() if path.startswith(folder)]:
                del known[content]


def _keep_in_memory(manager: Any) -> None:
    """Load the files of a pool's TLS settings now, so that they can be removed; urllib3 reads them per connection."""
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
    if proxy is not None and proxy.ssl_context is None:  # the same authorities vouch for an HTTPS proxy
        manager.proxy_config = pool["_proxy_config"] = proxy._replace(ssl_context=context())


def _no_password() -> str:
    """Instead of OpenSSL asking for it at the terminal."""
    raise ValueError("the client key is encrypted; use one without a password")


def connect(params: JSON, environ: Mapping[str, str] | None = None) -> Connection:
    """The connection that the authentication options describe. Raises ClientError when it cannot be set up."""
    trouble = missing_library()
    if trouble:
        raise ClientError(trouble)
    with _private_tempdir():
        settings, extra = configuration(params, environ)
        if not settings.verify_ssl:
            # One warning per request would bury the task's own output; validate_certs says that this is intended.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        settings.connection_pool_maxsize = 16
        # The library's hook that renews tokens also resets the server to the kubeconfig's.
        host = str(settings.host).rstrip("/")
        try:
            pool = kubernetes_client.ApiClient(configuration=settings).rest_client.pool_manager
            if host.lower().startswith("https://"):
                _keep_in_memory(pool)
        except (OSError, ValueError) as error:
            raise ClientError(f"Cannot set up the connection to {host}: {error_text(error)}") from None

    def headers() -> Iterator[tuple[str, str]]:
        """Headers with current credentials: the library's hook renews expiring tokens."""
        ours = {name.lower() for name, _ in extra}
        for setting in settings.auth_settings().values():
            if setting["in"] == "header" and setting["value"] and setting["key"].lower() not in ours:
                yield setting["key"], setting["value"]
        yield from extra

    tokens = (str(text).rpartition(" ")[2] for text in settings.api_key.values())
    secrets = {*kubeconfig_secrets(params), *tokens, str(settings.password or "")}
    return Connection(host, pool, headers, frozenset(secrets - {""}))


def kubeconfig_secrets(params: JSON) -> Sequence[str]:
    """The values of a kubeconfig given as a dictionary that must never be printed, whatever its shape."""
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
