# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible and the flow: parameters in, exit_json/fail_json out. Every module is one call of this."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from ansible_collections.alauda.image_registry.plugins.module_utils import _pruner, _pullsecret, _storage
from ansible_collections.alauda.image_registry.plugins.module_utils._client import (
    ApiError,
    Client,
    ClientError,
    kubeconfig_secrets,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._model import JSON, UNSEEN, Snapshot
from ansible_collections.alauda.image_registry.plugins.module_utils._observe import Progress
from ansible_collections.alauda.image_registry.plugins.module_utils._plan import Plan, Readings, named
from ansible_collections.alauda.image_registry.plugins.module_utils._platform import PLATFORMS, Platform
from ansible_collections.alauda.image_registry.plugins.module_utils._reconcile import (
    Options,
    Part,
    Refused,
    Result,
    reconcile,
    seen_object,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._watchers import (
    Pruning,
    PullSecrets,
    Rollout,
    warning_events,
)


class Module(Protocol):
    """What is used of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    no_log_values: set[str]

    def exit_json(self, **values: Any) -> None: ...

    def fail_json(self, msg: str, **values: Any) -> None: ...

    def warn(self, warning: str) -> None: ...


_progress: Progress | None = None


@contextlib.contextmanager
def progress_to(progress: Progress | None) -> Iterator[None]:
    """Have each change of state reported while a task of this process waits."""
    global _progress
    _progress = progress
    try:
        yield
    finally:
        _progress = None


Work = Callable[[Client, Platform, JSON, Options], Result]


def storage(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """registry_storage."""
    want = _storage.intent(params, platform)

    def watcher(plan: Plan, generation: int) -> Rollout:
        return Rollout(platform, _since(plan.goal, generation), plan.claim)

    def first(seen: Readings, at: float) -> Snapshot:
        deployments = seen.get("deployments")
        return Snapshot(
            at=at,
            config=seen_object(seen["config"]),
            deployment=named(deployments, platform.deployment) if isinstance(deployments, tuple) else UNSEEN,
            claim=seen_object(seen["claim"]) if want.backend == "pvc" else UNSEEN,
        )

    part = Part(
        needs=lambda seen: _storage.needs(want, seen),
        plan=lambda seen: _storage.plan(want, seen),
        watcher=watcher,
        first=first,
        main="config",
        main_path=platform.config_path,
        events=lambda plan: warning_events(client, platform, plan.claim),
        confirm=True,
    )
    return reconcile(client, platform, part, options)


def pullsecret(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """registry_pullsecret."""
    part = Part(
        needs=lambda seen: _pullsecret.needs(platform, seen),
        plan=lambda seen: _pullsecret.plan(params, platform, seen),
        watcher=lambda plan, generation: PullSecrets(platform, _since(plan.goal, generation)),
        first=lambda seen, at: Snapshot(at=at, config=seen_object(seen["config"])),
        main="config",
        main_path=platform.config_path,
    )
    return reconcile(client, platform, part, options)


def pruner(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """image_pruner."""
    part = Part(
        needs=lambda seen: _pruner.needs(platform, seen),
        plan=lambda seen: _pruner.plan(params, platform, seen),
        watcher=lambda plan, generation: Pruning(platform, _since(plan.goal, generation)),
        first=lambda seen, at: Snapshot(
            at=at, pruner=seen_object(seen["pruner"]), cronjob=seen_object(seen.get("cronjob"))
        ),
        main="pruner",
        main_path=platform.pruner_path,
    )
    return reconcile(client, platform, part, options)


def _since(goal: Any, generation: int) -> Any:
    """The goal once it is known which generation of the main object carries the wish."""
    return replace(goal, min_generation=max(goal.min_generation, generation))


def run(module: Module, work: Work) -> None:
    """Do the work of one task and end the module; every failure is a message for people, never a traceback."""
    params = module.params
    module.no_log_values.update(kubeconfig_secrets(params))
    options = Options(
        check_mode=module.check_mode,
        wait=bool(params["wait"]),
        wait_timeout=float(params["wait_timeout"]),
        progress=_progress,
    )
    try:
        client = Client(params)
        try:
            result = work(client, PLATFORMS[params["platform"]], params, options)
        finally:
            client.close()
    except (Refused, ApiError, ClientError) as error:
        module.fail_json(msg=str(error), changed=False)
        return
    for warning in result.warnings:
        module.warn(warning)
    if result.failure is not None:
        module.fail_json(msg=result.failure, changed=result.changed, **result.values)
    else:
        module.exit_json(changed=result.changed, **result.values)
