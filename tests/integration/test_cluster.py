# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded cluster itself: what it promises to the tests that rely on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.config
import pytest

from tests.cluster import Cluster, ClusterError, build, running
from tests.cluster.cluster import home
from tests.integration.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "image-registry-system"
# A run in the background ignores SIGINT, and everything that it starts would inherit this.
INTERRUPTIBLE = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the cluster."""
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900
    )


def exists(pid: int) -> bool:
    """Whether a process exists and is more than a zombie that nobody has waited for yet.

    A killed process is shown as a zombie as soon as its first thread is dead; the others hold its files, and so the
    cluster's lock, until the last of them has ended.
    """
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("Z", "X") or len(list((process / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(cluster: Cluster) -> list[int]:
    """Every process of a cluster, its supervisor first."""
    status = cluster.status()
    return [status["pid"], *(process["pid"] for process in status["processes"])]


def get(cluster: Cluster, *what: str) -> dict[str, Any]:
    """An object or a list in the registry's namespace."""
    found: dict[str, Any] = json.loads(cluster.kubectl("-n", NAMESPACE, "get", *what, "-o", "json"))
    return found


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    """Create or change objects."""
    items = [{**entry, "metadata": {"namespace": NAMESPACE, **entry["metadata"]}} for entry in objects]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def deployment(
    name: str,
    *,
    env: dict[str, Any] | None = None,
    volumes: dict[str, tuple[str, dict[str, Any]]] | None = None,
    annotations: dict[str, str] | None = None,
    image: str = "registry",
) -> dict[str, Any]:
    """A Deployment with one registry container. volumes: name to (mount path, source); env values may be valueFrom."""
    folder = {"REGISTRY_STORAGE": "filesystem", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/registry"}
    variables = {
        **(folder if "REGISTRY_STORAGE" not in (env or {}) else {}),
        "REGISTRY_HTTP_ADDR": ":5000",
        "REGISTRY_HTTP_TLS_CERTIFICATE": "/etc/secrets/tls.crt",
        "REGISTRY_HTTP_TLS_KEY": "/etc/secrets/tls.key",
        "REGISTRY_HEALTH_STORAGEDRIVER_ENABLED": "true",
        "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "1s",
        "REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD": "1",
        **(env or {}),
    }
    mounted = {"registry-storage": ("/registry", {"emptyDir": {}}), **(volumes or {})}
    container = {
        "name": "registry",
        "image": image,
        "ports": [{"containerPort": 5000}],
        "env": [
            {"name": key, "value": value} if isinstance(value, str) else {"name": key, "valueFrom": value}
            for key, value in variables.items()
        ],
        "volumeMounts": [{"name": key, "mountPath": path} for key, (path, _) in mounted.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": key, **source} for key, (_, source) in mounted.items()],
                },
            },
        },
    }


def service(name: str, app: str) -> dict[str, Any]:
    """A Service on port 5000."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"name": "5000-tcp", "port": 5000, "targetPort": 5000}]},
    }


def claim(name: str, storage_class: str) -> dict[str, Any]:
    """A claim of 1 GiB."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def shown(cluster: Cluster) -> str:
    """The namespace's objects, for the message of a failure."""
    return "\n" + cluster.kubectl("-n", NAMESPACE, "get", "pods,deployments,pvc,events", "-o", "wide", check=False)


def pod(cluster: Cluster, app: str) -> dict[str, Any]:
    """The one Pod of a Deployment that is not being deleted, as soon as there is one."""

    def look() -> dict[str, Any] | None:
        found = get(cluster, "pods", "-l", f"app={app}")["items"]
        live: list[dict[str, Any]] = [entry for entry in found if "deletionTimestamp" not in entry["metadata"]]
        return live[0] if len(live) == 1 else None

    answer: dict[str, Any] = until(f"one Pod of {app}", look, state=lambda: shown(cluster))
    return answer


def ready(cluster: Cluster, app: str) -> dict[str, Any]:
    """The Pod of a Deployment, when it is Ready."""

    def look() -> dict[str, Any] | None:
        found = pod(cluster, app)
        conditions = {entry["type"]: entry["status"] for entry in found.get("status", {}).get("conditions", [])}
        return found if conditions.get("Ready") == "True" else None

    answer: dict[str, Any] = until(f"{app} ready", look, state=lambda: shown(cluster))
    return answer


