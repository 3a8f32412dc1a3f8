# SPDX-License-Identifier: GPL-3.0-or-later
"""What messages of the operator, of Kubernetes and of the registry mean, and what to do about them.

A message is recognised by its stable core (``InvalidAccessKeyId``, ``x509:``), never by its beginning: driver prefixes,
request ids and wrapping differ between versions and products. A message that is not recognised is quoted unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.redact import cut


@dataclass(frozen=True)
class Explanation:
    """kind: a class such as "auth" or "claim", or "unknown". cause, remedy: sentences for users."""

    kind: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class _Rule:
    """Named groups of the pattern in ``text`` fill the placeholders in ``cause`` and ``remedy``."""

    kind: str
    text: str
    cause: str
    remedy: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when there is something to explain, which most tasks do not have."""
        return re.compile(self.text, re.IGNORECASE | re.DOTALL)


_AGAIN = "then run the task again"
_PASSES = " If it passes by itself, running the task again is enough."
"""For causes that need no change of the configuration, such as a service that is down for a moment."""

# Operator facts 3.1.3, 3.1.5, 4.1, 4.6, 4.8 to 4.11, 4.14, 4.17 and 5.4.
_OPERATOR_RULES: tuple[_Rule, ...] = (
    _Rule(
        "backends",
        r"exactly one storage type should be configured at the same time(?:, got \d+: \[(?P<which>[^\]]*)\])?",
        "spec.storage names more than one backend at once ({which}), so the operator applies nothing.",
        "Set the other backends to null in the same patch; registry_storage does so when backend is set.",
    ),
    _Rule(
        "unconfigured",
        r"storage backend not configured|StorageNotConfigured",
        "The registry is Managed, but spec.storage names no backend and this platform has no default storage.",
        "Set a backend (emptydir, pvc, s3, swift, gcs, ibmcos or azure) with registry_storage.",
    ),
    _Rule(
        "claim",
        r"cannot use ReadWriteOnce access mode with more than one replica",
        "The claim is ReadWriteOnce, so only one replica can mount it, but more than one was requested.",
        "Set replicas: 1, or use a claim with the access mode ReadWriteMany.",
    ),
    _Rule(
        "claim",
        r"cannot use ReadWriteOnce access mode with .{0,300}?rollout strategy",
        "The claim is ReadWriteOnce: during a rolling update, the new Pod cannot mount it while the old one runs.",
        "Set rollout_strategy: Recreate, or use a claim with the access mode ReadWriteMany.",
    ),
    _Rule(
        "claim",
        r"PVC (?P<name>\S+) does not contain the necessary access modes",
        "The claim {name} is neither ReadWriteMany nor ReadWriteOnce.",
        "Use a claim with the access mode ReadWriteMany or, for one replica, ReadWriteOnce.",
    ),
    _Rule(
        "claim",
        r"persistentvolumeclaims? \"(?P<name>[^\"]+)\" not found",
        "The claim {name} does not exist in the registry's namespace.",
        "Create the claim (with pvc.create: true or your own manifest) or correct pvc.claim, " + _AGAIN + ".",
    ),
    _Rule(
        "claim",
        r"could not create default PVC, it already exists and is not owned by the operator",
        "No claim was named, and the claim with the operator's default name belongs to somebody else.",
        "Set pvc.claim to the claim to use.",
    ),
    _Rule(
        "credentials",
        r"secret \"(?P<name>[^\"]+)\" does not contain required key \"(?P<key>[^\"]+)\"",
        "The Secret {name} exists but has no key {key}.",
        "Set access_key and secret_key in the task or add the key {key} to the Secret, " + _AGAIN + ".",
    ),
    _Rule(
        "credentials",
        r"unable to get cluster minted credentials",
        "There are no S3 credentials: the Secret that holds the access key and the secret key does not exist.",
        "Set access_key and secret_key in the task or create the Secret, " + _AGAIN + ".",
    ),
    _Rule(
        "certificate",
        r"failed to get trusted CA \"(?P<name>[^\"]+)\"",
        "The ConfigMap {name}, which should contain the CA of the S3 endpoint, cannot be read.",
        "Create the ConfigMap {name} with the key ca-bundle.crt, or set trusted_ca.pem, or remove trusted_ca.",
    ),
    _Rule(
        "certificate",
        r"trusted CA config map \"(?P<name>[^\"]+)\" does not contain required key \"(?P<key>[^\"]+)\"",
        "The ConfigMap {name} has no key {key}.",
        "Store the CA certificate in PEM format under the key {key} of the ConfigMap {name}, " + _AGAIN + ".",
    ),
    _Rule(
        "bucket",
        r"bucket (?P<name>\S+) exists but is owned by another account|Unable to Access Bucket",
        "The bucket exists but belongs to another account.",
        "Use a bucket of your own account, or credentials of the account that owns the bucket.",
    ),
    _Rule(
        "replicas",
        r"replicas must be greater than or equal to 0",
        "spec.replicas is negative.",
        "Set replicas to 1 or more.",
    ),
    _Rule(
        "replicas",
        r"maxUnavailable.{0,300}must be|spec\.strategy\.rollingUpdate",
        "Kubernetes rejects the rolling update settings derived from spec.replicas, as happens with 0 replicas.",
        "Set replicas to 1 or more.",
    ),
    _Rule(
        "routes",
        r"duplication of names has been detected in the additional routes",
        "Two routes have the same name, or one is named default-route.",
        "Give every route a unique name other than default-route.",
    ),
    _Rule(
        "routes",
        r"\*v1\.(?:Route|Ingress).{0,300}?secret \"(?P<name>[^\"]+)\" not found",
        "A route refers to the TLS Secret {name}, which does not exist in the registry's namespace.",
        "Create the Secret {name} with tls.crt and tls.key, or correct the route's secretName.",
    ),
    _Rule(
        "ingress",
        r"IngressDegraded|RouteDegraded|ingress \S+ has no host|route \S+ .{0,300}not admitted",
        "The registry has no working public address: its Ingress or Route has no host or was not admitted.",
        "Set the route's hostname, set up an ingress controller that publishes an address, or disable defaultRoute.",
    ),
    _Rule(
        "requests",
        r"Requests\.(?P<kind>Read|Write)\.(?P<field>MaxRunning|MaxInQueue) must be positive",
        "requests.{kind}.{field} is negative.",
        "Set it to 0 (no limit) or a positive number.",
    ),
    _Rule(
        "schedule",
        r"CronJob.{0,300}is invalid: spec\.schedule|spec\.schedule: Invalid value",
        "The pruner's schedule is not a valid cron expression; the CronJob keeps its previous schedule.",
        'Use five fields, such as "0 0 * * *".',
    ),
    _Rule(
        "pruner",
        r"JobFailed|reached the specified backoff limit",
        "The last pruning job failed.",
        "Read the log of the most recent Pod of the CronJob image-pruner.",
    ),
    _Rule(
        "rollout",
        r"timed out progressing|ProgressDeadlineExceeded",
        "The new Pods did not become ready in time.",
        "Check the events and the log of the newest registry Pod (kubectl describe pod, kubectl logs).",
    ),
    _Rule(
        "admission",
        # LimitRanges refuse in the words of the first three; a default limit below a request, in those of the fourth.
        r"(?:minimum|maximum) \S+ (?:usage )?per (?:Container|Pod)|max limit to request ratio per"
        r"|must be less than or equal to \S+ limit",
        "Kubernetes refuses to create the registry's Pods: a LimitRange of the registry's namespace does not allow "
        "their resources, or sets a default limit below what they request.",
        "Set resources (requests and limits) to what the LimitRange allows, or change it (kubectl get limitranges in "
        "the registry's namespace), " + _AGAIN + ".",
    ),
    _Rule(
        "admission",
        r"exceeded quota|is forbidden: .{0,500}(?:quota|limit|violates PodSecurity|maximum|minimum)",
        "Kubernetes refuses to create the registry's Pods: a quota, limit or policy of the namespace forbids it.",
        "Raise the namespace's quota or limit, or request fewer resources, " + _AGAIN + "." + _PASSES,
    ),
    _Rule(
        "conflict",
        r"the object has been modified|Operation cannot be fulfilled",
        "Two writers changed the same object at the same time.",
        "The operator retries by itself; if the conflict persists, find the other writer of the registry's objects.",
    ),
)

