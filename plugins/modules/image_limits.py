#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_limits
short_description: Limit images of namespaces with ResourceQuota and LimitRange
version_added: 0.1.0
description:
  - Sets the limits of Registry v2 on images, image streams and image tags for one namespace, a list of them, or all
    that a label
    selector finds.
  - Reads with a few paged lists however many namespaces there are, and writes concurrently. One failing namespace
    does not stop the
    others and fails the task at the end.
  - Reads the values back, and warns of quota keys that no controller of the cluster counts.
options:
  state:
    description:
      - V(absent) removes the two objects where this collection made them. An object made by hand stays, unless
        O(adopt=true).
    type: str
    choices: [present, absent]
    default: present
  namespaces:
    description: Namespaces to set limits in. All must exist; those that do not are named before anything is written.
    type: list
    elements: str
  namespace_selector:
    description: Label selector for namespaces, instead of O(namespaces).
    type: str
  quota:
    description: Quota of each namespace. What is not given is left as it is.
    type: dict
    suboptions:
      imagestreams:
        description: Number of image streams.
        type: str
      images:
        description: Number of images.
        type: str
      image_tags:
        description: Number of image tags.
        type: str
  image:
    description: Limits of each single image.
    type: dict
    suboptions:
      storage:
        description: Largest size as a quantity, for example V(1Gi). The registry checks it for each layer.
        type: str
  image_stream:
    description: Limits of each image stream.
    type: dict
    suboptions:
      images:
        description: Number of images.
        type: str
      image_tags:
        description: Number of image tags.
        type: str
  quota_name:
    description: Name of the ResourceQuota.
    type: str
    default: image-registry-quota
  limits_name:
    description: Name of the LimitRange. Entries of other types in it are kept.
    type: str
    default: image-registry-limits
  adopt:
    description: With O(state=absent), also remove objects of these names that were not made by this collection.
    type: bool
    default: false
  allow_below_usage:
    description: Set a quota below what is in use already. Nothing is removed by that, but nothing new can be pushed
      either.
    type: bool
    default: false
extends_documentation_fragment:
  - alauda.image_registry.auth
  - alauda.image_registry.wait
  - alauda.image_registry.platform
  - alauda.image_registry.attributes
notes:
  - "Required permissions: C(get), C(create), C(patch), C(delete) on ResourceQuotas and LimitRanges; for more than
    two namespaces or a
    selector also C(list) on them and on Namespaces in the whole cluster, otherwise C(get) on the Namespaces."
seealso:
  - module: alauda.image_registry.registry_storage
author:
  - The alauda.image_registry contributors (@alauda)
"""

EXAMPLES = r"""
- name: The same limits for two teams
  alauda.image_registry.image_limits:
    namespaces: [team-a, team-b]
    quota:
      imagestreams: 20
      images: 200
      image_tags: 200
    image:
      storage: 1Gi
    image_stream:
      images: 100
      image_tags: 100

- name: Limits for every namespace of a tier
  alauda.image_registry.image_limits:
    namespace_selector: "tier in (dev, test)"
    image:
      storage: 512Mi

- name: No limits any more
  alauda.image_registry.image_limits:
    state: absent
    namespaces: [team-a]
"""

RETURN = r"""
namespaces:
  description: For each namespace what became of it, as C(status) (V(created), V(updated), V(unchanged), V(deleted),
    V(absent),
    V(kept) or V(failed)) and the C(reason) of a failure.
  returned: success
  type: dict
verification:
  description: What was proven, and how.
  returned: success
  type: dict
  contains:
    verdict:
      description: V(done), V(failed) or V(not verified).
      type: str
    summary:
      description: One line on what is true now.
      type: str
    seconds:
      description: How long the verification took.
      type: float
    not_counted:
      description: Quota keys that no controller of the cluster counts, so that they limit nothing.
      type: list
      elements: str
    behind:
      description: Namespaces that do not hold the limits, and why.
      type: list
      elements: dict
    timeline:
      description: Each change of state that was seen, with seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import (
    AUTH,
    LIMITS,
    LIMITS_RULES,
    PLATFORM,
    WAIT,
    merged,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.part import LimitsPart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=merged(AUTH, WAIT, PLATFORM, LIMITS),
        **LIMITS_RULES,
        supports_check_mode=True,
    )
    run(module, LimitsPart)


if __name__ == "__main__":
    main()
