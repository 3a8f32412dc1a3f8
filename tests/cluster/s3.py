# SPDX-License-Identifier: GPL-3.0-or-later
"""A real S3 API with real authentication: moto in server mode, and what tests need to talk to it.

As a program (``python -m tests.cluster.s3``) it serves HTTP and HTTPS on free loopback ports, writes its addresses and
the administrator's key into a file, and ends when its standard input closes. The HTTPS certificate is signed by an
unknown CA, so a client without that CA fails as it would in production. IAM authentication is on from the first
request: a wrong key, a wrong secret and a missing permission are answered as AWS answers them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ADMINISTRATOR = "lab-admin"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Key:
    """An access key of one user."""

    user: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Bucket:
    """A bucket, where it is, and a key that may use it."""

    name: str
    region: str
    endpoint: str
    https_endpoint: str
    ca_pem: str
    access_key: str
    secret_key: str


def _client(service: str, endpoint: str, key: Key | None) -> Any:
    """A boto3 client that nothing in the user's environment or home affects."""
    import boto3
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    quiet = dict.fromkeys(("profile", "config_file", "credentials_file", "ca_bundle"), (None, None, None, None))
    session = boto3.session.Session(botocore_session=botocore.session.Session(session_vars=quiet))
    return session.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key.access_key if key else None,
        aws_secret_access_key=key.secret_key if key else None,
        config=Config(
            proxies={},
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
            **({} if key else {"signature_version": UNSIGNED}),
        ),
    )


class S3:
    """The running server, as its administrator sees it.

    Args:
        state: what the server wrote into its ready file.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.endpoint = str(state["endpoint"])
        self.https_endpoint = str(state["https_endpoint"])
        self.region = str(state["region"])
        self.ca_pem = str(state["ca_pem"])
        self.key = Key(ADMINISTRATOR, str(state["access_key"]), str(state["secret_key"]))

    def client(self, key: Key | None = None) -> Any:
        """A boto3 S3 client with a key (the administrator's by default)."""
        return _client("s3", self.endpoint, key or self.key)

    def create_user(self, name: str) -> Key:
        """Create a user who may use every bucket, with one key. Fails if the user exists."""
        iam = _client("iam", self.endpoint, self.key)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="everything", PolicyDocument=json.dumps(EVERYTHING))
        return self.new_key(name)

    def new_key(self, user: str) -> Key:
        """Create another key for a user; the others stay valid."""
        key = _client("iam", self.endpoint, self.key).create_access_key(UserName=user)["AccessKey"]
        return Key(user, key["AccessKeyId"], key["SecretAccessKey"])

    def forbid_key(self, key: Key) -> None:
        """Delete a key: from now on its use fails with InvalidAccessKeyId."""
        _client("iam", self.endpoint, self.key).delete_access_key(UserName=key.user, AccessKeyId=key.access_key)

    def only_reading(self, user: str) -> None:
        """Take from a user the right to write, as a policy without ``s3:PutObject`` does.

        At AWS the right to list a bucket includes asking for its head, which the server here takes for a right of its
        own. Without it the operator would be refused as well, where in life it notices nothing.
        """
        actions = ["s3:List*", "s3:Get*", "s3:HeadBucket"]
        reading = {**EVERYTHING, "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        iam = _client("iam", self.endpoint, self.key)
        iam.put_user_policy(UserName=user, PolicyName="everything", PolicyDocument=json.dumps(reading))

    def rotate_key(self, key: Key) -> Key:
        """Replace a key: the old one is refused from now on, the new one is returned."""
        fresh = self.new_key(key.user)
        self.forbid_key(key)
        return fresh

    def bucket(self, name: str) -> Bucket:
        """Create a bucket and a user ``NAME-user`` for it."""
        self.create_bucket(name)
        key = self.create_user(f"{name}-user")
        return Bucket(
            name, self.region, self.endpoint, self.https_endpoint, self.ca_pem, key.access_key, key.secret_key
        )

    def create_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        self.client().create_bucket(Bucket=name)

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket with all that is in it."""
        client = self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=name, Key=entry["Key"])
        client.delete_bucket(Bucket=name)

    def objects(self, name: str) -> list[str]:
        """Keys of every object in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def serve(folder: Path, ready: Path, lab: Path) -> None:
    """Serve until standard input ends."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    import logging

    from moto import settings
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        # Keep-alive; one line per request in the log, without colours.
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            print(f'{self.log_date_time_string()} "{self.requestline}" {code}', flush=True)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run([str(lab), "certificate", "--dir", str(folder), "--name", "lab-s3"], check=True)
    pair = (str(folder / "tls.crt"), str(folder / "tls.key"))
    application: Any = DomainDispatcherApplication(create_backend_app)
    plain = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    secure = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler, ssl_context=pair)
    for server in (plain, secure):
        server.daemon_threads = True  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{plain.port}"
    # Nobody could authenticate the creation of the first user; all later requests are authenticated.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    iam = _client("iam", endpoint, Key("", "first", "first"))
    iam.create_user(UserName=ADMINISTRATOR)
    iam.put_user_policy(UserName=ADMINISTRATOR, PolicyName="everything", PolicyDocument=json.dumps(EVERYTHING))
    key = iam.create_access_key(UserName=ADMINISTRATOR)["AccessKey"]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    state = {
        "endpoint": endpoint,
        "https_endpoint": f"https://127.0.0.1:{secure.port}",
        "region": REGION,
        "access_key": key["AccessKeyId"],
        "secret_key": key["SecretAccessKey"],
        "ca_pem": (folder / "ca.crt").read_text(),
    }
    fresh = ready.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(state))
    fresh.replace(ready)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()  # the supervisor holds the other end
    os._exit(0)


def main() -> None:
    """Command line, used by the supervisor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the certificates")
    parser.add_argument("--ready", type=Path, required=True, help="file to write when the server answers")
    parser.add_argument("--lab", type=Path, required=True, help="the cluster's program")
    options = parser.parse_args()
    serve(options.folder, options.ready, options.lab)


if __name__ == "__main__":
    main()
