# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters and clusters for the tests of limits."""

from __future__ import annotations

from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    LimitsIntent,
    parse_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA

PAGE: dict[str, Any] = {
    "namespaces": ["team-a"],
    "quota": {"imagestreams": "20", "images": "200", "image_tags": "200"},
    "image": {"storage": "1Gi"},
    "image_stream": {"images": "100", "image_tags": "100"},
    "quota_name": "image-registry-quota",
    "limits_name": "image-registry-limits",
}
HARD = {"alauda.io/imagestreams": "20", "alauda.io/images": "200", "alauda.io/image-tags": "200"}
ENTRIES = [
    {"type": "alauda.io/Image", "max": {"storage": "1Gi"}},
    {"type": "alauda.io/ImageStream", "max": {"alauda.io/images": "100", "alauda.io/image-tags": "100"}},
]


def quota(
    hard: dict[str, str], used: dict[str, str] | None = None, *, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """A live ResourceQuota."""
    return {
        "metadata": {"resourceVersion": "5", "labels": labels or {}},
        "spec": {"hard": hard},
        "status": {"hard": hard, "used": used or {}},
    }


def limit_range(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A live LimitRange."""
    return {"metadata": {"resourceVersion": "6"}, "spec": {"limits": entries}}


def intent(**params: Any) -> LimitsIntent:
    """The page's intent, with these parameters changed."""
    want = parse_intent({**PAGE, **params}, ALAUDA)
    assert want.problems == ()
    return want
