# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: the collection at work on a real Kubernetes control plane, and proof that it does what it promises.

Starts the embedded cluster; runs the playbook of each recipe (for storage, with a push and a pull in between) and runs
it again, when nothing may change; configures everything from one file of variables; sends requests that must be refused
with the reason; stops the cluster.
Prints what matters of each command; VERBOSE=1 prints the whole output, and a log always holds it.
Exit status: 0 everything was as promised, 1 something was not (the output says what), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

import yaml

from tests.cluster import Cluster, ClusterError, binary
from tests.cluster.s3 import Bucket
from tests.demo import image

NAMESPACE = "image-registry-system"
CONFIG = "configs.imageregistry.operator.alauda.io/cluster"
ROOT = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^localhost\s*:.*\bchanged=(\d+)\s.*\bfailed=(\d+)", re.MULTILINE)
HEADING = re.compile(r"^TASK \[(.*)\] \**$")
PROGRESS = re.compile(r"^  \d+:\d\d ")
PROOF = re.compile(r"^  \S")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PLAYBOOK_TIMEOUT = 600.0  # seconds
PRUNER = "imagepruners.imageregistry.operator.alauda.io/cluster"
LOGS = ROOT / ".cache" / "demo"
WIDTH = 120  # columns
SHOWN_STEPS = ("kube-apiserver", "cluster")
MOST_LINES = 120  # of the story, without the lines that depend on the machine's speed
MOST_LINES_UNCHANGED = 16  # that configure prints when there is nothing to change
FIRST_GAP, LONGEST_GAP = 1.0, 15.0  # seconds between two lines of progress; grows from one to the next
TEAMS = ["team-a", "team-b"]


class NotAsPromised(Exception):
    """The demonstration did not see what it was meant to show. output: of the command that disappointed."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class Screen:
    """What the viewer sees: chapters with the time since the start, and lines below them. The log holds all of it."""

    def __init__(self, log: TextIO, *, verbose: bool) -> None:
        self._begin = time.monotonic()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._log = log
        self._lock = threading.RLock()
        self._last = self._begin
        self._gap = FIRST_GAP
        self._waiting = ""
        self.verbose = verbose
        self.lines = 0  # on the screen
        self.waits = 0  # those of them that depend on the machine's speed

    def _show(self, text: str, code: str = "", *, logged: bool = True) -> None:
        with self._lock:
            painted = f"\x1b[{code}m{text}\x1b[0m" if code and self._colours else text
            print(painted, flush=True)
            if logged:
                print(text, file=self._log, flush=True)
            self._last = time.monotonic()
            self.lines += text.count("\n") + 1

    def clock(self) -> str:
        """Time since the start, m:ss."""
        seconds = int(time.monotonic() - self._begin)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def chapter(self, title: str) -> None:
        """Starts a chapter."""
        self._show(f"\n==> [{self.clock()}] {title}", "1;36")

    def line(self, text: str, indent: int = 4, *, logged: bool = True) -> None:
        """One line of detail, wrapped if it is long. logged: off for what the log has from elsewhere."""
        first = " " * indent
        for part in textwrap.wrap(
            text, WIDTH, initial_indent=first, subsequent_indent=first + "  ", break_on_hyphens=False
        ):
            self._show(part, logged=logged)

    def proven(self, text: str) -> None:
        """One promise that was kept."""
        self._show(f"    ✔ {text}", "32")

    def whole(self, text: str) -> None:
        """A line of a command's whole output: for the log, on the screen only if it is verbose."""
        if self.verbose:
            self._show(f"      {text}".rstrip())
        else:
            print(f"      {text}".rstrip(), file=self._log, flush=True)

    def new_wait(self) -> None:
        """A command starts or ends; progress from now on is shown soon, then less and less often."""
        with self._lock:
            self._gap, self._waiting, self._last = FIRST_GAP, "", time.monotonic()

    def progress(self, text: str, *, quiet: bool) -> None:
        """A state that the command waits in; shown if enough time has passed since the last line."""
        with self._lock:
            self._waiting = text
            if not quiet and time.monotonic() - self._last >= self._gap:
                self._show_wait()

    def _show_wait(self) -> None:
        self._gap = min(4 * self._gap, LONGEST_GAP)
        text = self._waiting or f"[{self.clock()}] still running"
        self._show(f"      {textwrap.shorten(text, WIDTH - 6, placeholder=' …')}", logged=False)
        self.waits += 1

    def reassure(self) -> None:
        """Shows from now on, in the background, that it is still at work when no line has come for a while."""

        def watch() -> None:
            while True:
                time.sleep(1.0)
                with self._lock:
                    if time.monotonic() - self._last >= LONGEST_GAP:
                        self._show_wait()

        threading.Thread(target=watch, daemon=True).start()

    def failed(self, text: str, output: str = "") -> None:
        """The end of a demonstration that failed. output: of the step that failed."""
        if output and not self.verbose:
            print(f"\nThe whole output of the step that failed:\n{textwrap.indent(output, '    ')}", file=sys.stderr)
        title = f"\n==> [{self.clock()}] NOT AS PROMISED: {text}"
        print(title, file=self._log, flush=True)
        print(f"\x1b[1;31m{title}\x1b[0m" if self._colours else title, file=sys.stderr, flush=True)


