# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what the light reader leaves: login plugins and unusual kubeconfigs. The only file that imports ``kubernetes``.

The library takes three times as long to import as everything else together, so it is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import private
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ClientError
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.kubeconfig import Settings
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import error_text, quoted


class LoginFailed(ClientError):
    """A login plugin gave no credentials; the text quotes its own words."""


def load() -> tuple[Any, Any]:
    """The library's configuration and client; imports them. Raises ImportError when that is not possible."""
    from kubernetes import client, config

    _loaded.set()
    return config, client


_loaded = threading.Event()


def loaded() -> bool:
    """Whether a kubeconfig of this process needed the library and found it."""
    return _loaded.is_set()


def missing(reason: str) -> str | None:
    """What to do when the library is needed but cannot be imported; None when it can. reason: why it is needed."""
    try:
        load()
    except ImportError as error:
        return (
            f"The kubeconfig needs the Python library 'kubernetes' ({reason}), and {sys.executable} cannot import it "
            f"({type(error).__name__}: {error}). Install it there ({sys.executable} -m pip install kubernetes), or set "
            "ansible_python_interpreter to a Python that has it."
        )
    return None


def read(source: str | JSON, context: str | None, persist: bool) -> tuple[Settings, Callable[[], str | None]]:
    """What the library finds in a dictionary or in files, with all files read; and the current Authorization header.

    source: a dictionary, or paths separated like KUBECONFIG's. Calling for the header renews it when it expires.
    Lets through what the library raises for a bad file: many types, AttributeError and TypeError included. Raises
    LoginFailed when a login plugin gives no credentials: the library only logs that, and the API server would then
    refuse an anonymous user.
    """
    config, client = load()
    with _private_tempdir(config.kube_config), _complaints() as complaints:
        settings = client.Configuration()
        settings.proxy = None  # recent versions take it from the environment, which must not count as the kubeconfig's
        if isinstance(source, Mapping):
            config.load_kube_config_from_dict(
                dict(source), context=context, client_configuration=settings, persist_config=persist
            )
        else:
            config.load_kube_config(source, context=context, client_configuration=settings, persist_config=persist)
        found = Settings(
            server=str(settings.host).rstrip("/"),
            verify=bool(settings.verify_ssl),
            authorities=_bytes(settings.ssl_ca_cert),
            certificate=_bytes(settings.cert_file),
            key=_bytes(settings.key_file),
            server_name=str(getattr(settings, "tls_server_name", None) or ""),
            proxy=settings.proxy,
        )
    authorization = functools.partial(_authorization, config.kube_config, settings)
    if complaints and not authorization() and not found.certificate:
        raise LoginFailed(
            f"The kubeconfig's login plugin gave no credentials: {quoted(' '.join(complaints))}. Log in again as the "
            "plugin requires, then run the task again."
        )
    return found, authorization


def _bytes(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _authorization(module: Any, settings: Any) -> str | None:
    """The header's value with a current token. Raises ClientError when it cannot be renewed."""
    try:
        with _private_tempdir(module), _complaints():  # a plugin may return a certificate this time
            found = settings.auth_settings().values()
    except Exception as error:
        raise ClientError(f"Cannot renew the credentials of the kubeconfig: {error_text(error)}") from None
    return next((str(item["value"]) for item in found if item["in"] == "header" and item["value"]), None)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the library logs meanwhile about a login plugin that failed, instead of raising it.

    Without a terminal for its output: the library would otherwise leave the plugin's words to that.
    """
    texts: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and len(texts) < _COMPLAINTS:
                texts.append(record.getMessage())

    handler, root = Collector(logging.ERROR), logging.getLogger()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield texts
    finally:
        root.removeHandler(handler)


_COMPLAINTS = 5


@contextlib.contextmanager
def _private_tempdir(module: Any) -> Iterator[None]:
    """Remove what the library writes meanwhile: the certificates and keys that a kubeconfig contains.

    The library itself removes them when the interpreter exits, but a worker of ansible-playbook ends without that.
    """
    with private.tempdir, private.folder() as folder:
        before = tempfile.tempdir
        tempfile.tempdir = folder  # kubernetes 24 has no option for it
        try:
            yield
        finally:
            tempfile.tempdir = before
            # The library would hand out files that no longer exist.
            known = getattr(module, "_temp_files", {})
            for content in [content for content, path in known.items() if path.startswith(folder)]:
                del known[content]
