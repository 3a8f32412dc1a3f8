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
    fingerprint,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    is_object_name,
    mapping_at,
    namespaced,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    StorageIntent,
    holds_certificate,
)


def trusted_ca_refs(intent: StorageIntent, seen: Readings) -> list[Ref]:
    """The ConfigMap and, where another bundle is to be stored, the operator's own copy of what the Pods have."""
    name, platform = _name(intent), intent.platform
    if not name:
        return []
    refs = [Ref("ca", namespaced(platform.trusted_ca_namespace, "configmaps", name))]
    if "ca" in seen and _new_bundle(intent, seen["ca"]) is not None:
        refs.append(Ref("bundles", namespaced(platform.namespace, "configmaps", platform.certificates)))
    return refs


def _name(intent: StorageIntent) -> str:
    """Name of the ConfigMap; empty when none is to be used."""
    name = str((intent.options.get("trusted_ca") or {}).get("name") or "")
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


def bundle_rolls(intent: StorageIntent, seen: Readings) -> bool:
    """Whether another CA bundle has to reach the Pods: they read it once, when they start (operator fact 4.11).

    False when the operator's own ConfigMap already carries the text: then no rollout will follow.
    """
    if not _name(intent):
        return False
    bundle, carried = _new_bundle(intent, seen.get("ca")), mapping_at(seen.get("bundles"), "data")
    return bundle is not None and not any(_unix_lines(str(text)) == bundle for text in carried.values())
