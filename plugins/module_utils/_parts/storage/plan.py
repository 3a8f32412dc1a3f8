# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage of the registry: parameters to intent, what must be refused, what must be written, what must then be true.

Pure: takes parameters and what was read, returns a Plan. Sources: Registry v2 page (Configure Development Storage,
Configure PVC Storage, Configure S3-Compatible Storage Credentials, Operate Storage) and operator facts 1.4,
2.4, 4.1 to 4.3, 4.5 to 4.8, 4.11, 4.13, 4.14 and 4.16.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Plan,
    Reading,
    Readings,
    Ref,
    Write,
    fingerprint,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced, secret_text
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import StorageGoal
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

PERSISTENT = ("pvc", "s3", "swift", "gcs", "ibmcos", "azure")

SPEC_KEY = {"emptydir": "emptyDir"}
"""Option value to key in spec.storage where they differ."""

FIELDS: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "bucket": "bucket",
        "region": "region",
        "region_endpoint": "regionEndpoint",
        "virtual_hosted_style": "virtualHostedStyle",
        "encrypt": "encrypt",
        "key_id": "keyID",
        "chunk_size_mib": "chunkSizeMiB",
    },
    "swift": {
        "container": "container",
        "auth_url": "authURL",
        "auth_version": "authVersion",
        "domain": "domain",
        "domain_id": "domainID",
        "tenant": "tenant",
        "tenant_id": "tenantID",
        "region_name": "regionName",
    },
    "gcs": {"bucket": "bucket", "region": "region", "project_id": "projectID", "key_id": "keyID"},
    "ibmcos": {
        "bucket": "bucket",
        "location": "location",
        "resource_group_name": "resourceGroupName",
        "resource_key_crn": "resourceKeyCRN",
        "service_instance_crn": "serviceInstanceCRN",
    },
    "azure": {"account_name": "accountName", "container": "container", "cloud_name": "cloudName"},
}
"""Option to field of spec.storage.<backend>."""

SECRET_KEYS: Mapping[str, Mapping[str, str]] = {
    "s3": {"access_key": "REGISTRY_STORAGE_S3_ACCESSKEY", "secret_key": "REGISTRY_STORAGE_S3_SECRETKEY"},
    "swift": {
        "username": "REGISTRY_STORAGE_SWIFT_USERNAME",
        "password": "REGISTRY_STORAGE_SWIFT_PASSWORD",
        "application_credential_id": "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID",
        "application_credential_name": "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME",
        "application_credential_secret": "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET",
        "token_id": "REGISTRY_STORAGE_SWIFT_TOKENID",
    },
    "gcs": {"keyfile": "REGISTRY_STORAGE_GCS_KEYFILE"},
    "ibmcos": {"iam_api_key": "REGISTRY_STORAGE_IBMCOS_IAMAPIKEY"},
    "azure": {"account_key": "REGISTRY_STORAGE_AZURE_ACCOUNTKEY"},
}
"""Option to key of the user Secret.

Registry v2 page, Configure S3-Compatible Storage Credentials; newer pages, Storage."""

SECRET_ALTERNATIVES: Mapping[str, Sequence[Sequence[str]]] = {
    "s3": [("REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY")],
    "swift": [
        ("REGISTRY_STORAGE_SWIFT_USERNAME", "REGISTRY_STORAGE_SWIFT_PASSWORD"),
        (
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID",
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME",
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET",
        ),
        ("REGISTRY_STORAGE_SWIFT_TOKENID",),
    ],
    "gcs": [("REGISTRY_STORAGE_GCS_KEYFILE",)],
    "ibmcos": [("REGISTRY_STORAGE_IBMCOS_IAMAPIKEY",)],
    "azure": [("REGISTRY_STORAGE_AZURE_ACCOUNTKEY",)],
}
"""Sets of Secret keys of which one must be complete."""