class Digest:
    """Shows what matters of ansible-playbook's output as it arrives: each task's progress, proof, warnings, errors."""

    def __init__(self, screen: Screen, warnings: set[str], *, quiet: bool) -> None:
        self._screen = screen
        self._warnings = warnings  # shown before; a repetition says nothing new
        self._quiet = quiet
        self._heading = ""
        self._error: list[str] = []

    def read(self, line: str) -> None:
        """Takes the next line, without colours."""
        if self._error:
            if line and not line.startswith(("Origin: ", "fatal: ")):
                self._error.append(line)
                return
            self._below_heading(" ".join(self._error))
            self._error = []
        if heading := HEADING.search(line):
            self._heading = heading[1]
        elif PROGRESS.search(line):
            self._show_heading()
            self._screen.progress(line.strip(), quiet=self._quiet)
        elif line.startswith("[ERROR]: "):
            self._error = [line]
        elif line.startswith("[WARNING]: "):
            # In a run of several parts the same text follows the name of its part.
            if not any(line.endswith(known) for known in self._warnings):
                self._warnings.add(line.removeprefix("[WARNING]: "))
                self._below_heading(textwrap.shorten(line, WIDTH - 6, placeholder=" …"))
        elif PROOF.search(line) and not self._quiet:
            self._below_heading(line.strip())

    def _show_heading(self) -> None:
        if self._heading and not self._quiet:
            self._screen.line(f"TASK [{self._heading}]", logged=False)
        self._heading = ""

    def _below_heading(self, text: str) -> None:
        self._show_heading()
        self._screen.line(text, indent=6, logged=False)


@dataclass(frozen=True)
class Run:
    """A playbook's run on localhost. output: whole, without colours; changed: the number of tasks."""

    status: int
    changed: int
    seconds: float
    output: str


