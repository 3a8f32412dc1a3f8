# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation creates besides Config: CRDs, namespace, accounts, roles, the operator's own Deployment."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import yaml

from . import names, render
from .api import Api, ApiError
from .names import Json
from .s3 import self_signed

log = logging.getLogger("operator.bootstrap")

CRDS = Path(__file__).resolve().parent.parent / "crds"
ACCOUNTS = ("registry", "pruner", "node-ca", names.OPERATOR, names.API_SERVER)
# Roles users bind to (newer pages, Access and cleanup); resource names are those of the Image API.
ROLES = {
    "system:image-puller": ["get"],
    "system:image-pusher": ["get", "update"],
    "system:image-deleter": ["get", "delete"],
    "system:image-signature-writer": ["create"],
    "system:image-registry-catalog-reader": ["list"],
    "system:image-pruner": ["get", "list", "delete"],
}


def ensure(api: Api, obj: Json) -> Json:
    """Create an object unless it exists."""
    try:
        return api.create(obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        return api.get(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace"))


def install_crds(api: Api, timeout: float = 30.0) -> None:
    """Apply the CRDs and wait until they are served; TimeoutError after ``timeout`` seconds."""
    crds = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CRDS.glob("*.yaml"))]
    for crd in crds:
        ensure(api, crd)
    deadline = time.monotonic() + timeout
    for kind in ("Config", "ImagePruner"):
        while True:
            try:
                api.list(kind)
                break
            except ApiError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{kind} is not served {timeout:.0f} s after its CRD was applied") from error
                time.sleep(0.1)


def install(api: Api) -> None:
    """Create everything the operator and the Pods it renders rely on. Existing objects stay as they are."""
    install_crds(api)
    ensure(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names.NAMESPACE}})
    for name in ACCOUNTS:
        ensure(api, _account(name))
    for name, verbs in ROLES.items():
        ensure(api, _role(name, verbs))
    ensure(api, _operator_role())
    ensure(api, _operator_binding())
    if api.find("Secret", names.TLS_SECRET, names.NAMESPACE) is None:
        ensure(api, _tls_secret())
    ensure(api, render.plain_deployment(names.OPERATOR))


def _account(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": names.NAMESPACE},
    }


def _role(name: str, verbs: list[str]) -> Json:
    rule = {"apiGroups": ["image.alauda.io"], "resources": ["imagestreams", "imagestreams/layers"], "verbs": verbs}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [rule],
    }


def _operator_role() -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": names.OPERATOR},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }


def _operator_binding() -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": names.OPERATOR},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names.OPERATOR},
        "subjects": [{"kind": "ServiceAccount", "name": names.OPERATOR, "namespace": names.NAMESPACE}],
    }


def _tls_secret() -> Json:
    host = names.SERVICE_HOST.partition(":")[0]
    certificate, key = self_signed(host, (host, f"{host}.cluster.local", names.REGISTRY, "localhost"))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.TLS_SECRET, "namespace": names.NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }
