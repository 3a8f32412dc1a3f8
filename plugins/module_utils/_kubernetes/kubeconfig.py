# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig says about one context: documents in, a frozen value out, no file opened.

Reads what is static and plain. Everything else (login plugins, values of an unexpected type, and whatever the library
``kubernetes`` reads differently from version to version) is left to the library by raising NeedsLibrary.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional, Union
from urllib.parse import unquote

try:
    import yaml

    _Fast: Any = getattr(yaml, "CSafeLoader", None)
except ImportError:  # pragma: no cover - connection.connect() reports it before anything here is used
    pass


class Refused(Exception):
    """The kubeconfig cannot be used. The text says why and holds no credential."""


class NeedsLibrary(Exception):
    """The kubeconfig is for the library ``kubernetes``. The text says why and holds no credential."""


@dataclass(frozen=True)
class Document:
    """One kubeconfig. path: of its file; empty when it was given as a dictionary."""

    path: str
    content: Any = field(repr=False)


@dataclass(frozen=True)
class File:
    """A file that a kubeconfig names. beside: path of the kubeconfig, from whose folder a relative name counts."""

    name: str
    beside: str


Content = Optional[Union[bytes, File]]
"""PEM that a kubeconfig holds or names."""


@dataclass(frozen=True)
class Settings:
    """How to reach an API server and who to be there.

    server: empty when the kubeconfig leaves it to the option host. token, password: static credentials, of which the
    token comes first. proxy: None leaves it to the environment, "" means none.
    """

    server: str = ""
    verify: bool = True
    authorities: Content = None
    certificate: Content = None
    key: Content = field(default=None, repr=False)
    server_name: str = ""
    proxy: str | None = None
    token: str | File | None = field(default=None, repr=False)
    username: str = ""
    password: str | None = field(default=None, repr=False)


# -- text to document --------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"(?:[^\t\\%&*!|>?@`{}\[\]\x7f-\U0010ffff]|\{\}|\[\])*")
"""Text without the syntax that libyaml and PyYAML are known to treat differently."""


def parse(text: str) -> Any:
    """The document, exactly as PyYAML's own loader reads it; libyaml is used where both agree and is ten times faster.

    Raises Refused without quoting the text, because a parser quotes what it stumbles over.
    """
    try:
        if _Fast is not None and _PLAIN.fullmatch(text):
            try:
                return yaml.load(text, Loader=_Fast)
            except yaml.YAMLError:
                pass  # PyYAML decides, and knows the place
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise Refused(f"is not valid YAML{place}") from None
    except (ValueError, TypeError, RecursionError):  # a date that does not exist, a mapping as a key, nesting
        raise Refused("is not valid YAML") from None


_SERVER = re.compile(r"https?://\S+")

# -- documents to settings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """The content of one named cluster, user or context, and the path of its kubeconfig."""

    kind: str
    name: str
    value: Mapping[str, Any]
    path: str

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def text(self, key: str) -> str:
        """A value that has to be text; a number or a truth value is not."""
        value = self.value[key]
        if isinstance(value, (dict, list)):
            raise Refused(f"{key} of {self.kind} {self.name!r} is not text")
        if not isinstance(value, str):
            raise NeedsLibrary(f"{key} of {self.kind} {self.name!r} is not text")
        return value


def select(documents: Sequence[Document], context: str | None = None) -> Settings:
    """What a context, else the current one, says. The first document that has a name defines it, as for kubectl.

    Raises Refused when it cannot be used, NeedsLibrary when the library has to read it.
    """
    for document in documents:
        if document.content is None:
            raise Refused(f"{document.path or 'it'} is empty")
        if not isinstance(document.content, dict):
            raise Refused(f"{document.path or 'it'} is not a mapping")
        for kind in ("context", "cluster", "user"):
            _check(document.content.get(f"{kind}s"), kind)
    chosen = _find(documents, "context", _current(documents) if context is None else context)
    user = None
    if chosen.value.get("user"):
        user = _find(documents, "user", chosen.text("user"), optional=True)
    if chosen.value.get("cluster") is None:
        raise Refused(f"context {chosen.name!r} names no cluster")
    return _settings(_find(documents, "cluster", chosen.text("cluster")), user)


