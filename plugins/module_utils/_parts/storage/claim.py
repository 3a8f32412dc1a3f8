# SPDX-License-Identifier: GPL-3.0-or-later
"""The PersistentVolumeClaim that the registry is to use: created, grown or checked. Pure.

Sources: Registry v2 page (Configure PVC Storage), operator facts 3.4.1, 4.5 and 4.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Denied,
    Findings,
    Reading,
    Readings,
    Ref,
    Write,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    being_deleted,
    is_object_name,
    mapping_at,
    mappings_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import StorageIntent


def claim_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """The claim, and the StorageClasses where it is to be created or grown."""
    if not _uses_claim(intent):
        return []
    path = namespaced(intent.platform.namespace, "persistentvolumeclaims", intent.options["claim"])
    refs = [Ref("claim", path)]
    if _needs_classes(intent, seen):
        refs.append(Ref("classes", "/apis/storage.k8s.io/v1/storageclasses", collection=True))
    if _lacks_class(intent, seen):
        refs.append(Ref("volumes", "/api/v1/persistentvolumes", collection=True, keep=_volume))
    return refs


def _volume(item: JSON) -> JSON:
    """What counts of a PersistentVolume; where it is, and how it is mounted, is nobody's business."""
    kept = ("capacity", "accessModes", "storageClassName", "volumeMode", "claimRef")
    spec = {key: value for key, value in mapping_at(item, "spec").items() if key in kept}
    return {"metadata": {"name": mapping_at(item, "metadata").get("name")}, "spec": spec, "status": item.get("status")}


def _uses_claim(intent: StorageIntent) -> bool:
    """Whether there is a claim to look at: its name may be what is wrong with the parameters."""
    return intent.backend == "pvc" and is_object_name(intent.options.get("claim") or "")


def _needs_classes(intent: StorageIntent, seen: Readings) -> bool:
    if "claim" not in seen:
        return False
    claim = seen["claim"]
    if claim is None:
        return bool(intent.options.get("create"))
    return isinstance(claim, Mapping) and bool(intent.options.get("expand")) and _growth(intent, claim) > 0


def access_modes(intent: StorageIntent, seen: Readings) -> tuple[str, ...]:
    """The access modes of the claim that will be used; empty without one, and when they are not known."""
    claim = seen.get("claim")
    if not _uses_claim(intent):
        return ()
    if isinstance(claim, Mapping):
        return tuple(mapping_at(claim, "spec").get("accessModes") or ())
    if claim is None and intent.options.get("create"):
        return tuple(intent.options.get("access_modes") or ["ReadWriteOnce"])
    return ()


def read_write_once(intent: StorageIntent, seen: Readings) -> bool:
    """Whether the claim can serve one node only, which rules out more replicas and rolling updates."""
    modes = access_modes(intent, seen)
    return bool(modes) and "ReadWriteMany" not in modes


def check_claim(intent: StorageIntent, seen: Readings) -> Findings:
    """Whether the claim can be used, and the write that creates or grows it."""
    if not _uses_claim(intent):
        return Findings()
    claim, name = seen.get("claim"), intent.options["claim"]
    if isinstance(claim, Denied):
        return Findings.warn(f"Could not check the claim {name} ({claim.message}).")
    if isinstance(claim, Mapping):
        return _check_existing(intent, claim) + _check_size(intent, claim, seen.get("classes"))
    if intent.options.get("create"):
        return _check_class(intent, seen) + Findings(writes=(_creation(intent, seen),))
    return Findings.refuse(
        f"PersistentVolumeClaim {name} does not exist in {intent.platform.namespace}. The operator does not watch for "
        "it, so create it first, or set pvc.create: true with size, storage_class and access_modes."
    )


def _creation(intent: StorageIntent, seen: Readings) -> Write:
    options, namespace = intent.options, intent.platform.namespace
    spec: dict[str, Any] = {
        "accessModes": list(access_modes(intent, seen)),
        "resources": {"requests": {"storage": options["size"]}} if options.get("size") else {},
    }
    if options.get("storage_class") is not None:
        spec["storageClassName"] = options["storage_class"]
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": options["claim"], "namespace": namespace},
        "spec": spec,
    }
    return Write(
        verb="create",
        path=namespaced(namespace, "persistentvolumeclaims"),
        body=body,
        kind="PersistentVolumeClaim",
        name=options["claim"],
        before={},
        after={"spec": spec},
    )