def waiting(cluster: Cluster, app: str) -> dict[str, Any]:
    """Why the container of a Deployment's Pod waits: {reason, message}; empty when it does not."""
    statuses = pod(cluster, app).get("status", {}).get("containerStatuses", [])
    found: dict[str, Any] = statuses[0]["state"].get("waiting", {}) if statuses else {}
    return found


def through_pod(cluster: Cluster, name: str, path: str) -> str:
    """What a Pod's registry answers through the API server's proxy, whatever the status."""
    client = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
    url = f"{cluster.api}/api/v1/namespaces/{NAMESPACE}/pods/https:{name}:5000/proxy{path}"
    with contextlib.closing(client):
        return str(client.rest_client.pool_manager.request("GET", url, retries=False).data.decode())


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """A cluster without the operator: the tests create the Deployments."""
    with Cluster(operator=False) as cluster:
        yield cluster


# Lifecycle of clusters


def test_several_at_once_from_the_command_line() -> None:
    names = [f"cli-{os.getpid()}-{letter}" for letter in "ab"]
    try:
        for name in names:
            started = command("up", "--name", name, "--no-operator", "--no-s3")
            assert started.returncode == 0, started.stderr
            kubeconfig = Path(started.stdout.splitlines()[-1])
            assert kubeconfig.stat().st_mode & 0o077 == 0, "only its owner may read the administrator's key"
            assert "kube-apiserver ready" in started.stderr
        statuses = [json.loads(command("status", "--name", name, "--json").stdout) for name in names]
        assert statuses[0]["api"] != statuses[1]["api"]
        assert {entry["name"] for entry in statuses[0]["processes"]} == {
            *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
        }
        again = command("up", "--name", names[0])
        assert again.returncode == 1
        assert "is running already" in again.stderr
        assert "Traceback" not in again.stderr
        assert set(names) <= set(running())
        there = [pid for name in names for pid in pids(Cluster.attach(name))]
        assert all(map(exists, there))
    finally:
        for name in names:
            assert command("down", "--name", name).returncode == 0
    assert not any(map(exists, there))
    assert not any((home() / name).exists() or (home() / f"{name}.lock").exists() for name in names)


def test_nothing_outlives_a_killed_supervisor() -> None:
    name = f"killed-{os.getpid()}"
    first = Cluster(name, operator=False, s3=True)
    first.start()
    apply(first, deployment("image-registry"))
    ready(first, "image-registry")
    there = pids(first)
    assert len(there) >= 8, "supervisor, five of the control plane, S3, registry"
    os.kill(there[0], signal.SIGKILL)
    until("all processes are gone", lambda: not any(map(exists, there)))
    with Cluster(name, operator=False) as second:  # same name, nothing in the way
        assert second.kubectl("-n", NAMESPACE, "get", "deployments").strip() == ""
    first.stop()
    assert not (home() / name).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_its_python(number: signal.Signals) -> None:
    name = f"parent-{os.getpid()}-{int(number)}"
    script = INTERRUPTIBLE + (
        "import sys, time\nfrom tests.cluster import Cluster\n"
        f"with Cluster({name!r}, operator=False) as cluster:\n"
        "    print(*[cluster.status()['pid'], *(p['pid'] for p in cluster.status()['processes'])], flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        there = [int(word) for word in parent.stdout.readline().split()]
        assert len(there) >= 6
        parent.send_signal(number)
    until("all processes are gone", lambda: not any(map(exists, there)))
    until("the folder is gone", lambda: name not in running() and not (home() / name).exists())


def test_interrupted_start_leaves_nothing() -> None:
    name = f"early-{os.getpid()}"
    script = INTERRUPTIBLE + "import runpy\nrunpy.run_module('tests.cluster', run_name='__main__', alter_sys=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", script, "up", "--name", name, "--no-operator"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as starting:
        assert starting.stderr is not None
        line = ""
        while "etcd ready" not in line:
            line = starting.stderr.readline()
            assert line, "ended too early"
        starting.send_signal(signal.SIGINT)
        rest = starting.stderr.read()
    assert starting.returncode == 130
    assert "Traceback" not in rest
    assert name not in running()
    assert not (home() / name).exists()


def test_a_step_that_fails_is_named_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("apiVersion: example.org/v1\nkind: Nonsense\nmetadata: {name: x}\n")
    monkeypatch.setattr("tests.cluster.cluster.CRDS", tmp_path)
    cluster = Cluster(operator=False)
    with pytest.raises(ClusterError) as caught:
        cluster.start()
    assert "controllers" in str(caught.value)
    assert "bad.yaml" in str(caught.value)
    logs = Path(str(caught.value).rpartition("all logs: ")[2])
    assert (logs / "kube-apiserver.log").stat().st_size > 0
    assert cluster.name not in running()
    assert not cluster.dir.exists()
    shutil.rmtree(logs)


def test_bad_name_and_absent_cluster_are_plain_errors() -> None:
    with pytest.raises(ClusterError, match="lower-case"):
        Cluster("No/Such")
    with pytest.raises(ClusterError, match="no running cluster named 'absent'"):
        Cluster.attach("absent")


# Building


def test_a_second_start_builds_nothing(lab: Cluster) -> None:
    shown: list[str] = []
    program = build.ensure_built(lambda text, last: shown.append(text))
    assert shown == []
    assert str(program) == lab.status()["binary"]


def test_a_failed_build_names_the_reason_and_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = tmp_path / "lab"
    sources.mkdir()
    (sources / "go.mod").write_text("module broken\n\ngo 1.26.0\n")
    (sources / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_check_space", lambda go: None)
    with pytest.raises(build.BuildError, match="undefined: nonsense") as caught:
        build.ensure_built(lambda text, last: None)
    log = Path(str(caught.value).rpartition("The whole log: ")[2])
    assert "undefined: nonsense" in log.read_text()


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "NEEDED_BYTES", 1 << 60)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"disk full: .* GiB free"):
        build.ensure_built(lambda text, last: None)


