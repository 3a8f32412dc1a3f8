# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of every module: read, refuse, dry run, write, observe, judge, report.

All requests are sent here, in ``_kubernetes.client`` and in ``observe``; what to read and what to write is decided by
the parts' pure functions. Any number of parts go through it together: everything is read and checked before anything is
written, and all effects are observed at the same time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Generic

from ansible_collections.alauda.image_registry.plugins.module_utils._flow import report
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import (
    EVIDENCE_FLOOR,
    Observation,
    Progress,
    observe,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import G, Part, S
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Plan,
    Reading,
    Ref,
    Write,
    carried_out,
    with_answers,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Course,
    Done,
    Effect,
    Failed,
    Verdict,
    unauthorized,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.bounds import POD_BYTES
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import joined
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import decoded
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import plain, redact
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.resources import public

REPLANS = 40
"""How many times a lost race (409) is answered by reading and planning again: enough for 20 writers of one list."""
REVISIONS = 5
"""How many times an independent write is decided again after somebody else has written the object in between."""
FLOOR_SECONDS = 5.0
"""What a task has for its effect at least, however long reading and writing have taken."""
SAMPLES = 12
"""In how many namespaces one content is tried before it counts as refused in all of them."""
NAMED = 10
"""How many refused contents a message names."""
FOREIGN_TIMEOUT = 5.0
"""Seconds for the answer of a Pod while planning."""
_LONGEST_REASON = 200
WORKERS = 12
"""Independent writes at a time: enough to keep an API server busy, too few to be throttled by fair queueing."""


@dataclass(frozen=True)
class Options:
    """The task's options for the run itself. wait_timeout: seconds for the whole task.

    read_only: compare instead of writing.
    """

    check_mode: bool
    wait: bool
    wait_timeout: float
    progress: Progress | None = None
    read_only: bool = False


@dataclass
class Result:
    """What the task reports for one part. failure: text of a failed task, or None."""

    changed: bool = False
    failure: str | None = None
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    """Nothing was written. The text lists every finding."""


def reconcile(client: Client, parts: Sequence[Part[Any, Any]], options: Options) -> list[Result]:
    """Bring the cluster to the goals of all parts and verify the effect; one result for each part, in their order.

    Raises Refused, ApiError or ClientError before anything has been written; later failures come as Result.failure.
    """
    started = time.monotonic()
    runs = [_Run(part) for part in parts]
    _prepare(client, runs, options)
    if not options.check_mode:
        _share_patches(runs)
        silent = ""
        for run in runs:
            if silent:
                run.failure = report.not_attempted(silent, sent=bool(run.lost))
            else:
                silent = run.write(client)
    observations = [run.observation(options, title=run.part.label if len(runs) > 1 else "") for run in runs]
    _observe(client, observations, options, started)
    return [run.result(client, one, options) for run, one in zip(runs, observations)]


def verify(client: Client, parts: Sequence[Part[Any, Any]], options: Options) -> list[Result]:
    """Compare all parts with the cluster and verify those that do not differ; one result for each part, in their order.

    Writes nothing; give it a client that cannot. Raises Refused for what cannot be compared, ApiError, ClientError.
    """
    runs = [_Run(part) for part in parts]
    started = time.monotonic()
    reader = _Reader(client, runs[0].part.platform)
    for run in runs:
        run.decide(reader)
    compared = [run for run in runs if not run.differs]
    for run in compared:
        run.writes = ()  # what is left would only make the operator look
    _refuse(compared, [run.plan.refusals for run in compared])
    observations = [
        None if run.differs else run.observation(options, title=run.part.label if len(runs) > 1 else "") for run in runs
    ]
    _observe(client, observations, options, started)
    return [run.compared() if run.differs else run.result(client, one, options) for run, one in zip(runs, observations)]


def _observe(
    client: Client, observations: Sequence[Observation[Any, Any] | None], options: Options, started: float
) -> None:
    """Observe for what is left of the task's time. started: monotonic seconds, when the task began."""
    spent = time.monotonic() - started
    chosen = [one for one in observations if one is not None]
    for one in chosen:
        one.course.spent = spent
    left = max(options.wait_timeout - spent, min(options.wait_timeout, FLOOR_SECONDS))
    observe(client, chosen, left, options.progress)


@dataclass
class _Run(Generic[G, S]):
    """One part on its way through the flow.

    refs, seen: what was read, by label. writes: those of the plan, as they were sent in the end.
    written: the API server's answers by the object's path, in check mode those of the dry run.
    lost: writes whose answer was lost, by the object's path, until it is known what became of them.
    failures: why independent writes failed, by the object's path. failure: why the writing ended early.
    shared: patches of the same object by later parts, which go with ours.
    """

    part: Part[G, S]
    refs: dict[str, Ref] = field(default_factory=dict)
    seen: dict[str, Reading] = field(default_factory=dict)
    plan: Plan[G] = field(default_factory=Plan)
    writes: tuple[Write, ...] = ()
    written: dict[str, JSON] = field(default_factory=dict)
    lost: dict[str, Write] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    shared: list[tuple[_Run[Any, Any], Write]] = field(default_factory=list)

    def decide(self, reader: _Reader) -> None:
        """Read and plan (again)."""
        self.refs, self.seen = reader.everything(self.part)
        self.plan = self.part.plan(self.seen)
        self.writes = self.plan.writes

    def rehearse(self, client: Client, check_mode: bool) -> list[str]:
        """Send every write as a dry run. Returns what the API server has against it; raises ApiError for a lost race.

        Of independent writes, each distinct content is sent first, in check mode then each write: any may still fail on
        its own.
        """
        self.plan, findings = _checked(client, self.plan)
        if self.plan.independent:
            findings += self._refused_everywhere(client)
            if check_mode and not findings:
                self._write_each(client, dry_run=True)
            return findings
        try:
            answers = {write.object_path: send(client, write, dry_run=True) for write in self.writes}
        except ApiError as error:
            if error.status == 409:
                raise
            return [*findings, _rejection(error)]
        self.written = answers if check_mode else {}
        return findings

    def _refused_everywhere(self, client: Client) -> list[str]:
        """What the API server has against the contents of independent writes, one by one."""
        alike: dict[str, list[Write]] = {}
        for write in self.writes:
            alike.setdefault(write.content, []).append(write)
        if not alike:
            return []
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            found = [text for text in pool.map(lambda writes: _refused(client, writes), alike.values()) if text]
        more = len(found) - NAMED
        return [*found[:NAMED], *([f"{more} more like these."] if more > 0 else [])]

    def write(self, client: Client) -> str:
        """Carry out the plan. Returns why the API server could not be reached; empty when it answered."""
        try:
            self._write(client)
        except ClientError as error:
            self.failure = self.failure or str(error)
            return str(error)
        return ""

    def _write(self, client: Client) -> None:
        """Send the writes; after a race that was lost before anything was written, start again from reading."""
        if self.plan.independent:
            self._write_each(client, dry_run=False)
            return
        for attempt in range(REPLANS):
            lost = self._write_in_order(client)
            if lost is None:
                self._recognise()
                return
            if attempt == REPLANS - 1:
                self.failure = report.interrupted(self.writes, self.written, lost)
                return
            self.shared = []  # planned again as well, each by its own part
            _pause(attempt)
            try:
                self.decide(_Reader(client, self.part.platform))
                findings = self.plan.refusals or self.rehearse(client, check_mode=False)
            except ApiError as error:
                if error.status == 409:
                    continue
                findings = [str(error)]
            except Refused as error:
                self.failure = str(error)
                return
            if findings:
                self.failure = report.refusal(findings)
                return

    def _recognise(self) -> None:
        """Count a write whose answer was lost as ours when, planned again, there was nothing left to write."""
        for path, write in self.lost.items():
            if path not in self.written:
                found = (self.seen[label] for label, ref in self.refs.items() if ref.path == path)
                self.written[path] = next((item for item in found if isinstance(item, Mapping)), {})
                self.writes = (write, *self.writes)
        self.lost = {}

    def _write_in_order(self, client: Client) -> report.WriteFailure | None:
        """Returns the failure of a race that was lost before anything was written; any other failure ends the part."""
        for write in self.writes:
            if write.object_path in self.written:
                continue  # went with the patch of a part before
            try:
                self._send_shared(client, write)
            except (ApiError, ClientError) as error:
                status = error.status if isinstance(error, ApiError) else 0
                if error.lost:
                    self.lost[write.object_path] = write
                lost = report.WriteFailure(write.label, status, str(error), error.lost)
                if status == 409 and not self.written:
                    return lost
                self.failure = report.interrupted(self.writes, self.written, lost)
                if isinstance(error, ClientError):
                    raise
                return None
        return None

    def _send_shared(self, client: Client, write: Write) -> None:
        """Send a write together with the later parts' patches of the same object.

        If one of those is outdated (409), it is left to its own part, which then plans again.
        """
        shared = [(run, theirs) for run, theirs in self.shared if theirs.path == write.path]
        body = reduce(joined, (theirs.body for _run, theirs in shared), write.body)
        try:
            answer = send(client, replace(write, body=body), dry_run=False)
        except (ApiError, ClientError) as error:
            if error.lost:
                for run, theirs in shared:
                    run.lost[theirs.object_path] = theirs
            if not isinstance(error, ApiError) or error.status != 409 or not shared:
                raise
            shared, answer = [], send(client, write, dry_run=False)
        for run in (self, *(run for run, _theirs in shared)):
            run.written[write.object_path] = answer

    def _write_each(self, client: Client, dry_run: bool) -> None:
        """Send independent writes, WORKERS at a time."""
        if not self.writes:
            return
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            ends = list(pool.map(lambda write: self._write_one(client, write, dry_run), self.writes))
        planned, self.writes = self.writes, tuple(write for write, _answer, _error in ends if write is not None)
        for write, (sent, answer, error) in zip(planned, ends):
            if error:
                self.failures[write.object_path] = error
            elif sent is not None:
                self.written[sent.object_path] = answer

    def _write_one(self, client: Client, write: Write, dry_run: bool) -> tuple[Write | None, JSON, str]:
        """What was sent in the end (None: nothing), the answer, and why it failed."""
        for _attempt in range(REVISIONS):
            try:
                return write, send(client, write, dry_run), ""
            except (ApiError, ClientError) as error:
                lost = error.lost and not dry_run
                if lost:
                    self.lost.setdefault(write.object_path, write)
                if not (isinstance(error, ApiError) and error.status in (404, 409)):
                    return None, {}, f"{error}{report.UNKNOWN if lost else ''}"
                reason = str(error)
            try:
                found = client.get(write.object_path)
                revised = self.part.revise(write, found)
            except (ApiError, ClientError) as error:
                return None, {}, str(error)
            if not isinstance(revised, Write):
                ours = None if revised else self.lost.pop(write.object_path, None)
                return ours, found or {}, revised or ""
            write = revised
        return None, {}, f"somebody else kept changing the object: {reason}"

    @property
    def differs(self) -> bool:
        """Whether the cluster, as it was read, differs from what was requested."""
        return any(write.differs for write in (*self.plan.writes, *self.plan.withheld))

    def compared(self) -> Result:
        """The result of a comparison that has found differences."""
        writes = (*self.plan.writes, *self.plan.withheld)
        found = report.differences(writes)
        result = Result(failure="; ".join(one.sentence for one in found), warnings=list(self.plan.warnings))
        result.values["diff"] = report.both_sides(writes)
        result.values["differences"] = [
            {"object": one.object, "field": one.field, "is": one.actual, "should": one.wanted} for one in found
        ]
        result.values["verification"] = report.not_verified("the cluster differs from what was requested")
        return result

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _not_observed(self, options: Options) -> str:
        """Why the effect is not verified; empty when it is."""
        if self.failure is not None:
            return "not reached"
        if options.check_mode:
            return "check mode: nothing was written, nothing was verified"
        if not options.wait:
            return "wait is false: the values were stored, nothing was verified"
        if not self.plan.verify:
            return "management_state tells the operator not to act, so there is no effect to verify"
        return ""

    def observation(self, options: Options, title: str) -> Observation[G, S] | None:
        """What is to be observed; None when nothing is."""
        if self._not_observed(options) or self.plan.goal is None:
            return None
        seen = with_answers(self.refs, self.seen, self.written)
        goal = self.part.aim(self.plan.goal, seen, self.failures)
        first = self.part.first(goal, seen, time.monotonic())
        return Observation(self.part, goal, first, Course(changed=bool(self.written)), title)

    def _main(self) -> JSON:
        before = self.seen.get(self.part.main)
        return self.written.get(self.part.main_path, before if isinstance(before, Mapping) else {})

    def result(self, client: Client, observation: Observation[G, S] | None, options: Options) -> Result:
        """What the task reports; reads and plans once more where the part requires it."""
        main = self.part.main
        changed = bool(self.writes)
        if self.failure is not None or self.plan.independent:
            changed = bool(self.written or self.lost)
        result = Result(changed=changed, failure=self.failure, warnings=list(self.plan.warnings))
        result.values["diff"] = report.both_sides(self.writes)
        if main:
            patches = (dict(write.body) for write in self.writes if write.path == self.part.main_path)
            result.values["patch"] = next(patches, {})
            result.values["written"] = [
                {"kind": write.kind, "name": write.name, "verb": write.verb} for write in self.writes
            ]
            result.values[main] = public(self._main())
        result.values.update(self.plan.values)
        if observation is None:
            result.values["verification"] = report.not_verified(self._not_observed(options))
        else:
            self._conclude(client, observation, result)
        observed = None if observation is None else (observation.goal, observation.snapshot)
        outcome = self.part.outcome(self.plan, self.writes, self.failures, observed)
        result.failure = outcome.failure or result.failure
        result.warnings += outcome.warnings
        result.values.update(outcome.values)
        return result

    def _conclude(self, client: Client, observation: Observation[G, S], result: Result) -> None:
        """Put the verdict into the result."""
        part, course = self.part, observation.course
        if part.confirm and course.changed and isinstance(course.verdict, Done):
            course.verdict = self._confirmed(client, course.verdict, result.warnings)
        main: JSON | None = None
        if part.main:
            main = part.main_object(observation.snapshot) or {}
            if main:
                result.values[part.main] = public(main)
        events: Sequence[str] = ()
        if course.timed_out:
            with client.within(EVIDENCE_FLOOR):
                events = part.events(client, observation.goal, observation.snapshot)
        extra = part.report(observation.goal, observation.snapshot)
        result.values["verification"] = report.verification(course, main, extra, events)
        if isinstance(course.verdict, Done):
            result.warnings += course.verdict.warnings
            if course.changed:
                result.warnings += self._note(client, observation)
        else:
            standing = part.standing(observation.goal, observation.snapshot)
            result.failure = " ".join(filter(None, (report.failure(course, main, events), standing)))

    def _note(self, client: Client, observation: Observation[G, S]) -> list[str]:
        """Carry out the part's note. Returns a warning when that fails: the verdict does not depend on it."""
        note = self.part.note(observation.goal, observation.snapshot, observation.history)
        if note is None:
            return []
        try:
            send(client, note, dry_run=False)
        except (ApiError, ClientError) as error:
            return [f"Could not note a warning on {note.label}, so later runs will not repeat it: {error}"]
        return []

    def _confirmed(self, client: Client, done: Done, known: Sequence[str]) -> Verdict:
        """Check that nobody has changed it since: planning once more must find nothing to write. known: warnings."""
        try:
            _refs, seen = _Reader(client, self.part.platform).everything(self.part)
            again = self.part.plan(seen)
        except (Refused, ApiError, ClientError) as error:
            if isinstance(error, ApiError) and error.status == 401:
                return unauthorized(str(error), f"Whether it is still as requested can no longer be checked: {error}")
            return replace(done, warnings=(*done.warnings, f"Could not check once more what was written: {error}"))
        changed = [write.label for write in again.writes]
        if not changed and not again.refusals:
            return replace(done, warnings=(*done.warnings, *(text for text in again.warnings if text not in known)))
        return Failed(
            "ChangedAgain",
            "; ".join([*again.refusals, *(f"{name} differs from what was requested" for name in changed)]),
            "It took effect, but somebody has changed it since.",
            "Find the other writer (another playbook, GitOps, a person), then run the task again.",
            Effect.UNDONE,
        )


# -- before anything is written ----------------------------------------------------------------------------------------


def _prepare(client: Client, runs: Sequence[_Run[Any, Any]], options: Options) -> None:
    """Read everything, report all refusals at once, rehearse everything; start again from reading after a lost race."""
    for attempt in range(REPLANS):
        reader = _Reader(client, runs[0].part.platform)
        for run in runs:
            run.decide(reader)
        _refuse(runs, [run.plan.refusals for run in runs])
        try:
            _refuse(runs, [run.rehearse(client, options.check_mode) for run in runs])
            return
        except ApiError as error:
            if attempt == REPLANS - 1:
                raise Refused(report.refusal([_rejection(error)])) from None
        _pause(attempt)


def _share_patches(runs: Sequence[_Run[Any, Any]]) -> None:
    """Have one request carry all patches of the same object, unless they are independent.

    The operator can lose a patch that reaches Config while it writes its own answer to the one before (operator fact
    2.3), so two parts must not patch it one right after the other.
    """
    first: dict[str, _Run[Any, Any]] = {}
    for run in runs:
        for write in () if run.plan.independent else run.writes:
            if write.verb == "patch" and first.setdefault(write.path, run) is not run:
                first[write.path].shared.append((run, write))


def _refuse(runs: Sequence[_Run[Any, Any]], findings: Sequence[Sequence[str]]) -> None:
    """Raises Refused with the findings of every part, naming the part where there are several."""
    texts = [
        f"{run.part.label}: {text}" if len(runs) > 1 else text for run, found in zip(runs, findings) for text in found
    ]
    if texts:
        raise Refused(report.refusal(texts))


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0.0, min(0.05 * 2**attempt, 1.0)))


