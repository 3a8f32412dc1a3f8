# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task asks of the registry's storage, from its parameters alone. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import is_object_name
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
"""Option to key of the user Secret.

Registry v2 page, Configure S3-Compatible Storage Credentials; newer pages, Storage.
"""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(?P<body>[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_BUCKET = re.compile(r"[^\s/]{1,255}")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/?")
_SETTINGS = {
    "replicas": "replicas",
    "rollout_strategy": "rolloutStrategy",
    "disable_redirect": "disableRedirect",
}
"""Option to field of spec."""


@dataclass(frozen=True)
class StorageIntent:
    """What the task asks for. Unset parameter = untouched field.

    key: key in spec.storage. options: those of the backend.
    spec: merge patch form of the owned fields, still without what depends on the cluster.
    secret: keys of the user Secret to set (plain text). problems, warnings: about the parameters alone.
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

    @property
    def writable(self) -> bool:
        """Whether the credentials can be written at all: half of a Unicode pair cannot."""
        return all(_encodable(value) for value in self.secret.values())


def parse_intent(params: JSON, platform: Platform) -> StorageIntent:
    """The task's parameters as an intent; ``problems`` lists everything wrong with the parameters alone."""
    backend = str(params["backend"])
    key = SPEC_KEY.get(backend, backend)
    options: JSON = params.get(backend) or {}
    if backend == "pvc" and not options:
        options = {"claim": "image-registry", "create": False, "expand": False}
    state = params.get("storage_management_state") or ("Managed" if backend == "emptydir" else "Unmanaged")
    storage: dict[str, Any] = {
        "managementState": state,
        key: _backend_spec(backend, options),
    }
    spec: dict[str, Any] = {"managementState": params["management_state"], "storage": storage}
    spec |= {field: params[option] for option, field in _SETTINGS.items() if params.get(option) is not None}
    given = params.get("resources")
    if given is not None:
        spec["resources"] = _resources(given)
    secret = {
        name: options[option]
        for option, name in SECRET_KEYS.get(backend, {}).items()
        if options.get(option) is not None
    }
    problems = [
        f"{other}: options for the backend {other} were given, but backend is {backend}."
        for other in ("pvc", *FIELDS)
        if other != backend and params.get(other)
    ]
    problems += _claim_problems(options) if backend == "pvc" else _text_problems(backend, options)
    if backend == "s3":
        problems += _s3_problems(options, state)
    problems += _resource_problems(spec["resources"]) if given is not None else []
    problems += _number_problems(params)
    problems += _credential_problems(backend, options)
    return StorageIntent(
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
        warnings=tuple(_s3_warnings(options) if backend == "s3" else _claim_warnings(options)),
    )


# -- the spec ----------------------------------------------------------------------------------------------------------


def _backend_spec(backend: str, options: JSON) -> JSON:
    """What spec.storage.<backend> is to hold."""
    if backend == "emptydir":
        return {}
    if backend == "pvc":
        return {"claim": options["claim"]}
    spec: dict[str, Any] = {
        field: options[option] for option, field in FIELDS[backend].items() if options.get(option) is not None
    }
    if options.get("trusted_ca"):
        name = options["trusted_ca"]["name"]
        spec["trustedCA"] = {"name": name} if name else None
    if options.get("network_access"):
        spec["networkAccess"] = _network_access(options["network_access"])
    return spec


def _network_access(options: JSON) -> JSON:
    names = {
        "network_resource_group_name": "networkResourceGroupName",
        "vnet_name": "vnetName",
        "subnet_name": "subnetName",
        "private_endpoint_name": "privateEndpointName",
    }
    internal = {field: options[option] for option, field in names.items() if options.get(option) is not None}
    return {"type": options["type"], **({"internal": internal} if internal else {})}


def _resources(given: JSON) -> dict[str, dict[str, str]]:
    """Resources as the spec wants them; described as a whole, since the field is atomic."""
    return {
        kind: {name: str(amount) for name, amount in given[kind].items()}
        for kind in ("requests", "limits")
        if given.get(kind) is not None
    }


# -- problems ----------------------------------------------------------------------------------------------------------


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_problems(backend: str, options: JSON) -> Iterator[str]:
    """Texts that the API server would store and no storage would ever accept."""
    for option in FIELDS.get(backend, {}):
        value = options.get(option)
        if not isinstance(value, str):
            continue
        if value != value.strip() or not value.isprintable():
            yield f"{backend}.{option}: {value!r} has blanks around it or a character that cannot be printed."
        if not value and option in ("bucket", "container", "account_name") and backend != "s3":
            yield f"{backend}.{option}: is empty."


def _claim_problems(options: JSON) -> Iterator[str]:
    if not is_object_name(options.get("claim") or ""):
        yield (
            f"pvc.claim: {options.get('claim')!r} is not a name of a claim (with an empty one the operator would "
            "create image-registry-storage by itself)."
        )
    if options.get("storage_class") and not is_object_name(options["storage_class"]):
        yield f"pvc.storage_class: {options['storage_class']!r} is not a name of a StorageClass."
    if options.get("size") is not None:
        try:
            if parse_quantity(options["size"]) <= 0:
                yield f"pvc.size: {options['size']!r} is not above zero."
        except ValueError as error:
            yield f"pvc.size: {error}."
    if options.get("create") and options.get("size") is None:
        yield "pvc.size: is needed to create the claim (for instance 100Gi)."


def _claim_warnings(options: JSON) -> Iterator[str]:
    size = options.get("size")
    try:
        if size is not None and 0 < parse_quantity(size) < 2**20:
            bare = f"; without a unit it counts bytes. Was {size}Gi intended?" if str(size).isdigit() else "."
            yield f"pvc.size: {size!r} is less than 1Mi{bare}"
    except ValueError:
        return  # a problem, not a warning


def _s3_problems(options: JSON, management_state: str) -> Iterator[str]:
    endpoint, bucket = options.get("region_endpoint"), options["bucket"]
    if not _BUCKET.fullmatch(bucket):
        yield f"s3.bucket: {bucket!r} is not a bucket name (no slash, no blanks; a folder cannot be given here)."
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        why = "has no scheme" if "://" not in endpoint else "is not scheme://host[:port]"
        yield f"s3.region_endpoint: {endpoint!r} {why}; write it as https://HOST[:PORT], without the bucket."
    chunk = options.get("chunk_size_mib")
    if chunk is not None and not 5 <= chunk <= 5120:
        yield f"s3.chunk_size_mib: {chunk} is outside 5..5120."
    yield from _trusted_ca_problems(options.get("trusted_ca") or {})
    source = options.get("credentials_secret")
    if source and not is_object_name(source):
        yield f"s3.credentials_secret: {source!r} is not a name of a Secret in the registry's namespace."
    if options.get("encrypt") is False and management_state == "Managed":
        yield (
            "s3.encrypt: false cannot last with storage_management_state: Managed: the operator turns encryption on "
            "again in every bucket it manages. Leave one of the two out."
        )


def _trusted_ca_problems(given: JSON) -> Iterator[str]:
    name, pem = given.get("name"), given.get("pem")
    if given and not is_object_name(name or "") and not (name == "" and pem is None):
        yield f"s3.trusted_ca.name: {name!r} is not a name of a ConfigMap."
    if "PRIVATE KEY-----" in (pem or ""):
        yield (
            "s3.trusted_ca.pem: holds a private key, which everybody who may read the ConfigMap would see; give the "
            "certificates alone (and replace the key if it was stored before)."
        )
    if pem is not None and not holds_certificate(pem):
        yield "s3.trusted_ca.pem: holds no PEM certificate (-----BEGIN CERTIFICATE-----)."


def _s3_warnings(options: JSON) -> Iterator[str]:
    if options.get("trusted_ca") and (options.get("region_endpoint") or "").startswith("http://"):
        yield "s3.trusted_ca is given, but the endpoint is plain http://: the CA will not be used."
    if options.get("key_id") and options.get("encrypt") is False:
        yield "s3.key_id is given with encrypt: false: the key will not be used."


def _resource_problems(resources: Mapping[str, Mapping[str, str]]) -> list[str]:
    problems = []
    for kind, amounts in resources.items():
        for name, amount in amounts.items():
            try:
                if parse_quantity(amount) < 0:
                    problems.append(f"resources.{kind}.{name}: {amount} is below zero.")
            except ValueError as error:
                problems.append(f"resources.{kind}.{name}: {error}.")
    if problems:
        return problems
    limits = resources.get("limits", {})
    return [
        f"resources: the request for {name} ({amount}) is above its limit ({limits[name]})."
        for name, amount in resources.get("requests", {}).items()
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name])
    ]


