# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: how long an example takes says something about the machine, nothing about the code."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
