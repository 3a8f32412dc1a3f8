# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator renders: Config becomes a Deployment, ImagePruner becomes a CronJob. Pure.

Only what the operator is known to render, and what a task speaks about, is compared (operator facts 4.13 to 4.16, 5.1
to 5.3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.deployment import (
    container,
    environment,
    pod_spec,
    volume,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.merge_patch import names
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    JSON,
    mapping_at,
    mappings_at,
    number_at,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.owners import owned_fields
from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.values import (
    format_duration,
    parse_duration,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.fields import canonical, diff

# -- Config becomes a Deployment ---------------------------------------------------------------------------------------

STORAGE_VOLUME = "registry-storage"

_DRIVERS: Mapping[str, tuple[str, ...]] = {
    "emptyDir": ("filesystem",),
    "pvc": ("filesystem",),
    "s3": ("s3",),
    "swift": ("swift",),
    "gcs": ("gcs",),
    "ibmcos": ("s3", "ibmcos"),  # IBM's object storage is reached through the S3 driver
    "azure": ("azure",),
}
_S3_VARIABLES = {"bucket": "BUCKET", "region": "REGION", "regionEndpoint": "REGIONENDPOINT"}
_DEFAULT_HEALTH_INTERVAL = 10.0
"""Seconds between the registry's checks of its storage when the Deployment does not say."""


@dataclass(frozen=True)
class ExpectedDeployment:
    """What the Deployment must have. None: not compared, since the task does not speak about it.

    drivers: values that REGISTRY_STORAGE may have. volume: source of the volume with the images, empty for no volume.
    environment: for each variable the values it may have; None among them means that it may be absent.
    """

    replicas: int
    strategy: str
    drivers: tuple[str, ...] | None = None
    volume: JSON | None = None
    environment: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    resources: JSON | None = None
    node_selector: JSON | None = None
    tolerations: tuple[JSON, ...] | None = None


def expected_deployment(spec: JSON, owned: JSON, backend: str | None) -> ExpectedDeployment:
    """What the operator renders from ``spec``.

    owned: the fields of the spec that the task speaks about. backend: key in spec.storage, None when storage does not
    matter.
    """
    settings = mapping_at(spec, "storage", backend) if backend is not None else {}
    return ExpectedDeployment(
        replicas=number_at(spec, "replicas"),
        strategy=str(spec.get("rolloutStrategy") or "RollingUpdate"),
        drivers=None if backend is None else _DRIVERS.get(backend),
        volume=None if backend is None else _storage_volume(backend, settings),
        environment={**(_s3_environment(settings) if backend == "s3" else {}), **_environment(spec, owned)},
        resources=_named_mapping(spec, owned, "resources"),
        node_selector=_named_mapping(spec, owned, "nodeSelector"),
        tolerations=None if owned.get("tolerations") is None else tuple(mappings_at(spec, "tolerations")),
    )


def _named_mapping(spec: JSON, owned: JSON, name: str) -> JSON | None:
    return None if owned.get(name) is None else mapping_at(spec, name)


def _storage_volume(backend: str, settings: JSON) -> JSON:
    if backend == "pvc":
        return {"persistentVolumeClaim": {"claimName": settings.get("claim")}}
    return {"emptyDir": {}} if backend == "emptyDir" else {}


def _s3_environment(settings: JSON) -> dict[str, tuple[str | None, ...]]:
    values = {name: str(settings.get(setting) or "") for setting, name in _S3_VARIABLES.items()}
    variables: dict[str, tuple[str | None, ...]] = {
        name: (value,) if value else ("", None) for name, value in values.items()
    }
    # Names that not every release has: compared where they are there.
    variables["ENCRYPT"] = ("true" if settings.get("encrypt") else "false", None)
    variables["FORCEPATHSTYLE"] = ("false" if settings.get("virtualHostedStyle") else "true", None)
    return {f"REGISTRY_STORAGE_S3_{name}": allowed for name, allowed in variables.items()}


def _environment(spec: JSON, owned: JSON) -> dict[str, tuple[str | None, ...]]:
    variables: dict[str, tuple[str | None, ...]] = {}
    if "disableRedirect" in owned:
        variables["REGISTRY_STORAGE_REDIRECT_DISABLE"] = ("true" if spec.get("disableRedirect") else None,)
    if "readOnly" in owned:
        variables["REGISTRY_STORAGE_MAINTENANCE_READONLY"] = ("{enabled: true}" if spec.get("readOnly") else None,)
    if "requests" in owned:
        for kind in ("read", "write"):
            for name, value in _request_limits(kind, mapping_at(spec, "requests", kind)).items():
                variables[f"REGISTRY_OPENSHIFT_REQUESTS_{kind.upper()}_{name}"] = (value,)
    return variables


def _request_limits(kind: str, limits: JSON) -> dict[str, str | None]:
    """All three variables, or none: a lone maxWaitInQueue has no effect."""
    running, queued = number_at(limits, "maxRunning"), number_at(limits, "maxInQueue")
    if not (running or queued):
        return dict.fromkeys(("MAXRUNNING", "MAXINQUEUE", "MAXWAITINQUEUE"))
    waits = canonical(("requests", kind, "maxWaitInQueue"), limits.get("maxWaitInQueue"), strict=False)
    return {
        "MAXRUNNING": str(running),
        "MAXINQUEUE": str(queued),
        "MAXWAITINQUEUE": format_duration(waits if isinstance(waits, int) else 0),
    }


def storage_location(spec: JSON, backend: str) -> str:
    """Where a backend keeps the images, in short: ``pvc/image-registry``, ``s3/images``, ``emptyDir``."""
    settings = mapping_at(spec, "storage", backend)
    name = next((settings[key] for key in ("claim", "bucket", "container") if settings.get(key)), "")
    return f"{backend}/{name}" if name else backend


_PLACES = (("S3", "BUCKET"), ("SWIFT", "CONTAINER"), ("GCS", "BUCKET"), ("AZURE", "CONTAINER"))
"""Driver and the last part of the variable with the place of the images."""


def place_of_images(workload: JSON, name: str) -> str:
    """Where a Deployment or its Pods keep the images, in the words of storage_location; "" when it does not show.

    workload: a Deployment, or a Pod as the template of one. name: of the registry's container.
    """
    variables, mounted = environment(workload, name), volume(workload, STORAGE_VOLUME)
    driver = variables.get("REGISTRY_STORAGE")
    if driver == "filesystem":
        claim = mapping_at(mounted, "persistentVolumeClaim").get("claimName")
        return f"pvc/{claim}" if claim else "emptyDir" if "emptyDir" in mounted else ""
    places = (variables.get(f"REGISTRY_STORAGE_{kind}_{field}") for kind, field in _PLACES if kind.lower() == driver)
    return next((f"{driver}/{place}" for place in places if place), driver or "")


def deployment_difference(expected: ExpectedDeployment, deployment: JSON, name: str) -> str:
    """What in the Deployment is not as expected, as a short phrase; empty when nothing is.

    name: of the registry's container. A field that a reduced object does not have is not held against it.
    """
    return next(_deployment_differences(expected, deployment, name), "")


def _deployment_differences(expected: ExpectedDeployment, deployment: JSON, name: str) -> Iterator[str]:
    template, registry = pod_spec(deployment), container(deployment, name)
    variables = environment(deployment, name)
    replicas = number_at(deployment, "spec", "replicas")
    if replicas != expected.replicas:
        yield f"replicas {replicas} instead of {expected.replicas}"
    strategy = str(mapping_at(deployment, "spec", "strategy").get("type") or "RollingUpdate")
    if strategy != expected.strategy:
        yield f"strategy {strategy}"
    if expected.drivers is not None and variables.get("REGISTRY_STORAGE") not in expected.drivers:
        yield f"storage driver {variables.get('REGISTRY_STORAGE') or 'not set'}"
    if expected.volume is not None:
        yield from _volume_difference(expected.volume, volume(deployment, STORAGE_VOLUME))
    for variable, allowed in expected.environment.items():
        absent = variable not in variables
        value = variables.get(variable)
        if (None if absent else value) not in allowed or (value is None and not absent):
            yield f"environment {variable}"
    if expected.resources is not None and "resources" in registry:
        compute = {key: value for key, value in mapping_at(registry, "resources").items() if key != "claims"}
        if _meaning_of_resources(expected.resources) != _meaning_of_resources(compute):
            yield "resources"
    if expected.node_selector is not None and "nodeSelector" in template:
        labels = mapping_at(template, "nodeSelector")
        if any(labels.get(key) != value for key, value in expected.node_selector.items()):
            yield "node selector"
    if expected.tolerations is not None and "tolerations" in template:
        present = mappings_at(template, "tolerations")
        if any(toleration not in present for toleration in expected.tolerations):
            yield "tolerations"


def _meaning_of_resources(resources: JSON) -> object:
    """Resources in a form that can be compared. Neither side is ours: what cannot be read is compared as written."""
    return canonical(("resources",), resources, strict=False)


def _volume_difference(expected: JSON, mounted: JSON) -> Iterator[str]:
    if "persistentVolumeClaim" in expected:
        claim = mapping_at(mounted, "persistentVolumeClaim").get("claimName")
        if claim != mapping_at(expected, "persistentVolumeClaim").get("claimName"):
            yield f"volume {claim or 'without a claim'}"
    elif "emptyDir" in expected:
        if "emptyDir" not in mounted:
            yield "volume without emptyDir"
    elif mounted:
        yield "volume of the storage before"


def health_interval(deployment: JSON, name: str) -> float:
    """Seconds between the registry's checks of its storage. name: of its container."""
    try:
        return parse_duration(environment(deployment, name).get("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL")) / 1e9
    except ValueError:
        return _DEFAULT_HEALTH_INTERVAL


def serves_https(deployment: JSON, name: str) -> bool:
    """Whether the registry speaks HTTPS. name: of its container."""
    return "REGISTRY_HTTP_TLS_CERTIFICATE" in environment(deployment, name)


# -- ImagePruner becomes a CronJob -------------------------------------------------------------------------------------

DEFAULT_SCHEDULE = "0 0 * * *"
"""What the operator renders for an empty schedule (operator fact 5.1)."""
_PRUNING_LOG_LEVELS = {"Debug": 4, "Trace": 6, "TraceAll": 8}
"""Operator fact 5.2."""
_LEFT_TO_THE_OPERATOR = frozenset({"image", "imagePullPolicy", "imagePullSecrets"})
"""Fields of the CronJob that a site may set by hand without changing what is pruned: where the image comes from."""


@dataclass(frozen=True)
class ExpectedCronJob:
    """What the CronJob must have.

    arguments: those of the pruning command that say what to keep. where_given: for further flags of it the values that
    each may have. placement: nodeSelector and affinity.
    placement, resources and tolerations are empty when the spec does not have them.
    """

    schedule: str
    suspend: bool
    successful_jobs: int
    failed_jobs: int
    arguments: tuple[str, ...]
    where_given: Mapping[str, tuple[str, ...]]
    placement: JSON
    resources: JSON
    tolerations: tuple[JSON, ...]


def expected_cronjob(spec: JSON) -> ExpectedCronJob:
    """What the operator renders from the spec of ImagePruner (operator facts 5.1 to 5.3)."""
    ignore = "true" if spec.get("ignoreInvalidImageReferences") else "false"
    return ExpectedCronJob(
        schedule=str(spec.get("schedule") or DEFAULT_SCHEDULE),
        suspend=bool(spec.get("suspend")),
        successful_jobs=_number_or(spec.get("successfulJobsHistoryLimit"), 3),
        failed_jobs=_number_or(spec.get("failedJobsHistoryLimit"), 3),
        arguments=(
            f"--keep-tag-revisions={_number_or(spec.get('keepTagRevisions'), 3)}",
            f"--keep-younger-than={_kept_age(spec)}",
            f"--ignore-invalid-refs={ignore}",
        ),
        where_given={
            "--loglevel": (str(_PRUNING_LOG_LEVELS.get(str(spec.get("logLevel")), 1)),),
            "--confirm": ("", "true"),  # without a value it is true
        },
        placement={key: spec[key] for key in ("nodeSelector", "affinity") if spec.get(key)},
        resources=mapping_at(spec, "resources"),
        tolerations=tuple(mappings_at(spec, "tolerations")),
    )


def _kept_age(spec: JSON) -> str:
    duration, nanoseconds = spec.get("keepYoungerThanDuration"), spec.get("keepYoungerThan")
    if duration is not None:
        try:
            return format_duration(parse_duration(duration))
        except ValueError:
            return str(duration)  # the API takes more than Go does, "1 day" for instance
    return "60m" if nanoseconds is None else format_duration(int(nanoseconds))


def _number_or(value: Any, default: int) -> int:
    return default if value is None else int(value)


def cronjob_difference(expected: ExpectedCronJob, cronjob: JSON) -> str:
    """What in the CronJob is not as expected, as a short phrase; empty when nothing is."""
    return next(_cronjob_differences(expected, cronjob), "")


def _cronjob_differences(expected: ExpectedCronJob, cronjob: JSON) -> Iterator[str]:
    shape = mapping_at(cronjob, "spec")
    if shape.get("schedule") != expected.schedule:
        yield f"schedule {shape.get('schedule')!r} instead of {expected.schedule!r}"
    if bool(shape.get("suspend")) != expected.suspend:
        yield f"suspend {bool(shape.get('suspend'))} instead of {expected.suspend}"
    for limit, default, wanted in (
        ("successfulJobsHistoryLimit", 3, expected.successful_jobs),
        ("failedJobsHistoryLimit", 1, expected.failed_jobs),
    ):
        if _number_or(shape.get(limit), default) != wanted:
            yield f"{limit} {shape.get(limit)} instead of {wanted}"
    job = mapping_at(shape, "jobTemplate", "spec")
    if job.get("suspend"):
        yield "Jobs that are created suspended"
    if job.get("parallelism") == 0:
        yield "Jobs with parallelism 0"
    pod = mapping_at(job, "template", "spec")
    containers = mappings_at(pod, "containers")
    arguments = [str(text) for entry in containers for text in entry.get("args") or ()]
    yield from _argument_differences(expected, arguments)
    changed = names(diff(expected.placement, pod))
    if any(toleration not in mappings_at(pod, "tolerations") for toleration in expected.tolerations):
        changed.append("tolerations")
    limited = [entry for entry in containers if "resources" in entry]  # the API server always shows it
    resources = _meaning_of_resources(expected.resources)
    if (
        resources
        and limited
        and all(_meaning_of_resources(mapping_at(entry, "resources")) != resources for entry in limited)
    ):
        changed.append("resources")
    if changed:
        yield f"other values of {', '.join(changed)}"


def _argument_differences(expected: ExpectedCronJob, arguments: list[str]) -> Iterator[str]:
    """Of a flag that is given twice the last one counts, so each of ours must be there once."""
    missing = [text for text in expected.arguments if text not in arguments]
    if missing:
        yield f"arguments without {', '.join(missing)}"
    allowed: dict[str, tuple[str, ...]] = {
        flag: (value,) for flag, _equals, value in (text.partition("=") for text in expected.arguments)
    }
    allowed.update(expected.where_given)
    met = set()
    for text in arguments:
        flag, _equals, value = text.partition("=")
        if flag in allowed and (flag in met or value not in allowed[flag]):
            yield f"the argument {text}"
        met.add(flag)


def cronjob_edits(expected: ExpectedCronJob, cronjob: JSON, operators: Collection[str]) -> dict[str, list[str]]:
    """By whom (field manager), which fields of the CronJob's spec were written that only the operator renders.

    operators: the field managers that are the operator. Without the operator among the writers of the spec nothing is
    concluded: it may write it under another name. What ``cronjob_difference`` compares whole is left out.
    """
    owned = owned_fields(cronjob, "spec")
    if not any(manager in operators for manager in owned):
        return {}
    compared = {"nodeSelector", "affinity"} & set(expected.placement) | ({"resources"} if expected.resources else set())
    edits = {
        manager: sorted({_short_path(path) for path in paths if not _is_compared(path, compared)})
        for manager, paths in owned.items()
        if manager not in operators
    }
    return {manager: fields for manager, fields in edits.items() if fields}


def _is_compared(path: tuple[str, ...], compared: Collection[str]) -> bool:
    if path[:1] != ("jobTemplate",):
        return path[0] in ("schedule", "suspend", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    return not _LEFT_TO_THE_OPERATOR.isdisjoint(path) or not set(compared).isdisjoint(path) or "metadata" in path


def _short_path(path: tuple[str, ...]) -> str:
    """The path without what leads to the Job's Pod or its container."""
    inner = [name for name in path if name not in ("jobTemplate", "template", "spec", "containers", "metadata")]
    return ".".join(inner) or path[-1]
