# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage drivers: when a backend counts as changed, how it is checked or created, what the Pod gets (operator
facts 2.4, 3.4.4 and 4.1 to 4.13).

A driver works on the typed Config (`spec.typed_spec`) in place, as the operator's own do, and reaches the outside only
through a `World`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from typing import Protocol

from . import names
from .conditions import ApplyError, Conditions, PermanentError
from .names import Json
from .render import StorageParts
from .s3 import S3, S3Access, S3Failure
from .spec import BACKENDS, configured_backends

log = logging.getLogger("operator.storage")

EXISTS = "StorageExists"
CREDENTIALS_PATH = "/var/run/secrets/cloud"
_ACCESS, _SECRET = "REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"


class World(Protocol):
    """What a driver may ask of the cluster."""

    def secret(self, name: str) -> Json | None:
        """Secret of the registry's namespace, from the cache."""

    def config_map(self, name: str) -> Json | None:
        """ConfigMap of the namespace that holds trusted CAs, from the cache."""

    def claim(self, name: str) -> Json | None:
        """PersistentVolumeClaim of the registry's namespace, read live: claims are not cached."""

    def create_claim(self, claim: Json) -> None:
        """Create a claim; ApplyError when refused."""

    def delete_claim(self, name: str) -> None:
        """Delete a claim; a missing one is fine."""

    def s3(self, access: S3Access) -> S3:
        """Client for an S3 endpoint."""

    def bucket_name(self) -> str:
        """A fresh bucket name for a user who named none."""

    def wait(self, seconds: float) -> None:
        """Sleep for the operator's own waits, scaled."""


class Driver:
    """One backend. ``spec`` is its section of the typed Config spec, changed in place where the operator does so."""

    key = ""
    label = ""

    def __init__(self, config: Json, conditions: Conditions, world: World) -> None:
        self.config = config
        self.conditions = conditions
        self.world = world

    @property
    def spec(self) -> Json:
        """The backend's section of ``spec.storage``."""
        section: Json = self.config["spec"]["storage"][self.key]
        return section

    @property
    def managed(self) -> bool:
        """Whether ``spec.storage.managementState`` is Managed."""
        return bool(self.config["spec"]["storage"].get("managementState") == "Managed")

    def changed(self) -> bool:
        """Whether the section differs from the accepted one; if so, StorageExists is Unknown until checked."""
        if self.config["status"].get("storage", {}).get(self.key) == self.spec:
            return False
        self._unknown()
        return True

    def _unknown(self) -> None:
        text = f"{self.label} storage is in an unknown state"
        self.conditions.set(EXISTS, "Unknown", f"{self.label} Configuration Changed", text)

    def exists(self) -> bool:
        """Whether an accepted storage is still there; ApplyError if that cannot be determined."""
        raise NotImplementedError

    def create(self) -> None:
        """Validate or create the storage and accept it; ApplyError when that fails."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete a storage the operator manages."""

    def parts(self) -> StorageParts:
        """Env, volumes and mounts of the Pod."""
        raise NotImplementedError

    def secret_data(self) -> dict[str, str]:
        """Content of the generated private configuration Secret."""
        return {}

    def accept(self, managed_if_unset: bool) -> None:
        """Copy the section into status; fill in an empty management state."""
        storage = self.config["spec"]["storage"]
        storage.setdefault("managementState", "Managed" if managed_if_unset else "Unmanaged")
        self.config["status"]["storage"] = {
            self.key: deepcopy(self.spec),
            "managementState": storage["managementState"],
        }


class EmptyDir(Driver):
    """Ephemeral storage: always there."""

    key, label = "emptyDir", "EmptyDir"

    def exists(self) -> bool:
        return True

    def create(self) -> None:
        self.accept(managed_if_unset=True)
        self.conditions.set(EXISTS, "True", "Creation Successful", "EmptyDir storage successfully created")

    def parts(self) -> StorageParts:
        return _filesystem({"emptyDir": {}})


