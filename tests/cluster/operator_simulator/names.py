# SPDX-License-Identifier: GPL-3.0-or-later
"""Names the operator uses on this product.

Independent of the collection's own code on purpose: a wrong name there must fail a test, not be shared with the
simulator.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

GROUP = "imageregistry.operator.alauda.io"
NAMESPACE = "image-registry-system"
SINGLETON = "cluster"
REGISTRY = "image-registry"
API_SERVER = "image-api-server"
OPERATOR = "cluster-image-registry-operator"
CRONJOB = "image-pruner"
LEASE = f"{OPERATOR}-lock"
PORT = 5000
SERVICE_HOST = f"{REGISTRY}.{NAMESPACE}.svc:{PORT}"

USER_SECRET = "image-registry-private-configuration-user"
GENERATED_SECRET = "image-registry-private-configuration"
INSTALLER_SECRET = "installer-cloud-credentials"
TLS_SECRET = "image-registry-tls"
CERTIFICATES = "image-registry-certificates"
TRUSTED_CA = "trusted-ca"
PULL_SECRET_INSTALLATION = "installation-pull-secrets"
CA_BUNDLE_KEY = "ca-bundle.crt"

FINALIZER = f"{GROUP}/finalizer"
CHECKSUM = f"{GROUP}/checksum"
SPEC_HASH = f"{GROUP}/spec-hash"
DEPENDENCIES = f"{GROUP}/dependencies-checksum"
CLAIM_OWNED = f"{GROUP}/operator-owned"
MANAGED_PULL_SECRET = f"{GROUP}/managed-pull-secret"
PULLERS_BINDING = "image-registry-system-image-pullers"

DEFAULT_CLAIM = "image-registry-storage"
DEFAULT_ROUTE = "default-route"

LABELS = {"app.kubernetes.io/name": REGISTRY}