def test_programs_that_are_no_longer_used_are_removed(tmp_path: Path) -> None:
    ages = {"current": 400, "fresh": 1, "old": 8}  # days
    for name, days in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "lab").touch()
        then = time.time() - days * 86400
        os.utime(tmp_path / name / "lab", (then, then))
    build._forget_old(tmp_path / "current")
    assert {path.name for path in tmp_path.iterdir()} == {"current", "fresh"}


def test_go_that_is_too_old_is_not_used() -> None:
    assert build.go_version("go1.25.9") < build.required_go() <= build.go_version("go1.26.0")
    assert build.go_version("devel") < build.required_go()


# The control plane is real


def test_rbac_and_admission_are_real(lab: Cluster) -> None:
    nobody = lab.kubeconfig_for("nobody", ["testers"])
    with pytest.raises(ClusterError, match='User "nobody" cannot list resource "pods"'):
        lab.kubectl("--kubeconfig", str(nobody), "get", "pods")
    lab.kubectl("create", "clusterrolebinding", "testers-view", "--clusterrole=view", "--group=testers")
    until("the binding is in force", lambda: "pods" not in lab.kubectl("--kubeconfig", str(nobody), "get", "pods"))
    with pytest.raises(ClusterError, match="pods/proxy"):
        lab.kubectl("--kubeconfig", str(nobody), "get", "--raw", "/api/v1/namespaces/default/pods/x:5000/proxy/")
    lab.kubectl("create", "namespace", "limited")
    lab.kubectl("-n", "limited", "create", "quota", "none", "--hard=configmaps=1")
    # kube-root-ca.crt, which every namespace gets, uses up the one that is allowed.
    until("the quota is used up", lambda: '"1"' in lab.kubectl("-n", "limited", "get", "quota", "-o=jsonpath={..used}"))
    with pytest.raises(ClusterError, match="exceeded quota: none"):
        lab.kubectl("-n", "limited", "create", "configmap", "one-more")


def test_the_api_server_comes_back_where_it_was(lab: Cluster) -> None:
    before = lab.status()["api"]
    lab.restart("kube-apiserver")
    assert lab.status()["api"] == before
    assert "lab-node" in lab.kubectl("get", "nodes", "-o", "name")


def test_a_node_is_ready_again_by_itself(lab: Cluster) -> None:
    """After the API server was away for longer than a Lease lasts, the node lifecycle controller writes this."""
    lost = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "no status"}]
    patch = json.dumps({"status": {"conditions": lost}})
    lab.kubectl("patch", "node", "lab-node", "--subresource=status", "--type=strategic", "-p", patch)

    def state() -> str:
        path = "-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return lab.kubectl("get", "node", "lab-node", path)

    until("the node is Ready", lambda: state() == "True", patience=40.0, state=state)