class Pvc(Driver):
    """A PersistentVolumeClaim: access modes are validated once, phase and size never."""

    key, label = "pvc", "PVC"

    def exists(self) -> bool:
        name = self.spec.get("claim", "")
        if not name:
            return False
        if self.world.claim(name) is None:
            self.conditions.set(EXISTS, "False", "PVC Not Found", f"PVC {name} not found")
            return False
        self.conditions.set(EXISTS, "True", "PVC Exists")
        return True

    def create(self) -> None:
        if not self.spec.get("claim"):
            self._default_claim()
            return
        name = self.spec["claim"]
        claim = self.world.claim(name)
        if claim is None:
            self._refuse(f'persistentvolumeclaims "{name}" not found')
        assert claim is not None
        self._check_modes(name, claim)
        # A default claim adopted from an earlier sync belongs to the operator, any other to the user.
        operator_owned = (claim["metadata"].get("annotations") or {}).get(names.CLAIM_OWNED) == "true"
        self.accept(managed_if_unset=operator_owned)
        self.conditions.set(EXISTS, "True", "PVC Exists")

    def _default_claim(self) -> None:
        name = names.DEFAULT_CLAIM
        # Set before anything can fail: the claim's name is written to spec even when this sync fails.
        self.spec["claim"] = name
        claim = self.world.claim(name)
        if claim is None:
            try:
                self.world.create_claim(
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {
                            "name": name,
                            "namespace": names.NAMESPACE,
                            "annotations": {names.CLAIM_OWNED: "true"},
                        },
                        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}},
                    }
                )
            except ApplyError as error:
                self.conditions.set(EXISTS, "False", "Creation Failed", str(error))
                raise
            self.accept(managed_if_unset=True)
            self.conditions.set(EXISTS, "True", "PVC Created")
            return
        if (claim["metadata"].get("annotations") or {}).get(names.CLAIM_OWNED) != "true":
            text = "could not create default PVC, it already exists and is not owned by the operator"
            self.conditions.set(EXISTS, "False", "PVC Already Exists", text)
            raise ApplyError(text)
        self._check_modes(name, claim)
        self.accept(managed_if_unset=True)
        self.conditions.set(EXISTS, "True", "PVC Exists")

    def _check_modes(self, name: str, claim: Json) -> None:
        modes = claim["spec"].get("accessModes") or []
        if "ReadWriteMany" in modes:
            return
        if "ReadWriteOnce" not in modes:
            self._refuse(f"PVC {name} does not contain the necessary access modes: ReadWriteMany or ReadWriteOnce")
        spec = self.config["spec"]
        if spec["replicas"] > 1:
            self._refuse("cannot use ReadWriteOnce access mode with more than one replica of the image registry")
        if spec.get("rolloutStrategy", "") != "Recreate":
            self._refuse(
                f"cannot use ReadWriteOnce access mode with {spec.get('rolloutStrategy', '')} rollout strategy"
            )

    def _refuse(self, text: str) -> None:
        self.conditions.set(EXISTS, "False", "PVC Issues Found", text)
        raise ApplyError(text)

    def remove(self) -> None:
        claim = (self.config["status"].get("storage", {}).get("pvc") or {}).get("claim")
        if claim:
            self.world.delete_claim(claim)

    def parts(self) -> StorageParts:
        return _filesystem({"persistentVolumeClaim": {"claimName": self.spec.get("claim", "")}})


