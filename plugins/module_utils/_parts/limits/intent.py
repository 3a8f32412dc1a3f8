# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task asks of the limits of namespaces, from its parameters alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    is_namespace_name,
    is_object_name,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

QUOTA, RANGE = "ResourceQuota", "LimitRange"

_COUNTS = {"imagestreams": "imagestreams", "images": "images", "image_tags": "image-tags"}
"""Option to key of a quota or a limit, without the platform's prefix."""


@dataclass(frozen=True)
class LimitsIntent:
    """What every namespace is to have. hard: keys of the quota. limits: by type of the LimitRange, its max.

    Values are quantities as written by the user; a key that is not named is left as it is.
    namespaces: as given, None when ``selector`` chooses them. problems: everything wrong with the parameters alone.
    """

    hard: Mapping[str, str]
    limits: Mapping[str, Mapping[str, str]]
    quota_name: str
    range_name: str
    present: bool
    adopt: bool
    allow_below_usage: bool
    namespaces: tuple[str, ...] | None = None
    selector: str = ""
    problems: tuple[str, ...] = ()

    def object_name(self, kind: str) -> str:
        """Name of our ResourceQuota or LimitRange."""
        return self.quota_name if kind == QUOTA else self.range_name

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of objects that matter: those with limits to set, or both when they are to be removed."""
        wanted = {QUOTA: self.hard, RANGE: self.limits}
        return tuple(kind for kind, values in wanted.items() if values or not self.present)


def parse_intent(params: JSON, platform: Platform) -> LimitsIntent:
    """The task's parameters as an intent."""
    hard = _counts(params.get("quota") or {}, platform)
    limits = _limits(params, platform)
    present = params.get("state", "present") == "present"
    problems = [*_amount_problems("quota", hard)]
    for maxima in limits.values():
        problems += _amount_problems("image limits", maxima)
    if present and not hard and not limits:
        problems.append("Nothing to set: give quota, image or image_stream.")
    problems += _name_problems(params)
    namespaces = params.get("namespaces")
    return LimitsIntent(
        hard=hard,
        limits=limits,
        quota_name=params["quota_name"],
        range_name=params["limits_name"],
        present=present,
        adopt=bool(params.get("adopt")),
        allow_below_usage=bool(params.get("allow_below_usage")),
        namespaces=None if namespaces is None else tuple(dict.fromkeys(namespaces)),
        selector=params.get("namespace_selector") or "",
        problems=tuple(problems),
    )


def _counts(given: JSON, platform: Platform) -> dict[str, str]:
    return {
        f"{platform.quota_prefix}/{key}": str(given[option])
        for option, key in _COUNTS.items()
        if given.get(option) is not None
    }


def _limits(params: JSON, platform: Platform) -> dict[str, dict[str, str]]:
    storage = (params.get("image") or {}).get("storage")
    limits = {
        f"{platform.quota_prefix}/Image": {} if storage is None else {"storage": str(storage)},
        f"{platform.quota_prefix}/ImageStream": _counts(params.get("image_stream") or {}, platform),
    }
    return {kind: maxima for kind, maxima in limits.items() if maxima}


def _amount_problems(where: str, amounts: Mapping[str, str]) -> Iterator[str]:
    for key, value in amounts.items():
        try:
            if parse_quantity(value) < 0:
                yield f"{where}: {key} is {value}, below zero."
        except ValueError as error:
            yield f"{where}: {key}: {error}."


def _name_problems(params: JSON) -> Iterator[str]:
    if (params.get("namespaces") is not None) == bool(params.get("namespace_selector")):
        yield "Give either namespaces or namespace_selector."
    for name in params.get("namespaces") or ():
        if not is_namespace_name(name):
            yield f"namespaces: {name!r} is not a name of a namespace."
    for option in ("quota_name", "limits_name"):
        if not is_object_name(params[option]):
            yield f"{option}: {params[option]!r} is not a name of an object."
