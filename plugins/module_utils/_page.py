# SPDX-License-Identifier: GPL-3.0-or-later
"""The vendor's page as one task: all requested parts go through the flow together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import (
    Options,
    Result,
    reconcile,
    verify,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._run import Module, run

SHARED = ("wait", "wait_timeout")
"""Options of the task that a part's own validation also looks at."""


STORAGE, PULL_SECRETS, LIMITS, PRUNER = "registry_storage", "registry_pullsecret", "image_limits", "image_pruner"
PARTS = (STORAGE, PULL_SECRETS, LIMITS, PRUNER)
"""The options that hold a part each, in the order in which the parts are written."""


def part(name: str) -> Callable[[Platform, JSON], Part[Any, Any]]:
    """The part of that name; imported here, so that a process that runs one part imports no other. Raises KeyError."""
    if name == STORAGE:
        from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.part import StoragePart

        return StoragePart
    if name == PULL_SECRETS:
        from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.part import (
            PullSecretsPart,
        )

        return PullSecretsPart
    if name == LIMITS:
        from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.part import LimitsPart

        return LimitsPart
    if name == PRUNER:
        from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.part import PrunerPart

        return PrunerPart
    raise KeyError(name)


def run_page(module: Module) -> None:
    """Do the work of the module `registry` and end it."""
    if not any(module.params.get(name) for name in PARTS):
        nothing = f"Nothing to do, because none of these is set: {', '.join(PARTS)}."
        if not module.params["allow_nothing"]:
            module.fail_json(msg=f"{nothing} If that is intended, set allow_nothing: true.", changed=False)
            return
        module.exit_json(changed=False, parts={}, summary=[nothing], diff={"before": {}, "after": {}})
        return

    def work(client: Client, platform: Platform, options: Options) -> Result:
        found = parts(platform, module.params)
        step = verify if options.read_only else reconcile
        return combined(found, step(client, found, options))

    run(module, work)


def parts(platform: Platform, params: JSON) -> list[Part[Any, Any]]:
    """The requested parts, in the order in which they are written."""
    shared = {name: params[name] for name in SHARED}
    found: list[Part[Any, Any]] = []
    if params.get(STORAGE):
        found.append(part(STORAGE)(platform, {**shared, **_storage(params)}))
    if params.get(PULL_SECRETS):
        options = {**shared, **params[PULL_SECRETS], "managed": _managed(params)}
        found.append(part(PULL_SECRETS)(platform, options))
    groups = params.get(LIMITS) or []
    for number, group in enumerate(groups):
        limits = part(LIMITS)(platform, {**shared, **group})
        limits.label = f"{limits.name}[{number}]" if len(groups) > 1 else limits.name
        found.append(limits)
    if params.get(PRUNER):
        found.append(part(PRUNER)(platform, {**shared, **params[PRUNER]}))
    return found


def _storage(params: JSON) -> dict[str, Any]:
    """A comparison uses a client that cannot write, so it cannot upload to the registry either."""
    options = dict(params[STORAGE])
    if params["mode"] == "verify" and options.get("probe") == "write":
        options["probe"] = "require"
    return options


def _managed(params: JSON) -> bool:
    """Whether the task itself sets Config's managementState to Managed, which a comparison does not."""
    storage = params.get(STORAGE) or {}
    return params["mode"] == "configure" and storage.get("management_state") == "Managed"


def combined(found: Sequence[Part[Any, Any]], results: Sequence[Result]) -> Result:
    """All results combined into one. Values: ``parts`` by name (a list for image_limits), ``summary``, ``diff``."""
    total = Result(changed=any(result.changed for result in results))
    by_part: dict[str, Any] = {}
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    summary, failures = [], []
    for part, result in zip(found, results):
        # Whole objects (Config for two parts) would bury the reason where a failed task shows its result.
        values = {"changed": result.changed, **{key: one for key, one in result.values.items() if key != part.main}}
        if result.failure is not None:
            values["msg"] = result.failure
            failures.append(f"{part.label}: {result.failure}")
        if part.name == LIMITS:
            by_part.setdefault(part.name, []).append(values)
        else:
            by_part[part.name] = values
        verification = values["verification"]
        verdict = "differs" if "differences" in values else verification["verdict"]
        summary.append(
            f"{part.label}: {verdict}: {result.failure if 'differences' in values else verification['summary']}"
        )
        total.warnings += [f"{part.label}: {text}" if len(found) > 1 else text for text in result.warnings]
        for side, key in ((before, "before"), (after, "after")):
            side.update((f"{part.label}: {name}", value) for name, value in values["diff"][key].items())
    # A misspelt variable would otherwise be noticed by nobody.
    summary += [f"{name}: not set, left alone" for name in PARTS if name not in by_part]
    total.values = {"parts": by_part, "summary": summary, "diff": {"before": before, "after": after}}
    if failures:
        total.failure = "\n".join(failures) if len(failures) > 1 else failures[0]
    return total