# Pods


def test_the_registry_is_reached_through_both_proxies_and_its_own_address(lab: Cluster, tmp_path: Path) -> None:
    apply(lab, deployment("image-registry", image="one"), service("image-registry", "image-registry"))
    name = ready(lab, "image-registry")["metadata"]["name"]
    assert json.loads(through_pod(lab, name, "/v2/")) == {}
    url = f"/api/v1/namespaces/{NAMESPACE}/services/https:image-registry:5000/proxy/v2/_catalog"
    assert json.loads(until("endpoints", lambda: lab.kubectl("get", "--raw", url, check=False))) == {"repositories": []}
    layer = tmp_path / "layer.tar"
    subprocess.run(["tar", "-cf", str(layer), "-C", str(ROOT), "galaxy.yml"], check=True)
    reference = f"{lab.registry_address}/team/app:1"
    lab.crane("append", "--new_layer", str(layer), "--new_tag", reference, "--insecure")
    assert json.loads(lab.kubectl("get", "--raw", url)) == {"repositories": ["team/app"]}
    assert lab.crane("ls", reference.rpartition(":")[0], "--insecure").split() == ["1"]

    log = lab.kubectl("-n", NAMESPACE, "logs", name)
    assert "listening on [::]:5000, tls" in log, "paths and addresses are those of the container"
    assert str(lab.dir) not in log
    assert len(lab.kubectl("-n", NAMESPACE, "logs", name, "--tail=2").splitlines()) == 2
    stamped = lab.kubectl("-n", NAMESPACE, "logs", name, "--tail=1", "--timestamps").split()[0]
    later = lab.kubectl("-n", NAMESPACE, "logs", name, f"--since-time={stamped[:19]}Z", "--timestamps")
    assert min(line.split()[0] for line in later.splitlines()) >= stamped[:19]

    apply(lab, deployment("image-registry", image="two"))  # emptyDir: a new Pod starts empty
    until("the new Pod", lambda: pod(lab, "image-registry")["spec"]["containers"][0]["image"] == "two")
    ready(lab, "image-registry")
    until("the Service routes to it", lambda: json.loads(lab.kubectl("get", "--raw", url, check=False) or "null"))
    assert lab.crane("catalog", lab.registry_address, "--insecure").strip() == ""


def test_the_data_of_a_claim_outlives_the_pod_but_not_the_claim(lab: Cluster, tmp_path: Path) -> None:
    volume = {"registry-storage": ("/registry", {"persistentVolumeClaim": {"claimName": "data"}})}
    apply(lab, claim("data", "lab-wffc"))
    until("it waits for a consumer", lambda: "WaitForFirstConsumer" in lab.kubectl("-n", NAMESPACE, "get", "events"))
    assert get(lab, "pvc", "data")["status"]["phase"] == "Pending"
    apply(lab, deployment("keeper", volumes=volume), service("keeper", "keeper"))
    name = ready(lab, "keeper")["metadata"]["name"]
    bound = get(lab, "pvc", "data")
    folder = lab.dir / "volumes" / bound["spec"]["volumeName"]
    assert folder.is_dir()
    (folder / "kept").write_text("by the volume")
    lab.kubectl("-n", NAMESPACE, "delete", "pod", name)
    until("another Pod", lambda: pod(lab, "keeper")["metadata"]["name"] != name)
    ready(lab, "keeper")
    assert (folder / "kept").read_text() == "by the volume"

    growth = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    lab.kubectl("-n", NAMESPACE, "patch", "pvc", "data", "-p", json.dumps(growth))
    until("it grew", lambda: get(lab, "pvc", "data")["status"]["capacity"]["storage"] == "2Gi")

    lab.kubectl("-n", NAMESPACE, "delete", "deployment", "keeper")
    lab.kubectl("-n", NAMESPACE, "delete", "pvc", "data", "--wait=false")
    until("the data is gone with its claim", lambda: not folder.exists())
    until("the volume is gone", lambda: folder.name not in lab.kubectl("get", "pv", "-o", "name"))


