# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables that tests register, printed after the last test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

REPORTS = pytest.StashKey[dict[str, Callable[[], str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(REPORTS, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, table in config.stash[REPORTS].items():
        terminalreporter.section(title)
        terminalreporter.write_line(table())
