# SPDX-License-Identifier: GPL-3.0-or-later
"""The credentials of the storage: the user Secret, and whether the running Pods have them. Pure.

Sources: Registry v2 page (Configure S3-Compatible Storage Credentials), operator fact 4.8.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    Denied,
    Findings,
    Reading,
    Readings,
    Ref,
    Write,
    digest,
    fingerprint,
    named,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import template_rendered
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    NOTHING,
    is_object_name,
    mapping_at,
    namespaced,
    number_at,
    secret_text,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import written
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    SECRET_KEYS,
    StorageIntent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

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

_INI_NAMES = {
    "REGISTRY_STORAGE_S3_ACCESSKEY": "aws_access_key_id",
    "REGISTRY_STORAGE_S3_SECRETKEY": "aws_secret_access_key",
}
"""Names in the ini file of the generated Secret."""

_OWN_CREDENTIALS = frozenset({"ibmcos"})
"""Backends whose Pods get other credentials than those of the user Secret, which the operator fetches with them."""

# -- reading -----------------------------------------------------------------------------------------------------------


HIDDEN_PATIENCE = 30.0
"""How long a contented operator leaves the Deployment alone until it has nothing to renew, where what it has passed on
may not be read: longer than it lags as a rule. Credentials may have been changed back before it noticed."""


def credential_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """The user Secret and, where they matter, the Secret to copy from and the one that the operator made."""
    platform, source = intent.platform, _source_name(intent)
    if intent.backend not in SECRET_KEYS or (source and not is_object_name(source)):
        return []
    refs = [Ref("secret", namespaced(platform.namespace, "secrets", platform.user_secret))]
    if source:
        refs.append(Ref("source", namespaced(platform.namespace, "secrets", source)))
    if intent.backend in _OWN_CREDENTIALS:
        return refs
    if all(ref.label in seen for ref in refs) and (_changed(intent, seen) or _secret_is_newer(intent, seen)):
        refs.append(Ref("generated", generated_path(intent.platform)))
    return refs


def generated_path(platform: Platform) -> str:
    """Path of the Secret that the operator makes for the Pods."""
    return namespaced(platform.namespace, "secrets", platform.generated_secret)


def _source_name(intent: StorageIntent) -> str:
    """The Secret to copy the credentials from; empty when there is none, or it is the user Secret itself."""
    name = str(intent.options.get("credentials_secret") or "")
    return "" if name == intent.platform.user_secret else name


def _secret_is_newer(intent: StorageIntent, seen: Readings) -> bool:
    """Whether the operator may not have rendered the Pods since the user Secret was written: its own is worth a look.

    The look is a request more, so it is spared when the operator has rendered since; only content proves anything.
    """
    secret, deployment = seen.get("secret"), named(seen.get("deployments"), intent.platform.deployment)
    return isinstance(secret, Mapping) and deployment is not None and may_lag(deployment, secret)


def may_lag(deployment: JSON, source: JSON) -> bool:
    """Whether the data of a Secret or ConfigMap may be newer than what the operator rendered for the Pods."""
    rendered, changed = template_rendered(deployment), written(source, "data")
    return not rendered or not changed or changed > rendered


# -- what is wanted, stored and running --------------------------------------------------------------------------------


def _wanted(intent: StorageIntent, seen: Readings) -> Mapping[str, str]:
    """Keys of the user Secret to set: given in the task, or copied from the Secret that credentials_secret names."""
    source = seen.get("source")
    if not isinstance(source, Mapping):
        return intent.secret
    copied: dict[str, str] = {}
    for key in SECRET_KEYS[intent.backend].values():
        values = [secret_text(source, name) for name in SOURCE_KEYS.get(key, (key,))]
        value = next((value for value in values if value), None)
        if value is not None:
            copied[key] = value
    return copied


def _stored(intent: StorageIntent, seen: Readings) -> Mapping[str, str]:
    """What the user Secret holds of the backend's keys."""
    secret = seen.get("secret")
    if not isinstance(secret, Mapping):
        return {}
    values = {key: secret_text(secret, key) for key in SECRET_KEYS[intent.backend].values()}
    return {key: value for key, value in values.items() if value is not None}


