# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible and the flow: parameters in, exit_json/fail_json out. Every module is one call of this."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import Progress
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import JSON
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import (
    Options,
    Refused,
    Result,
    reconcile,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import (
    ApiError,
    Client,
    ClientError,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import (
    connect,
    kubeconfig_secrets,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import visible, visible_data
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import PLATFORMS, Platform


class Module(Protocol):
    """The part of AnsibleModule that is used here."""

    params: dict[str, Any]
    check_mode: bool
    no_log_values: set[str]

    def exit_json(self, **values: Any) -> None: ...

    def fail_json(self, msg: str, **values: Any) -> None: ...

    def warn(self, warning: str) -> None: ...


_progress: Progress | None = None


@contextlib.contextmanager
def progress_to(progress: Progress | None) -> Iterator[None]:
    """Report each change of state to ``progress`` while a task of this process waits."""
    global _progress
    _progress = progress
    try:
        yield
    finally:
        _progress = None


LONGEST_WAIT = 10**7
"""Seconds that a task may be given, some months."""

Work = Callable[[Client, Platform, Options], Result]


def run_part(module: Module, part: Callable[[Platform, JSON], Part[Any, Any]]) -> None:
    """Do the work of a module with one part and end the module."""

    def work(client: Client, platform: Platform, options: Options) -> Result:
        [result] = reconcile(client, [part(platform, module.params)], options)
        return result

    run(module, work)


def run(module: Module, work: Work) -> None:
    """Do the work of one task and end the module; every failure becomes a message, never a traceback."""
    params = module.params
    module.no_log_values.update(kubeconfig_secrets(params))
    if not 0 <= params["wait_timeout"] <= LONGEST_WAIT:
        module.fail_json(msg=f"wait_timeout: give a number of seconds from 0 to {LONGEST_WAIT}.", changed=False)
        return
    options = Options(
        check_mode=module.check_mode,
        wait=bool(params["wait"]),
        wait_timeout=float(params["wait_timeout"]),
        progress=_visible_progress(_progress),
        read_only=params.get("mode") == "verify",
    )
    try:
        connection = connect(params)
        module.no_log_values.update(connection.secrets)
        client = Client(connection, read_only=options.read_only)
        try:
            result = work(client, PLATFORMS[params["platform"]], options)
        finally:
            client.close()
    except (Refused, ApiError, ClientError) as error:
        module.fail_json(msg=visible(str(error)), changed=False)
        return
    for warning in result.warnings:
        module.warn(visible(warning))
    values = visible_data(result.values)
    if result.failure is not None:
        module.fail_json(msg=visible(result.failure), changed=result.changed, **values)
    else:
        module.exit_json(changed=result.changed, **values)


def _visible_progress(progress: Progress | None) -> Progress | None:
    """The same with each line as it may be shown: what it quotes comes from the cluster."""
    return None if progress is None else lambda seconds, text: progress(seconds, visible(text))
