#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_limits
short_description: Limit the images of namespaces with ResourceQuota and LimitRange
version_added: 0.1.0
description:
  - Sets the limits of Registry v2 on images, image streams and image tags for one namespace, a list of them, or all
    that match a label selector.
  - Reads with a few paged lists, however many namespaces there are, and writes concurrently. What would be written is
    first tried as a dry run, once for all namespaces where it is the same, and nothing is written if the API server
    refuses it. A failure in one namespace does not stop the others, but the task fails at the end.
  - Reads the values back, and warns about quota keys that no controller in the cluster counts, and about objects of
    somebody else in these namespaces with a smaller maximum, because the smallest one counts.
options:
  state:
    description:
      - V(absent) removes the ResourceQuota and the LimitRange if this collection created them. An object created by
        other means is kept, unless O(adopt=true).
    type: str
    choices: [present, absent]
    default: present
  namespaces:
    description: Namespaces to set limits in. All must exist; if any do not, the task names them and writes nothing.
    type: list
    elements: str
  namespace_selector:
    description: Label selector for namespaces, instead of O(namespaces).
    type: str
  quota:
    description: Quota of each namespace. Keys that are not set are left as they are.
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
    description: Limits of each image.
    type: dict
    suboptions:
      storage:
        description: Maximum size as a quantity, for example V(1Gi). The registry checks it for each layer.
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
    description: Name of the LimitRange. Its entries of other types are kept.
    type: str
    default: image-registry-limits
  adopt:
    description: With O(state=absent), also remove objects with these names that this collection did not create.
    type: bool
    default: false
  allow_below_usage:
    description: Allow a quota below what is already in use. Nothing is removed, but nothing new can be pushed.
    type: bool
    default: false
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
- name: Set the same limits for two teams
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

- name: Limit the image size in every namespace of two tiers
  alauda.image_registry.image_limits:
    namespace_selector: "tier in (dev, test)"
    image:
      storage: 512Mi

- name: Remove the limits
  alauda.image_registry.image_limits:
    state: absent
    namespaces: [team-a]
"""

RETURN = r"""
namespaces:
  description: What was done in each namespace, as C(status) (V(created), V(updated), V(unchanged), V(deleted),
    V(absent), V(kept) or V(failed)), and the C(reason) of a failure.
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
      description: One line about the current state.
      type: str
    seconds:
      description: How long the verification took.
      type: float
    not_counted:
      description: Quota keys that no controller in the cluster counts, so that they limit nothing.
      type: list
      elements: str
    behind:
      description: Namespaces that do not have the limits, and why.
      type: list
      elements: dict
    timeline:
      description: Each observed change of state, with the seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.part import LimitsPart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run_part


def main() -> None:
    """Entry point."""
    run_part(AnsibleModule(**MODULES["image_limits"], supports_check_mode=True), LimitsPart)


if __name__ == "__main__":
    main()
