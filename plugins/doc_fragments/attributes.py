# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of every module in the collection."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what would change.
    support: full
    details:
      - Sends a dry run to the API server, so that what admission would refuse is also refused in check mode. Nothing is
        verified.
  diff_mode:
    description: Returns what has changed or would change when run with C(--diff).
    support: full
    details:
      - Shows only the fields that the task owns. Secrets appear as short fingerprints.
  idempotent:
    description: A second run with the same values changes nothing.
    support: full
    details:
      - Values are compared as Kubernetes compares them (quantities and durations by value), even after the operator has
        rewritten the spec.
  action_group:
    description: Use C(group/alauda.image_registry.registry) in C(module_defaults) to set options for all modules of the
      collection.
    support: full
    membership:
      - alauda.image_registry.registry
"""
