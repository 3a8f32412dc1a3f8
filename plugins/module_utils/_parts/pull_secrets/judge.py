# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether the managed pull secrets are as wanted, in Config and in every namespace that is checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Done,
    History,
    Signs,
    State,
    Verdict,
    Waiting,
    changed_back,
    count,
    not_observed,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    made_again,
    mapping_at,
    observed_generation,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    FIELD,
    JSON,
    PullSecretsGoal,
    PullSecretsSnapshot,
    binding_name,
    secret_label,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import diff

SPEC_CHANGED_SECONDS = 3.0
"""How long a field must differ again before it counts as changed back."""
SHOWN = 5
"""How many gaps or namespaces a line names."""


def judge(goal: PullSecretsGoal, snapshot: PullSecretsSnapshot, history: History) -> tuple[Verdict, History]:
    """Done when the stored spec is the wanted one, the operator has looked at it, and every named namespace has it."""
    signs = Signs(history, snapshot.at)
    config = snapshot.config if isinstance(snapshot.config, Mapping) else None
    if config is None:
        return Waiting("Config/cluster is not there"), history
    stored, observed = generation(config), observed_generation(config)
    another = made_again(config, goal.uid)
    if stored < goal.min_generation and not another:
        return Waiting(f"Config is read from before the change (generation {stored})"), history
    fields = ", ".join(_differing(goal, mapping_at(config, "spec")))
    if fields:
        if signs.lasted(f"spec:{fields}") >= SPEC_CHANGED_SECONDS:
            return changed_back("Config", "configs", fields, made_again=another), signs.history()
        return Waiting(f"spec differs in {fields}"), signs.history()
    if observed < stored:
        return not_observed(stored, observed), signs.history()
    settled = "Config holds the pull secret settings, and the operator has looked at them"
    unset = not mapping_at(config, "spec", FIELD).get("managementState")
    warnings = (_NOT_SET,) if unset else ()
    if not goal.checks:
        return Done(settled, warnings), signs.history()
    if UNSEEN in (snapshot.namespaces, snapshot.bindings) or (goal.selector and snapshot.selected is UNSEEN):
        return Waiting(f"{settled}; looking at namespaces"), signs.history()
    if UNSEEN in (snapshot.secrets, snapshot.accounts):
        return Waiting(f"{settled}; looking at Secrets and ServiceAccounts"), signs.history()
    chosen = checked_namespaces(goal, snapshot)
    found = gaps(goal, mapping_at(config, "spec"), snapshot)
    if found:
        first = "; ".join(
            f"{gap.namespace}{f'/{gap.account}' if gap.account else ''}: {gap.what}" for gap in found[:SHOWN]
        )
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        where = f"{count(len(found), 'gap')} in {count(len(chosen), 'namespace')}"
        return Waiting(f"{settled}; {where}: {first}{more}", on_operator=True), signs.history()
    doubtful = _doubtful(goal, mapping_at(config, "spec", FIELD), snapshot)
    judged = len(chosen) - len(doubtful)
    state = "is as it should be" if judged == 1 else "are as they should be"
    summary = f"{settled}; {count(judged, 'namespace')} {state}"
    return Done(summary, warnings + _doubt(doubtful, snapshot)), signs.history()


_NOT_SET = (
    "spec.imagePullSecret.managementState is not set, so nothing says that the platform manages pull secrets by these "
    "settings. Set management_state: Managed."
)


def _differing(goal: PullSecretsGoal, spec: JSON) -> list[str]:
    """Names of the fields that do not hold what the goal says about them."""
    settings = mapping_at(spec, FIELD)
    wrong = {f"{FIELD}.{field} (without {item})" for field, item in goal.has if item not in (settings.get(field) or ())}
    wrong |= {f"{FIELD}.{field} (with {item})" for field, item in goal.lacks if item in (settings.get(field) or ())}
    return [*names(diff(goal.spec, spec)), *sorted(wrong)]


@dataclass(frozen=True)
class Gap:
    """Something a namespace lacks, or has although it should not. account: the ServiceAccount, if it is about one."""

    namespace: str
    account: str
    what: str


def checked_namespaces(goal: PullSecretsGoal, snapshot: PullSecretsSnapshot) -> list[str]:
    """The namespaces to check: those named, and those the API server found by the selector."""
    found = {str(mapping_at(item, "metadata").get("name")) for item in _items(snapshot.selected)}
    return [*goal.namespaces, *sorted(found - set(goal.namespaces))]


def gaps(goal: PullSecretsGoal, spec: JSON, snapshot: PullSecretsSnapshot) -> list[Gap]:
    """What is not as it should be in the checked namespaces (newer pages, Managed pull secrets)."""
    settings = mapping_at(spec, FIELD)
    existing = {mapping_at(item, "metadata").get("name") for item in _items(snapshot.namespaces)}
    bound = {mapping_at(item, "metadata").get("namespace") for item in _items(snapshot.bindings)}
    made: dict[str, set[str]] = {}
    for item in _items(snapshot.secrets):
        meta = mapping_at(item, "metadata")
        made.setdefault(str(meta.get("namespace")), set()).add(str(meta.get("name")))
    listed: dict[tuple[str, str], set[str]] = {}
    for item in _items(snapshot.accounts):
        meta = mapping_at(item, "metadata")
        names_of = {str(entry.get("name")) for entry in item.get("imagePullSecrets") or ()}
        listed[str(meta.get("namespace")), str(meta.get("name"))] = names_of
    found = []
    for namespace in checked_namespaces(goal, snapshot):
        if namespace not in existing:
            found.append(Gap(namespace, "", "the namespace does not exist"))
            continue
        secrets = made.get(namespace, set())
        if _served(goal, settings, namespace) is None:
            continue
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


def _items(seen: State) -> tuple[JSON, ...]:
    return seen if isinstance(seen, tuple) else ()


def _served(goal: PullSecretsGoal, settings: JSON, namespace: str) -> bool | None:
    """Whether the controller gives this namespace pull secrets; None when that is not documented.

    Which namespaces count as system ones is not (operator fact 0.7), so of those that may, nothing is required.
    """
    if settings.get("managementState", "Managed") != "Managed" or namespace in (
        settings.get("ignoredNamespaces") or ()
    ):
        return False
    perhaps_system = namespace.startswith("kube-") or namespace.endswith("-system")
    system = perhaps_system or namespace == goal.platform.namespace
    return None if settings.get("ignoreSystemNamespaces") and system else True


def _doubtful(goal: PullSecretsGoal, settings: JSON, snapshot: PullSecretsSnapshot) -> list[str]:
    """The namespaces that nothing is required of."""
    return [name for name in checked_namespaces(goal, snapshot) if _served(goal, settings, name) is None]


def _doubt(names: list[str], snapshot: PullSecretsSnapshot) -> tuple[str, ...]:
    """What is there in namespaces that nothing is required of, as a warning."""
    if not names:
        return ()
    having = {mapping_at(item, "metadata").get("namespace") for item in _items(snapshot.secrets)}
    found = [f"{name} {'has' if name in having else 'does not have'} managed pull secrets" for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        (
            "System namespaces are ignored, but which ones count as such is not documented. So nothing was required of "
            "those that may: "
            f"{'; '.join(found)}{more}."
        ),
    )
