# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects the operator renders from Config and ImagePruner (operator facts 4.13 to 4.17, 5.1 to 5.3).

Pure: no input but arguments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import names
from .conditions import ApplyError
from .golang import format_duration, parse_duration
from .names import Json

IMAGE = "registry.alauda.example/acp/image-registry:v2"
TOOLS_IMAGE = "registry.alauda.example/acp/ac-cli:v2"
# The script retries, because its Job is never retried (backoffLimit 0).
PRUNE_SCRIPT = """for i in 1 2 3 4 5; do "$@" && exit 0; sleep $((i * 30)); done; exit 1"""


@dataclass
class StorageParts:
    """What a storage driver contributes to the Pod: env pairs, volumes, mounts."""

    env: list[tuple[str, str]] = field(default_factory=list)
    volumes: list[Json] = field(default_factory=list)
    mounts: list[Json] = field(default_factory=list)


def checksum(value: object) -> str:
    """Digest of any JSON value, the form of the operator's checksum annotations."""
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def dependencies(volumes: list[Json], find: Callable[[str, str], Json | None]) -> str:
    """Digest of all Secrets and ConfigMaps that these volumes of a Pod read. find: an object by kind and name."""
    found: Json = {}
    for volume in volumes:
        wanted = [("Secret", (volume.get("secret") or {}).get("secretName"))]
        wanted.append(("ConfigMap", (volume.get("configMap") or {}).get("name")))
        for source in (volume.get("projected") or {}).get("sources", []):
            wanted.append(("Secret", (source.get("secret") or {}).get("name")))
        for kind, name in wanted:
            obj = find(kind, name) if name else None
            if obj is not None:
                found[f"{kind}/{name}"] = obj.get("data")
    return checksum(found)


def log_level(spec: Json) -> str:
    """Log level of the registry process."""
    if spec.get("logLevel") in ("Debug", "Trace", "TraceAll"):
        return "debug"
    return {0: "info", 1: "warn", 2: "info", 3: "info"}.get(spec.get("logging") or 0, "debug")


def request_env(spec: Json) -> list[tuple[str, str]]:
    """Limits of parallel requests; ApplyError for a negative number. A lone maxWaitInQueue has no effect."""
    env = []
    for direction in ("read", "write"):
        limits = spec["requests"][direction]
        running, queued = limits.get("maxRunning", 0), limits.get("maxInQueue", 0)
        if not running and not queued:
            continue
        for name, value in (("MaxRunning", running), ("MaxInQueue", queued)):
            if value < 0:
                raise ApplyError(f"Requests.{direction.capitalize()}.{name} must be positive number")
        prefix = f"REGISTRY_OPENSHIFT_REQUESTS_{direction.upper()}_"
        env += [
            (prefix + "MAXRUNNING", str(running)),
            (prefix + "MAXINQUEUE", str(queued)),
            (prefix + "MAXWAITINQUEUE", limits["maxWaitInQueue"]),
        ]
    return env