def _changed(intent: StorageIntent, seen: Readings) -> Mapping[str, str]:
    """The wanted keys that the user Secret does not hold; none while it may not be read."""
    if isinstance(seen.get("secret"), Denied):
        return {}
    stored = _stored(intent, seen)
    return {key: value for key, value in _wanted(intent, seen).items() if stored.get(key) != value}


def carries_credentials(backend: str, generated: object, wanted: Mapping[str, str]) -> bool:
    """Whether the operator's generated Secret carries these credentials. wanted: digests by key of the user Secret.

    For S3 it holds an ini file (operator fact 4.8). Values are compared as a whole, but for blanks around them, and
    each in its place: a key that lost its last letter, or two that changed places, are other credentials.
    """
    if not isinstance(generated, Mapping):
        return False
    found: dict[str, str] = {}
    for key in mapping_at(generated, "data"):
        text = secret_text(generated, key) or ""
        found[key] = text
        if backend == "s3":
            lines = (line.partition("=") for line in text.splitlines())
            found.update({name.strip(): value.strip() for name, sign, value in lines if sign})
    digests = {name: digest(value.strip()) for name, value in found.items()}
    if backend != "s3":
        # Passed on under the same names, as variables; of several ways to log in the operator may take one.
        passed = [key for key in wanted if key in digests]
        same = bool(passed) and all(digests[key] == wanted[key] for key in passed)
        return same or all(value in digests.values() for value in wanted.values())
    return all(any(digests.get(name) == value for name in (key, _INI_NAMES[key])) for key, value in wanted.items())


def credentials_to_renew(intent: StorageIntent, seen: Readings) -> Mapping[str, str]:
    """Digests of the credentials that the Pods may not have yet; empty when they have them, or nothing can be seen."""
    if intent.backend not in SECRET_KEYS or "generated" not in seen:
        return {}
    generated, changed = seen["generated"], _changed(intent, seen)
    # Stored as wanted, but perhaps written while the operator stood still.
    stored = {key: value for key, value in _stored(intent, seen).items() if value}
    compared = {key: digest(value.strip()) for key, value in (_wanted(intent, seen) or stored).items()}
    if isinstance(generated, Denied):
        return compared if changed else {}
    carried = carries_credentials(intent.backend, generated, compared)
    return {} if carried and not _rendered_before(intent, seen, generated) else compared


def _rendered_before(intent: StorageIntent, seen: Readings, generated: Reading) -> bool:
    """Whether the operator has written its Secret after the Deployment: the Pods are renewed only then."""
    deployment = named(seen.get("deployments"), intent.platform.deployment)
    if deployment is None or not isinstance(generated, Mapping):
        return False
    rendered = template_rendered(deployment)
    return bool(rendered) and written(generated, "data") > rendered


# -- deciding ----------------------------------------------------------------------------------------------------------


def check_credentials(intent: StorageIntent, seen: Readings) -> Findings:
    """Whether there are usable credentials, and the write of the user Secret."""
    source = _source_name(intent)
    if intent.backend not in SECRET_KEYS or (source and not is_object_name(source)):
        return Findings()
    unusable = tuple(_source_problems(intent, seen))
    if unusable:
        return Findings(unusable)
    name, live, wanted = intent.platform.user_secret, seen.get("secret"), _wanted(intent, seen)
    if isinstance(live, Denied):
        if wanted:
            return Findings.refuse(f"Cannot read Secret {name}, so it cannot be updated safely ({live.message}).")
        return Findings.warn(f"Could not check the Secret {name} ({live.message}).")
    generated, hidden = seen.get("generated"), Findings()
    if isinstance(generated, Denied):
        hidden = Findings.warn(
            f"Could not check whether the operator has passed the credentials on to the Pods: Secret "
            f"{intent.platform.generated_secret} may not be read ({generated.message})."
        )
    secret = live if isinstance(live, Mapping) else None
    if not wanted:
        return hidden + _check_stored(intent, secret, serves=_serves(intent, seen))
    changed = _changed(intent, seen)
    return hidden + (Findings(writes=(_secret_write(intent, secret, changed),)) if changed else Findings())


