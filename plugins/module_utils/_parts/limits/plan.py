# SPDX-License-Identifier: GPL-3.0-or-later
"""Image limits of namespaces: which ResourceQuota and LimitRange each one needs, and the writes for that.

Pure. Sources: Registry v2 page (Configure Image Limits), operator facts 6.1 to 6.3, newer pages (Image limits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Denied,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    mapping_at,
    mappings_at,
    member_path,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.goal import (
    FEW,
    JSON,
    NAMED,
    OWNER,
    OWNER_LABEL,
    RESOURCE,
    LimitsGoal,
    Step,
    below,
    collections,
    equal,
    reduced,
    some,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    QUOTA,
    RANGE,
    LimitsIntent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.others import keeper, stricter

NAME_LABEL = "kubernetes.io/metadata.name"
"""Label with the name of a namespace, which the API server itself sets (Kubernetes 1.21 and newer)."""
SELECTED = 50
"""Up to this many namespaces are selected by that label; a request's URL must not become too long."""
MISSING = 20
"""How many namespaces that were not listed are looked at: one may lack the label, but hardly many do."""

# -- reading -----------------------------------------------------------------------------------------------------------


def needs(intent: LimitsIntent, seen: Readings) -> list[Ref]:
    """The namespaces first, then our objects in them; nothing while the parameters are wrong."""
    if intent.problems:
        return []
    refs = _namespace_refs(intent, seen)
    if all(ref.label in seen for ref in refs):
        refs += _object_refs(intent, selected(intent, seen)[0], seen)
    return [ref for ref in refs if ref.label not in seen]


def _namespace_refs(intent: LimitsIntent, seen: Readings) -> list[Ref]:
    """One list; then one by one those that were named and are not in it, or may not be listed."""
    path, names = "/api/v1/namespaces", intent.namespaces
    if names == ():
        return []
    selector = intent.selector
    if names is not None and len(names) <= SELECTED:
        selector = f"{NAME_LABEL} in ({','.join(names)})"
    required = names is None or len(names) > FEW
    refs = [Ref("namespaces", path, True, required, label_selector=selector, keep=_reduced_namespace)]
    if names is None or "namespaces" not in seen:
        return refs
    listed = {str(mapping_at(item, "metadata").get("name")) for item in _items(seen["namespaces"])}
    missing = [name for name in names if name not in listed][:MISSING]
    return refs + [Ref(f"namespace {name}", member_path(path, name), required=True) for name in missing]


def _object_refs(intent: LimitsIntent, namespaces: tuple[str, ...], seen: Readings) -> list[Ref]:
    """Our objects and, where limits are to be set, those of others; ours alone where the others may not be listed."""
    refs = []
    for kind, namespace, path in collections(intent, namespaces):
        name = intent.object_name(kind)
        label = f"{kind} {namespace}" if namespace else kind
        if not intent.present and not namespace:
            refs.append(Ref(label, path, True, True, field_selector=f"metadata.name={name}", keep=reduced))
        elif intent.present:
            refs.append(Ref(label, path, True, required=not namespace, keep=keeper(intent, kind)))
        if namespace and (not intent.present or isinstance(seen.get(label), Denied)):
            path = namespaced(namespace, RESOURCE[kind], name)
            refs.append(Ref(f"{label} alone", path, required=True, keep=reduced))
    return refs


def _reduced_namespace(item: JSON) -> JSON:
    return {
        "metadata": {"name": item["metadata"]["name"]},
        "status": {"phase": mapping_at(item, "status").get("phase")},
    }


def selected(intent: LimitsIntent, seen: Readings) -> tuple[tuple[str, ...], list[str]]:
    """The namespaces that were selected, in order, and those named that do not exist or are being deleted."""
    items = [*_items(seen.get("namespaces")), *(seen.get(f"namespace {name}") for name in intent.namespaces or ())]
    active = {str(mapping_at(item, "metadata").get("name")) for item in items if is_active(item)}
    if intent.namespaces is None:
        return tuple(sorted(active)), []
    missing = [name for name in intent.namespaces if name not in active]
    return tuple(name for name in intent.namespaces if name in active), missing


