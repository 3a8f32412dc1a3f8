#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry
short_description: Configure the whole of Registry v2 in one task, or verify it
version_added: 0.1.0
description:
  - Takes storage, pull secrets, image limits and image pruning together, each only if it is set.
  - Reads everything once, and writes nothing if any part is refused; the error names every finding of every part.
  - Then writes storage, pull secrets, limits and pruner in this order, observes all of them together, and succeeds only
    when all have taken effect. A part that fails does not hide what the others reached.
  - With O(mode=verify) it compares instead, lists every difference of every part, and proves what does not differ.
options:
  # parts: written by `make roles` from the parts' modules
  registry_storage:
    description:
      - Configure where Registry v2 keeps its images, and verify that it works.
      - Takes the options of M(alauda.image_registry.registry_storage) except those that all parts share.
      - If it is not set, this part is left alone.
    type: dict
    suboptions:
      backend:
        description:
          - Where images are kept.
          - V(emptydir) loses all images when the Pod is recreated, and is meant for development only.
        type: str
        choices:
          - emptydir
          - pvc
          - s3
          - swift
          - gcs
          - ibmcos
          - azure
        required: true
      pvc:
        description:
          - The claim, for O(registry_storage.backend=pvc).
        type: dict
        suboptions:
          claim:
            description:
              - Name of the PersistentVolumeClaim in the registry's namespace.
            type: str
            default: image-registry
          create:
            description:
              - Create the claim if it does not exist.
              - An existing claim is never modified (except by O(registry_storage.pvc.expand)) and never
                deleted; differences are reported as warnings.
            type: bool
            default: false
          size:
            description:
              - Requested size as a Kubernetes quantity, for example V(100Gi). Required to create a claim.
                Compared by value.
            type: str
          storage_class:
            description:
              - StorageClass of a new claim. If not set, the cluster's default is used. The task is refused if
                there is none, unless an available volume made by hand matches the claim.
            type: str
          access_modes:
            description:
              - Access modes of a new claim, V(ReadWriteOnce) if not set.
              - A claim without V(ReadWriteMany) allows only one replica and implies
                O(registry_storage.rollout_strategy=Recreate).
            type: list
            elements: str
            choices:
              - ReadWriteOnce
              - ReadWriteMany
          expand:
            description:
              - Grow an existing claim to O(registry_storage.pvc.size) if its StorageClass allows expansion,
                and wait until its volume has grown.
            type: bool
            default: false
      s3:
        description:
          - The bucket, for O(registry_storage.backend=s3).
        type: dict
        suboptions:
          bucket:
            description:
              - Name of an existing bucket.
              - The operator tries to create a bucket that it cannot find, so a misspelt name may produce a
                new, empty one.
            type: str
            required: true
          region:
            description:
              - Region of the bucket. Required unless C(Config/cluster) already has one; S3-compatible
                services often expect V(us-east-1).
            type: str
          region_endpoint:
            description:
              - URL of an S3-compatible service with its scheme and without the bucket, for example
                V(https://s3.example.com).
              - Left as it is if not set. An empty string removes it, which means AWS itself.
            type: str
          trusted_ca:
            description:
              - CA of the endpoint. If set, the operator trusts only this bundle.
              - Left as it is if not set, even if the endpoint changes.
            type: dict
            suboptions:
              name:
                description:
                  - ConfigMap with the key C(ca-bundle.crt) in the registry's namespace (with
                    O(platform=openshift), in C(openshift-config)). An empty string removes the setting.
                type: str
                required: true
              pem:
                description:
                  - Certificates in PEM format. If set, the ConfigMap is created or its key is updated.
                type: str
          virtual_hosted_style:
            description:
              - Whether to address the bucket as part of the host name instead of the path.
            type: bool
          encrypt:
            description:
              - Whether to have the service encrypt objects.
            type: bool
          key_id:
            description:
              - Key for server-side encryption.
            type: str
          chunk_size_mib:
            description:
              - Size of upload parts in MiB, from 5 to 5120.
            type: int
          access_key:
            description:
              - Access key ID. Written with O(registry_storage.s3.secret_key) to the Secret
                C(image-registry-private-configuration-user), whose other keys are kept.
              - If the task sets no credentials, the existing Secret is used and checked.
            type: str
          secret_key:
            description:
              - Secret access key.
            type: str
          credentials_secret:
            description:
              - An existing Secret in the registry's namespace with the keys C(REGISTRY_STORAGE_S3_ACCESSKEY)
                and C(REGISTRY_STORAGE_S3_SECRETKEY), or C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY).
                The operator reads only one fixed Secret, so the values are copied into
                C(image-registry-private-configuration-user).
            type: str
      swift:
        description:
          - The container, for O(registry_storage.backend=swift).
        type: dict
        suboptions:
          container:
            description:
              - Name of the container.
            type: str
            required: true
          auth_url:
            description:
              - URL of the identity service.
            type: str
          auth_version:
            description:
              - Version of the identity API.
            type: str
          domain:
            description:
              - Domain name.
            type: str
          domain_id:
            description:
              - Domain ID.
            type: str
          tenant:
            description:
              - Project name.
            type: str
          tenant_id:
            description:
              - Project ID.
            type: str
          region_name:
            description:
              - Region of the container.
            type: str
          username:
            description:
              - User name, with O(registry_storage.swift.password). All credentials are written to the Secret
                C(image-registry-private-configuration-user).
            type: str
          password:
            description:
              - Password.
            type: str
          application_credential_id:
            description:
              - ID of an application credential, together with its name and secret.
            type: str
          application_credential_name:
            description:
              - Name of the application credential.
            type: str
          application_credential_secret:
            description:
              - Secret of the application credential.
            type: str
          token_id:
            description:
              - A token instead of the other credentials.
            type: str
      gcs:
        description:
          - The bucket, for O(registry_storage.backend=gcs).
        type: dict
        suboptions:
          bucket:
            description:
              - Name of the bucket.
            type: str
            required: true
          region:
            description:
              - Region of the bucket.
            type: str
          project_id:
            description:
              - Project that the bucket belongs to.
            type: str
          key_id:
            description:
              - Encryption key.
            type: str
          keyfile:
            description:
              - Content of the service account's key file (JSON). Written to the Secret
                C(image-registry-private-configuration-user).
            type: str
      ibmcos:
        description:
          - The bucket, for O(registry_storage.backend=ibmcos).
        type: dict
        suboptions:
          bucket:
            description:
              - Name of the bucket.
            type: str
            required: true
          location:
            description:
              - Location of the bucket.
            type: str
          resource_group_name:
            description:
              - Resource group.
            type: str
          resource_key_crn:
            description:
              - CRN of the resource key.
            type: str
          service_instance_crn:
            description:
              - CRN of the service instance.
            type: str
          iam_api_key:
            description:
              - IAM API key. Written to the Secret C(image-registry-private-configuration-user).
            type: str
      azure:
        description:
          - The container, for O(registry_storage.backend=azure).
        type: dict
        suboptions:
          account_name:
            description:
              - Name of the storage account.
            type: str
            required: true
          container:
            description:
              - Name of the container.
            type: str
            required: true
          cloud_name:
            description:
              - Name of the Azure cloud.
            type: str
          network_access:
            description:
              - How the storage account is reached.
            type: dict
            suboptions:
              type:
                description:
                  - V(Internal) creates a private endpoint.
                type: str
                choices:
                  - External
                  - Internal
                required: true
              network_resource_group_name:
                description:
                  - Resource group of the network, for V(Internal).
                type: str
              vnet_name:
                description:
                  - Name of the virtual network, for V(Internal).
                type: str
              subnet_name:
                description:
                  - Name of the subnet, for V(Internal).
                type: str
              private_endpoint_name:
                description:
                  - Name of the private endpoint, for V(Internal).
                type: str
          account_key:
            description:
              - Key of the storage account. Written to the Secret
                C(image-registry-private-configuration-user).
            type: str
      management_state:
        description:
          - Whether the operator manages the registry. The platform has no default, and without V(Managed)
            nothing runs.
          - With V(Unmanaged), the values are stored, but nothing applies or verifies them.
        type: str
        choices:
          - Managed
          - Unmanaged
        default: Managed
      storage_management_state:
        description:
          - Who owns the storage. Always sent, because the operator otherwise keeps the value of an earlier
            backend.
          - If not set, V(Managed) for O(registry_storage.backend=emptydir), as the vendor's own check
            expects, and V(Unmanaged) for every other backend.
          - With V(Managed), the operator changes settings of the bucket, and deletes the claim or empties the
            bucket when the registry is removed.
        type: str
        choices:
          - Managed
          - Unmanaged
      replicas:
        description:
          - Number of registry Pods, at least 1. More than one needs storage that several Pods can write to.
        type: int
      resources:
        description:
          - CPU and memory of the container C(registry). Replaces the current value as a whole. Quantities are
            compared by value.
        type: dict
        suboptions:
          requests:
            description:
              - Requested amounts by resource name, for example C(cpu) and C(memory).
            type: dict
          limits:
            description:
              - Limits by resource name.
            type: dict
      rollout_strategy:
        description:
          - How Pods are replaced. A ReadWriteOnce claim implies V(Recreate), and V(RollingUpdate) is refused
            with one.
        type: str
        choices:
          - RollingUpdate
          - Recreate
      disable_redirect:
        description:
          - Whether to serve all content through the registry, for clients that cannot reach the object
            storage.
        type: bool
      on_backend_change:
        description:
          - What to do when the registry's images are in a claim or bucket that the task would leave. Nothing
            is ever copied or deleted.
          - V(fail) refuses the task and names the old place; V(allow) continues and returns the place in
            C(parts.registry_storage.left_behind).
          - Images in an emptyDir are lost with its Pod. V(fail) also refuses to leave an emptyDir that has
            images. It only warns if the registry cannot be queried, or if the task merely replaces the Pod.
        type: str
        choices:
          - fail
          - allow
        default: fail
      probe:
        description:
          - Whether to query the registry itself, through the API server's proxy, to find out if it reaches
            its storage.
          - V(auto) only warns if the account is not allowed to use the proxy, V(require) fails in that case,
            V(skip) does not query the registry.
          - V(write) goes further than V(require). Storage that is full or read-only answers as if nothing
            were wrong, so a blob of two bytes is pushed and removed again, which shows that images can be
            pushed. No image is left behind. This fails if the registry requires a login, because the API
            server does not pass one on.
        type: str
        choices:
          - auto
          - require
          - write
          - skip
        default: auto
  registry_pullsecret:
    description:
      - Configure the managed pull secrets of Registry v2, and check them in namespaces on request.
      - Takes the options of M(alauda.image_registry.registry_pullsecret) except those that all parts share.
      - If it is not set, this part is left alone.
    type: dict
    suboptions:
      management_state:
        description:
          - Whether the operator creates, injects, refreshes and removes pull secrets. Left as it is if not
            set.
        type: str
        choices:
          - Managed
          - Unmanaged
          - Removed
      additional_registry_hosts:
        description:
          - Additional names of the registry that pull secrets are created for, each as HOST or HOST:PORT.
          - Order and duplicates do not matter. Left as they are if not set; an empty list removes all.
        type: list
        elements: str
      ignored_namespaces:
        description:
          - Namespaces that get no pull secrets. Left as they are if not set; an empty list removes all.
        type: list
        elements: str
      ignore_system_namespaces:
        description:
          - Whether the platform's own namespaces get no pull secrets. Left as it is if not set.
          - With V(true), the verification requires nothing of namespaces whose names begin with C(kube-) or
            end with C(-system), because which ones count as such is not documented. A warning says what they
            have.
        type: bool
      list_mode:
        description:
          - What to do with the lists.
          - V(replace) sets them exactly as given, and returns what was dropped in
            C(parts.registry_pullsecret.dropped).
          - V(merge) adds the given entries, V(remove) removes them. Both are safe with concurrent writers.
        type: str
        choices:
          - replace
          - merge
          - remove
        default: replace
      verify_namespaces:
        description:
          - Namespaces in which the effect is checked. Each must exist.
        type: list
        elements: str
      verify_namespace_selector:
        description:
          - Label selector for namespaces in which the effect is checked, in addition to
            O(registry_pullsecret.verify_namespaces).
        type: str
      verify_service_accounts:
        description:
          - Service accounts that must list a managed pull secret in each checked namespace.
        type: list
        elements: str
        default:
          - default
  image_limits:
    description:
      - Limit the images of namespaces with ResourceQuota and LimitRange.
      - Takes the options of M(alauda.image_registry.image_limits) except those that all parts share.
      - One entry for each group of namespaces.
      - If it is not set, this part is left alone.
    type: list
    elements: dict
    suboptions:
      state:
        description:
          - V(absent) removes the ResourceQuota and the LimitRange if this collection created them. An object
            created by other means is kept, unless O(image_limits[].adopt=true).
        type: str
        choices:
          - present
          - absent
        default: present
      namespaces:
        description:
          - Namespaces to set limits in. All must exist; if any do not, the task names them and writes
            nothing.
        type: list
        elements: str
      namespace_selector:
        description:
          - Label selector for namespaces, instead of O(image_limits[].namespaces).
        type: str
      quota:
        description:
          - Quota of each namespace. Keys that are not set are left as they are.
        type: dict
        suboptions:
          imagestreams:
            description:
              - Number of image streams.
            type: str
          images:
            description:
              - Number of images.
            type: str
          image_tags:
            description:
              - Number of image tags.
            type: str
      image:
        description:
          - Limits of each image.
        type: dict
        suboptions:
          storage:
            description:
              - Maximum size as a quantity, for example V(1Gi). The registry checks it for each layer.
            type: str
      image_stream:
        description:
          - Limits of each image stream.
        type: dict
        suboptions:
          images:
            description:
              - Number of images.
            type: str
          image_tags:
            description:
              - Number of image tags.
            type: str
      quota_name:
        description:
          - Name of the ResourceQuota.
        type: str
        default: image-registry-quota
      limits_name:
        description:
          - Name of the LimitRange. Its entries of other types are kept.
        type: str
        default: image-registry-limits
      adopt:
        description:
          - With O(image_limits[].state=absent), also remove objects with these names that this collection did
            not create.
        type: bool
        default: false
      allow_below_usage:
        description:
          - Allow a quota below what is already in use. Nothing is removed, but nothing new can be pushed.
        type: bool
        default: false
  image_pruner:
    description:
      - Configure scheduled image pruning of Registry v2, and verify it in the CronJob.
      - Takes the options of M(alauda.image_registry.image_pruner) except those that all parts share.
      - If it is not set, this part is left alone.
    type: dict
    suboptions:
      state:
        description:
          - V(absent) is refused, because the operator would recreate C(ImagePruner/cluster) at once, with
            defaults and not suspended. Use O(image_pruner.suspend=true) to stop pruning.
        type: str
        choices:
          - present
          - absent
        default: present
      schedule:
        description:
          - Cron expression with five fields, for example V(0 0 * * *).
        type: str
      suspend:
        description:
          - Whether the schedule is suspended.
          - To go from suspended to V(false), O(image_pruner.keep_tag_revisions) and
            O(image_pruner.keep_younger_than) are required.
        type: bool
      keep_tag_revisions:
        description:
          - Number of revisions to keep of each tag.
        type: int
      keep_younger_than:
        description:
          - Keep images younger than this, a duration with units such as V(60m), V(72h) or V(1h30m). Compared
            by value.
        type: str
      resources:
        description:
          - CPU and memory of the pruning job. Replaces the current value as a whole. Quantities are compared
            by value.
        type: dict
        suboptions:
          requests:
            description:
              - Requested amounts by resource name.
            type: dict
          limits:
            description:
              - Limits by resource name.
            type: dict
      successful_jobs_history_limit:
        description:
          - Number of successful jobs to keep.
        type: int
      failed_jobs_history_limit:
        description:
          - Number of failed jobs to keep.
        type: int
      ignore_invalid_image_references:
        description:
          - Whether to skip references that cannot be parsed, instead of ending the job.
        type: bool
      log_level:
        description:
          - How much the job logs.
        type: str
        choices:
          - Normal
          - Debug
          - Trace
          - TraceAll
      node_selector:
        description:
          - Labels of the nodes that the job may run on. Replaces the current value; an empty dictionary
            removes it.
        type: dict
      tolerations:
        description:
          - Taints that the job tolerates. Replaces the current value; an empty list removes it.
        type: list
        elements: dict
      affinity:
        description:
          - Affinity of the job's Pods, as in Kubernetes. Replaces the current value.
        type: dict
  # end of parts
  mode:
    description:
      - V(configure) makes the cluster what the parts describe.
      - V(verify) only compares and proves. It uses a client that sends nothing but C(GET), so nothing is changed
        whatever happens meanwhile; O(registry_storage.probe=write) is therefore taken as V(require). It fails if
        anything differs or does not work.
    type: str
    choices: [configure, verify]
    default: configure
  allow_nothing:
    description:
      - Whether to succeed if no part is set. Otherwise the task fails, because as a rule the file of variables was
        forgotten or has lost its indentation.
    type: bool
    default: false