# From users' reports and the storage drivers. The same texts come from the operator, in HTTP answers and in the log.
_STORAGE_RULES: tuple[_Rule, ...] = (
    _Rule(
        "auth",
        r"InvalidAccessKeyId",
        "The object storage does not know the access key.",
        "Check access_key and the endpoint, " + _AGAIN + ".",
    ),
    _Rule(
        "auth",
        r"SignatureDoesNotMatch",
        "The secret key does not belong to the access key.",
        "Check secret_key; the usual reason is a wrong key or a trailing line break. Correct it, " + _AGAIN + ".",
    ),
    _Rule(
        "auth",
        r"RequestTimeTooSkewed",
        "The clocks of the cluster and the object storage differ too much for signed requests.",
        "Synchronise the clocks of the nodes and the object storage.",
    ),
    _Rule(
        "auth",
        r"NoCredentialProviders|no valid providers in chain",
        "The registry has no credentials for the object storage.",
        "Set access_key and secret_key in the task, or create the Secret with both keys.",
    ),
    _Rule("auth", r"ExpiredToken|InvalidToken", "The storage credentials have expired.", "Renew the credentials."),
    _Rule(
        "bucket",
        r"NoSuchBucket|specified bucket does not exist",
        "The bucket does not exist.",
        "Create the bucket or correct its name, " + _AGAIN + ".",
    ),
    _Rule("bucket", r"no bucket parameter provided", "No bucket is configured.", "Set s3.bucket."),
    _Rule(
        "bucket",
        r"panic: EOF|\bPut \"?https?://\S+: EOF",
        "The bucket name is not valid.",
        "Correct s3.bucket; it must not contain a slash.",
    ),
    _Rule(
        "region",
        r"AuthorizationHeaderMalformed|the region '[^']*' is wrong|BucketRegionError|incorrect region",
        "The configured region is not the bucket's region.",
        "Set s3.region to the region that the message names.",
    ),
    _Rule(
        "region",
        r"no region parameter provided|MissingRegion|could not find region configuration|invalid region provided",
        "The region is missing or unknown to the storage driver.",
        "Set s3.region (us-east-1 if the storage has no regions).",
    ),
    _Rule(
        "certificate",
        r"x509:|signed by unknown authority|failed to verify certificate|certificate (?:has expired|is valid for)",
        "The certificate of the storage endpoint is not trusted.",
        "Set s3.trusted_ca to the CA of the endpoint, and use the host name that the certificate was issued for.",
    ),
    _Rule(
        "endpoint",
        r"first record does not look like a TLS handshake|server gave HTTP response to HTTPS client",
        "The storage endpoint speaks plain HTTP, but https:// is configured.",
        "Use http:// or the endpoint's HTTPS port in s3.region_endpoint.",
    ),
    _Rule(
        "endpoint",
        r"HTTP request to an HTTPS server|malformed HTTP response",
        "The storage endpoint speaks HTTPS, but http:// is configured.",
        "Use https:// in s3.region_endpoint.",
    ),
    _Rule(
        "endpoint",
        r"no such host|server misbehaving",
        "The name of the storage endpoint cannot be resolved from inside the cluster.",
        "Check s3.region_endpoint, the cluster's DNS, and virtual_hosted_style (it puts the bucket in the host name)."
        + _PASSES,
    ),
    _Rule(
        "endpoint",
        r"connection refused|i/o timeout|no route to host|network is unreachable|connection reset"
        r"|context deadline exceeded|Client\.Timeout|TLS handshake timeout",
        "The storage endpoint cannot be reached.",
        "Check s3.region_endpoint, and firewalls and network policies between the registry's Pods and the storage, "
        + _AGAIN
        + "."
        + _PASSES,
    ),
    _Rule(
        "endpoint",
        r"RequestError: send request failed",
        "The storage endpoint cannot be reached.",
        "Check s3.region_endpoint, " + _AGAIN + "." + _PASSES,
    ),
    _Rule(
        "full",
        r"no space left on device|DEVICE_OUT_OF_SPACE|disk quota exceeded",
        "The registry's storage is full: images can be pulled but not pushed.",
        "Enlarge the claim (pvc.size), or prune images and run garbage collection." + _PASSES,
    ),
    _Rule(
        "read-only",
        r"read-only file system|READ_ONLY_FILESYSTEM",
        "The registry's storage is mounted read-only: images can be pulled but not pushed.",
        "Check the volume and its storage backend; file systems turn read-only after errors.",
    ),
    _Rule(
        "permission",
        r"permission denied|operation not permitted|mkdir /registry: file exists",
        "The registry is not permitted to write to its volume.",
        "Check the owner and mode of the volume's folder (on NFS, also root_squash) and the Pod's fsGroup.",
    ),
    _Rule(
        "auth",
        r"AccessDenied|Access Denied|is not authorized to perform|403 Forbidden|^Forbidden",
        "The object storage denies this action to the account that the credentials belong to.",
        "Allow this account to list, read, write and delete objects in the bucket, multipart uploads included.",
    ),
    _Rule(
        "config",
        r"StorageDriver not registered|can only be used with v4 authentication|failed to create new session with aws"
        r"|cannot set both access/secret key and credentials file path|parameter should be a (?:boolean|number)",
        "The registry rejects its storage configuration.",
        "Correct the setting that the message names.",
    ),
    _Rule(
        "health",
        r"health check failed|storage driver health check",
        "The registry's own check of its storage fails, without giving a reason.",
        "Check the registry's storage: bucket, credentials, endpoint and certificate, or the volume.",
    ),
    _Rule(
        "path",
        r"Path not found|invalid path",
        "The registry does not find data that should be in its storage.",
        "Check whether the registry's storage was replaced or emptied.",
    ),
    _Rule(
        "upload",
        r"error (?:completing|resolving|canceling) upload|upload resumed at wrong offset|append to zero-size",
        "The storage did not complete an upload.",
        "With several replicas, use storage that all of them share; on S3, allow multipart uploads.",
    ),
    _Rule(
        "quota",
        r"refusing to write blob exceeding limit range|exceeds the maximum limit|imagestreammapping got access denied",
        "A push exceeded an image limit or quota.",
        "Raise the namespace's LimitRange or ResourceQuota, or push smaller images.",
    ),
    _Rule(
        "limit",
        r"Too many requests, please try again later",
        "Requests were rejected because of the limits on parallel requests.",
        "Raise spec.requests.read or spec.requests.write.",
    ),
)

