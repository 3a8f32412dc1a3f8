# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints when the judge reached its verdict on every recorded change, and when it became true.

Run it with ``PYTHONPATH=.:tests/collections python -m tests.unit._parts.storage.trace_table``.
"""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, Failed
from tests.unit._parts.storage.traces import replay, runs, trace_names, truth


def rows() -> list[tuple[str, str, str, str, str, str]]:
    """(recording, change, verdict, given at, became true at or error named at, seconds between) of every run."""
    table = []
    for trace in trace_names():
        for run in runs(trace):
            outcome, facts = replay(run), truth(run)
            if isinstance(outcome.verdict, Done):
                kind, since = "Done", facts.true_at
            elif isinstance(outcome.verdict, Failed):
                kind, since = f"Failed: {outcome.verdict.reason}", facts.named_at
            else:
                kind, since = "Waiting", None
            after = f"{outcome.at - since:+.2f}" if since is not None else "-"
            moment = f"{outcome.at:.2f}" if kind != "Waiting" else "-"
            table.append(
                (trace, _brief(run.action), kind, moment, f"{since:.2f}" if since is not None else "never", after)
            )
    return table


def _brief(action: str, limit: int = 60) -> str:
    return action if len(action) <= limit else f"{action[: limit - 1]}…"


def markdown() -> str:
    """The table as Markdown."""
    head = ("recording", "change", "verdict", "given at (s)", "true / named at (s)", "after (s)")
    lines = [head, tuple("-" * len(title) for title in head), *rows()]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown())
