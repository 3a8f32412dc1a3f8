# SPDX-License-Identifier: GPL-3.0-or-later
"""Repeat on the embedded cluster what was done when the operator was recorded, and record what happens.

Times are divided by `SCALE`: Pods are ready 6 s / SCALE after they are scheduled and gone 8 s / SCALE after their
deletion (annotations of the Nodes), the operator's own waits are divided by the simulator's ``--time-scale``. Order and
text are not changed. Between two actions the replay waits at least the recorded time / SCALE, and longer until it has
seen everything that the recording shows before the next action.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Collection
from copy import deepcopy

from tests.cluster import Cluster
from tests.cluster.operator_simulator import names
from tests.cluster.operator_simulator.api import Api, ApiError, Cache
from tests.cluster.s3 import Key

from . import recording
from .recording import Json, Line, Recording

SCALE = 6.0
READY_AFTER, GONE_AFTER = 6.0, 8.0
PATIENCE = 120.0  # seconds for what comes in one or two on a calm machine
# The recorder's time stamps are the starts of its commands, so a short gap is a command's own start-up, which does not
# scale. Buckets were created without a command: one with a time stamp this close after a command's took effect first.
_SHORT = 0.3
_OPEN, _AUTHENTICATED, _SECURE = "http://127.0.0.1:15000", "http://127.0.0.1:15001", "https://127.0.0.1:15443"
# The recorder's servers. The two HTTP servers are one here, which answers valid credentials as both did.
RECORDED_ADDRESSES = {_OPEN: "http://s3", _AUTHENTICATED: "http://s3", _SECURE: "https://s3"}
_FAULT = "lab.alauda.io/fault"


class ReplayError(Exception):
    """The cluster did not reach the state a scenario starts from."""


class Recorder:
    """Records every reduced state of the four objects, as the recordings do."""

    def __init__(self, api: Api) -> None:
        self._lines: list[Line] = []
        self._last: dict[str, Json] = {}
        self._changed = threading.Condition()
        self._caches = {
            "Config": Cache(api, "Config", on_change=self._listener("Config", names.SINGLETON)),
            "ImagePruner": Cache(api, "ImagePruner", on_change=self._listener("ImagePruner", names.SINGLETON)),
            "Deployment": Cache(api, "Deployment", names.NAMESPACE, self._listener("Deployment", names.REGISTRY)),
            "CronJob": Cache(api, "CronJob", names.NAMESPACE, self._listener("CronJob", names.CRONJOB)),
        }
        for cache in self._caches.values():
            cache.start()
        for kind, cache in self._caches.items():
            if not cache.synced.wait(PATIENCE):
                raise ReplayError(f"cannot list {kind}")

    def stop(self) -> None:
        """End the watches."""
        for cache in self._caches.values():
            cache.stop()

    def restart(self) -> None:
        """Begin a new recording with the present state of all objects."""
        with self._changed:
            self._lines = [Line(time.monotonic(), kind, body) for kind, body in self._last.items()]

    def act(self, what: str) -> None:
        """Record that something is done now."""
        with self._changed:
            self._lines.append(Line(time.monotonic(), "Action", {"do": what}))

    def lines(self) -> list[Line]:
        """All lines since the restart."""
        with self._changed:
            return list(self._lines)

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition holds, checking it after every change; False after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                count = len(self._lines)
            if condition():
                return True
            with self._changed:
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return False
                if count == len(self._lines):
                    self._changed.wait(min(rest, 0.5))

    def _listener(self, kind: str, name: str) -> Callable[[Json | None, Json | None], None]:
        def on_change(previous: Json | None, current: Json | None) -> None:
            obj = current or previous
            if obj is None or obj["metadata"]["name"] != name:
                return
            if current is None and kind in ("Config", "ImagePruner"):
                return  # the recorder did not record their absence
            body = recording.reduce(kind, current)
            with self._changed:
                if self._last.get(kind) != body:
                    self._last[kind] = body
                    self._lines.append(Line(time.monotonic(), kind, body))
                    self._changed.notify_all()

        return on_change


class Stage:
    """A running cluster on which recordings are replayed, one after the other."""

    def __init__(self, cluster: Cluster, scale: float = SCALE) -> None:
        self.cluster = cluster
        self.scale = scale
        self.api = Api(cluster.kubeconfig)
        self.recorder = Recorder(self.api)
        self.key = cluster.s3.create_user("contract")
        self._buckets = cluster.s3.client()
        # Claims without a class stayed pending on the recorder's cluster.
        for name, default in (("lab", "false"), ("none", "true")):
            annotations = {"storageclass.kubernetes.io/is-default-class": default}
            self.api.call(
                "PATCH",
                f"/apis/storage.k8s.io/v1/storageclasses/{name}",
                {"metadata": {"annotations": annotations}},
                "application/merge-patch+json",
            )
        self.addresses = {cluster.s3.endpoint: "http://s3", cluster.s3.https_endpoint: "https://s3"}

    def close(self) -> None:
        """End the recorder."""
        self.recorder.stop()

    def replay(self, scenario: Recording, excused: Collection[tuple[str, str]] = ()) -> list[Line]:
        """Settle on the scenario's first lines, repeat its actions, return all lines.

        :param excused: (object, track) pairs that are not waited for, since they are known to differ.
        """
        self.settle(scenario)
        self.recorder.restart()
        start = last_end = time.monotonic()
        actions = _effective_order(scenario.actions())
        for number, action in enumerate(actions):
            what = action.body["do"]
            due = start + (action.t - 1.5) / self.scale
            if number:
                due = max(due, last_end + min(abs(action.t - actions[number - 1].t), _SHORT))
            time.sleep(max(0.0, due - time.monotonic()))  # the scenario's own rhythm: nothing announces it
            self.recorder.act(what)
            self.act(what)
            if what.endswith("class=lab") and number + 1 < len(actions):
                self.await_bound()  # as the recorder's claims were when it went on
            last_end = time.monotonic()
            if number + 1 < len(actions):
                self._await(scenario, actions[number + 1].t, excused)
        self._await(scenario, float("inf"), excused)
        last = scenario.lines[-1]
        # Nothing more may happen. After a last line that is an action nothing happened either, but only for a moment:
        # the next retry would have fixed it.
        quiet = 5.0 if excused else 1.0
        time.sleep(2 / self.scale if last.kind == "Action" else quiet)
        return self.recorder.lines()

    def _await(self, scenario: Recording, until: float, excused: Collection[tuple[str, str]]) -> None:
        """Wait until all that was recorded before a time has been seen; give up silently, the comparison will show."""
        part = Recording(scenario.name, [line for line in scenario.lines if line.t < until])

        def reached() -> bool:
            lines = self.recorder.lines()
            differences = recording.compare(part, lines, RECORDED_ADDRESSES, self.addresses).differences
            return all((item.kind, item.track) in excused for item in differences)

        self.recorder.wait(reached, PATIENCE)

    # Settling.

    def settle(self, scenario: Recording) -> None:
        """Bring the cluster to the state the scenario starts from (recordings' README: emptyDir, 1 replica, …)."""
        for node in self.api.list("Node"):
            self._annotate_node(
                node["metadata"]["name"],
                {
                    "lab.alauda.io/ready-after": f"{READY_AFTER / self.scale:.3f}s",
                    "lab.alauda.io/gone-after": f"{GONE_AFTER / self.scale:.3f}s",
                    _FAULT: None,
                },
            )
        self._heal_pods()
        first = scenario.first("Config")
        self._put("Config", {key: value for key, value in first["spec"].items() if key != "httpSecret"})
        self._put("ImagePruner", scenario.first("ImagePruner")["spec"])
        if not self.recorder.wait(self._settled, PATIENCE):
            raise ReplayError(
                f"{scenario.name}: not settled after {PATIENCE:.0f} s: {json.dumps(self._config().get('status'))}"
            )
        self._clear(scenario)
        # Undo what earlier scenarios left in conditions that nothing updates while emptyDir is configured.
        wanted = {item[0]: item for item in first["status"]["conditions"]}
        status = deepcopy(self._config()["status"])
        for item in status["conditions"]:
            if item["type"] in wanted:
                _, item["status"], reason, message = wanted[item["type"]]
                for key, value in (("reason", reason), ("message", message)):
                    item.pop(key, None)
                    if value is not None:
                        item[key] = self._here(value)
        self.api.merge("Config", names.SINGLETON, {"status": status}, sub="status")
        if not self.recorder.wait(lambda: self._settled() and self._quiet(0.7), PATIENCE):
            raise ReplayError(
                f"{scenario.name}: not quiet after {PATIENCE:.0f} s: {json.dumps(self._config().get('status'))}"
            )

    def _settled(self) -> bool:
        config = self._config()
        status = config.get("status") or {}
        conditions = {item["type"]: (item["status"], item.get("reason")) for item in status.get("conditions") or []}
        pruner = self.api.get("ImagePruner", names.SINGLETON)
        return (
            status.get("observedGeneration") == config["metadata"]["generation"]
            and conditions.get("Available") == ("True", "Ready")
            and conditions.get("Progressing") == ("False", "Ready")
            and conditions.get("Degraded") == ("False", None)
            and status.get("storage", {}).get("emptyDir") is not None
            and pruner.get("status", {}).get("observedGeneration") == pruner["metadata"]["generation"]
            and self.settled_deployment()
        )

    def settled_deployment(self) -> bool:
        """Whether the Deployment's rollout is over and no former Pod is left."""
        deploy = self.api.find("Deployment", names.REGISTRY, names.NAMESPACE)
        if deploy is None:
            return False
        state, wanted = deploy.get("status", {}), deploy["spec"]["replicas"]
        path = f"/api/v1/namespaces/{names.NAMESPACE}/pods?labelSelector=app.kubernetes.io/name={names.REGISTRY}"
        return bool(
            state.get("observedGeneration") == deploy["metadata"]["generation"]
            and state.get("updatedReplicas") == state.get("availableReplicas") == state.get("replicas") == wanted
            and len(self.api.call("GET", path)["items"]) == wanted
        )

    def _quiet(self, seconds: float) -> bool:
        lines = self.recorder.lines()
        return not lines or time.monotonic() - lines[-1].t > seconds

    def _config(self) -> Json:
        return self.api.get("Config", names.SINGLETON)

    def _put(self, kind: str, spec: Json) -> None:
        while True:
            live = self.api.get(kind, names.SINGLETON)
            wanted = deepcopy(spec)
            if kind == "Config":
                wanted["httpSecret"] = live["spec"].get("httpSecret", "")
            live["spec"], live["kind"] = wanted, kind
            try:
                self.api.update(live)
                return
            except ApiError as error:
                if not error.conflict:
                    raise

    def _clear(self, scenario: Recording) -> None:
        """Nothing of an earlier scenario may help or hinder this one."""
        self.api.delete("Secret", names.USER_SECRET, names.NAMESPACE)
        for claim in self.api.list("PersistentVolumeClaim", names.NAMESPACE):
            self.api.delete("PersistentVolumeClaim", claim["metadata"]["name"], names.NAMESPACE)
        if not self.recorder.wait(lambda: not self.api.list("PersistentVolumeClaim", names.NAMESPACE), PATIENCE):
            raise ReplayError(f"{scenario.name}: claims of an earlier scenario do not go away")
        actions = " ".join(action.body["do"] for action in scenario.actions())
        if "delete ConfigMap s3-ca" not in actions:
            self.api.delete("ConfigMap", "s3-ca", names.NAMESPACE)
        s3 = self.cluster.s3
        for bucket in self._buckets.list_buckets()["Buckets"]:
            s3.delete_bucket(bucket["Name"])
        if _AUTHENTICATED in actions:  # that server of the recorder had the bucket from the start
            s3.create_bucket("images")

    def _annotate_node(self, name: str, annotations: dict[str, str | None]) -> None:
        self.api.merge("Node", name, {"metadata": {"annotations": annotations}})

    def _heal_pods(self) -> None:
        """An empty fault on a Pod wins over the one its Node had when it started."""
        path = f"/api/v1/namespaces/{names.NAMESPACE}/pods"
        for pod in self.api.call("GET", f"{path}?labelSelector=app.kubernetes.io/name={names.REGISTRY}")["items"]:
            patch: Json = {"metadata": {"annotations": {_FAULT: ""}}}
            try:
                self.api.call("PATCH", f"{path}/{pod['metadata']['name']}", patch, "application/merge-patch+json")
            except ApiError as error:
                if not error.not_found:  # it may be deleted between the two calls
                    raise

    # Actions.

    def act(self, what: str) -> None:
        """Perform the action of an Action line."""
        verb, _, rest = what.partition(" ")
        if what.startswith("patch "):
            kind, _, body = rest.partition(" ")
            self.api.merge(kind, names.SINGLETON, json.loads(self._here(body)))
        elif what.startswith("create PV "):
            pass  # class lab provisions volumes here
        elif what.startswith("create PVC "):
            name, mode, storage_class = rest.removeprefix("PVC ").split(" ")
            self._create_claim(name, mode, storage_class.removeprefix("class="))
        elif what in _SECRETS:
            self._write_secret(_SECRETS[what](self))
        elif what == "create bucket images":
            self._buckets.create_bucket(Bucket="images")  # with a ready client: the recorder's took no time either
        elif what.startswith("create ConfigMap s3-ca with key "):
            key = rest.removeprefix("ConfigMap s3-ca with key ").split(" ")[0]
            self._create("ConfigMap", "s3-ca", {"data": {key: self.cluster.s3.ca_pem}})
        elif verb == "delete":
            kind, _, name = rest.partition(" ")
            if kind in ("Config", "ImagePruner"):
                self.api.delete(kind, names.SINGLETON)
            else:
                self.api.delete(kind, name or names.REGISTRY, names.NAMESPACE)
        elif what == "new pods never become ready":
            for node in self.api.list("Node"):
                self._annotate_node(node["metadata"]["name"], {_FAULT: "never-ready"})
        elif what == "pods may become ready again":
            for node in self.api.list("Node"):
                self._annotate_node(node["metadata"]["name"], {_FAULT: None})
            self._heal_pods()
        else:
            raise ReplayError(f"unknown action {what!r}")

    def _here(self, text: str) -> str:
        s3 = self.cluster.s3
        for recorded, address in ((_OPEN, s3.endpoint), (_AUTHENTICATED, s3.endpoint), (_SECURE, s3.https_endpoint)):
            text = text.replace(recorded, address)
        return text

    def _create(self, kind: str, name: str, content: Json) -> None:
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": name, "namespace": names.NAMESPACE},
                **content,
            }
        )

    def _create_claim(self, name: str, mode: str, storage_class: str) -> None:
        spec = {
            "accessModes": [mode],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        self._create("PersistentVolumeClaim", name, {"spec": spec})

    def await_bound(self) -> None:
        """Wait until every claim is bound."""

        def bound() -> bool:
            claims = self.api.list("PersistentVolumeClaim", names.NAMESPACE)
            return all(claim.get("status", {}).get("phase") == "Bound" for claim in claims)

        if not self.recorder.wait(bound, PATIENCE):
            raise ReplayError(f"a claim of class lab is not bound after {PATIENCE:.0f} s")

    def _write_secret(self, data: dict[str, str]) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        if self.api.find("Secret", names.USER_SECRET, names.NAMESPACE) is None:
            self._create("Secret", names.USER_SECRET, {"data": encoded})
        else:
            self.api.merge("Secret", names.USER_SECRET, {"data": encoded}, names.NAMESPACE)

    def _rotate(self) -> Key:
        # The old key stays valid, as on the recorder's server: Pods that still use it must not fail.
        self.key = self.cluster.s3.new_key(self.key.user)
        return self.key


def _effective_order(actions: list[Line]) -> list[Line]:
    """The actions in the order in which they took effect."""
    result: list[Line] = []
    for action in actions:
        early = action.body["do"].startswith("create bucket") and result and action.t - result[-1].t < _SHORT
        result.insert(len(result) - 1 if early else len(result), action)
    return result


def _pair(access_key: str, secret_key: str) -> dict[str, str]:
    return {"REGISTRY_STORAGE_S3_ACCESSKEY": access_key, "REGISTRY_STORAGE_S3_SECRETKEY": secret_key}


def _valid(stage: Stage) -> dict[str, str]:
    return _pair(stage.key.access_key, stage.key.secret_key)


def _rotation(stage: Stage) -> dict[str, str]:
    key = stage._rotate()
    return _pair(key.access_key, key.secret_key)


_SECRETS: dict[str, Callable[[Stage], dict[str, str]]] = {
    "create S3 secret": _valid,
    "create S3 secret (valid)": _valid,
    "correct the S3 secret": _valid,
    "rotate S3 secret": _rotation,
    "create S3 secret (unknown access key)": lambda stage: _pair("AKIAUNKNOWN000000000", stage.key.secret_key),
    "create S3 secret (wrong secret key)": lambda stage: _pair(stage.key.access_key, "wrong"),
    "create S3 secret with key ACCESS_KEY": lambda stage: {
        "ACCESS_KEY": stage.key.access_key,
        "SECRET_KEY": stage.key.secret_key,
    },
}
