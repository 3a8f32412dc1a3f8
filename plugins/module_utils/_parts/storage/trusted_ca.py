# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA bundle of an S3 endpoint: the ConfigMap, and whether the running Pods have it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    is_object_name,
    mapping_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import written
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.credentials import may_lag
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    StorageIntent,
    holds_certificate,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

WAKE = "image-registry.alauda.io/trusted-ca-changed"
"""Annotation on the operator's ConfigMap with certificates, which is an event to the controller that writes it."""
UNRENEWED = 8.0
"""How long a contented operator that carries the bundle leaves the Deployment alone until it has nothing to renew."""
UNRENEWED_AT_REST = 3.0
"""The same where it carried the bundle at planning: as a rule it is at rest, and rarely between its two writes."""


def trusted_ca_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """The ConfigMap and, where another bundle is to be stored, the operator's own copy of what the Pods have."""
    name, platform = _used_name(intent, seen), intent.platform
    if not name:
        return []
    refs = [Ref("ca", namespaced(platform.trusted_ca_namespace, "configmaps", name))]
    if "ca" in seen and _may_lag(intent, seen):
        refs.append(Ref("bundles", bundles_path(platform)))
    return refs


def bundles_path(platform: Platform) -> str:
    """Path of the ConfigMap with the certificates that the operator makes for the Pods."""
    return namespaced(platform.namespace, "configmaps", platform.certificates)


def _may_lag(intent: StorageIntent, seen: Readings) -> bool:
    """Whether the Pods may have another bundle: ours is new, or the operator has not rendered them since it was stored.

    As for credentials, this only spares a request; the content decides.
    """
    live, deployment = seen.get("ca"), named(seen.get("deployments"), intent.platform.deployment)
    if _new_bundle(intent, live) is not None:
        return True
    if not isinstance(live, Mapping) or deployment is None:
        return False
    used = mapping_at(seen.get("config"), "status", "storage", "s3", "trustedCA").get("name")
    return used != _used_name(intent, seen) or may_lag(deployment, live)


def _name(intent: StorageIntent) -> str:
    """Name of the ConfigMap; empty when none is to be used."""
    name = str((intent.options.get("trusted_ca") or {}).get("name") or "")
    return name if is_object_name(name) else ""


def _used_name(intent: StorageIntent, seen: Readings) -> str:
    """Name of the ConfigMap that will be used: a CA that the task does not mention stays, and may have been changed."""
    if intent.backend != "s3" or intent.options.get("trusted_ca"):
        return _name(intent)
    name = str(mapping_at(seen.get("config"), "spec", "storage", "s3", "trustedCA").get("name") or "")
    return name if is_object_name(name) else ""


def check_trusted_ca(intent: StorageIntent, seen: Readings) -> Findings:
    """Whether the ConfigMap can be used, and the write that creates or updates it from ``pem``."""
    name, live = _name(intent), seen.get("ca")
    if not name:
        return Findings()
    if isinstance(live, Denied):
        return Findings.warn(f"Could not check the ConfigMap {name} ({live.message}).")
    if intent.options["trusted_ca"].get("pem") is None:
        return Findings.refuse(*_problems(intent, name, live))
    bundle = _new_bundle(intent, live)
    if bundle is None:
        return Findings()
    return Findings(writes=(_write(intent, name, live if isinstance(live, Mapping) else None, bundle),))


def check_passed_on(intent: StorageIntent, seen: Readings) -> Findings:
    """Whether it can be seen that the Pods have the bundle."""
    bundles = seen.get("bundles")
    if not isinstance(bundles, Denied):
        return Findings()
    return Findings.warn(
        f"Could not check whether the operator has passed the CA bundle on to the Pods: ConfigMap "
        f"{intent.platform.certificates} may not be read ({bundles.message})."
    )