def _number_problems(params: JSON) -> Iterator[str]:
    replicas, timeout = params.get("replicas"), params.get("wait_timeout")
    if replicas is not None and replicas < 0:
        yield f"replicas: {replicas} is below zero (the operator would report VerificationFailed)."
    if replicas == 0:
        yield (
            "replicas: 0 runs no registry at all, so nothing could be verified. Ask for at least 1 (the API server "
            "refuses a Deployment with RollingUpdate and 0 replicas)."
        )
    if timeout is not None and timeout <= 0:
        yield f"wait_timeout: {timeout} is not a number of seconds above zero; use wait: false."


def _credential_problems(backend: str, options: JSON) -> Iterator[str]:
    for option in SECRET_KEYS.get(backend, {}):
        value = options.get(option)
        if value is None:
            continue
        if not value:
            yield f"{backend}.{option}: is empty; the operator accepts an empty credential, and it never works."
        elif not _encodable(value):
            yield f"{backend}.{option}: contains a character that is not Unicode text (half of a surrogate pair)."
        elif value != value.strip():
            yield (
                f"{backend}.{option}: begins or ends with a blank or a line break (a common slip with files and "
                "vaults)."
            )


def holds_certificate(pem: str) -> bool:
    """Whether a text has a well-formed PEM certificate block in it."""
    for match in _PEM.finditer(pem):
        try:
            if len(base64.b64decode("".join(match["body"].split()), validate=True)) > 64:
                return True
        except ValueError:
            continue
    return False