class S3Bucket(Driver):
    """A bucket, reached with the user's credentials; created when it is missing and the credentials allow it."""

    key, label = "s3", "S3"

    @cached_property
    def _credentials(self) -> tuple[str, str]:
        """Access and secret key, read once per sync: the Pods get the keys that were tried."""
        user = self.world.secret(names.USER_SECRET)
        if user is not None:
            return _required(user, _ACCESS), _required(user, _SECRET)
        minted = self.world.secret(names.INSTALLER_SECRET)
        if minted is None:
            raise _no_credentials()
        return _required(minted, "aws_access_key_id"), _required(minted, "aws_secret_access_key")

    def _client(self) -> S3:
        access_key, secret_key = self._credentials
        bundle = None
        name = self.spec["trustedCA"]["name"]
        if name:
            try:
                bundle = trusted_bundle(self.world.config_map(name), name)
            except ApplyError as error:
                raise ApplyError(f"unable to get S3 CA bundle: {error}") from error
        return self.world.s3(
            S3Access(
                region=self.spec.get("region", ""),
                endpoint=self.spec.get("regionEndpoint", ""),
                access_key=access_key,
                secret_key=secret_key,
                ca=bundle,
                virtual_hosted=self.spec["virtualHostedStyle"],
            )
        )

    def exists(self) -> bool:
        if not self.spec.get("bucket"):
            return False
        try:
            accessible = self._accessible(self._client(), self.spec["bucket"])
        except (S3Failure, ApplyError) as error:
            raise self._unknown_error(error) from error
        if accessible:
            self.conditions.set(EXISTS, "True", "S3 Bucket Exists")
        return accessible

    def create(self) -> None:
        try:
            client = self._client()
        except S3Failure as failure:  # a missing region shows only when the client is created
            raise self._unknown_error(failure) from failure
        bucket = self.spec.get("bucket", "")
        if bucket and self._accessible(client, bucket):
            self.accept(managed_if_unset=False)
            self.conditions.set(EXISTS, "True", "S3 Bucket Exists", "User supplied S3 bucket exists and is accessible")
        else:
            self._create_bucket(client)
            self.accept(managed_if_unset=True)
            self.conditions.set(EXISTS, "True", "Creation Successful", "S3 bucket was successfully created")
            self._await(client, self.spec["bucket"])
        if self.managed:
            self._manage(client)

    def _accessible(self, client: S3, bucket: str) -> bool:
        try:
            client.head(bucket)
        except S3Failure as failure:
            if failure.code in ("NotFound", "Forbidden", "NoSuchBucket"):
                self.conditions.set(EXISTS, "False", failure.code, str(failure))
                return False
            raise self._unknown_error(failure) from failure
        return True

    def _unknown_error(self, error: Exception) -> ApplyError:
        self.conditions.set(EXISTS, "Unknown", "Unknown Error Occurred", str(error))
        return ApplyError(str(error))

    def _create_bucket(self, client: S3) -> None:
        """Create the named bucket, or one with a fresh name, whatever management state the user set."""
        bucket = self.spec.get("bucket") or self.world.bucket_name()
        try:
            client.create(bucket)
        except S3Failure as failure:
            if failure.code == "BucketAlreadyExists":
                text = f"bucket {bucket} exists but is owned by another account"
                self.conditions.set(EXISTS, "False", "Unable to Access Bucket", text)
                raise ApplyError(text) from failure
            self.conditions.set(EXISTS, "False", failure.code, str(failure))
            raise ApplyError(str(failure)) from failure
        self.spec["bucket"] = bucket

    def _await(self, client: S3, bucket: str) -> None:
        for _ in range(20):
            try:
                client.head(bucket)
                return
            except S3Failure as failure:
                if failure.code in ("Forbidden", "BucketRegionError"):
                    return
            self.world.wait(5)
        raise ApplyError(f"ResourceNotReady: exceeded wait attempts for bucket {bucket}")

    def _manage(self, client: S3) -> None:
        """Configure a managed bucket; a failed step only sets its condition."""
        bucket = self.spec["bucket"]
        key = self.spec.get("keyID", "")
        steps: list[tuple[str, Callable[[], None], str, str]] = [
            (
                "StoragePublicAccessBlocked",
                lambda: client.block_public_access(bucket),
                "Public Access Block Successful",
                "Public access to the S3 bucket and its contents have been successfully blocked.",
            ),
            (
                "StorageTagged",
                lambda: client.tag(bucket, {"Name": names.REGISTRY}),
                "Tagging Successful",
                "Tags were successfully applied to the S3 bucket",
            ),
            (
                "StorageEncrypted",
                lambda: client.encrypt(bucket, key),
                "Encryption Successful",
                f"Default {'KMS' if key else 'AES256'} encryption was successfully enabled on the S3 bucket",
            ),
            (
                "StorageIncompleteUploadCleanupEnabled",
                lambda: client.clean_uploads(bucket),
                "Enable Cleanup Successful",
                "Default cleanup of incomplete multipart uploads after one (1) day was successfully enabled",
            ),
        ]
        for kind, run, reason, text in steps:
            try:
                run()
            except S3Failure as failure:
                self.conditions.set(kind, "False", failure.code, str(failure))
                continue
            self.conditions.set(kind, "True", reason, text)
            if kind == "StorageEncrypted":
                self.spec["encrypt"] = True
                self.accept(managed_if_unset=True)

    def remove(self) -> None:
        bucket = (self.config["status"].get("storage", {}).get("s3") or {}).get("bucket")
        if not bucket:
            return
        try:
            self._client().empty_and_delete(bucket)
        except S3Failure as failure:
            raise ApplyError(str(failure)) from failure
        self.spec.pop("bucket", None)

    def parts(self) -> StorageParts:
        spec = self.spec
        env = [("REGISTRY_STORAGE", "s3"), ("REGISTRY_STORAGE_S3_BUCKET", spec.get("bucket", ""))]
        if spec.get("regionEndpoint"):
            env.append(("REGISTRY_STORAGE_S3_REGIONENDPOINT", spec["regionEndpoint"]))
            env.append(("REGISTRY_STORAGE_S3_USEDUALSTACK", "true"))
        env += [
            ("REGISTRY_STORAGE_S3_REGION", spec.get("region", "")),
            ("REGISTRY_STORAGE_S3_ENCRYPT", "true" if spec.get("encrypt") else "false"),
            ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "false" if spec["virtualHostedStyle"] else "true"),
            ("REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH", f"{CREDENTIALS_PATH}/credentials"),
        ]
        if spec.get("keyID"):
            env.append(("REGISTRY_STORAGE_S3_KEYID", spec["keyID"]))
        if spec.get("chunkSizeMiB"):
            env.append(("REGISTRY_STORAGE_S3_CHUNKSIZE", str(spec["chunkSizeMiB"] * 1048576)))
        if spec.get("cloudFront") is not None:
            env.append(("REGISTRY_MIDDLEWARE_STORAGE", _cloudfront(spec["cloudFront"])))
        return _with_credentials(env)

    def secret_data(self) -> dict[str, str]:
        access_key, secret_key = self._credentials
        text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        return {"credentials": text}


