# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there are images: in an emptyDir, which are gone with its Pod, and in a bucket made by the operator. Pure.

Source: Registry v2 page, Configure Development Storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Denied,
    Findings,
    Readings,
    Ref,
    Write,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    mapping_at,
    namespaced,
    number_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import visible
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.rendering import serves_https

MOST = 1000
"""The largest number of repositories that is counted."""
_NAMED = 3
_LONGEST_NAME = 80
_KEEPS_PODS = frozenset({"rolloutStrategy", "managementState"})
"""Fields of the spec that change nothing in the Pod template."""


@dataclass(frozen=True)
class Loss:
    """What a change does to an emptyDir in use. leaves: it is left for another storage, not only emptied."""

    leaves: bool


def loss(spec: JSON, config: JSON) -> Loss | None:
    """What bringing the Config to ``spec`` does to an emptyDir that is in use; None when it does nothing to one."""
    used = mapping_at(config, "status", "storage") or mapping_at(config, "spec", "storage")
    if used.get("emptyDir") is None or spec.get("managementState") != "Managed":
        return None
    patch = diff(spec, mapping_at(config, "spec"))
    leaves = mapping_at(spec, "storage").get("emptyDir") is None
    # Without leaving, the rest of the patch takes back what the operator has not accepted: the Pod never followed it.
    storage = leaves and set(mapping_at(patch, "storage")) - {"managementState"}
    others = set(patch) - _KEEPS_PODS - {"storage"}
    return Loss(leaves) if storage or others else None


def images_refs(platform: Platform, seen: Readings, lost: Loss | None) -> list[Ref]:
    """The registry's catalog, where images would be lost and a registry runs that can be asked."""
    return [] if lost is None or not _available(platform, seen) else [_catalog(platform, seen, "images")]


def check_images(platform: Platform, seen: Readings, lost: Loss | None, start: str, allowed: bool) -> Findings:
    """What would be lost. start: the storage to begin with. allowed: whether the task may leave images behind."""
    if lost is None or not _available(platform, seen):
        return Findings()
    catalog = seen.get("images")
    if not isinstance(catalog, Mapping):
        skipped = ": with probe: skip the registry is not queried"
        why = f" ({catalog.message})" if isinstance(catalog, Denied) else skipped
        return Findings.warn(
            "This change replaces the registry's Pod, and with it the emptyDir with its images. How many there are "
            f"could not be counted{why}."
        )
    found = _repositories(catalog)
    if not found:
        return Findings()
    counted = _counted(found)
    if lost.leaves and not allowed:
        return Findings.refuse(
            f"The registry's images are in an emptyDir, which is deleted with its Pod: {counted} would be lost; this "
            f"task would start with {start}. Nothing is copied. Copy the images first, or set on_backend_change: allow "
            "to lose them."
        )
    return Findings.warn(
        f"This change replaces the registry's Pod, and with it the emptyDir: the images of {counted} are lost."
    )


# -- a bucket that the operator has made -------------------------------------------------------------------------------

MADE_BUCKET = "image-registry.alauda.io/made-bucket"
"""Annotation on the Config: the bucket that the operator created because it did not exist.

The operator reports that for one sync only (operator fact 4.9).
"""


def note_bucket(platform: Platform, config: JSON) -> Write:
    """Note on the Config that the operator has made the bucket it uses."""
    change = {"metadata": {"annotations": {MADE_BUCKET: _bucket(mapping_at(config, "spec"))}}}
    return Write("patch", platform.config_path, change, "Config", platform.singleton, {}, change, False)


def made_bucket_refs(platform: Platform, seen: Readings, spec: JSON) -> list[Ref]:
    """The registry's catalog, where the operator is known to have made the bucket in use."""
    return [_catalog(platform, seen, "made")] if _uses_made_bucket(seen, spec) and _available(platform, seen) else []


def check_made_bucket(seen: Readings, spec: JSON) -> Findings:
    """The operator's bucket is worth a word as long as nothing is in it, or as long as that cannot be seen."""
    catalog = seen.get("made")
    filled = isinstance(catalog, Mapping) and _repositories(catalog)
    if not _uses_made_bucket(seen, spec) or filled:
        return Findings()
    unknown = "" if isinstance(catalog, Mapping) else " (whether there are images by now could not be seen)"
    return Findings.warn(made_by_the_operator(f"s3/{_bucket(spec)}") + unknown)


def made_by_the_operator(place: str) -> str:
    """The warning about a bucket that nobody but the operator has made."""
    return (
        f"{place} did not exist: the operator has created it, empty. Check the bucket's name if there should have been "
        "images in it."
    )


def _uses_made_bucket(seen: Readings, spec: JSON) -> bool:
    config, bucket = seen.get("config"), _bucket(spec)
    noted = mapping_at(config, "metadata", "annotations").get(MADE_BUCKET)
    return bool(bucket) and noted == bucket == mapping_at(config, "status", "storage", "s3").get("bucket")


def _bucket(spec: JSON) -> str:
    return str(mapping_at(spec, "storage", "s3").get("bucket") or "")


# -- the catalog -------------------------------------------------------------------------------------------------------


def _available(platform: Platform, seen: Readings) -> bool:
    deployment = named(seen.get("deployments"), platform.deployment)
    return deployment is not None and number_at(deployment, "status", "availableReplicas") > 0


def _catalog(platform: Platform, seen: Readings, label: str) -> Ref:
    deployment = named(seen.get("deployments"), platform.deployment) or {}
    scheme = "https" if serves_https(deployment, platform.container) else "http"
    service = namespaced(platform.namespace, "services", f"{scheme}:{platform.service}:{platform.port}")
    return Ref(label, f"{service}/proxy/v2/_catalog?n={MOST}", foreign=True)


def _repositories(catalog: Mapping[str, Any]) -> list[str]:
    listed = catalog.get("repositories")
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _counted(found: list[str]) -> str:
    """``2 repositories (a, b)``. The names are a registry's, so they are shown as text and cut."""
    number = f"{MOST} or more" if len(found) >= MOST else str(len(found))
    names = ", ".join(visible(name[:_LONGEST_NAME]) for name in found[:_NAMED])
    rest = ", …" if len(found) > _NAMED else ""
    return f"{number} {'repository' if len(found) == 1 else 'repositories'} ({names}{rest})"
