# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wrote the fields of an object and when, as the API server records it in metadata.managedFields. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    mapping_at,
    mappings_at,
)

Path = tuple[str, ...]

_NODES = 5000
"""How many entries of one object are read at most."""


def writers(item: object, subresource: str = "") -> frozenset[str]:
    """The field managers that wrote through that subresource; "" for the object itself."""
    entries = mappings_at(item, "metadata", "managedFields")
    return frozenset(
        str(entry.get("manager") or "") for entry in entries if (entry.get("subresource") or "") == subresource
    )


def written(item: object, *path: str) -> str:
    """When a field was last written (RFC 3339, by the API server's clock), as far as managedFields show it; else "".

    path: the field, "*NAME" for any key that ends in NAME; without one, the object itself (not its status).
    A manager's time is that of its last write of any of its fields, so this may be later than the truth where one
    manager owns several. Of a field with several managers the latest counts.
    """
    times = (
        str(entry.get("time") or "")
        for entry in mappings_at(item, "metadata", "managedFields")
        if not entry.get("subresource") and _manages(mapping_at(entry, "fieldsV1"), path)
    )
    return max(times, default="")


def _manages(fields: JSON, path: Sequence[str]) -> bool:
    """Whether fields in the form of managedFields have this one among them."""
    for name in path:
        key = next((key for key in fields if key == f"f:{name}" or (name[0] == "*" and key.endswith(name[1:]))), None)
        if key is None:
            return False
        fields = mapping_at(fields, key)
    return True


def owned_fields(item: object, section: str) -> dict[str, list[Path]]:
    """By field manager, the fields under ``section`` that it wrote last; keys of lists are left out of the paths."""
    found: dict[str, list[Path]] = {}
    for entry in mappings_at(item, "metadata", "managedFields"):
        if not entry.get("subresource"):
            fields = mapping_at(entry, "fieldsV1", f"f:{section}")
            found.setdefault(str(entry.get("manager") or ""), []).extend(_leaves(fields))
    return {manager: paths for manager, paths in found.items() if paths}


def _leaves(fields: JSON) -> Iterator[Path]:
    pending: list[tuple[Path, JSON]] = [((), fields)]
    for _node in range(_NODES):
        if not pending:
            return
        path, below = pending.pop()
        inner = [(key, mapping_at(below, key)) for key in below if key != "."]
        if path and not inner:
            yield path
        pending += [((*path, key[2:]) if key.startswith("f:") else path, deeper) for key, deeper in inner]