def _checked(client: Client, plan: Plan[G]) -> tuple[Plan[G], list[str]]:
    """The plan after the API server has checked what only it can check, and what it found; never writes."""
    warnings, findings = list(plan.warnings), []
    for check in plan.checks:
        try:
            send(client, check, dry_run=True)
        except ApiError as error:
            if error.status == 403:
                warnings.append(f"Could not have the {check.kind} {check.name!r} checked: {error.message}")
            elif error.is_verdict:
                why = "; ".join(error.causes) or error.message
                findings.append(f"The {check.kind} {check.name!r} is not valid: {why}")
            else:
                findings.append(report.no_verdict(f"The {check.kind} {check.name!r} could not be checked", error))
    return replace(plan, warnings=tuple(warnings)), findings


def _refused(client: Client, writes: Sequence[Write]) -> str:
    """Why the API server takes one content nowhere, as a finding; empty when it takes it somewhere.

    It may refuse a namespace (one that is being deleted, a right that is missing there) and take the others, so unless
    it refuses the content itself, SAMPLES namespaces are tried.
    """
    refusal = ""
    for write in writes[:SAMPLES]:
        try:
            send(client, write, dry_run=True)
        except ApiError as error:
            if error.status in (404, 409):
                return ""  # a race, which is decided when it is written
            refusal = refusal or f"{write.label}: {_rejection(error)}"
            if error.is_verdict:
                return refusal
        else:
            return ""
    return refusal