def registry_env(spec: Json, storage: StorageParts) -> list[Json]:
    """The environment of container ``registry`` for a typed Config spec."""
    env = [
        *storage.env,
        ("REGISTRY_HTTP_ADDR", f":{names.PORT}"),
        ("REGISTRY_HTTP_NET", "tcp"),
        ("REGISTRY_HTTP_SECRET", spec.get("httpSecret", "")),
        ("REGISTRY_LOG_LEVEL", log_level(spec)),
        ("REGISTRY_OPENSHIFT_QUOTA_ENABLED", "true"),
        ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true"),
        ("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "10s"),
        ("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "1"),
        ("REGISTRY_OPENSHIFT_METRICS_ENABLED", "true"),
        ("REGISTRY_OPENSHIFT_SERVER_ADDR", names.SERVICE_HOST),
    ]
    if spec.get("readOnly"):
        env.append(("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"))
    if spec.get("disableRedirect"):
        env.append(("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"))
    for key, variable in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"), ("noProxy", "NO_PROXY")):
        if spec["proxy"].get(key):
            env.append((variable, spec["proxy"][key]))
    env += request_env(spec)
    env += [
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt"),
        ("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key"),
    ]
    return [{"name": name, "value": value} for name, value in env]


def _probe(initial_delay: int) -> Json:
    return {
        "httpGet": {"scheme": "HTTPS", "path": "/healthz", "port": names.PORT},
        "initialDelaySeconds": initial_delay,
        "timeoutSeconds": 5,
        "periodSeconds": 10,
    }


def _config_map_volume(name: str, config_map: str, items: list[Json] | None = None, optional: bool = False) -> Json:
    source: Json = {"name": config_map}
    if items:
        source["items"] = items
    if optional:
        source["optional"] = True
    return {"name": name, "configMap": source}


def registry_volumes(storage: StorageParts) -> tuple[list[Json], list[Json]]:
    """Volumes and mounts of the registry Pod."""
    volumes = [
        *storage.volumes,
        {"name": "registry-tls", "projected": {"sources": [{"secret": {"name": names.TLS_SECRET}}]}},
        {"name": "ca-trust-extracted", "emptyDir": {}},
        _config_map_volume("registry-certificates", names.CERTIFICATES),
        _config_map_volume(
            "trusted-ca",
            names.TRUSTED_CA,
            [{"key": names.CA_BUNDLE_KEY, "path": "anchors/ca-bundle.crt"}],
            optional=True,
        ),
        {
            "name": names.PULL_SECRET_INSTALLATION,
            "secret": {
                "secretName": names.PULL_SECRET_INSTALLATION,
                "optional": True,
                "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
            },
        },
        {
            "name": "bound-sa-token",
            "projected": {"sources": [{"serviceAccountToken": {"audience": "alauda", "path": "token"}}]},
        },
    ]
    mounts = [
        *storage.mounts,
        {"name": "registry-tls", "mountPath": "/etc/secrets"},
        {"name": "ca-trust-extracted", "mountPath": "/etc/pki/ca-trust/extracted"},
        {"name": "registry-certificates", "mountPath": "/etc/pki/ca-trust/source/anchors"},
        {"name": "trusted-ca", "mountPath": "/usr/share/pki/ca-trust-source"},
        {"name": names.PULL_SECRET_INSTALLATION, "mountPath": "/var/lib/kubelet/"},
        {"name": "bound-sa-token", "mountPath": "/var/run/secrets/alauda/serviceaccount", "readOnly": True},
    ]
    return volumes, mounts


def strategy(spec: Json) -> Json:
    """Deployment strategy; RollingUpdate with 0 replicas gives maxUnavailable -1, which the API server refuses."""
    if spec.get("rolloutStrategy") == "Recreate":
        return {"type": "Recreate"}
    replicas = spec["replicas"]
    rolling: Json = {"maxUnavailable": replicas - 1, "maxSurge": "25%"}
    if replicas == 2:
        rolling = {"maxUnavailable": 1, "maxSurge": 1}
    return {"type": "RollingUpdate", "rollingUpdate": rolling}


def _spread(zones: bool) -> list[Json]:
    keys = ["kubernetes.io/hostname", "node-role.kubernetes.io/worker"]
    if zones:
        keys.append("topology.kubernetes.io/zone")
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": names.LABELS},
        }
        for key in keys
    ]


_ANTI_AFFINITY: Json = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "namespaces": [names.NAMESPACE],
                "labelSelector": {"matchLabels": names.LABELS},
            }
        ]
    }
}


