#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pruner
short_description: Configure scheduled image pruning of Registry v2, and verify it in the CronJob
version_added: 0.1.0
description:
  - Creates or patches C(ImagePruner/cluster), and reports success only when the CronJob is what the operator renders
    from it. Fails if somebody has edited the CronJob, because the operator does not undo that; only its image, pull
    policy and pull secrets may differ.
  - The API server itself checks the resulting CronJob (schedule, resources, node selector, tolerations, affinity)
    before anything is written, because the operator accepts invalid values and keeps the old CronJob.
  - Pruning removes image metadata for good. To start it, the task must set both retention values.
options:
  state:
    description:
      - V(absent) is refused, because the operator would recreate C(ImagePruner/cluster) at once, with defaults and not
        suspended. Use O(suspend=true) to stop pruning.
    type: str
    choices: [present, absent]
    default: present
  schedule:
    description: Cron expression with five fields, for example V(0 0 * * *).
    type: str
  suspend:
    description:
      - Whether the schedule is suspended.
      - To go from suspended to V(false), O(keep_tag_revisions) and O(keep_younger_than) are required.
    type: bool
  keep_tag_revisions:
    description: Number of revisions to keep of each tag.
    type: int
  keep_younger_than:
    description: Keep images younger than this, a duration with units such as V(60m), V(72h) or V(1h30m). Compared by
      value.
    type: str
  resources:
    description: CPU and memory of the pruning job. Replaces the current value as a whole. Quantities are compared by
      value.
    type: dict
    suboptions:
      requests:
        description: Requested amounts by resource name.
        type: dict
      limits:
        description: Limits by resource name.
        type: dict
  successful_jobs_history_limit:
    description: Number of successful jobs to keep.
    type: int
  failed_jobs_history_limit:
    description: Number of failed jobs to keep.
    type: int
  ignore_invalid_image_references:
    description: Whether to skip references that cannot be parsed, instead of ending the job.
    type: bool
  log_level:
    description: How much the job logs.
    type: str
    choices: [Normal, Debug, Trace, TraceAll]
  node_selector:
    description: Labels of the nodes that the job may run on. Replaces the current value; an empty dictionary removes
      it.
    type: dict
  tolerations:
    description: Taints that the job tolerates. Replaces the current value; an empty list removes it.
    type: list
    elements: dict
  affinity:
    description: Affinity of the job's Pods, as in Kubernetes. Replaces the current value.
    type: dict
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
- name: Prune every night, keep three revisions of each tag and everything from the last hour
  alauda.image_registry.image_pruner:
    schedule: "0 0 * * *"
    suspend: false
    keep_tag_revisions: 3
    keep_younger_than: 60m
    resources:
      requests: {cpu: 500m, memory: 500Mi}
      limits: {cpu: 500m, memory: 500Mi}

- name: Stop pruning during a migration
  alauda.image_registry.image_pruner:
    suspend: true
"""

RETURN = r"""
patch:
  description: The merge patch that was (in check mode, would be) sent to C(ImagePruner/cluster); empty if nothing
    differs.
  returned: on success, and when a write or the verification failed
  type: dict
written:
  description: The objects that were written, in order; in check mode, those that would be.
  returned: on success, and when a write or the verification failed
  type: list
  elements: dict
pruner:
  description: C(ImagePruner/cluster) as last seen.
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
    reason:
      description: Reason code of a failure, such as one from the operator or Kubernetes.
      type: str
    quoted:
      description: What the cluster said, word for word.
      type: str
    remedy:
      description: What to do about a failure.
      type: str
    conditions:
      description: Conditions of C(ImagePruner/cluster) by type.
      type: dict
    timeline:
      description: Each observed change of state, with the seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.part import PrunerPart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run_part


def main() -> None:
    """Entry point."""
    run_part(AnsibleModule(**MODULES["image_pruner"], supports_check_mode=True), PrunerPart)


if __name__ == "__main__":
    main()
