# SPDX-License-Identifier: GPL-3.0-or-later
"""How the operator's own resources, Config and ImagePruner, are shown to users. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import mapping_at, mappings_at
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import cut, redact
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

JSON = Mapping[str, Any]


def config_absent(platform: Platform) -> str:
    """Why nothing can be written while the operator has not made its Config."""
    return (
        f"Config/{platform.singleton} does not exist: the operator creates it when it starts. Check that the registry "
        "operator is installed and running, then run again."
    )


def public(resource: JSON) -> dict[str, Any]:
    """The object without secrets (spec.httpSecret, a login in a proxy's URL) and without noise (managedFields)."""
    spec = {key: value for key, value in mapping_at(resource, "spec").items() if key != "httpSecret"}
    if isinstance(spec.get("proxy"), Mapping):
        spec["proxy"] = {key: redact(str(value)) for key, value in spec["proxy"].items()}
    meta = mapping_at(resource, "metadata")
    return {
        "apiVersion": resource.get("apiVersion"),
        "kind": resource.get("kind"),
        "metadata": {key: meta[key] for key in ("name", "generation", "resourceVersion", "uid") if key in meta},
        "spec": spec,
        "status": dict(mapping_at(resource, "status")),
    }


def conditions(resource: JSON) -> dict[str, dict[str, Any]]:
    """The conditions by type, each with status, reason and message as far as it has them."""
    return {
        str(item.get("type")): {key: item[key] for key in ("status", "reason", "message") if key in item}
        for item in mappings_at(resource, "status", "conditions")
    }


def last_words(resource: JSON) -> str:
    """What the operator says on the object, for the end of a wait that ran out of time."""
    words = []
    for item in mappings_at(resource, "status", "conditions"):
        if item.get("type") in ("Available", "Progressing", "Degraded"):
            text = f"{item.get('type')}={item.get('status')}"
            if item.get("reason"):
                text += f" {item['reason']}"
            if item.get("message"):
                text += f": {item['message']}"
            words.append(cut(text))
    return "; ".join(words)
