# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed pull secrets: spec.imagePullSecret of Config/cluster, and what it must bring about in namespaces.

Pure. Sources: Registry v2 page (Configure Managed Service Account Pull Secrets), newer pages (Managed pull secrets).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Readings, Ref, spec_patch
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    FIELD,
    JSON,
    PullSecretsGoal,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import PullSecretsIntent
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.resources import config_absent


def needs(intent: PullSecretsIntent, seen: Readings) -> list[Ref]:
    """The Config only: nothing to change costs one request."""
    return [] if "config" in seen else [Ref("config", intent.platform.config_path, required=True)]


def plan(intent: PullSecretsIntent, seen: Readings) -> Plan[PullSecretsGoal]:
    """Refusals, the patch (guarded by resourceVersion when it edits a list) and the goal."""
    config, platform = seen["config"], intent.platform
    if not isinstance(config, Mapping):
        return Plan((*intent.problems, config_absent(platform)))
    if intent.problems:
        return Plan(intent.problems)
    live = mapping_at(config, "spec")
    stored = {name: _stored_list(live, name) for name in intent.lists}
    edits = {name: edited(stored[name], entries, intent.list_mode) for name, entries in intent.lists.items()}
    lists = {name: stored[name] if edit is None else edit for name, edit in edits.items()}
    settings = {**intent.settings, **lists}
    spec = {FIELD: settings} if settings else {}
    write = spec_patch(platform.config_path, "Config", platform.singleton, spec, live)
    if write is not None and any(name in mapping_at(write.body, "spec", FIELD) for name in intent.lists):
        version = mapping_at(config, "metadata").get("resourceVersion")
        write = replace(write, body={**write.body, "metadata": {"resourceVersion": version}})
    dropped = [f"{name}: {entry}" for name, entries in stored.items() for entry in entries if entry not in lists[name]]
    return Plan(
        warnings=() if intent.managed else tuple(_warnings(live)),
        writes=() if write is None else (write,),
        goal=_goal(intent, generation(config), lists),
        values={"dropped": dropped if intent.list_mode == "replace" else []},
    )


def _stored_list(live: JSON, name: str) -> list[str]:
    return [str(entry) for entry in mapping_at(live, FIELD).get(name) or ()]


def edited(live: Sequence[str], given: Sequence[str], mode: str) -> list[str] | None:
    """The list after the edit, or None when nothing differs. Order and duplicates are not a difference.

    mode: replace, merge or remove. What stays keeps the order it has; what is new comes behind it.
    """
    if mode == "replace":
        wanted = list(dict.fromkeys(given))
    elif mode == "merge":
        wanted = [*live, *(item for item in dict.fromkeys(given) if item not in live)]
    else:
        wanted = [item for item in live if item not in given]
    if set(wanted) == set(live):
        return None
    kept = [item for item in dict.fromkeys(live) if item in wanted]
    return [*kept, *(item for item in wanted if item not in kept)]


def _warnings(live: JSON) -> Iterator[str]:
    state = live.get("managementState") or "not set"
    if state != "Managed":
        yield f"Config.spec.managementState is {state}: the pull secret controller works only while it is Managed."


def _goal(intent: PullSecretsIntent, stored_generation: int, lists: Mapping[str, list[str]]) -> PullSecretsGoal:
    """A replaced list must stay as it is; of an edited one only our own entries matter."""
    entries = tuple((name, entry) for name, given in intent.lists.items() for entry in given)
    lasting = {**intent.settings, **(lists if intent.list_mode == "replace" else {})}
    return PullSecretsGoal(
        {FIELD: lasting} if lasting else {},
        stored_generation,
        intent.platform,
        has=entries if intent.list_mode == "merge" else (),
        lacks=entries if intent.list_mode == "remove" else (),
        namespaces=intent.namespaces,
        selector=intent.selector,
        accounts=intent.accounts,
    )
