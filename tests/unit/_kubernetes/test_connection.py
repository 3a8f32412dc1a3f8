# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection options that cannot work end in a readable message, without a traceback and without credentials."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any

import certifi
import pytest
from kubernetes.config import kube_config

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import (
    configuration,
    connect,
    kubeconfig_secrets,
)

HOST = {"host": "http://127.0.0.1:1"}


@pytest.mark.parametrize("break_", ["\n", "\r\n", " \n"])
def test_a_token_read_with_its_line_break_is_a_token(break_: str) -> None:
    """A token from `cat` or a slurped file ends with a line break, which no header may hold."""
    settings, _headers = configuration({**HOST, "api_key": f"a-token{break_}"}, {})
    assert settings.api_key == {"authorization": "Bearer a-token"}


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
        configuration({"host": host, "api_key": "x"}, {})


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
    assert connection.secrets == {secret}
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
    settings, _headers = configuration({**HOST, "api_key": "mine", "kubeconfig": other}, {})
    assert (settings.host, settings.cert_file) == (HOST["host"], None)
    assert settings.api_key == {"authorization": "Bearer mine"}
    settings, _headers = configuration({**HOST, "kubeconfig": other}, {})
    assert (settings.host, settings.cert_file) == (HOST["host"], str(certificate))


def test_a_missing_and_a_wrong_kubeconfig_are_distinguished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads the variable KUBECONFIG when it is imported."""
    default = tmp_path / "config"
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(default))
    with pytest.raises(ClientError, match="No cluster is configured"):
        configuration({}, {})
    default.write_text(json.dumps(kubeconfig_for("http://127.0.0.1:1", {})))
    with pytest.raises(ClientError, match=r"Cannot read .* from the default kubeconfig: .*nowhere"):
        configuration({"context": "nowhere"}, {})


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