class Demo:
    """The demonstration on one running cluster."""

    def __init__(self, cluster: Cluster, screen: Screen, folder: Path) -> None:
        self._cluster = cluster
        self._screen = screen
        self._folder = folder
        self._given: dict[str, Any] = {}
        self._warnings: set[str] = set()

    def _playbook(self, name: str, variables: Mapping[str, Any], *, again: bool = False) -> Run:
        """Runs a playbook of the collection; shows what matters of it, of a repetition (`again`) only what is new."""
        extra = self._folder / "variables.json"
        extra.touch(mode=0o600)
        extra.write_text(json.dumps({"registry_kubeconfig": self._cluster.kubeconfig, **variables}, default=str))
        command = ["ansible-playbook", f"alauda.image_registry.{name}", "-e", f"@{extra}"]
        shown = f"$ ansible-playbook alauda.image_registry.{name}" + (" -e @variables.yml" if variables else "")
        if again:
            self._screen.whole(shown)
        else:
            self._show_command(shown, variables)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            # Otherwise a heading comes only with its task's result, below the task's progress.
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true",
            "ANSIBLE_DISPLAY_OK_HOSTS": "true",
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("ANSIBLE_FORCE_COLOR", None)
        begin = time.monotonic()
        output = []
        digest = Digest(self._screen, self._warnings, quiet=again)
        self._screen.new_wait()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as child:
            watchdog = threading.Timer(PLAYBOOK_TIMEOUT, child.kill)
            watchdog.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    plain = COLOUR.sub("", line).rstrip()
                    output.append(plain)
                    self._screen.whole(plain)
                    if not self._screen.verbose:
                        digest.read(plain)
            finally:
                watchdog.cancel()
                _ended(child)
                self._screen.new_wait()
        text = "\n".join(output)
        recap = RECAP.search(text)
        if recap is None:
            raise NotAsPromised(f"{name} exited with status {child.returncode} before it had run on localhost", text)
        return Run(child.returncode, int(recap[1]), time.monotonic() - begin, text)

    def _show_command(self, command: str, variables: Mapping[str, Any]) -> None:
        """Shows a command with variables that its predecessor did not have: flat ones together, nested ones apart."""
        new = {key: value for key, value in variables.items() if self._given.get(key) != value}
        self._given = dict(variables)
        nested = [key for key, value in new.items() if isinstance(value, (dict, list))]
        flat = ", ".join(f"{key}: {_shown(key, new[key])}" for key in new if key not in nested)
        texts = [*([flat] if flat else []), *(f"{key}: {_shown(key, new[key])}" for key in nested)]
        if texts and len(new) < len(variables):
            texts[-1] += "; rest as before"
        if len(texts) == 1 and len(f"    {command}  # {texts[0]}") <= WIDTH:
            command, texts = f"{command}  # {texts[0]}", []
        self._screen.line(command)
        for text in texts:
            self._screen.line(text, indent=6)

    def _kubectl(self, *arguments: str) -> None:
        """Runs kubectl, with its whole output in the log."""
        self._screen.line(f"$ kubectl {shlex.join(arguments)}")
        self._output(self._cluster.kubectl(*arguments))

    def _output(self, text: str) -> str:
        for line in text.splitlines():
            self._screen.whole(line)
        return text

    def configured(self, name: str, variables: Mapping[str, Any], *, image_moves: bool = True) -> Run:
        """Runs a playbook that must change something, pushes and pulls an image, runs it again: nothing may change.

        Returns the second run. image_moves: whether an image is pushed and pulled in between; not every recipe is about
        storage.
        """
        first = self._playbook(name, variables)
        if first.status or not first.changed:
            text = f"{name} should have changed the registry: exit status {first.status}, changed={first.changed}"
            raise NotAsPromised(text, first.output)
        moved = f"; {self.push_and_pull()}" if image_moves else ""
        second = self._playbook(name, variables, again=True)
        if second.status or second.changed:
            text = f"{name} should change nothing the second time: status {second.status}, changed={second.changed}"
            raise NotAsPromised(text, second.output)
        once = f"changed={first.changed} ({first.seconds:.1f} s)"
        self._screen.proven(f"{once}{moved}; run again: changed=0 ({second.seconds:.1f} s)")
        return second

    def verified(self, variables: Mapping[str, Any]) -> None:
        """The playbook verify finds no difference, and changes nothing."""
        self._screen.line("$ ansible-playbook alauda.image_registry.verify -e @variables.yml")
        run = self._playbook("verify", variables, again=True)
        if run.status or run.changed:
            text = f"verify should find no difference: exit status {run.status}, changed={run.changed}"
            raise NotAsPromised(text, run.output)
        self._screen.proven("verified; nothing was written")

    def push_and_pull(self) -> str:
        """Pushes an image and pulls it again, with crane; returns what was done."""
        pushed = image.push(self._cluster.registry_address, text=f"hello at {time.time()}\n")
        image.pull(pushed)
        self._screen.whole(f"pushed and pulled {pushed.name} ({pushed.digest})")
        return f"pushed and pulled {pushed.name.partition('/')[2]} ({pushed.digest[:19]}…)"

    def refused(self, name: str, variables: Mapping[str, Any], *reasons: str, writes: bool = False) -> None:
        """Runs a playbook that must fail and name every one of `reasons`; unless `writes`, nothing may be written."""
        before = self._stored()
        run = self._playbook(name, variables)
        if run.status == 0:
            raise NotAsPromised(f"{name} accepted a request that cannot work", run.output)
        said = " ".join(run.output.split()).lower()
        missing = [reason for reason in reasons if reason.lower() not in said]
        if missing:
            raise NotAsPromised(f"{name} failed without naming {', '.join(missing)}", run.output)
        if not writes and self._stored() != before:
            raise NotAsPromised(f"{name} was refused, but something was written", run.output)
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
        self._output(self._cluster.describe())
        status = self._cluster.status()
        version = self._output(self._cluster.kubectl("version")).rpartition("Server Version: ")[2].strip()
        nodes = self._output(self._cluster.kubectl("get", "nodes", "--no-headers")).splitlines()
        self._output(self._cluster.kubectl("get", "deployments,pods", "--namespace", NAMESPACE))
        form = "jsonpath=Config/cluster: {.spec.managementState}, storage {.spec.storage}"
        config = self._cluster.kubectl("get", CONFIG, "-o", form)
        names = ", ".join(process["name"] for process in status["processes"])
        self._screen.line(f"Kubernetes {version}, {len(nodes)} nodes: {names}")
        self._screen.line(config)

        chapter("Development storage (emptyDir)")
        self.configured("storage_emptydir", {})

        chapter("A request that cannot work, and that would lose an image: two replicas on a ReadWriteOnce claim")
        claim = {"registry_pvc_storage_class": "lab", "registry_pvc_size": "1Gi"}
        two = {**claim, "registry_storage_replicas": 2}
        self.refused("storage_pvc", two, "ReadWriteOnce", "replicas", "would be lost", "on_backend_change")

        chapter("Persistent storage (PVC), with consent to leave the emptyDir")
        self.configured("storage_pvc", {**claim, "registry_on_backend_change": "allow"})

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
            self._output(self._cluster.kubectl("create", "namespace", team))
        self.configured("limits", {"image_limits_namespaces": TEAMS}, image_moves=False)

        chapter("Scheduled pruning, with what to keep confirmed")
        keep = {"image_pruner_keep_tag_revisions": 3, "image_pruner_keep_younger_than": "60m"}
        self.configured("pruner", keep, image_moves=False)
        self._output(self._cluster.kubectl("get", "cronjob", "image-pruner", "--namespace", NAMESPACE))

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
        second = self.configured("configure", page)
        lines = len(second.output.splitlines())
        if lines > MOST_LINES_UNCHANGED:
            text = f"configure prints {lines} lines with nothing to change, more than {MOST_LINES_UNCHANGED}"
            raise NotAsPromised(text, second.output)

        chapter("Does the cluster still match the file? Then again after a change by hand")
        self.verified(page)
        self._kubectl("patch", PRUNER, "--type=merge", "--patch", '{"spec": {"keepTagRevisions": 1}}')
        self.refused("verify", page, "image_pruner", "differs", "keepTagRevisions")