def _problems(intent: StorageIntent, name: str, live: Reading) -> Iterator[str]:
    """What is wrong with a ConfigMap that somebody else has made."""
    key, namespace = intent.platform.trusted_ca_key, intent.platform.trusted_ca_namespace
    data = mapping_at(live, "data")
    if live is None:
        yield f"trusted_ca: ConfigMap {name} does not exist in {namespace} (give pem to have it created)."
    elif key not in data:
        present = ", ".join(sorted(data)) or "no keys"
        yield f"trusted_ca: ConfigMap {name} has no key {key} (it has: {present}); the operator reads only that key."
    elif not holds_certificate(data[key]):
        yield (
            f"trusted_ca: {key} in ConfigMap {name} holds no PEM certificate; the operator would ignore it silently."
        )


def _write(intent: StorageIntent, name: str, live: JSON | None, bundle: str) -> Write:
    key, namespace = intent.platform.trusted_ca_key, intent.platform.trusted_ca_namespace
    after = {"data": {key: fingerprint(bundle)}}
    if live is None:
        body: JSON = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: bundle},
        }
        return Write("create", namespaced(namespace, "configmaps"), body, "ConfigMap", name, {}, after)
    stored = mapping_at(live, "data").get(key)
    before = {"data": {key: None if stored is None else fingerprint(stored)}}
    path = namespaced(namespace, "configmaps", name)
    return Write("patch", path, {"data": {key: bundle}}, "ConfigMap", name, before, after)


def _new_bundle(intent: StorageIntent, live: Reading) -> str | None:
    """The text to store as CA bundle; None when none is given, or the stored one has the same lines."""
    pem = (intent.options.get("trusted_ca") or {}).get("pem")
    if pem is None or isinstance(live, Denied):
        return None
    text = _unix_lines(pem)
    stored = mapping_at(live, "data").get(intent.platform.trusted_ca_key)
    return None if stored is not None and _unix_lines(stored) == text else text


def _unix_lines(pem: str) -> str:
    """A PEM text with the line ends of Unix, whatever editor or share it came through."""
    return "".join(f"{line.rstrip()}\n" for line in pem.strip().splitlines())


def carries_bundle(bundles: object, wanted: str) -> bool:
    """Whether the operator's ConfigMap carries the CA bundle with this digest."""
    return any(digest(_unix_lines(str(text))) == wanted for text in mapping_at(bundles, "data").values())


def wake_certificates(intent: StorageIntent, seen: Readings, patch: JSON) -> Write | None:
    """The write that makes the operator look at the bundle that ``patch`` of Config's spec names; None without need.

    Its certificates controller is not woken by Config, and would pass the bundle on within ten minutes only (operator
    fact 4.11). A registry that comes from other storage gets new credentials, whose Secret wakes it.
    """
    name = mapping_at(patch, "storage", "s3", "trustedCA").get("name")
    used = mapping_at(seen.get("config"), "status", "storage").get("s3")
    if not name or used is None or not isinstance(seen.get("bundles"), Mapping) or not bundle_to_renew(intent, seen)[0]:
        return None
    version = mapping_at(seen.get("config"), "metadata").get("resourceVersion")
    change = {"metadata": {"annotations": {WAKE: f"{name}@{version}"}}}
    certificates = intent.platform.certificates
    return Write("patch", bundles_path(intent.platform), change, "ConfigMap", certificates, {}, change, False)


def bundle_to_renew(intent: StorageIntent, seen: Readings) -> tuple[str, float | None]:
    """Digest of the CA bundle that the Pods may not have yet, and the patience for it (see Renewal); else empty.

    Pods read the bundle once, when they start (operator fact 4.11).
    """
    deployment = named(seen.get("deployments"), intent.platform.deployment)
    if "bundles" not in seen or deployment is None:
        return "", None
    bundles, new = seen["bundles"], _new_bundle(intent, seen.get("ca"))
    stored = str(mapping_at(seen.get("ca"), "data").get(intent.platform.trusted_ca_key) or "")
    if new is None and not stored:
        return "", None
    wanted = digest(_unix_lines(stored) if new is None else new)
    if isinstance(bundles, Denied):
        return (wanted, UNRENEWED) if new is not None else ("", None)
    if not carries_bundle(bundles, wanted):
        return wanted, UNRENEWED
    rendered = template_rendered(deployment)
    late = isinstance(bundles, Mapping) and bool(rendered) and written(bundles, "data") > rendered
    return (wanted, UNRENEWED_AT_REST) if late else ("", None)
