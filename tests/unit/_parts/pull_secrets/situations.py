# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters and clusters for the tests of pull_secrets."""

from __future__ import annotations

from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.plan import Plan
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets import plan as _pullsecret
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.goal import (
    PullSecretsGoal,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import (
    parse_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA


def decide(settings: dict[str, Any], state: str = "Managed", **params: Any) -> Plan[PullSecretsGoal]:
    """The plan for these parameters on a Config with these settings and this managementState."""
    config = {
        "metadata": {"generation": 2, "resourceVersion": "77"},
        "spec": {"managementState": state, "imagePullSecret": settings},
    }
    return _pullsecret.plan(parse_intent({"list_mode": "replace", **params}, ALAUDA), {"config": config})
