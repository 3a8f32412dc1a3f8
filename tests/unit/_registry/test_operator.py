# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the operator itself works."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.operator import (
    NO_POD,
    SUCCESSION,
    operator_trouble,
    still_serving,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA

NAME = ALAUDA.operator_deployment
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def deployment(name: str = NAME, ready: int = 1, **spec: Any) -> dict[str, Any]:
    """A Deployment, available or not since 11:59:30."""
    available = {
        "type": "Available",
        "status": "True" if ready else "False",
        "lastTransitionTime": "2026-01-01T11:59:30Z",
    }
    status = {"conditions": [available], **({"readyReplicas": ready} if ready else {})}
    return {"metadata": {"name": name}, "spec": {"replicas": 1, **spec}, "status": status}


def lease(renewed: str, holder: str = f"{NAME}-5d9f_uuid", name: str = "a-lock", duration: int = 137) -> dict[str, Any]:
    """A Lease that was last renewed at that time of the day."""
    spec = {
        "holderIdentity": holder,
        "renewTime": f"2026-01-01T{renewed}.000000Z",
        "leaseDurationSeconds": duration,
    }
    return {"metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("deployments", "reason", "since"),
    [
        ([deployment()], "", None),
        ([deployment("other")], "OperatorAbsent", None),
        ([deployment(ready=0, replicas=0)], "OperatorScaledDown", None),
        ([deployment(ready=0)], "OperatorNotReady", datetime(2026, 1, 1, 11, 59, 30, tzinfo=UTC)),
        (None, "", None),
    ],
)
def test_an_operator_without_a_ready_pod(
    deployments: list[dict[str, Any]] | None, reason: str, since: datetime | None
) -> None:
    """Since when, Kubernetes says itself where Pods are wanted."""
    found = operator_trouble(ALAUDA, deployments, [lease("11:59:59")], NOW)
    if not reason:
        assert found is None
        return
    assert found is not None
    assert (found.reason, found.since, found.patience) == (reason, since, NO_POD)
    assert NAME in found.what


@pytest.mark.parametrize(
    ("leases", "named"),
    [
        ([lease("11:59:00")], ""),
        ([lease("11:57:43")], ""),  # exactly its duration
        ([lease("11:57:42")], "a-lock was last renewed at 2026-01-01T11:57:42.000000Z"),
        ([lease("11:57:42"), lease("11:59:59", name="newer")], ""),  # an earlier release's Lease stayed behind
        ([lease("11:50:00"), lease("11:55:00", name="newer")], "newer"),
        ([lease("11:50:00", holder="somebody-else")], ""),
        ([lease("11:50:00", holder="")], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_lease_that_has_run_out(leases: list[dict[str, Any]] | None, named: str) -> None:
    """The leader hangs, or was killed and is not replaced yet, although its Pod is Running and ready."""
    found = operator_trouble(ALAUDA, [deployment()], leases, NOW)
    assert (found is not None) is bool(named)
    if found is not None:
        assert (found.reason, found.patience) == ("OperatorNotLeading", SUCCESSION)
        assert named in found.what


def test_a_short_lease_is_succeeded_soon() -> None:
    """Patience with the next leader is never longer than the Lease itself."""
    found = operator_trouble(ALAUDA, None, [lease("11:59:00", duration=15)], NOW)
    assert found is not None
    assert found.patience == 15.0


def test_what_serves_meanwhile_is_said() -> None:
    assert "1/2 replicas are ready" in still_serving(ALAUDA, [deployment(ALAUDA.deployment, 1, replicas=2)])
    assert still_serving(ALAUDA, [deployment(ALAUDA.deployment, 0)]) == ""
    assert still_serving(ALAUDA, [deployment()]) == ""
    assert still_serving(ALAUDA, None) == ""


@given(
    st.recursive(
        st.none() | st.text(max_size=8) | st.integers(),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["metadata", "name", "spec", "status", "renewTime", "holderIdentity", "leaseDurationSeconds"]
            ),
            inner | st.just(f"{NAME}-x") | st.just("2026-01-01T11:00:00Z"),
            max_size=4,
        ),
    )
)
def test_whatever_a_lease_holds_is_read(item: Any) -> None:
    """Anybody may write a Lease."""
    items = [item] if isinstance(item, dict) else []
    operator_trouble(ALAUDA, [deployment()], items, NOW)
    still_serving(ALAUDA, items)
