# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task asks of the managed pull secrets, from its parameters alone. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    is_namespace_name,
    is_object_name,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

LISTS = {"additional_registry_hosts": "additionalRegistryHosts", "ignored_namespaces": "ignoredNamespaces"}
_SETTINGS = {"management_state": "managementState", "ignore_system_namespaces": "ignoreSystemNamespaces"}
"""Option to field of spec.imagePullSecret."""

_HOST_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class PullSecretsIntent:
    """What the task asks for. Unset parameter = untouched field.

    settings: fields of spec.imagePullSecret that are no lists. lists: entries by field, to be edited by list_mode.
    namespaces, selector: which namespaces are checked one by one. accounts: their service accounts to look at.
    managed: the same task sets Config's managementState to Managed. problems: everything wrong with the parameters
    alone.
    """

    platform: Platform
    settings: JSON = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    list_mode: str = "replace"
    namespaces: tuple[str, ...] = ()
    selector: str = ""
    accounts: tuple[str, ...] = ("default",)
    managed: bool = False
    problems: tuple[str, ...] = ()


def parse_intent(params: JSON, platform: Platform) -> PullSecretsIntent:
    """The task's parameters as an intent."""
    return PullSecretsIntent(
        platform=platform,
        settings={name: params[option] for option, name in _SETTINGS.items() if params.get(option) is not None},
        lists={name: _unique(params[option]) for option, name in LISTS.items() if params.get(option) is not None},
        list_mode=params["list_mode"],
        namespaces=_unique(params.get("verify_namespaces")),
        selector=params.get("verify_namespace_selector") or "",
        accounts=_unique(params.get("verify_service_accounts")) or ("default",),
        managed=bool(params.get("managed")),
        problems=tuple(_problems(params)),
    )


def _unique(items: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items or ()))


def _problems(params: JSON) -> Iterator[str]:
    for host in params.get("additional_registry_hosts") or ():
        why = host_problem(host)
        if why:
            yield f"additional_registry_hosts: {host!r} {why}."
    for option in ("ignored_namespaces", "verify_namespaces"):
        for name in params.get(option) or ():
            if not is_namespace_name(name):
                yield f"{option}: {name!r} is not a name of a namespace."
    for name in params.get("verify_service_accounts") or ():
        if not is_object_name(name):
            yield f"verify_service_accounts: {name!r} is not a name of a ServiceAccount."
    if params.get("list_mode") == "remove" and not any(params.get(option) for option in LISTS):
        yield "list_mode: remove needs additional_registry_hosts or ignored_namespaces, which name what to remove."


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
            address = ipaddress.IPv6Address(name)
        except ValueError:
            return "is not an IPv6 address in brackets"
        if address.scope_id is not None:  # a zone counts on one machine only, and may hold any character
            return "is not an IPv6 address in brackets"
    else:
        name, colon, port = host.partition(":")
        if colon and not port:
            return "ends with a colon"
        if len(name) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in name.split(".")):
            return "is not a host name"
    digits = port.lstrip("0")
    if port and not (port.isascii() and port.isdigit() and 0 < len(digits) < 6 and int(digits) < 65536):
        return f"has the port {port[:20]!r}, which is not 1..65535"
    return ""
