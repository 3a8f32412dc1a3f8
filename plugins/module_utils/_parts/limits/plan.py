# SPDX-License-Identifier: GPL-3.0-or-later
"""Image limits of namespaces: which ResourceQuota and LimitRange each one needs, and what that takes.

Pure. Sources: Registry v2 page (Configure Image Limits), operator facts 6.1 to 6.3, newer pages (Image limits).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Write
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.facts import part
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

OWNER_LABEL = "app.kubernetes.io/managed-by"
OWNER = "alauda.image_registry"
"""Marks what this collection made: only that is removed by state: absent without a further word."""

QUOTA, RANGE = "ResourceQuota", "LimitRange"
RESOURCE = {QUOTA: "resourcequotas", RANGE: "limitranges"}

_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


@dataclass(frozen=True)
class Wish:
    """What every namespace shall have. hard: keys of the quota. limits: by type of the LimitRange, its max.

    Values are quantities as written by the user; a key that is not named is left as it is.
    """

    hard: Mapping[str, str]
    limits: Mapping[str, Mapping[str, str]]
    quota_name: str
    range_name: str
    present: bool
    adopt: bool
    allow_below_usage: bool


@dataclass(frozen=True)
class Step:
    """What one object of one namespace needs. action: created, updated, deleted, unchanged, absent or kept."""

    namespace: str
    kind: str
    action: str
    write: Write | None = None
    finding: str = ""
    warning: str = ""


def wish(params: JSON, platform: Platform) -> tuple[Wish, list[str]]:
    """The parameters as a Wish, and everything wrong with them alone."""
    prefix, problems = platform.quota_prefix, []
    quota, image, stream = (params.get(name) or {} for name in ("quota", "image", "image_stream"))
    hard = {
        f"{prefix}/{key}": str(quota[option])
        for option, key in (("imagestreams", "imagestreams"), ("images", "images"), ("image_tags", "image-tags"))
        if quota.get(option) is not None
    }
    limits: dict[str, dict[str, str]] = {}
    if image.get("storage") is not None:
        limits[f"{prefix}/Image"] = {"storage": str(image["storage"])}
    maxima = {
        f"{prefix}/{key}": str(stream[option])
        for option, key in (("images", "images"), ("image_tags", "image-tags"))
        if stream.get(option) is not None
    }
    if maxima:
        limits[f"{prefix}/ImageStream"] = maxima
    for where, values in (("quota", hard), *(("image limits", values) for values in limits.values())):
        for key, value in values.items():
            try:
                if parse_quantity(value) < 0:
                    problems.append(f"{where}: {key} is {value}, below zero.")
            except ValueError as error:
                problems.append(f"{where}: {key}: {error}.")
    present = params.get("state", "present") == "present"
    if present and not hard and not limits:
        problems.append("Nothing to set: give quota, image or image_stream.")
    if bool(params.get("namespaces") is not None) == bool(params.get("namespace_selector")):
        problems.append("Give either namespaces or namespace_selector.")
    for name in params.get("namespaces") or ():
        if not _NAMESPACE.match(name):
            problems.append(f"namespaces: {name!r} is not a name of a namespace.")
    for option in ("quota_name", "limits_name"):
        if not _NAME.match(params[option]):
            problems.append(f"{option}: {params[option]!r} is not a name of an object.")
    return (
        Wish(
            hard=hard,
            limits=limits,
            quota_name=params["quota_name"],
            range_name=params["limits_name"],
            present=present,
            adopt=bool(params.get("adopt")),
            allow_below_usage=bool(params.get("allow_below_usage")),
        ),
        problems,
    )


def steps(want: Wish, namespace: str, quota: JSON | None, limit_range: JSON | None) -> tuple[Step, ...]:
    """What the namespace's two objects need, given what is there (None: not there)."""
    if not want.present:
        return (
            _removal(want, namespace, QUOTA, want.quota_name, quota),
            _removal(want, namespace, RANGE, want.range_name, limit_range),
        )
    found = []
    if want.hard:
        found.append(_quota(want, namespace, quota))
    if want.limits:
        found.append(_limit_range(want, namespace, limit_range))
    return tuple(found)


def _path(kind: str, namespace: str, name: str = "") -> str:
    return namespaced(namespace, RESOURCE[kind], name)


def _new(kind: str, namespace: str, name: str, spec: JSON) -> Step:
    body = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {OWNER_LABEL: OWNER}},
        "spec": spec,
    }
    write = Write("create", _path(kind, namespace), body, kind, f"{namespace}/{name}", {}, {"spec": spec})
    return Step(namespace, kind, "created", write)


def _quota(want: Wish, namespace: str, live: JSON | None) -> Step:
    if live is None:
        return _new(QUOTA, namespace, want.quota_name, {"hard": dict(want.hard)})
    if part(live, "metadata").get("deletionTimestamp"):
        return _being_deleted(namespace, QUOTA, want.quota_name)
    hard, used = part(live, "spec", "hard"), part(live, "status", "used")
    changed = {key: value for key, value in want.hard.items() if not _equal(value, hard.get(key))}
    low = [
        f"{key} to {value} while {used[key]} are in use"
        for key, value in changed.items()
        if key in used and parse_quantity(value) < parse_quantity(str(used[key]))
    ]
    if low and not want.allow_below_usage:
        text = f"{namespace}: would lower {', '.join(low)} (allow_below_usage: true does it anyway)."
        return Step(namespace, QUOTA, "unchanged", finding=text)
    if not changed:
        return Step(namespace, QUOTA, "unchanged")
    write = Write(
        verb="patch",
        path=_path(QUOTA, namespace, want.quota_name),
        body={"spec": {"hard": changed}},
        kind=QUOTA,
        name=f"{namespace}/{want.quota_name}",
        before={"spec": {"hard": {key: hard[key] for key in changed if key in hard}}},
        after={"spec": {"hard": changed}},
    )
    warning = f"{namespace}: lowered {', '.join(low)}." if low else ""
    return Step(namespace, QUOTA, "updated", write, warning=warning)


