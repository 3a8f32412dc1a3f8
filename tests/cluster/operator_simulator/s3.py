# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's S3 calls, made for real with boto3; failures read like those of its SDK (aws-sdk-go)."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore.config import Config as BotoConfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# The SDK's codes for HEAD answers, which have no body.
_HEAD_CODES = {400: "BadRequest", 403: "Forbidden", 404: "NotFound"}
_REASONS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found"}


class S3Failure(Exception):
    """A failed call; ``code`` is the server's or the SDK's, ``str()`` the SDK's whole text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class S3Access:
    """Everything that decides how the bucket is reached. ``ca`` is PEM; None means the system's roots."""

    region: str
    endpoint: str
    access_key: str
    secret_key: str
    ca: str | None = None
    virtual_hosted: bool = False


class S3:
    """Calls on one bucket endpoint.

    :param scale: divides the dial timeout of 30 seconds.
    """

    def __init__(self, access: S3Access, scale: float = 1.0) -> None:
        if not access.region:
            raise S3Failure("MissingRegion", "MissingRegion: could not find region configuration")
        self._access = access
        verify: bool | str = True
        if access.ca is not None:
            self._ca_file = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - lives as long as the client
            self._ca_file.write(_usable_bundle(access.ca))
            self._ca_file.flush()
            verify = self._ca_file.name
        self._client: Any = boto3.client(
            "s3",
            region_name=access.region,
            endpoint_url=access.endpoint or None,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            verify=verify,
            config=BotoConfig(
                retries={"total_max_attempts": 1},
                connect_timeout=30 / scale,
                read_timeout=60 / scale,
                proxies={},
                s3={"addressing_style": "virtual" if access.virtual_hosted else "path"},
                request_checksum_calculation="when_required",
            ),
        )

    def head(self, bucket: str) -> None:
        """Check that the bucket exists and is accessible; S3Failure with NotFound or Forbidden if not."""
        self._call("Head", bucket, lambda: self._client.head_bucket(Bucket=bucket))

    def create(self, bucket: str) -> bool:
        """Create the bucket; True also when it already belongs to these credentials."""
        extra: dict[str, Any] = {}
        if self._access.region != "us-east-1":
            extra["CreateBucketConfiguration"] = {"LocationConstraint": self._access.region}
        try:
            self._call("Put", bucket, lambda: self._client.create_bucket(Bucket=bucket, **extra))
        except S3Failure as failure:
            if failure.code != "BucketAlreadyOwnedByYou":
                raise
        return True

    def empty_and_delete(self, bucket: str) -> None:
        """Delete all objects and the bucket; a bucket that is already gone is fine."""

        def run() -> None:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
                if keys:
                    self._client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
            self._client.delete_bucket(Bucket=bucket)

        try:
            self._call("Delete", bucket, run)
        except S3Failure as failure:
            if failure.code != "NoSuchBucket":
                raise

    def block_public_access(self, bucket: str) -> None:
        """Block every kind of public access."""
        wanted = dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
        )
        self._call(
            "Put",
            bucket,
            lambda: self._client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted),
        )

    def tag(self, bucket: str, tags: dict[str, str]) -> None:
        """Replace the bucket's tags."""
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._call("Put", bucket, lambda: self._client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": pairs}))

    def encrypt(self, bucket: str, key_id: str) -> None:
        """Default encryption: AES256, or KMS when a key is named."""
        rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_id} if key_id else {"SSEAlgorithm": "AES256"}
        wanted = {"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]}
        self._call(
            "Put",
            bucket,
            lambda: self._client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=wanted),
        )

    def clean_uploads(self, bucket: str) -> None:
        """Abort incomplete multipart uploads after a day."""
        rule = {
            "ID": "cleanup-incomplete-multipart-registry-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        self._call(
            "Put",
            bucket,
            lambda: self._client.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
            ),
        )

    def _call(self, verb: str, bucket: str, run: Callable[[], Any]) -> None:
        """Run one call with the SDK's three retries of connection errors."""
        for attempt in range(4):
            try:
                run()
                return
            except botocore.exceptions.ClientError as error:
                raise _failure(verb, error) from error
            except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
                cause = _dial_error(error, self._access.endpoint)
                if attempt == 3 or cause.startswith("tls:"):
                    url = _url(self._access, bucket)
                    text = f'RequestError: send request failed\ncaused by: {verb} "{url}": {cause}'
                    raise S3Failure("RequestError", text) from error
                time.sleep(0.03 * 2**attempt)
            except (botocore.exceptions.BotoCoreError, ValueError) as error:
                raise S3Failure("InvalidParameter", f"InvalidParameter: {error}") from error


