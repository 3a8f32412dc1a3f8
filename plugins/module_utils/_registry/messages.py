# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator's, Kubernetes' and the registry's own words mean, and what to do about them.

Matching goes by the stable core of a text (``InvalidAccessKeyId``, ``x509:``), never by its prefix: prefixes of storage
drivers, request ids and wrapping differ between versions and products. A text nobody knows is passed through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.alauda.image_registry.plugins.module_utils._flow.model import Failed, LogFinding

# -- texts -------------------------------------------------------------------------------------------------------------

_HIDDEN = "[redacted]"
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"(?i)((?:AWSAccessKeyId|X-Amz-(?:Credential|Signature|Security-Token)|Signature|_state)(?:=|%3D))[^&\s\"'\\]+"
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (
        re.compile(r"(?i)((?:proxy-)?authorization\"?\s*[:=]\s*\"?)(?:(?:basic|bearer)\s+)?[^\"'\n\\]+"),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b((?:basic|bearer)\s+)[A-Za-z0-9+/._~-]{12,}=*"), rf"\g<1>{_HIDDEN}"),
    (re.compile(r"://[^/\s\"']+@"), f"://{_HIDDEN}@"),
    (
        re.compile(
            r"(?i)([\w.-]*(?:passw(?:or)?d|secret_?(?:access)?_?key|access_?key(?:_?id)?|account_?key|api_?key|token)"
            r"[\"']?\s*(?:=|%3D|\":)\s*)(?:\"[^\"]*\"|'[^']*'|[^\s&,;\"'}]+)"
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), _HIDDEN),
)
_CHANGING = (
    (re.compile(r"(?i)\b(?:request|host) id:? *[^,\s]*"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "#"),
    (re.compile(r"\b[0-9a-f]*[0-9][0-9a-f]{7,}\b"), "#"),
    (re.compile(r"[0-9]+"), "#"),
    (re.compile(r"[\s,]+"), " "),
)


def redact(text: str) -> str:
    """The text without credentials: signed URLs, Authorization headers, passwords in URLs, keys and tokens."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def plain(text: str) -> str:
    """The text on one line, without credentials and without the S3 service's empty or random ids at its end."""
    text = re.sub(r",? *\b(?:request|host) id:? *[^,\s]*", "", redact(text))
    return " ".join(text.split()).rstrip(" ,")


def normalise(text: str) -> str:
    """What stays of a text when it is said again about the same trouble: no request ids, digests or numbers."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text.strip()


# -- meaning -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explanation:
    """kind: a short class such as "auth" or "claim", "unknown" for a text nobody knows. cause, remedy: plain words."""

    kind: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class _Rule:
    """Named groups of ``pattern`` fill the braces in ``cause`` and ``remedy``."""

    kind: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str


def _rule(kind: str, pattern: str, cause: str, remedy: str) -> _Rule:
    return _Rule(kind, re.compile(pattern, re.IGNORECASE | re.DOTALL), cause, remedy)


_AGAIN = "then run the task again"

# Operator facts 3.1.3, 3.1.5, 4.1, 4.6, 4.8 to 4.11, 4.14, 4.17 and 5.4.
_OPERATOR_RULES: tuple[_Rule, ...] = (
    _rule(
        "backends",
        r"exactly one storage type should be configured at the same time(?:, got \d+: \[(?P<which>[^\]]*)\])?",
        "spec.storage names more than one backend at once ({which}), so the operator applies nothing.",
        "Set the unwanted backends to null in the same patch; registry_storage does that when it is told one backend.",
    ),
    _rule(
        "unconfigured",
        r"storage backend not configured|StorageNotConfigured",
        "The registry is Managed but spec.storage names no backend, and this platform has no default storage.",
        "Choose a backend (emptydir, pvc, s3, swift, gcs, ibmcos or azure) with registry_storage.",
    ),
    _rule(
        "claim",
        r"cannot use ReadWriteOnce access mode with more than one replica",
        "The claim is ReadWriteOnce, so only one replica can mount it, but more than one is asked for.",
        "Use replicas: 1, or a claim with the access mode ReadWriteMany.",
    ),
    _rule(
        "claim",
        r"cannot use ReadWriteOnce access mode with .*?rollout strategy",
        "The claim is ReadWriteOnce: during a rolling update the new Pod could not mount it while the old one runs.",
        "Use rollout_strategy: Recreate, or a claim with the access mode ReadWriteMany.",
    ),
    _rule(
        "claim",
        r"PVC (?P<name>\S+) does not contain the necessary access modes",
        "The claim {name} is neither ReadWriteMany nor ReadWriteOnce.",
        "Use a claim with the access mode ReadWriteMany, or ReadWriteOnce for one replica.",
    ),
    _rule(
        "claim",
        r"persistentvolumeclaims? \"(?P<name>[^\"]+)\" not found",
        "The claim {name} does not exist in the registry's namespace.",
        "Create the claim (pvc.create: true, or your own manifest), or correct pvc.claim; " + _AGAIN + ".",
    ),
    _rule(
        "claim",
        r"could not create default PVC, it already exists and is not owned by the operator",
        "No claim was named, and a claim with the operator's default name already exists but belongs to somebody else.",
        "Name the claim to use in pvc.claim.",
    ),
    _rule(
        "credentials",
        r"secret \"(?P<name>[^\"]+)\" does not contain required key \"(?P<key>[^\"]+)\"",
        "The Secret {name} exists but has no key {key}.",
        "Give access_key and secret_key to the task, or add the key {key} to the Secret; " + _AGAIN + ".",
    ),
    _rule(
        "credentials",
        r"unable to get cluster minted credentials",
        "There are no S3 credentials: the Secret with the user's access and secret key does not exist.",
        "Give access_key and secret_key to the task, or create the Secret; " + _AGAIN + ".",
    ),
    _rule(
        "certificate",
        r"failed to get trusted CA \"(?P<name>[^\"]+)\"",
        "The ConfigMap {name}, which should hold the CA of the S3 endpoint, cannot be read.",
        "Create the ConfigMap {name} with the key ca-bundle.crt (or give trusted_ca.pem), or drop trusted_ca.",
    ),
    _rule(
        "certificate",
        r"trusted CA config map \"(?P<name>[^\"]+)\" does not contain required key \"(?P<key>[^\"]+)\"",
        "The ConfigMap {name} has no key {key}.",
        "Put the CA certificate in PEM form under the key {key} of the ConfigMap {name}; " + _AGAIN + ".",
    ),
    _rule(
        "bucket",
        r"bucket (?P<name>\S+) exists but is owned by another account|Unable to Access Bucket",
        "The bucket exists but belongs to another account.",
        "Use a bucket of your own account, or credentials of the account that owns it.",
    ),
    _rule(
        "replicas",
        r"replicas must be greater than or equal to 0",
        "spec.replicas is negative.",
        "Set replicas to 1 or more.",
    ),
    _rule(
        "replicas",
        r"maxUnavailable.*must be|spec\.strategy\.rollingUpdate",
        "Kubernetes refuses the rolling update settings the operator derived from spec.replicas (0 replicas do that).",
        "Set replicas to 1 or more.",
    ),
    _rule(
        "routes",
        r"duplication of names has been detected in the additional routes",
        "Two routes have the same name, or one is named default-route.",
        "Give every route a name of its own.",
    ),
    _rule(
        "routes",
        r"\*v1\.(?:Route|Ingress).*?secret \"(?P<name>[^\"]+)\" not found",
        "A route names the TLS Secret {name}, which does not exist in the registry's namespace.",
        "Create the Secret {name} with tls.crt and tls.key, or correct secretName of the route.",
    ),
    _rule(
        "ingress",
        r"IngressDegraded|RouteDegraded|ingress \S+ has no host|route \S+ .*not admitted",
        "The registry's public address is not served: its Ingress or Route has no host or was not admitted.",
        "Give the route a hostname, or set up an ingress controller with an address; or switch defaultRoute off.",
    ),
    _rule(
        "requests",
        r"Requests\.(?P<kind>Read|Write)\.(?P<field>MaxRunning|MaxInQueue) must be positive",
        "requests.{kind}.{field} is negative.",
        "Set it to 0 (no limit) or more.",
    ),
    _rule(
        "schedule",
        r"CronJob.*is invalid: spec\.schedule|spec\.schedule: Invalid value",
        "The pruner's schedule is no valid cron expression; the CronJob keeps its previous schedule.",
        'Use five fields such as "0 0 * * *".',
    ),
    _rule(
        "pruner",
        r"JobFailed|reached the specified backoff limit",
        "The last pruning job failed.",
        "Read the log of the newest Pod of the CronJob image-pruner.",
    ),
    _rule(
        "rollout",
        r"timed out progressing|ProgressDeadlineExceeded",
        "The new Pods did not become ready in time.",
        "Look at the events and the log of the newest registry Pod (kubectl describe pod, kubectl logs).",
    ),
    _rule(
        "admission",
        r"exceeded quota|is forbidden: .*(?:quota|limit|violates PodSecurity|maximum|minimum)",
        "Kubernetes refuses to create the registry's Pods: a quota, limit or policy of the namespace forbids it.",
        "Raise the quota or limit of the namespace, or ask for smaller resources.",
    ),
    _rule(
        "conflict",
        r"the object has been modified|Operation cannot be fulfilled",
        "Two writers changed the same object at the same time.",
        "The operator tries again by itself; if it lasts, look for another writer of the registry's objects.",
    ),
)

# Users' reports and the drivers' own texts; the same words come from the operator, from HTTP answers and in the log.
_STORAGE_RULES: tuple[_Rule, ...] = (
    _rule(
        "auth",
        r"InvalidAccessKeyId",
        "The object storage does not know the access key.",
        "Check access_key (and that the endpoint is the right one); " + _AGAIN + ".",
    ),
    _rule(
        "auth",
        r"SignatureDoesNotMatch",
        "The secret key does not belong to the access key.",
        "Check secret_key: a trailing line break or a wrong key is the usual reason; " + _AGAIN + ".",
    ),
    _rule(
        "auth",
        r"RequestTimeTooSkewed",
        "The clocks of the cluster and of the object storage differ too much for signed requests.",
        "Synchronise the clocks of the nodes and of the object storage.",
    ),
    _rule(
        "auth",
        r"NoCredentialProviders|no valid providers in chain",
        "The registry has no credentials for the object storage.",
        "Give access_key and secret_key to the task, or create the Secret with both keys.",
    ),
    _rule("auth", r"ExpiredToken|InvalidToken", "The storage credentials have expired.", "Renew the credentials."),
    _rule(
        "bucket",
        r"NoSuchBucket|specified bucket does not exist",
        "The bucket does not exist.",
        "Create the bucket or correct its name; " + _AGAIN + ".",
    ),
    _rule("bucket", r"no bucket parameter provided", "No bucket is named.", "Set s3.bucket."),
    _rule(
        "bucket",
        r"panic: EOF|\bPut \"?https?://\S+: EOF",
        "The bucket name is not accepted.",
        "Check s3.bucket: no slash.",
    ),
    _rule(
        "region",
        r"AuthorizationHeaderMalformed|the region '[^']*' is wrong|BucketRegionError|incorrect region",
        "The region is not the bucket's region.",
        "Set s3.region to the region the storage names in its message.",
    ),
    _rule(
        "region",
        r"no region parameter provided|MissingRegion|could not find region configuration|invalid region provided",
        "The region is missing or not known to the driver.",
        "Set s3.region (us-east-1 where the storage does not care).",
    ),
    _rule(
        "certificate",
        r"x509:|signed by unknown authority|failed to verify certificate|certificate (?:has expired|is valid for)",
        "The certificate of the storage endpoint is not trusted.",
        "Give the CA of the endpoint with s3.trusted_ca, and use the host name that the certificate was issued for.",
    ),
    _rule(
        "endpoint",
        r"first record does not look like a TLS handshake|server gave HTTP response to HTTPS client",
        "The storage endpoint speaks plain HTTP, but https:// is configured.",
        "Use http:// in s3.region_endpoint, or the endpoint's HTTPS port.",
    ),
    _rule(
        "endpoint",
        r"HTTP request to an HTTPS server|malformed HTTP response",
        "The other side speaks HTTPS, but was asked in plain HTTP.",
        "Use https:// in s3.region_endpoint.",
    ),
    _rule(
        "endpoint",
        r"no such host|server misbehaving",
        "The name of the storage endpoint cannot be resolved from inside the cluster.",
        "Check s3.region_endpoint, the cluster's DNS, and virtual_hosted_style (it makes the bucket part of the name).",
    ),
    _rule(
        "endpoint",
        r"connection refused|i/o timeout|no route to host|network is unreachable|connection reset"
        r"|context deadline exceeded|Client\.Timeout|TLS handshake timeout",
        "The storage endpoint cannot be reached.",
        "Check s3.region_endpoint, firewalls and network policies between the registry's Pods and the storage; "
        + _AGAIN
        + ".",
    ),
    _rule(
        "endpoint",
        r"RequestError: send request failed",
        "The storage endpoint cannot be reached.",
        "Check the endpoint.",
    ),
    _rule(
        "full",
        r"no space left on device|DEVICE_OUT_OF_SPACE|disk quota exceeded",
        "The registry's storage is full: reading works, pushing does not.",
        "Enlarge the claim (pvc.size) or prune and run garbage collection.",
    ),
    _rule(
        "read-only",
        r"read-only file system|READ_ONLY_FILESYSTEM",
        "The registry's storage is mounted read-only: reading works, pushing does not.",
        "Check the volume and its storage backend: file systems turn read-only after errors.",
    ),
    _rule(
        "permission",
        r"permission denied|operation not permitted|mkdir /registry: file exists",
        "The registry may not write to its volume.",
        "Check owner and mode of the exported folder (NFS: root_squash) and the Pod's fsGroup.",
    ),
    _rule(
        "auth",
        r"AccessDenied|Access Denied|is not authorized to perform|403 Forbidden|^Forbidden",
        "The object storage refuses the credentials' owner this action.",
        "Allow the account to list, read, write and delete in the bucket, including multipart uploads.",
    ),
    _rule(
        "config",
        r"StorageDriver not registered|can only be used with v4 authentication|failed to create new session with aws"
        r"|cannot set both access/secret key and credentials file path|parameter should be a (?:boolean|number)",
        "The registry does not accept its storage configuration.",
        "Correct the field that the message names.",
    ),
    _rule(
        "health",
        r"health check failed|storage driver health check",
        "The registry's own check of its storage fails; it does not say why.",
        "Check the storage behind the registry: bucket, credentials, endpoint and certificate, or the volume.",
    ),
    _rule(
        "path",
        r"Path not found|invalid path",
        "The registry does not find data in its storage that should be there.",
        "Check whether the storage behind the registry was exchanged or emptied.",
    ),
    _rule(
        "upload",
        r"error (?:completing|resolving|canceling) upload|upload resumed at wrong offset|append to zero-size",
        "An upload broke off inside the storage.",
        "With several replicas, use storage that all of them share; on S3, allow multipart uploads.",
    ),
    _rule(
        "quota",
        r"refusing to write blob exceeding limit range|exceeds the maximum limit|imagestreammapping got access denied",
        "A push was refused by an image limit or quota.",
        "Raise the LimitRange or ResourceQuota of the namespace, or push smaller images.",
    ),
    _rule(
        "limit",
        r"Too many requests, please try again later",
        "Clients were turned away by the limits of parallel requests.",
        "Raise spec.requests.read or spec.requests.write.",
    ),
)

# What Kubernetes says about Pods.
_POD_RULES: tuple[_Rule, ...] = (
    _rule(
        "image",
        r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|pull access denied|manifest unknown",
        "The image of the registry's container cannot be pulled.",
        "Check that the nodes reach the platform's image registry, and the Pod's pull secrets.",
    ),
    _rule(
        "config",
        r"CreateContainerConfigError|CreateContainerError|RunContainerError",
        "The registry's container cannot be created: a Secret, ConfigMap or key it needs is missing.",
        "Create what the message names, in the registry's namespace.",
    ),
    _rule(
        "mount",
        r"FailedMount|FailedAttachVolume|Multi-Attach",
        "The volume cannot be mounted on the Pod's node.",
        "Check the volume and, for ReadWriteOnce, that no Pod on another node still uses it.",
    ),
    _rule(
        "claim",
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim .*not found|find available persistent volumes",
        "The Pod waits for its claim, which is not bound to a volume.",
        "Check the claim's StorageClass, access mode, size and events (kubectl describe pvc).",
    ),
    _rule(
        "schedule",
        r"Unschedulable|nodes are available|Insufficient|didn't match",
        "No node can take the registry's Pod.",
        "Lower the requested resources, or change node selector, tolerations or the number of replicas.",
    ),
    _rule(
        "crash",
        r"CrashLoopBackOff",
        "The registry starts and ends again and again.",
        "Read the log of the registry's container (kubectl logs --previous).",
    ),
)

_UNKNOWN = Explanation(
    "unknown",
    "This collection does not know the message; it is quoted as the cluster said it.",
    "Read the operator's log and the conditions of Config/cluster; " + _AGAIN + " when the cause is removed.",
)


def _explain(text: str, rules: Iterable[_Rule]) -> Explanation | None:
    for rule in rules:
        match = rule.pattern.search(text)
        if match:
            words = {name: value or "?" for name, value in match.groupdict().items()}
            return Explanation(rule.kind, rule.cause.format(**words), rule.remedy.format(**words))
    return None


def explain(text: str, reason: str = "") -> Explanation:
    """What a condition's or an error's text means. ``reason``: its reason code, for when the text says nothing."""
    for said in (text, reason):
        found = _explain(said, (*_OPERATOR_RULES, *_STORAGE_RULES, *_POD_RULES)) if said else None
        if found is not None:
            return found
    return _UNKNOWN


def explain_pod(text: str) -> Explanation:
    """What the state of a Pod or its container means; the text starts with the reason code."""
    return _explain(text, (*_POD_RULES, *_STORAGE_RULES, *_OPERATOR_RULES)) or _UNKNOWN


def explain_storage(text: str) -> Explanation:
    """What an error of the registry's storage means, as an HTTP answer or the log carries it."""
    return _explain(text, _STORAGE_RULES) or Explanation(
        "unknown",
        "The registry's storage answers with an error that this collection does not know.",
        "Check the storage behind the registry; " + _AGAIN + ".",
    )


def changed_back(kind: str, resource: str, fields: str) -> Failed:
    """Somebody has undone our write. resource: the kind's name for kubectl."""
    return Failed(
        "SpecChanged",
        f"{kind}.spec differs again in: {fields}",
        "Another writer or the operator changed it back after our write.",
        "Run the task again; if it comes back, find the other writer (GitOps, another playbook) with "
        f"kubectl get {resource} cluster -o yaml --show-managed-fields.",
    )


def unauthorized(quoted: str, cause: str) -> Failed:
    """The API server refuses the credentials that it took before."""
    return Failed(
        "Unauthorized",
        quoted,
        cause,
        "Renew the credentials and run the task again; it goes on from where it is.",
    )


# -- log ---------------------------------------------------------------------------------------------------------------

_LOGFMT = re.compile(r'(?P<key>[A-Za-z_][\w.]*)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S*))')
_ACCESS = re.compile(
    r'^\S+ \S+ \S+ \[[^\]]+\] "(?P<method>[A-Z]+) (?P<path>/v2/\S*) HTTP/[0-9.]+" (?P<status>[0-9]{3}) '
)
_SPEAKING_FIELDS = ("msg", "err.message", "err.detail", "error", "err")
_QUIET_LEVELS = frozenset({"trace", "debug", "info"})
_LONGEST_LINE = 600


def classify(lines: Iterable[str], pod: str = "") -> list[LogFinding]:
    """What in a registry's log speaks of broken storage, limits or configuration; a good log gives nothing.

    Each trouble is listed once, without credentials. With a wrong key, a missing bucket or an unknown CA the log names
    no cause, only 503 answers: those are listed as "health".
    """
    findings: dict[tuple[str, str], LogFinding] = {}
    for line in lines:
        said = _said(line.strip())
        if not said:
            continue
        found = _explain(said, _STORAGE_RULES)
        kind = found.kind if found is not None else ("crash" if said.startswith("panic:") else "")
        if kind:
            text = plain(said)[:_LONGEST_LINE]
            findings.setdefault((kind, normalise(text)), LogFinding(kind, text, pod))
    return list(findings.values())


def _said(line: str) -> str:
    """What a line says for itself, without the parts a client chooses (its address, path and user agent)."""
    access = _ACCESS.match(line)
    if access:
        if access["status"] != "503":
            return ""
        return f"{access['method']} answered 503: health check failed"
    fields = _fields(line)
    if not fields:
        return line
    if fields.get("level", "error").lower() in _QUIET_LEVELS:
        return ""
    return ": ".join(dict.fromkeys(fields[name] for name in _SPEAKING_FIELDS if fields.get(name)))


def _fields(line: str) -> dict[str, str]:
    """The fields of a structured line (key=value or JSON); empty for any other line."""
    if line.startswith("{"):
        try:
            decoded = json.loads(line)
        except ValueError:
            return {}
        if isinstance(decoded, dict) and ("msg" in decoded or "level" in decoded):
            return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in decoded.items()}
        return {}
    if not line.startswith(("time=", "level=")):
        return {}
    return {
        match["key"]: _unquoted(match["quoted"]) if match["quoted"] is not None else match["bare"]
        for match in _LOGFMT.finditer(line)
    }


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), text)
