# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be refused, what must be written, and what must then be true of the registry's storage. Pure.

Sources: Registry v2 page (Configure Development Storage, Configure PVC Storage, Configure S3-Compatible Storage
Credentials, Operate Storage) and operator facts 1.4, 2.4, 4.1 and 4.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Denied,
    Findings,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
    named,
    spec_patch,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import template_edition
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    being_deleted,
    condition,
    generation,
    mapping_at,
    namespaced,
    number_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.claim import (
    check_claim,
    claim_refs,
    read_write_once,
    wanted_capacity,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import (
    HIDDEN_PATIENCE,
    check_credentials,
    credential_refs,
    credentials_to_renew,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import Renewal, StorageGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.images import (
    check_images,
    check_made_bucket,
    images_refs,
    loss,
    made_bucket_refs,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import StorageIntent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.trusted_ca import (
    bundle_to_renew,
    check_passed_on,
    check_trusted_ca,
    trusted_ca_refs,
    wake_certificates,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.resources import config_absent

LOCATION_FIELDS: Mapping[str, Sequence[str]] = {
    "pvc": ("claim",),
    "s3": ("bucket", "regionEndpoint"),
    "swift": ("container", "authURL"),
    "gcs": ("bucket",),
    "ibmcos": ("bucket",),
    "azure": ("container", "accountName"),
}
"""The fields that say where a persistent backend keeps the images; another value is another location."""

NUDGE = "image-registry.alauda.io/claim-appeared"
"""Annotation on the Config that makes the operator look at a claim it has missed."""


# -- reading -----------------------------------------------------------------------------------------------------------


def needs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """What to read next; empty when everything needed has been seen. Nothing to change: 2 to 4 requests in all."""
    platform = intent.platform
    refs = [
        Ref("config", platform.config_path, required=True),
        Ref("deployments", namespaced(platform.namespace, "deployments", api="/apis/apps/v1"), collection=True),
        *claim_refs(intent, seen),
        *credential_refs(intent, seen),
        *trusted_ca_refs(intent, seen),
        *_images_refs(intent, seen),
        *_left_refs(intent, seen),
    ]
    return [ref for ref in refs if ref.label not in seen]


def _images_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """Read once it is known what the spec shall be; a claim that is not read yet may decide about the strategy."""
    config = seen.get("config")
    if not isinstance(config, Mapping) or "deployments" not in seen or intent.problems or intent.probe == "skip":
        return []
    spec = _desired_spec(intent, config, seen)
    lost = loss(spec, config)
    return [*images_refs(intent.platform, seen, lost), *made_bucket_refs(intent.platform, seen, spec)]


# -- deciding ----------------------------------------------------------------------------------------------------------


def plan(intent: StorageIntent, seen: Readings) -> Plan[StorageGoal]:
    """Findings (with a refusal nothing may be written), writes in order, and the goal to verify."""
    config, known = seen["config"], Findings(intent.problems, intent.warnings)
    if not isinstance(config, Mapping):
        return Plan((*known.refusals, config_absent(intent.platform)), known.warnings)
    if not intent.writable:
        return Plan(known.refusals, known.warnings)
    spec = _desired_spec(intent, config, seen)
    left_behind = _left_behind(intent, config, spec["storage"])
    mistake = _holds_nothing(intent, config, seen) if left_behind else ""
    left_behind = "" if mistake else left_behind
    findings = (
        known
        + _check_operator(intent, config, seen.get("deployments"))
        + check_claim(intent, seen)
        + _check_replicas(intent, config, seen)
        + check_trusted_ca(intent, seen)
        + check_passed_on(intent, seen)
        + check_credentials(intent, seen)
        + _check_region(intent, config)
        + _check_switch(intent, spec, left_behind)
    )
    if intent.problems:
        return Plan(findings.refusals, findings.warnings)
    findings += Findings.warn(*filter(None, [mistake])) + check_made_bucket(seen, spec)
    allowed, start = intent.on_backend_change == "allow", _start(intent, spec["storage"])
    findings += check_images(intent.platform, seen, loss(spec, config), start, allowed)
    writes = (*findings.writes, *_config_writes(intent, spec, config, seen, findings.writes))
    if findings.refusals:
        return Plan(findings.refusals, findings.warnings, withheld=writes)
    return Plan(
        warnings=findings.warnings,
        writes=writes,
        goal=_goal(intent, spec, seen),
        values={"left_behind": [left_behind] if left_behind else []},
        verify=spec["managementState"] == "Managed",
    )


def _desired_spec(intent: StorageIntent, config: JSON, seen: Readings) -> dict[str, Any]:
    """The intent's spec, completed by what the cluster decides.

    Every other backend that is present on the object is nulled in the same patch (operator fact 4.1).
    """
    present = [key for key in mapping_at(config, "spec", "storage") if key not in ("managementState", intent.key)]
    spec = {**intent.spec, "storage": {**intent.spec["storage"], **dict.fromkeys(present)}}
    if intent.rollout_strategy is None and read_write_once(intent, seen):
        spec["rolloutStrategy"] = "Recreate"
    return spec


def _config_writes(
    intent: StorageIntent, spec: JSON, config: JSON, seen: Readings, before: tuple[Write, ...]
) -> tuple[Write, ...]:
    """The patch of the Config, or the nudge where nothing differs. before: the writes that go first."""
    platform = intent.platform
    write = spec_patch(platform.config_path, "Config", platform.singleton, spec, mapping_at(config, "spec"))
    if write is None and _needs_nudge(intent, config, before):
        write = _nudge(intent, config)
    if write is None:
        return ()
    wake = wake_certificates(intent, seen, mapping_at(write.body, "spec"))
    return (write,) if wake is None else (write, wake)


def _goal(intent: StorageIntent, spec: JSON, seen: Readings) -> StorageGoal:
    """What must then be true."""
    return StorageGoal(
        spec=spec,
        min_generation=generation(seen["config"]),
        backend=intent.key,
        claim=intent.options["claim"] if intent.backend == "pvc" else None,
        capacity=wanted_capacity(intent, seen),
        renewal=_renewal(intent, seen),
        probe=intent.probe,
        container=intent.platform.container,
    )


def _renewal(intent: StorageIntent, seen: Readings) -> Renewal | None:
    """What the Pods that run may not have yet; None without a Deployment, whose Pods start with everything."""
    deployment = named(seen.get("deployments"), intent.platform.deployment)
    credentials = credentials_to_renew(intent, seen)
    bundle, patience = bundle_to_renew(intent, seen)
    if deployment is None or not (credentials or bundle):
        return None
    if credentials:
        patience = HIDDEN_PATIENCE if isinstance(seen.get("generated"), Denied) else None
    return Renewal(credentials, bundle, template_edition(deployment), patience)


# -- checks ------------------------------------------------------------------------------------------------------------


def _check_operator(intent: StorageIntent, config: JSON, deployments: Reading) -> Findings:
    """Whether anything will act on the change; an operator that does not run is not ours to refuse."""
    refusals: list[str] = []
    warnings = [*_operator_warnings(intent, deployments)]
    if being_deleted(config):
        refusals.append(
            f"Config/{intent.platform.singleton} is being deleted; wait until the operator has made a new one."
        )
    if intent.spec["managementState"] == "Unmanaged":
        warnings.append(
            "management_state: Unmanaged makes the operator stand still: the values are stored, but nothing applies "
            "them."
        )
    return Findings(tuple(refusals), tuple(warnings))


def _operator_warnings(intent: StorageIntent, deployments: Reading) -> Iterator[str]:
    name, namespace = intent.platform.operator_deployment, intent.platform.namespace
    operator = named(deployments, name)
    if isinstance(deployments, Denied):
        yield f"Could not look at Deployments in {namespace} ({deployments.message}): the rollout cannot be verified."
    elif operator is None:
        yield f"The operator's Deployment {name} does not exist in {namespace}: nothing may act on the change."
    elif mapping_at(operator, "spec").get("replicas", 1) == 0:
        yield f"The operator's Deployment {name} is scaled to 0: nothing will act on the change."
    elif not number_at(operator, "status", "availableReplicas"):
        yield f"The operator's Deployment {name} has no available replica: the change may not be acted upon."


def _check_replicas(intent: StorageIntent, config: JSON, seen: Readings) -> Findings:
    """Whether the storage can serve that many replicas, and the way they are replaced."""
    live = mapping_at(config, "spec")
    replicas = number_at(live, "replicas") if intent.replicas is None else intent.replicas
    once = read_write_once(intent, seen)
    refusals: list[str] = []
    warnings: list[str] = []
    if once:
        refusals += _read_write_once_problems(intent, replicas)
    if intent.backend == "emptydir" and replicas > 1:
        refusals.append(
            f"emptyDir with {replicas} replicas: each Pod would keep its own images and pulls would fail at random. "
            "Set replicas: 1 (Registry v2 page, Configure Development Storage)."
        )
    if intent.replicas is None and "replicas" not in live:
        refusals.append("replicas: the Config has none and the task gives none; the API requires it.")
    elif intent.replicas is None and replicas == 0 and intent.spec["managementState"] == "Managed":
        refusals.append(
            "replicas: the Config has 0, so no registry would run and nothing could be verified. Set a number, for "
            "instance replicas: 1."
        )
    recreate = intent.rollout_strategy is None and live.get("rolloutStrategy") == "Recreate"
    if recreate and not once and intent.backend != "emptydir":
        warnings.append(
            "spec.rolloutStrategy is Recreate (left from a ReadWriteOnce claim?): each rollout interrupts pulls. Set "
            "rollout_strategy: RollingUpdate to change it."
        )
    return Findings(tuple(refusals), tuple(warnings))


def _read_write_once_problems(intent: StorageIntent, replicas: int) -> Iterator[str]:
    """operator fact 4.6: cannot use ReadWriteOnce access mode with more than one replica / with RollingUpdate."""
    claim = intent.options["claim"]
    if replicas > 1:
        yield (
            f"PersistentVolumeClaim {claim} is ReadWriteOnce and cannot serve {replicas} replicas. Set replicas: 1, or "
            "use a ReadWriteMany claim."
        )
    if intent.rollout_strategy == "RollingUpdate":
        yield (
            f"PersistentVolumeClaim {claim} is ReadWriteOnce and cannot be used with rollout_strategy RollingUpdate: "
            "the new Pod would wait for the volume of the old one. Leave the option out (Recreate is implied) or use "
            "ReadWriteMany."
        )


def _check_region(intent: StorageIntent, config: JSON) -> Findings:
    """Whether the bucket has a region once the untouched live fields are added."""
    if intent.backend != "s3":
        return Findings()
    stored = mapping_at(config, "spec", "storage", "s3").get("region")
    if intent.spec["storage"]["s3"].get("region", stored):
        return Findings()
    return Findings.refuse(
        "s3.region: is needed (the registry process ends with 'no region parameter provided' without it); for an "
        "S3-compatible service take the value it documents, often us-east-1."
    )


# -- a switch of the backend -------------------------------------------------------------------------------------------


def _check_switch(intent: StorageIntent, spec: JSON, left_behind: str) -> Findings:
    if not left_behind or intent.on_backend_change == "allow":
        return Findings()
    start = _start(intent, spec["storage"])
    return Findings.refuse(
        f"The registry's images are in {left_behind}; this task would leave them there and start with {start}. Nothing "
        "is copied, and pulls of older images fail with 'manifest unknown'. Move the data first, then set "
        "on_backend_change: allow."
    )


def _start(intent: StorageIntent, storage: JSON) -> str:
    """Where the registry would begin, for messages."""
    return _location(intent.key, storage[intent.key])


def _left_behind(intent: StorageIntent, config: JSON, storage: JSON) -> str:
    """The location with images that the registry would leave, or "". status.storage says where it really is."""
    key, settings = _current_backend(config)
    if not key:
        return ""
    fields = LOCATION_FIELDS[key]
    if key == intent.key:
        wanted = storage[key]
        moves = any(field in wanted and _address(wanted[field]) != _address(settings.get(field)) for field in fields)
    else:
        moves = any(settings.get(field) for field in fields)
    return _location(key, settings) if moves else ""


def _current_backend(config: JSON) -> tuple[str, JSON]:
    """Key and settings of the persistent backend in use; an empty key for none (emptyDir has nothing to lose)."""
    for part in ("status", "spec"):
        storage = mapping_at(config, part, "storage")
        key = next((name for name in LOCATION_FIELDS if storage.get(name) is not None), "")
        if key or any(name != "managementState" for name in storage):
            return key, mapping_at(storage, key)
    return "", {}


def _address(value: Any) -> str:
    return str(value or "").rstrip("/")


def _location(key: str, settings: JSON) -> str:
    """Where a backend keeps the images, for messages."""
    if key == "pvc":
        return f"PersistentVolumeClaim {settings.get('claim') or 'image-registry-storage'}"
    if key == "emptyDir":
        return "an empty emptyDir"
    endpoint = settings.get("regionEndpoint") or settings.get("authURL") or settings.get("accountName")
    name = settings.get("bucket") or settings.get("container") or "?"
    word = "container" if "container" in settings else "bucket"
    return f"{key} {word} {name}{f' at {endpoint}' if endpoint else ''}"


def _left_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """The claim that the task would leave: one that was never bound holds nothing."""
    config = seen.get("config")
    if not isinstance(config, Mapping) or intent.problems:
        return []
    key, settings = _current_backend(config)
    if key != "pvc" or not _left_behind(intent, config, intent.spec["storage"]):
        return []
    name = str(settings.get("claim") or "")
    return [Ref("left", namespaced(intent.platform.namespace, "persistentvolumeclaims", name))] if name else []


def _holds_nothing(intent: StorageIntent, config: JSON, seen: Readings) -> str:
    """Why the place that the task would leave cannot have images, as a sentence; empty when it may have."""
    key, settings = _current_backend(config)
    place = _location(key, settings)
    left = seen.get("left")
    if key == "pvc" and isinstance(left, Mapping) and mapping_at(left, "status").get("phase") == "Pending":
        return f"{place} was never bound to a volume, so it holds nothing that could be left behind."
    progressing = condition(config, "Progressing")
    current = observed_generation(config) >= generation(config) > 0
    accepted = set(mapping_at(config, "status", "storage")) - {"managementState"}
    if not accepted and current and progressing.reason == "Error":
        return f"The operator has never accepted {place}, so it is taken for a mistake, not for a place with images."
    return ""


# -- a claim that the operator has missed ------------------------------------------------------------------------------


def _needs_nudge(intent: StorageIntent, config: JSON, writes: tuple[Write, ...]) -> bool:
    """Whether the operator waits for a claim that is there by now, or will be.

    Claims are not watched, and errors are retried after up to 1000 s; any event of the Config makes the operator look
    at once (operator facts 3.4.1, 3.4.2 and 4.7).
    """
    if intent.backend != "pvc":
        return False
    missing = f'persistentvolumeclaims "{intent.options["claim"]}" not found'
    created = any((write.verb, write.kind) == ("create", "PersistentVolumeClaim") for write in writes)
    return created or missing in condition(config, "Progressing").message


def _nudge(intent: StorageIntent, config: JSON) -> Write:
    """An annotation, which changes no field of the spec and is an event to the operator."""
    version = mapping_at(config, "metadata").get("resourceVersion")
    change = {"metadata": {"annotations": {NUDGE: f"{intent.options['claim']}@{version}"}}}
    return Write("patch", intent.platform.config_path, change, "Config", intent.platform.singleton, {}, change, False)
