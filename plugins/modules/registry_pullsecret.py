#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_pullsecret
short_description: Configure the managed pull secrets of Registry v2, and check them in namespaces on request
version_added: 0.1.0
description:
  - Sets C(spec.imagePullSecret) of C(Config/cluster), which tells the operator how to give service accounts their pull
    secrets for the platform's registry.
  - Lists can be replaced as a whole (the result names what was dropped), or edited safely alongside other writers.
  - On request, waits until every named namespace really has what the controller creates asynchronously.
options:
  management_state:
    description: Whether the operator creates, injects, refreshes and removes pull secrets. Left as it is if not set.
    type: str
    choices: [Managed, Unmanaged, Removed]
  additional_registry_hosts:
    description:
      - Additional names of the registry that pull secrets are created for, each as HOST or HOST:PORT.
      - Order and duplicates do not matter. Left as they are if not set; an empty list removes all.
    type: list
    elements: str
  ignored_namespaces:
    description: Namespaces that get no pull secrets. Left as they are if not set; an empty list removes all.
    type: list
    elements: str
  ignore_system_namespaces:
    description:
      - Whether the platform's own namespaces get no pull secrets. Left as it is if not set.
      - With V(true), the verification requires nothing of namespaces whose names begin with C(kube-) or end with
        C(-system), because which ones count as such is not documented. A warning says what they have.
    type: bool
  list_mode:
    description:
      - What to do with the lists.
      - V(replace) sets them exactly as given, and returns what was dropped in RV(dropped).
      - V(merge) adds the given entries, V(remove) removes them. Both are safe with concurrent writers.
    type: str
    choices: [replace, merge, remove]
    default: replace
  verify_namespaces:
    description: Namespaces in which the effect is checked. Each must exist.
    type: list
    elements: str
  verify_namespace_selector:
    description: Label selector for namespaces in which the effect is checked, in addition to O(verify_namespaces).
    type: str
  verify_service_accounts:
    description: Service accounts that must list a managed pull secret in each checked namespace.
    type: list
    elements: str
    default: [default]
extends_documentation_fragment:
  - alauda.image_registry.auth
  - alauda.image_registry.wait
  - alauda.image_registry.platform
  - alauda.image_registry.attributes
notes:
  - "Required permissions: C(docs/permissions/) of this collection lists them for each option, with files to apply."
seealso:
  - module: alauda.image_registry.registry_storage
author:
  - The alauda.image_registry contributors (@alauda)
"""

EXAMPLES = r"""
- name: Set exactly these hosts and namespaces, as on the vendor's page
  alauda.image_registry.registry_pullsecret:
    management_state: Managed
    additional_registry_hosts:
      - registry.example.com
      - registry.example.com:8443
    ignored_namespaces:
      - legacy-ci
    ignore_system_namespaces: true

- name: Add one host and keep the others
  alauda.image_registry.registry_pullsecret:
    additional_registry_hosts:
      - mirror.example.com
    list_mode: merge

- name: Stop ignoring a namespace, and wait until it has its pull secret
  alauda.image_registry.registry_pullsecret:
    ignored_namespaces:
      - legacy-ci
    list_mode: remove
    verify_namespaces:
      - legacy-ci
"""

RETURN = r"""
patch:
  description: The merge patch that was (in check mode, would be) sent to C(Config/cluster); empty if nothing differs.
  returned: on success, and when a write or the verification failed
  type: dict
written:
  description: The objects that were written, in order; in check mode, those that would be.
  returned: on success, and when a write or the verification failed
  type: list
  elements: dict
dropped:
  description: Entries that were in the old lists and are not in the new ones.
  returned: on success, and when a write or the verification failed
  type: list
  elements: str
config:
  description: C(Config/cluster) as last seen, without C(spec.httpSecret).
  returned: on success, and when a write or the verification failed
  type: dict
verification:
  description: What was verified, and how.
  returned: on success, and when a write or the verification failed
  type: dict
  contains:
    verdict:
      description: V(done), V(failed) or V(not verified).
      type: str
    summary:
      description: One line about the current state, or what is missing.
      type: str
    seconds:
      description: How long the verification took.
      type: float
    gaps:
      description: What the checked namespaces lack (or have although they are ignored), by namespace and service
        account.
      type: list
      elements: dict
    timeline:
      description: Each observed change of state, with the seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.part import PullSecretsPart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run_part


def main() -> None:
    """Entry point."""
    run_part(AnsibleModule(**MODULES["registry_pullsecret"], supports_check_mode=True), PullSecretsPart)


if __name__ == "__main__":
    main()
