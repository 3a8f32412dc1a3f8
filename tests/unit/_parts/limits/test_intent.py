# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the parameters of image_limits alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    parse_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.limits.situations import PAGE


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"quota": {"images": "many"}}, "alauda.io/images"),
        ({"image": {"storage": "-1Gi"}}, "below zero"),
        ({"quota": None, "image": None, "image_stream": None}, "Nothing to set"),
        ({"namespaces": ["Team_A"]}, "not a name of a namespace"),
        ({"namespace_selector": "a=b"}, "either namespaces or namespace_selector"),
        ({"namespaces": None}, "either namespaces or namespace_selector"),
        ({"quota_name": "No!"}, "quota_name"),
    ],
)
def test_refused(params: dict[str, Any], expected: str) -> None:
    """Found before anything is read."""
    problems = parse_intent({**PAGE, **params}, ALAUDA).problems
    assert len(problems) == 1
    assert expected in problems[0]


def test_a_name_that_ends_with_a_line_break_is_not_a_name() -> None:
    """A common mistake with values read from files; the API server would not find such a namespace."""
    problems = parse_intent({**PAGE, "namespaces": ["team-a\n"], "limits_name": "x\n"}, ALAUDA).problems
    assert [problem.partition(":")[0] for problem in problems] == ["namespaces", "limits_name"]
