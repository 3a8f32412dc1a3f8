# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pure helpers for Kubernetes objects and their paths."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

JSON = Mapping[str, Any]


def namespaced(namespace: str, resource: str, name: str = "", api: str = "/api/v1") -> str:
    """The path of a namespaced object or, without a name, of the collection."""
    path = f"{api}/namespaces/{quote(namespace, safe='')}/{resource}"
    return f"{path}/{quote(name, safe=':')}" if name else path


def object_path(collection: str, item: JSON) -> str:
    """Path of an item of a collection, which may be of one namespace or of the whole cluster."""
    meta = item.get("metadata") or {}
    namespace, name = str(meta.get("namespace") or ""), quote(str(meta.get("name") or ""), safe=":")
    if namespace and "/namespaces/" not in collection:
        api, _, resource = collection.rpartition("/")
        return namespaced(namespace, resource, str(meta.get("name") or ""), api)
    return f"{collection}/{name}"


def secret_text(secret: JSON, key: str) -> str | None:
    """A value of a Secret as text; None when the key is missing or its value is not text."""
    raw = (secret.get("data") or {}).get(key)
    if raw is None:
        return None
    try:
        return base64.b64decode(raw, validate=True).decode()
    except ValueError:
        return None