def _check(items: Any, kind: str) -> None:
    """The library may refuse for a list that the context does not even use."""
    if items is not None and not isinstance(items, list):
        raise NeedsLibrary(f"its {kind}s are not a list")
    for item in items or []:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise NeedsLibrary(f"an entry of its {kind}s has no name that is text")


def _current(documents: Sequence[Document]) -> str:
    named = [document.content["current-context"] for document in documents if "current-context" in document.content]
    if any(name != named[0] for name in named):
        raise NeedsLibrary("its files name different current contexts, and the option context is not set")
    if not named or named[0] is None:
        raise Refused("it has no current-context; set the option context")
    if not isinstance(named[0], str):
        raise NeedsLibrary("its current-context is not text")
    return named[0]


def _find(documents: Sequence[Document], kind: str, name: str, optional: bool = False) -> Any:
    """The item of this name. optional: None instead of a refusal when there is none."""
    found: list[tuple[Any, str]] = []
    known: list[str] = []
    for document in documents:
        for item in document.content.get(f"{kind}s") or []:
            if item["name"] not in known or not document.path:
                known.append(item["name"])
                found += [(item, document.path)] if item["name"] == name else []
    if not found:
        if optional:
            return None
        raise Refused(f"it has no {kind} {name!r}{_instead(kind, known)}")
    if len(found) > 1:
        raise Refused(f"it has more than one {kind} {name!r}")
    item, path = found[0]
    value = item.get(kind)
    if value is None:
        raise Refused(f"{kind} {name!r} has no content, which belongs under the key {kind}")
    if not isinstance(value, dict):
        raise NeedsLibrary(f"{kind} {name!r} is not a mapping")
    return _Item(kind, name, value, path)


def _instead(kind: str, known: Sequence[str]) -> str:
    return f" (its {kind}s: {', '.join(sorted(set(known)))})" if 0 < len(known) <= 10 else ""


def _settings(cluster: _Item, user: _Item | None) -> Settings:
    login = _login(user) if user is not None else {}
    server = cluster.text("server").rstrip("/") if "server" in cluster else ""
    if server and not _SERVER.fullmatch(server):
        raise NeedsLibrary(f"server of cluster {cluster.name!r} is not a URL of the form https://HOST[:PORT]")
    authorities = certificate = key = None
    if server.startswith("https"):
        authorities = _content(cluster, "certificate-authority")
        if user is not None:
            certificate, key = _content(user, "client-certificate"), _content(user, "client-key")
            for item in (certificate, key):
                # The library looks beside the cluster's kubeconfig.
                if isinstance(item, File) and not item.name.startswith("/") and _folder(user) != _folder(cluster):
                    raise NeedsLibrary(f"user {user.name!r} names a certificate by a path relative to another folder")
    verify = True
    if "insecure-skip-tls-verify" in cluster:
        skip = cluster.value["insecure-skip-tls-verify"]
        if not isinstance(skip, bool):
            raise NeedsLibrary(f"insecure-skip-tls-verify of cluster {cluster.name!r} is not true or false")
        verify = not skip
    return Settings(
        server=server,
        verify=verify,
        authorities=authorities,
        certificate=certificate,
        key=key,
        server_name=cluster.text("tls-server-name") if "tls-server-name" in cluster else "",
        proxy=cluster.text("proxy-url") if "proxy-url" in cluster else None,
        **login,
    )


def _login(user: _Item) -> dict[str, Any]:
    """The credentials that go into a header, in the library's order: provider, token, plugin, password."""

    def left(what: str) -> NoReturn:
        raise NeedsLibrary(f"user {user.name!r} {what}")

    if "auth-provider" in user:
        left("uses an auth-provider")
    if "token" in user:
        token = user.text("token")
        if token:
            return {"token": token}
        if "tokenFile" in user:
            left("has an empty token and a tokenFile")
    if "tokenFile" in user:
        if "exec" in user or "username" in user:
            left("has a tokenFile and another way to log in")  # which counts when the file is empty
        return {"token": File(user.text("tokenFile"), user.path)}
    if "exec" in user:
        left("uses exec")
    if "username" in user and "password" in user:
        return {"username": user.text("username"), "password": user.text("password")}
    return {}


