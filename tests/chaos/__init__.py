# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded campaign against the modules: faults, kills, restarts, concurrent writers, hostile inputs (`make chaos`)."""