def registry_deployment(spec: Json, storage: StorageParts, dependencies: str, zones: bool, deadline: int) -> Json:
    """Deployment ``image-registry`` for a typed Config spec.

    :param dependencies: digest of the Secrets and ConfigMaps the Pod reads; a change of it rolls the Pods.
    :param zones: whether any Node carries a zone label.
    :param deadline: progress deadline in seconds.
    """
    volumes, mounts = registry_volumes(storage)
    spread: list[Json] = [] if spec.get("nodeSelector") else _spread(zones)
    if spec.get("topologySpreadConstraints"):
        spread = spec["topologySpreadConstraints"]
    affinity = spec.get("affinity")
    if affinity is None and spec["replicas"] == 2:
        affinity = _ANTI_AFFINITY
    pod: Json = {
        "serviceAccountName": "registry",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 55,
        "nodeSelector": {**spec.get("nodeSelector", {}), "kubernetes.io/os": "linux"},
        "containers": [
            {
                "name": "registry",
                "image": IMAGE,
                "command": [
                    "/bin/sh",
                    "-c",
                    "update-ca-trust extract && exec /usr/bin/dockerregistry",
                ],
                "ports": [{"containerPort": names.PORT, "protocol": "TCP"}],
                "env": registry_env(spec, storage),
                "volumeMounts": mounts,
                "livenessProbe": _probe(5),
                "readinessProbe": _probe(15),
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", "25"]}}},
                "resources": spec.get("resources", {"requests": {"cpu": "100m", "memory": "256Mi"}}),
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
        "volumes": volumes,
    }
    if spread:
        pod["topologySpreadConstraints"] = spread
    if affinity is not None:
        pod["affinity"] = affinity
    if spec.get("tolerations"):
        pod["tolerations"] = spec["tolerations"]
    body: Json = {
        "replicas": spec["replicas"],
        "progressDeadlineSeconds": deadline,
        "selector": {"matchLabels": names.LABELS},
        "strategy": strategy(spec),
        "template": {
            "metadata": {"labels": names.LABELS, "annotations": {names.DEPENDENCIES: dependencies}},
            "spec": pod,
        },
    }
    return _deployment(names.REGISTRY, names.LABELS, body)


def plain_deployment(name: str, replicas: int = 1) -> Json:
    """A Deployment whose Pod only has to exist: the operator's own and the image API server's."""
    labels = {"app.kubernetes.io/name": name}
    body: Json = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": name,
                "containers": [
                    {
                        "name": name,
                        "image": f"registry.alauda.example/acp/{name}:v2",
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                    }
                ],
            },
        },
    }
    return _deployment(name, labels, body)


def _deployment(name: str, labels: dict[str, str], spec: Json) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": names.NAMESPACE,
            "labels": labels,
            "annotations": {names.SPEC_HASH: checksum(spec)},
        },
        "spec": spec,
    }


def service() -> Json:
    """Service ``image-registry``."""
    return _checked(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": names.REGISTRY, "namespace": names.NAMESPACE, "labels": names.LABELS},
            "spec": {
                "selector": names.LABELS,
                "ports": [{"name": "5000-tcp", "port": names.PORT, "protocol": "TCP", "targetPort": names.PORT}],
            },
        }
    )


def disruption_budget(replicas: int) -> Json:
    """PodDisruptionBudget of the registry."""
    return _checked(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": names.REGISTRY, "namespace": names.NAMESPACE},
            "spec": {"minAvailable": 0 if replicas <= 1 else 1, "selector": {"matchLabels": names.LABELS}},
        }
    )


def ingress(name: str, host: str, secret: str) -> Json:
    """Ingress of one route; without a host the rule matches every host and none is published."""
    rule: Json = {
        "http": {
            "paths": [
                {
                    "path": "/",
                    "pathType": "Prefix",
                    "backend": {"service": {"name": names.REGISTRY, "port": {"number": names.PORT}}},
                }
            ]
        }
    }
    if host:
        rule["host"] = host
    body: Json = {"rules": [rule]}
    if secret:
        body["tls"] = [{"secretName": secret, **({"hosts": [host]} if host else {})}]
    return _checked(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": name,
                "namespace": names.NAMESPACE,
                "labels": {f"{names.GROUP}/route": "true"},
                "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"},
            },
            "spec": body,
        }
    )


def wanted_ingresses(spec: Json) -> list[Json]:
    """Ingresses for the default route and the additional routes of a typed spec."""
    result = [ingress(names.DEFAULT_ROUTE, "", "")] if spec.get("defaultRoute") else []
    for route in spec.get("routes", []):
        result.append(ingress(route["name"], route.get("hostname", ""), route.get("secretName", "")))
    return result


