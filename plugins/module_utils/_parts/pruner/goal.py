# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of scheduled pruning, and what of the cluster that depends on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.verdict import (
    UNSEEN,
    Need,
    Seen,
    Snapshot,
    Unseen,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.log import LogFinding
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import Platform

JSON = Mapping[str, Any]


class PrunerNeed(Need):
    """Evidence that the judge of pruning asks for."""

    LOG = "log"


@dataclass(frozen=True)
class PrunerGoal:
    """What must be true.

    min_generation: of ImagePruner after our write. uid: which ImagePruner that is about. changed: whether we wrote it.
    """

    spec: JSON
    min_generation: int
    platform: Platform
    changed: bool = False
    uid: str = ""


@dataclass(frozen=True)
class PrunerSnapshot(Snapshot):
    """What the cluster showed at one moment. log: last lines of the newest job that failed."""

    pruner: Seen = UNSEEN
    cronjob: Seen = UNSEEN
    log: tuple[LogFinding, ...] | Unseen = UNSEEN
