# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection options that cannot work end in a readable message, without a traceback and without credentials."""

from __future__ import annotations

import http.server
import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import kubernetes.client
import pytest
from kubernetes.config.incluster_config import InClusterConfigLoader

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import connection as module
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import (
    ENVIRONMENT,
    TokenFile,
    access,
    connect,
    kubeconfig_secrets,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.kubeconfig import url_secrets
from tests.certificates import b64, pair

CERTIFICATE, KEY = pair("me")
AUTHORITY, AUTHORITY_KEY = pair("authority")
HOST = {"host": "http://127.0.0.1:1"}


@pytest.mark.parametrize("break_", ["\n", "\r\n", " \n"])
def test_a_token_read_with_its_line_break_is_a_token(break_: str) -> None:
    """A token from `cat` or a slurped file ends with a line break, which no header may hold."""
    assert access({**HOST, "api_key": f"a-token{break_}"}, {}).authorization() == "Bearer a-token"


@pytest.mark.parametrize(
    "given",
    [{"api_key": "to\nken-never-shown"}, {"api_key": "x", "impersonate_user": "never-shown\nb"}, {"api_key": "\u20ac"}],
    ids=["token", "user", "not latin-1"],
)
def test_a_value_no_header_can_hold_is_named_and_not_shown(given: dict[str, Any]) -> None:
    """http.client's own error quotes the header, token included."""
    client = Client(connect({**HOST, **given}))
    with pytest.raises(ClientError) as caught:
        client.raw("GET", "/version")
    assert "header" in str(caught.value)
    assert "never-shown" not in str(caught.value)
    with pytest.raises(ClientError) as caught:
        client.watch("/api/v1/pods", "1")
    assert "never-shown" not in str(caught.value)


@pytest.mark.parametrize("host", ["api.example.com:6443", "api.example.com", "ftp://api.example.com"])
def test_a_host_without_scheme_is_refused_at_once(host: str) -> None:
    """It would be contacted over plain HTTP, token included, again and again."""
    with pytest.raises(ClientError, match="host"):
        access({"host": host, "api_key": "x"}, {})


def login_plugin(tmp_path: Path, script: str, **exec_options: Any) -> str:
    """Path of a kubeconfig whose user logs in with a plugin: this Python script."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(script)
    options = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(plugin)],
        **exec_options,
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(kubeconfig_for("http://127.0.0.1:1", {"exec": options})))
    return str(kubeconfig)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit('session expired; run: tool login')", "session expired; run: tool login"),
        ("print('not JSON')", "failed to decode process output"),
        ("raise SystemExit(3)", "process returned 3"),
        ("print('{}')", "malformed response"),
    ],
)
def test_a_login_plugin_that_fails_is_quoted(tmp_path: Path, script: str, words: str) -> None:
    """The library goes on without credentials; a remedy for the anonymous user would be wrong and dangerous."""
    with pytest.raises(ClientError) as caught:
        connect({"kubeconfig": login_plugin(tmp_path, script)}, {})
    assert "login plugin gave no credentials" in str(caught.value)
    assert words in str(caught.value)


def test_what_a_login_plugin_says_is_bounded_and_harmless(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its words may be long, contain escape sequences, or repeat what it was given; none of it goes anywhere else."""
    script = (
        "import os, sys\n"
        "sys.stderr.write('\\x1b[2J token=abc123 ' + os.environ['PASSWORD'] + ' x' * 100000)\n"
        "sys.exit(1)\n"
    )
    kubeconfig = login_plugin(tmp_path, script, env=[{"name": "PASSWORD", "value": "never-shown"}])
    with pytest.raises(ClientError) as caught:
        connect({"kubeconfig": kubeconfig}, {})
    text = str(caught.value)
    assert len(text) < 900
    assert "\\x1b[2J" in text
    assert text.isprintable()
    assert "abc123" not in text + "".join(capfd.readouterr())
    assert "never-shown" not in text


def test_a_login_plugin_that_works_may_complain(tmp_path: Path) -> None:
    """Credentials count, not words."""
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}
    script = f"import sys; sys.stderr.write('deprecated'); print({json.dumps(status)!r})"
    found = access({"kubeconfig": login_plugin(tmp_path, script)}, {})
    assert found.authorization() == "Bearer t"


