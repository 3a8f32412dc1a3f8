#!/usr/bin/python
# Copyright: Contributors to the alauda.image_registry project
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_storage
short_description: Configure where Registry v2 keeps its images, and verify that it works
version_added: 0.1.0
description:
  - Sets the storage backend of the image registry of Alauda Container Platform in C(Config/cluster) with one merge
    patch that contains only what differs, and removes every other backend in the same patch.
  - Refuses what is known to fail before anything is written, and reports all findings at once.
  - Waits for the effect, and reports success only when the operator has accepted the backend, the rollout of exactly
    this configuration is complete, old Pods are gone and the registry reaches its storage. A change that the operator
    refuses is reported with the operator's own reason.
  - A task that has nothing to change still verifies. It fails if the registry's storage has broken in the meantime.
options:
  backend:
    description:
      - Where images are kept.
      - V(emptydir) loses all images when the Pod is recreated, and is meant for development only.
    type: str
    required: true
    choices: [emptydir, pvc, s3, swift, gcs, ibmcos, azure]
  pvc:
    description: The claim, for O(backend=pvc).
    type: dict
    suboptions:
      claim:
        description: Name of the PersistentVolumeClaim in the registry's namespace.
        type: str
        default: image-registry
      create:
        description:
          - Create the claim if it does not exist.
          - An existing claim is never modified (except by O(pvc.expand)) and never deleted; differences are reported as
            warnings.
        type: bool
        default: false
      size:
        description: Requested size as a Kubernetes quantity, for example V(100Gi). Required to create a claim. Compared
          by value.
        type: str
      storage_class:
        description: StorageClass of a new claim. If not set, the cluster's default is used. The task is refused if
          there is none, unless an available volume made by hand matches the claim.
        type: str
      access_modes:
        description:
          - Access modes of a new claim, V(ReadWriteOnce) if not set.
          - A claim without V(ReadWriteMany) allows only one replica and implies O(rollout_strategy=Recreate).
        type: list
        elements: str
        choices: [ReadWriteOnce, ReadWriteMany]
      expand:
        description: Grow an existing claim to O(pvc.size) if its StorageClass allows expansion, and wait until its
          volume has grown.
        type: bool
        default: false
  s3:
    description: The bucket, for O(backend=s3).
    type: dict
    suboptions:
      bucket:
        description:
          - Name of an existing bucket.
          - The operator tries to create a bucket that it cannot find, so a misspelt name may produce a new, empty one.
        type: str
        required: true
      region:
        description: Region of the bucket. Required unless C(Config/cluster) already has one; S3-compatible services
          often expect V(us-east-1).
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
            description: ConfigMap with the key C(ca-bundle.crt) in the registry's namespace (with
              O(platform=openshift), in C(openshift-config)). An empty string removes the setting.
            type: str
            required: true
          pem:
            description: Certificates in PEM format. If set, the ConfigMap is created or its key is updated.
            type: str
      virtual_hosted_style:
        description: Whether to address the bucket as part of the host name instead of the path.
        type: bool
      encrypt:
        description: Whether to have the service encrypt objects.
        type: bool
      key_id:
        description: Key for server-side encryption.
        type: str
      chunk_size_mib:
        description: Size of upload parts in MiB, from 5 to 5120.
        type: int
      access_key:
        description:
          - Access key ID. Written with O(s3.secret_key) to the Secret C(image-registry-private-configuration-user),
            whose other keys are kept.
          - If the task sets no credentials, the existing Secret is used and checked.
        type: str
      secret_key:
        description: Secret access key.
        type: str
      credentials_secret:
        description:
          - An existing Secret in the registry's namespace with the keys C(REGISTRY_STORAGE_S3_ACCESSKEY) and
            C(REGISTRY_STORAGE_S3_SECRETKEY), or C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY). The operator reads
            only one fixed Secret, so the values are copied into C(image-registry-private-configuration-user).
        type: str
  swift:
    description: The container, for O(backend=swift).
    type: dict
    suboptions:
      container:
        description: Name of the container.
        type: str
        required: true
      auth_url:
        description: URL of the identity service.
        type: str
      auth_version:
        description: Version of the identity API.
        type: str
      domain:
        description: Domain name.
        type: str
      domain_id:
        description: Domain ID.
        type: str
      tenant:
        description: Project name.
        type: str
      tenant_id:
        description: Project ID.
        type: str
      region_name:
        description: Region of the container.
        type: str
      username:
        description: User name, with O(swift.password). All credentials are written to the Secret
          C(image-registry-private-configuration-user).
        type: str
      password:
        description: Password.
        type: str
      application_credential_id:
        description: ID of an application credential, together with its name and secret.
        type: str
      application_credential_name:
        description: Name of the application credential.
        type: str
      application_credential_secret:
        description: Secret of the application credential.
        type: str
      token_id:
        description: A token instead of the other credentials.
        type: str
  gcs:
    description: The bucket, for O(backend=gcs).
    type: dict
    suboptions:
      bucket:
        description: Name of the bucket.
        type: str
        required: true
      region:
        description: Region of the bucket.
        type: str
      project_id:
        description: Project that the bucket belongs to.
        type: str
      key_id:
        description: Encryption key.
        type: str
      keyfile:
        description: Content of the service account's key file (JSON). Written to the Secret
          C(image-registry-private-configuration-user).
        type: str
  ibmcos:
    description: The bucket, for O(backend=ibmcos).
    type: dict
    suboptions:
      bucket:
        description: Name of the bucket.
        type: str
        required: true
      location:
        description: Location of the bucket.
        type: str
      resource_group_name:
        description: Resource group.
        type: str
      resource_key_crn:
        description: CRN of the resource key.
        type: str
      service_instance_crn:
        description: CRN of the service instance.
        type: str
      iam_api_key:
        description: IAM API key. Written to the Secret C(image-registry-private-configuration-user).
        type: str
  azure:
    description: The container, for O(backend=azure).
    type: dict
    suboptions:
      account_name:
        description: Name of the storage account.
        type: str
        required: true
      container:
        description: Name of the container.
        type: str
        required: true
      cloud_name:
        description: Name of the Azure cloud.
        type: str
      network_access:
        description: How the storage account is reached.
        type: dict
        suboptions:
          type:
            description: V(Internal) creates a private endpoint.
            type: str
            required: true
            choices: [External, Internal]
          network_resource_group_name:
            description: Resource group of the network, for V(Internal).
            type: str
          vnet_name:
            description: Name of the virtual network, for V(Internal).
            type: str
          subnet_name:
            description: Name of the subnet, for V(Internal).
            type: str
          private_endpoint_name:
            description: Name of the private endpoint, for V(Internal).
            type: str
      account_key:
        description: Key of the storage account. Written to the Secret C(image-registry-private-configuration-user).
        type: str
  management_state:
    description:
      - Whether the operator manages the registry. The platform has no default, and without V(Managed) nothing runs.
      - With V(Unmanaged), the values are stored, but nothing applies or verifies them.
    type: str
    choices: [Managed, Unmanaged]
    default: Managed
  storage_management_state:
    description:
      - Who owns the storage. Always sent, because the operator otherwise keeps the value of an earlier backend.
      - If not set, V(Managed) for O(backend=emptydir), as the vendor's own check expects, and V(Unmanaged) for every
        other backend.
      - With V(Managed), the operator changes settings of the bucket, and deletes the claim or empties the bucket when
        the registry is removed.
    type: str
    choices: [Managed, Unmanaged]
  replicas:
    description: Number of registry Pods, at least 1. More than one needs storage that several Pods can write to.
    type: int
  resources:
    description: CPU and memory of the container C(registry). Replaces the current value as a whole. Quantities are
      compared by value.
    type: dict
    suboptions:
      requests:
        description: Requested amounts by resource name, for example C(cpu) and C(memory).
        type: dict
      limits:
        description: Limits by resource name.
        type: dict
  rollout_strategy:
    description: How Pods are replaced. A ReadWriteOnce claim implies V(Recreate), and V(RollingUpdate) is refused with
      one.
    type: str
    choices: [RollingUpdate, Recreate]
  disable_redirect:
    description: Whether to serve all content through the registry, for clients that cannot reach the object storage.
    type: bool
  on_backend_change:
    description:
      - What to do when the registry's images are in a claim or bucket that the task would leave. Nothing is ever copied
        or deleted.
      - V(fail) refuses the task and names the old place; V(allow) continues and returns the place in RV(left_behind).
      - Images in an emptyDir are lost with its Pod. V(fail) also refuses to leave an emptyDir that has images. It only
        warns if the registry cannot be queried, or if the task merely replaces the Pod.
    type: str
    choices: [fail, allow]
    default: fail
  probe:
    description:
      - Whether to query the registry itself, through the API server's proxy, to find out if it reaches its storage.
      - V(auto) only warns if the account is not allowed to use the proxy, V(require) fails in that case, V(skip) does
        not query the registry.
      - V(write) goes further than V(require). Storage that is full or read-only answers as if nothing were wrong, so a
        blob of two bytes is pushed and removed again, which shows that images can be pushed. No image is left behind.
        This fails if the registry requires a login, because the API server does not pass one on.
    type: str
    choices: [auto, require, write, skip]
    default: auto
