# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile parameters: types, sizes and characters that no option expects, in check mode against the real API server.

Each input is one call of main(). It must answer with one JSON object, soon, without a traceback, without a secret and
without raw control characters in its messages; what it would store has none either. At the wire nothing may be written,
no path may leave its place, and no query may be anything but ours.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
import re
import signal
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ansible_collections.alauda.image_registry.plugins.module_utils import _argspec

if TYPE_CHECKING:
    from tests.chaos.cases import Clock, Ground, Tally
    from tests.cluster.proxy import Request

MODULES = "ansible_collections.alauda.image_registry.plugins.modules"
BATCH = 250
SECONDS = 30
"""An input that takes longer hangs: a request may be repeated for 20 s."""
CANARY = "HUSHcanary"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SPECS: dict[str, dict[str, Any]] = {
    "registry_storage": _argspec.STORAGE,
    "registry_pullsecret": _argspec.PULLSECRET,
    "image_limits": _argspec.LIMITS,
    "image_pruner": _argspec.PRUNER,
    "registry": _argspec.REGISTRY,
}
_STORAGE: tuple[dict[str, Any], ...] = (
    {"backend": "emptydir", "replicas": 1},
    {"backend": "pvc", "pvc": {"claim": "hostile", "create": True, "size": "1Gi", "storage_class": "lab"}},
    {
        "backend": "s3",
        "s3": {
            "bucket": "images",
            "region": "us-east-1",
            "region_endpoint": "https://s3.example.com",
            "access_key": f"{CANARY}ACCESS",
            "secret_key": f"{CANARY}secret",
        },
    },
    {"backend": "azure", "azure": {"account_name": "a", "container": "b", "account_key": f"{CANARY}a2V5"}},
    {"backend": "gcs", "gcs": {"bucket": "images", "keyfile": f'{{"{CANARY}": 1}}'}},
    {"backend": "swift", "swift": {"container": "images", "username": f"{CANARY}u", "password": f"{CANARY}p"}},
    {"backend": "ibmcos", "ibmcos": {"bucket": "images", "iam_api_key": f"{CANARY}iam"}},
)
_PULL: dict[str, Any] = {
    "management_state": "Managed",
    "additional_registry_hosts": ["a.example.com"],
    "list_mode": "merge",
}
_LIMITS: dict[str, Any] = {
    "namespaces": ["default", "kube-public"],
    "quota": {"images": "7"},
    "image": {"storage": "1Gi"},
}
_PRUNER: dict[str, Any] = {
    "schedule": "1 2 * * *",
    "keep_tag_revisions": 3,
    "keep_younger_than": "60m",
    "suspend": True,
}
_WORDS = (
    "", " ", "\n", "\x00", "a\n", "kube-public\n", "a\r\nX-Injected: 1", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "a\u202eb", "../../../api/v1/secrets", "..%2f..%2fx", "%2e%2e/%2e%2e/x", ".", "..", "a/b", "a?dryRun=None",
    "a&fieldManager=x", "a#b", "a b", "a;b", "a,b", "a=b", "a in (b", "!a", "{{ 7 * 7 }}", "{% for x in y %}", "${x}",
    "$(id)", "`id`", "'", '"', "\\", "é", "€", "²", "١٢", "\U0001f600", "\ufeff", "\udcff", "null", "true", "yes",
    "~", "-1", "0", "1e999", "NaN", "inf", "1.5", "1,5", "0x10", "1_000", "9" * 30, "9" * 5000, "1Ki", "1e3Gi",
    "-1Gi", "1ZiB", "1h-1m", "99999999999h", "* * 31 2 *", "@every 1s", "TZ=x 0 0 * * *", "CRON_TZ=/etc 0 0 * * *",
    "a" * 64, "a" * 254, "a" * 100_000, "A.B", "-a", "a.-b", "https://user:pw@x", "http://[::1", "//x",
    "file:///etc/passwd", "x:99999", "[::1]:5000", "x:port", "localhost:0",
)  # fmt: skip
_CONNECTION = {
    "host": ("", "x y", "http://", "https://[::1", "://", "ftp://x", "https://a\nb", "https://a:port", "\x00", f"https://u:{CANARY}@["),
    "api_key": (f"{CANARY}\n", f"{CANARY}€", f"{CANARY}\x00", f"{CANARY}\r\nX: y"),
    "username": ("a€", "a:b", "\n"),
    "password": (f"{CANARY}€", f"{CANARY}\n", f"{CANARY}\udcff"),
    "ca_cert": ("/does/not/exist", "", "\x00", "/dev/null", "/"),
    "client_cert": ("/does/not/exist", "/dev/null", "/"),
    "client_key": ("/does/not/exist", "/dev/null", "\n"),
    "context": ("absent", "", "\n", "../x"),
    "proxy": ("x y", f"http://u:{CANARY}@[", "ftp://x", "\x00"),
    "no_proxy": ("*", "\n", ",,,"),
    "validate_certs": ("maybe", 2, None, []),
    "impersonate_user": ("a\nb", "€", "", "\x00"),
    "impersonate_groups": (["a\nb"], ["€"], "a", [None]),
    "proxy_headers": ({"user_agent": "\n"}, {"basic_auth": CANARY}, {"proxy_basic_auth": f"u:{CANARY}€"}, [], {"x": 1}),
    "kubeconfig": (
        "/does/not/exist",
        "",
        "/dev/null",
        "/",
        {},
        [],
        7,
        {"clusters": 1},
        {"current-context": "a", "contexts": [{"name": "a", "context": None}]},
        {"users": [{"name": "a", "user": {"client-key-data": f"{CANARY}!"}}], "clusters": [], "contexts": []},
        {"current-context": ["a"], "contexts": {"name": "a"}, "users": [{"user": {"token": f"{CANARY}\n"}}]},
    ),
    "wait": ("maybe", None, []),
    "wait_timeout": (10**400, -1, 0, "1e999", "²", 1.5, [], "9" * 5000),
    "platform": ("kubernetes", "", "\x1b[2J", []),
}  # fmt: skip


