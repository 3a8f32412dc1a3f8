# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA bundle of an S3 endpoint: the ConfigMap, and whether the running Pods have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import (
    JSON,
    Denied,
    Reading,
    Readings,
    Write,
    fingerprint,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    NAME,
    Intent,
    certificates,
)


def check_trusted_ca(want: Intent, seen: Readings) -> tuple[list[str], list[str], list[Write]]:
    """The ConfigMap with the endpoint's CA: created or updated from `pem`, else checked."""
    given = want.options.get("trusted_ca") if want.backend == "s3" else None
    if not given or not NAME.match(given["name"]):
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
        if not certificates(data[key]):
            text = (
                f"trusted_ca: {key} in ConfigMap {name} holds no PEM certificate; the operator would ignore it "
                "silently."
            )
            return [text], [], []
        return [], [], []
    existing = live if isinstance(live, Mapping) else None
    old = ((existing or {}).get("data") or {}).get(key)
    bundle = new_bundle(want, existing)
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


def new_bundle(want: Intent, live: Reading) -> str | None:
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


def bundle_rolls(want: Intent, seen: Readings) -> bool:
    """Whether another CA bundle has to reach the Pods: they read it once, when they start (operator fact 4, trustedCA).

    False when the operator's own ConfigMap already carries the text: then no rollout will follow.
    """
    text = new_bundle(want, seen.get("ca"))
    bundles = seen.get("bundles")
    data = (bundles.get("data") or {}) if isinstance(bundles, Mapping) else {}
    return text is not None and not any(_lines(str(value)) == text for value in data.values())
