# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_pullsecret as a part: what it reads and what it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.part import Part, Target, seen_object
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan, Readings, Ref
from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import History, Verdict, only
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    generation,
    mapping_at,
    uid,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    JSON,
    PullSecretsGoal,
    PullSecretsSnapshot,
    binding_name,
    secret_label,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import parse_intent
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.judge import gaps, judge
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.plan import needs, plan
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform


class PullSecretsPart(Part[PullSecretsGoal, PullSecretsSnapshot]):
    """spec.imagePullSecret of Config/cluster and, on request, its effect in namespaces."""

    name = "registry_pullsecret"
    main = "config"

    def __init__(self, platform: Platform, params: JSON) -> None:
        super().__init__(platform)
        self._intent = parse_intent(params, platform)

    @property
    def main_path(self) -> str:
        """Path of Config/cluster."""
        return self.platform.config_path

    def needs(self, seen: Readings) -> list[Ref]:
        """See plan."""
        return needs(self._intent, seen)

    def plan(self, seen: Readings) -> Plan[PullSecretsGoal]:
        """See plan."""
        return plan(self._intent, seen)

    def aim(self, goal: PullSecretsGoal, seen: Readings, failures: Mapping[str, str]) -> PullSecretsGoal:
        """The generation that carries our values is known once the patch has been answered."""
        config = seen["config"]
        return replace(goal, min_generation=max(goal.min_generation, generation(config)), uid=uid(config))

    def first(self, goal: PullSecretsGoal, seen: Readings, at: float) -> PullSecretsSnapshot:
        """Config alone; nothing else has been read."""
        return PullSecretsSnapshot(at=at, config=seen_object(seen["config"]))

    def targets(self, goal: PullSecretsGoal, snapshot: PullSecretsSnapshot) -> Sequence[Target[PullSecretsSnapshot]]:
        """Config and, cluster-wide, what the controller creates; the content of Secrets is never requested."""
        platform = self.platform
        targets: list[Target[PullSecretsSnapshot]] = [
            Target(
                "config",
                f"{platform.api}/configs",
                lambda snapshot, state: replace(snapshot, config=only(state)),
                field_selector=f"metadata.name={platform.singleton}",
                required=True,
            )
        ]
        if goal.checks:
            targets += [
                Target(
                    "namespaces",
                    "/api/v1/namespaces",
                    lambda snapshot, state: replace(snapshot, namespaces=state),
                    single=False,
                    metadata=True,
                ),
                Target(
                    "bindings",
                    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
                    lambda snapshot, state: replace(snapshot, bindings=state),
                    field_selector=f"metadata.name={binding_name(platform)}",
                    single=False,
                    metadata=True,
                ),
                Target(
                    "secrets",
                    "/api/v1/secrets",
                    lambda snapshot, state: replace(snapshot, secrets=state),
                    label_selector=f"{secret_label(platform)}=true",
                    single=False,
                    metadata=True,
                ),
                Target(
                    "accounts",
                    "/api/v1/serviceaccounts",
                    lambda snapshot, state: replace(snapshot, accounts=state),
                    field_selector=_one(goal.accounts),
                    single=False,
                ),
            ]
        if goal.selector:
            targets.append(
                Target(
                    "selected",
                    "/api/v1/namespaces",
                    lambda snapshot, state: replace(snapshot, selected=state),
                    label_selector=goal.selector,
                    single=False,
                    metadata=True,
                )
            )
        return targets

    def judge(self, goal: PullSecretsGoal, snapshot: PullSecretsSnapshot, history: History) -> tuple[Verdict, History]:
        """See judge."""
        return judge(goal, snapshot, history)

    def report(self, goal: PullSecretsGoal, snapshot: PullSecretsSnapshot) -> Mapping[str, Any]:
        """What the checked namespaces lack."""
        complete = isinstance(snapshot.namespaces, tuple) and isinstance(snapshot.accounts, tuple)
        found = gaps(goal, mapping_at(snapshot.config, "spec"), snapshot) if complete else []
        return {
            "gaps": [{"namespace": gap.namespace, "service_account": gap.account, "what": gap.what} for gap in found]
        }

    def main_object(self, snapshot: PullSecretsSnapshot) -> JSON | None:
        """Config/cluster."""
        return snapshot.config if isinstance(snapshot.config, Mapping) else None


def _one(names: Sequence[str]) -> str:
    """Field selector for one name; several names need the whole collection."""
    return f"metadata.name={names[0]}" if len(names) == 1 else ""