def _rejection(error: ApiError) -> str:
    """What the API server answered to a dry run, as a finding."""
    if error.is_trouble:
        return report.no_verdict("The dry run of the change failed", error)
    return report.rejection(error, error.message)


class _Reader:
    """Reads what the parts need; what several of them need is requested once."""

    def __init__(self, client: Client, platform: Platform) -> None:
        self._client, self._platform = client, platform
        self._known: dict[Hashable, Reading] = {}

    def everything(self, part: Part[Any, Any]) -> tuple[dict[str, Ref], dict[str, Reading]]:
        """Everything the part needs, read in rounds, by label. Raises Refused when the operator is not installed."""
        known: dict[str, Ref] = {}
        seen: dict[str, Reading] = {}
        while True:
            refs = part.needs(seen)
            if not refs:
                return known, seen
            for ref in refs:
                known[ref.label], seen[ref.label] = ref, self._one(ref)

    def _one(self, ref: Ref) -> Reading:
        key = (ref.path, ref.collection, ref.field_selector, ref.label_selector, ref.keep)
        if key not in self._known or (ref.required and isinstance(self._known[key], Denied)):
            self._known[key] = self._read(ref)
        return self._known[key]

    def _read(self, ref: Ref) -> Reading:
        if ref.foreign:
            return self._ask(ref)
        try:
            if ref.collection:
                items, _version = self._client.list(
                    ref.path, field_selector=ref.field_selector, label_selector=ref.label_selector, keep=ref.keep
                )
                return tuple(items)
            found = self._client.get(ref.path)
            return ref.keep(found) if ref.keep is not None and found is not None else found
        except ApiError as error:
            group = self._platform.group
            if error.kind_missing and ref.path.startswith(f"/apis/{group}/"):
                raise Refused(
                    f"The cluster {redact(self._client.host)} does not have the resource "
                    f"{ref.path.split('/')[-2]}.{group}: the registry operator is not installed there, or this is the "
                    "wrong cluster. Install Registry v2 first; see its Prerequisites."
                ) from None
            if error.status == 403 and not ref.required:
                return Denied(error.message)
            raise

    def _ask(self, ref: Ref) -> Reading:
        """What a Pod answers through the API server; a Pod that is not well must not delay the task."""
        try:
            reply = self._client.raw("GET", ref.path, retry=False, read_timeout=FOREIGN_TIMEOUT, limit=POD_BYTES)
        except ClientError as error:
            return Denied(str(error))
        content = decoded(reply.body) if reply.status == 200 else None
        if isinstance(content, dict):
            return content
        return Denied(plain(f"{reply.status} {reply.text[:_LONGEST_REASON]}"))


def send(client: Client, write: Write, dry_run: bool) -> JSON:
    """Send one write. Returns the object as it is now; empty for a delete.

    When the answer was lost, the object itself shows whether the write was carried out. The errors that remain say
    ``lost`` only when even that is not known: it could not be read, or somebody else has written it as well (409).
    """
    try:
        return _sent(client, write, dry_run)
    except (ApiError, ClientError) as error:
        if dry_run or not error.lost:
            raise
        try:
            found = client.get(write.object_path)
        except (ApiError, ClientError):
            raise error from None
        if carried_out(write, found):
            return found or {}
        error.lost = isinstance(error, ApiError) and error.status == 409
        raise


def _sent(client: Client, write: Write, dry_run: bool) -> JSON:
    if write.verb == "create":
        return client.create(write.path, write.body, dry_run=dry_run)
    if write.verb == "delete":
        client.delete(write.path, dry_run=dry_run, resource_version=str(write.body["resourceVersion"] or ""))
        return {}
    return client.patch(write.path, write.body, dry_run=dry_run)