@pytest.mark.parametrize("users", [5, "text", [5], [{"user": 5}], {"user": {}}, None])
def test_a_kubeconfig_of_any_shape_is_searched_for_secrets(users: Any) -> None:
    """What is wrong with it is reported when it is loaded."""
    assert list(kubeconfig_secrets({"kubeconfig": {"users": users}})) == []


def test_every_credential_of_a_kubeconfig_is_masked() -> None:
    """Including tokens of login plugins and the environment of exec plugins."""
    user = {
        "token": "t1",
        "auth-provider": {"name": "oidc", "config": {"id-token": "t2", "refresh-token": "t3", "client-secret": "t4"}},
        "exec": {"command": "login", "env": [{"name": "PASSWORD", "value": "t5"}]},
    }
    assert set(kubeconfig_secrets({"kubeconfig": {"users": [{"name": "u", "user": user}]}})) == {
        "t1",
        "t2",
        "t3",
        "t4",
        "t5",
    }


@pytest.mark.parametrize(
    ("variables", "secret"),
    [
        ({"K8S_AUTH_API_KEY": "never-shown"}, "never-shown"),
        ({"K8S_AUTH_USERNAME": "me", "K8S_AUTH_PASSWORD": "never-shown"}, "never-shown"),
    ],
)
def test_credentials_from_the_environment_are_masked(variables: dict[str, str], secret: str) -> None:
    """Ansible knows only those that are given as options."""
    connection = connect(HOST, variables)
    sent = dict(connection.headers())["Authorization"].partition(" ")[2]
    assert connection.secrets == {secret, sent}
    assert secret not in repr(connection)


def test_the_token_of_a_kubeconfig_file_is_masked(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(kubeconfig_for("http://127.0.0.1:1", {"token": "never-shown"})))
    assert connect({"kubeconfig": str(kubeconfig)}, {}).secrets == {"never-shown"}


def kubeconfig_for(server: str, user: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig with one cluster, one user and one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }


def test_the_option_host_still_applies_when_the_kubeconfig_renews_its_token() -> None:
    """The library's hook that renews a token puts the kubeconfig's own server back into the settings."""
    asked: list[tuple[str, str | None]] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    kubeconfig = kubeconfig_for("http://127.0.0.1:1", {"token": "a-token"})
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(connect({"kubeconfig": kubeconfig, "host": f"http://127.0.0.1:{server.server_port}"}))
        for path in ("/first", "/second"):
            assert client.raw("GET", path, retry=False).status == 200
        server.shutdown()
    assert asked == [("/first", "Bearer a-token"), ("/second", "Bearer a-token")]


def test_an_https_proxy_is_trusted_by_the_given_authorities(tmp_path: Path) -> None:
    """As urllib3 does it with the file itself."""
    end = "-----END CERTIFICATE-----\n"
    authority = tmp_path / "ca.pem"
    authority.write_text(Path(certifi.where()).read_text(encoding="utf-8").partition(end)[0] + end)
    given = {"host": "https://api.example.com", "api_key": "x", "proxy": "https://proxy.example.com"}
    pool: Any = connect({**given, "ca_cert": str(authority)}).pool
    for context in (pool.proxy_config.ssl_context, pool.connection_pool_kw["ssl_context"]):
        assert len(context.get_ca_certs()) == 1
    assert pool.connection_pool_kw["_proxy_config"] is pool.proxy_config


def test_a_host_with_credentials_is_not_contacted_as_another_user(tmp_path: Path) -> None:
    """A kubeconfig that happens to be in the environment must not lend its certificate (as in kubernetes.core)."""
    certificate = tmp_path / "certificate"
    certificate.write_text("of somebody else")
    other = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://elsewhere.example.com"}}],
        "users": [{"name": "u", "user": {"client-certificate": str(certificate), "client-key": str(certificate)}}],
    }
    found = access({**HOST, "api_key": "mine", "kubeconfig": other}, {})
    assert (found.settings.server, found.settings.certificate) == (HOST["host"], None)
    assert found.authorization() == "Bearer mine"
    settings = access({**HOST, "kubeconfig": other}, {}).settings
    assert (settings.server, settings.certificate) == (HOST["host"], b"of somebody else")


