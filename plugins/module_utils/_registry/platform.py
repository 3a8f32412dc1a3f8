# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the products that run this operator family; nothing else spells a group or a namespace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """Names of one product. All values are plain Kubernetes names."""

    name: str
    group: str
    namespace: str
    trusted_ca_namespace: str
    quota_prefix: str
    operator_deployment: str

    version: str = "v1"
    singleton: str = "cluster"
    deployment: str = "image-registry"
    container: str = "registry"
    service: str = "image-registry"
    port: int = 5000
    cronjob: str = "image-pruner"
    user_secret: str = "image-registry-private-configuration-user"
    generated_secret: str = "image-registry-private-configuration"
    trusted_ca_key: str = "ca-bundle.crt"
    certificates: str = "image-registry-certificates"

    @property
    def api(self) -> str:
        """Path of the operator's API group, without a trailing slash."""
        return f"/apis/{self.group}/{self.version}"

    @property
    def config_path(self) -> str:
        """Path of the singleton Config."""
        return f"{self.api}/configs/{self.singleton}"

    @property
    def pruner_path(self) -> str:
        """Path of the singleton ImagePruner."""
        return f"{self.api}/imagepruners/{self.singleton}"


ALAUDA = Platform(
    name="alauda",
    group="imageregistry.operator.alauda.io",
    namespace="image-registry-system",
    trusted_ca_namespace="image-registry-system",
    quota_prefix="alauda.io",
    operator_deployment="cluster-image-registry-operator",
)

OPENSHIFT = Platform(
    name="openshift",
    group="imageregistry.operator.openshift.io",
    namespace="openshift-image-registry",
    trusted_ca_namespace="openshift-config",
    quota_prefix="openshift.io",
    operator_deployment="cluster-image-registry-operator",
)

PLATFORMS = {platform.name: platform for platform in (ALAUDA, OPENSHIFT)}
