# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements, run by hand with `make bench`: they print ratios and never fail a test."""