def _lacks_class(intent: StorageIntent, seen: Readings) -> bool:
    """Whether no StorageClass would make a volume for the new claim; False when that is not known."""
    classes, name = seen.get("classes"), intent.options.get("storage_class")
    if seen.get("claim") is not None or not isinstance(classes, tuple):
        return False
    return not any(map(_is_default, classes)) if name is None else bool(name) and named(classes, name) is None


def _check_class(intent: StorageIntent, seen: Readings) -> Findings:
    """Whether there is a StorageClass that would make a volume for the new claim, or a volume made by hand."""
    classes, volumes = seen.get("classes"), seen.get("volumes")
    if not isinstance(classes, tuple):
        message = classes.message if isinstance(classes, Denied) else "not read"
        return Findings.warn(f"Could not check the StorageClass ({message}).")
    if not _lacks_class(intent, seen):
        return Findings()
    name = intent.options.get("storage_class")
    listed = ", ".join(sorted(str(mapping_at(item, "metadata").get("name")) for item in classes)) or "none"
    if name is None:
        lack = f"pvc.storage_class: not given, and the cluster has no default StorageClass; it has: {listed}."
    else:
        lack = f"StorageClass {name!r} does not exist; the cluster has: {listed}."
    if isinstance(volumes, Denied):
        return Findings.warn(
            f"{lack} Whether a PersistentVolume made by hand fits the claim could not be checked ({volumes.message})."
        )
    if isinstance(volumes, tuple) and any(_serves(intent, seen, volume) for volume in volumes):
        return Findings()
    return Findings.refuse(f"{lack} No available PersistentVolume fits the claim either.")


def _serves(intent: StorageIntent, seen: Readings, volume: JSON) -> bool:
    """Whether Kubernetes would bind the new claim to this volume."""
    spec, options = mapping_at(volume, "spec"), intent.options
    reserved = mapping_at(spec, "claimRef")
    theirs = (reserved.get("namespace"), reserved.get("name")) != (intent.platform.namespace, options["claim"])
    phase = mapping_at(volume, "status").get("phase") or "Pending"
    if (reserved and theirs) or phase not in ("Available", "Pending"):
        return False
    try:
        room = parse_quantity(mapping_at(spec, "capacity").get("storage")) >= parse_quantity(options.get("size"))
    except ValueError:
        return False
    fits = set(access_modes(intent, seen)) <= set(spec.get("accessModes") or ())
    same = (spec.get("storageClassName") or "") == (options.get("storage_class") or "")
    return room and fits and same and spec.get("volumeMode") != "Block"


def _is_default(storage_class: JSON) -> bool:
    annotations = mapping_at(storage_class, "metadata", "annotations")
    return annotations.get("storageclass.kubernetes.io/is-default-class") == "true"


def _check_existing(intent: StorageIntent, claim: JSON) -> Findings:
    """An existing claim is never changed except in size: what else differs is left as it is."""
    return Findings(tuple(_unusable(claim, intent.options["claim"])), tuple(_left_as_it_is(intent, claim)))


def _unusable(claim: JSON, name: str) -> Iterator[str]:
    spec = mapping_at(claim, "spec")
    modes = spec.get("accessModes") or ()
    if being_deleted(claim):
        yield f"PersistentVolumeClaim {name} is being deleted: a Pod that uses it would stay Pending."
    if mapping_at(claim, "status").get("phase") == "Lost":
        yield f"PersistentVolumeClaim {name} has lost its volume (phase Lost)."
    if not {"ReadWriteOnce", "ReadWriteMany"} & set(modes):
        yield (
            f"PersistentVolumeClaim {name} has access modes {', '.join(modes) or 'none'}; the operator takes "
            "ReadWriteMany or ReadWriteOnce only."
        )
    if spec.get("volumeMode") == "Block":
        yield f"PersistentVolumeClaim {name} is a block device (volumeMode Block); the registry needs Filesystem."