extends_documentation_fragment:
  - alauda.image_registry.auth
  - alauda.image_registry.wait
  - alauda.image_registry.platform
  - alauda.image_registry.attributes
notes:
  - "Required permissions: those of the modules of the parts that are set; with O(mode=verify) only those to read.
    C(docs/permissions/) of this collection lists them for each option, with files to apply."
seealso:
  - module: alauda.image_registry.registry_storage
  - module: alauda.image_registry.registry_pullsecret
  - module: alauda.image_registry.image_limits
  - module: alauda.image_registry.image_pruner
author:
  - The alauda.image_registry contributors (@alauda)
"""

EXAMPLES = r"""
- name: The vendor's page as one task
  alauda.image_registry.registry:
    registry_storage:
      backend: pvc
      pvc:
        claim: image-registry
        create: true
        size: 100Gi
        storage_class: fast
      replicas: 1
    registry_pullsecret:
      management_state: Managed
      additional_registry_hosts:
        - registry.example.com
    image_limits:
      - namespaces:
          - team-a
          - team-b
        quota:
          images: 200
      - namespace_selector: tier=dev
        image:
          storage: 1Gi
    image_pruner:
      schedule: "0 0 * * *"
      suspend: false
      keep_tag_revisions: 3
      keep_younger_than: 60m

