# SPDX-License-Identifier: GPL-3.0-or-later
"""The task registry_pullsecret: what it watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import Target
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.reconcile import (
    Options,
    Part,
    Result,
    reconcile,
    seen_object,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    JSON,
    History,
    Need,
    Snapshot,
    Verdict,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.client import Client
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets import plan as _pullsecret
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform


def pullsecret(client: Client, platform: Platform, params: JSON, options: Options) -> Result:
    """registry_pullsecret."""
    part = Part(
        needs=lambda seen: _pullsecret.needs(platform, seen),
        plan=lambda seen: _pullsecret.plan(params, platform, seen),
        watcher=lambda plan: PullSecrets(platform, plan.goal),
        first=lambda seen, at: Snapshot(at=at, config=seen_object(seen["config"])),
        main="config",
        main_path=platform.config_path,
    )
    return reconcile(client, platform, part, options)


@dataclass(frozen=True)
class PullSecrets:
    """The Watcher for spec.imagePullSecret and, on request, for what it brings about in namespaces."""

    platform: Platform
    goal: _pullsecret.Goal

    def targets(self, snapshot: Snapshot) -> Sequence[Target]:
        """Config, and cluster-wide what the controller makes: the content of Secrets is never asked for."""
        platform, goal = self.platform, self.goal
        targets = [Target("config", f"{platform.api}/configs", field_selector=f"metadata.name={platform.singleton}")]
        if goal.checks:
            binding = f"metadata.name={_pullsecret.binding_name(platform)}"
            label = f"{_pullsecret.secret_label(platform)}=true"
            targets += [
                Target("namespaces", "/api/v1/namespaces", single=False, metadata=True),
                Target(
                    "bindings",
                    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
                    field_selector=binding,
                    single=False,
                    metadata=True,
                ),
                Target("secrets", "/api/v1/secrets", label_selector=label, single=False, metadata=True),
                Target("accounts", "/api/v1/serviceaccounts", field_selector=_one(goal.accounts), single=False),
            ]
        if goal.selector:
            path = "/api/v1/namespaces"
            targets.append(Target("selected", path, label_selector=goal.selector, single=False, metadata=True))
        return targets

    def judge(self, snapshot: Snapshot, history: History) -> tuple[Verdict, History]:
        """See _pullsecret."""
        return _pullsecret.judge(self.goal, snapshot, history)

    def gather(self, client: Client, snapshot: Snapshot, needs: frozenset[Need]) -> Snapshot:
        """Everything this part needs can be watched."""
        return snapshot

    def report(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """What the checked namespaces lack."""
        config = snapshot.config if isinstance(snapshot.config, Mapping) else {}
        complete = isinstance(snapshot.namespaces, tuple) and isinstance(snapshot.accounts, tuple)
        found = _pullsecret.gaps(self.goal, config.get("spec") or {}, snapshot) if complete else []
        return {
            "gaps": [{"namespace": gap.namespace, "service_account": gap.account, "what": gap.what} for gap in found]
        }


def _one(names: Sequence[str]) -> str:
    """Field selector for one name; several names need the whole collection."""
    return f"metadata.name={names[0]}" if len(names) == 1 else ""
