# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the collection's roles and playbooks: a misspelt one would have no effect, so it is refused.

Pure. Ansible validates the values of a role's variables, but a variable that no role knows is nobody's mistake to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import AUTH, MODULES, PLATFORM, WAIT

SITE = "registry"
"""The role that takes a dictionary for each part, and the beginning of what all roles share."""
PARTS = tuple(name for name in MODULES if name != SITE)
"""Roles with one part each, and the dictionaries that the role for all parts takes."""
SHARED = frozenset({**AUTH, **WAIT, **PLATFORM})
ALLOW_UNKNOWN = "registry_allow_unknown"
"""Variable that keeps unknown variables from being refused (true)."""
PLAYBOOKS = frozenset(
    {f"registry_pvc_{name}" for name in ("access_mode", "claim", "create", "size", "storage_class")}
    | {
        f"registry_s3_{name}"
        for name in ("access_key", "bucket", "endpoint", "region", "secret_key", "trusted_ca", "trusted_ca_file")
    }
    | {"registry_hosts"}
)
"""Variables that only playbooks take."""
KNOWN = (
    PLAYBOOKS
    | set(PARTS)
    | {f"{SITE}_{name}" for name in SHARED | {"allow_nothing", "on_backend_change", "result", "secure_logging"}}
    | {ALLOW_UNKNOWN}
    | {f"{part}_{name}" for part in PARTS for name in (*MODULES[part]["argument_spec"], "result", "secure_logging")}
)
"""Every variable that a role or playbook of the collection takes or sets."""
NEAR = 0.8
"""Names this similar count as misspelt: "storge" for "storage" (0.92), but not "hostname" for "host" (0.67)."""


def unknown_variables(variables: Mapping[str, Any]) -> list[str]:
    """What to say about each of these variables that looks like one of ours and is not, in alphabetical order.

    A role's name with an underscore is the beginning of that role's own variables. What else begins with "registry_" or
    "image_" may be anybody's, unless it is nearly the name of one of ours and could have its value.
    """
    found = []
    for name in sorted(variables.keys() - KNOWN):
        first, _, rest = name.partition("_")
        if first not in ("registry", "image"):
            continue
        known = {one.partition("_")[2]: one for one in sorted(KNOWN) if one.startswith(f"{first}_")}
        near = difflib.get_close_matches(rest, known, 1, NEAR)
        if near and _could_be(known[near[0]], variables[name]):
            found.append(f"{name} (did you mean {known[near[0]]}?)")
        elif name.startswith(tuple(f"{part}_" for part in PARTS)):
            found.append(name)
    return found


def _could_be(name: str, value: Any) -> bool:
    """Whether our variable of this name could have the value: registry_pull_secret, a text, is not our dictionary."""
    return name not in PARTS or isinstance(value, (Mapping, list)) or "{{" in str(value)


def unknown_keys(part: str, given: Any) -> list[str]:
    """What to say about keys of the dictionary that a part's role takes and that its module does not know."""
    known = sorted(set(MODULES[part]["argument_spec"]) - SHARED)
    found = []
    for key in sorted(map(str, given)) if isinstance(given, Mapping) else ():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            found.append(f"{part}.{key}{meant or f' (give it as {SITE}_{key})' * (key in SHARED)}")
    return found


def refusal(found: Iterable[str]) -> str:
    """The message about everything that was found, or "" for nothing."""
    listed = ", ".join(found)
    return listed and (
        f"Unknown variables, which would have no effect: {listed}. Rename or remove them; {ALLOW_UNKNOWN}: true "
        "ignores them."
    )
