# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage of the registry: parameters to intent, what must be refused, what must be written, what must then be true.

Pure: takes parameters and what was read, returns a Plan. Sources: Registry v2 page (Configure Development Storage,
Configure PVC Storage, Configure S3-Compatible Storage Credentials, Operate Storage) and operator facts 1, 2, 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply, diff, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.claim import (
    check_claim,
    needs_classes,
    once_findings,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import (
    check_credentials,
    secret_changes,
    secret_is_newer,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import StorageGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    NAME,
    SECRET_KEYS,
    Intent,
    encodable,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.trusted_ca import (
    bundle_rolls,
    check_trusted_ca,
    new_bundle,
)

PERSISTENT = ("pvc", "s3", "swift", "gcs", "ibmcos", "azure")

PLACE_FIELDS: Mapping[str, Sequence[str]] = {
    "pvc": ("claim",),
    "s3": ("bucket", "regionEndpoint"),
    "swift": ("container", "authURL"),
    "gcs": ("bucket",),
    "ibmcos": ("bucket",),
    "azure": ("container", "accountName"),
}
"""The fields that say where the images are; another value is another place."""

NUDGE = "image-registry.alauda.io/claim-appeared"
"""Annotation on the Config that makes the operator look at a claim it has missed."""


def needs(want: Intent, seen: Readings) -> list[Ref]:
    """What to read next; empty when everything needed has been seen. Nothing to change: 2 to 4 requests in all."""
    platform = want.platform
    namespace = platform.namespace
    refs = [
        Ref("config", platform.config_path, required=True),
        Ref("deployments", namespaced(namespace, "deployments", api="/apis/apps/v1"), collection=True),
    ]
    if want.backend == "pvc":
        refs.append(Ref("claim", namespaced(namespace, "persistentvolumeclaims", want.options["claim"])))
        if needs_classes(want, seen):
            refs.append(Ref("classes", "/apis/storage.k8s.io/v1/storageclasses", collection=True))
    if want.backend in SECRET_KEYS:
        refs.append(Ref("secret", namespaced(namespace, "secrets", platform.user_secret)))
        source = want.options.get("credentials_secret")
        if source and source != platform.user_secret and NAME.match(source):
            refs.append(Ref("source", namespaced(namespace, "secrets", source)))
        if secret_changes(want, seen) or secret_is_newer(want, seen):
            refs.append(Ref("generated", namespaced(namespace, "secrets", platform.generated_secret)))
    if want.backend == "s3" and want.options.get("trusted_ca"):
        name = want.options["trusted_ca"]["name"]
        if NAME.match(name):
            refs.append(Ref("ca", namespaced(platform.trusted_ca_namespace, "configmaps", name)))
        if "ca" in seen and new_bundle(want, seen["ca"]) is not None:
            refs.append(Ref("bundles", namespaced(namespace, "configmaps", platform.certificates)))
    return [ref for ref in refs if ref.label not in seen]


def plan(want: Intent, seen: Readings) -> Plan[StorageGoal]:
    """Findings (then nothing may be written), warnings, writes in order, and the goal to verify."""
    config = seen["config"]
    if not isinstance(config, Mapping):
        return Plan(
            refusals=(
                *want.problems,
                (
                    f"Config/{want.platform.singleton} does not exist: the operator creates it when it starts. "
                    "Check that the registry operator is installed and running, then run again."
                ),
            ),
            warnings=want.warnings,
        )
    findings = list(want.problems)
    warnings = list(want.warnings)
    if not all(encodable(value) for value in want.secret.values()):
        return Plan(refusals=tuple(findings), warnings=tuple(warnings))
    live: JSON = config.get("spec") or {}
    deployments = seen.get("deployments")
    warnings += _operator_warnings(want, deployments)
    if config.get("metadata", {}).get("deletionTimestamp"):
        findings.append(
            f"Config/{want.platform.singleton} is being deleted; wait until the operator has made a new one."
        )

    spec = dict(want.spec)
    modes, claim_findings, claim_warnings, claim_writes = check_claim(want, seen)
    findings += claim_findings
    warnings += claim_warnings
    replicas = want.replicas if want.replicas is not None else int(live.get("replicas") or 0)
    once = bool(modes) and "ReadWriteMany" not in modes
    if once:
        findings += once_findings(want, replicas)
        if want.rollout_strategy is None:
            spec["rolloutStrategy"] = "Recreate"
    elif want.rollout_strategy is None and live.get("rolloutStrategy") == "Recreate" and want.backend != "emptydir":
        warnings.append(
            "spec.rolloutStrategy is Recreate (left from a ReadWriteOnce claim?): each rollout interrupts pulls. "
            "Say rollout_strategy: RollingUpdate to change it."
        )
    if want.backend == "emptydir" and replicas > 1:
        findings.append(
            f"emptyDir with {replicas} replicas: each Pod would keep its own images and pulls would fail at random. "
            "Set replicas: 1 (Registry v2 page, Configure Development Storage)."
        )
    if want.replicas is None and live.get("replicas") == 0 and spec["managementState"] == "Managed":
        findings.append(
            "replicas: the Config asks for 0, so no registry would run and nothing could be verified. Say how many, "
            "for instance replicas: 1."
        )
    if want.replicas is None and "replicas" not in live:
        findings.append("replicas: the Config has none and the task gives none; the API requires it.")
    secret_findings, secret_warnings, secret_writes, rotated = check_credentials(want, seen)
    findings += secret_findings
    warnings += secret_warnings
    ca_findings, ca_warnings, ca_writes = check_trusted_ca(want, seen)
    findings += ca_findings
    warnings += ca_warnings
    if want.backend == "s3":
        findings += _effective_s3_findings(want, live)

    spec["storage"] = _exclusive(want, live, spec["storage"])
    left = _left_behind(want, config, spec["storage"])
    if left and want.on_backend_change != "allow":
        findings.append(
            f"The registry's images are in {left}; this task would leave them there and start with "
            f"{_place_text(want.key, spec['storage'][want.key])}. Nothing is copied, and pulls of older images "
            "fail with "
            "'manifest unknown'. Move the data first, then say on_backend_change: allow."
        )
    if findings:
        return Plan(refusals=tuple(findings), warnings=tuple(warnings))
    patch = diff(spec, live)
    writes = [*claim_writes, *ca_writes, *secret_writes]
    if patch:
        body = {"spec": patch}
        writes.append(
            Write(
                verb="patch",
                path=want.platform.config_path,
                body=body,
                kind="Config",
                name=want.platform.singleton,
                before={"spec": owned(spec, live)},
                after={"spec": owned(spec, apply(patch, live))},
            )
        )
    elif _needs_nudge(want, config, claim_writes):
        writes.append(_nudge(want, config))
    deployment = named(deployments, want.platform.deployment)
    bundled = bool(ca_writes) and not rotated and bundle_rolls(want, seen)
    meta: JSON = (deployment or {}).get("metadata") or {}
    goal = StorageGoal(
        spec=spec,
        min_generation=int(config.get("metadata", {}).get("generation") or 0),
        backend=want.key,
        claim=want.options["claim"] if want.backend == "pvc" else None,
        deployment_generation_over=(
            int(meta.get("generation") or 0) if (rotated or bundled) and deployment is not None else None
        ),
        deployment_uid=str(meta.get("uid") or ""),
        renewal_may_not_come=bundled,
        probe=want.probe,
        container=want.platform.container,
    )
    if spec["managementState"] == "Unmanaged":
        warnings.append(
            "management_state: Unmanaged tells the operator to stand still: the values are stored, but nothing "
            "applies them."
        )
    return Plan(
        warnings=tuple(warnings),
        writes=tuple(writes),
        goal=goal,
        values={"left_behind": [left] if left else []},
        verify=spec["managementState"] == "Managed",
    )


def _needs_nudge(want: Intent, config: JSON, claim_writes: list[Write]) -> bool:
    """Whether the operator waits for a claim that is there by now, or will be.

    operator facts 3.4 and 4: claims are not watched, and errors are retried after up to 1000 s; any event of the Config
    makes the operator look at once.
    """
    if want.backend != "pvc":
        return False
    missing = f'persistentvolumeclaims "{want.options["claim"]}" not found'
    conditions = (config.get("status") or {}).get("conditions") or []
    stuck = any(missing in str(item.get("message") or "") for item in conditions if item.get("type") == "Progressing")
    return stuck or any(write.verb == "create" for write in claim_writes)


def _nudge(want: Intent, config: JSON) -> Write:
    """An annotation, which changes no field of the spec and is an event to the operator."""
    value = f"{want.options['claim']}@{(config.get('metadata') or {}).get('resourceVersion')}"
    change = {"metadata": {"annotations": {NUDGE: value}}}
    return Write("patch", want.platform.config_path, change, "Config", want.platform.singleton, {}, change)


def _operator_warnings(want: Intent, deployments: Reading) -> list[str]:
    """The operator's own Deployment: without it nothing will happen, but that is not ours to refuse."""
    name, namespace = want.platform.operator_deployment, want.platform.namespace
    if isinstance(deployments, Denied):
        return [
            f"Could not look at Deployments in {namespace} ({deployments.message}): the rollout cannot be verified."
        ]
    operator = named(deployments, name)
    if operator is None:
        return [f"The operator's Deployment {name} does not exist in {namespace}: nothing may act on the change."]
    if int(operator.get("spec", {}).get("replicas", 1) or 0) == 0:
        return [f"The operator's Deployment {name} is scaled to 0: nothing will act on the change."]
    if int(operator.get("status", {}).get("availableReplicas") or 0) == 0:
        return [f"The operator's Deployment {name} has no available replica: the change may not be acted upon."]
    return []


def _effective_s3_findings(want: Intent, live: JSON) -> list[str]:
    """What the bucket's description lacks once the untouched live fields are added."""
    now = (live.get("storage") or {}).get("s3") or {}
    wanted = want.spec["storage"]["s3"]
    if not wanted.get("region", now.get("region")):
        return [
            (
                "s3.region: is needed (the registry process ends with 'no region parameter provided' without it); "
                "for an S3-compatible service take the value it documents, often us-east-1."
            )
        ]
    return []


def _exclusive(want: Intent, live: JSON, storage: JSON) -> JSON:
    """Every other backend that is present on the object is nulled in the same patch (operator fact 4, one backend)."""
    present = [key for key in live.get("storage") or {} if key not in ("managementState", want.key)]
    return {**storage, **dict.fromkeys(present)}


def _left_behind(want: Intent, config: JSON, storage: JSON) -> str:
    """The place with images that the registry would leave, or "". status.storage says where it really is."""
    for source in (config.get("status") or {}, config.get("spec") or {}):
        now = source.get("storage") or {}
        key = next((name for name in PERSISTENT if now.get(name) is not None), None)
        if key is not None:
            break
        if any(name != "managementState" for name in now):
            return ""  # emptyDir: nothing that could be lost
    else:
        return ""
    if key == want.key:
        wanted = storage[key]
        moved = [
            field
            for field in PLACE_FIELDS[key]
            if field in wanted and _address(wanted[field]) != _address(now[key].get(field))
        ]
        if not moved:
            return ""
    elif not any(now[key].get(field) for field in PLACE_FIELDS[key]):
        return ""
    return _place_text(key, now[key])


def _address(value: Any) -> str:
    return str(value or "").rstrip("/")


def _place_text(key: str, storage: JSON) -> str:
    if key == "pvc":
        return f"PersistentVolumeClaim {storage.get('claim') or 'image-registry-storage'}"
    if key == "emptyDir":
        return "an empty emptyDir"
    where = storage.get("regionEndpoint") or storage.get("authURL") or storage.get("accountName")
    name = storage.get("bucket") or storage.get("container") or "?"
    word = "container" if "container" in storage else "bucket"
    return f"{key} {word} {name}{f' at {where}' if where else ''}"
