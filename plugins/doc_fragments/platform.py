# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Which product of the operator family runs on the cluster."""

    DOCUMENTATION = r"""
options:
  platform:
    description:
      - Which product runs on the cluster; it decides the API group and the namespace.
      - V(openshift) is for the upstream operator that Registry v2 is derived from.
    type: str
    choices: [alauda, openshift]
    default: alauda
"""
