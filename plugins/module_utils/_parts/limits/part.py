# SPDX-License-Identifier: GPL-3.0-or-later
"""image_limits over many namespaces: paged cluster-wide lists to read, bounded concurrent requests to write.

One failing namespace does not stop the others. What a namespace needs is decided in ``_limits``.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import (
    Follow,
    Sink,
    Target,
    note,
    told,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import (
    Options,
    Refused,
    Result,
    not_verified,
    send,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    READ_TIMEOUT,
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits import plan as _limits
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.plan import QUOTA, RANGE, Step, Wish
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

WORKERS = 12
"""Requests at a time: enough to keep an API server busy, too few to be throttled by fair queueing."""
PAGE = 500
FEW = 2
"""Up to so many namespaces are read one by one, which needs no right to list in the whole cluster."""
CONFLICTS = 5
"""How often one object is read and decided anew after somebody else wrote it in between."""
LINE_SECONDS = 1.0
"""Least time between two lines of progress: a thousand namespaces would have one each."""
NAMED = 10
"""How many namespaces a message names before it only counts."""

Live = dict[str, dict[str, JSON]]
"""kind -> namespace -> the part of the object that decisions need."""


@dataclass(frozen=True)
class Outcome:
    """What became of one step. error: why it failed, empty when it did not."""

    step: Step
    error: str = ""


def image_limits(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """Bring every namespace's quota and limits to the wish, verify them, and report each namespace."""
    want, problems = _limits.wish(params, platform)
    if problems:
        raise Refused("Nothing was written. " + " ".join(problems))
    names = _namespaces(client, params)
    live = _read(client, want, names)
    steps = [step for name in names for step in _limits.steps(want, name, *_of(live, name))]
    findings = [step.finding for step in steps if step.finding]
    if findings:
        raise Refused("Nothing was written. " + _some(findings))
    outcomes = list(_write(client, want, steps, options.check_mode))
    result = Result(changed=any(item.step.write and not item.error for item in outcomes))
    result.warnings += [item.step.warning for item in outcomes if item.step.warning][:NAMED]
    if not names:
        result.warnings.append(
            "No namespace is meant: "
            + (
                f"namespace_selector {params['namespace_selector']!r} matches none."
                if params["namespace_selector"]
                else "namespaces is empty."
            )
        )
    result.values["diff"] = _diff(outcomes)
    result.values["namespaces"] = _by_namespace(names, outcomes)
    failed = [f"{item.step.namespace}: {item.error}" for item in outcomes if item.error]
    if failed:
        result.failure = f"{len(failed)} of {len(steps)} objects failed; all others are done. {_some(failed)}"
    if options.check_mode or not options.wait:
        why = "check mode: nothing was written" if options.check_mode else "wait is false: the values were stored"
        result.values["verification"] = not_verified(f"{why}, nothing was verified")
        return result
    _verify(client, want, names, live, outcomes, options, result)
    return result


# -- reading -----------------------------------------------------------------------------------------------------------


def _namespaces(client: Client, params: JSON) -> list[str]:
    """The namespaces meant, in order. Raises Refused naming all that do not exist or are being deleted."""
    selector = params.get("namespace_selector")
    if selector:
        found = {
            item["metadata"]["name"]
            for item in _items(client, "/api/v1/namespaces", label_selector=selector)
            if _active(item)
        }
        return sorted(found)
    given = list(dict.fromkeys(params.get("namespaces") or ()))
    if len(given) <= FEW:
        there = {name for name in given if _active(client.get(f"/api/v1/namespaces/{name}"))}
    else:
        there = {item["metadata"]["name"] for item in _items(client, "/api/v1/namespaces") if _active(item)}
    missing = [name for name in given if name not in there]
    if missing:
        raise Refused(
            f"Nothing was written. These namespaces do not exist (or are being deleted): {', '.join(missing)}."
        )
    return given


def _active(namespace: JSON | None) -> bool:
    return namespace is not None and (namespace.get("status") or {}).get("phase") != "Terminating"


def _items(client: Client, path: str, *, label_selector: str = "", field_selector: str = "") -> Iterator[JSON]:
    for page in client.pages(path, limit=PAGE, label_selector=label_selector, field_selector=field_selector):
        yield from page.get("items") or ()


