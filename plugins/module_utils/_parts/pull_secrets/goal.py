# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of the managed pull secrets, and what of the cluster that depends on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import UNSEEN, Seen, Snapshot, State
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

JSON = Mapping[str, Any]

FIELD = "imagePullSecret"


@dataclass(frozen=True)
class PullSecretsGoal:
    """What must be true. spec: merge patch form of what Config.spec must hold.

    has, lacks: (field, entry) that a list must or must not have, for edits next to other writers.
    uid: of the Config that min_generation is about.
    namespaces, selector: which namespaces are checked one by one. accounts: their service accounts to look at.
    """

    spec: JSON
    min_generation: int
    platform: Platform
    has: tuple[tuple[str, str], ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()
    selector: str = ""
    uid: str = ""
    accounts: tuple[str, ...] = ("default",)

    @property
    def checks(self) -> bool:
        """Whether any namespace is to be looked at."""
        return bool(self.namespaces or self.selector)


@dataclass(frozen=True)
class PullSecretsSnapshot(Snapshot):
    """What the cluster showed at one moment.

    selected: the namespaces that the goal's selector chooses. bindings, secrets: what the controller made.
    Of all but accounts the metadata only.
    """

    config: Seen = UNSEEN
    namespaces: State = UNSEEN
    selected: State = UNSEEN
    bindings: State = UNSEEN
    secrets: State = UNSEEN
    accounts: State = UNSEEN


def binding_name(platform: Platform) -> str:
    """Name of the RoleBinding in every namespace that is served."""
    return f"{platform.namespace}-image-pullers"


def secret_label(platform: Platform) -> str:
    """Label of the Secrets the controller makes."""
    return f"{platform.group}/managed-pull-secret"
