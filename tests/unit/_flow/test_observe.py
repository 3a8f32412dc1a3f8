# SPDX-License-Identifier: GPL-3.0-or-later
"""How often evidence is gathered."""

from __future__ import annotations

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.observe import EVIDENCE_SECONDS, pause
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.goal import StorageNeed


def test_what_the_operator_passes_on_is_seen_before_the_rollout_that_it_causes() -> None:
    """Looked at a second later, the rollout would have to be waited for a second longer."""
    assert pause(frozenset({StorageNeed.CARRIED})) < EVIDENCE_SECONDS


def test_nothing_else_is_gathered_more_often_than_once_a_second() -> None:
    """A registry is not queried at every event of its Pods, whatever else is wanted."""
    for need in StorageNeed:
        if need is not StorageNeed.CARRIED:
            assert pause(frozenset({need})) == pause(frozenset({need, StorageNeed.CARRIED})) == EVIDENCE_SECONDS
