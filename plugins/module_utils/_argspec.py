# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications as values: the shared parts (authentication, waiting) and each module's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, dict[str, Any]]

AUTH: Spec = {
    "kubeconfig": {"type": "raw"},
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
    "client_cert": {"type": "path", "aliases": ["cert_file"]},
    "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},
    "proxy": {"type": "str"},
    "no_proxy": {"type": "str"},
    "proxy_headers": {
        "type": "dict",
        "options": {
            "proxy_basic_auth": {"type": "str", "no_log": True},
            "basic_auth": {"type": "str", "no_log": True},
            "user_agent": {"type": "str"},
        },
    },
    "persist_config": {"type": "bool"},
    "impersonate_user": {"type": "str"},
    "impersonate_groups": {"type": "list", "elements": "str"},
}

WAIT: Spec = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
}

PLATFORM: Spec = {"platform": {"type": "str", "choices": ["alauda", "openshift"], "default": "alauda"}}

_RESOURCES: dict[str, Any] = {
    "type": "dict",
    "options": {"requests": {"type": "dict"}, "limits": {"type": "dict"}},
}


def _secret(**more: Any) -> dict[str, Any]:
    return {"type": "str", "no_log": True, **more}


STORAGE: Spec = {
    "backend": {
        "type": "str",
        "required": True,
        "choices": ["emptydir", "pvc", "s3", "swift", "gcs", "ibmcos", "azure"],
    },
    "pvc": {
        "type": "dict",
        "options": {
            "claim": {"type": "str", "default": "image-registry"},
            "create": {"type": "bool", "default": False},
            "size": {"type": "str"},
            "storage_class": {"type": "str"},
            "access_modes": {
                "type": "list",
                "elements": "str",
                "choices": ["ReadWriteOnce", "ReadWriteMany"],
            },
            "expand": {"type": "bool", "default": False},
        },
    },
    "s3": {
        "type": "dict",
        "options": {
            "bucket": {"type": "str", "required": True},
            "region": {"type": "str"},
            "region_endpoint": {"type": "str"},
            "trusted_ca": {
                "type": "dict",
                "options": {"name": {"type": "str", "required": True}, "pem": {"type": "str"}},
            },
            "virtual_hosted_style": {"type": "bool"},
            "encrypt": {"type": "bool"},
            "key_id": {"type": "str", "no_log": False},
            "chunk_size_mib": {"type": "int"},
            "access_key": _secret(),
            "secret_key": _secret(),
            "credentials_secret": {"type": "str", "no_log": False},
        },
        "mutually_exclusive": [("access_key", "credentials_secret"), ("secret_key", "credentials_secret")],
        "required_together": [("access_key", "secret_key")],
    },
    "swift": {
        "type": "dict",
        "options": {
            "container": {"type": "str", "required": True},
            "auth_url": {"type": "str"},
            "auth_version": {"type": "str"},
            "domain": {"type": "str"},
            "domain_id": {"type": "str"},
            "tenant": {"type": "str"},
            "tenant_id": {"type": "str"},
            "region_name": {"type": "str"},
            "username": _secret(),
            "password": _secret(),
            "application_credential_id": _secret(),
            "application_credential_name": _secret(),
            "application_credential_secret": _secret(),
            "token_id": _secret(),
        },
        "required_together": [
            ("username", "password"),
            ("application_credential_id", "application_credential_name", "application_credential_secret"),
        ],
    },
    "gcs": {
        "type": "dict",
        "options": {
            "bucket": {"type": "str", "required": True},
            "region": {"type": "str"},
            "project_id": {"type": "str"},
            "key_id": {"type": "str", "no_log": False},
            "keyfile": _secret(),
        },
    },
    "ibmcos": {
        "type": "dict",
        "options": {
            "bucket": {"type": "str", "required": True},
            "location": {"type": "str"},
            "resource_group_name": {"type": "str"},
            "resource_key_crn": {"type": "str", "no_log": False},
            "service_instance_crn": {"type": "str"},
            "iam_api_key": _secret(),
        },
    },
    "azure": {
        "type": "dict",
        "options": {
            "account_name": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "cloud_name": {"type": "str"},
            "network_access": {
                "type": "dict",
                "options": {
                    "type": {"type": "str", "choices": ["External", "Internal"], "required": True},
                    "network_resource_group_name": {"type": "str"},
                    "vnet_name": {"type": "str"},
                    "subnet_name": {"type": "str"},
                    "private_endpoint_name": {"type": "str"},
                },
            },
            "account_key": _secret(),
        },
    },
    "management_state": {"type": "str", "choices": ["Managed", "Unmanaged"], "default": "Managed"},
    "storage_management_state": {"type": "str", "choices": ["Managed", "Unmanaged"]},
    "replicas": {"type": "int"},
    "resources": _RESOURCES,
    "rollout_strategy": {"type": "str", "choices": ["RollingUpdate", "Recreate"]},
    "disable_redirect": {"type": "bool"},
    "on_backend_change": {"type": "str", "choices": ["fail", "allow"], "default": "fail"},
    "probe": {"type": "str", "choices": ["auto", "require", "write", "skip"], "default": "auto"},
}