extends_documentation_fragment:
  - alauda.image_registry.auth
  - alauda.image_registry.wait
  - alauda.image_registry.platform
  - alauda.image_registry.attributes
notes:
  - "Required permissions: C(docs/permissions/) of this collection lists them for each option, with files to apply."
seealso:
  - name: Setting Up and Configuring the Registry
    description: The vendor's page whose storage recipes this module replaces.
    link: https://docs.alauda.io/container_platform/
author:
  - The alauda.image_registry contributors (@alauda)
"""

EXAMPLES = r"""
- name: Use development storage; images are lost with the Pod
  alauda.image_registry.registry_storage:
    backend: emptydir
    replicas: 1
    resources:
      requests: {cpu: 500m, memory: 500Mi}
      limits: {cpu: 500m, memory: 500Mi}

- name: Use a claim that several Pods can write to, and create it if it does not exist
  alauda.image_registry.registry_storage:
    backend: pvc
    pvc:
      claim: image-registry
      create: true
      size: 100Gi
      storage_class: fast
      access_modes: [ReadWriteMany]
    replicas: 2

- name: Use a ReadWriteOnce claim with one replica, which implies Recreate
  alauda.image_registry.registry_storage:
    backend: pvc
    pvc:
      claim: image-registry
    replicas: 1

