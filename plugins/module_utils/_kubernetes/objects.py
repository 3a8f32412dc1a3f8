# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pure helpers for Kubernetes objects and their paths."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

JSON = Mapping[str, Any]
NOTHING: JSON = {}
_MOST_PARTS = 500_000
"""Lists and objects in one JSON text: each takes 60 bytes of memory and more, even if it takes two in the text."""
_DEEPEST = 100
"""How deeply a JSON text may be nested: what walks through an object must not meet the end of Python's stack."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_namespace_name(text: str) -> bool:
    """Whether the text can be the name of a namespace (a DNS label)."""
    return _LABEL.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether the text can be the name of an object of most kinds (a DNS subdomain)."""
    return _SUBDOMAIN.fullmatch(text) is not None


def member_path(collection: str, name: str) -> str:
    """The path of an object of a collection; every name that becomes part of a path is quoted here."""
    return f"{collection}/{quote(name, safe=':')}"


def namespaced(namespace: str, resource: str, name: str = "", api: str = "/api/v1") -> str:
    """The path of a namespaced object or, without a name, of the collection."""
    path = f"{member_path(f'{api}/namespaces', namespace)}/{resource}"
    return member_path(path, name) if name else path


def object_path(collection: str, item: JSON) -> str:
    """Path of an item of a collection, which may be of one namespace or of the whole cluster."""
    meta = mapping_at(item, "metadata")
    namespace, name = str(meta.get("namespace") or ""), str(meta.get("name") or "")
    if namespace and "/namespaces/" not in collection:
        api, _, resource = collection.rpartition("/")
        return namespaced(namespace, resource, name, api)
    return member_path(collection, name)


def secret_text(secret: JSON, key: str) -> str | None:
    """A value of a Secret as text; None when the key is missing or its value is not text."""
    raw = mapping_at(secret, "data").get(key)
    try:
        return base64.b64decode(raw, validate=True).decode() if isinstance(raw, str) else None
    except ValueError:
        return None


def decoded(text: bytes | str) -> Any:
    """What a JSON text means; None when it is not one, or has more or deeper parts than anything of Kubernetes."""
    parts = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if parts > _MOST_PARTS:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    level = [value]
    for _ in range(_DEEPEST):
        children = (
            node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list))
        )
        level = [child for some in children for child in some if isinstance(child, (dict, list))]
        if not level:
            return value
    return None


def is_object(value: object) -> bool:
    """Whether a value has the shape of a Kubernetes object: it has a name, and its parts are objects.

    All other code relies on that. What is inside of the parts may still be anything.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("metadata"), Mapping):
        return False
    meta = value["metadata"]
    parts = (value.get("spec"), value.get("status"), value.get("data"), meta.get("labels"), meta.get("annotations"))
    return (
        isinstance(meta.get("name"), str)
        and isinstance(meta.get("namespace", ""), str)
        and all(part is None or isinstance(part, Mapping) for part in parts)
    )


# -- reading an object, however incomplete -----------------------------------------------------------------------------


def mapping_at(value: object, *keys: str) -> JSON:
    """The mapping under ``keys``; empty when anything on the way is absent or is not a mapping."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else NOTHING


def mappings_at(value: object, *keys: str) -> list[JSON]:
    """The mappings in the list under ``keys``; empty when there is no list."""
    entries = mapping_at(value, *keys[:-1]).get(keys[-1])
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def number_at(value: object, *keys: str) -> int:
    """The integer under ``keys``; absent is 0, as in Go (``omitempty``)."""
    found = mapping_at(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def generation(item: object) -> int:
    """The generation of an object's spec; 0 for an object that is not there."""
    return number_at(item, "metadata", "generation")


def uid(item: object) -> str:
    """The uid of an object; empty for one that is not there."""
    return str(mapping_at(item, "metadata").get("uid") or "")


def made_again(item: object, before: str) -> bool:
    """Whether an object is another one than that with the uid ``before``: its generation is counted anew."""
    return bool(before) and uid(item) not in ("", before)


def observed_generation(item: object) -> int:
    """The generation that the object's controller has looked at."""
    return number_at(item, "status", "observedGeneration")


def being_deleted(item: object) -> bool:
    """Whether an object has been deleted and waits for its finalizers or its Pods."""
    return bool(mapping_at(item, "metadata").get("deletionTimestamp"))


@dataclass(frozen=True)
class Condition:
    """One condition; an absent one has an empty status. changed: lastTransitionTime as written."""

    kind: str
    status: str = ""
    reason: str = ""
    message: str = ""
    changed: str = ""

    @property
    def true(self) -> bool:
        """Whether the condition is True (absent and Unknown are not)."""
        return self.status == "True"

    @property
    def text(self) -> str:
        """``Type=Status/Reason``, for messages."""
        return f"{self.kind}={self.status or 'absent'}" + (f"/{self.reason}" if self.reason else "")


def condition(item: object, kind: str) -> Condition:
    """The condition ``kind`` of an object."""
    for entry in mappings_at(item, "status", "conditions"):
        if entry.get("type") == kind:
            status, reason, message, changed = (
                str(entry.get(key) or "") for key in ("status", "reason", "message", "lastTransitionTime")
            )
            return Condition(kind, status, reason, message, changed)
    return Condition(kind)