def _folder(item: _Item) -> str:
    return item.path.rpartition("/")[0]


def _content(item: _Item, key: str) -> Content:
    """What a kubeconfig holds under KEY-data, even if that is empty, else the file it names under KEY."""
    if f"{key}-data" in item:
        text = item.text(f"{key}-data")
        try:
            return base64.b64decode(text.encode()) if text else None
        except (binascii.Error, ValueError):
            raise Refused(f"{key}-data of {item.kind} {item.name!r} is not base64") from None
    return File(item.text(key), item.path) if key in item else None


# -- what must not be printed ------------------------------------------------------------------------------------------

_SECRET_KEYS = ("token", "password", "secret", "client-key-data", "client-certificate-data")
"""How the keys end under which a kubeconfig holds a credential, whichever way it is nested."""
_SOUNDS_SECRET = re.compile(r"(?i)passw|secret|token|credential|api_?key|access_?key|private_?key")
_OPTION_SOUNDS_SECRET = re.compile(r"(?i)passw|secret|token|api-?key|access-?key")
_SECRET_LINE = re.compile(r"(?i)(?:token|password|secret|-key-data|-certificate-data)[\"']?\s?:\s?[\"']?([^\s\"',}]+)")


def secrets(content: Any) -> Iterator[str]:
    """Every value of a kubeconfig that must never be printed, whatever the kubeconfig's shape.

    content: a dictionary, or its text, which somebody may have given in place of a path.
    """
    if isinstance(content, str):
        if is_content(content):
            yield content
            yield from (match[1] for match in _SECRET_LINE.finditer(content))
            with contextlib.suppress(Refused):
                yield from _within(parse(content))
        return
    yield from _within(content)


def is_content(kubeconfig: str) -> bool:
    """Whether a kubeconfig given as text is its content, not its path."""
    return "\n" in kubeconfig.strip() or kubeconfig.lstrip().startswith("{")


def _within(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            for key, member in value.items():
                if str(key).lower().endswith(_SECRET_KEYS):
                    yield from _all_written(member)
                elif key == "env":
                    yield from _variable_secrets(member)
                elif key == "args":
                    yield from _argument_secrets(member)
                waiting.append(member)
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, str) and "://" in value:
            yield from url_secrets(value)


def _all_written(value: Any) -> Iterator[str]:
    """A credential as it is sent; YAML reads one of digits as a number. Of a collection, every value in it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield str(value)


def _variable_secrets(variables: Any) -> Iterator[str]:
    """Of the environment of a login plugin."""
    for variable in variables if isinstance(variables, list) else []:
        if isinstance(variable, Mapping):
            for value in _all_written(variable.get("value")):
                # A short word such as the profile "default" would be masked in every name of the result.
                if len(value) >= 8 or _SOUNDS_SECRET.search(str(variable.get("name"))):
                    yield value


def _argument_secrets(arguments: Any) -> Iterator[str]:
    """Of the arguments of a login plugin."""
    follows = False
    for argument in arguments if isinstance(arguments, list) else []:
        text = str(argument)
        option, given, value = text.partition("=")
        if text.startswith("-") and _OPTION_SOUNDS_SECRET.search(option):
            yield value
            follows = not given
        else:
            yield text if follows and not text.startswith("-") else ""
            follows = False


def url_secrets(url: Any) -> Iterator[str]:
    """The password in a URL, as written and as decoded; also where the URL is malformed, or has no scheme."""
    if not isinstance(url, str):
        return
    rest = url.partition("://")[2] or url
    authority = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    for login in (text.rpartition("@")[0] for text in (authority, rest)):
        name, colon, password = login.partition(":")
        # A token may stand in the name's place; a short word there is a name.
        secret = password if colon else name if len(name) >= 20 else ""
        yield from {secret, unquote(secret)}
