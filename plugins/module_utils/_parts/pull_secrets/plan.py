# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed pull secrets: spec.imagePullSecret of Config/cluster, and what it must bring about in namespaces.

Pure. Sources: Registry v2 page (Configure Managed Service Account Pull Secrets), newer pages (Managed pull secrets).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Readings, Ref, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply, diff, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    FIELD,
    JSON,
    LISTS,
    PullSecretsGoal,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_HOST_LABEL = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?$")


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
        name, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
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


def plan(params: JSON, platform: Platform, seen: Readings) -> Plan[PullSecretsGoal]:
    """Findings, the patch (guarded by resourceVersion when it edits a list) and the goal."""
    config = seen["config"]
    findings = problems(params)
    if not isinstance(config, Mapping):
        findings.append(
            f"Config/{platform.singleton} does not exist: the operator creates it when it starts. "
            "Check that the registry operator is installed and running, then run again."
        )
    if findings or not isinstance(config, Mapping):
        return Plan(refusals=tuple(findings))
    live: JSON = config.get("spec") or {}
    now = mapping_at(live, FIELD)
    wish: dict[str, object] = {}
    lasting: dict[str, object] = {}
    entries: list[tuple[str, str]] = []
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
        if params["list_mode"] == "replace":
            lasting[field] = wish[field]
        else:
            entries += [(field, item) for item in dict.fromkeys(given)]
        if result is not None and params["list_mode"] == "replace":
            dropped += [f"{field}: {item}" for item in present if item not in result]
    lasting = {**{field: value for field, value in wish.items() if field not in LISTS.values()}, **lasting}
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
        if any(field in mapping_at(patch, FIELD) for field in LISTS.values()):
            body["metadata"] = {"resourceVersion": mapping_at(config, "metadata").get("resourceVersion")}
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
    goal = PullSecretsGoal(
        {FIELD: lasting} if lasting else {},
        generation(config),
        platform,
        has=tuple(entries) if params["list_mode"] == "merge" else (),
        lacks=tuple(entries) if params["list_mode"] == "remove" else (),
        namespaces=tuple(dict.fromkeys(params.get("verify_namespaces") or ())),
        selector=params.get("verify_namespace_selector") or "",
        accounts=tuple(dict.fromkeys(params.get("verify_service_accounts") or ("default",))),
    )
    return Plan(warnings=tuple(warnings), writes=writes, goal=goal, values={"dropped": dropped})
