# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters and clusters for the tests of pruner."""

from __future__ import annotations

from typing import Any


def pruner(spec: dict[str, Any]) -> dict[str, Any]:
    """An ImagePruner with this spec."""
    return {"metadata": {"name": "cluster", "generation": 3}, "spec": spec}
