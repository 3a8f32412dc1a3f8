# SPDX-License-Identifier: GPL-3.0-or-later
"""The credentials of the storage: the user Secret, and whether the running Pods have them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Reading,
    Readings,
    Write,
    fingerprint,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced, secret_text
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import SECRET_KEYS, Intent

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

_INI = {
    "REGISTRY_STORAGE_S3_ACCESSKEY": "aws_access_key_id",
    "REGISTRY_STORAGE_S3_SECRETKEY": "aws_secret_access_key",
}
"""Names in the ini file of the generated Secret."""


def secret_changes(want: Intent, seen: Readings) -> bool:
    if "secret" not in seen or (
        "source" not in seen and want.options.get("credentials_secret") not in (None, want.platform.user_secret)
    ):
        return False
    secret = seen["secret"]
    wanted = _wanted_secret(want, seen)
    if isinstance(secret, Denied):
        return False
    return any(not isinstance(secret, Mapping) or secret_text(secret, key) != value for key, value in wanted.items())


def secret_is_newer(want: Intent, seen: Readings) -> bool:
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


def check_credentials(want: Intent, seen: Readings) -> tuple[list[str], list[str], list[Write], bool]:
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

    operator fact 4 (S3): the generated Secret holds the credentials that the running Pods were rolled out with, for S3
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