def is_active(namespace: object) -> bool:
    """Whether a namespace is there and is not being deleted."""
    return isinstance(namespace, Mapping) and mapping_at(namespace, "status").get("phase") != "Terminating"


def live_objects(intent: LimitsIntent, namespaces: tuple[str, ...], seen: Readings) -> dict[str, dict[str, JSON]]:
    """Our objects as they were read, by kind and namespace."""
    chosen = set(namespaces)
    live: dict[str, dict[str, JSON]] = {QUOTA: {}, RANGE: {}}
    for kind, namespace, _path in collections(intent, namespaces):
        label = f"{kind} {namespace}" if namespace else kind
        for item in (*_items(seen.get(label)), *_items(seen.get(f"{label} alone"))):
            meta = mapping_at(item, "metadata")
            if meta.get("namespace") in chosen and meta.get("name") == intent.object_name(kind):
                live[kind][item["metadata"]["namespace"]] = item
    return live


def _items(found: Reading) -> tuple[JSON, ...]:
    """The objects of a collection, or the one object."""
    if isinstance(found, tuple):
        return found
    return (found,) if isinstance(found, Mapping) else ()


def _stricter(intent: LimitsIntent, namespaces: tuple[str, ...], seen: Readings) -> str:
    """See others.stricter."""
    items: dict[str, tuple[JSON, ...]] = {QUOTA: (), RANGE: ()}
    for kind, namespace, _path in collections(intent, namespaces):
        items[kind] += _items(seen.get(f"{kind} {namespace}" if namespace else kind))
    return stricter(intent, items, frozenset(namespaces))


# -- deciding ----------------------------------------------------------------------------------------------------------


def plan(intent: LimitsIntent, seen: Readings) -> Plan[LimitsGoal]:
    """Refusals for all namespaces at once, and an independent write for each object that differs."""
    if intent.problems:
        return Plan(refusals=intent.problems)
    namespaces, missing = selected(intent, seen)
    if missing:
        return Plan(refusals=(f"These namespaces do not exist (or are being deleted): {', '.join(missing)}.",))
    live = live_objects(intent, namespaces, seen)
    found = tuple(
        step for name in namespaces for step in steps(intent, name, live[QUOTA].get(name), live[RANGE].get(name))
    )
    findings = [step.finding for step in found if step.finding]
    warnings = [step.warning for step in found if step.warning][:NAMED]
    others = _stricter(intent, namespaces, seen) if intent.present else ""
    if others:
        warnings.append(others)
    if not namespaces:
        reason = f"namespace_selector {intent.selector!r} matches none." if intent.selector else "namespaces is empty."
        warnings.append(f"No namespace was selected: {reason}")
    if findings:
        withheld = (step.write or step.withheld for step in found)
        return Plan((some(findings),), withheld=tuple(write for write in withheld if write is not None))
    return Plan(
        warnings=tuple(warnings),
        writes=tuple(step.write for step in found if step.write is not None),
        goal=LimitsGoal(intent, namespaces, found),
        independent=True,
    )


def revise(intent: LimitsIntent, write: Write, live: JSON | None) -> Write | str | None:
    """One write decided anew from the object as it is now; a text when it must not be written any more."""
    one = replace(intent, limits={}) if write.kind == QUOTA else replace(intent, hard={})
    found = steps(one if intent.present else intent, write.namespace, live, live)
    step = next(item for item in found if item.kind == write.kind)
    return step.finding or step.write


def steps(intent: LimitsIntent, namespace: str, quota: JSON | None, limit_range: JSON | None) -> tuple[Step, ...]:
    """What the namespace's two objects need, given what is there (None: not there)."""
    if not intent.present:
        return (
            _removal(intent, namespace, QUOTA, intent.quota_name, quota),
            _removal(intent, namespace, RANGE, intent.range_name, limit_range),
        )
    found = []
    if intent.hard:
        found.append(_quota(intent, namespace, quota))
    if intent.limits:
        found.append(_limit_range(intent, namespace, limit_range))
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
    write = Write("create", _path(kind, namespace), body, kind, name, {}, {"spec": spec})
    return Step(namespace, kind, "created", write)