def test_a_claim_without_a_provisioner_keeps_its_pod_pending_with_the_reason(lab: Cluster) -> None:
    volume = {"registry-storage": ("/registry", {"persistentVolumeClaim": {"claimName": "unserved"}})}
    apply(lab, claim("unserved", "none"), deployment("stuck", volumes=volume))

    def reason() -> str:
        conditions = pod(lab, "stuck").get("status", {}).get("conditions", [])
        return " ".join(entry.get("message", "") for entry in conditions if entry["type"] == "PodScheduled")

    assert "unbound immediate PersistentVolumeClaims" in until("the scheduler's reason", reason)
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/stuck", "pvc/unserved")


def test_what_is_missing_is_reported_in_a_kubelet_s_words(lab: Cluster) -> None:
    secret = {"secretKeyRef": {"name": "keys", "key": "access"}}
    apply(lab, deployment("wants", env={"WANTED": secret}, volumes={"ca": ("/ca", {"configMap": {"name": "ca"}})}))
    until("FailedMount", lambda: 'configmap "ca" not found' in lab.kubectl("-n", NAMESPACE, "get", "events"))
    apply(lab, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"a.crt": "x"}})
    assert until("no Secret", lambda: waiting(lab, "wants").get("reason") == "CreateContainerConfigError")
    assert waiting(lab, "wants")["message"] == 'secret "keys" not found'
    apply(lab, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"other": "x"}})
    until("no key", lambda: "couldn't find key access in Secret" in waiting(lab, "wants").get("message", ""))
    apply(lab, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"access": "x"}})
    ready(lab, "wants")
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/wants")


def test_a_registry_that_panics_is_in_a_crash_loop_with_its_log(lab: Cluster) -> None:
    apply(lab, deployment("panics", env={"REGISTRY_STORAGE": "s3", "REGISTRY_STORAGE_S3_BUCKET": "b"}))
    until("CrashLoopBackOff", lambda: waiting(lab, "panics").get("reason") == "CrashLoopBackOff")
    until("restarted", lambda: pod(lab, "panics")["status"]["containerStatuses"][0]["restartCount"] >= 1)
    status = pod(lab, "panics")["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 2
    name = pod(lab, "panics")["metadata"]["name"]
    assert "no region parameter provided" in lab.kubectl("-n", NAMESPACE, "logs", name, "--previous")
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/panics")


def test_faults_by_annotation(lab: Cluster) -> None:
    apply(lab, deployment("faulty", annotations={"lab.alauda.io/fault": "never-ready"}))
    name = pod(lab, "faulty")["metadata"]["name"]
    until("running", lambda: pod(lab, "faulty").get("status", {}).get("phase") == "Running")
    assert json.loads(until("it answers", lambda: "{}" if "{}" in through_pod(lab, name, "/v2/") else None)) == {}
    assert pod(lab, "faulty")["status"]["containerStatuses"][0]["ready"] is False
    lab.kubectl("-n", NAMESPACE, "annotate", "pod", name, "lab.alauda.io/fault-", "lab.alauda.io/gone-after=4s")
    ready(lab, "faulty")  # the fault is over
    began = time.monotonic()
    lab.kubectl("-n", NAMESPACE, "delete", "pod", name)
    assert time.monotonic() - began >= 4, "it took its time to terminate"
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/faulty")

    lab.kubectl("annotate", "node", "lab-node", "lab.alauda.io/fault=crash-loop")
    try:
        apply(lab, deployment("looping"))
        until("crash loop", lambda: waiting(lab, "looping").get("reason") == "CrashLoopBackOff")
    finally:
        lab.kubectl("annotate", "node", "lab-node", "lab.alauda.io/fault-")
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/looping")


@pytest.mark.parametrize(("code", "condition"), [("0", "complete"), ("3", "failed")])
def test_jobs_end_as_annotated(lab: Cluster, code: str, condition: str) -> None:
    template = {
        "metadata": {"annotations": {"lab.alauda.io/exit-code": code, "lab.alauda.io/log": "line one\nline two"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "work", "image": "x"}]},
    }
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"job-{code}"}}
    apply(lab, {**body, "spec": {"backoffLimit": 0, "template": template}})
    lab.kubectl(
        "-n", NAMESPACE, "wait", f"--for=condition={condition}", f"job/job-{code}", f"--timeout={PATIENCE:.0f}s"
    )
    assert lab.kubectl("-n", NAMESPACE, "logs", f"job/job-{code}").splitlines() == ["line one", "line two"]


