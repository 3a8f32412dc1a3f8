# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module of the collection promises."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what would change.
    support: full
    details:
      - A dry run on the API server, so that what admission would refuse is refused in check mode too. Nothing is
        verified.
  diff_mode:
    description: Returns what has changed or would change when run with C(--diff).
    support: full
    details:
      - Shows the fields the task owns, nothing else. Secrets appear as short fingerprints.
  idempotent:
    description: A second run with the same values changes nothing.
    support: full
    details:
      - Compared as Kubernetes compares (quantities and durations by value), also after the operator has rewritten
        the spec.
  action_group:
    description: Use C(group/alauda.image_registry.registry) in C(module_defaults) to set options for all modules of
      the collection.
    support: full
    membership:
      - alauda.image_registry.registry
"""