def test_a_kubeconfig_that_is_missing_and_one_that_is_wrong_are_told_apart(tmp_path: Path) -> None:
    """The variable KUBECONFIG counts for each task; the library would read it once, when it is imported."""
    default = tmp_path / "config"
    variables = {"KUBECONFIG": str(default)}
    with pytest.raises(ClientError, match="No cluster is configured"):
        access({}, variables)
    default.write_text(json.dumps(kubeconfig_for("http://127.0.0.1:1", {})))
    with pytest.raises(ClientError, match=r"Cannot read .* from the default kubeconfig: .*nowhere"):
        access({"context": "nowhere"}, variables)
    assert access({}, variables).settings.server == "http://127.0.0.1:1"


# -- single options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_environment", [False, True], ids=["option", "environment"])
def test_single_options_override_the_kubeconfig(by_environment: bool, tmp_path: Path) -> None:
    content = kubeconfig_for(
        "https://kubeconfig.example.com", {"token": "t", "client-certificate-data": b64(CERTIFICATE)}
    )
    content["clusters"][0]["cluster"].update(
        {
            "certificate-authority-data": b64(AUTHORITY),
            "proxy-url": "http://kubeconfig.example.com",
            "tls-server-name": "n",
        }
    )
    for name, pem in {"ca": CERTIFICATE, "certificate": AUTHORITY, "key": AUTHORITY_KEY}.items():
        (tmp_path / name).write_bytes(pem)
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    options = {
        "kubeconfig": str(path),
        "host": "https://option.example.com/",
        "validate_certs": "no",
        "ca_cert": str(tmp_path / "ca"),
        "client_cert": str(tmp_path / "certificate"),
        "client_key": str(tmp_path / "key"),
        "proxy": "http://option.example.com:3128",
        "no_proxy": "elsewhere.example.com",
    }
    if by_environment:
        found = connect({}, {ENVIRONMENT[option]: value for option, value in options.items()})
        settings = access({}, {ENVIRONMENT[option]: value for option, value in options.items()}).settings
    else:
        params = {**options, "validate_certs": False}
        found = connect(params, {ENVIRONMENT[option]: "/of/no/account" for option in options})
        settings = access(params, {}).settings
    # host with a client certificate is complete, so the kubeconfig adds nothing
    assert (settings.server_name, settings.verify, list(found.headers())) == ("", False, [])
    assert (settings.authorities, settings.certificate, settings.key) == (CERTIFICATE, AUTHORITY, AUTHORITY_KEY)
    assert (found.host, str(found.pool.proxy)) == ("https://option.example.com", options["proxy"])
    one_by_one: dict[str, tuple[str, Any]] = {
        "host": ("server", "https://option.example.com"),
        "validate_certs": ("verify", False),
        "ca_cert": ("authorities", CERTIFICATE),
        "client_cert": ("certificate", AUTHORITY),
        "client_key": ("key", AUTHORITY_KEY),
        "proxy": ("proxy", options["proxy"]),
    }
    plain = access({"kubeconfig": content}, {}).settings
    for option, (name, value) in one_by_one.items():
        given = False if option == "validate_certs" else options[option]
        assert access({"kubeconfig": content, option: given}, {}).settings == replace(plain, **{name: value})


def test_an_empty_proxy_means_none_and_no_proxy_replaces_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"host": "https://api.example.com", "api_key": "x"}
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert getattr(connect(given, {}).pool, "proxy", None) is None
    assert connect({**given, "no_proxy": "x"}, {}).pool.proxy.host == "proxy.example.com"
    assert getattr(connect({**given, "no_proxy": "x", "proxy": ""}, {}).pool, "proxy", None) is None
    headers = {"proxy_headers": {"proxy_basic_auth": "me:pw", "user_agent": "a"}, "no_proxy": "x"}
    assert connect({**given, **headers}, {}).pool.proxy_headers == {
        "proxy-authorization": "Basic bWU6cHc=",
        "user-agent": "a",
    }