SOURCE_KEYS = {
    "REGISTRY_STORAGE_S3_ACCESSKEY": ("REGISTRY_STORAGE_S3_ACCESSKEY", "AWS_ACCESS_KEY_ID"),
    "REGISTRY_STORAGE_S3_SECRETKEY": ("REGISTRY_STORAGE_S3_SECRETKEY", "AWS_SECRET_ACCESS_KEY"),
}
"""Where a Secret named by credentials_secret may hold the key: our own name, or that of object bucket claims."""

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

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+(?P<body>[A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")
_BUCKET = re.compile(r"^[^\s/]{1,255}$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


@dataclass(frozen=True)
class Intent:
    """What the task asks for. spec: merge patch form of the owned fields, still without what depends on the cluster.

    key: key in spec.storage. secret: keys of the user Secret to set (plain text). Unset parameter = untouched field.
    """

    backend: str
    key: str
    options: JSON
    spec: JSON
    secret: Mapping[str, str]
    platform: Platform
    replicas: int | None
    rollout_strategy: str | None
    on_backend_change: str
    probe: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def intent(params: JSON, platform: Platform) -> Intent:
    """The task's parameters as an Intent; `problems` lists everything wrong with the parameters alone."""
    backend = str(params["backend"])
    key = SPEC_KEY.get(backend, str(backend))
    options: JSON = params.get(backend) or {}
    problems: list[str] = []
    warnings: list[str] = []
    if backend == "pvc" and not options:
        options = {"claim": "image-registry", "create": False, "expand": False}
    for other in ("pvc", *FIELDS):
        if other != backend and params.get(other):
            problems.append(f"{other}: options for the backend {other} were given, but backend is {backend}.")
    storage: dict[str, Any] = {"managementState": params["storage_management_state"]}
    if backend == "emptydir":
        storage[key] = {}
    elif backend == "pvc":
        storage[key] = {"claim": options["claim"]}
        problems += _claim_problems(options)
    else:
        problems += _text_problems(backend, options)
        storage[key] = {
            field: options[option] for option, field in FIELDS[backend].items() if options.get(option) is not None
        }
        if backend == "s3":
            more, soft = _s3_problems(options)
            problems += more
            warnings += soft
            if options.get("encrypt") is False and params["storage_management_state"] == "Managed":
                problems.append(
                    "s3.encrypt: false cannot stay with storage_management_state: Managed: the operator turns "
                    "encryption on again in every bucket it manages. Leave one of the two out."
                )
            if options.get("trusted_ca"):
                name = options["trusted_ca"]["name"]
                storage[key]["trustedCA"] = {"name": name} if name else None
        if backend == "azure" and options.get("network_access"):
            storage[key]["networkAccess"] = _network_access(options["network_access"])
    spec: dict[str, Any] = {"managementState": params["management_state"], "storage": storage}
    for option, field in (
        ("replicas", "replicas"),
        ("rollout_strategy", "rolloutStrategy"),
        ("disable_redirect", "disableRedirect"),
    ):
        if params.get(option) is not None:
            spec[field] = params[option]
    if params.get("resources") is not None:
        resources, wrong = _resources(params["resources"])
        spec["resources"] = resources
        problems += wrong
    if params.get("replicas") is not None and params["replicas"] < 0:
        problems.append(f"replicas: {params['replicas']} is below zero (the operator would report VerificationFailed).")
    if params.get("replicas") == 0:
        problems.append(
            "replicas: 0 runs no registry at all; nothing could be verified. "
            "Ask for at least 1 (operator fact: RollingUpdate with 0 replicas is refused by the API server)."
        )
    if params.get("wait_timeout") is not None and params["wait_timeout"] <= 0:
        problems.append(
            f"wait_timeout: {params['wait_timeout']} is not a number of seconds above zero; use wait: false."
        )
    secret = {}
    for option, name in SECRET_KEYS.get(backend, {}).items():
        value = options.get(option)
        if value is None:
            continue
        if not value:
            problems.append(
                f"{backend}.{option}: is empty; an empty credential is accepted by the operator and never works."
            )
        elif not _encodable(value):
            problems.append(f"{backend}.{option}: has a character in it that is no Unicode text (half of a pair).")
        elif value != value.strip():
            problems.append(
                f"{backend}.{option}: begins or ends with a blank or a line break (a common slip with files and "
                "vaults)."
            )
        secret[name] = value
    return Intent(
        backend=backend,
        key=key,
        options=options,
        spec=spec,
        secret=secret,
        platform=platform,
        replicas=params.get("replicas"),
        rollout_strategy=params.get("rollout_strategy"),
        on_backend_change=params["on_backend_change"],
        probe=params["probe"],
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_problems(backend: str, options: JSON) -> list[str]:
    """Texts that the API server would store and no storage would ever accept."""
    problems = []
    for option in FIELDS.get(backend, {}):
        value = options.get(option)
        if not isinstance(value, str):
            continue
        if value != value.strip() or not value.isprintable():
            problems.append(
                f"{backend}.{option}: {value!r} has blanks around it or a character that cannot be printed."
            )
        if not value and option in ("bucket", "container", "account_name") and backend != "s3":
            problems.append(f"{backend}.{option}: is empty.")
    return problems


def _claim_problems(options: JSON) -> list[str]:
    problems = []
    if not _NAME.match(options.get("claim") or ""):
        problems.append(
            f"pvc.claim: {options.get('claim')!r} is not a name of a claim "
            "(an empty one would make the operator create image-registry-storage by itself)."
        )
    if options.get("size") is not None:
        try:
            if parse_quantity(options["size"]) <= 0:
                problems.append(f"pvc.size: {options['size']!r} is not above zero.")
        except ValueError as error:
            problems.append(f"pvc.size: {error}.")
    if options.get("create") and options.get("size") is None:
        problems.append("pvc.size: is needed to create the claim (for instance 100Gi).")
    return problems


def _s3_problems(options: JSON) -> tuple[list[str], list[str]]:
    problems, warnings = [], []
    endpoint, bucket = options.get("region_endpoint"), options["bucket"]
    if not _BUCKET.match(bucket):
        problems.append(
            f"s3.bucket: {bucket!r} is not a bucket name (no slash, no blanks; a folder cannot be given here)."
        )
    if endpoint and not re.match(r"^https?://[^\s/?#@]+/?$", endpoint):
        why = "has no scheme" if "://" not in endpoint else "is not scheme://host[:port]"
        problems.append(f"s3.region_endpoint: {endpoint!r} {why}; write it as https://HOST[:PORT], without the bucket.")
    chunk = options.get("chunk_size_mib")
    if chunk is not None and not 5 <= chunk <= 5120:
        problems.append(f"s3.chunk_size_mib: {chunk} is outside 5..5120.")
    ca = options.get("trusted_ca")
    if ca:
        removed = ca["name"] == "" and ca.get("pem") is None
        if not removed and not _NAME.match(ca["name"]):
            problems.append(f"s3.trusted_ca.name: {ca['name']!r} is not a name of a ConfigMap.")
        if "PRIVATE KEY-----" in (ca.get("pem") or ""):
            problems.append(
                "s3.trusted_ca.pem: holds a private key, which a ConfigMap would show to everybody; give the "
                "certificates alone (and replace the key if it was stored before)."
            )
        if ca.get("pem") is not None and not _certificates(ca["pem"]):
            problems.append("s3.trusted_ca.pem: holds no PEM certificate (-----BEGIN CERTIFICATE-----).")
        if (endpoint or "").startswith("http://"):
            warnings.append("s3.trusted_ca is given, but the endpoint is plain http://: the CA will not be used.")
    source = options.get("credentials_secret")
    if source and not _NAME.match(source):
        problems.append(f"s3.credentials_secret: {source!r} is not a name of a Secret in the registry's namespace.")
    if options.get("key_id") and options.get("encrypt") is False:
        warnings.append("s3.key_id is given with encrypt: false: the key will not be used.")
    return problems, warnings


def _network_access(options: JSON) -> JSON:
    names = {
        "network_resource_group_name": "networkResourceGroupName",
        "vnet_name": "vnetName",
        "subnet_name": "subnetName",
        "private_endpoint_name": "privateEndpointName",
    }
    internal = {field: options[option] for option, field in names.items() if options.get(option) is not None}
    return {"type": options["type"], **({"internal": internal} if internal else {})}


def _resources(given: JSON) -> tuple[JSON, list[str]]:
    """Resources as the spec wants them (described as a whole: the field is atomic), and what is wrong with them."""
    problems = []
    wanted: dict[str, Any] = {}
    for part in ("requests", "limits"):
        if given.get(part) is None:
            continue
        wanted[part] = {name: str(amount) for name, amount in given[part].items()}
        for name, amount in wanted[part].items():
            try:
                if parse_quantity(amount) < 0:
                    problems.append(f"resources.{part}.{name}: {amount} is below zero.")
            except ValueError as error:
                problems.append(f"resources.{part}.{name}: {error}.")
    if not problems:
        for name, amount in wanted.get("requests", {}).items():
            limit = wanted.get("limits", {}).get(name)
            if limit is not None and parse_quantity(amount) > parse_quantity(limit):
                problems.append(f"resources: the request for {name} ({amount}) is above its limit ({limit}).")
    return wanted, problems


def _certificates(pem: str) -> int:
    """Number of well-formed PEM certificate blocks."""
    count = 0
    for match in _PEM.finditer(pem):
        try:
            count += len(base64.b64decode("".join(match["body"].split()), validate=True)) > 64
        except ValueError:
            continue
    return count


# -- reading ---------------------------------------------------------------------------------------------------------


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
        if _needs_classes(want, seen):
            refs.append(Ref("classes", "/apis/storage.k8s.io/v1/storageclasses", collection=True))
    if want.backend in SECRET_KEYS:
        refs.append(Ref("secret", namespaced(namespace, "secrets", platform.user_secret)))
        source = want.options.get("credentials_secret")
        if source and source != platform.user_secret and _NAME.match(source):
            refs.append(Ref("source", namespaced(namespace, "secrets", source)))
        if _secret_changes(want, seen) or _secret_is_newer(want, seen):
            refs.append(Ref("generated", namespaced(namespace, "secrets", platform.generated_secret)))
    if want.backend == "s3" and want.options.get("trusted_ca"):
        name = want.options["trusted_ca"]["name"]
        if _NAME.match(name):
            refs.append(Ref("ca", namespaced(platform.trusted_ca_namespace, "configmaps", name)))
        if "ca" in seen and _new_bundle(want, seen["ca"]) is not None:
            refs.append(Ref("bundles", namespaced(namespace, "configmaps", platform.certificates)))
    return [ref for ref in refs if ref.label not in seen]


def _needs_classes(want: Intent, seen: Readings) -> bool:
    claim = seen.get("claim")
    if "claim" not in seen or isinstance(claim, Denied):
        return False
    if claim is None:
        return bool(want.options.get("create"))
    return bool(want.options.get("expand")) and isinstance(claim, Mapping) and _growth(want, claim) == "grow"


def _secret_changes(want: Intent, seen: Readings) -> bool:
    if "secret" not in seen or (
        "source" not in seen and want.options.get("credentials_secret") not in (None, want.platform.user_secret)
    ):
        return False
    secret = seen["secret"]
    wanted = _wanted_secret(want, seen)
    if isinstance(secret, Denied):
        return False
    return any(not isinstance(secret, Mapping) or secret_text(secret, key) != value for key, value in wanted.items())


def _secret_is_newer(want: Intent, seen: Readings) -> bool:
    """Whether the user Secret was written after the registry's Deployment: the Pods may still have what was before."""
    secret, deployment = seen.get("secret"), named(seen.get("deployments"), want.platform.deployment)
    if not isinstance(secret, Mapping) or deployment is None:
        return False
    return _written(secret) > _written(deployment)


def _written(item: JSON) -> str:
    """When somebody last wrote the object (not its status), in RFC 3339; "" when it does not tell."""
    entries = (item.get("metadata") or {}).get("managedFields") or []
    return max((str(entry.get("time") or "") for entry in entries if not entry.get("subresource")), default="")


def _wanted_secret(want: Intent, seen: Readings) -> Mapping[str, str]:
    """Keys of the user Secret to set: given in the task, or copied from the Secret that credentials_secret names."""
    source = seen.get("source")
    if not isinstance(source, Mapping):
        return want.secret
    copied = {}
    for key in SECRET_KEYS[want.backend].values():
        for name in SOURCE_KEYS.get(key, (key,)):
            value = secret_text(source, name)
            if value:
                copied[key] = value
                break
    return copied


# -- deciding --------------------------------------------------------------------------------------------------------


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
    if not all(_encodable(value) for value in want.secret.values()):
        return Plan(refusals=tuple(findings), warnings=tuple(warnings))
    live: JSON = config.get("spec") or {}
    deployments = seen.get("deployments")
    warnings += _operator_warnings(want, deployments)
    if config.get("metadata", {}).get("deletionTimestamp"):
        findings.append(
            f"Config/{want.platform.singleton} is being deleted; wait until the operator has made a new one."
        )

    spec = dict(want.spec)
    modes, claim_findings, claim_warnings, claim_writes = _claim(want, seen)
    findings += claim_findings
    warnings += claim_warnings
    replicas = want.replicas if want.replicas is not None else int(live.get("replicas") or 0)
    once = bool(modes) and "ReadWriteMany" not in modes
    if once:
        findings += _once_findings(want, replicas)
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
    secret_findings, secret_warnings, secret_writes, rotated = _secret(want, seen)
    findings += secret_findings
    warnings += secret_warnings
    ca_findings, ca_warnings, ca_writes = _trusted_ca(want, seen)
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
    bundled = bool(ca_writes) and not rotated and _bundle_rolls(want, seen)
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
        env=expected_env(want, spec),
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

    operator facts 3.4.1, 3.4.2 and 4.7: claims are not watched, and errors are retried after up to 1000 s; any event of
    the Config makes the operator look at once.
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


def _claim(want: Intent, seen: Readings) -> tuple[tuple[str, ...], list[str], list[str], list[Write]]:
    """Access modes of the claim that will be used; findings, warnings and the write that creates or grows it."""
    if want.backend != "pvc" or (want.problems and not _NAME.match(want.options.get("claim") or "")):
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


def _once_findings(want: Intent, replicas: int) -> list[str]:
    """operator fact 4.6: cannot use ReadWriteOnce access mode with more than one replica / with RollingUpdate."""
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


def _secret(want: Intent, seen: Readings) -> tuple[list[str], list[str], list[Write], bool]:
    """Findings, warnings, the write of the user Secret, and whether running credentials change."""
    if want.backend not in SECRET_KEYS:
        return [], [], [], False
    platform = want.platform
    name, namespace = platform.user_secret, platform.namespace
    live = seen.get("secret")
    findings: list[str] = []
    source_name = want.options.get("credentials_secret")
    wanted = _wanted_secret(want, seen)
    if source_name and source_name != name:
        source = seen.get("source")
        if isinstance(source, Denied):
            return [f"credentials_secret: cannot read Secret {source_name} ({source.message})."], [], [], False
        if source is None:
            return [f"credentials_secret: Secret {source_name} does not exist in {namespace}."], [], [], False
        for key in SECRET_KEYS[want.backend].values():
            if not wanted.get(key):
                accepted = " or ".join(SOURCE_KEYS.get(key, (key,)))
                findings.append(f"credentials_secret: Secret {source_name} has no usable key {accepted}.")
        if findings:
            return findings, [], [], False
    if isinstance(live, Denied):
        if wanted:
            return [f"Cannot read Secret {name}, so it cannot be updated safely ({live.message})."], [], [], False
        return [], [f"Could not check the Secret {name} ({live.message})."], [], False
    existing = live if isinstance(live, Mapping) else None
    if not wanted:
        return [*findings, *_stored_secret_findings(want, existing)], [], [], _stored_are_not_running(want, seen)
    running = _running_credentials(want.backend, seen.get("generated"), wanted)
    changed = {key: value for key, value in wanted.items() if existing is None or secret_text(existing, key) != value}
    if not changed:
        return findings, [], [], isinstance(seen.get("generated"), Mapping) and not running
    data = {key: base64.b64encode(value.encode()).decode() for key, value in changed.items()}
    before = {} if existing is None else {"data": _fingerprints(existing, changed)}
    after = {"data": {key: fingerprint(value) for key, value in changed.items()}}
    if existing is None:
        body: JSON = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }
        write = Write("create", namespaced(namespace, "secrets"), body, "Secret", name, before, after)
    else:
        write = Write("patch", namespaced(namespace, "secrets", name), {"data": data}, "Secret", name, before, after)
    return findings, [], [write], not running


def _stored_are_not_running(want: Intent, seen: Readings) -> bool:
    """The Secret that is used as it is was written after the Deployment, and holds something else than what runs."""
    secret, generated = seen.get("secret"), seen.get("generated")
    if not isinstance(secret, Mapping) or not isinstance(generated, Mapping):
        return False
    stored = {key: secret_text(secret, key) or "" for key in SECRET_KEYS[want.backend].values()}
    stored = {key: value for key, value in stored.items() if value}
    return bool(stored) and not _running_credentials(want.backend, generated, stored)


def _fingerprints(secret: JSON, keys: Mapping[str, str]) -> Mapping[str, str | None]:
    values = {key: secret_text(secret, key) for key in keys}
    return {key: None if value is None else fingerprint(value) for key, value in values.items()}


def _running_credentials(backend: str, generated: Reading, wanted: Mapping[str, str]) -> bool:
    """True when the operator's generated Secret already carries these values: then no rollout will follow.

    operator fact 4.8: the generated Secret holds the credentials that the running Pods were rolled out with, for S3
    as an ini file. Values are compared as a whole and each in its place: a key that lost its last letter, or two that
    changed places, are other credentials.
    """
    if not isinstance(generated, Mapping):
        return False
    found: dict[str, str] = {}
    for key in generated.get("data") or {}:
        text = secret_text(generated, key) or ""
        found[key] = text
        if backend == "s3":
            lines = (line.partition("=") for line in text.splitlines())
            found.update({name.strip(): value.strip() for name, sign, value in lines if sign})
    if backend != "s3":
        return all(value in found.values() for value in wanted.values())
    return all(any(found.get(name) == value for name in (key, _INI[key])) for key, value in wanted.items())


_INI = {
    "REGISTRY_STORAGE_S3_ACCESSKEY": "aws_access_key_id",
    "REGISTRY_STORAGE_S3_SECRETKEY": "aws_secret_access_key",
}
"""Names in the ini file of the generated Secret."""


def _stored_secret_findings(want: Intent, secret: JSON | None) -> list[str]:
    """No credentials in the task: the Secret that is there must be complete."""
    name, namespace = want.platform.user_secret, want.platform.namespace
    options = ", ".join(f"{want.backend}.{option}" for option in SECRET_KEYS[want.backend])
    if secret is None:
        return [f"Secret {name} does not exist in {namespace} and the task gives no credentials ({options})."]
    gaps: list[list[str]] = []
    for keys in SECRET_ALTERNATIVES[want.backend]:
        missing = [key for key in keys if not (secret_text(secret, key) or "").strip()]
        if not missing:
            spaced = [
                key for key in keys if (secret_text(secret, key) or "") != (secret_text(secret, key) or "").strip()
            ]
            if spaced:
                return [
                    f"Secret {name}: {', '.join(spaced)} begins or ends with a blank or a line break; set it without."
                ]
            return []
        gaps.append(missing)
    present = sorted(secret.get("data") or {})
    wanted = " or ".join("+".join(gap) for gap in gaps)
    return [
        f"Secret {name} in {namespace} lacks {wanted} (missing or empty); it has: {', '.join(present) or 'no keys'}."
    ]


def _trusted_ca(want: Intent, seen: Readings) -> tuple[list[str], list[str], list[Write]]:
    """The ConfigMap with the endpoint's CA: created or updated from `pem`, else checked."""
    given = want.options.get("trusted_ca") if want.backend == "s3" else None
    if not given or not _NAME.match(given["name"]):
        return [], [], []
    platform = want.platform
    key, name, namespace = platform.trusted_ca_key, given["name"], platform.trusted_ca_namespace
    live, pem = seen.get("ca"), given.get("pem")
    if isinstance(live, Denied):
        return [], [f"Could not check the ConfigMap {name} ({live.message})."], []
    if pem is None:
        if live is None:
            return [f"trusted_ca: ConfigMap {name} does not exist in {namespace} (give pem to have it made)."], [], []
        data = (live.get("data") or {}) if isinstance(live, Mapping) else {}
        if key not in data:
            has = ", ".join(sorted(data)) or "no keys"
            return (
                [f"trusted_ca: ConfigMap {name} has no key {key} (it has: {has}); the operator reads only that key."],
                [],
                [],
            )
        if not _certificates(data[key]):
            text = (
                f"trusted_ca: {key} in ConfigMap {name} holds no PEM certificate; the operator would ignore it "
                "silently."
            )
            return [text], [], []
        return [], [], []
    existing = live if isinstance(live, Mapping) else None
    old = ((existing or {}).get("data") or {}).get(key)
    bundle = _new_bundle(want, existing)
    if bundle is None:
        return [], [], []
    after = {"data": {key: fingerprint(bundle)}}
    if existing is None:
        body: JSON = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: bundle},
        }
        return [], [], [Write("create", namespaced(namespace, "configmaps"), body, "ConfigMap", name, {}, after)]
    before = {"data": {key: None if old is None else fingerprint(old)}}
    path = namespaced(namespace, "configmaps", name)
    return [], [], [Write("patch", path, {"data": {key: bundle}}, "ConfigMap", name, before, after)]


def _new_bundle(want: Intent, live: Reading) -> str | None:
    """The text to store as CA bundle; None when none is given or the one that is there says the same."""
    given = want.options.get("trusted_ca") or {}
    if given.get("pem") is None or isinstance(live, Denied):
        return None
    text = _lines(given["pem"])
    data = (live.get("data") or {}) if isinstance(live, Mapping) else {}
    old = data.get(want.platform.trusted_ca_key)
    return None if old is not None and _lines(old) == text else text


def _lines(pem: str) -> str:
    """A PEM text with the line ends of Unix, whatever editor or share it came through."""
    return "".join(f"{line.rstrip()}\n" for line in pem.strip().splitlines())


def _bundle_rolls(want: Intent, seen: Readings) -> bool:
    """Whether another CA bundle has to reach the Pods: they read it once, when they start (operator fact 4.11).

    False when the operator's own ConfigMap already carries the text: then no rollout will follow.
    """
    text = _new_bundle(want, seen.get("ca"))
    bundles = seen.get("bundles")
    data = (bundles.get("data") or {}) if isinstance(bundles, Mapping) else {}
    return text is not None and not any(_lines(str(value)) == text for value in data.values())


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
    """Every other backend that is present on the object is nulled in the same patch (operator fact 4.1)."""
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


def expected_env(want: Intent, spec: JSON) -> Mapping[str, str | None]:
    """Environment of the container that proves the Deployment is rendered from the spec (operator facts 4.13, 4.14)."""
    driver = {
        "emptydir": "filesystem",
        "pvc": "filesystem",
        "s3": "s3",
        "swift": "swift",
        "gcs": "gcs",
        "azure": "azure",
    }
    env: dict[str, str | None] = {}
    if want.backend in driver:
        env["REGISTRY_STORAGE"] = driver[want.backend]
    if want.backend == "s3":
        for field, name in (("bucket", "BUCKET"), ("region", "REGION"), ("regionEndpoint", "REGIONENDPOINT")):
            value = spec["storage"]["s3"].get(field)
            if value:
                env[f"REGISTRY_STORAGE_S3_{name}"] = value
    if spec.get("disableRedirect") is not None:
        env["REGISTRY_STORAGE_REDIRECT_DISABLE"] = "true" if spec["disableRedirect"] else None
    return env
