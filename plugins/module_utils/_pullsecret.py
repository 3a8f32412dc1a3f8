# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed pull secrets: spec.imagePullSecret of Config/cluster, and what it must bring about in namespaces.

Pure. Sources: Registry v2 page (Configure Managed Service Account Pull Secrets), newer pages (Managed pull secrets).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._facts import number, part
from ansible_collections.alauda.image_registry.plugins.module_utils._merge_patch import apply, diff, names, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._model import (
    JSON,
    Done,
    Failed,
    History,
    Snapshot,
    Verdict,
    Waiting,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._plan import Plan, Readings, Ref, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._platform import Platform

FIELD = "imagePullSecret"
LISTS = {"additional_registry_hosts": "additionalRegistryHosts", "ignored_namespaces": "ignoredNamespaces"}
SPEC_CHANGED_SECONDS = 3.0

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_HOST_LABEL = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Goal:
    """What must be true. spec: merge patch form of what Config.spec must hold. namespaces: to be checked one by one."""

    spec: JSON
    min_generation: int
    namespaces: tuple[str, ...] = ()


def host_problem(host: str) -> str:
    """Why this is not HOST or HOST:PORT; empty when it is."""
    if "://" in host:
        return "has a scheme; write HOST or HOST:PORT"
    if "/" in host:
        return "has a path; write HOST or HOST:PORT"
    if not host or host != host.strip() or "@" in host:
        return "is not HOST or HOST:PORT"
    name, port = host, ""
    if host.startswith("["):
        name, _bracket, rest = host[1:].partition("]")
        if rest and not rest.startswith(":"):
            return "is not [ADDRESS] or [ADDRESS]:PORT"
        port = rest[1:] if rest else ""
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            return "is not an IPv6 address in brackets"
    else:
        name, colon, port = host.partition(":")
        if colon and not port:
            return "ends with a colon"
        if len(name) > 253 or not all(_HOST_LABEL.match(label) for label in name.split(".")):
            return "is not a host name"
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return f"has the port {port!r}, which is not 1..65535"
    return ""


def problems(params: JSON) -> list[str]:
    """Everything wrong with the parameters alone."""
    found = []
    for host in params.get("additional_registry_hosts") or ():
        why = host_problem(host)
        if why:
            found.append(f"additional_registry_hosts: {host!r} {why}.")
    for option in ("ignored_namespaces", "verify_namespaces"):
        for name in params.get(option) or ():
            if not _LABEL.match(name):
                found.append(f"{option}: {name!r} is not a name of a namespace.")
    if params.get("list_mode") == "remove" and not any(params.get(option) for option in LISTS):
        found.append("list_mode: remove needs additional_registry_hosts or ignored_namespaces to say what.")
    return found


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


def needs(platform: Platform, seen: Readings) -> list[Ref]:
    """The Config only: nothing to change costs one request."""
    return [] if "config" in seen else [Ref("config", platform.config_path, required=True)]


def plan(params: JSON, platform: Platform, seen: Readings) -> Plan:
    """Findings, the patch (guarded by resourceVersion when it edits a list) and the goal."""
    config = seen["config"]
    findings = problems(params)
    if not isinstance(config, Mapping):
        findings.append(
            f"Config/{platform.singleton} does not exist: the operator creates it when it starts. "
            "Check that the registry operator is installed and running, then run again."
        )
    if findings or not isinstance(config, Mapping):
        return Plan(findings=tuple(findings))
    live: JSON = config.get("spec") or {}
    now = part(live, FIELD)
    wish: dict[str, object] = {}
    if params.get("management_state") is not None:
        wish["managementState"] = params["management_state"]
    if params.get("ignore_system_namespaces") is not None:
        wish["ignoreSystemNamespaces"] = params["ignore_system_namespaces"]
    dropped: list[str] = []
    for option, field in LISTS.items():
        given = params.get(option)
        if given is None:
            continue
        present = [str(item) for item in now.get(field) or ()]
        result = edited(present, given, params["list_mode"])
        wish[field] = present if result is None else result
        if result is not None and params["list_mode"] == "replace":
            dropped += [f"{field}: {item}" for item in present if item not in result]
    spec = {FIELD: wish} if wish else {}
    patch = diff(spec, live)
    warnings = []
    if live.get("managementState") != "Managed":
        state = live.get("managementState") or "not set"
        warnings.append(
            f"Config.spec.managementState is {state}: the pull secret controller works only while it is Managed."
        )
    writes: tuple[Write, ...] = ()
    if patch:
        body: dict[str, object] = {"spec": patch}
        if any(field in part(patch, FIELD) for field in LISTS.values()):
            body["metadata"] = {"resourceVersion": part(config, "metadata").get("resourceVersion")}
        writes = (
            Write(
                verb="patch",
                path=platform.config_path,
                body=body,
                kind="Config",
                name=platform.singleton,
                before={"spec": owned(spec, live)},
                after={"spec": owned(spec, apply(patch, live))},
            ),
        )
    goal = Goal(spec, number(config, "metadata", "generation"))
    return Plan(warnings=tuple(warnings), writes=writes, goal=goal, values={"dropped": dropped})


# -- the verdict -----------------------------------------------------------------------------------------------------


def judge(goal: Goal, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
    """Done when the stored spec is the asked one, the operator has looked at it, and every named namespace has it."""
    since = dict(history.since)
    config = snapshot.config if isinstance(snapshot.config, Mapping) else None
    if config is None:
        return Waiting("Config/cluster is not there"), history
    generation, observed = number(config, "metadata", "generation"), number(config, "status", "observedGeneration")
    if generation < goal.min_generation:
        return Waiting(f"Config is read from before the change (generation {generation})"), history
    changed = diff(goal.spec, part(config, "spec"))
    if changed:
        fields = ", ".join(names(changed))
        since.setdefault(f"spec:{fields}", snapshot.at)
        if snapshot.at - since[f"spec:{fields}"] >= SPEC_CHANGED_SECONDS:
            cause = "Another writer or the operator changed it back after our write."
            remedy = "Run the task again; if it comes back, find the other writer (kubectl get --show-managed-fields)."
            return Failed("SpecChanged", f"Config.spec differs again in: {fields}", cause, remedy), History(since)
        return Waiting(f"spec differs in {fields}"), History(since)
    if observed < generation:
        return Waiting(f"the operator has not looked at generation {generation} yet (last: {observed})"), History(since)
    return Done("Config holds the pull secret settings, and the operator has looked at them"), History(since)