# Reasons and messages of Pods.
_POD_RULES: tuple[_Rule, ...] = (
    _Rule(
        "image",
        r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|pull access denied|manifest unknown",
        "The image of the registry's container cannot be pulled.",
        "Check the Pod's pull secrets, and that the nodes reach the platform's image registry." + _PASSES,
    ),
    _Rule(
        "config",
        r"CreateContainerConfigError|CreateContainerError|RunContainerError",
        "The registry's container cannot be created: a Secret, ConfigMap or key that it needs is missing.",
        "Create what the message names in the registry's namespace.",
    ),
    _Rule(
        "mount",
        r"FailedMount|FailedAttachVolume|Multi-Attach",
        "The volume cannot be mounted on the Pod's node.",
        "Check the volume and, if it is ReadWriteOnce, that no Pod on another node still uses it." + _PASSES,
    ),
    _Rule(
        "claim",
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim .{0,300}not found"
        r"|find available persistent volumes",
        "The Pod waits for its claim, which is not bound to a volume.",
        "Check the StorageClass, access mode, size and events of the claim (kubectl describe pvc).",
    ),
    _Rule(
        "schedule",
        r"Unschedulable|nodes are available|Insufficient|didn't match",
        "No node can run the registry's Pod.",
        "Request fewer resources, or change the node selector, the tolerations or the number of replicas." + _PASSES,
    ),
    _Rule(
        "crash",
        r"CrashLoopBackOff",
        "The registry crashes again and again after it starts.",
        "Read the log of the registry's container (kubectl logs --previous).",
    ),
)

