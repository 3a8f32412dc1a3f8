# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded cluster: a real Kubernetes control plane and registry, a simulated node and operator."""

from __future__ import annotations

from tests.cluster.cluster import Cluster, ClusterError, binary, running

__all__ = ["Cluster", "ClusterError", "binary", "running"]
