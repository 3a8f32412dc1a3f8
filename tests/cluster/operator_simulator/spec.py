# SPDX-License-Identifier: GPL-3.0-or-later
"""The typed view of ``Config.spec``: what remains of a user's JSON after Go decoded and encoded it.

Operator facts 2.1 and 2.2: the operator compares typed copies, so two spellings of the same value are equal to it;
when it does write, the whole spec comes back in this form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .golang import canonical_duration, canonical_quantity
from .names import Json

# Drivers in the order the operator collects them (operator fact 4.1); `oss` has no driver.
BACKENDS = {
    "emptyDir": "EmptyDir",
    "s3": "S3",
    "swift": "Swift",
    "gcs": "GCS",
    "ibmcos": "IBMCOS",
    "pvc": "PVC",
    "azure": "Azure",
}

_DROP_WHEN_ZERO = (
    "httpSecret",
    "logLevel",
    "operatorLogLevel",
    "readOnly",
    "disableRedirect",
    "defaultRoute",
    "logging",
    "nodeSelector",
    "rolloutStrategy",
)


def typed_spec(spec: Json) -> Json:
    """The canonical form of a Config spec; never changes its argument."""
    result: Json = {
        "managementState": spec.get("managementState") or "",
        "observedConfig": spec.get("observedConfig"),
        "unsupportedConfigOverrides": spec.get("unsupportedConfigOverrides"),
        "replicas": spec.get("replicas") or 0,
        "proxy": _nonzero(spec.get("proxy") or {}),
        "storage": typed_storage(spec.get("storage") or {}),
        "requests": {
            direction: _request_limits((spec.get("requests") or {}).get(direction) or {})
            for direction in ("read", "write")
        },
    }
    if not result["managementState"]:
        # An empty string would not pass the CRD's pattern; without a state the operator writes nothing anyway.
        del result["managementState"]
    result.update({key: spec[key] for key in _DROP_WHEN_ZERO if spec.get(key)})
    if spec.get("resources") is not None:
        result["resources"] = typed_resources(spec["resources"])
    if spec.get("routes"):
        result["routes"] = [{"name": "", **_nonzero(route)} for route in spec["routes"]]
    if spec.get("tolerations"):
        result["tolerations"] = [_nonzero(item) for item in spec["tolerations"]]
    if spec.get("topologySpreadConstraints"):
        result["topologySpreadConstraints"] = spec["topologySpreadConstraints"]
    if spec.get("affinity") is not None:
        result["affinity"] = spec["affinity"]
    if spec.get("imagePullSecret") is not None:
        result["imagePullSecret"] = _nonzero(spec["imagePullSecret"])
    return result


def typed_storage(storage: Json) -> Json:
    """The canonical form of a storage section, of spec or status."""
    result: Json = {}
    for name, section in storage.items():
        if section is None or name == "managementState":
            continue
        special = _SECTIONS.get(name)
        result[name] = special(section) if special else _nonzero(section)
    if storage.get("managementState"):
        result["managementState"] = storage["managementState"]
    return result


def typed_resources(resources: Json) -> Json:
    """Resource requirements with canonical quantities, empty parts left out."""
    result: Json = {
        part: {name: canonical_quantity(amount) for name, amount in resources[part].items()}
        for part in ("limits", "requests")
        if resources.get(part)
    }
    if resources.get("claims"):
        result["claims"] = resources["claims"]
    return result


def configured_backends(storage: Json) -> list[str]:
    """Backends present in a storage section, in the operator's order."""
    return [name for name in BACKENDS if storage.get(name) is not None]


def _typed_s3(section: Json) -> Json:
    result: Json = _nonzero({key: value for key, value in section.items() if key != "cloudFront"})
    result["virtualHostedStyle"] = bool(section.get("virtualHostedStyle"))
    result["trustedCA"] = {"name": (section.get("trustedCA") or {}).get("name") or ""}
    front = section.get("cloudFront")
    if front is not None:
        result["cloudFront"] = {**front, "duration": canonical_duration(front.get("duration") or "")}
    return result


def _request_limits(limits: Json) -> Json:
    return {
        **_nonzero({key: limits.get(key) for key in ("maxRunning", "maxInQueue")}),
        "maxWaitInQueue": canonical_duration(limits.get("maxWaitInQueue") or ""),
    }


def _nonzero(section: Json) -> Json:
    return {key: value for key, value in section.items() if value not in (None, "", 0, [], {})}


_SECTIONS: dict[str, Callable[[Json], Json]] = {"s3": _typed_s3}


def dig(value: Any, *keys: str) -> Any:
    """The value below nested keys, None when any of them is absent."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
