# SPDX-License-Identifier: GPL-3.0-or-later
"""The counting proxy against a small HTTP server that stands for the API server."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cluster.proxy import ApiProxy, ProxyError


class _Api(http.server.BaseHTTPRequestHandler):
    """Echoes requests; a watch sends a numbered line for each tick of the test."""

    protocol_version = "HTTP/1.1"
    tick = threading.Semaphore(0)
    served: list[str] = []  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        tick = self.tick  # of this test: a watch that an earlier test left behind must not take our ticks
        if "watch=true" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(100):
                if not tick.acquire(timeout=60):
                    return
                line = json.dumps({"n": number}).encode() + b"\n"
                try:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                except OSError:
                    return
        self._echo(b"")

    def do_PATCH(self) -> None:
        self._echo(self.rfile.read(int(self.headers["Content-Length"])))

    def _echo(self, body: bytes) -> None:
        self.served.append(f"{self.command} {self.path}")
        data = json.dumps(
            {"path": self.path, "body": body.decode(), "authorization": self.headers.get("Authorization", "")}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    _Api.served.clear()
    _Api.tick = threading.Semaphore(0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "u", "user": {"token": "admin"}}],
            }
        )
    )
    yield str(path)
    server.shutdown()
    server.server_close()


def _link(proxy: ApiProxy) -> http.client.HTTPConnection:
    server = yaml.safe_load(Path(proxy.kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
    return http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)


def _get(link: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    link.request("GET", path, headers=headers)
    response = link.getresponse()
    return response.status, json.loads(response.read())


def test_requests_are_recorded_with_method_path_query_status_and_type(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig, keep_bodies=True) as proxy:
        link = _link(proxy)
        assert _get(link, "/api/v1/pods?limit=5&labelSelector=a%3Db")[0] == 200
        merge = "application/merge-patch+json"
        link.request("PATCH", "/configs/cluster", body=b'{"a":1}', headers={"Content-Type": merge})
        assert json.loads(link.getresponse().read())["body"] == '{"a":1}'
        first, second = proxy.requests
        assert str(first) == "GET /api/v1/pods?limit=5&labelSelector=a=b -> 200"
        assert (second.method, second.content_type, second.body) == ("PATCH", merge, b'{"a":1}')
        assert json.loads(second.response)["path"] == "/configs/cluster"
        proxy.reset()
        assert proxy.requests == []


def test_the_proxy_lends_its_credentials_unless_the_client_has_its_own(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        link = _link(proxy)
        assert _get(link, "/x")[1]["authorization"] == "Bearer admin"
        assert _get(link, "/x", Authorization="Bearer someone")[1]["authorization"] == "Bearer someone"


def test_a_status_fault_strikes_as_often_as_asked_and_only_where_it_matches(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        fault = proxy.fault("status", code=429, retry_after=3, path=r"/configs/cluster$", times=2)
        link = _link(proxy)
        assert _get(link, "/other")[0] == 200
        link.request("GET", "/configs/cluster")
        response = link.getresponse()
        body = json.loads(response.read())
        assert (response.status, response.getheader("Retry-After"), body["reason"]) == (429, "3", "TooManyRequests")
        assert _get(link, "/configs/cluster")[0] == 429
        assert _get(link, "/configs/cluster")[0] == 200
        assert fault.hits == 2
        assert [request.fault for request in proxy.requests] == ["", "status", "status", ""]


def test_a_forwarded_reset_loses_only_the_answer(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("reset", path="/configs", forwarded=True)
        proxy.fault("reset", path="/secrets")
        for path in ("/configs", "/secrets"):
            with pytest.raises(ConnectionError):
                _get(_link(proxy), path)
        assert _Api.served == ["GET /configs"]
        assert [request.status for request in proxy.requests] == [0, 0]


def test_a_slow_fault_delays_the_true_answer(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("slow", delay=0.3)
        start = time.monotonic()
        assert _get(_link(proxy), "/x")[0] == 200
        assert time.monotonic() - start >= 0.3


def test_something_happens_before_a_request_or_before_its_answer(kubeconfig: str) -> None:
    seen: list[tuple[str, int]] = []
    with ApiProxy(kubeconfig) as proxy:
        for when, forwarded in (("before", False), ("after", True)):
            proxy.meanwhile(
                lambda when=when: seen.append((when, len(_Api.served))),  # type: ignore[misc]
                path=f"/{when}$",
                dry_run=False,
                forwarded=forwarded,
            )
        link = _link(proxy)
        for path in ("/before?dryRun=All", "/before", "/after", "/after"):
            assert _get(link, path)[0] == 200
    # At "/before" one other request had been served; at "/after" that one had been served as well.
    assert seen == [("before", 1), ("after", 3)]


def test_what_goes_wrong_meanwhile_is_raised_at_the_end(kubeconfig: str) -> None:
    def wrong() -> None:
        raise ValueError("of the test's own")

    def run() -> None:
        with ApiProxy(kubeconfig) as proxy:
            proxy.meanwhile(wrong)
            assert _get(_link(proxy), "/x")[0] == 200

    with pytest.raises(ValueError, match="of the test's own"):
        run()


def test_watch_events_arrive_one_by_one_and_a_drop_cuts_after_the_asked_number(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("drop", events=2)
        link = _link(proxy)
        link.request("GET", "/configs?watch=true")
        response = link.getresponse()
        for number in range(2):
            _Api.tick.release()
            assert json.loads(response.readline()) == {"n": number}
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()
        assert proxy.requests[0].watch


def test_running_watches_can_be_dropped_at_once(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        link = _link(proxy)
        link.request("GET", "/configs?watch=true")
        response = link.getresponse()
        _Api.tick.release()
        response.readline()
        assert proxy.drop_watches() == 1
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()


def test_a_fault_can_let_some_requests_through_first(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("status", code=503, method="GET|PATCH", skip=2)
        assert [_get(_link(proxy), "/x")[0] for _number in range(4)] == [200, 200, 503, 200]


def test_a_watch_can_expire_as_the_api_server_reports_it(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("expire", events=1)
        link = _link(proxy)
        link.request("GET", "/configs?watch=true")
        response = link.getresponse()
        _Api.tick.release()
        lines = [json.loads(line) for line in response.read().splitlines()]
        assert lines[0] == {"n": 0}
        assert (lines[1]["type"], lines[1]["object"]["code"], lines[1]["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_an_answer_can_end_in_the_middle(kubeconfig: str) -> None:
    with ApiProxy(kubeconfig) as proxy:
        proxy.fault("truncate")
        link = _link(proxy)
        link.request("GET", "/x")
        with pytest.raises(http.client.IncompleteRead):
            link.getresponse().read()


@pytest.mark.parametrize("forwarded", [True, False])
def test_over_tls_a_connection_can_be_closed_in_order_without_an_answer(kubeconfig: str, forwarded: bool) -> None:
    with ApiProxy(kubeconfig, tls=True) as proxy:
        document = yaml.safe_load(Path(proxy.kubeconfig).read_text())
        authority = base64.b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        key = base64.b64decode(document["users"][0]["user"]["client-key-data"]).decode()
        assert key == proxy.client_key
        address = urlsplit(proxy.url)
        context = ssl.create_default_context(cadata=authority)
        link = http.client.HTTPSConnection(str(address.hostname), address.port, context=context, timeout=60)
        assert _get(link, "/before")[0] == 200
        proxy.fault("close", path="/x", forwarded=forwarded)
        with pytest.raises(http.client.RemoteDisconnected):
            _get(link, "/x")
        assert _Api.served == ["GET /before", *(["GET /x"] if forwarded else [])]


def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="absent"):
        ApiProxy(tmp_path / "absent")
    broken = tmp_path / "broken"
    broken.write_text("{current-context: a, contexts: []}")
    with pytest.raises(ProxyError, match="lacks 'a'"):
        ApiProxy(broken)
