# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed pull secrets: spec.imagePullSecret of Config/cluster, and what it must bring about in namespaces.

Pure. Sources: Registry v2 page (Configure Managed Service Account Pull Secrets), newer pages (Managed pull secrets).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import (
    JSON,
    UNSEEN,
    Done,
    History,
    Snapshot,
    Unseen,
    Verdict,
    Waiting,
    changed_back,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Plan, Readings, Ref, Write
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import apply, names
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.facts import number, part
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff, owned
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

FIELD = "imagePullSecret"
LISTS = {"additional_registry_hosts": "additionalRegistryHosts", "ignored_namespaces": "ignoredNamespaces"}
SPEC_CHANGED_SECONDS = 3.0

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_HOST_LABEL = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Goal:
    """What must be true. spec: merge patch form of what Config.spec must hold.

    has, lacks: (field, entry) that a list must or must not have, for edits next to other writers.
    namespaces, selector: which namespaces are checked one by one. accounts: their service accounts to look at.
    """

    spec: JSON
    min_generation: int
    platform: Platform
    has: tuple[tuple[str, str], ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()
    selector: str = ""
    accounts: tuple[str, ...] = ("default",)

    @property
    def checks(self) -> bool:
        """Whether any namespace is to be looked at."""
        return bool(self.namespaces or self.selector)


def binding_name(platform: Platform) -> str:
    """Name of the RoleBinding in every namespace that is served."""
    return f"{platform.namespace}-image-pullers"


def secret_label(platform: Platform) -> str:
    """Label of the Secrets the controller makes."""
    return f"{platform.group}/managed-pull-secret"


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
    goal = Goal(
        {FIELD: lasting} if lasting else {},
        number(config, "metadata", "generation"),
        platform,
        has=tuple(entries) if params["list_mode"] == "merge" else (),
        lacks=tuple(entries) if params["list_mode"] == "remove" else (),
        namespaces=tuple(dict.fromkeys(params.get("verify_namespaces") or ())),
        selector=params.get("verify_namespace_selector") or "",
        accounts=tuple(dict.fromkeys(params.get("verify_service_accounts") or ("default",))),
    )
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
    fields = ", ".join(_differing(goal, part(config, "spec")))
    if fields:
        since.setdefault(f"spec:{fields}", snapshot.at)
        if snapshot.at - since[f"spec:{fields}"] >= SPEC_CHANGED_SECONDS:
            return changed_back("Config", "configs", fields), History(since)
        return Waiting(f"spec differs in {fields}"), History(since)
    if observed < generation:
        return Waiting(f"the operator has not looked at generation {generation} yet (last: {observed})"), History(since)
    settled = "Config holds the pull secret settings, and the operator has looked at them"
    unset = not part(config, "spec", FIELD).get("managementState")
    warnings = (_NOT_SET,) if unset else ()
    if not goal.checks:
        return Done(settled, warnings), History(since)
    if UNSEEN in (snapshot.namespaces, snapshot.bindings) or (goal.selector and snapshot.selected is UNSEEN):
        return Waiting(f"{settled}; looking at namespaces"), History(since)
    if UNSEEN in (snapshot.secrets, snapshot.accounts):
        return Waiting(f"{settled}; looking at Secrets and ServiceAccounts"), History(since)
    chosen = checked_namespaces(goal, snapshot)
    found = gaps(goal, part(config, "spec"), snapshot)
    if found:
        first = "; ".join(f"{gap.namespace}{f'/{gap.account}' if gap.account else ''}: {gap.what}" for gap in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return Waiting(f"{settled}; {len(found)} gaps in {len(chosen)} namespaces: {first}{more}"), History(since)
    return Done(f"{settled}; {len(chosen)} namespaces are as they should be", warnings), History(since)


_NOT_SET = (
    "spec.imagePullSecret.managementState is not set, so nothing says that the platform manages pull secrets by these "
    "settings. Set management_state: Managed."
)


def _differing(goal: Goal, spec: JSON) -> list[str]:
    """Names of the fields that do not hold what the goal says about them."""
    settings = part(spec, FIELD)
    wrong = {f"{FIELD}.{field} (without {item})" for field, item in goal.has if item not in (settings.get(field) or ())}
    wrong |= {f"{FIELD}.{field} (with {item})" for field, item in goal.lacks if item in (settings.get(field) or ())}
    return [*names(diff(goal.spec, spec)), *sorted(wrong)]


@dataclass(frozen=True)
class Gap:
    """Something a namespace lacks, or has although it should not. account: the ServiceAccount, if it is about one."""

    namespace: str
    account: str
    what: str


def checked_namespaces(goal: Goal, snapshot: Snapshot) -> list[str]:
    """The namespaces to check: those named, and those the API server found by the selector."""
    found = {str(part(item, "metadata").get("name")) for item in _items(snapshot.selected)}
    return [*goal.namespaces, *sorted(found - set(goal.namespaces))]


def gaps(goal: Goal, spec: JSON, snapshot: Snapshot) -> list[Gap]:
    """What is not as it should be in the checked namespaces (newer pages, Managed pull secrets)."""
    settings = part(spec, FIELD)
    existing = {part(item, "metadata").get("name") for item in _items(snapshot.namespaces)}
    bound = {part(item, "metadata").get("namespace") for item in _items(snapshot.bindings)}
    made: dict[str, set[str]] = {}
    for item in _items(snapshot.secrets):
        meta = part(item, "metadata")
        made.setdefault(str(meta.get("namespace")), set()).add(str(meta.get("name")))
    listed: dict[tuple[str, str], set[str]] = {}
    for item in _items(snapshot.accounts):
        meta = part(item, "metadata")
        names_of = {str(entry.get("name")) for entry in item.get("imagePullSecrets") or ()}
        listed[str(meta.get("namespace")), str(meta.get("name"))] = names_of
    found = []
    for namespace in checked_namespaces(goal, snapshot):
        if namespace not in existing:
            found.append(Gap(namespace, "", "the namespace does not exist"))
            continue
        secrets = made.get(namespace, set())
        if not _served(goal, settings, namespace):
            if namespace in bound:
                found.append(Gap(namespace, "", f"still has the RoleBinding {binding_name(goal.platform)}"))
            if secrets:
                found.append(Gap(namespace, "", f"still has the managed Secret {', '.join(sorted(secrets))}"))
            continue
        if namespace not in bound:
            found.append(Gap(namespace, "", f"no RoleBinding {binding_name(goal.platform)}"))
        if not secrets:
            found.append(Gap(namespace, "", f"no Secret labelled {secret_label(goal.platform)}=true"))
        for account in goal.accounts:
            if (namespace, account) not in listed:
                found.append(Gap(namespace, account, "the ServiceAccount does not exist"))
            elif not listed[namespace, account] & secrets:
                found.append(Gap(namespace, account, "imagePullSecrets lists no managed Secret"))
    return found


def _items(seen: tuple[JSON, ...] | Unseen) -> tuple[JSON, ...]:
    return seen if isinstance(seen, tuple) else ()


def _served(goal: Goal, settings: JSON, namespace: str) -> bool:
    """Whether the controller gives this namespace pull secrets."""
    if settings.get("managementState", "Managed") != "Managed" or namespace in (
        settings.get("ignoredNamespaces") or ()
    ):
        return False
    system = namespace.startswith("kube-") or namespace == goal.platform.namespace
    return not (settings.get("ignoreSystemNamespaces") and system)
