# SPDX-License-Identifier: GPL-3.0-or-later
"""image_pruner's judge against the recordings of the genuine operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Done,
    Failed,
    History,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner import judge as _judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.goal import (
    PrunerGoal,
    PrunerNeed,
    PrunerSnapshot,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import expected_cronjob
from tests.unit._parts.pruner.situations import pruner

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"


def _kubernetes(line: dict[str, Any]) -> dict[str, Any]:
    """A recorded ImagePruner in the shape the API server sends."""
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": message}
        for kind, status, reason, message in line["status"]["conditions"]
    ]
    return {
        "metadata": {"generation": line["generation"]},
        "spec": line["spec"],
        "status": {"observedGeneration": line["status"]["observedGeneration"], "conditions": conditions},
    }


def _cronjob(line: dict[str, Any]) -> dict[str, Any]:
    containers = [{"name": "image-pruner", "args": line["args"]}]
    return {
        "spec": {
            "schedule": line["schedule"],
            "suspend": line["suspend"],
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": {"template": {"spec": {"containers": containers}}}},
        }
    }


def test_the_recording_of_five_changes() -> None:
    """Each change is done once the CronJob has it, and not earlier; the bad schedule fails within seconds."""
    lines = [json.loads(line) for line in (TRACES / "pruner.jsonl").read_text().splitlines()]
    state: dict[str, Any] = {}
    verdicts: list[tuple[float, Verdict]] = []
    goal: PrunerGoal | None = None
    history = History()
    began = 0.0
    for number, line in enumerate(lines):
        if line["kind"] == "ImagePruner":
            state["pruner"] = _kubernetes(line)
        elif line["kind"] == "CronJob":
            state["cronjob"] = _cronjob(line)
        elif line["kind"] == "Action" and "patch ImagePruner " in line["do"]:
            patch = json.loads(line["do"].split("patch ImagePruner ", 1)[1])["spec"]
            goal = PrunerGoal(patch, state["pruner"]["metadata"]["generation"] + 1, ALAUDA, changed=True)
            history, began = History(), line["t"]
            verdicts.append((began, Waiting("not judged yet")))
        if goal is None:
            continue
        # Judge at every line, and every half second until the next one.
        until = lines[number + 1]["t"] if number + 1 < len(lines) else line["t"] + 10
        now = line["t"]
        while now < until:
            verdict, history = _judge.judge(goal, PrunerSnapshot(at=now, **state), history)
            if isinstance(verdicts[-1][1], Waiting) and not isinstance(verdict, Waiting):
                verdicts[-1] = (now - began, verdict)
                if isinstance(verdict, Done):
                    wanted = expected_cronjob(state["pruner"]["spec"])
                    shown = state["cronjob"]["spec"]
                    args = shown["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
                    assert (shown["schedule"], shown["suspend"]) == (wanted.schedule, wanted.suspend)
                    assert set(wanted.arguments) <= set(args)
            now += 0.5
    assert [type(verdict) for _took, verdict in verdicts] == [Done, Done, Done, Failed, Done]
    assert all(took < (10 if isinstance(verdict, Failed) else 1) for took, verdict in verdicts)
    failed = verdicts[3][1]
    assert isinstance(failed, Failed)
    assert failed.reason == "SyncError"
    assert "step of range should be a positive number" in failed.quoted


def test_a_failed_job_is_reported_but_not_blamed_on_this_change() -> None:
    """Failed and Degraded=JobFailed stay until a newer job succeeds; its log is requested once."""
    live = pruner({})
    live["status"] = {
        "observedGeneration": 3,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "AsExpected"},
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached …"},
            {"type": "Degraded", "status": "True", "reason": "JobFailed"},
        ],
    }
    cronjob = _cronjob({"schedule": "0 0 * * *", "suspend": False, "args": expected_cronjob({}).arguments})
    snapshot = PrunerSnapshot(at=0.0, pruner=live, cronjob=cronjob)
    verdict, history = _judge.judge(PrunerGoal({}, 3, ALAUDA), snapshot, History())
    assert isinstance(verdict, Waiting)
    assert verdict.needs == {PrunerNeed.LOG}
    verdict, _history = _judge.judge(
        PrunerGoal({}, 3, ALAUDA), PrunerSnapshot(at=1.0, pruner=live, cronjob=cronjob, log=()), history
    )
    assert isinstance(verdict, Done)
    assert "BackoffLimitExceeded" in verdict.warnings[0]


@pytest.mark.parametrize(("changed", "seconds"), [(False, _judge.EDITED_SECONDS), (True, _judge.UNWRITTEN_SECONDS)])
def test_a_cronjob_that_was_edited_fails_soon_with_a_remedy_that_heals(changed: bool, seconds: float) -> None:
    """The operator has looked at this spec and rewrites nothing (operator fact 5.5), so waiting longer does not help.

    After a change of the spec it may be repeating a write, so that takes longer.
    """
    live = {**pruner({}), "status": {"observedGeneration": 3, "conditions": []}}
    cronjob = _cronjob({"schedule": "1 1 * * *", "suspend": False, "args": expected_cronjob({}).arguments})
    goal = PrunerGoal({}, 3, ALAUDA, changed=changed)
    history, verdicts = History(), []
    for at in (0.0, seconds - 0.1, seconds):
        verdict, history = _judge.judge(goal, PrunerSnapshot(at=at, pruner=live, cronjob=cronjob), history)
        verdicts.append(verdict)
    assert [type(verdict) for verdict in verdicts] == [Waiting, Waiting, Failed]
    failed = verdicts[-1]
    assert isinstance(failed, Failed)
    assert "schedule '1 1 * * *' instead of '0 0 * * *'" in failed.quoted
    assert "kubectl -n image-registry-system delete cronjob image-pruner" in failed.remedy
    assert ("could not write" in failed.cause) is changed


def test_an_author_other_than_the_operator_is_named() -> None:
    """The operator is known by what writes ImagePruner's status."""
    author = {"manager": "the-operator", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}
    live = pruner({})
    live["metadata"]["managedFields"] = [author]
    live["status"] = {"observedGeneration": 3, "conditions": []}
    cronjob = _cronjob({"schedule": "0 0 * * *", "suspend": False, "args": expected_cronjob({}).arguments})
    fields: dict[str, Any] = {"f:spec": {"f:jobTemplate": {"f:spec": {"f:backoffLimit": {}}}}}
    managed = [{"manager": name, "fieldsV1": fields} for name in ("the-operator", "kubectl-edit")]
    cronjob["metadata"] = {"managedFields": managed}
    verdict, _history = _judge.judge(
        PrunerGoal({}, 3, ALAUDA), PrunerSnapshot(at=0.0, pruner=live, cronjob=cronjob), History()
    )
    assert verdict == Waiting("the CronJob still has backoffLimit written by kubectl-edit")
    cronjob["metadata"] = {"managedFields": managed[:1]}
    verdict, _history = _judge.judge(
        PrunerGoal({}, 3, ALAUDA), PrunerSnapshot(at=0.0, pruner=live, cronjob=cronjob), History()
    )
    assert isinstance(verdict, Done)


def test_an_imagepruner_that_was_made_again_counts_anew() -> None:
    """Its generation is below that of our write; whether it has our values decides."""
    goal = PrunerGoal({"schedule": "1 1 * * *"}, 7, ALAUDA, uid="first")
    history = History()
    for uid, schedule, kind in (
        ("first", "1 1 * * *", Waiting),
        ("second", "1 1 * * *", Done),
        ("second", "", Failed),
    ):
        live = pruner({"schedule": schedule})
        live["metadata"] = {"generation": 1, "uid": uid}
        live["status"] = {"observedGeneration": 1}
        line = {"schedule": schedule or "0 0 * * *", "suspend": False, "args": expected_cronjob(live["spec"]).arguments}
        for at in (0.0, 10.0):
            verdict, history = _judge.judge(goal, PrunerSnapshot(at=at, pruner=live, cronjob=_cronjob(line)), history)
        assert isinstance(verdict, kind), verdict
    assert isinstance(verdict, Failed)
    assert "recreated without it" in verdict.cause