@pytest.mark.parametrize("name", ["proxy_basic_auth", "basic_auth"])
def test_credentials_for_a_proxy_that_no_header_can_carry_are_refused(name: str) -> None:
    given = {"host": "https://api.example.com", "api_key": "x", "proxy_headers": {name: "me:p\u20ac"}}
    with pytest.raises(ClientError, match=r"proxy_headers: .*outside Latin-1") as caught:
        connect(given, {})
    assert "\u20ac" not in str(caught.value)


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_everything_secret_in_the_options_and_the_environment_is_masked() -> None:
    """Ansible masks the values of single options by itself; not what is part of a value."""
    url = "http://me:{}@127.0.0.1:1"
    params = {
        "host": url.format("h%40st"),
        "api_key": "from-option",
        "proxy": url.format("pr0xy"),
        "proxy_headers": {"proxy_basic_auth": "me:basic1"},
    }
    variables = {
        "K8S_AUTH_PROXY": url.format("env1"),
        "K8S_AUTH_HOST": url.format("env2"),
        "K8S_AUTH_API_KEY": "env3",
        "K8S_AUTH_PROXY_HEADERS_BASIC_AUTH": "me:env4",
    }
    found = set(connect(params, variables).secrets)
    assert found >= {"h%40st", "h@st", "pr0xy", "from-option", "basic1", "env1", "env2", "env3", "env4"}
    assert set(kubeconfig_secrets(params)) == {"h%40st", "h@st", "pr0xy", "basic1"}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://me:pw@host:1", {"pw"}),
        ("http://me:p%40w@host", {"p%40w", "p@w"}),
        ("http://me:p@w@host", {"p@w"}),
        ("http://me:p/w@host", {"p/w"}),
        ("http://me:p?w#x@host", {"p?w#x"}),
        ("me:pw@host:3128", {"pw"}),
        ("http://me:pw@[::1", {"pw"}),
        ("http://a-token-in-place-of-a-name@host", {"a-token-in-place-of-a-name"}),
        ("http://me@host", set()),
        ("https://host:6443", set()),
        ("https://host:6443/path", set()),
        (5, set()),
        (None, set()),
    ],
)
def test_the_password_of_a_url_is_found_however_malformed(url: Any, found: set[str]) -> None:
    assert {*url_secrets(url)} - {""} == found


@pytest.mark.parametrize(
    "kubeconfig",
    [
        {"users": {"me": {"token": "never-shown"}}},
        {"users": [{"name": "me", "token": "never-shown"}]},
        {"users": [{"user": [{"password": "never-shown"}]}]},
        {"users": [[{"user": {"client-key-data": "never-shown"}}]]},
        {"user": {"token": ["never-shown", {"a": "never-shown"}]}},
        {"client-key-data": "never-shown"},
        {"users": [{"user": {"exec": [{"env": [{"name": "X", "value": "never-shown"}]}]}}]},
        {"clusters": {"c": {"server": "https://me:never-shown@host"}}},
        "users:\n- user: {token: never-shown}",
        "users:\n- user: {token: never-shown",
        '{"users": [{"user": {"password": "never-shown"}}]}',
    ],
)
def test_a_malformed_kubeconfig_hides_its_secrets_too(kubeconfig: Any) -> None:
    """Ansible shows the options of a task that fails."""
    assert "never-shown" in kubeconfig_secrets({"kubeconfig": kubeconfig})
    with pytest.raises(ClientError) as caught:
        connect({"kubeconfig": kubeconfig, "client_cert": "-----BEGIN"}, {})
    assert "never-shown" not in str(caught.value)


