# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: the collection at work on a real Kubernetes control plane, and proof that it does what it promises.

Starts the embedded cluster; runs the playbook of each recipe (for storage, with a push and a pull in between) and runs
it again, when nothing may change; configures everything from one file of variables; sends requests that must be refused
with the reason; stops the cluster.
Exit status: 0 everything was as promised, 1 something was not (the output says what), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.cluster import Cluster, ClusterError
from tests.cluster.cluster import ScreenSteps
from tests.cluster.s3 import Bucket
from tests.demo import image

NAMESPACE = "image-registry-system"
CONFIG = "configs.imageregistry.operator.alauda.io/cluster"
ROOT = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^localhost\s*:.*\bchanged=(\d+)\s.*\bfailed=(\d+)", re.MULTILINE)
# The excerpt from the role's source at a failed task; of interest only to those who work on the role.
EXCERPT = re.compile(r"^(Origin: |\d+ |\s*\^ column \d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PLAYBOOK_TIMEOUT = 600.0  # seconds
PRUNER = "imagepruners.imageregistry.operator.alauda.io/cluster"
TEAMS = ["team-a", "team-b"]


class NotAsPromised(Exception):
    """The demonstration did not see what it was meant to show."""


class Screen:
    """What the viewer sees: chapters with the time since the start, and lines below them."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def clock(self) -> str:
        """Time since the start, m:ss."""
        seconds = int(time.monotonic() - self._begin)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def chapter(self, title: str) -> None:
        """Starts a chapter."""
        print(self._paint("1;36", f"\n==> [{self.clock()}] {title}"), flush=True)

    def line(self, text: str) -> None:
        """One line of detail."""
        print(f"    {text}", flush=True)

    def proven(self, text: str) -> None:
        """One promise that was kept."""
        print(self._paint("32", f"    ✔ {text}"), flush=True)

    def failed(self, text: str) -> None:
        """The end of a demonstration that failed."""
        print(self._paint("1;31", f"\n==> [{self.clock()}] NOT AS PROMISED: {text}"), file=sys.stderr, flush=True)


class Demo:
    """The demonstration on one running cluster."""

    def __init__(self, cluster: Cluster, screen: Screen, folder: Path) -> None:
        self._cluster = cluster
        self._screen = screen
        self._folder = folder
        self._s3_variables: dict[str, Any] = {}

    def _playbook(self, name: str, variables: Mapping[str, Any]) -> tuple[int, int, str]:
        """Runs a playbook of the collection with its output on the screen; returns (status, changed tasks, output)."""
        extra = self._folder / "variables.json"
        extra.touch(mode=0o600)
        extra.write_text(json.dumps({"registry_kubeconfig": self._cluster.kubeconfig, **variables}, default=str))
        command = ["ansible-playbook", f"alauda.image_registry.{name}", "-e", f"@{extra}"]
        for key, value in variables.items():
            self._screen.line(f"{key}: {_without_keys(key, value)}")
        self._screen.line(
            f"$ ansible-playbook alauda.image_registry.{name}" + (" -e @variables.yml" if variables else "")
        )
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
            "ANSIBLE_FORCE_COLOR": "1" if sys.stdout.isatty() else "0",
            "PYTHONUNBUFFERED": "1",
        }
        begin = time.monotonic()
        output = []
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as child:
            watchdog = threading.Timer(PLAYBOOK_TIMEOUT, child.kill)
            watchdog.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    output.append(line)
                    if line.strip() and not EXCERPT.search(line):
                        print(f"      {line.rstrip()}", flush=True)
            finally:
                watchdog.cancel()
                _ended(child)
        text = COLOUR.sub("", "".join(output))
        recap = RECAP.search(text)
        if recap is None:
            raise NotAsPromised(f"{name} exited with status {child.returncode} before it ran on localhost")
        self._screen.line(f"({time.monotonic() - begin:.1f} s)")
        return child.returncode, int(recap[1]), text

    def _kubectl(self, *arguments: str) -> None:
        """Runs kubectl with its output on the screen."""
        self._screen.line(f"$ kubectl {' '.join(arguments)}")
        for line in self._cluster.kubectl(*arguments).splitlines():
            self._screen.line(f"  {line}")

    def configured(self, name: str, variables: Mapping[str, Any], *, image_moves: bool = True) -> None:
        """Runs a playbook that must change something, pushes and pulls an image, runs it again: nothing may change.

        image_moves: whether an image is pushed and pulled in between; not every recipe is about storage.
        """
        status, changed, _ = self._playbook(name, variables)
        if status or not changed:
            raise NotAsPromised(f"{name} should have changed the registry: exit status {status}, changed={changed}")
        if image_moves:
            self.push_and_pull()
        status, changed, _ = self._playbook(name, variables)
        if status or changed:
            raise NotAsPromised(f"{name} should change nothing the second time: status {status}, changed={changed}")
        self._screen.proven("second run: changed=0")

    def verified(self, variables: Mapping[str, Any]) -> None:
        """The playbook verify finds no difference, and changes nothing."""
        status, changed, _ = self._playbook("verify", variables)
        if status or changed:
            raise NotAsPromised(f"verify should find no difference: exit status {status}, changed={changed}")
        self._screen.proven("verified; nothing was written")

    def push_and_pull(self) -> None:
        """Pushes an image and pulls it again, with crane."""
        address = self._cluster.registry_address
        pushed = image.push(address, text=f"hello at {time.time()}\n")
        image.pull(pushed)
        self._screen.proven(f"pushed and pulled {pushed.name} ({pushed.digest[:19]}…)")

    def refused(self, name: str, variables: Mapping[str, Any], *reasons: str, writes: bool = False) -> None:
        """Runs a playbook that must fail and name every one of `reasons`; unless `writes`, nothing may be written."""
        before = self._stored()
        status, _, text = self._playbook(name, variables)
        if status == 0:
            raise NotAsPromised(f"{name} accepted a request that cannot work")
        said = " ".join(text.split()).lower()
        missing = [reason for reason in reasons if reason.lower() not in said]
        if missing:
            raise NotAsPromised(f"{name} failed without naming {', '.join(missing)}")
        if not writes and self._stored() != before:
            raise NotAsPromised(f"{name} was refused, but something was written")
        self._screen.proven("failed, with the reason" if writes else "refused, with the reason; nothing was written")

    def _stored(self) -> str:
        """What the cluster holds of everything that the collection writes: a text that changes with every write."""
        kinds = (
            f"{CONFIG.partition('/')[0]},{PRUNER.partition('/')[0]},resourcequotas,limitranges,persistentvolumeclaims"
        )
        form = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.spec}|{end}"
        return self._cluster.kubectl("get", kinds, "--all-namespaces", "-o", form)

    def run(self) -> None:
        """All chapters in order. Raises NotAsPromised, ImageError, ClusterError."""
        chapter = self._screen.chapter
        chapter("What is running")
        for line in self._cluster.describe().splitlines():
            self._screen.line(line)
        self._kubectl("version")
        self._kubectl("get", "nodes")
        self._kubectl("get", "deployments,pods", "--namespace", NAMESPACE)
        self._kubectl("get", CONFIG, "-o", "jsonpath=Config/cluster: {.spec.managementState}, storage {.spec.storage}")

        chapter("Development storage (emptyDir)")
        self.configured("storage_emptydir", {})

        chapter("A request that cannot work: two replicas on a ReadWriteOnce claim")
        claim = {"registry_pvc_storage_class": "lab", "registry_pvc_size": "1Gi"}
        self.refused("storage_pvc", {**claim, "registry_storage_replicas": 2}, "ReadWriteOnce", "replicas")

        chapter("Persistent storage (PVC)")
        self.configured("storage_pvc", claim)

        chapter("A secret key with a typo")
        bucket = self._cluster.s3_bucket("demo")
        authority = self._folder / "s3-ca.pem"
        authority.write_text(bucket.ca_pem, encoding="utf-8")
        s3 = {
            "registry_s3_bucket": bucket.name,
            "registry_s3_region": bucket.region,
            "registry_s3_endpoint": bucket.https_endpoint,
            "registry_s3_trusted_ca_file": str(authority),
            "registry_s3_access_key": bucket.access_key,
            "registry_s3_secret_key": bucket.secret_key,
            "registry_on_backend_change": "allow",
        }
        wrong = {
            **s3,
            "registry_s3_secret_key": bucket.secret_key[:-1] + ("x" if bucket.secret_key[-1] != "x" else "y"),
        }
        self.refused("storage_s3", wrong, "SignatureDoesNotMatch", writes=True)

        chapter("Persistent storage (S3), with the right key")
        self.configured("storage_s3", s3)

        chapter("Managed pull secrets")
        hosts = {"registry_pullsecret_additional_registry_hosts": ["registry.example.com"]}
        self.configured("pullsecret", hosts, image_moves=False)

        chapter("Limits on images of two namespaces")
        for team in TEAMS:
            self._kubectl("create", "namespace", team)
        self.configured("limits", {"image_limits_namespaces": TEAMS}, image_moves=False)

        chapter("Scheduled pruning, with what to keep confirmed")
        keep = {"image_pruner_keep_tag_revisions": 3, "image_pruner_keep_younger_than": "60m"}
        self.configured("pruner", keep, image_moves=False)
        self._kubectl("get", "cronjob", "image-pruner", "--namespace", NAMESPACE)

        self._whole_page(bucket)

    def _whole_page(self, bucket: Bucket) -> None:
        """Everything again with other values, from one file of variables and with the playbook for all parts."""
        page: dict[str, Any] = {
            "registry_storage": {
                "backend": "s3",
                "s3": {
                    "bucket": bucket.name,
                    "region": bucket.region,
                    "region_endpoint": bucket.https_endpoint,
                    "trusted_ca": {"name": "s3-ca", "pem": bucket.ca_pem},
                    "access_key": bucket.access_key,
                    "secret_key": bucket.secret_key,
                },
                "replicas": 1,
                "disable_redirect": True,
            },
            "registry_pullsecret": {
                "management_state": "Managed",
                "additional_registry_hosts": ["registry.example.com", "mirror.example.com:8443"],
                "ignored_namespaces": ["kube-public"],
            },
            "image_limits": [
                {"namespaces": TEAMS, "quota": {"imagestreams": 20, "images": 300, "image_tags": 300}},
                {"namespace_selector": "kubernetes.io/metadata.name=default", "image": {"storage": "512Mi"}},
            ],
            "image_pruner": {
                "schedule": "30 1 * * *",
                "suspend": False,
                "keep_tag_revisions": 5,
                "keep_younger_than": "72h",
            },
        }
        chapter = self._screen.chapter
        chapter("Everything from one file, with an invalid schedule in the last part: no part is written")
        wrong = {**page, "image_pruner": {**page["image_pruner"], "schedule": "every night"}}
        self.refused("configure", wrong, "image_pruner", "every night")

        chapter("Everything from one file")
        self.configured("configure", page)

        chapter("Does the cluster still match the file? Then again after a change by hand")
        self.verified(page)
        self._kubectl("patch", PRUNER, "--type=merge", "--patch", '{"spec": {"keepTagRevisions": 1}}')
        self.refused("verify", page, "image_pruner", "differs", "keepTagRevisions")


def _without_keys(name: str, value: Any) -> Any:
    """A variable as it may be shown: without credentials at any depth."""
    if isinstance(value, Mapping):
        return {key: _without_keys(key, item) for key, item in value.items()}
    return "…" if name.endswith(("_key", "pem")) else value


def _ended(child: subprocess.Popen[str]) -> None:
    """Waits for a child process to end; one that does not (after an interrupt) is asked to, then killed."""
    for ask, patience in ((None, 2), (signal.SIGINT, 20), (signal.SIGKILL, 10)):
        if ask is not None:
            child.send_signal(ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=patience)
            return


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demonstration; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupted)
    screen = Screen()
    head, _, rest = (__doc__ or "").partition("\n")
    print(head + rest.split("Exit status")[0].rstrip(), flush=True)
    try:
        screen.chapter("Starting a Kubernetes control plane with Registry v2 (the first run builds it: minutes)")
        with (
            tempfile.TemporaryDirectory(prefix="image-registry-demo-") as folder,
            Cluster(f"demo-{os.getpid()}", s3=True, report=ScreenSteps(sys.stdout)) as cluster,
        ):
            Demo(cluster, screen, Path(folder)).run()
            screen.chapter("Stopping the cluster")
    except KeyboardInterrupt:
        screen.chapter("Interrupted; the cluster has been stopped")
        return 130
    except (NotAsPromised, image.ImageError, ClusterError) as error:
        screen.failed(str(error))
        return 1
    screen.chapter("Everything was as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
