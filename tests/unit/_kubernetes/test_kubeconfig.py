# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs read both ways: by the light reader and by the library ``kubernetes``.

Both give the same connection or the same kind of refusal; where that is not so, DIFFERENCES says why.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import (
    connection,
    kubeconfig,
    library,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import ClientError
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.kubeconfig import NeedsLibrary, Refused
from tests.certificates import b64, pair

API = "https://api.example.com:6443"
PLAIN = "http://127.0.0.1:8080"


CERTIFICATE, KEY = pair("me")
AUTHORITY, _ = pair("authority")
FILES = {"pki/ca.pem": AUTHORITY, "pki/me.pem": CERTIFICATE, "pki/me.key": KEY, "pki/both.pem": CERTIFICATE + KEY}


INLINE_CA = {"certificate-authority-data": b64(AUTHORITY)}
FILE_CA = {"certificate-authority": "pki/ca.pem"}
INLINE_PAIR = {"client-certificate-data": b64(CERTIFICATE), "client-key-data": b64(KEY)}
FILE_PAIR = {"client-certificate": "pki/me.pem", "client-key": "pki/me.key"}


def config(
    user: Any = None, cluster: Any = None, *, context: Any = None, name: Any = "here", **top: Any
) -> dict[str, Any]:
    """A kubeconfig with one of each."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": API, **(cluster or {})}}],
        "users": [{"name": name, "user": {"token": "t"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name} if context is None else context}],
        **top,
    }


def current(context: Any) -> dict[str, Any]:
    return {**config(), "current-context": context}


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in config().items() if key not in keys}


TEXT = """\
    apiVersion: v1
    kind: Config
    current-context: here
    clusters:
    - name: here
      cluster:
        server: https://api.example.com:6443
    users:
    - name: here
      user:
        token: abc
    contexts:
    - name: here
      context:
        cluster: here
        user: here
    """
TEXT = textwrap.dedent(TEXT)


@dataclass(frozen=True)
class Case:
    """One way to give kubeconfigs, and who is to read it: light, library, or nobody (refused)."""

    by: str
    files: Mapping[str, Any] = field(default_factory=dict)
    """Contents by path: text, bytes, or a document to be written as YAML."""
    given: Mapping[str, Any] | None = None
    """A dictionary instead of files."""
    paths: Sequence[str] = ("config",)
    context: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def static(content: Any = None, **more: Any) -> Case:
    return Case("light", {"config": content} if content is not None else {}, **more)


def special(content: Any = None, **more: Any) -> Case:
    return Case("library", {"config": content} if content is not None else {}, **more)


def refused(content: Any = None, **more: Any) -> Case:
    return Case("nobody", {"config": content} if content is not None else {}, **more)


def several(by: str, first: Any, second: Any, **more: Any) -> Case:
    return Case(by, {"one/config": first, "two/config": second}, paths=("one/config", "two/config"), **more)


OIDC = {"name": "oidc", "config": {"id-token": "a.eyJleHAiOjk5OTk5OTk5OTl9.c", "refresh-token": "r"}}
GCP = {"name": "gcp", "config": {"access-token": "from-gcp", "expiry": "2999-01-01T00:00:00Z"}}
EXEC_OUTPUT = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-exec"}}'
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [EXEC_OUTPUT]}
BY_MULTI = {"current-context": "second"}

CASES: dict[str, Case] = {
    # -- credentials
    "token": static(config()),
    "no credentials": static(config({})),
    "token file": static({**config({"tokenFile": "token"})}),
    "token file with line break": static(config({"tokenFile": "token-line"})),
    "token file that is empty": refused(config({"tokenFile": "token-empty"})),
    "token file that is missing": refused(config({"tokenFile": "nowhere"})),
    "token and token file": static(config({"token": "t", "tokenFile": "nowhere"})),
    "empty token and token file": special(config({"token": "", "tokenFile": "token"})),
    "token file and exec": special(config({"tokenFile": "token", "exec": EXEC})),
    "token file and password": special(config({"tokenFile": "token", "username": "u", "password": "p"})),
    "token is null": special(config({"token": None})),
    "token is a number": special(config({"token": 12345})),
    "token is an octal number": special(TEXT.replace("abc", "0123")),
    "token is a mapping": refused(config({"token": {"a": 1}})),
    "token is true": special(TEXT.replace("abc", "yes")),
    "token with a line break": static(TEXT.replace("abc", "|\n      abc")),
    "token and certificate": static(config({"token": "t", **INLINE_PAIR}, INLINE_CA)),
    "token and password": static(config({"token": "t", "username": "u", "password": "p"})),
    "empty token and password": static(config({"token": "", "username": "u", "password": "p"})),
    "password": static(config({"username": "u", "password": "p:\u00fc"})),
    "password outside latin-1": refused(config({"username": "u", "password": "\u20ac"})),
    "password without user": static(config({"password": "p"})),
    "password is a number": special(config({"username": "u", "password": 1234})),
    "password is null": special(config({"username": "u", "password": None})),
    "certificate inline": static(config(INLINE_PAIR, INLINE_CA)),
    "certificate in files": static(config(FILE_PAIR, FILE_CA)),
    "certificate inline and in files": static(config({**FILE_PAIR, **INLINE_PAIR}, {**FILE_CA, **INLINE_CA})),
    "certificate and key in one file": static(config({"client-certificate": "pki/both.pem"}, FILE_CA)),
    "key alone": static(config({"client-key": "pki/me.key"}, FILE_CA)),
    "certificate file missing": refused(config({**FILE_PAIR, "client-certificate": "nowhere.pem"})),
    "key file missing": refused(config({**FILE_PAIR, "client-key": "nowhere.key"})),
    "certificate for plain http": static(config({"client-certificate": "nowhere"}, {"server": PLAIN})),
    "certificate not base64": refused(config({**INLINE_PAIR, "client-certificate-data": "abc"})),
    "certificate with stray characters": static(config({**INLINE_PAIR, "client-key-data": f" {b64(KEY)} \n"})),
    "certificate data is null": special(config({"client-certificate-data": None})),
    "certificate data is a number": special(config({"client-certificate-data": 5})),
    "exec": special(config({"exec": EXEC})),
    "exec and token": static(config({"exec": EXEC, "token": "t"})),
    "exec is null": special(config({"exec": None, "username": "u", "password": "p"})),
    "exec without command": special(config({"exec": {}})),
    "exec and certificate": special(config({"exec": EXEC, **INLINE_PAIR})),
    "auth-provider oidc": special(config({"auth-provider": OIDC})),
    "auth-provider gcp": special(config({"auth-provider": GCP})),
    "auth-provider and token": special(config({"auth-provider": {"name": "azure"}, "token": "t"})),
    "auth-provider is null": special(config({"auth-provider": None})),
    # -- cluster
    "authority inline": static(config(None, INLINE_CA)),
    "authority in a file": static(config(None, FILE_CA)),
    "authority by absolute path": static(config(None, {"certificate-authority": "{folder}/pki/ca.pem"})),
    "authority by a path up": Case(
        "light", {"a/b/config": config(None, {"certificate-authority": "../../pki/ca.pem"})}, paths=("a/b/config",)
    ),
    "authority file missing": refused(config(None, {"certificate-authority": "nowhere.pem"})),
    "authority file is a folder": refused(config(None, {"certificate-authority": "pki"})),
    "authority name is empty": refused(config(None, {"certificate-authority": ""})),
    "authority data is empty": static(config(None, {"certificate-authority-data": "", **FILE_CA})),
    "authority not base64": refused(config(None, {"certificate-authority-data": "abc"})),
    "authority for plain http": static(config(None, {"server": PLAIN, "certificate-authority": "nowhere"})),
    "server with slash": static(config(None, {"server": f"{API}/"})),
    "server with path": static(config(None, {"server": f"{API}/k8s/clusters/c-1/"})),
    "server missing": refused(config(clusters=[{"name": "here", "cluster": {"proxy-url": ""}}])),
    "server in capitals": special(config(None, {"server": API.upper()})),
    "server without scheme": special(config(None, {"server": "api.example.com"})),
    "server with a space": special(config(None, {"server": f" {API}"})),
    "server is a number": special(config(None, {"server": 5})),
    "server is null": special(config(None, {"server": None})),
    "server with IPv6": static(config(None, {"server": "https://[fd00::1]:6443"})),
    "server with password": static(config(None, {"server": "https://u:p@api.example.com"})),
    "tls-server-name": static(config(None, {"tls-server-name": "kubernetes", **INLINE_CA})),
    "tls-server-name is empty": static(config(None, {"tls-server-name": ""})),
    "tls-server-name is null": special(config(None, {"tls-server-name": None})),
    "insecure": static(config(None, {"insecure-skip-tls-verify": True})),
    "insecure with authority": static(config(None, {"insecure-skip-tls-verify": True, **INLINE_CA})),
    "insecure is false": static(config(None, {"insecure-skip-tls-verify": False})),
    "insecure is the text false": special(config(None, {"insecure-skip-tls-verify": "false"})),
    "insecure is null": special(config(None, {"insecure-skip-tls-verify": None})),
    "proxy-url": static(config(None, {"proxy-url": "http://proxy.example.com:3128"})),
    "proxy-url https": static(config(None, {"proxy-url": "https://proxy.example.com", **INLINE_CA})),
    "proxy-url is empty": static(
        config(None, {"proxy-url": ""}), environ={"HTTPS_PROXY": "http://from-environment.example.com"}
    ),
    "proxy-url is null": special(config(None, {"proxy-url": None})),
    "proxy-url before environment": static(
        config(None, {"proxy-url": "http://proxy.example.com"}), environ={"HTTPS_PROXY": "http://other.example.com"}
    ),
    "proxy of the environment": static(config(), environ={"https_proxy": "http://proxy.example.com:3128"}),
    "proxy of the environment for all": static(config(), environ={"all_proxy": "http://proxy.example.com:3128"}),
    "proxy of the environment for http only": static(config(), environ={"http_proxy": "http://proxy.example.com"}),
    "proxy bypassed by domain": static(
        config(), environ={"HTTPS_PROXY": "http://proxy.example.com", "NO_PROXY": "localhost, .EXAMPLE.com"}
    ),
    "proxy bypassed by port": static(
        config(), environ={"HTTPS_PROXY": "http://proxy.example.com", "NO_PROXY": "api.example.com:6443"}
    ),
    "proxy bypassed by network": static(
        config(None, {"server": "https://10.1.2.3:6443"}),
        environ={"HTTPS_PROXY": "http://proxy.example.com", "NO_PROXY": "10.0.0.0/8"},
    ),
    "proxy bypassed by everything": static(
        config(None, {"proxy-url": "http://proxy.example.com"}), environ={"NO_PROXY": "*"}
    ),
    "proxy not bypassed by part of a name": static(
        config(), environ={"HTTPS_PROXY": "http://proxy.example.com", "NO_PROXY": "ample.com,api,10.0.0.0/8"}
    ),
    # -- names
    "context chosen": static(current("other"), context="here"),
    "context misspelt": refused(config(), context="hare"),
    "context is empty": refused(config(), context=""),
    "current-context misspelt": refused(current("hare")),
    "current-context missing": refused(without("current-context")),
    "current-context is null": refused(current(None)),
    "current-context is empty": refused(current("")),
    "current-context is a number": special(current(5)),
    "names are numbers": special(config(name=5)),
    "cluster misspelt": refused(config(context={"cluster": "hare", "user": "here"})),
    "cluster missing": refused(config(context={"user": "here"})),
    "user misspelt": static(config(context={"cluster": "here", "user": "hare"})),
    "user missing": static(config(context={"cluster": "here"})),
    "user is empty": static(config(context={"cluster": "here", "user": ""})),
    "user is a mapping": refused(config(context={"cluster": "here", "user": {"name": "here"}})),
    "user is a number": special(config(context={"cluster": "here", "user": 5})),
    "no users": static(without("users")),
    "users are null": static(config(users=None)),
    "no clusters": refused(without("clusters")),
    "no contexts": refused(without("contexts")),
    "clusters are a mapping": special(config(clusters={"here": {"server": API}})),
    "contexts are text": special(config(contexts="here")),
    "a cluster without name": special(config(clusters=[{"cluster": {}}, *config()["clusters"]])),
    "a user without name": special(config(users=[{"user": {}}, *config()["users"]], context={"cluster": "here"})),
    "a user that is text": special(config(users=["here"])),
    "cluster without content": refused(config(clusters=[{"name": "here"}])),
    "user without content": refused(config(users=[{"name": "here"}])),
    "context without content": refused(config(contexts=[{"name": "here"}])),
    "cluster is text": special(config(clusters=[{"name": "here", "cluster": "x"}])),
    "context is a list": special(config(contexts=[{"name": "here", "context": ["here"]}])),
    "unknown keys": static(config({"token": "t", "x": 1}, {"x": [1]}, preferences={}, extensions=[{"name": "x"}])),
    "duplicate user": static(
        config(users=[{"name": "here", "user": {"token": "first"}}, {"name": "here", "user": {"token": "second"}}])
    ),
    "duplicate cluster": static(
        config(clusters=[*config()["clusters"], {"name": "here", "cluster": {"server": PLAIN}}])
    ),
    # -- given as a dictionary
    "dictionary": static(given=config(INLINE_PAIR, INLINE_CA)),
    "dictionary with relative paths": static(given=config(FILE_PAIR, FILE_CA)),
    "dictionary with a missing file": refused(given=config({"client-certificate": "nowhere"})),
    "dictionary with token file": static(given=config({"tokenFile": "token"})),
    "dictionary that is empty": refused(given={}),
    "dictionary without users": static(given=without("users")),
    "dictionary without clusters": refused(given=without("clusters")),
    "dictionary with duplicate users": refused(given=config(users=[*config()["users"], *config()["users"]])),
    "dictionary with another duplicate": static(
        given=config(users=[*config()["users"], {"name": "x", "user": {}}, {"name": "x", "user": {}}])
    ),
    "dictionary with duplicate contexts": refused(given=config(contexts=[*config()["contexts"]] * 2)),
    "dictionary with exec": special(given=config({"exec": EXEC})),
    # -- several files
    "two files, first wins": several("light", config(), config({"token": "second"}, {"server": PLAIN})),
    "two files complete each other": several("light", without("users"), {"users": config()["users"]}),
    "two files, context of the second": several("light", config(), config({"token": "2"}, name="b"), context="b"),
    "two files, other current contexts": several("library", config(), config({"token": "2"}, name="b")),
    "two files, current context in the second": several("light", without("current-context"), config({"token": "2"})),
    "two files, paths of their own": several(
        "light",
        {"users": []},
        config(None, {"certificate-authority": "../pki/ca.pem"}, context={"cluster": "here"}),
    ),
    "two files, certificate beside the user": several(
        "library", without("users"), {"users": [{"name": "here", "user": {"client-certificate": "../pki/both.pem"}}]}
    ),
    "two files, token file beside the user": several(
        "light", without("users"), {"users": [{"name": "here", "user": {"tokenFile": "../token"}}]}
    ),
    "two files, second missing": Case("light", {"config": config()}, paths=("config", "nowhere")),
    "two files, first missing": Case("light", {"config": config()}, paths=("nowhere", "config")),
    "two files, an empty path between": Case("light", {"config": config()}, paths=("", "config", "")),
    "two files, second empty": several("nobody", config(), ""),
    "two files, second broken": several("nobody", config(), "a: ]"),
    "two files, second a list": several("nobody", config(), "[]"),
    "two files, second without names": several("library", config(), {"users": [{"user": {}}]}),
    # -- YAML
    "empty file": refused(""),
    "only a comment": refused("# nothing\n"),
    "a list": refused("- a\n"),
    "a word": refused("text"),
    "an empty mapping": refused("{}"),
    "not YAML": refused("a: b: c\n"),
    "two documents": refused(f"{TEXT}---\n{TEXT}"),
    "a document with marks": static(f"---\n{TEXT}...\n"),
    "JSON": static(config(INLINE_PAIR, INLINE_CA).__repr__().replace("'", '"')),
    "JSON with an escaped slash": static(f'{{"x": "\\/", {str(config())[1:]}'.replace("'", '"')),
    "tab as indentation": refused(TEXT.replace("  token", "\ttoken")),
    "tab after a colon": refused(TEXT.replace("token: abc", "token:\tabc")),
    "tab before a comment": refused(TEXT.replace("token: abc", "token: abc \t# c")),
    "tab at the end": refused(TEXT.replace("token: abc", "token: abc\t")),
    "anchor and alias": static(TEXT.replace("token: abc", "token: &t abc\n    x: *t")),
    "merge key": static(TEXT.replace("token: abc", "<<: {token: merged}")),
    "merged cluster": static(
        "x: &c {insecure-skip-tls-verify: true}\n" + TEXT.replace("cluster:\n", "cluster:\n    <<: *c\n", 1)
    ),
    "alias to nothing": refused(TEXT.replace("abc", "*abc")),
    "unknown tag": refused(TEXT.replace("abc", "!secret abc")),
    "binary token": special(TEXT.replace("abc", "!!binary YWJj")),
    "token is a date": special(TEXT.replace("abc", "2024-01-01")),
    "token is a date that does not exist": refused(TEXT.replace("abc", "2024-13-41")),
    "a key twice": static(TEXT.replace("token: abc", "token: abc\n    token: def")),
    "a mapping as key": refused(TEXT + "? {a: b}\n: c\n"),
    "BOM": static(b"\xef\xbb\xbf" + TEXT.encode()),
    "CRLF": static(TEXT.replace("\n", "\r\n").encode()),
    "CR": static(TEXT.replace("\n", "\r").encode()),
    "UTF-8": static(f"# \u00e4\n{TEXT}".replace("here", "h\u00e4r\U0001f600")),
    "Latin-1": refused(f"# \u00e4\n{TEXT}".encode("latin-1")),
    "UTF-16": refused(TEXT.encode("utf-16")),
    "NUL": refused(TEXT.encode() + b"\0"),
    "YAML 1.1 directive": static(f"%YAML 1.1\n---\n{TEXT}"),
    "YAML 1.3 directive": static(f"%YAML 1.3\n---\n{TEXT}"),
    "quoted": static(TEXT.replace("current-context: here", "current-context: 'here'")),
    "folded": static(TEXT.replace("abc", '"a\n      bc"')),
    "a folder": Case("nobody", {"config/x": "x"}),
}

DIFFERENCES = {
    "token file with line break": "a token holds no white space, so the line break is left out, as by kubectl; the "
    "library sends a header that no HTTP client accepts",
    "token file that is empty": "refused, as by kubectl; the library asks without any credentials",
    "token is a mapping": "refused, as by kubectl; the library sends the name of a Python object as the token",
    "user is a mapping": "refused, as by kubectl; the library asks without any credentials",
    "cluster is text": "refused, as by kubectl; the library sends requests to no host",
    "server missing": "refused, as by kubectl; the library sends requests to no host",
    "exec without command": "refused, as by kubectl; the library asks without any credentials",
}
"""Where both ways do not end the same, and why."""


@dataclass(frozen=True)
class Seen:
    """A connection, as far as it can be compared."""

    host: str
    authorization: str | None
    verify: bool
    authorities: bytes | None
    certificate: bytes | None
    key: bytes | None
    manager: str
    proxy: str
    server_name: str | None
    trusted: int | None
    """Number of CA certificates loaded, where it does not depend on the machine."""


def _bytes(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def by_library(case: Case) -> Seen:
    """Nothing of the collection takes part."""
    found = kubernetes_client.Configuration()
    if case.given is not None:
        kubernetes_config.load_kube_config_from_dict(
            dict(case.given), context=case.context, client_configuration=found, persist_config=False
        )
    else:
        kubernetes_config.load_kube_config(
            ":".join(case.paths), context=case.context, client_configuration=found, persist_config=False
        )
    header = found.auth_settings().get("BearerToken", {}).get("value")
    pool = kubernetes_client.ApiClient(configuration=found).rest_client.pool_manager
    authorities = _bytes(found.ssl_ca_cert)
    return Seen(
        str(found.host),
        header,
        bool(found.verify_ssl),
        authorities,
        _bytes(found.cert_file),
        _bytes(found.key_file),
        *_of_pool(pool),
        len(re.findall(b"BEGIN CERTIFICATE", authorities)) if authorities else None,
    )


def by_us(case: Case) -> Seen:
    params: dict[str, Any] = {"context": case.context, "kubeconfig": case.given}
    if case.given is None:
        params["kubeconfig"] = ":".join(case.paths)
    found = connection.access(params, {})
    made = connection.connect(params, {})
    assert [value for name, value in made.headers() if name == "Authorization"] == list(
        filter(None, [found.authorization()])
    )
    context = made.pool.connection_pool_kw.get("ssl_context")
    known = found.settings
    for content in (known.authorities, known.certificate, known.key):
        assert content is None or isinstance(content, bytes)
    return Seen(
        made.host,
        found.authorization(),
        known.verify,
        known.authorities,  # type: ignore[arg-type]
        known.certificate,  # type: ignore[arg-type]
        known.key,  # type: ignore[arg-type]
        *_of_pool(made.pool),
        len(context.get_ca_certs()) if known.authorities else None,
    )


def _of_pool(pool: Any) -> tuple[str, str, str | None]:
    """The manager, its proxy and the name that the server's certificate is to have."""
    return type(pool).__name__, str(getattr(pool, "proxy", "")), pool.connection_pool_kw.get("server_hostname")


KINDS = {
    "no such name": r"Expected object with name|it has no (?:context|cluster) ",
    "more than one": r"Expected only one object|more than one",
    "something is missing": r"Expected key|it has no (?:(?:current-)?context|cluster)|names no cluster|no content",
    "empty": r"file is empty|is empty",
    "no such file": r"File does not exist|No such file|Is a directory|IsADirectoryError",
    "not YAML": r"ScannerError|ParserError|ComposerError|ConstructorError|ReaderError|month must be|not valid YAML",
    "not text": r"UnicodeDecodeError|is not \S+ text",
    "not base64": r"Incorrect padding|is not base64",
    "not a mapping": r"has no attribute 'get'|indices must be|does not support item assignment|is not a mapping",
    "no header": r"UnicodeEncodeError|outside Latin-1",
}


def kinds(text: str) -> set[str]:
    return {kind for kind, pattern in KINDS.items() if re.search(pattern, text)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with certificates and token files, and an environment without a proxy."""
    for name, content in {**FILES, "token": b"from-file", "token-line": b"from-file\n", "token-empty": b""}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(case: Case, folder: Path) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if not isinstance(content, (str, bytes)):
            content = yaml.safe_dump(content)
        if isinstance(content, str):
            content = content.replace("{folder}", str(folder)).encode()
        path.write_bytes(content)


@pytest.mark.parametrize("name", CASES)
def test_both_ways_give_the_same(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    _write(case, folder)
    for variable, value in case.environ.items():
        monkeypatch.setenv(variable, value)
    handed = False
    missing = library.missing

    def notice(reason: str) -> str | None:
        nonlocal handed
        handed = True
        return missing(reason)

    monkeypatch.setattr(library, "missing", notice)
    theirs: Seen | str
    ours: Seen | str
    try:
        theirs = by_library(case)
    except Exception as error:
        theirs = f"{type(error).__name__}: {error}"
    try:
        ours = by_us(case)
    except ClientError as error:
        ours = str(error)
    who = "library" if handed else "nobody" if isinstance(ours, str) else "light"
    assert who == case.by, ours
    if name in DIFFERENCES:
        assert isinstance(theirs, Seen)
        usable = replace(theirs, authorization=(theirs.authorization or "").strip())
        assert isinstance(ours, str) or ours == usable != theirs
    elif isinstance(ours, Seen) or isinstance(theirs, Seen):
        assert ours == theirs
    elif who == "nobody":
        assert kinds(ours) & kinds(theirs), (ours, theirs)
        assert "abc" not in ours


def test_there_are_enough_of_them_and_every_difference_is_one() -> None:
    assert len(CASES) >= 80
    assert set(DIFFERENCES) <= set(CASES)
    assert {case.by for case in CASES.values()} == {"light", "library", "nobody"}


# -- YAML --------------------------------------------------------------------------------------------------------------


_SYNTAX = st.sampled_from("ab-:?'\"#{}[],&*!|>\t\\\u00e4\x07=@`%~ \n")
_WORDS = (
    "x: ,- ,\n  ,\n    , #,&x ,*x,---\n,...\n,%YAML 1.1\n,\\/,0x1f,017,1:30,yes,<<: ,{},[],2024-01-01,1e3,https://x:1/"
)
_FRAGMENTS = st.one_of(_SYNTAX, st.sampled_from(_WORDS.split(",")))


@settings(max_examples=400, deadline=None)
@given(st.lists(_FRAGMENTS, max_size=14).map("".join))
def test_the_fast_parser_reads_what_the_other_one_reads(text: str) -> None:
    try:
        expected = yaml.safe_load(text)
    except Exception:
        with pytest.raises(Refused):
            kubeconfig.parse(text)
    else:
        assert repr(kubeconfig.parse(text)) == repr(expected)


def test_an_ordinary_kubeconfig_is_read_by_the_fast_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump(config({"token": "t", **INLINE_PAIR}, INLINE_CA, preferences={}))
    monkeypatch.setattr(yaml, "safe_load", None)
    assert kubeconfig.parse(text)["kind"] == "Config"


def test_a_reason_names_the_user() -> None:
    document = kubeconfig.Document("", config({"exec": EXEC}))
    with pytest.raises(NeedsLibrary, match="user 'here' uses exec"):
        kubeconfig.select([document])
