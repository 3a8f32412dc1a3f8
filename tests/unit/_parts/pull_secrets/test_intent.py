# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the parameters of registry_pullsecret alone."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import (
    host_problem,
    parse_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA


@pytest.mark.parametrize(
    "host",
    ["registry.example.com", "registry.example.com:8443", "localhost:5000", "10.0.0.1", "[fd00::1]:443", "[::1]"],
)
def test_good_hosts(host: str) -> None:
    """HOST or HOST:PORT."""
    assert host_problem(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://r.example.com",
        "r.example.com/team",
        "r.example.com:",
        "r.example.com:0",
        "r:70000",
        "r:" + "1" * 5001,
        "r:x",
        "-r.example",
        "a b",
        "user@r",
        "fd00::1",
        "[fd00::1",
        "[zz]:1",
        "r..example",
    ],
)
def test_bad_hosts(host: str) -> None:
    """No scheme, no path, a port that exists."""
    assert host_problem(host)


def test_a_name_that_ends_with_a_line_break_is_not_a_name() -> None:
    """A common mistake with values read from files; no namespace would ever match."""
    problems = parse_intent({"list_mode": "replace", "ignored_namespaces": ["team-a\n", "team-b"]}, ALAUDA).problems
    assert len(problems) == 1
    assert "team-a" in problems[0]
