# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's modules inside the controller when that is exactly the same, else as ordinary modules.

ansible-playbook loads an action plugin once, before it forks workers, so that a playbook pays for the imports once, and
a task is a fork and its requests. What runs is the module's own main(): validation, censoring and result are the
module's, and everything after it is ActionBase's own. Only building, transferring and starting a process is left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from ansible.module_utils import basic
from ansible.module_utils.common import warnings as module_warnings
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.alauda.image_registry.plugins.module_utils import _run
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import connection as _connection
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import library as _library

try:
    # Its fields grow with ansible-core, each with a default that means "an ordinary module".
    from ansible.executor.module_common import _BuiltModule
    from ansible.module_utils.common.json import Direction, get_module_encoder
except ImportError:  # ansible-core before 2.19
    get_module_encoder = None

display = Display()

COLLECTION = "alauda.image_registry"
SWITCH = "alauda_image_registry_in_controller"
"""Variable that switches execution in the controller off (false)."""
QUIET = "alauda_image_registry_quiet"
"""Variable that switches the progress lines off (true)."""
PROFILE = "legacy"


class ModuleAction(ActionBase):  # type: ignore[misc]
    """One task of any of the collection's modules."""

    module: ModuleType

    _requires_connection = True
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result, from whichever way it ran."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        name = f"{COLLECTION}.{self.module.__name__.rpartition('.')[2]}"
        self._here = self._reason(variables)
        if self._here:
            display.vvv(f"{name}: runs as an ordinary module, because {self._here}")
        else:
            display.vvv(f"{name}: runs inside the controller ({SWITCH}: false would switch that off)")
        self._quiet = self._flag(variables, QUIET, False)
        result.update(
            self._execute_module(module_name=name, task_vars=variables, wrap_async=bool(self._task.async_val))
        )
        return result

    # -- is it the same? -----------------------------------------------------------------------------------------------

    def _reason(self, variables: Mapping[str, Any]) -> str:
        """Why the task cannot run in the controller; empty when nothing would be different."""
        if get_module_encoder is None:
            return "this ansible-core is older than 2.19"
        if not self._flag(variables, SWITCH, True):
            return f"{SWITCH} is false"
        if self._connection.transport != "local":
            return f"the connection is {self._connection.transport}, not local"
        if self._play_context.become or self._task.become:
            return "the task uses become"
        if self._task.async_val:
            return "the task is asynchronous"
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        if environment:
            return f"the task sets environment variables ({', '.join(sorted(environment))})"
        interpreter = self._interpreter(variables)
        if interpreter is None:
            return "ansible_python_interpreter is not set to the controller's Python"
        if interpreter != sys.executable and os.path.realpath(interpreter) != os.path.realpath(sys.executable):
            return f"ansible_python_interpreter is {interpreter}, the controller runs {sys.executable}"
        if interpreter != sys.executable and sys.prefix != sys.base_prefix:
            return f"ansible_python_interpreter is {interpreter}, the controller runs in the environment {sys.prefix}"
        if _connection.IMPORT_ERROR is not None:
            return "the controller's Python cannot import urllib3"
        return ""

    def _flag(self, variables: Mapping[str, Any], name: str, default: bool) -> bool:
        value = self._templar.template(variables.get(name, default))
        return bool(basic.boolean(value, strict=False))

    def _interpreter(self, variables: Mapping[str, Any]) -> str | None:
        """The Python that an ordinary module would run under, as far as it is known without asking the host."""
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        value = variables.get("ansible_python_interpreter")
        return None if value is None else str(self._templar.template(value))

    # -- ActionBase's own execution, without a process -----------------------------------------------------------------

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        """Nothing is transferred, so no temporary folder is needed."""
        return True if not self._here else bool(super()._is_pipelining_enabled(module_style, wrap_async))

    def _configure_module(self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> Any:
        """Keep the arguments, complete as the module would get them, instead of packing them into an archive."""
        if self._here:
            return super()._configure_module(module_name, module_args, task_vars)
        self._arguments = module_args
        built = _BuiltModule(
            module_style="new", shebang=f"#!{sys.executable}", b_module_data=b"", serialization_profile=PROFILE
        )
        return built, self.module.__file__

    def _low_level_execute_command(self, cmd: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run main() and hand over what it printed."""
        if self._here:
            result: dict[str, Any] = super()._low_level_execute_command(cmd, *args, **kwargs)
            return result
        encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
        given = json.dumps({"ANSIBLE_MODULE_ARGS": self._arguments}, cls=encoder).encode()
        output, code, trouble = io.StringIO(), 0, ""
        with _as_module(given), _run.progress_to(None if self._quiet else self._progress):
            try:
                with contextlib.redirect_stdout(output):
                    self.module.main()
            except SystemExit as end:
                code = int(end.code or 0)
            except Exception:
                code, trouble = 1, traceback.format_exc()
        if _library.loaded():
            _needed[0] = 1
        return {"rc": code, "stdout": output.getvalue(), "stderr": trouble, "stdout_lines": [], "stderr_lines": []}

    def _progress(self, seconds: float, text: str) -> None:
        """One line for each change of state while the task waits."""
        host = self._task_host()
        display.display(f"  {int(seconds) // 60}:{int(seconds) % 60:02d} {f'[{host}] ' if host else ''}{text}")

    def _task_host(self) -> str:
        address = getattr(self._play_context, "remote_addr", "") or ""
        return "" if address in ("localhost", "127.0.0.1") else str(address)


# -- the library kubernetes, once for all workers ----------------------------------------------------------------------

_needed = mmap.mmap(-1, 1)
"""Memory shared with the workers: whether one of them needed the library kubernetes."""


def _import_library() -> None:
    """Import the library before a worker is forked when another one needed it, so that not every task pays for it."""
    if _needed[0] and not _library.loaded():
        try:
            _library.load()
        except ImportError:  # the task that needs it says so
            _needed[0] = 0


_needed[0] = _connection.needs_library(os.environ)
os.register_at_fork(before=_import_library)


@contextlib.contextmanager
def _as_module(arguments: bytes) -> Iterator[None]:
    """The global state a module finds in a process of its own; given back afterwards (a loop runs many in one)."""
    saved = (basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE, basic._PARSED_MODULE_ARGS)
    warned = dict(module_warnings._global_warnings), dict(module_warnings._global_deprecations)
    basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE, basic._PARSED_MODULE_ARGS = arguments, PROFILE, None
    module_warnings._global_warnings.clear()
    module_warnings._global_deprecations.clear()
    try:
        yield
    finally:
        basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE, basic._PARSED_MODULE_ARGS = saved
        for store, before in zip((module_warnings._global_warnings, module_warnings._global_deprecations), warned):
            store.clear()
            store.update(before)
