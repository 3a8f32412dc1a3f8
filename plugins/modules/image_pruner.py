#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pruner
short_description: Configure scheduled image pruning of Registry v2, and see it in the CronJob
version_added: 0.1.0
description:
  - Creates or patches C(ImagePruner/cluster) and reports success only when the CronJob carries this schedule,
    suspend flag and
    retention.
  - The schedule is checked by the API server itself before anything is written, because the operator accepts a bad
    one and goes on
    with the old CronJob.
  - Pruning removes image metadata for good. Starting it needs both retention values named in the task.
options:
  state:
    description:
      - V(absent) is refused with the reason. The operator makes C(ImagePruner/cluster) again at once, with defaults
        and not suspended.
        Use O(suspend=true) to stop pruning.
    type: str
    choices: [present, absent]
    default: present
  schedule:
    description: Cron expression with five fields, for example V(0 0 * * *).
    type: str
  suspend:
    description:
      - Whether the schedule is suspended.
      - Going from suspended to V(false) needs O(keep_tag_revisions) and O(keep_younger_than).
    type: bool
  keep_tag_revisions:
    description: Number of revisions of each tag that are kept.
    type: int
  keep_younger_than:
    description: Images younger than this are kept, as a duration with units such as V(60m), V(72h) or V(1h30m).
      Compared by value.
    type: str
  resources:
    description: CPU and memory of the pruning job. Replaces the present value as a whole. Quantities are compared by
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
    description: Number of successful jobs that are kept.
    type: int
  failed_jobs_history_limit:
    description: Number of failed jobs that are kept.
    type: int
  ignore_invalid_image_references:
    description: Whether references that cannot be parsed are skipped instead of ending the job.
    type: bool
  log_level:
    description: How much the job logs.
    type: str
    choices: [Normal, Debug, Trace, TraceAll]
  node_selector:
    description: Labels of nodes the job may run on. Replaces the present value; an empty dictionary removes it.
    type: dict
  tolerations:
    description: Taints the job tolerates. Replaces the present value; an empty list removes it.
    type: list
    elements: dict
  affinity:
    description: Affinity of the job's Pods, as in Kubernetes. Replaces the present value.
    type: dict
extends_documentation_fragment:
  - alauda.image_registry.auth
  - alauda.image_registry.wait
  - alauda.image_registry.platform
  - alauda.image_registry.attributes
notes:
  - "Required permissions: C(get), C(list), C(watch), C(create), C(patch) on
    C(imagepruners.imageregistry.operator.alauda.io); in the
    registry's namespace C(get), C(list), C(watch) on CronJobs, C(create) on CronJobs (only ever as a dry run, to
    check a schedule),
    C(list) on Jobs and Pods and C(get) on C(pods/log) to explain a failed job."
seealso:
  - module: alauda.image_registry.registry_storage
author:
  - The alauda.image_registry contributors (@alauda)
"""

EXAMPLES = r"""
- name: Prune every night, keep three revisions and everything of the last hour
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
  description: The merge patch that was (or in check mode would be) sent to C(ImagePruner/cluster); empty when
    nothing differs.
  returned: success
  type: dict
written:
  description: The objects that were written, in order. In check mode those that would be.
  returned: success
  type: list
  elements: dict
pruner:
  description: C(ImagePruner/cluster) as last seen.
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
      description: One line on what is true now, or what is missing.
      type: str
    seconds:
      description: How long the verification took.
      type: float
    reason:
      description: Reason code of a failure, from the operator or from Kubernetes.
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
      description: Each change of state that was seen, with seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import (
    AUTH,
    PLATFORM,
    PRUNER,
    WAIT,
    merged,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pruner.part import PrunerPart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=merged(AUTH, WAIT, PLATFORM, PRUNER), supports_check_mode=True)
    run(module, PrunerPart)


if __name__ == "__main__":
    main()
