# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of one task know of each other."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.alauda.image_registry.plugins.module_utils._page import parts
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.storage.situations import params

FRESH = {"metadata": {"generation": 1}, "spec": {"managementState": "Removed"}}


@pytest.mark.parametrize(
    ("storage", "mode", "warned"),
    [
        (params(backend="emptydir"), "configure", False),
        (params(backend="emptydir"), "verify", True),
        (params(backend="emptydir", management_state="Unmanaged"), "configure", True),
        (None, "configure", True),
    ],
)
def test_a_fresh_registry_that_the_same_task_sets_to_managed_is_no_reason_to_warn(
    storage: dict[str, Any] | None, mode: str, warned: bool
) -> None:
    secrets = {"management_state": "Managed", "list_mode": "replace"}
    task = {"registry_storage": storage, "registry_pullsecret": secrets, "mode": mode, "wait": True, "wait_timeout": 9}
    part = parts(ALAUDA, task)[-1]
    assert any("managementState is Removed" in text for text in part.plan({"config": FRESH}).warnings) is warned