- name: Use S3-compatible storage with a private CA, and serve all content through the registry
  alauda.image_registry.registry_storage:
    backend: s3
    s3:
      bucket: images
      region: us-east-1
      region_endpoint: https://s3.example.com
      trusted_ca:
        name: s3-ca
      access_key: "{{ vault_s3_access_key }}"
      secret_key: "{{ vault_s3_secret_key }}"
    replicas: 2
    disable_redirect: true
    rollout_strategy: RollingUpdate
    wait_timeout: 300

- name: Switch to another bucket after copying the data
  alauda.image_registry.registry_storage:
    backend: s3
    s3:
      bucket: images-2
      region: us-east-1
    on_backend_change: allow
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
left_behind:
  description: Claims and buckets with images that the registry no longer uses. Nothing there was touched.
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
      description: Conditions of C(Config/cluster) by type.
      type: dict
    observed_generation:
      description: The generation of C(Config/cluster) that the operator has processed.
      type: int
    rollout:
      description: Generation, replicas, and updated and available Pods of the registry's Deployment.
      type: dict
    probes:
      description: Answers of the registry, one for each Pod (or one for the Service when nothing had changed).
      type: list
      elements: dict
    log:
      description: Lines of the registry's log that report a storage problem, with secrets redacted.
      type: list
      elements: dict
    events:
      description: Recent warning events of the registry's Pods and claim, after a timeout.
      type: list
      elements: str
    timeline:
      description: Each observed change of state, with the seconds since the start of the wait.
      type: list
      elements: dict
"""

from ansible_collections.alauda.image_registry.plugins.module_utils._argspec import MODULES
from ansible_collections.alauda.image_registry.plugins.module_utils._module import AnsibleModule
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.part import StoragePart
from ansible_collections.alauda.image_registry.plugins.module_utils._run import run_part


def main() -> None:
    """Entry point."""
    run_part(AnsibleModule(**MODULES["registry_storage"], supports_check_mode=True), StoragePart)


if __name__ == "__main__":
    main()