def _source_problems(intent: StorageIntent, seen: Readings) -> Iterator[str]:
    """Why the Secret that credentials_secret names cannot be copied from."""
    name, source = _source_name(intent), seen.get("source")
    if not name:
        return
    if isinstance(source, Denied):
        yield f"credentials_secret: cannot read Secret {name} ({source.message})."
    elif source is None:
        yield f"credentials_secret: Secret {name} does not exist in {intent.platform.namespace}."
    else:
        copied = _wanted(intent, seen)
        for key in SECRET_KEYS[intent.backend].values():
            if key not in copied:
                accepted = " or ".join(SOURCE_KEYS.get(key, (key,)))
                yield f"credentials_secret: Secret {name} has no usable key {accepted}."


def _secret_write(intent: StorageIntent, live: JSON | None, changed: Mapping[str, str]) -> Write:
    """Only the keys that differ; before and after are fingerprints."""
    name, namespace = intent.platform.user_secret, intent.platform.namespace
    data = {key: base64.b64encode(value.encode()).decode() for key, value in changed.items()}
    after = {"data": {key: fingerprint(value) for key, value in changed.items()}}
    if live is not None:
        before = {key: secret_text(live, key) for key in changed}
        return Write(
            verb="patch",
            path=namespaced(namespace, "secrets", name),
            body={"data": data},
            kind="Secret",
            name=name,
            before={"data": {key: None if value is None else fingerprint(value) for key, value in before.items()}},
            after=after,
        )
    body: JSON = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
    return Write("create", namespaced(namespace, "secrets"), body, "Secret", name, {}, after)


def _serves(intent: StorageIntent, seen: Readings) -> bool:
    """Whether a registry runs on this backend with the Secret as it is."""
    deployment = named(seen.get("deployments"), intent.platform.deployment) or NOTHING
    used = mapping_at(seen.get("config"), "status", "storage").get(intent.key) is not None
    return used and number_at(deployment, "status", "availableReplicas") > 0


def _check_stored(intent: StorageIntent, secret: JSON | None, serves: bool) -> Findings:
    """No credentials in the task: the Secret that is there must be complete. serves: a registry runs with it."""
    name, namespace = intent.platform.user_secret, intent.platform.namespace
    if secret is None:
        options = ", ".join(f"{intent.backend}.{option}" for option in SECRET_KEYS[intent.backend])
        return Findings.refuse(
            f"Secret {name} does not exist in {namespace} and the task gives no credentials ({options})."
        )
    gaps: list[str] = []
    for keys in SECRET_ALTERNATIVES[intent.backend]:
        values = {key: secret_text(secret, key) or "" for key in keys}
        missing = [key for key, value in values.items() if not value.strip()]
        if not missing:
            spaced = [key for key, value in values.items() if value != value.strip()]
            found = f"Secret {name}: {', '.join(spaced)} begins or ends with a blank or a line break; set it without."
            # Some storage takes it nevertheless: for S3 it ends in a file whose reader removes blanks.
            return Findings() if not spaced else Findings.warn(found) if serves else Findings.refuse(found)
        gaps.append("+".join(missing))
    present = ", ".join(sorted(mapping_at(secret, "data"))) or "no keys"
    return Findings.refuse(
        f"Secret {name} in {namespace} lacks {' or '.join(gaps)} (missing or empty); it has: {present}."
    )