def _quota(intent: LimitsIntent, namespace: str, live: JSON | None) -> Step:
    if live is None:
        return _new(QUOTA, namespace, intent.quota_name, {"hard": dict(intent.hard)})
    if mapping_at(live, "metadata").get("deletionTimestamp"):
        return _being_deleted(namespace, QUOTA, intent.quota_name)
    hard, used = mapping_at(live, "spec", "hard"), mapping_at(live, "status", "used")
    changed = {key: value for key, value in intent.hard.items() if not equal(value, hard.get(key))}
    if not changed:
        return Step(namespace, QUOTA, "unchanged")
    low = [
        f"{key} to {value} while {used[key]} are in use"
        for key, value in changed.items()
        if key in used and below(value, used[key])
    ]
    write = Write(
        verb="patch",
        path=_path(QUOTA, namespace, intent.quota_name),
        body={"spec": {"hard": changed}},
        kind=QUOTA,
        name=intent.quota_name,
        before={"spec": {"hard": {key: hard[key] for key in changed if key in hard}}},
        after={"spec": {"hard": changed}},
    )
    if low and not intent.allow_below_usage:
        text = f"{namespace}: would lower {', '.join(low)} (allow_below_usage: true does it anyway)."
        return Step(namespace, QUOTA, "unchanged", finding=text, withheld=write)
    warning = f"{namespace}: lowered {', '.join(low)}." if low else ""
    return Step(namespace, QUOTA, "updated", write, warning=warning)


def _limit_range(intent: LimitsIntent, namespace: str, live: JSON | None) -> Step:
    """Entries of other types in the same LimitRange stay, and so does everything of ours that is not named."""
    if live is None:
        spec = {"limits": [{"type": kind, "max": dict(maxima)} for kind, maxima in intent.limits.items()]}
        return _new(RANGE, namespace, intent.range_name, spec)
    if mapping_at(live, "metadata").get("deletionTimestamp"):
        return _being_deleted(namespace, RANGE, intent.range_name)
    entries = [dict(entry) for entry in mappings_at(live, "spec", "limits")]
    new, changed = merged(entries, intent.limits)
    if not changed:
        return Step(namespace, RANGE, "unchanged")
    ours = [entry for entry in entries if str(entry.get("type")) in intent.limits]
    write = Write(
        verb="patch",
        path=_path(RANGE, namespace, intent.range_name),
        body={
            # A list replaces the list: never over somebody else's edit.
            "metadata": {"resourceVersion": mapping_at(live, "metadata").get("resourceVersion")},
            "spec": {"limits": new},
        },
        kind=RANGE,
        name=intent.range_name,
        before={"spec": {"limits": ours}},
        after={"spec": {"limits": [entry for entry in new if str(entry.get("type")) in intent.limits]}},
    )
    return Step(namespace, RANGE, "updated", write)


def merged(
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
            maxima = dict(mapping_at(entry, "max"))
            for key, value in limits[kind].items():
                if not equal(value, maxima.get(key)):
                    maxima[key] = value
                    changed = True
            new["max"] = maxima
        result.append(new)
    for kind, wanted in limits.items():
        if kind not in met:
            result.append({"type": kind, "max": dict(wanted)})
            changed = True
    return result, changed


def _removal(intent: LimitsIntent, namespace: str, kind: str, name: str, live: JSON | None) -> Step:
    if live is None or mapping_at(live, "metadata").get("deletionTimestamp"):
        return Step(namespace, kind, "absent")
    if not removable(intent, live):
        text = f"{namespace}: {kind} {name} was not made by this collection, so it stays (adopt: true removes it)."
        return Step(namespace, kind, "kept", warning=text)
    body = {"resourceVersion": mapping_at(live, "metadata").get("resourceVersion")}
    before = {"spec": mapping_at(live, "spec")}
    write = Write("delete", _path(kind, namespace, name), body, kind, name, before, {})
    return Step(namespace, kind, "deleted", write)


def removable(intent: LimitsIntent, live: JSON) -> bool:
    """Whether the object is ours to remove."""
    return intent.adopt or mapping_at(live, "metadata", "labels").get(OWNER_LABEL) == OWNER


def _being_deleted(namespace: str, kind: str, name: str) -> Step:
    text = f"{namespace}: {kind} {name} is being deleted; run the task again when it is gone."
    return Step(namespace, kind, "unchanged", finding=text)