# Object storage


def s3_deployment(name: str, endpoint: str, bucket: str, access: str, secret: str, **more: Any) -> dict[str, Any]:
    """A Deployment whose registry keeps its data in S3."""
    env = {
        "REGISTRY_STORAGE": "s3",
        "REGISTRY_STORAGE_S3_BUCKET": bucket,
        "REGISTRY_STORAGE_S3_REGION": "us-east-1",
        "REGISTRY_STORAGE_S3_REGIONENDPOINT": endpoint,
        "REGISTRY_STORAGE_S3_FORCEPATHSTYLE": "true",
        "REGISTRY_STORAGE_S3_ACCESSKEY": access,
        "REGISTRY_STORAGE_S3_SECRETKEY": secret,
        "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "24h",  # in effect never: its result would depend on timing
    }
    return deployment(name, env=env, **more)


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("good", '"tags":[]'),
        ("wrong-access-key", "InvalidAccessKeyId"),
        ("wrong-secret-key", "SignatureDoesNotMatch"),
        ("no-bucket", "NoSuchBucket"),
        ("unknown-authority", "certificate signed by unknown authority"),
        ("known-authority", '"tags":[]'),
        ("cut-off", "connection refused"),
    ],
)
def test_object_storage_answers_like_the_real_one(lab: Cluster, case: str, answer: str) -> None:
    bucket = lab.s3_bucket(f"b-{case}")
    endpoint = bucket.https_endpoint if "authority" in case else bucket.endpoint
    access = "AKIAWRONGWRONGWRONG0" if case == "wrong-access-key" else bucket.access_key
    secret = bucket.secret_key[:-1] + "!" if case == "wrong-secret-key" else bucket.secret_key
    more: dict[str, Any] = {}
    if case == "known-authority":
        data = {"storage-ca-bundle.pem": bucket.ca_pem}
        apply(lab, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities"}, "data": data})
        more["volumes"] = {"registry-certificates": ("/ca", {"configMap": {"name": "authorities"}})}
    if case == "cut-off":
        more["annotations"] = {"lab.alauda.io/fault": "no-storage-network"}
    name = "absent" if case == "no-bucket" else bucket.name
    apply(lab, s3_deployment(case, endpoint, name, access, secret, **more))
    pod_name = ready(lab, case)["metadata"]["name"]  # broken storage does not keep a Pod from being Ready
    # Until the first health check (a day here) every answer names the cause; afterwards it only says that there is one.
    assert answer in through_pod(lab, pod_name, "/v2/some/tags/list")
    lab.kubectl("-n", NAMESPACE, "delete", f"deployment/{case}")


def test_a_bucket_deleted_later_turns_a_ready_registry_unavailable(lab: Cluster) -> None:
    bucket = lab.s3_bucket("vanishing")
    made = s3_deployment("vanishing", bucket.endpoint, bucket.name, bucket.access_key, bucket.secret_key)
    for variable in made["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL":
            variable["value"] = "1s"
    apply(lab, made)
    name = ready(lab, "vanishing")["metadata"]["name"]
    until("it answers", lambda: through_pod(lab, name, "/v2/").strip() == "{}")
    lab.s3.delete_bucket(bucket.name)
    until("it is unavailable", lambda: "health check failed" in through_pod(lab, name, "/v2/"))
    assert pod(lab, "vanishing")["status"]["containerStatuses"][0]["ready"] is True
    lab.s3.create_bucket(bucket.name)
    until("it recovers", lambda: through_pod(lab, name, "/v2/").strip() == "{}")
    lab.kubectl("-n", NAMESPACE, "delete", "deployment/vanishing")


def test_a_rotated_key_is_refused_from_then_on(lab: Cluster) -> None:
    key = lab.s3.create_user("rotating")
    lab.s3.create_bucket("rotating")
    fresh = lab.s3.rotate_key(key)
    assert lab.s3.client(fresh).list_objects_v2(Bucket="rotating")["KeyCount"] == 0
    with pytest.raises(Exception, match="InvalidAccessKeyId"):
        lab.s3.client(key).list_objects_v2(Bucket="rotating")
