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
      - Wait until the effect is there and fail when it will not come.
      - With V(false) the values are stored, nothing is verified, and the result says so.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for the effect at most. What is known to fail is reported much sooner.
    type: int
    default: 300
"""