def _limit_range(want: Wish, namespace: str, live: JSON | None) -> Step:
    """Entries of other types in the same LimitRange stay, and so does everything of ours that is not named."""
    if live is None:
        spec = {"limits": [{"type": kind, "max": dict(maxima)} for kind, maxima in want.limits.items()]}
        return _new(RANGE, namespace, want.range_name, spec)
    if part(live, "metadata").get("deletionTimestamp"):
        return _being_deleted(namespace, RANGE, want.range_name)
    entries = [dict(entry) for entry in part(live, "spec").get("limits") or ()]
    merged, changed = _merged(entries, want.limits)
    if not changed:
        return Step(namespace, RANGE, "unchanged")
    ours = [entry for entry in entries if entry.get("type") in want.limits]
    write = Write(
        verb="patch",
        path=_path(RANGE, namespace, want.range_name),
        body={
            # A list replaces the list: never over somebody else's edit.
            "metadata": {"resourceVersion": part(live, "metadata").get("resourceVersion")},
            "spec": {"limits": merged},
        },
        kind=RANGE,
        name=f"{namespace}/{want.range_name}",
        before={"spec": {"limits": ours}},
        after={"spec": {"limits": [entry for entry in merged if entry.get("type") in want.limits]}},
    )
    return Step(namespace, RANGE, "updated", write)


def _merged(
    entries: Sequence[Mapping[str, Any]], limits: Mapping[str, Mapping[str, str]]
) -> tuple[list[dict[str, Any]], bool]:
    """The entries with our maxima in them, and whether that differs from what was there.

    The smallest max of several entries of one type counts (operator fact 6.2), so every entry of our types gets ours.
    """
    result, changed, met = [], False, set()
    for entry in entries:
        new = dict(entry)
        kind = str(entry.get("type"))
        if kind in limits:
            met.add(kind)
            maxima = dict(entry.get("max") or {})
            for key, value in limits[kind].items():
                if not _equal(value, maxima.get(key)):
                    maxima[key] = value
                    changed = True
            new["max"] = maxima
        result.append(new)
    for kind, wanted in limits.items():
        if kind not in met:
            result.append({"type": kind, "max": dict(wanted)})
            changed = True
    return result, changed


def _removal(want: Wish, namespace: str, kind: str, name: str, live: JSON | None) -> Step:
    if live is None or part(live, "metadata").get("deletionTimestamp"):
        return Step(namespace, kind, "absent")
    if not _removable(want, live):
        text = f"{namespace}: {kind} {name} was not made by this collection and stays (adopt: true removes it)."
        return Step(namespace, kind, "kept", warning=text)
    body = {"resourceVersion": part(live, "metadata").get("resourceVersion")}
    before = {"spec": part(live, "spec")}
    write = Write("delete", _path(kind, namespace, name), body, kind, f"{namespace}/{name}", before, {})
    return Step(namespace, kind, "deleted", write)


def _removable(want: Wish, live: JSON) -> bool:
    return want.adopt or part(live, "metadata", "labels").get(OWNER_LABEL) == OWNER


def _being_deleted(namespace: str, kind: str, name: str) -> Step:
    text = f"{namespace}: {kind} {name} is being deleted; run again when it is gone."
    return Step(namespace, kind, "unchanged", finding=text)


def _equal(wanted: str, live: object) -> bool:
    if live is None:
        return False
    try:
        return parse_quantity(wanted) == parse_quantity(str(live))
    except ValueError:
        return False


# -- the verdict -----------------------------------------------------------------------------------------------------


def held(want: Wish, quota: JSON | None, limit_range: JSON | None) -> str:
    """Why the server does not hold the wish (yet), as a short phrase; empty when it does.

    The quota controller has taken note when status.hard carries the values.
    """
    if not want.present:
        for kind, live in ((QUOTA, quota), (RANGE, limit_range)):
            if live is not None and part(live, "metadata").get("deletionTimestamp"):
                return f"the {kind} is being deleted"
            if live is not None and _removable(want, live):
                return f"the {kind} is still there"
        return ""
    if want.hard:
        if quota is None:
            return "the ResourceQuota is not there"
        for where in ("spec", "status"):
            hard = part(quota, where, "hard")
            behind = [key for key, value in want.hard.items() if not _equal(value, hard.get(key))]
            if behind:
                return f"{where}.hard does not hold {', '.join(behind)}"
    if want.limits:
        if limit_range is None:
            return "the LimitRange is not there"
        entries = [dict(entry) for entry in part(limit_range, "spec").get("limits") or ()]
        if _merged(entries, want.limits)[1]:
            return "the LimitRange does not hold the limits"
    return ""


def uncounted(want: Wish, quota: JSON | None) -> list[str]:
    """Keys of the quota that no controller counts: in status.hard, but not in status.used (operator fact 6.3)."""
    hard, used = part(quota, "status", "hard"), part(quota, "status", "used")
    return [key for key in want.hard if key in hard and key not in used]