_UNKNOWN = Explanation(
    "unknown",
    "This collection does not know the message; it is quoted unchanged.",
    "Check the operator's log and the conditions of Config/cluster, remove the cause, " + _AGAIN + ".",
)


def _explain(text: str, rules: Iterable[_Rule]) -> Explanation | None:
    text = cut(text)
    for rule in rules:
        match = rule.pattern.search(text)
        if match:
            found = {name: value or "?" for name, value in match.groupdict().items()}
            return Explanation(rule.kind, rule.cause.format(**found), rule.remedy.format(**found))
    return None


def explain(text: str, reason: str = "") -> Explanation:
    """What the text of a condition or an error means. reason: its reason code, used when the text is not recognised."""
    for candidate in (text, reason):
        found = _explain(candidate, (*_OPERATOR_RULES, *_STORAGE_RULES, *_POD_RULES)) if candidate else None
        if found is not None:
            return found
    return _UNKNOWN


def explain_pod(text: str) -> Explanation:
    """What the state of a Pod or of its container means; the text begins with the reason code."""
    return _explain(text, (*_POD_RULES, *_STORAGE_RULES, *_OPERATOR_RULES)) or _UNKNOWN


def storage_trouble(text: str) -> Explanation | None:
    """What a text reports about the registry's storage, limits or configuration; None when it is not recognised."""
    return _explain(text, _STORAGE_RULES)


def explain_storage(text: str) -> Explanation:
    """What an error of the registry's storage means, taken from an HTTP answer or the log."""
    return storage_trouble(text) or Explanation(
        "unknown",
        "The registry's storage reports an error that this collection does not know.",
        "Check the registry's storage, " + _AGAIN + ".",
    )