def _read(client: Client, want: Wish, names: list[str]) -> Live:
    """The two objects of every namespace, reduced to what decisions need."""
    live: Live = {QUOTA: {}, RANGE: {}}
    wanted = set(names)
    for kind, name in ((QUOTA, want.quota_name), (RANGE, want.range_name)):
        if want.present and not (want.hard if kind == QUOTA else want.limits):
            continue
        if len(names) <= FEW:
            for namespace in names:
                found = client.get(namespaced(namespace, _limits.RESOURCE[kind], name))
                if found is not None:
                    live[kind][namespace] = _reduced(found)
            continue
        [path] = _paths(kind, names)
        for item in _items(client, path, field_selector=f"metadata.name={name}"):
            if item["metadata"]["namespace"] in wanted:
                live[kind][item["metadata"]["namespace"]] = _reduced(item)
    return live


def _paths(kind: str, names: list[str]) -> list[str]:
    """The collections to read: of each of a few namespaces, or of the whole cluster."""
    resource = _limits.RESOURCE[kind]
    return [namespaced(name, resource) for name in names] if len(names) <= FEW else [f"/api/v1/{resource}"]


def _reduced(item: JSON) -> JSON:
    """Without managedFields and annotations, which are most of a small object."""
    keep = ("namespace", "name", "resourceVersion", "deletionTimestamp", "labels")
    return {
        "metadata": {key: item["metadata"][key] for key in keep if key in item["metadata"]},
        "spec": item.get("spec") or {},
        "status": item.get("status") or {},
    }


def _of(live: Live, namespace: str) -> tuple[JSON | None, JSON | None]:
    return live[QUOTA].get(namespace), live[RANGE].get(namespace)


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(client: Client, want: Wish, steps: list[Step], dry_run: bool) -> Iterable[Outcome]:
    """Do every step, at most WORKERS at a time, in the order given."""
    if not any(step.write for step in steps):
        return [Outcome(step) for step in steps]
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(lambda step: _one(client, want, step, dry_run), steps))


def _one(client: Client, want: Wish, step: Step, dry_run: bool) -> Outcome:
    for _attempt in range(CONFLICTS):
        write = step.write
        if write is None:
            return Outcome(step, step.finding)
        try:
            send(client, write, dry_run)
            return Outcome(step)
        except ApiError as error:
            if error.status not in (404, 409):
                return Outcome(step, str(error))
            reason = str(error)
        except ClientError as error:
            return Outcome(step, str(error))
        try:
            step = _again(client, want, step)
        except (ApiError, ClientError) as error:
            return Outcome(step, str(error))
    return Outcome(step, f"somebody else kept writing it: {reason}")


def _again(client: Client, want: Wish, step: Step) -> Step:
    """The step decided anew from what is there now."""
    name = want.quota_name if step.kind == QUOTA else want.range_name
    live = client.get(namespaced(step.namespace, _limits.RESOURCE[step.kind], name))
    one = replace(want, limits={}) if step.kind == QUOTA else replace(want, hard={})
    found = _limits.steps(one if want.present else want, step.namespace, live, live)
    return next(item for item in found if item.kind == step.kind)


# -- verifying and reporting -------------------------------------------------------------------------------------------


def _verify(
    client: Client,
    want: Wish,
    names: list[str],
    live: Live,
    outcomes: list[Outcome],
    options: Options,
    result: Result,
) -> None:
    """Watch until the server holds the values and the quota controller has taken note, or time is up.

    Objects that were deleted must be gone: as long as something holds them (a finalizer) they limit.
    """
    started = time.monotonic()
    timeline: list[tuple[float, str]] = []
    broken = {item.step.namespace for item in outcomes if item.error}
    checked = [name for name in names if name not in broken]
    behind = _behind(want, checked, live)
    if behind or any(item.step.write for item in outcomes):
        try:
            with contextlib.closing(_states(client, want, names, started + options.wait_timeout)) as states:
                for live in states:
                    behind = _behind(want, checked, live)
                    elapsed = time.monotonic() - started
                    if not behind:
                        break
                    if not timeline or elapsed - timeline[-1][0] >= LINE_SECONDS:
                        note(timeline, elapsed, _standing(want, names, checked, behind), options.progress)
        except (ApiError, ClientError) as error:
            result.failure = result.failure or f"Whether the limits took effect cannot be observed: {error}"
    seconds = time.monotonic() - started
    note(timeline, seconds, _standing(want, names, checked, behind), options.progress if timeline else None)
    uncounted: dict[str, int] = {}
    for name in checked:
        for key in _limits.uncounted(want, live[QUOTA].get(name)):
            uncounted[key] = uncounted.get(key, 0) + 1
    for key, count in sorted(uncounted.items()):
        result.warnings.append(
            f"ResourceQuota key {key}: no controller of this cluster counts it (it is in status.hard but not in "
            f"status.used, in {count} of {len(checked)} namespaces), so the limit has no effect."
        )
    kept = sum(item.step.action == "kept" for item in outcomes)
    result.values["verification"] = {
        "verdict": "failed" if behind or result.failure else "done",
        "summary": _reached(want, names, len(checked) - len(behind))
        + (f"; {kept} objects that were not made by this collection stay" if kept else ""),
        "seconds": round(seconds, 2),
        "not_counted": sorted(uncounted),
        "behind": [{"namespace": name, "why": why} for name, why in behind.items()],
        "timeline": told(timeline),
    }
    if behind and result.failure is None:
        lines = [f"{name}: {why}" for name, why in behind.items()]
        result.failure = (
            f"{len(behind)} namespaces {'do not hold' if want.present else 'still have'} the limits after "
            f"{options.wait_timeout:.0f} s. {_some(lines)}"
        )


