# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task asks of the registry's storage, from its parameters alone. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import parse_quantity
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

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
"""Option to key of the user Secret (Registry v2 page, Configure S3-Compatible Storage Credentials; newer pages)."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+(?P<body>[A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")

_BUCKET = re.compile(r"^[^\s/]{1,255}$")

NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


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
        elif not encodable(value):
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


def encodable(text: str) -> bool:
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
    if not NAME.match(options.get("claim") or ""):
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
        if not removed and not NAME.match(ca["name"]):
            problems.append(f"s3.trusted_ca.name: {ca['name']!r} is not a name of a ConfigMap.")
        if "PRIVATE KEY-----" in (ca.get("pem") or ""):
            problems.append(
                "s3.trusted_ca.pem: holds a private key, which a ConfigMap would show to everybody; give the "
                "certificates alone (and replace the key if it was stored before)."
            )
        if ca.get("pem") is not None and not certificates(ca["pem"]):
            problems.append("s3.trusted_ca.pem: holds no PEM certificate (-----BEGIN CERTIFICATE-----).")
        if (endpoint or "").startswith("http://"):
            warnings.append("s3.trusted_ca is given, but the endpoint is plain http://: the CA will not be used.")
    source = options.get("credentials_secret")
    if source and not NAME.match(source):
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


def certificates(pem: str) -> int:
    """Number of well-formed PEM certificate blocks."""
    count = 0
    for match in _PEM.finditer(pem):
        try:
            count += len(base64.b64decode("".join(match["body"].split()), validate=True)) > 64
        except ValueError:
            continue
    return count
