# SPDX-License-Identifier: GPL-3.0-or-later
"""The PersistentVolumeClaim that the registry is to use: created, grown or checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Reading,
    Readings,
    Write,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import NAME, Intent


def needs_classes(want: Intent, seen: Readings) -> bool:
    claim = seen.get("claim")
    if "claim" not in seen or isinstance(claim, Denied):
        return False
    if claim is None:
        return bool(want.options.get("create"))
    return bool(want.options.get("expand")) and isinstance(claim, Mapping) and _growth(want, claim) == "grow"


def check_claim(want: Intent, seen: Readings) -> tuple[tuple[str, ...], list[str], list[str], list[Write]]:
    """Access modes of the claim that will be used; findings, warnings and the write that creates or grows it."""
    if want.backend != "pvc" or (want.problems and not NAME.match(want.options.get("claim") or "")):
        return (), [], [], []
    claim = seen.get("claim")
    name, namespace = want.options["claim"], want.platform.namespace
    if isinstance(claim, Denied):
        return (), [], [f"Could not check the claim {name} ({claim.message})."], []
    if not isinstance(claim, Mapping):
        if not want.options.get("create"):
            text = (
                f"PersistentVolumeClaim {name} does not exist in {namespace}. The operator does not watch for it, "
                "so create "
                "it first, or say pvc.create: true with size, storage_class and access_modes."
            )
            return (), [text], [], []
        return _new_claim(want, seen)
    return _existing_claim(want, claim, seen)


def _new_claim(want: Intent, seen: Readings) -> tuple[tuple[str, ...], list[str], list[str], list[Write]]:
    options, namespace = want.options, want.platform.namespace
    modes = tuple(options.get("access_modes") or ["ReadWriteOnce"])
    findings, warnings = _class_findings(want, seen.get("classes"))
    spec: dict[str, Any] = {
        "accessModes": list(modes),
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
    write = Write(
        verb="create",
        path=namespaced(namespace, "persistentvolumeclaims"),
        body=body,
        kind="PersistentVolumeClaim",
        name=options["claim"],
        before={},
        after={"spec": spec},
    )
    return modes, findings, warnings, [write]


def _class_findings(want: Intent, classes: Reading) -> tuple[list[str], list[str]]:
    name = want.options.get("storage_class")
    if not isinstance(classes, tuple):
        message = classes.message if isinstance(classes, Denied) else "not read"
        return [], [f"Could not check the StorageClass ({message})."]
    known = sorted(item["metadata"]["name"] for item in classes)
    if name:
        if name not in known:
            return [f"StorageClass {name!r} does not exist; the cluster has: {', '.join(known) or 'none'}."], []
        return [], []
    default = [
        item["metadata"]["name"]
        for item in classes
        if (item["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    if name is None and not default:
        return [
            (
                "pvc.storage_class: not given, and the cluster has no default StorageClass; it has: "
                f"{', '.join(known) or 'none'}."
            )
        ], []
    return [], []


def _existing_claim(
    want: Intent, claim: JSON, seen: Readings
) -> tuple[tuple[str, ...], list[str], list[str], list[Write]]:
    options = want.options
    name, namespace = options["claim"], want.platform.namespace
    spec: JSON = claim.get("spec") or {}
    modes = tuple(spec.get("accessModes") or ())
    findings, warnings, writes = [], [], []
    if claim.get("metadata", {}).get("deletionTimestamp"):
        findings.append(f"PersistentVolumeClaim {name} is being deleted: a Pod that uses it would stay Pending.")
    if (claim.get("status") or {}).get("phase") == "Lost":
        findings.append(f"PersistentVolumeClaim {name} has lost its volume (phase Lost).")
    if not {"ReadWriteOnce", "ReadWriteMany"} & set(modes):
        findings.append(
            f"PersistentVolumeClaim {name} has access modes {', '.join(modes) or 'none'}; "
            "the operator takes ReadWriteMany or ReadWriteOnce only."
        )
    if spec.get("volumeMode") == "Block":
        findings.append(
            f"PersistentVolumeClaim {name} is a block device (volumeMode Block); the registry needs Filesystem."
        )
    if options.get("access_modes") and set(options["access_modes"]) != set(modes):
        warnings.append(
            f"PersistentVolumeClaim {name} exists with {', '.join(modes)}, asked: "
            f"{', '.join(options['access_modes'])}; left as it is."
        )
    wanted_class = options.get("storage_class")
    if wanted_class is not None and wanted_class != (spec.get("storageClassName") or ""):
        warnings.append(
            f"PersistentVolumeClaim {name} exists with StorageClass {spec.get('storageClassName') or 'none'}, "
            f"asked: {wanted_class or 'none'}; left as it is."
        )
    growth = _growth(want, claim)
    warnings += _capacity_warnings(want, claim) if growth == "same" else []
    has = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if growth == "shrink":
        warnings.append(
            f"PersistentVolumeClaim {name} has {has}, asked: {options['size']}; a claim cannot shrink, left as it is."
        )
    elif growth == "grow" and not options.get("expand"):
        warnings.append(
            f"PersistentVolumeClaim {name} has {has}, asked: {options['size']}; left as it is (pvc.expand: true "
            "grows it)."
        )
    elif growth == "grow":
        allowed, why = _expandable(spec.get("storageClassName"), seen.get("classes"))
        if not allowed:
            findings.append(f"PersistentVolumeClaim {name} cannot grow from {has} to {options['size']}: {why}.")
        size = {"resources": {"requests": {"storage": options["size"]}}}
        writes.append(
            Write(
                verb="patch",
                path=namespaced(namespace, "persistentvolumeclaims", name),
                body={"spec": size},
                kind="PersistentVolumeClaim",
                name=name,
                before={"spec": {"resources": {"requests": {"storage": has}}}},
                after={"spec": size},
            )
        )
    return modes, findings, warnings, writes


def _capacity_warnings(want: Intent, claim: JSON) -> list[str]:
    """The size that was asked for and granted on paper, while the volume still has less."""
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    asked = want.options.get("size")
    try:
        if asked is None or capacity is None or parse_quantity(capacity) >= parse_quantity(asked):
            return []
    except ValueError:
        return []
    said = [
        str(item.get("message") or item.get("type")) for item in (claim.get("status") or {}).get("conditions") or []
    ]
    text = (
        f"PersistentVolumeClaim {want.options['claim']} has {capacity} still, {asked} is asked for: "
        f"the volume has not grown yet{': ' + '; '.join(said) if said else ''}."
    )
    return [text]


def _growth(want: Intent, claim: JSON) -> str:
    """ "grow", "shrink" or "same": the asked size against the claim's request, by value."""
    asked = want.options.get("size")
    has = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    if asked is None or has is None:
        return "same"
    try:
        left, right = parse_quantity(asked), parse_quantity(has)
    except ValueError:
        return "same"
    return "grow" if left > right else "shrink" if left < right else "same"


def _expandable(name: str | None, classes: Reading) -> tuple[bool, str]:
    if not isinstance(classes, tuple):
        return True, ""  # not readable: the API server decides in the dry run
    found = named(classes, name or "")
    if found is None:
        return False, f"its StorageClass {name or '(none)'} does not exist"
    if not found.get("allowVolumeExpansion"):
        return False, f"its StorageClass {name} does not allow expansion (allowVolumeExpansion)"
    return True, ""


def once_findings(want: Intent, replicas: int) -> list[str]:
    """operator fact 4: cannot use ReadWriteOnce access mode with more than one replica / with RollingUpdate."""
    findings = []
    claim = want.options["claim"]
    if replicas > 1:
        findings.append(
            f"PersistentVolumeClaim {claim} is ReadWriteOnce and cannot serve {replicas} replicas. "
            "Set replicas: 1, or use a ReadWriteMany claim."
        )
    if want.rollout_strategy == "RollingUpdate":
        findings.append(
            f"PersistentVolumeClaim {claim} is ReadWriteOnce and cannot be used with rollout_strategy "
            "RollingUpdate: the new "
            "Pod would wait for the volume of the old one. Leave the option out (Recreate is implied) or use "
            "ReadWriteMany."
        )
    return findings
