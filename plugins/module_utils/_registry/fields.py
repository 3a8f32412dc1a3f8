# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fields of Config.spec and ImagePruner.spec hold; comparing and patching these specs.

The operator writes the whole spec back whenever it changes anything in it (operator fact 2.1).
"""

from __future__ import annotations

from functools import partial

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import merge_patch, values
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import Fields, Kind, Path

_PRESENT_WHEREVER = frozenset({"labelSelector", "namespaceSelector"})
_TEXT_MAPS = frozenset({"nodeSelector", "matchLabels"})


def kind_of(path: Path) -> Kind:
    """What the field at ``path`` holds (operator fact 1.2)."""
    if not path:
        return Kind.BY_TYPE
    leaf, parent = path[-1], path[-2] if len(path) > 1 else ""
    if path[0] == "resources" and len(path) == 3 and parent in ("limits", "requests"):
        return Kind.QUANTITY
    if path[0] == "requests" and len(path) == 3:
        return Kind.DURATION if leaf == "maxWaitInQueue" else Kind.OPTIONAL_NUMBER
    if path == ("storage", "s3", "cloudFront", "duration"):
        return Kind.DURATION
    if path == ("keepYoungerThanDuration",):
        return Kind.OPTIONAL_DURATION
    if path == ("logging",):
        return Kind.OPTIONAL_NUMBER
    if path in (("logLevel",), ("operatorLogLevel",)):
        return Kind.LOG_LEVEL
    if (len(path) == 2 and path[0] == "storage" and leaf != "managementState") or path == ("affinity",):
        # Backends are pointers; an empty affinity disables the operator's own (operator fact 4.15).
        return Kind.PRESENCE
    if leaf in _PRESENT_WHEREVER:
        return Kind.PRESENCE
    if parent in _TEXT_MAPS or leaf == "[]":
        return Kind.TEXT
    return Kind.BY_TYPE


_SPEC = Fields(
    kind_of,
    # The API declares most of these atomic as well (operator fact 1.3).
    atomic=frozenset({("resources",), ("nodeSelector",), ("affinity",), ("requests", "read"), ("requests", "write")}),
)

# What values and merge_patch do, for these fields.
canonical = partial(values.canonical, _SPEC)
same = partial(values.same, _SPEC)
diff = partial(merge_patch.diff, _SPEC)
owned = partial(merge_patch.owned, _SPEC)