def _without_keys(name: str, value: Any) -> Any:
    """A variable as it may be shown: without credentials at any depth."""
    if isinstance(value, Mapping):
        return {key: _without_keys(key, item) for key, item in value.items()}
    return "…" if name.endswith(("_key", "pem")) else value


def _shown(name: str, value: Any) -> str:
    """A variable's value as it stands in a file of variables, without credentials."""
    harmless = _without_keys(name, value)
    if not isinstance(harmless, (dict, list)):
        return str(harmless)
    return yaml.safe_dump(harmless, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()


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
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with path.open("w", encoding="utf-8") as log:
        return _shown_on(Screen(log, verbose=os.environ.get("VERBOSE", "0") not in ("", "0")), os.path.relpath(path))


def _shown_on(screen: Screen, log: str) -> int:
    """The demonstration; returns the exit status. log: the path to show."""
    screen.line((__doc__ or "").partition("\n")[0], indent=0)
    screen.line(f"Whole output: {log} (VERBOSE=1 shows it here)", indent=0)
    try:
        screen.chapter("Starting a Kubernetes control plane with Registry v2 (the first run builds it: minutes)")
        binary()  # shows its own progress
        screen.reassure()

        def started(step: str, state: str, seconds: float, _: str) -> None:
            show = screen.line if step in SHOWN_STEPS else screen.whole
            if state in ("ready", "up"):
                show(f"{seconds:.1f} s: {step} {state}")

        with (
            tempfile.TemporaryDirectory(prefix="image-registry-demo-") as folder,
            Cluster(f"demo-{os.getpid()}", s3=True, report=started) as cluster,
        ):
            Demo(cluster, screen, Path(folder)).run()
            screen.line("Stopping the cluster", indent=0)
        if not screen.verbose and screen.lines - screen.waits > MOST_LINES:
            raise NotAsPromised(f"the story takes {screen.lines} lines, more than {MOST_LINES}")
    except KeyboardInterrupt:
        screen.chapter(f"Interrupted; the cluster has been stopped. Whole output: {log}")
        return 130
    except NotAsPromised as error:
        screen.failed(f"{error}. Whole output: {log}", error.output)
        return 1
    except (image.ImageError, ClusterError) as error:
        screen.failed(f"{error}. Whole output: {log}")
        return 1
    screen.chapter(f"Everything was as promised, in {screen.lines + 2} lines. Whole output: {log}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
