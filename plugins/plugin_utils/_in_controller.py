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

from ansible import constants
from ansible.errors import AnsibleError
from ansible.executor import module_common
from ansible.module_utils import basic
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.alauda.image_registry.plugins.module_utils import _run
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import connection as _connection
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import library as _library
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes import redact as _redact
from ansible_collections.alauda.image_registry.plugins.plugin_utils import _variables

try:
    # Its fields grow with ansible-core, each with a default that means "an ordinary module".
    from ansible.executor.module_common import _BuiltModule
    from ansible.module_utils.common import warnings as module_warnings
    from ansible.module_utils.common.json import Direction, get_module_encoder
except Exception:  # ansible-core before 2.19, or one that keeps these elsewhere
    get_module_encoder = None

display = Display()

COLLECTION = "alauda.image_registry"
SWITCH = "alauda_image_registry_in_controller"
"""Variable that switches execution in the controller off (false)."""
QUIET = "alauda_image_registry_quiet"
"""Variable that switches the progress lines off (true)."""
CARRIER = f"{COLLECTION}.registry"
"""The module whose archive serves all modules; see called_as."""
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
        self._host = _shown_host(variables)
        self._quiet = self._is_quiet(variables)
        ended = self._ended_by_role(variables)
        if ended is not None:
            self._show_proof(ended)
            return {**result, **ended}
        self._arguments: dict[str, Any] | None = None
        self._started = False
        try:
            self._here = self._reason(variables)
        except Exception as error:
            self._here = _surprise(error)
        arguments = self._with_defaults(name)
        if not self._here:
            display.vvv(f"{name}: runs inside the controller ({SWITCH}: false would switch that off)")
            try:
                result.update(self._ran(name, arguments, variables))
            except Exception as error:
                if self._started:
                    raise
                self._here = _surprise(error)
        if self._here:
            display.vvv(f"{name}: runs as an ordinary module, because {self._here}")
            result.update(self._ran(name, arguments, variables))
        self._show_proof(result)
        return result

    def _ran(self, name: str, arguments: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The module's result. Ansible completes the arguments in place, so each attempt gets its own copy."""
        result: dict[str, Any] = self._execute_module(
            module_name=name,
            module_args=dict(arguments),
            task_vars=variables,
            wrap_async=bool(self._task.async_val),
        )
        return result

    def _with_defaults(self, name: str) -> dict[str, Any]:
        """The task's arguments, completed by module_defaults.

        Ansible does that itself, but before templating: an argument that a role then omits has replaced the default.
        """
        given = dict(self._task.args)
        try:
            if hasattr(module_common, "get_action_args_with_defaults"):  # ansible-core before 2.19
                groups = self._task._parent._play._action_groups
                defaults = self._task.module_defaults
                found = module_common.get_action_args_with_defaults(name, given, defaults, self._templar, groups)
            else:
                found = module_common._apply_action_arg_defaults(name, self._task, given, self._templar)
            return dict(found)
        except AnsibleError:  # such as an undefined variable in module_defaults
            raise
        except Exception as error:
            display.vvv(f"{name}: module_defaults apply as Ansible applied them, because {_surprise(error)}")
            return given

    # -- what a role of the collection was given ----------------------------------------------------------------------

    def _ended_by_role(self, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of a task of one of our roles that was given unknown variables or nothing to do, else None."""
        try:
            collection, _, role = str(self._task._role.get_name()).rpartition(".")
        except Exception:  # the task belongs to no role, or Ansible is not as this file knows it
            return None
        if collection != COLLECTION:
            return None
        if not self._flag(variables, _variables.ALLOW_UNKNOWN, False):
            found = _variables.unknown_variables(variables)
            if role in _variables.PARTS:
                found += _variables.unknown_keys(role, self._templar.template(variables.get(role)))
            if found:
                return {"failed": True, "changed": False, "msg": _variables.refusal(found)}
        idle = str(self._templar.template(variables.get(f"__{role}_idle", "")) or "").strip()
        return {"changed": False, "summary": [idle]} if idle else None

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

    def _is_pipelining_enabled(self, *args: Any, **kwargs: Any) -> bool:
        """Nothing is transferred, so no temporary folder is needed."""
        return True if not self._here else bool(super()._is_pipelining_enabled(*args, **kwargs))

    def _configure_module(self, *args: Any, **kwargs: Any) -> Any:
        """Keep the arguments, complete as the module would get them, instead of packing them into an archive.

        An archive is that of the module `registry` for every module, because Ansible packs an archive once in a run.
        """
        if self._here:
            if str(kwargs.get("module_name")).startswith(f"{COLLECTION}."):
                kwargs["module_name"] = CARRIER
            return super()._configure_module(*args, **kwargs)
        self._arguments = kwargs["module_args"]
        built = _BuiltModule(
            module_style="new", shebang=f"#!{sys.executable}", b_module_data=b"", serialization_profile=PROFILE
        )
        return built, self.module.__file__

    def _low_level_execute_command(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run main() and hand over what it printed."""
        if self._here or self._started:
            result: dict[str, Any] = super()._low_level_execute_command(*args, **kwargs)
            return result
        if self._arguments is None:
            raise RuntimeError("a command before the module's arguments are complete")
        encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
        given = json.dumps({"ANSIBLE_MODULE_ARGS": self._arguments}, cls=encoder).encode()
        output, code, trouble = io.StringIO(), 0, ""
        with _as_module(given), _run.progress_to(None if self._quiet else self._progress):
            self._started = True
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

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _progress(self, seconds: float, text: str) -> None:
        """One line for each change of state while the task waits."""
        display.display(f"  {int(seconds) // 60}:{int(seconds) % 60:02d} {self._host}{text}")

    def _show_proof(self, result: Mapping[str, Any]) -> None:
        """One line for each part of what a successful task has done and verified; a failure shows its message."""
        if self._quiet or self._task.no_log or result.get("failed"):
            return
        for line in _proof(result):
            display.display(f"  {self._host}{_redact.visible(line)}")

    def _is_quiet(self, variables: Mapping[str, Any]) -> bool:
        """Whether lines would be unwelcome: the user said so, or what is printed is for a program."""
        try:
            return self._flag(variables, QUIET, False) or "json" in str(constants.DEFAULT_STDOUT_CALLBACK)
        except Exception:
            return False


def _proof(result: Mapping[str, Any]) -> list[str]:
    """The lines of a result: verdict and proof, and what data was left behind."""
    verification = result.get("verification")
    parts = result.get("parts")
    storage: Any = result
    if isinstance(verification, Mapping):
        lines = [f"{verification.get('verdict')}: {verification.get('summary')}"]
    else:
        lines = [str(line) for line in result.get("summary") or []]
        storage = parts.get("registry_storage") if isinstance(parts, Mapping) else None
    left = storage.get("left_behind") if isinstance(storage, Mapping) else None
    return [*lines, *(f"left behind: {place}" for place in left or [])]


def _shown_host(variables: Mapping[str, Any]) -> str:
    """The host that the task is for, also if it is delegated; nothing for localhost."""
    host = str(variables.get("inventory_hostname") or "")
    return "" if host in ("", "localhost", "127.0.0.1", "::1") else f"[{host}] "


def _surprise(error: Exception) -> str:
    """What to say when Ansible is not as this file knows it."""
    return f"of a surprise in Ansible's private API ({type(error).__name__}: {error})"


# -- the library kubernetes, once for all workers ----------------------------------------------------------------------

_needed = mmap.mmap(-1, 1)
"""Memory shared with the workers: whether one of them needed the library kubernetes."""


def _import_library() -> None:
    """Import the library before a worker is forked when another one needed it, so that not every task pays for it."""
    if _needed[0] and not _library.loaded():
        try:
            _library.load()
        except ImportError:  # reported by the task that needs it
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