class Cloud(Driver):
    """A backend whose cloud cannot be reached from here: its Secret is checked, the rest is assumed to work.

    There are no recordings of these; they exist so that switching to and from them can be tested.
    """

    keysets: tuple[tuple[str, ...], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    def _keys(self) -> dict[str, str]:
        user = self.world.secret(names.USER_SECRET)
        if user is None:
            raise _no_credentials()
        for keys in self.keysets:
            if all(key in (user.get("data") or {}) for key in keys):
                return {key: _required(user, key) for key in keys}
        return {self.keysets[0][0]: _required(user, self.keysets[0][0])}

    def exists(self) -> bool:
        self._keys()
        return True

    def create(self) -> None:
        self._keys()
        self.accept(managed_if_unset=False)
        self.conditions.set(EXISTS, "True", f"{self.label} Storage Exists")

    def parts(self) -> StorageParts:
        env = [("REGISTRY_STORAGE", self.key)]
        env += [
            (f"REGISTRY_STORAGE_{self.key.upper()}_{variable}", str(self.spec[name]))
            for name, variable in self.variables
            if self.spec.get(name)
        ]
        return _with_credentials(env)

    def secret_data(self) -> dict[str, str]:
        return self._keys()


class Swift(Cloud):
    """OpenStack Swift."""

    key, label = "swift", "Swift"
    keysets = (
        ("REGISTRY_STORAGE_SWIFT_USERNAME", "REGISTRY_STORAGE_SWIFT_PASSWORD"),
        (
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID",
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME",
            "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET",
        ),
        ("REGISTRY_STORAGE_SWIFT_TOKENID",),
    )
    variables = (
        ("authURL", "AUTHURL"),
        ("authVersion", "AUTHVERSION"),
        ("container", "CONTAINER"),
        ("domain", "DOMAIN"),
        ("domainID", "DOMAINID"),
        ("tenant", "TENANT"),
        ("tenantID", "TENANTID"),
        ("regionName", "REGION"),
    )


class Gcs(Cloud):
    """Google Cloud Storage."""

    key, label = "gcs", "GCS"
    keysets = (("REGISTRY_STORAGE_GCS_KEYFILE",),)
    variables = (("bucket", "BUCKET"),)


class IbmCos(Cloud):
    """IBM Cloud Object Storage."""

    key, label = "ibmcos", "IBMCOS"
    keysets = (("REGISTRY_STORAGE_IBMCOS_IAMAPIKEY",),)
    variables = (("bucket", "BUCKET"), ("location", "LOCATION"))


class Azure(Cloud):
    """Azure Blob Storage."""

    key, label = "azure", "Azure"
    keysets = (("REGISTRY_STORAGE_AZURE_ACCOUNTKEY",),)
    variables = (("accountName", "ACCOUNTNAME"), ("container", "CONTAINER"), ("cloudName", "REALM"))


DRIVERS: dict[str, type[Driver]] = {
    driver.key: driver for driver in (EmptyDir, S3Bucket, Swift, Gcs, IbmCos, Pvc, Azure)
}


def new_driver(config: Json, conditions: Conditions, world: World) -> Driver | None:
    """The driver of the one configured backend, None when there is none; ApplyError for two or more."""
    found = configured_backends(config["spec"]["storage"])
    if len(found) > 1:
        labels = " ".join(BACKENDS[name] for name in found)
        raise ApplyError(
            f"exactly one storage type should be configured at the same time, got {len(found)}: [{labels}]"
        )
    return DRIVERS[found[0]](config, conditions, world) if found else None


def sync_storage(config: Json, conditions: Conditions, world: World) -> Driver:
    """Check or accept the configured storage.

    :raises PermanentError: when none is configured; ``spec.storage`` is then emptied, as there is no platform default
        (operator fact 0.3).
    :raises ApplyError: with the operator's prefix for every other failure.
    """
    try:
        driver = new_driver(config, conditions, world)
        if driver is None:
            config["spec"]["storage"] = {}
            raise PermanentError("StorageNotConfigured", "storage backend not configured")
        if driver.changed() or not driver.exists():
            driver.create()
        # The state may have been unset while the backend stayed the same.
        managed = config["status"].get("storageManaged")
        config["spec"]["storage"].setdefault("managementState", "Managed" if managed else "Unmanaged")
        return driver
    except PermanentError:
        raise
    except ApplyError as error:
        raise ApplyError(f"unable to sync storage configuration: {error}") from error


def remove_storage(config: Json, conditions: Conditions, world: World) -> None:
    """Delete a managed storage on the way to Removed; user storage stays. Always empties ``status.storage``."""
    accepted = configured_backends(config["status"].get("storage", {}))
    storage = config["spec"]["storage"]
    if accepted and storage.get("managementState") == "Managed":
        driver = DRIVERS[accepted[0]](config, conditions, world)
        if storage.get(accepted[0]) is not None:
            driver.remove()
    config["status"]["storage"] = {}


def trusted_bundle(config_map: Json | None, name: str) -> str:
    """The PEM bundle of a trusted CA ConfigMap; ApplyError when map or key is missing."""
    if config_map is None:
        raise ApplyError(f'failed to get trusted CA "{name}": configmap "{name}" not found')
    bundle: str | None = (config_map.get("data") or {}).get(names.CA_BUNDLE_KEY)
    if bundle is None:
        raise ApplyError(f'trusted CA config map "{name}" does not contain required key "{names.CA_BUNDLE_KEY}"')
    return bundle


def _required(secret: Json, key: str) -> str:
    """A key of a Secret; an empty value is accepted, a missing key is not."""
    data = secret.get("data") or {}
    if key not in data:
        meta = secret["metadata"]
        raise ApplyError(f'secret "{meta["namespace"]}/{meta["name"]}" does not contain required key "{key}"')
    return base64.b64decode(data[key]).decode(errors="replace")


def _no_credentials() -> ApplyError:
    """Neither the user nor the installation has provided credentials."""
    return ApplyError(
        f'unable to get cluster minted credentials "{names.NAMESPACE}/{names.INSTALLER_SECRET}": '
        f'secret "{names.INSTALLER_SECRET}" not found'
    )


def _with_credentials(env: list[tuple[str, str]]) -> StorageParts:
    volume = {"name": names.GENERATED_SECRET, "secret": {"secretName": names.GENERATED_SECRET}}
    mount = {"name": names.GENERATED_SECRET, "mountPath": CREDENTIALS_PATH, "readOnly": True}
    return StorageParts(env, [volume], [mount])


def _filesystem(source: Json) -> StorageParts:
    return StorageParts(
        [("REGISTRY_STORAGE", "filesystem"), ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/registry")],
        [{"name": "registry-storage", **source}],
        [{"name": "registry-storage", "mountPath": "/registry"}],
    )


def _cloudfront(front: Json) -> str:
    key = f"/etc/docker/cloudfront/{front['privateKey']['key']}"
    duration = front["duration"] if front["duration"] != "0s" else "20m0s"
    return (
        f"- name: cloudfront\n  options:\n    baseurl: {front['baseURL']}\n    privatekey: {key}\n"
        f"    keypairid: {front['keypairID']}\n    duration: {duration}\n    ipfilteredby: none\n"
    )