@pytest.mark.parametrize("option", ["client_cert", "client_key", "ca_cert"])
def test_the_content_of_a_file_in_place_of_its_path_is_not_shown(option: str) -> None:
    params = {**HOST, "api_key": "x", option: "-----BEGIN PRIVATE KEY-----\nnever-shown\n-----END PRIVATE KEY-----"}
    with pytest.raises(ClientError, match=f"{option}: this is the content of a file") as caught:
        connect(params, {})
    assert "never-shown" not in str(caught.value)
    assert any("never-shown" in text for text in kubeconfig_secrets(params)) is (option != "ca_cert")


@pytest.mark.parametrize("as_file", [True, False], ids=["file", "dictionary"])
def test_everything_secret_in_a_kubeconfig_is_masked(as_file: bool, tmp_path: Path) -> None:
    """The other users' credentials, too, and whatever goes with a login plugin."""
    (tmp_path / "token").write_text("s1\n")
    content = kubeconfig_for("https://me:s2@api.example.com", {"tokenFile": str(tmp_path / "token")})
    content["clusters"][0]["cluster"]["proxy-url"] = "http://me:s3@proxy.example.com"
    plugin = {
        "command": "login",
        "args": ["get-token", "--client-secret=s4", "--password", "s5", "--verbose"],
        "env": [{"name": "TOKEN", "value": "s6"}, {"name": "AWS_PROFILE", "value": "default"}],
    }
    content["users"] += [
        {"name": "a", "user": {"password": "s7", "client-key-data": "s8", "token": 12345}},
        {"name": "b", "user": {"exec": plugin, "auth-provider": {"config": {"access-token": "s9"}}}},
    ]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    secrets = connect({"kubeconfig": str(path) if as_file else content}, {}).secrets
    assert secrets == {f"s{number}" for number in range(1, 10)} | {"12345"}


# -- credentials that change -------------------------------------------------------------------------------------------


def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    """A bound service account's token is replaced before it expires."""
    path, now = tmp_path / "token", 0.0
    path.write_text("first\n")
    header = TokenFile(str(path), lambda: now)
    path.write_text("second")
    now = 59.0
    assert header() == "Bearer first"
    now = 61.0
    assert header() == "Bearer second"
    for content in (None, "", "\n"):  # while it is being replaced
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        now += 61
        assert header() == "Bearer second"
    path.write_text("third")
    now += 61
    assert header() == "Bearer third"


