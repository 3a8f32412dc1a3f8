# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recording of the genuine operator, change by change: never done early, done at once, failed in time."""

from __future__ import annotations

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import Done, Failed, History, Waiting
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.judge import NO_ROLLOUT, judge
from tests.unit._parts.storage.trace_table import markdown
from tests.unit._parts.storage.traces import TICK, Run, replay, runs, states, trace_names, truth

RUNS = [run for trace in trace_names() for run in runs(trace)]
FAILS_WITHIN = 10.0
STAYS = 5.0
"""An error that stays this long counts as stable."""


def _label(run: Run) -> str:
    return f"{run.trace}-{run.start:.1f}"


@pytest.mark.parametrize("run", RUNS, ids=_label)
def test_verdicts_match_what_was_true(run: Run) -> None:
    outcome, facts = replay(run), truth(run)
    stable_error = facts.named_at is not None and run.end - facts.named_at >= STAYS
    if facts.true_at is not None and not stable_error:
        assert isinstance(outcome.verdict, Done), outcome
        assert facts.true_at <= outcome.at <= facts.true_at + NO_ROLLOUT + TICK
    elif stable_error:
        assert isinstance(outcome.verdict, Failed), outcome
        assert facts.named_at is not None
        assert facts.named_at <= outcome.at <= facts.named_at + FAILS_WITHIN
        assert outcome.verdict.quoted
        assert outcome.verdict.cause
        assert outcome.verdict.remedy
    else:
        assert isinstance(outcome.verdict, Waiting), outcome


@pytest.mark.parametrize("run", RUNS, ids=_label)
def test_no_single_judgement_is_done_too_early(run: Run) -> None:
    """A judgement without memory, as a second task would make it, is not too early either."""
    facts = truth(run)
    for snapshot in states(run):
        verdict, _history = judge(run.goal, snapshot, History())
        if isinstance(verdict, Done):
            assert facts.true_at is not None
            early = facts.true_at - snapshot.at
            # A first judgement between the operator's two writes cannot know better (0.1 s in the recordings).
            assert early <= 0 or (early > 0 and _between_two_writes(run, snapshot.at)), (early, snapshot)


def _between_two_writes(run: Run, at: float) -> bool:
    return any(0 < snapshot.at - at <= 0.15 and snapshot.deployment != _at(run, at) for snapshot in states(run))


def _at(run: Run, at: float) -> object:
    return [snapshot.deployment for snapshot in states(run) if snapshot.at <= at][-1]


@pytest.mark.parametrize(
    ("trace", "reason", "words"),
    [
        ("no-backend", "StorageNotConfigured", "names no backend"),
        ("pods-never-ready", "ProgressDeadlineExceeded", "did not become ready"),
        ("pvc-missing-then-created", "PVC Issues Found", "The claim image-registry does not exist"),
        ("pvc-rwo-rolling-rejected", "PVC Issues Found", "ReadWriteOnce"),
        ("replicas-negative", "VerificationFailed", "negative"),
        ("s3-endpoint-refused", "Error", "cannot be reached"),
        ("s3-private-ca-not-given", "Error", "not trusted"),
        ("s3-secret-key-misspelt", "Error", "has no key REGISTRY_STORAGE_S3_ACCESSKEY"),
        ("s3-secret-missing", "Error", "no S3 credentials"),
        ("s3-trusted-ca-missing", "Error", "ConfigMap absent"),
        ("s3-trusted-ca-wrong-key", "Error", "no key ca-bundle.crt"),
        ("s3-wrong-access-key", "InvalidAccessKeyId", "does not know the access key"),
        ("s3-wrong-secret-key", "SignatureDoesNotMatch", "does not belong to the access key"),
        ("two-backends", "Error", "more than one backend at once (EmptyDir PVC)"),
    ],
)
def test_failures_name_the_cause(trace: str, reason: str, words: str) -> None:
    verdict = next(outcome.verdict for run in runs(trace) if isinstance((outcome := replay(run)).verdict, Failed))
    assert isinstance(verdict, Failed)
    assert verdict.reason == reason
    assert words in verdict.cause
    assert "request id" not in verdict.quoted


def test_the_table_lists_every_run() -> None:
    assert len(markdown().splitlines()) == len(RUNS) + 2
    assert len({run.trace for run in RUNS}) == len(trace_names()) >= 30
