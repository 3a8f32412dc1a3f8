# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to Ansible: what a task may be given, and what reaches a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils import _run
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import Options, Result
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client, ClientError

ATTACK = "\x1b[2J\r\nok: [localhost]"
SHOWN = r"\x1b[2J\r\nok: [localhost]"


class Ended:
    """A module that keeps what it ends with."""

    check_mode = False

    def __init__(self, **params: Any) -> None:
        self.params = {
            "wait": True,
            "wait_timeout": 5,
            "platform": "alauda",
            "host": "http://h",
            "api_key": "x",
            **params,
        }
        self.no_log_values: set[str] = set()
        self.warnings: list[str] = []
        self.result: dict[str, Any] = {}

    def exit_json(self, **values: Any) -> None:
        """As Ansible's."""
        self.result = values

    def fail_json(self, msg: str, **values: Any) -> None:
        """As Ansible's."""
        self.result = {"failed": True, "msg": msg, **values}

    def warn(self, warning: str) -> None:
        """As Ansible's."""
        self.warnings.append(warning)


@pytest.mark.parametrize("seconds", [10**400, -1, -(10**400), 10**7 + 1])
def test_a_wait_of_any_length_is_a_number_or_a_sentence(seconds: int) -> None:
    def work(_client: Client, _platform: Any, _options: Options) -> Result:
        raise AssertionError("not reached")

    module = Ended(wait_timeout=seconds)
    _run.run(module, work)
    assert module.result["msg"].startswith("wait_timeout: ")
    assert len(module.result["msg"]) < 100


def test_nothing_of_a_result_is_obeyed_by_a_terminal() -> None:
    def work(_client: Client, _platform: Any, options: Options) -> Result:
        assert options.progress is not None
        options.progress(1.0, ATTACK)
        return Result(failure=ATTACK, warnings=[ATTACK], values={"config": {ATTACK: [ATTACK]}})

    module, lines = Ended(), []
    with _run.progress_to(lambda _seconds, text: lines.append(text)):
        _run.run(module, work)
    assert (module.result["msg"], module.warnings, lines) == (SHOWN, [SHOWN], [SHOWN])
    assert "\x1b" not in str(module.result["config"])
    assert "\r" not in "".join(module.result["config"])


def test_nothing_of_an_error_is_obeyed_by_a_terminal() -> None:
    def work(_client: Client, _platform: Any, _options: Options) -> Result:
        raise ClientError(ATTACK)

    module = Ended()
    _run.run(module, work)
    assert module.result == {"failed": True, "msg": SHOWN, "changed": False}
