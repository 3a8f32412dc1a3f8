# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of every module: read, refuse, dry run, write, observe, judge, report.

All requests happen here, in ``_client`` and in ``_observe``; what to read and what to write is decided by a part's pure
functions (``needs`` and ``plan``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.alauda.image_registry.plugins.module_utils._model import (
    JSON,
    UNSEEN,
    Done,
    Failed,
    History,
    Seen,
    Snapshot,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._observe import Outcome, Progress, Watcher, wait
from ansible_collections.alauda.image_registry.plugins.module_utils._plan import (
    Denied,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._platform import Platform

REPLANS = 3
"""How often a lost race (409) is answered by reading and planning again."""


@dataclass(frozen=True)
class Part:
    """One module's share of the flow.

    needs: what to read next. plan: the decision. watcher: how the effect is observed, once it is known which generation
    of the main object carries the wish. first: the readings as a Snapshot. main: label of the object that is returned.
    events: fetches lines that explain a timeout.
    """

    needs: Callable[[Readings], list[Ref]]
    plan: Callable[[Readings], Plan]
    watcher: Callable[[Plan, int], Watcher]
    first: Callable[[Readings, float], Snapshot]
    main: str
    main_path: str
    events: Callable[[Plan], list[str]] = lambda plan: []


@dataclass(frozen=True)
class Options:
    """What the task says about the run itself. wait_timeout: seconds."""

    check_mode: bool
    wait: bool
    wait_timeout: float
    progress: Progress | None = None


@dataclass
class Result:
    """What the task reports. failure: text for a failed task, or None."""

    changed: bool = False
    failure: str | None = None
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    """Nothing was written. The text lists every finding."""


def reconcile(client: Client, platform: Platform, part: Part, options: Options) -> Result:
    """Bring the cluster to the plan's goal and prove it; see the module's documentation for the result's values.

    Raises Refused, ApiError or ClientError before anything has been written; later failures come as Result.failure.
    """
    for attempt in range(REPLANS):
        seen = read(client, platform, part.needs)
        plan = part.plan(seen)
        if plan.findings:
            raise Refused(_findings_text(plan.findings))
        try:
            predicted = _write_all(client, plan.writes, dry_run=True)
            break
        except ApiError as error:
            if error.status != 409 or attempt == REPLANS - 1:
                raise Refused(_refused_by_server(error)) from None
    result = Result(changed=bool(plan.writes), warnings=list(plan.warnings))
    result.values.update(
        diff={"before": _side(plan.writes, "before"), "after": _side(plan.writes, "after")},
        patch=next((dict(write.body) for write in plan.writes if write.path == part.main_path), {}),
        written=[{"kind": write.kind, "name": write.name, "verb": write.verb} for write in plan.writes],
        left_behind=list(plan.left_behind),
    )
    before = seen[part.main]
    main: JSON = before if isinstance(before, Mapping) else {}
    if options.check_mode:
        result.values[part.main] = public(predicted.get(part.main_path, main))
        result.values["verification"] = _not_verified("check mode: nothing was written, nothing was verified")
        return result
    answers, failure = _write_for_real(client, plan.writes)
    main = answers.get(part.main_path, main)
    result.values[part.main] = public(main)
    if failure:
        result.failure = failure
        result.changed = bool(answers)
        result.values["verification"] = _not_verified("not reached")
        return result
    if not options.wait or not plan.verify:
        why = (
            "wait is false: the values were stored, nothing was verified"
            if not options.wait
            else "the operator is told not to act (management_state), so there is no effect to verify"
        )
        result.values["verification"] = _not_verified(why)
        return result
    outcome = verify(client, part, plan, {**seen, part.main: main}, options)
    last = getattr(outcome.snapshot, part.main)
    if isinstance(last, Mapping):
        result.values[part.main] = public(last)
    events = part.events(plan) if outcome.timed_out else []
    result.values["verification"] = report(outcome, events)
    if isinstance(outcome.verdict, Done):
        result.warnings += outcome.verdict.warnings
    else:
        result.failure = _failure_text(outcome, result.changed, events)
    return result


# -- reading and writing ---------------------------------------------------------------------------------------------


def read(client: Client, platform: Platform, needs: Callable[[Readings], list[Ref]]) -> dict[str, Reading]:
    """Read what the part asks for, round by round. Raises Refused when the operator is not installed."""
    seen: dict[str, Reading] = {}
    while True:
        refs = needs(seen)
        if not refs:
            return seen
        for ref in refs:
            seen[ref.label] = _read_one(client, platform, ref)


def _read_one(client: Client, platform: Platform, ref: Ref) -> Reading:
    try:
        if ref.collection:
            return tuple(client.list(ref.path)[0])
        return client.get(ref.path)
    except ApiError as error:
        if error.kind_missing and ref.path.startswith(f"/apis/{platform.group}/"):
            raise Refused(
                f"The cluster {client.host} has no resource {ref.path.split('/')[-2]}.{platform.group}: the "
                "registry operator "
                "is not installed there (or this is the wrong cluster). Install Registry v2 first; see its "
                "Prerequisites."
            ) from None
        if error.status == 403 and not ref.required:
            return Denied(error.message)
        raise


def _send(client: Client, write: Write, dry_run: bool) -> JSON:
    if write.verb == "create":
        return client.create(write.path, write.body, dry_run=dry_run)
    return client.patch(write.path, write.body, dry_run=dry_run)


def _write_all(client: Client, writes: tuple[Write, ...], *, dry_run: bool) -> dict[str, JSON]:
    """Answers by path. Every write is tried as a dry run first, so that a refusal never leaves half of them done."""
    return {write.path: _send(client, write, dry_run) for write in writes}


def _write_for_real(client: Client, writes: tuple[Write, ...]) -> tuple[dict[str, JSON], str | None]:
    """Answers by path and, when one failed after all, what was and what was not written."""
    answers: dict[str, JSON] = {}
    done: list[str] = []
    for write in writes:
        try:
            answers[write.path] = _send(client, write, dry_run=False)
        except (ApiError, ClientError) as error:
            before = f"Already written: {', '.join(done)}. " if done else "Nothing had been written before. "
            return (
                answers,
                (
                    f"Writing {write.kind}/{write.name} failed: {error} {before}Run the task again: it continues from "
                    "there."
                ),
            )
        done.append(f"{write.kind}/{write.name}")
    return answers, None


# -- verifying -------------------------------------------------------------------------------------------------------


def verify(client: Client, part: Part, plan: Plan, seen: Readings, options: Options) -> Outcome:
    """One look at what was just read (enough when nothing had to change), else watch until it is decided."""
    started = time.monotonic()
    snapshot = part.first(seen, started)
    main = seen[part.main]
    generation = int((main.get("metadata") or {}).get("generation") or 0) if isinstance(main, Mapping) else 0
    watcher = part.watcher(plan, generation)
    history = History()
    if not plan.writes:
        verdict, history = watcher.judge(snapshot, history)
        if isinstance(verdict, Waiting) and verdict.needs:
            snapshot = watcher.gather(client, snapshot, verdict.needs)
            verdict, history = watcher.judge(snapshot, history)
        if isinstance(verdict, (Done, Failed)):
            seconds = time.monotonic() - started
            return Outcome(verdict, snapshot, seconds, timeline=[(round(seconds, 1), _text(verdict))])
    return wait(
        client,
        watcher,
        first=snapshot,
        history=history,
        timeout=options.wait_timeout,
        progress=options.progress,
    )


def seen_object(reading: Reading) -> Seen:
    """A reading as the judge wants it: what we may not read is unseen."""
    return UNSEEN if isinstance(reading, (Denied, tuple)) else reading


def _text(verdict: Verdict) -> str:
    if isinstance(verdict, Done):
        return verdict.summary
    return verdict.why if isinstance(verdict, Waiting) else verdict.cause


# -- reporting -------------------------------------------------------------------------------------------------------


def public(config: JSON) -> dict[str, Any]:
    """The object without what is secret (spec.httpSecret) or only noise (managedFields)."""
    spec = {key: value for key, value in (config.get("spec") or {}).items() if key != "httpSecret"}
    meta = config.get("metadata") or {}
    return {
        "apiVersion": config.get("apiVersion"),
        "kind": config.get("kind"),
        "metadata": {key: meta[key] for key in ("name", "generation", "resourceVersion", "uid") if key in meta},
        "spec": spec,
        "status": dict(config.get("status") or {}),
    }


def _side(writes: tuple[Write, ...], side: str) -> dict[str, Any]:
    return {f"{write.kind}/{write.name}": getattr(write, side) for write in writes}


def _not_verified(why: str) -> dict[str, Any]:
    return {"verdict": "not verified", "summary": why, "seconds": 0.0, "timeline": []}


def report(outcome: Outcome, events: Sequence[str] = ()) -> dict[str, Any]:
    """The verification as the task returns it."""
    snapshot, verdict = outcome.snapshot, outcome.verdict
    config = snapshot.config if isinstance(snapshot.config, Mapping) else {}
    status = config.get("status") or {}
    deployment = snapshot.deployment if isinstance(snapshot.deployment, Mapping) else {}
    values: dict[str, Any] = {
        "verdict": "done" if isinstance(verdict, Done) else "failed",
        "summary": _text(verdict),
        "seconds": round(outcome.seconds, 2),
        "conditions": {
            item.get("type"): {key: item[key] for key in ("status", "reason", "message") if key in item}
            for item in status.get("conditions") or []
        },
        "observed_generation": status.get("observedGeneration"),
        "rollout": {
            "generation": (deployment.get("metadata") or {}).get("generation"),
            "observed_generation": (deployment.get("status") or {}).get("observedGeneration"),
            "replicas": (deployment.get("spec") or {}).get("replicas"),
            "updated": (deployment.get("status") or {}).get("updatedReplicas", 0),
            "available": (deployment.get("status") or {}).get("availableReplicas", 0),
        },
        "probes": [
            {"via": probe.via, "answer": probe.answer.value, "status": probe.status, "detail": probe.detail}
            for probe in (snapshot.probes if isinstance(snapshot.probes, tuple) else ())
        ],
        "log": [
            {"pod": finding.pod, "kind": finding.kind, "line": finding.line}
            for finding in (snapshot.log if isinstance(snapshot.log, tuple) else ())
        ],
        "timeline": [{"seconds": seconds, "state": text} for seconds, text in outcome.timeline],
    }
    if isinstance(verdict, Failed):
        values.update(reason=verdict.reason, quoted=verdict.quoted, remedy=verdict.remedy)
    elif outcome.timed_out:
        values.update(reason="Timeout", quoted=_last_words(outcome), events=list(events))
    return values


def _last_words(outcome: Outcome) -> str:
    """What the operator says at the end of a wait that ran out of time."""
    config = outcome.snapshot.config if isinstance(outcome.snapshot.config, Mapping) else {}
    words = []
    for item in (config.get("status") or {}).get("conditions") or []:
        if item.get("type") in ("Available", "Progressing", "Degraded"):
            text = f"{item.get('type')}={item.get('status')}"
            if item.get("reason"):
                text += f" {item['reason']}"
            if item.get("message"):
                text += f": {item['message']}"
            words.append(text)
    return "; ".join(words)


def _failure_text(outcome: Outcome, changed: bool, events: Sequence[str]) -> str:
    verdict = outcome.verdict
    begin = (
        "The change was stored, but it did not take effect"
        if changed
        else "Nothing had to be changed, but what was asked for does not work"
    )
    if isinstance(verdict, Failed):
        text = f"{begin}: {verdict.cause}"
        if verdict.quoted and verdict.quoted not in verdict.cause:
            text += f" [{verdict.reason}: {verdict.quoted}]" if verdict.reason else f" [{verdict.quoted}]"
        return f"{text} What to do: {verdict.remedy}"
    text = f"{begin} within {outcome.seconds:.0f} s: {_text(verdict)}."
    words = _last_words(outcome)
    if words:
        text += f" The operator says: {words}."
    if events:
        text += f" Events: {' | '.join(events)}."
    return text + " What to do: look at what is missing above; if it only needs longer, raise wait_timeout."


def _findings_text(findings: tuple[str, ...]) -> str:
    if len(findings) == 1:
        return f"Nothing was written. {findings[0]}"
    return "Nothing was written. " + " ".join(f"({number}) {text}" for number, text in enumerate(findings, 1))


def _refused_by_server(error: ApiError) -> str:
    hint = ""
    if "unknown field" in error.message:
        hint = (
            " The CustomResourceDefinition on this cluster does not know the field: this operator version does "
            "not support it."
        )
    return f"Nothing was written: the API server refused the change in a dry run. {error}{hint}"
