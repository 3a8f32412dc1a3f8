# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task asks of scheduled pruning, from its parameters alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    parse_duration,
    parse_quantity,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

_FIELDS = {
    "schedule": "schedule",
    "suspend": "suspend",
    "keep_tag_revisions": "keepTagRevisions",
    "keep_younger_than": "keepYoungerThanDuration",
    "successful_jobs_history_limit": "successfulJobsHistoryLimit",
    "failed_jobs_history_limit": "failedJobsHistoryLimit",
    "ignore_invalid_image_references": "ignoreInvalidImageReferences",
    "log_level": "logLevel",
    "resources": "resources",
    "node_selector": "nodeSelector",
    "tolerations": "tolerations",
    "affinity": "affinity",
}
"""Option to field of spec."""

_DIGITS = re.compile(r"[0-9]+")
RETENTION = {option: _FIELDS[option] for option in ("keep_tag_revisions", "keep_younger_than")}
"""The options that say what is kept, to field of spec."""


@dataclass(frozen=True)
class PrunerIntent:
    """What the task asks for. Unset parameter = untouched field.

    spec: merge patch form of the owned fields. absent: whether ImagePruner is to be removed, which is refused.
    problems: everything wrong with the parameters alone.
    """

    spec: JSON
    platform: Platform
    absent: bool = False
    problems: tuple[str, ...] = ()


def parse_intent(params: JSON, platform: Platform) -> PrunerIntent:
    """The task's parameters as an intent."""
    spec: dict[str, Any] = {
        field: params[option] for option, field in _FIELDS.items() if params.get(option) is not None
    }
    given = spec.get("resources", {})
    if given:
        spec["resources"] = {
            kind: {name: str(amount) for name, amount in amounts.items()}
            for kind, amounts in given.items()
            if amounts is not None
        }
    absent = params.get("state") == "absent"
    problems = [*_retention_problems(params), *_resource_problems(spec.get("resources", {}))]
    if absent:
        problems.append(
            "state: absent is refused: the operator creates ImagePruner/cluster again within one sync, with its "
            "defaults and not suspended, so that pruning would start. Use suspend: true to stop pruning."
        )
    return PrunerIntent(spec, platform, absent, tuple(problems))


def _retention_problems(params: JSON) -> Iterator[str]:
    for option in ("keep_tag_revisions", "successful_jobs_history_limit", "failed_jobs_history_limit"):
        if params.get(option) is not None and params[option] < 0:
            yield f"{option}: {params[option]} is below zero."
    duration = params.get("keep_younger_than")
    if duration is None:
        return
    if _DIGITS.fullmatch(str(duration)) and str(duration) != "0":
        yield f"keep_younger_than: {duration!r} has no unit; write {duration}m or {duration}h."
        return
    try:
        if parse_duration(duration) < 0:
            yield f"keep_younger_than: {duration!r} is below zero."
    except ValueError as error:
        yield f"keep_younger_than: {error}."


def _resource_problems(resources: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for kind, amounts in resources.items():
        for name, amount in amounts.items():
            try:
                parse_quantity(amount)
            except ValueError as error:
                yield f"resources.{kind}.{name}: {error}."