def _failure(verb: str, error: botocore.exceptions.ClientError) -> S3Failure:
    details = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    status = meta.get("HTTPStatusCode", 0)
    code, message = str(details.get("Code", "")), details.get("Message", "")
    if status == 301:
        code, message = "BucketRegionError", "incorrect region, the bucket is in another region"
    elif verb == "Head":
        code, message = _HEAD_CODES.get(status, code), _REASONS.get(status, message)
    request = meta.get("RequestId", "")
    host = meta.get("HostId", "")
    return S3Failure(code, f"{code}: {message}\n\tstatus code: {status}, request id: {request}, host id: {host}")


def _url(access: S3Access, bucket: str) -> str:
    url = urlsplit(access.endpoint or f"https://s3.{access.region}.amazonaws.com")
    if access.virtual_hosted:
        return f"{url.scheme}://{bucket}.{url.netloc}/"
    return f"{url.scheme}://{url.netloc}/{bucket}"


def _dial_error(error: Exception, endpoint: str) -> str:
    """What Go's dialer or TLS stack says about a connection error of urllib3."""
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    chain: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        item = pending.pop()
        if item is None or item in chain:
            continue
        chain.append(item)
        pending += [item.__cause__, item.__context__]
        pending += [part for part in (*item.args, getattr(item, "reason", None)) if isinstance(part, BaseException)]
        if isinstance(item, botocore.exceptions.HTTPClientError):
            pending.append(item.kwargs.get("error"))
    for item in chain:
        if isinstance(item, ssl.SSLCertVerificationError):
            if item.verify_code in (62, 64):  # host name or address mismatch
                return f"tls: failed to verify certificate: x509: certificate is not valid for {host}"
            if item.verify_code == 10:
                return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
            return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        if isinstance(item, ssl.SSLError) and re.search("WRONG_VERSION_NUMBER|RECORD_LAYER", str(item)):
            return "http: server gave HTTP response to HTTPS client"
    for item in chain:
        if isinstance(item, socket.gaierror):
            return f"dial tcp: lookup {host}: no such host"
        if isinstance(item, OSError) and item.errno == errno.ECONNREFUSED:
            return f"dial tcp {_address(host)}:{port}: connect: connection refused"
        if isinstance(item, OSError) and item.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return f"dial tcp {_address(host)}:{port}: connect: {os.strerror(item.errno).lower()}"
        if isinstance(item, OSError) and item.errno == errno.ECONNRESET:
            return "read: connection reset by peer"
    if isinstance(error, botocore.exceptions.ConnectTimeoutError | botocore.exceptions.ReadTimeoutError):
        return f"dial tcp {_address(host)}:{port}: i/o timeout"
    return "EOF"


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def _usable_bundle(pem: str) -> str:
    """The certificates of a bundle, or one that signed nothing if there are none.

    The operator ignores what is not a certificate and may end up trusting nobody; OpenSSL would refuse an empty file.
    """
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    good = []
    for block in found:
        try:
            x509.load_pem_x509_certificate(block.encode())
        except ValueError:
            continue
        good.append(block)
    return "\n".join(good) if good else self_signed("nobody")[0]


def self_signed(name: str, alternatives: tuple[str, ...] = ()) -> tuple[str, str]:
    """A fresh self-signed certificate and its key, both PEM, valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(item) for item in alternatives]), critical=False
        )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return certificate, private


def forget_environment() -> None:
    """Drop settings of the caller's environment that would leak into the operator's S3 calls."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            del os.environ[name]
    nowhere = str(Path(os.devnull))
    os.environ.update(AWS_CONFIG_FILE=nowhere, AWS_SHARED_CREDENTIALS_FILE=nowhere, AWS_EC2_METADATA_DISABLED="true")