def ingress_problem(ingresses: list[Json]) -> str:
    """Why the first unreachable Ingress is unreachable, empty when all are fine (operator fact 0.5)."""
    for item in ingresses:
        rules = item["spec"].get("rules") or [{}]
        published = (item.get("status", {}).get("loadBalancer") or {}).get("ingress")
        if rules[0].get("host", "") in ("", "*") and not published:
            return f"ingress {item['metadata']['name']} has no host and no published load balancer address"
    return ""


def generated_secret(data: Mapping[str, str]) -> Json:
    """Secret that the registry Pod reads; ``data`` is plain text."""
    return _checked(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": names.GENERATED_SECRET, "namespace": names.NAMESPACE},
            "type": "Opaque",
            "stringData": dict(data),
        }
    )


def _checked(obj: Json) -> Json:
    """Add the checksum annotation: such objects are rewritten only when the rendering changes (operator fact 3.4.3)."""
    obj["metadata"].setdefault("annotations", {})[names.CHECKSUM] = checksum(obj)
    return obj


def keep_younger_than(spec: Json) -> str:
    """Value of --keep-younger-than: the duration wins over nanoseconds, neither gives the literal 60m."""
    if spec.get("keepYoungerThanDuration") is not None:
        return format_duration(parse_duration(spec["keepYoungerThanDuration"]))
    if spec.get("keepYoungerThan") is not None:
        return format_duration(spec["keepYoungerThan"])
    return "60m"


def pruner_cronjob(spec: Json, prune_registry: bool) -> Json:
    """CronJob ``image-pruner`` for an ImagePruner spec.

    :param prune_registry: while the registry's Service exists (operator fact 0.6).
    """
    level = {"Debug": 4, "Trace": 6, "TraceAll": 8}.get(spec.get("logLevel", ""), 1)
    revisions = spec.get("keepTagRevisions")
    args = [
        "ac",
        "adm",
        "prune",
        "images",
        "--confirm=true",
        "--certificate-authority=/var/run/configmaps/serviceca/service-ca.crt",
        f"--keep-tag-revisions={3 if revisions is None else revisions}",
        f"--keep-younger-than={keep_younger_than(spec)}",
        f"--ignore-invalid-refs={'true' if spec.get('ignoreInvalidImageReferences') else 'false'}",
        f"--loglevel={level}",
    ]
    if prune_registry:
        args += ["--prune-registry=true", f"--registry-url=https://{names.SERVICE_HOST}"]
    else:
        args.append("--prune-registry=false")
    pod: Json = {
        "restartPolicy": "Never",
        "serviceAccountName": "pruner",
        "priorityClassName": "system-cluster-critical",
        "containers": [
            {
                "name": names.CRONJOB,
                "image": TOOLS_IMAGE,
                "command": ["/bin/sh"],
                "args": ["-c", PRUNE_SCRIPT, "arg0", *args],
                "resources": spec.get("resources") or {"requests": {"cpu": "100m", "memory": "256Mi"}},
                "volumeMounts": [{"name": "serviceca", "mountPath": "/var/run/configmaps/serviceca", "readOnly": True}],
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [_config_map_volume("serviceca", "serviceca", optional=True)],
    }
    for key in ("affinity", "nodeSelector", "tolerations"):
        if spec.get(key):
            pod[key] = spec[key]
    successful, failed = spec.get("successfulJobsHistoryLimit"), spec.get("failedJobsHistoryLimit")
    return _checked(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": names.CRONJOB, "namespace": names.NAMESPACE},
            "spec": {
                "schedule": spec.get("schedule") or "0 0 * * *",
                "suspend": bool(spec.get("suspend")),
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 3600,
                "successfulJobsHistoryLimit": 3 if successful is None else successful,
                "failedJobsHistoryLimit": 3 if failed is None else failed,
                "jobTemplate": {
                    "metadata": {"labels": {"created-by": names.CRONJOB}},
                    "spec": {"backoffLimit": 0, "template": {"spec": pod}},
                },
            },
        }
    )