- name: Is the pruner still as described, and does it work?
  alauda.image_registry.registry:
    mode: verify
    image_pruner:
      schedule: "0 0 * * *"
      suspend: false
      keep_tag_revisions: 3
      keep_younger_than: 60m
"""

RETURN = r"""
parts:
  description: What came of each part that was set, by the part's name; for C(image_limits) a list with one entry for
    each group of namespaces.
  returned: unless nothing could be decided
  type: dict
  contains:
    changed:
      description: Whether the part wrote anything.
      type: bool
    msg:
      description: Why the part failed, or how the cluster differs. Only there if it did.
      type: str
    differences:
      description: With O(mode=verify), each field that differs; only there if the part differs.
      type: list
      elements: dict
      contains:
        object:
          description: Kind and name of the object.
          type: str
        field:
          description: The field in dotted form; empty for an object that is missing or should not exist.
          type: str
        is:
          description: What is there.
          type: raw
        should:
          description: What was asked for.
          type: raw
    verification:
      description: What was proven, and how, as the part's module returns it.
      type: dict
    diff:
      description: The fields that the part owns, before and after. Each key names an object and a field of it.
      type: dict
summary:
  description: One line for each part, with its verdict and its proof or its difference.
  returned: unless nothing could be decided
  type: list
  elements: str
  sample:
    - "image_pruner: done: CronJob runs at 0 0 * * *, --keep-tag-revisions=3 --keep-younger-than=60m0s"
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule, called_as
from ansible_collections.alauda.image_registry.plugins.module_utils._page import part, run_page
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run_part


def main() -> None:
    """Entry point, also of the other modules: an archive of this one serves all of them."""
    name = called_as("registry", MODULES)
    module = AnsibleModule(**MODULES[name], supports_check_mode=True)
    if name == "registry":
        run_page(module)
    else:
        run_part(module, part(name))


if __name__ == "__main__":
    main()
