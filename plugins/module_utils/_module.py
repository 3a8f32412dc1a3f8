# SPDX-License-Identifier: GPL-3.0-or-later
"""AnsibleModule with what it cannot know: a kubeconfig given as a dictionary holds secrets; and shorter refusals."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils import basic

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.connection import kubeconfig_secrets
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import visible_data

_CHOICE = re.compile(r"value of \S+ must be one of: (.*), got: (\S*)")


def called_as(otherwise: str, known: Container[str]) -> str:
    """The name by which Ansible calls the module, if it is one of the known names.

    Ansible packs an archive for every module that it runs, which takes longer than most tasks. The collection's action
    plugin has it pack one for all modules, which then goes by the name that the task has.
    """
    if basic._ANSIBLE_ARGS is None:  # not run by Ansible
        return otherwise
    name = str(basic._load_params().get("_ansible_module_name")).rpartition(".")[2]
    return name if name in known else otherwise


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc]
    """Masks single values inside the kubeconfig, and refuses invalid parameters in one sentence for each."""

    params: dict[str, Any]
    check_mode: bool
    no_log_values: set[str]

    def __init__(self, argument_spec: Mapping[str, Any], **rules: Any) -> None:
        """Refuses also the values that break Ansible's own validation, or its log, instead of being refused there."""
        try:
            super().__init__(argument_spec, **rules)
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            self.fail_json(msg=_broken(error, argument_spec, self.params), changed=False)

    def _log_invocation(self) -> None:
        """Called by Ansible once the parameters are known; what it writes goes to the syslog."""
        self.no_log_values.update(kubeconfig_secrets(self.params))
        super()._log_invocation()

    def fail_json(self, msg: str, **values: Any) -> None:
        """Of invalid parameters, Ansible names the first with a list of all options; this names all of them."""
        # Ansible stops collecting secrets at the first value of a wrong type.
        self.no_log_values.update(kubeconfig_secrets(self.params), _secrets(self.argument_spec, self.params))
        text: str = visible_data(refusal(msg, self._problems(), self.argument_spec, self._name))
        try:
            super().fail_json(msg=text, **values)
        except ValueError:  # a parameter that cannot be printed
            self.params = {}
            super().fail_json(msg=text, **values)

    def _problems(self) -> list[str]:
        """Everything that Ansible's validation found, or nothing where it does not keep that."""
        found = getattr(getattr(self, "validation_result", None), "error_messages", None)
        return [str(one) for one in found or []]


def _broken(error: Exception, spec: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """What to say when Ansible's validation raised something; its text is not shown, since it may quote a secret."""
    wrong = [name for name, option in spec.items() if option.get("options") and _no_dictionary(params.get(name))]
    if wrong:
        return f"These options are dictionaries or lists of them, and have another value: {', '.join(wrong)}."
    return (
        f"The parameters cannot be read ({type(error).__name__} in Ansible's own validation). Look for a number that "
        "is too large, a text that is not valid Unicode, or a value of another type than its option."
    )


def _no_dictionary(value: Any) -> bool:
    """Whether Ansible cannot take the value for a dictionary or a list of them. A text may still be one in JSON."""
    if isinstance(value, list):
        return any(one is None or _no_dictionary(one) for one in value)
    return not (value is None or isinstance(value, (dict, str)))


def _secrets(spec: Mapping[str, Any], params: Any) -> Iterator[str]:
    """The values of secret options at any depth, whatever else is wrong with the parameters."""
    for one in params if isinstance(params, list) else [params]:
        for name, option in spec.items() if isinstance(one, Mapping) else ():
            for key in (name, *option.get("aliases", ())):
                value = one.get(key)
                if option.get("no_log") and isinstance(value, (str, int, float)):
                    yield str(value)
                yield from _secrets(option.get("options") or {}, value)


def refusal(msg: str, problems: Iterable[str], spec: Mapping[str, Any], module: str) -> str:
    """The message of a module that fails; a problem of its parameters is said with all others, and shortly."""
    found = list(problems)
    if not found or found[0] not in msg:
        return msg
    return "; ".join(dict.fromkeys(_short(problem, spec, module) for problem in found))


def _short(problem: str, spec: Mapping[str, Any], module: str) -> str:
    unsupported, found, _known = problem.partition(". Supported parameters include: ")
    if not found:
        choice = _CHOICE.match(problem)
        return problem + _meant(choice[2], {one: one for one in choice[1].split(", ")}) if choice else problem
    names = unsupported.split(", ")
    shown = ", ".join(f"{name}{_nearest(name, spec)}" for name in names)
    return f"Unsupported parameters: {shown}; ansible-doc {module} lists what there is"


def _nearest(name: str, spec: Mapping[str, Any]) -> str:
    """The option that may have been meant."""
    known = {option.rpartition(".")[2]: option for option in _options(spec, name.rpartition(".")[0])}
    return _meant(name.rpartition(".")[2], known)


def _meant(name: str, known: Mapping[str, str]) -> str:
    """The nearest of the known names, as it should be shown."""
    near = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {known[near[0]]}?)" if near else ""


def _options(spec: Mapping[str, Any], path: str) -> Iterator[str]:
    """The full names of the options in the dictionary at this path."""
    prefix = f"{path}." if path else ""
    for step in filter(None, path.split(".")):
        spec = (spec.get(step) or {}).get("options") or {}
    for name in spec:
        yield f"{prefix}{name}"