@pytest.mark.parametrize(("address", "host"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
def test_the_service_account_of_a_pod_is_found_as_by_the_library(
    address: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Differences: white space is left out, and the scheme is written Bearer, which servers do not tell apart."""
    variables = {"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": "443", "KUBECONFIG": "/nowhere"}
    authority = Path(certifi.where()).read_bytes()
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", str(tmp_path))
    with pytest.raises(ClientError, match="No cluster is configured"):
        access({}, variables)
    (tmp_path / "ca.crt").write_bytes(authority)
    (tmp_path / "token").write_text("")
    with pytest.raises(ClientError, match="No cluster is configured"):
        access({}, variables)
    (tmp_path / "token").write_text("a-token")
    theirs = kubernetes.client.Configuration()
    files = (str(tmp_path / "token"), str(tmp_path / "ca.crt"))
    InClusterConfigLoader(*files, environ=variables).load_and_set(theirs)
    found = access({}, variables)
    assert found.settings.server == theirs.host == f"https://{host}:443"
    assert found.settings.authorities == authority
    header = found.authorization() or ""
    assert header.lower() == theirs.auth_settings()["BearerToken"]["value"]
    assert header == "Bearer a-token"
    assert found.secrets == {"a-token"}
    assert access({"api_key": "mine"}, variables).authorization() == "Bearer mine"
    for incomplete in ({"KUBERNETES_SERVICE_HOST": ""}, {"KUBERNETES_SERVICE_PORT": ""}):
        with pytest.raises(ClientError, match="No cluster is configured"):
            access({}, {**variables, **incomplete})
    with pytest.raises(ClientError, match="No cluster is configured"):
        access({"context": "c"}, variables)


def test_credentials_that_cannot_be_renewed_are_a_failure_with_a_reason(tmp_path: Path) -> None:
    """The library runs the command for each request after the expiry, and raises what it does not print."""
    command = tmp_path / "login"
    answer = {"credential": {"access_token": "never-shown", "token_expiry": "2000-01-01T00:00:00Z"}}
    command.write_text(f"#!/bin/sh\ntest -e {tmp_path}/broken && exit 3\necho '{json.dumps(answer)}'\n")
    command.chmod(0o755)
    provider = {"name": "gcp", "config": {"cmd-path": str(command)}}
    client = Client(connect({"kubeconfig": kubeconfig_for(HOST["host"], {"auth-provider": provider})}, {}))
    (tmp_path / "broken").touch()
    with pytest.raises(ClientError, match="Cannot renew the credentials"):
        client.raw("GET", "/version", retry=False)
    with pytest.raises(ClientError, match="Cannot renew the credentials"):
        client.watch("/version", "1")


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "in a folder"])
def test_no_key_stays_anywhere(in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the temporary folder nor as an open file, while several threads connect and whoever reads it."""
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user = {"client-certificate-data": b64(CERTIFICATE), "client-key-data": b64(KEY)}
    content = kubeconfig_for("https://api.example.com", user)
    content["clusters"][0]["cluster"]["certificate-authority-data"] = b64(AUTHORITY)
    by_library = json.loads(json.dumps(content))
    by_library["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = 0  # not what the light reader takes
    written: list[str] = []
    make = tempfile.mkdtemp

    def make_and_note(*args: Any, **more: Any) -> str:
        written.append(make(*args, **more))
        return written[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_note)
    with ThreadPoolExecutor(8) as pool:
        for connection in pool.map(lambda _: connect({"kubeconfig": content}, {}), range(32)):
            assert len(connection.pool.connection_pool_kw["ssl_context"].get_ca_certs()) == 1
    assert bool(written) is not in_memory
    with ThreadPoolExecutor(8) as pool:
        for connection in pool.map(lambda _: connect({"kubeconfig": by_library}, {}), range(32)):
            assert len(connection.pool.connection_pool_kw["ssl_context"].get_ca_certs()) == 1
    assert [str(left) for left in tmp_path.rglob("*")] == []
    assert tempfile.tempdir == str(tmp_path)
    if in_memory:
        opened = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        assert not [name for name in opened if os.path.islink(name) and "alauda" in os.readlink(name)]


@pytest.mark.parametrize(
    "key",
    [None, CERTIFICATE, b"no key", AUTHORITY_KEY, pair("me", password=b"p")[1]],
    ids=["none", "certificate", "text", "other", "encrypted"],
)
def test_a_key_that_does_not_fit_is_a_reason(key: bytes | None) -> None:
    user = {"client-certificate-data": b64(CERTIFICATE), **({"client-key-data": b64(key)} if key else {})}
    with pytest.raises(ClientError, match=r"Cannot set up the connection to https://api\.example\.com: .+"):
        connect({"kubeconfig": kubeconfig_for("https://api.example.com", user)}, {})


def test_a_socks_proxy_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    with pytest.raises(ClientError, match="PySocks"):
        connect({**HOST, "api_key": "x", "proxy": "socks5://127.0.0.1:1080"}, {})


def test_every_impersonated_group_has_a_header_of_its_own() -> None:
    """A name given in a list may contain a comma; the environment variable separates names by it."""
    user = {**HOST, "api_key": "x", "impersonate_user": "me"}
    connection = connect({**user, "impersonate_groups": ["a,b", "c"]}, {})
    assert [text for name, text in connection.headers() if name == "Impersonate-Group"] == ["a,b", "c"]
    connection = connect(user, {"K8S_AUTH_IMPERSONATE_GROUPS": "a, b"})
    assert [text for name, text in connection.headers() if name == "Impersonate-Group"] == ["a", "b"]


def test_a_password_replaces_the_token_of_the_kubeconfig() -> None:
    given = {"kubeconfig": kubeconfig_for(HOST["host"], {"token": "t"}), "username": "me", "password": "p"}
    sent = [text for name, text in connect(given, {}).headers() if name.lower() == "authorization"]
    assert sent == ["Basic bWU6cA=="]