STORAGE_REQUIRED_IF: Sequence[tuple[str, str, tuple[str, ...]]] = [
    ("backend", "s3", ("s3",)),
    ("backend", "swift", ("swift",)),
    ("backend", "gcs", ("gcs",)),
    ("backend", "ibmcos", ("ibmcos",)),
    ("backend", "azure", ("azure",)),
]


PULLSECRET: Spec = {
    "management_state": {"type": "str", "choices": ["Managed", "Unmanaged", "Removed"]},
    "additional_registry_hosts": {"type": "list", "elements": "str"},
    "ignored_namespaces": {"type": "list", "elements": "str"},
    "ignore_system_namespaces": {"type": "bool"},
    "list_mode": {"type": "str", "choices": ["replace", "merge", "remove"], "default": "replace"},
    "verify_namespaces": {"type": "list", "elements": "str"},
    "verify_namespace_selector": {"type": "str"},
    "verify_service_accounts": {"type": "list", "elements": "str", "default": ["default"]},
}

PRUNER: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "schedule": {"type": "str"},
    "suspend": {"type": "bool"},
    "keep_tag_revisions": {"type": "int"},
    "keep_younger_than": {"type": "str"},
    "resources": _RESOURCES,
    "successful_jobs_history_limit": {"type": "int"},
    "failed_jobs_history_limit": {"type": "int"},
    "ignore_invalid_image_references": {"type": "bool"},
    "log_level": {"type": "str", "choices": ["Normal", "Debug", "Trace", "TraceAll"]},
    "node_selector": {"type": "dict"},
    "tolerations": {"type": "list", "elements": "dict"},
    "affinity": {"type": "dict"},
}

LIMITS: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespaces": {"type": "list", "elements": "str"},
    "namespace_selector": {"type": "str"},
    "quota": {
        "type": "dict",
        "options": {"imagestreams": {"type": "str"}, "images": {"type": "str"}, "image_tags": {"type": "str"}},
    },
    "image": {"type": "dict", "options": {"storage": {"type": "str"}}},
    "image_stream": {"type": "dict", "options": {"images": {"type": "str"}, "image_tags": {"type": "str"}}},
    "quota_name": {"type": "str", "default": "image-registry-quota"},
    "limits_name": {"type": "str", "default": "image-registry-limits"},
    "adopt": {"type": "bool", "default": False},
    "allow_below_usage": {"type": "bool", "default": False},
}


LIMITS_RULES: Mapping[str, Sequence[tuple[str, str]]] = {
    "mutually_exclusive": [("namespaces", "namespace_selector")],
    "required_one_of": [("namespaces", "namespace_selector")],
}

REGISTRY: Spec = {
    "registry_storage": {"type": "dict", "options": STORAGE, "required_if": STORAGE_REQUIRED_IF},
    "registry_pullsecret": {"type": "dict", "options": PULLSECRET},
    "image_limits": {"type": "list", "elements": "dict", "options": LIMITS, **LIMITS_RULES},
    "image_pruner": {"type": "dict", "options": PRUNER},
    "mode": {"type": "str", "choices": ["configure", "verify"], "default": "configure"},
    "allow_nothing": {"type": "bool", "default": False},
}
"""The page as one task: each part takes the options of its module, except those that all parts share."""


def merged(*specs: Mapping[str, dict[str, Any]]) -> Spec:
    """Several argument specs merged into one. Raises ValueError if a name occurs twice."""
    result: Spec = {}
    for spec in specs:
        clash = result.keys() & spec.keys()
        if clash:
            raise ValueError(f"options defined twice: {sorted(clash)}")
        result.update(spec)
    return result


MODULES: Mapping[str, Mapping[str, Any]] = {
    "registry": {"argument_spec": merged(AUTH, WAIT, PLATFORM, REGISTRY)},
    "registry_storage": {
        "argument_spec": merged(AUTH, WAIT, PLATFORM, STORAGE),
        "required_if": STORAGE_REQUIRED_IF,
    },
    "registry_pullsecret": {"argument_spec": merged(AUTH, WAIT, PLATFORM, PULLSECRET)},
    "image_limits": {"argument_spec": merged(AUTH, WAIT, PLATFORM, LIMITS), **LIMITS_RULES},
    "image_pruner": {"argument_spec": merged(AUTH, WAIT, PLATFORM, PRUNER)},
}
"""What each module passes to AnsibleModule."""
