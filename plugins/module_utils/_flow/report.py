# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task reports about a plan and an observation: verification, refusals, failures. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import JSON, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    Course,
    Done,
    Effect,
    Failed,
    sentence,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.resources import conditions, last_words

NOTHING_WRITTEN = "Nothing was written."
UNKNOWN = " Whether it was stored all the same is not known."


@dataclass(frozen=True)
class WriteFailure:
    """A write that failed although its dry run did not. status: HTTP code, 0 without an answer.

    lost: whether it may have been stored all the same.
    """

    what: str
    status: int
    text: str
    lost: bool = False


def refusal(findings: Sequence[str]) -> str:
    """All findings of a plan that must not be carried out, as one text."""
    if len(findings) == 1:
        return f"{NOTHING_WRITTEN} {findings[0]}"
    return f"{NOTHING_WRITTEN} " + " ".join(f"({number}) {text}" for number, text in enumerate(findings, 1))


def rejection(error: Exception, message: str) -> str:
    """The API server's refusal of a dry run, as a finding. message: its own words."""
    hint = ""
    if "unknown field" in message:
        hint = (
            " The CustomResourceDefinition on this cluster does not have the field: this version of the operator does "
            "not support it."
        )
    return f"The API server refused the change in a dry run. {error}{hint}"


def no_verdict(what: str, error: Exception) -> str:
    """An answer that is not about what was asked, as a finding: an API server in trouble, or a proxy in front of it."""
    return (
        f"{what}: {error} This says nothing about the values; run the task again when the API server answers properly."
    )


def not_attempted(silent: str, *, sent: bool) -> str:
    """Why a part was not written. silent: the failure of the part before it. sent: whether its patch went with that."""
    begin = f"Sent together with the part before it.{UNKNOWN}" if sent else "Not attempted."
    return f"{begin} The API server had stopped answering: {silent}"


def interrupted(writes: Sequence[Write], written: Mapping[str, JSON], failure: WriteFailure) -> str:
    """A write failed, perhaps after others had succeeded. written: the API server's answers, by the object's path."""
    done = ", ".join(write.label for write in writes if write.object_path in written)
    before = f"Already written: {done}." if done else "Nothing had been written before."
    text = f"{failure.text}{UNKNOWN if failure.lost else ''}"
    return f"Writing {failure.what} failed: {text} {before} Run the task again: it continues from there."


@dataclass(frozen=True)
class Difference:
    """One field of an object that is not as requested. field: dotted, "" for the object as a whole."""

    object: str
    field: str
    actual: Any
    wanted: Any

    @property
    def sentence(self) -> str:
        """What is and what should be, as a sentence."""
        what = f"{self.object} {self.field}".rstrip()
        return f"{what} is {_shown(self.actual)}, should be {_shown(self.wanted)}"


def differences(writes: Sequence[Write]) -> list[Difference]:
    """Every field that the writes would change."""
    found: list[Difference] = []
    for write in writes:
        name = write.label
        if not write.differs:
            continue
        if write.verb == "create":
            found.append(Difference(name, "", None, "present"))
        elif write.verb == "delete":
            found.append(Difference(name, "", "present", None))
        else:
            found += _field_differences(name, "", write.before, write.after)
    return found


def _field_differences(name: str, prefix: str, before: Any, after: Any) -> list[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            difference
            for key in dict.fromkeys([*before, *after])
            for difference in _field_differences(
                name, f"{prefix}.{key}" if prefix else str(key), before.get(key), after.get(key)
            )
        ]
    return [] if before == after else [Difference(name, prefix, before, after)]


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return value if value == "present" else json.dumps(value, ensure_ascii=False, sort_keys=True)


def both_sides(writes: Sequence[Write]) -> dict[str, Any]:
    """The task's diff: owned fields before and after.

    Each key names object and field, because a hunk of a nested diff may begin below the line with the object's name.
    """
    return {
        "before": {key: value for write in writes for key, value in _flat(write.label, write.before)},
        "after": {key: value for write in writes for key, value in _flat(write.label, write.after)},
    }


def _flat(label: str, fields: JSON, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(label, value, f"{prefix}{key}.")
        else:
            yield f"{label} {prefix}{key}", value


def not_verified(why: str) -> dict[str, Any]:
    """The verification of a task that proved nothing."""
    return {"verdict": "not verified", "summary": why, "seconds": 0.0, "timeline": []}


def verification(
    course: Course, main: JSON | None, extra: Mapping[str, Any], events: Sequence[str] = ()
) -> dict[str, Any]:
    """What was proven, and how, as the task returns it.

    main: the part's main object as last seen, None for a part without one. extra: the part's own report.
    events: lines that help to explain a timeout.
    """
    verdict = course.verdict
    values: dict[str, Any] = {
        "verdict": "done" if isinstance(verdict, Done) else "failed",
        "summary": sentence(verdict),
        "seconds": round(course.seconds, 2),
    }
    if main is not None:
        values["conditions"] = conditions(main)
        values["observed_generation"] = (main.get("status") or {}).get("observedGeneration")
    values.update(extra)
    values["timeline"] = [{"seconds": seconds, "state": text} for seconds, text in course.timeline]
    if isinstance(verdict, Failed):
        values.update(reason=verdict.reason, quoted=verdict.quoted, remedy=verdict.remedy)
    elif course.timed_out:
        values.update(reason="Timeout", quoted=last_words(main or {}), events=list(events))
    return values


def failure(course: Course, main: JSON | None, events: Sequence[str] = ()) -> str:
    """Why the task fails, and what to do, as one text. main, events: as for verification."""
    verdict = course.verdict
    effect = Effect.UNCONFIRMED if course.blind else Effect.NONE
    if isinstance(verdict, Failed):
        effect = verdict.effect
    if course.changed:
        begin = f"The change was stored, but {effect.value}"
    else:
        state = "is not confirmed" if effect is Effect.UNCONFIRMED else "does not work"
        begin = f"Nothing had to be changed, but the requested state {state}"
    if isinstance(verdict, Failed):
        text = f"{begin}: {verdict.cause}"
        if verdict.quoted and verdict.quoted not in verdict.cause:
            text += f" [{verdict.quotation}]"
        return f"{text} What to do: {verdict.remedy}"
    seen = "the cluster could not be read any more; last seen: " if course.blind else ""
    slow = f" (reading and writing had taken {course.spent:.0f} s)" if course.spent >= 1 else ""
    text = f"{begin} within {course.seconds:.0f} s{slow}: {seen}{sentence(verdict)}."
    words = last_words(main or {})
    if words:
        text += f" The operator says: {words}."
    if events:
        text += f" Events: {' | '.join(events)}."
    return text + " What to do: look at what is missing above; if it only needs more time, raise wait_timeout."