def _behind(want: Wish, names: list[str], live: Live) -> dict[str, str]:
    return {name: why for name in names if (why := _limits.held(want, *_of(live, name)))}


def _standing(want: Wish, names: list[str], checked: list[str], behind: dict[str, str]) -> str:
    """One line on how far it is."""
    text = _reached(want, names, len(checked) - len(behind))
    name = next(iter(behind), "")
    return text + (f"; {name}: {behind[name]}" if name else "")


def _reached(want: Wish, names: list[str], count: int) -> str:
    return f"{count} of {len(names)} namespaces {'hold the limits' if want.present else 'are without the limits'}"


def _states(client: Client, want: Wish, names: list[str], deadline: float) -> Generator[Live, None, None]:
    """What the server holds: as soon as everything has been listed, then after each change, until the deadline.

    The lists may take longer than that, since without them nothing is known. Raises ApiError when listing is refused.
    """
    first_deadline = max(deadline, time.monotonic() + READ_TIMEOUT)
    sink: Sink = queue.SimpleQueue()
    follows: dict[str, Follow] = {}
    kinds: dict[str, str] = {}
    for kind, name, wished in ((QUOTA, want.quota_name, want.hard), (RANGE, want.range_name, want.limits)):
        for path in _paths(kind, names) if wished or not want.present else ():
            kinds[path] = kind
            selector = f"metadata.name={name}"
            follows[path] = Follow(client, sink, Target(path, path, field_selector=selector, keep=_reduced))
    seen: dict[str, tuple[JSON, ...]] = {}
    try:
        for follow in follows.values():
            follow.start()
        while True:
            complete = len(seen) == len(follows)
            if complete:
                live: Live = {QUOTA: {}, RANGE: {}}
                for path, items in seen.items():
                    live[kinds[path]].update((item["metadata"]["namespace"], item) for item in items)
                yield live
            left = (deadline if complete else first_deadline) - time.monotonic()
            if left <= 0:
                return
            for path, state in _arrived(sink, left):
                if isinstance(state, ApiError):
                    raise state
                seen[path] = state
    finally:
        for follow in follows.values():
            follow.stop()


def _arrived(sink: Sink, seconds: float) -> Iterator[tuple[str, tuple[JSON, ...] | ApiError]]:
    """What comes within `seconds`, and all that has queued up behind it."""
    try:
        yield sink.get(timeout=seconds)
        while True:
            yield sink.get(block=False)
    except queue.Empty:
        return


def _by_namespace(names: list[str], outcomes: list[Outcome]) -> dict[str, Any]:
    """One entry for each namespace: the strongest of what its objects met."""
    order = ("failed", "deleted", "created", "updated", "kept", "absent", "unchanged")
    entries: dict[str, dict[str, Any]] = {name: {"status": "unchanged"} for name in names}
    for item in outcomes:
        entry = entries[item.step.namespace]
        action = "failed" if item.error else item.step.action
        if order.index(action) < order.index(entry["status"]):
            entry["status"] = action
        if item.error:
            entry["reason"] = item.error
    return entries


def _diff(outcomes: list[Outcome]) -> dict[str, Any]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for item in outcomes:
        write = item.step.write
        if write is not None and not item.error:
            key = f"{write.kind}/{write.name}"
            before[key], after[key] = write.before, write.after
    return {"before": before, "after": after}


def _some(lines: list[str]) -> str:
    more = len(lines) - NAMED
    return " ".join(lines[:NAMED]) + (f" … and {more} more." if more > 0 else "")