def _left_as_it_is(intent: StorageIntent, claim: JSON) -> Iterator[str]:
    name, spec = intent.options["claim"], mapping_at(claim, "spec")
    modes, wanted_modes = spec.get("accessModes") or (), intent.options.get("access_modes")
    if wanted_modes and set(wanted_modes) != set(modes):
        yield (
            f"PersistentVolumeClaim {name} exists with {', '.join(modes)}; {', '.join(wanted_modes)} was requested. It "
            "is left as it is."
        )
    has, wanted = spec.get("storageClassName") or "", intent.options.get("storage_class")
    if wanted is not None and wanted != has:
        yield (
            f"PersistentVolumeClaim {name} exists with StorageClass {has or 'none'}; {wanted or 'none'} was requested. "
            "It is left as it is."
        )


# -- size --------------------------------------------------------------------------------------------------------------


def _requested(claim: JSON) -> Any:
    return mapping_at(claim, "spec", "resources", "requests").get("storage")


def _growth(intent: StorageIntent, claim: JSON) -> int:
    """1, 0 or -1: whether the wanted size is above, equal to or below what the claim requests, by value."""
    wanted, requested = intent.options.get("size"), _requested(claim)
    if wanted is None or requested is None:
        return 0
    try:
        left, right = parse_quantity(wanted), parse_quantity(requested)
    except ValueError:
        return 0
    return (left > right) - (left < right)


def wanted_capacity(intent: StorageIntent, seen: Readings) -> str:
    """The size that the claim's volume must reach, as the task gives it; empty when the task lets it be."""
    claim = seen.get("claim")
    if not _uses_claim(intent) or not isinstance(claim, Mapping) or not intent.options.get("expand"):
        return ""
    return str(intent.options.get("size") or "") if _growth(intent, claim) >= 0 else ""


def _check_size(intent: StorageIntent, claim: JSON, classes: Reading) -> Findings:
    name, wanted, requested = intent.options["claim"], intent.options.get("size"), _requested(claim)
    growth = _growth(intent, claim)
    if growth == 0:
        return Findings() if intent.options.get("expand") else Findings.warn(*_not_grown_yet(intent, claim))
    differs = f"PersistentVolumeClaim {name} requests {requested}; {wanted} was requested by the task."
    if growth < 0:
        return Findings.warn(f"{differs} A claim cannot shrink, so it is left as it is.")
    if not intent.options.get("expand"):
        return Findings.warn(f"{differs} It is left as it is (pvc.expand: true grows it).")
    obstacle = _expansion_obstacle(mapping_at(claim, "spec").get("storageClassName"), classes)
    if obstacle:
        return Findings.refuse(f"PersistentVolumeClaim {name} cannot grow from {requested} to {wanted}: {obstacle}.")
    size = {"resources": {"requests": {"storage": wanted}}}
    write = Write(
        verb="patch",
        path=namespaced(intent.platform.namespace, "persistentvolumeclaims", name),
        body={"spec": size},
        kind="PersistentVolumeClaim",
        name=name,
        before={"spec": {"resources": {"requests": {"storage": requested}}}},
        after={"spec": size},
    )
    return Findings(writes=(write,))


def _not_grown_yet(intent: StorageIntent, claim: JSON) -> Iterator[str]:
    """The claim requests the wanted size, but its volume has less."""
    capacity, wanted = mapping_at(claim, "status", "capacity").get("storage"), intent.options.get("size")
    try:
        if wanted is None or capacity is None or parse_quantity(capacity) >= parse_quantity(wanted):
            return
    except ValueError:
        return
    reasons = [str(item.get("message") or item.get("type")) for item in mappings_at(claim, "status", "conditions")]
    yield (
        f"PersistentVolumeClaim {intent.options['claim']} is still {capacity}; {wanted} was requested. The volume has "
        f"not grown yet{': ' + '; '.join(reasons) if reasons else ''}."
    )


def _expansion_obstacle(name: str | None, classes: Reading) -> str:
    """Why the claim's StorageClass lets it not grow; empty when it does."""
    if not isinstance(classes, tuple):
        return ""  # not readable: the API server decides in the dry run
    found = named(classes, name or "")
    if found is None:
        return f"its StorageClass {name or '(none)'} does not exist"
    return (
        ""
        if found.get("allowVolumeExpansion")
        else f"its StorageClass {name} does not allow expansion (allowVolumeExpansion)"
    )
