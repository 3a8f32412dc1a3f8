# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of every module: read, refuse, dry run, write, observe, judge, report.

All requests happen here, in ``_client`` and in ``_observe``; what to read and what to write is decided by a part's pure
functions (``needs`` and ``plan``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import (
    JSON,
    UNSEEN,
    Done,
    Failed,
    History,
    Seen,
    Snapshot,
    Verdict,
    Waiting,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import (
    Outcome,
    Progress,
    Watcher,
    sentence,
    told,
    wait,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import (
    Denied,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import redact
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

REPLANS = 40
"""How often a lost race (409) is answered by reading and planning again: enough for 20 writers of one list."""


@dataclass(frozen=True)
class Part:
    """One module's share of the flow.

    needs: what to read next. plan: the decision. watcher: how the effect is observed; its plan's goal says which
    generation of the main object carries the wish. first: the readings as a Snapshot. main: label of the object that
    is returned. events: fetches lines that explain a timeout. confirm: after a change that worked, read and plan once
    more, since somebody may have written in the meantime to an object that no watch follows.
    """

    needs: Callable[[Readings], list[Ref]]
    plan: Callable[[Readings], Plan]
    watcher: Callable[[Plan], Watcher]
    first: Callable[[Readings, float], Snapshot]
    main: str
    main_path: str
    events: Callable[[Plan], list[str]] = lambda plan: []
    confirm: bool = False


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


@dataclass(frozen=True)
class WriteFailure:
    """A write that failed although its dry run did not. status: HTTP code, 0 without an answer."""

    what: str
    status: int
    text: str


class Refused(Exception):
    """Nothing was written. The text lists every finding."""


def reconcile(client: Client, platform: Platform, part: Part, options: Options) -> Result:
    """Bring the cluster to the plan's goal and prove it; see the module's documentation for the result's values.

    Raises Refused, ApiError or ClientError before anything has been written; later failures come as Result.failure.
    """
    seen, plan, answers, failure = _settle(client, platform, part, options)
    result = Result(changed=bool(plan.writes), failure=failure, warnings=list(plan.warnings))
    before = seen[part.main]
    main: JSON = answers.get(part.main_path, before if isinstance(before, Mapping) else {})
    result.values.update(
        diff={"before": _side(plan.writes, "before"), "after": _side(plan.writes, "after")},
        patch=next((dict(write.body) for write in plan.writes if write.path == part.main_path), {}),
        written=[{"kind": write.kind, "name": write.name, "verb": write.verb} for write in plan.writes],
        left_behind=list(plan.left_behind),
        **plan.values,
    )
    result.values[part.main] = public(main)
    if failure is not None:
        result.changed = bool(answers)
        why = "not reached"
    elif options.check_mode:
        why = "check mode: nothing was written, nothing was verified"
    elif not options.wait:
        why = "wait is false: the values were stored, nothing was verified"
    elif not plan.verify:
        why = "the operator is told not to act (management_state), so there is no effect to verify"
    else:
        seen |= {write.label: answers[write.path] for write in plan.writes if write.label}
        _prove(client, platform, part, plan, {**seen, part.main: main}, options, result)
        return result
    result.values["verification"] = not_verified(why)
    return result


def _settle(
    client: Client, platform: Platform, part: Part, options: Options
) -> tuple[dict[str, Reading], Plan, dict[str, JSON], str | None]:
    """Read, refuse, dry run and (unless in check mode) write; a lost race starts again from reading.

    Returns what was read, the plan, the API server's answers by path and the text of a failure half way.
    """
    for attempt in range(REPLANS):
        seen = read(client, platform, part.needs)
        plan = part.plan(seen)
        if plan.findings:
            raise Refused(_findings_text(plan.findings))
        plan = _checked(client, plan)
        try:
            answers = {write.path: send(client, write, dry_run=True) for write in plan.writes}
            if options.check_mode:
                return seen, plan, answers, None
        except ApiError as error:
            if error.status != 409 or attempt == REPLANS - 1:
                raise Refused(_refused_by_server(error)) from None
        else:
            answers, failure = _write_all(client, plan.writes)
            if failure is None or answers or failure.status != 409 or attempt == REPLANS - 1:
                return seen, plan, answers, _half_way(plan.writes, answers, failure)
        time.sleep(random.uniform(0.0, min(0.05 * 2**attempt, 1.0)))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _prove(
    client: Client, platform: Platform, part: Part, plan: Plan, seen: Readings, options: Options, result: Result
) -> None:
    """Verify the effect and put the outcome into the result."""
    main = seen[part.main]
    generation = int((main.get("metadata") or {}).get("generation") or 0) if isinstance(main, Mapping) else 0
    goal = replace(plan.goal, min_generation=max(plan.goal.min_generation, generation))
    watcher = part.watcher(replace(plan, goal=goal))
    outcome = verify(client, watcher, part.first(seen, time.monotonic()), bool(plan.writes), options)
    if part.confirm and plan.writes and isinstance(outcome.verdict, Done):
        outcome.verdict = _confirmed(client, platform, part, outcome.verdict, result.warnings)
    last = getattr(outcome.snapshot, part.main)
    shown: JSON = last if isinstance(last, Mapping) else {}
    if shown:
        result.values[part.main] = public(shown)
    events = part.events(plan) if outcome.timed_out else []
    result.values["verification"] = report(outcome, shown, watcher.report(outcome.snapshot), events)
    if isinstance(outcome.verdict, Done):
        result.warnings += outcome.verdict.warnings
    else:
        result.failure = _failure_text(outcome, shown, result.changed, events)


def _confirmed(client: Client, platform: Platform, part: Part, done: Done, told: Sequence[str]) -> Verdict:
    """What works is still what was asked for: planning once more must find nothing to write. told: known warnings."""
    try:
        again = part.plan(read(client, platform, part.needs))
    except (Refused, ApiError, ClientError) as error:
        if isinstance(error, ApiError) and error.status == 401:
            return unauthorized(str(error), f"Whether it is as asked for cannot be observed any more: {error}")
        return replace(done, warnings=(*done.warnings, f"Could not look again at what was written: {error}"))
    changed = [f"{write.kind}/{write.name}" for write in again.writes]
    if not changed and not again.findings:
        return replace(done, warnings=(*done.warnings, *(text for text in again.warnings if text not in told)))
    return Failed(
        "ChangedAgain",
        "; ".join([*again.findings, *(f"{name} differs from what was asked" for name in changed)]),
        "It took effect, but somebody has changed it since.",
        "Find the other writer (another playbook, GitOps, a person), then run the task again.",
    )


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


def send(client: Client, write: Write, dry_run: bool) -> JSON:
    """Do one write. The answer is the object as it is now, nothing for a delete."""
    if write.verb == "create":
        return client.create(write.path, write.body, dry_run=dry_run)
    if write.verb == "delete":
        client.delete(write.path, dry_run=dry_run, resource_version=str(write.body["resourceVersion"] or ""))
        return {}
    return client.patch(write.path, write.body, dry_run=dry_run)


def _checked(client: Client, plan: Plan) -> Plan:
    """The plan after the API server itself has judged what only it can judge; never writes. Raises Refused."""
    warnings = list(plan.warnings)
    for check in plan.checks:
        try:
            send(client, check, dry_run=True)
        except ApiError as error:
            if error.status == 403:
                warnings.append(f"Could not have the {check.kind} {check.name!r} checked: {error.message}")
                continue
            why = "; ".join(error.causes) or error.message
            raise Refused(f"Nothing was written. The {check.kind} {check.name!r} is not valid: {why}") from None
    return replace(plan, warnings=tuple(warnings))


def _write_all(client: Client, writes: tuple[Write, ...]) -> tuple[dict[str, JSON], WriteFailure | None]:
    """Answers by path, and the failure that ended it. All were accepted as dry runs, so this is rare."""
    answers: dict[str, JSON] = {}
    for write in writes:
        try:
            answers[write.path] = send(client, write, dry_run=False)
        except (ApiError, ClientError) as error:
            status = error.status if isinstance(error, ApiError) else 0
            return answers, WriteFailure(f"{write.kind}/{write.name}", status, str(error))
    return answers, None


def _half_way(writes: tuple[Write, ...], answers: Mapping[str, JSON], failure: WriteFailure | None) -> str | None:
    if failure is None:
        return None
    done = ", ".join(f"{write.kind}/{write.name}" for write in writes if write.path in answers)
    before = f"Already written: {done}." if done else "Nothing had been written before."
    return f"Writing {failure.what} failed: {failure.text} {before} Run the task again: it continues from there."


# -- verifying -------------------------------------------------------------------------------------------------------


def verify(client: Client, watcher: Watcher, snapshot: Snapshot, changed: bool, options: Options) -> Outcome:
    """One look at what was just read (enough when nothing had to change), else watch until it is decided."""
    history = History()
    started = snapshot.at
    if not changed:
        verdict, history = watcher.judge(snapshot, history)
        if isinstance(verdict, Waiting) and verdict.needs:
            snapshot = watcher.gather(client, snapshot, verdict.needs)
            verdict, history = watcher.judge(snapshot, history)
        if isinstance(verdict, (Done, Failed)):
            seconds = time.monotonic() - started
            return Outcome(verdict, snapshot, seconds, timeline=[(round(seconds, 1), sentence(verdict))])
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


# -- reporting -------------------------------------------------------------------------------------------------------


def public(config: JSON) -> dict[str, Any]:
    """The object without what is secret (spec.httpSecret, a login in a proxy's URL) or only noise (managedFields)."""
    spec = {key: value for key, value in (config.get("spec") or {}).items() if key != "httpSecret"}
    if isinstance(spec.get("proxy"), Mapping):
        spec["proxy"] = {key: redact(str(value)) for key, value in spec["proxy"].items()}
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


def not_verified(why: str) -> dict[str, Any]:
    """The verification of a task that proved nothing. why: said to the user."""
    return {"verdict": "not verified", "summary": why, "seconds": 0.0, "timeline": []}


def report(outcome: Outcome, main: JSON, extra: Mapping[str, Any], events: Sequence[str] = ()) -> dict[str, Any]:
    """The verification as the task returns it. main: the part's main object as last seen. extra: the watcher's own."""
    verdict = outcome.verdict
    status = main.get("status") or {}
    values: dict[str, Any] = {
        "verdict": "done" if isinstance(verdict, Done) else "failed",
        "summary": sentence(verdict),
        "seconds": round(outcome.seconds, 2),
        "conditions": {
            item.get("type"): {key: item[key] for key in ("status", "reason", "message") if key in item}
            for item in status.get("conditions") or []
        },
        "observed_generation": status.get("observedGeneration"),
        **extra,
        "timeline": told(outcome.timeline),
    }
    if isinstance(verdict, Failed):
        values.update(reason=verdict.reason, quoted=verdict.quoted, remedy=verdict.remedy)
    elif outcome.timed_out:
        values.update(reason="Timeout", quoted=_last_words(main), events=list(events))
    return values


def _last_words(main: JSON) -> str:
    """What the operator says at the end of a wait that ran out of time."""
    words = []
    for item in (main.get("status") or {}).get("conditions") or []:
        if item.get("type") in ("Available", "Progressing", "Degraded"):
            text = f"{item.get('type')}={item.get('status')}"
            if item.get("reason"):
                text += f" {item['reason']}"
            if item.get("message"):
                text += f": {item['message']}"
            words.append(text)
    return "; ".join(words)


def _failure_text(outcome: Outcome, main: JSON, changed: bool, events: Sequence[str]) -> str:
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
    text = f"{begin} within {outcome.seconds:.0f} s: {sentence(verdict)}."
    words = _last_words(main)
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
