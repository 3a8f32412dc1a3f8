# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Waiting for the effect."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Wait until the change has taken effect, and fail if it does not.
      - With V(false), the values are stored but nothing is verified; the verdict in the result is V(not verified).
    type: bool
    default: true
  wait_timeout:
    description:
      - Maximum number of seconds for the task, up to 10000000. Known failures are reported much sooner.
      - Reading and writing count too, so a slow API server leaves less time for the effect, but at least 5 seconds (or
        O(wait_timeout), if that is shorter). A query of the registry that is under way at the end gets up to 10 seconds
        more.
      - For image limits, the time counts from the last namespace that got its limits, because thousands of them take as
        long as the cluster's quota controller takes.
    type: int
    default: 300
"""