def draw(rng: random.Random, module: str) -> dict[str, Any]:
    """One input: valid options of the module, one to three of which have been replaced."""
    if module == "registry":
        given: dict[str, Any] = {
            "registry_storage": dict(rng.choice(_STORAGE)),
            "registry_pullsecret": dict(_PULL),
            "image_limits": [dict(_LIMITS)],
            "image_pruner": dict(_PRUNER),
        }
    else:
        bases = {"registry_pullsecret": _PULL, "image_limits": _LIMITS, "image_pruner": _PRUNER}
        given = rng.choice(_STORAGE) if module == "registry_storage" else bases[module]
    given = json.loads(json.dumps(given))
    # Where the images are at the moment is another case's doing.
    (given["registry_storage"] if module == "registry" else given).update(
        {"on_backend_change": "allow"} if module.startswith("registry") and module != "registry_pullsecret" else {}
    )
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.05:
            option = rng.choice(sorted(_CONNECTION))
            given[option] = rng.choice(_CONNECTION[option])
        else:
            path, spec = rng.choice(list(_paths(_SPECS[module])))
            _put(given, path, _value(rng, spec, 0))
    return given


def _paths(spec: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for name, option in spec.items():
        yield (*path, name), option
        yield from _paths(option.get("options") or {}, (*path, name))


def _put(given: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        inner = given.get(step)
        if isinstance(inner, list):
            inner = inner[0] if inner else None
        if not isinstance(inner, dict):
            inner = given[step] = {}
        given = inner
    given[path[-1]] = value


def _value(rng: random.Random, spec: dict[str, Any], depth: int) -> Any:
    """A hostile value; half of them at least of the option's own type."""
    kind = spec.get("type", "str") if rng.random() < 0.6 else rng.choice(("str", "int", "list", "dict", "odd"))
    if kind == "list":
        inner = {"type": spec.get("elements", "str")}
        count = rng.choice((0, 1, 1, 2, 3, 1000))
        return [_value(rng, inner, depth + 1) for _ in range(count if depth < 1 else min(count, 3))]
    if kind == "dict":
        keys = [*(spec.get("options") or {}), *rng.sample(_WORDS, 3)]
        return {key: _value(rng, {}, depth + 1) for key in rng.sample(keys, rng.randint(0, 3))} if depth < 4 else {}
    if kind == "int":
        return rng.choice((0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1.5, 1e308, True))
    if kind == "bool":
        return rng.choice((True, False, "maybe", 2, "yes", 1.5, None))
    if kind == "odd":
        deep: Any = "x"
        for _ in range(rng.choice((3, 50, 400))):
            deep = rng.choice(([deep], {"a": deep}))
        return rng.choice((None, deep, {"a": None}, [[]], [None], float("inf"), {"": ""}))
    if spec.get("no_log"):
        return CANARY + rng.choice(_WORDS)
    return rng.choice(_WORDS) + rng.choice(("", "", "", rng.choice(_WORDS)))


class _Hangs(BaseException):
    """Not an Exception, so that nobody takes it for an error of the cluster's."""


def batch(module: str, kubeconfig: str, seed: str, start: int, stop: int) -> None:
    """Run inputs of one module one after the other; prints a JSON line for each."""
    from ansible.module_utils.common import warnings as module_warnings
    from ansible.module_utils.testing import patch_module_args

    main = importlib.import_module(f"{MODULES}.{module}").main

    def hangs(*_: object) -> None:
        raise _Hangs

    signal.signal(signal.SIGALRM, hangs)
    for number in range(start, stop):
        given = draw(random.Random(f"{seed}/hostile/{module}/{number}"), module)
        arguments = {"kubeconfig": kubeconfig, "_ansible_check_mode": True, "_ansible_diff": True, **given}
        module_warnings._global_warnings.clear()
        module_warnings._global_deprecations.clear()
        output, trouble = io.StringIO(), []
        begin = time.monotonic()
        signal.alarm(SECONDS)
        try:
            with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
                main()
        except _Hangs:
            trouble.append(f"no end within {SECONDS} s")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            trouble.append(
                f"a traceback: {type(error).__name__}: {str(error)[:80]} at {place.filename[-60:]}:{place.lineno}"
            )
        finally:
            signal.alarm(0)
        line = {"number": number, "seconds": time.monotonic() - begin, **_read(output.getvalue(), trouble)}
        if line["wrong"]:
            line["given"] = repr(given)[:2000]
            line["output"] = output.getvalue()[:4000]
        print(json.dumps(line), flush=True)


def _read(output: str, trouble: list[str]) -> dict[str, Any]:
    """What is wrong with the output of one input, and whether the input was refused."""
    wrong = list(trouble)
    if CANARY in output:
        wrong.append("a secret is in the output")
    try:
        result = json.loads(output)
    except ValueError:
        return {"wrong": wrong or ["the output is not one JSON object"], "refused": True}
    said = [str(result.get("msg", "")), *map(str, result.get("warnings") or [])]
    if any(_CONTROL.search(text) for text in said):
        wrong.append("raw control characters in a message")
    if not result.get("failed") and _CONTROL.search("".join(_strings((result.get("diff") or {}).get("after")))):
        wrong.append("control characters would be stored")
    return {"wrong": wrong, "refused": bool(result.get("failed")), "msg": said[0][:200]}


def wire(requests: list[Request]) -> list[str]:
    """What must not have crossed the wire."""
    wrong = []
    for one in requests:
        dry = one.query.get("dryRun") == "All" or b'"dryRun":["All"]' in one.body
        if one.method != "GET" and not dry:
            wrong.append(f"a write: {one}")
        segments = unquote(one.path).split("/")
        if _CONTROL.search(unquote(one.path)) or {".", ".."} & set(segments) or "" in segments[1:]:
            wrong.append(f"a path that leaves its place: {one}")
        if set(one.query) - (_CATALOG if one.path.endswith("/v2/_catalog") else _QUERY):
            wrong.append(f"a query of its own: {one}")
    return wrong


_CATALOG = {"n"}
"""The query of the registry's own list of its images."""
_QUERY = {"dryRun", "fieldValidation", "limit", "continue", "labelSelector", "fieldSelector"}


def _strings(value: Any) -> Iterator[str]:
    """Every string in a part of a result."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def run(ground: Ground, tally: Tally, seed: str, clock: Clock) -> None:
    """Inputs of one module, in batches that have a process each."""
    from tests.chaos.cases import Outcome
    from tests.cluster.proxy import ApiProxy

    with ApiProxy(ground.cluster.kubeconfig, keep_bodies=True) as proxy:
        while tally.tried < tally.aim and not clock.over:
            start = tally.tried
            stop = min(start + BATCH, tally.aim)
            call = {"module": tally.module, "kubeconfig": proxy.kubeconfig, "seed": seed, "start": start, "stop": stop}
            ended = ground.runner.call("tests.chaos.hostile:batch", **call).wait(SECONDS * BATCH)
            lines = [json.loads(line) for line in ended.output.splitlines() if line.startswith('{"number"')]
            for line in lines:
                case = f"hostile/{tally.module}/{line['number']}"
                tally.add(
                    Outcome(case, line.get("given", ""), tuple(line["wrong"]), line["refused"], line.get("msg", ""))
                )
            if len(lines) < stop - start:
                text = f"the process ended after {len(lines)} of {stop - start} inputs: {ended.output[-300:]}"
                tally.add(Outcome(f"hostile/{tally.module}/{start + len(lines)}", "", (text,), False))
            tally.wrong += [Outcome(f"hostile/{tally.module}/wire", "", (one,), False) for one in wire(proxy.requests)]
            proxy.reset()
            with (ground.logs / f"hostile-{tally.module}.jsonl").open("a", encoding="utf-8") as log:
                log.writelines(json.dumps(line) + "\n" for line in lines if line["wrong"])
