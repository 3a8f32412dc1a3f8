# SPDX-License-Identifier: GPL-3.0-or-later
"""The permissions in docs/permissions are what the modules request: nothing is missing, nothing is more than needed.

Every scenario runs with only the files that its options ask for, applied as a user would. Everything it requests at the
wire is recorded; all scenarios of a module together must need exactly what is committed. `make permissions` records
anew (as administrator, so that a new request is not refused) and generates the files.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import namespaced
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.cluster.proxy import ApiProxy
from tests.house import permissions
from tests.house.permissions import MINE, Right
from tests.integration.conftest import NAMESPACE, Lab
from tests.integration.waiting import until

pytestmark = pytest.mark.cluster

RECORD = os.environ.get("RECORD_PERMISSIONS") == "1"
USER = f"system:serviceaccount:{NAMESPACE}:{permissions.ACCOUNT}"
JSON = dict[str, Any]


def mine() -> str:
    """A new name, recognisable as the user's own choice."""
    return f"{MINE}{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Scenario:
    """Tasks of one module that run one after the other.

    uses: the options beyond what every task needs, in the order in which they build on each other; what the others do
    not need is the last one's. tasks: makes what the tasks need, and yields the arguments of each. fails: whether the
    last one must fail.
    """

    module: str
    uses: tuple[str, ...]
    tasks: Callable[[Lab], Iterator[JSON]]
    fails: bool = False


def _namespaces(lab: Lab, count: int) -> list[str]:
    names = [mine() for _ in range(count)]
    for name in names:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"mine": names[0]}}}
        lab.client.create("/api/v1/namespaces", body)
    return names


def _claim(lab: Lab, storage_class: str = "lab") -> str:
    name = mine()
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": storage_class,
        },
    }
    lab.client.create(namespaced(NAMESPACE, "persistentvolumeclaims"), body)
    return name


# -- registry_storage --------------------------------------------------------------------------------------------------


def emptydir(lab: Lab) -> Iterator[JSON]:
    """A change, and nothing to change."""
    yield {"backend": "emptydir", "disable_redirect": True}
    yield {"backend": "emptydir", "disable_redirect": True, "probe": "require"}


def crash(lab: Lab) -> Iterator[JSON]:
    """Pods that crash: their log is read."""
    lab.annotate_nodes(fault="crash-loop")
    yield {"backend": "emptydir", "disable_redirect": True}


def timeout(lab: Lab) -> Iterator[JSON]:
    """Pods that are never ready: events explain the timeout."""
    lab.annotate_nodes(fault="never-ready")
    yield {"backend": "emptydir", "disable_redirect": True, "wait_timeout": 5}


def claim(lab: Lab) -> Iterator[JSON]:
    """A claim; with two replicas a run without changes asks for the Pods."""
    task = {"backend": "pvc", "pvc": {"claim": _claim(lab)}, "replicas": 2}
    yield task
    yield task


def pending_claim(lab: Lab) -> Iterator[JSON]:
    """A claim that nobody binds: its StorageClass is read."""
    yield {"backend": "pvc", "pvc": {"claim": _claim(lab, "none")}, "wait_timeout": 8}


def created_claim(lab: Lab) -> Iterator[JSON]:
    """A claim that does not exist."""
    yield {"backend": "pvc", "pvc": {"claim": mine(), "create": True, "size": "1Gi", "storage_class": "lab"}}


def grown_claim(lab: Lab) -> Iterator[JSON]:
    """A claim that grows."""
    name = _claim(lab)
    lab.storage(backend="pvc", pvc={"claim": name})
    yield {"backend": "pvc", "pvc": {"claim": name, "size": "2Gi", "expand": True}}


def _bucket(lab: Lab) -> tuple[JSON, JSON]:
    bucket = lab.cluster.s3.bucket(mine())
    where = {"bucket": bucket.name, "region": bucket.region, "region_endpoint": bucket.endpoint}
    return where, {"access_key": bucket.access_key, "secret_key": bucket.secret_key}


def _secret(lab: Lab, name: str, keys: JSON) -> None:
    values = {f"REGISTRY_STORAGE_S3_{key.replace('_', '').upper()}": value for key, value in keys.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    lab.client.create(namespaced(NAMESPACE, "secrets"), body)


def bucket(lab: Lab) -> Iterator[JSON]:
    """The credentials are there."""
    where, keys = _bucket(lab)
    _secret(lab, ALAUDA.user_secret, keys)
    yield {"backend": "s3", "s3": where}
    yield {"backend": "s3", "s3": where}


def bucket_with_keys(lab: Lab) -> Iterator[JSON]:
    """The credentials are options: the Secret is made, then changed."""
    where, keys = _bucket(lab)
    yield {"backend": "s3", "s3": where | keys}
    other = lab.cluster.s3.new_key(f"{where['bucket']}-user")
    yield {"backend": "s3", "s3": {**where, "access_key": other.access_key, "secret_key": other.secret_key}}


def bucket_with_another_secret(lab: Lab) -> Iterator[JSON]:
    """The credentials are in a Secret of another name."""
    where, keys = _bucket(lab)
    source = mine()
    _secret(lab, source, keys)
    yield {"backend": "s3", "s3": where | {"credentials_secret": source}}


def _private(lab: Lab) -> tuple[JSON, str]:
    made = lab.cluster.s3.bucket(mine())
    _secret(lab, ALAUDA.user_secret, {"access_key": made.access_key, "secret_key": made.secret_key})
    return {"bucket": made.name, "region": made.region, "region_endpoint": made.https_endpoint}, made.ca_pem


def _ca(lab: Lab, pem: str) -> str:
    name = mine()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca-bundle.crt": pem}}
    lab.client.create(namespaced(NAMESPACE, "configmaps"), body)
    return name


def trusted_ca(lab: Lab) -> Iterator[JSON]:
    """The ConfigMap with the CA is there."""
    where, pem = _private(lab)
    yield {"backend": "s3", "s3": where | {"trusted_ca": {"name": _ca(lab, pem)}}}


def another_trusted_ca(lab: Lab) -> Iterator[JSON]:
    """Another ConfigMap with a CA for the same bucket, for which the operator is woken."""
    where, pem = _private(lab)
    for text in (pem, f"{pem.strip()}\n{pem}"):
        yield {"backend": "s3", "s3": where | {"trusted_ca": {"name": _ca(lab, text)}}}


def trusted_ca_as_pem(lab: Lab) -> Iterator[JSON]:
    """The ConfigMap is made, then changed: the same CA twice is another text."""
    where, pem = _private(lab)
    name = mine()
    yield {"backend": "s3", "s3": where | {"trusted_ca": {"name": name, "pem": pem}}}
    yield {"backend": "s3", "s3": where | {"trusted_ca": {"name": name, "pem": f"{pem.strip()}\n{pem}"}}}


def upload(lab: Lab) -> Iterator[JSON]:
    """Something is pushed and removed: through the Pods after a change, else through the Service."""
    yield {"backend": "emptydir", "disable_redirect": True, "probe": "write"}
    yield {"backend": "emptydir", "disable_redirect": True, "probe": "write"}


# -- the other modules -------------------------------------------------------------------------------------------------


def pull_secrets(lab: Lab) -> Iterator[JSON]:
    """Settings, and the same again."""
    task = {"management_state": "Managed", "additional_registry_hosts": [f"{mine()}.example.com"]}
    yield task
    yield task | {"list_mode": "merge"}


def verified_pull_secrets(lab: Lab) -> Iterator[JSON]:
    """Namespaces by name and by selector."""
    first, _second = _namespaces(lab, 2)
    hosts = [f"{mine()}.example.com"]
    task = {"management_state": "Managed", "additional_registry_hosts": hosts, "verify_namespaces": [first]}
    yield task | {"verify_namespace_selector": f"mine={first}"}


LIMITS: JSON = {"quota": {"images": "7"}, "image": {"storage": "1Gi"}}


def two_namespaces(lab: Lab) -> Iterator[JSON]:
    """Limits are made, changed, and left as they are."""
    names = _namespaces(lab, 2)
    yield {"namespaces": names, **LIMITS}
    yield {"namespaces": names, "quota": {"images": "8"}, "image": {"storage": "2Gi"}}
    yield {"namespaces": names, "quota": {"images": "8"}, "image": {"storage": "2Gi"}}


def many_namespaces(lab: Lab) -> Iterator[JSON]:
    """By name and by selector."""
    names = _namespaces(lab, 3)
    yield {"namespaces": names, **LIMITS}
    yield {"namespace_selector": f"mine={names[0]}", "quota": {"images": "8"}}


def no_limits(lab: Lab) -> Iterator[JSON]:
    """Limits are removed."""
    names = _namespaces(lab, 2)
    lab.run("image_limits", namespaces=names, **LIMITS)
    yield {"namespaces": names, "state": "absent"}


PRUNER: JSON = {"suspend": True, "keep_tag_revisions": 3, "keep_younger_than": "60m"}


def pruner(lab: Lab) -> Iterator[JSON]:
    """A schedule, and the same again."""
    lab.run("image_pruner", **PRUNER, schedule="1 1 * * *")
    yield {**PRUNER, "schedule": "2 2 * * *"}
    yield {**PRUNER, "schedule": "2 2 * * *"}


def failed_job(lab: Lab) -> Iterator[JSON]:
    """The last job failed: the reason is in the log of its Pod."""
    template = {
        "metadata": {"annotations": {"lab.alauda.io/exit-code": "1", "lab.alauda.io/log": "cannot prune"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "prune", "image": "none"}]},
    }
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": mine()}}
    jobs = namespaced(NAMESPACE, "jobs", api="/apis/batch/v1")
    lab.client.create(jobs, {**body, "spec": {"backoffLimit": 0, "template": template}})

    def reported() -> bool:
        found = lab.client.get(ALAUDA.pruner_path) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(one["type"] == "Failed" and one["status"] == "True" for one in conditions)

    until("the operator reports the failed job", reported)
    try:
        yield {**PRUNER, "schedule": "2 2 * * *"}
    finally:
        lab.client.delete(f"{jobs}/{body['metadata']['name']}?propagationPolicy=Background")  # type: ignore[index]


def no_pruner(lab: Lab) -> Iterator[JSON]:
    """ImagePruner does not exist, as before the operator's first start."""
    with lab.without_operator():
        lab.client.delete(ALAUDA.pruner_path)
        yield {**PRUNER, "schedule": "3 3 * * *", "wait_timeout": 3}


SCENARIOS = (
    Scenario("registry_storage", (), emptydir),
    Scenario("registry_storage", (), crash, fails=True),
    Scenario("registry_storage", (), timeout, fails=True),
    Scenario("registry_storage", ("pvc",), claim),
    Scenario("registry_storage", ("pvc",), pending_claim, fails=True),
    Scenario("registry_storage", ("pvc", "pvc-create"), created_claim),
    Scenario("registry_storage", ("pvc", "pvc-expand"), grown_claim),
    Scenario("registry_storage", ("keys",), bucket),
    Scenario("registry_storage", ("keys", "keys-write"), bucket_with_keys),
    Scenario("registry_storage", ("keys", "keys-write", "keys-secret"), bucket_with_another_secret),
    Scenario("registry_storage", ("keys", "trusted-ca"), trusted_ca),
    Scenario("registry_storage", ("keys", "trusted-ca", "trusted-ca-change"), another_trusted_ca),
    Scenario("registry_storage", ("keys", "trusted-ca", "trusted-ca-change", "trusted-ca-write"), trusted_ca_as_pem),
    Scenario("registry_storage", ("probe-write",), upload),
    Scenario("registry_pullsecret", (), pull_secrets),
    Scenario("registry_pullsecret", ("verify",), verified_pull_secrets),
    Scenario("image_limits", (), two_namespaces),
    Scenario("image_limits", ("cluster",), many_namespaces),
    Scenario("image_limits", ("absent",), no_limits),
    Scenario("image_pruner", (), pruner),
    Scenario("image_pruner", (), failed_job),
    Scenario("image_pruner", ("create",), no_pruner, fails=True),
)


def _options(scenario: Scenario) -> tuple[str, ...]:
    """All files that the scenario's account is given."""
    return ("", "write", *scenario.uses)


def _chosen(task: JSON) -> list[str]:
    """The namespaces in which a task's account may set limits: up to two that it names, or none, for all."""
    limits = (task.get("image_limits") or [task])[0]
    names = limits.get("namespaces") or []
    return names if len(names) <= 2 else []


def _bind_limits(role: JSON, namespaces: list[str]) -> list[JSON]:
    """Bindings of a role for chosen namespaces; everywhere if there are none."""
    subject = {"kind": "ServiceAccount", "name": permissions.ACCOUNT, "namespace": NAMESPACE}
    about = {
        "apiVersion": role["apiVersion"],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]},
        "subjects": [subject],
    }
    name = role["metadata"]["name"]
    if not namespaces:
        return [{**about, "kind": "ClusterRoleBinding", "metadata": {"name": name}}]
    return [{**about, "kind": "RoleBinding", "metadata": {"name": name, "namespace": place}} for place in namespaces]


@contextmanager
def granted(lab: Lab, files: Iterable[tuple[str, str]], chosen: list[str]) -> Iterator[None]:
    """The account has what the committed files give, and nothing else.

    files: modules and options. chosen: namespaces in which limits are set.
    """
    objects: list[JSON] = []
    for module, option in files:
        path = permissions.FOLDER / ALAUDA.name / f"{permissions.title(module, option)}.yaml"
        objects += [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    for role in [one for one in objects if one["metadata"]["name"].endswith("-namespaces")]:
        objects += _bind_limits(role, chosen)
    lab.cluster.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    try:
        for role in [one for one in objects if "rules" in one]:
            namespaces = [role["metadata"].get("namespace", "")]
            if role["metadata"]["name"].endswith("-namespaces"):
                namespaces = chosen or [""]
            for namespace in namespaces:
                lab.await_rights(role["rules"], user=USER, namespace=namespace)
        yield
    finally:
        lab.cluster.kubectl("delete", "--wait", "--filename", "-", stdin=yaml.safe_dump_all(objects))
        for role in [one for one in objects if "rules" in one and not one["metadata"]["name"].endswith("-namespaces")]:
            lab.await_rights(role["rules"], user=USER, namespace=role["metadata"].get("namespace", ""), given=False)


def _run(lab: Lab, scenario: Scenario) -> set[Right]:
    """Run a scenario with its own rights; returns what it needed at the wire."""
    with ApiProxy(lab.kubeconfig) as proxy:
        tasks = scenario.tasks(lab)
        results = []
        task = next(tasks, None)
        assert task is not None
        files = [(scenario.module, option) for option in _options(scenario)]
        with _nothing() if RECORD else granted(lab, files, _chosen(task)):
            while task is not None:
                own: JSON = {} if RECORD else {"impersonate_user": USER}
                if scenario.module == "registry_storage":
                    own["on_backend_change"] = "allow"
                results.append(lab.run(scenario.module, kubeconfig=proxy.kubeconfig, **own, **task))
                task = next(tasks, None)
        refused = [str(one) for one in proxy.requests if one.status == 403]
        found = permissions.needed(proxy.requests)
    name = scenario.tasks.__name__
    assert refused == [], name
    failed = [bool(result.get("failed")) for result in results]
    assert failed == [False] * (len(results) - 1) + [scenario.fails], (name, [one.get("msg") for one in results])
    return found


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _recorded(lab: Lab, module: str) -> dict[str, frozenset[Right]]:
    """What all scenarios of a module needed, by option; what an option builds on is not its own."""
    seen = [(scenario, _again(lab, scenario)) for scenario in SCENARIOS if scenario.module == module]
    found: dict[str, set[Right]] = {option: set() for option in permissions.OPTIONS[module]}
    for scenario, rights in seen:
        if not scenario.uses:
            for one in rights:
                found["" if one.verb in permissions.READING else "write"].add(one)
    for depth in range(2, 5):
        for scenario, rights in seen:
            *below, own = _options(scenario)
            if scenario.uses and len(below) == depth:
                covered = {one for option in below for one in found[option]}
                found[own] |= {one for one in rights if not any(other.covers(one) for other in covered)}
    return {
        option: frozenset(one for one in rights if not any(other != one and other.covers(one) for other in rights))
        for option, rights in found.items()
    }


def _again(lab: Lab, scenario: Scenario) -> set[Right]:
    lab.settle()
    return _run(lab, scenario)


@pytest.mark.parametrize("module", permissions.OPTIONS)
def test_the_committed_permissions_are_what_the_scenarios_request(lab: Lab, module: str) -> None:
    found = _recorded(lab, module)
    if RECORD:
        document = dict(permissions.read()) if permissions.RECORDED.exists() else {}
        document[module] = found
        permissions.write({name: document[name] for name in permissions.OPTIONS if name in document})
        return
    assert found == permissions.read()[module]


def test_verify_needs_only_the_files_to_read(lab: Lab) -> None:
    """All parts as they are, and a registry that does not come up."""
    names = _namespaces(lab, 2)
    parts: JSON = {
        "registry_storage": {"backend": "pvc", "pvc": {"claim": _claim(lab)}, "replicas": 1},
        "registry_pullsecret": {"management_state": "Managed", "additional_registry_hosts": ["mine.example.com"]},
        "image_limits": [{"namespaces": names, **LIMITS}],
        "image_pruner": {**PRUNER, "schedule": "4 4 * * *"},
    }
    result = lab.run("registry", **parts)
    assert not result.get("failed"), result["msg"]
    files = [*((module, "") for module in permissions.OPTIONS), ("registry_storage", "pvc")]
    with ApiProxy(lab.kubeconfig) as proxy, granted(lab, files, names):
        verify = {**parts, "mode": "verify", "impersonate_user": USER}
        good = lab.run("registry", kubeconfig=proxy.kubeconfig, **verify)
        assert not good.get("failed"), good["msg"]
        lab.annotate_nodes(fault="crash-loop")
        lab.delete("pods", lab.pods()[0]["metadata"]["name"])
        bad = lab.run("registry", kubeconfig=proxy.kubeconfig, **verify)
        assert bad.get("failed")
        assert [str(one) for one in proxy.requests if one.status == 403] == []
    rights = permissions.needed(proxy.requests)
    assert {one.verb for one in rights} <= permissions.READING
    given = {one for module, option in files for one in permissions.read()[module][option]}
    assert [one for one in rights if not any(other.covers(one) for other in given)] == []


def test_without_the_rule_for_the_proxy_the_missing_probe_is_reported(lab: Lab) -> None:
    rights = [one for one in permissions.read()["registry_storage"][""] if not one.resource.endswith("/proxy")]
    objects = permissions.objects(ALAUDA, "registry_storage", "", rights)
    lab.cluster.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    try:
        for role in [one for one in objects if "rules" in one]:
            lab.await_rights(role["rules"], user=USER, namespace=role["metadata"].get("namespace", ""))
        wanted = {"backend": "emptydir", "replicas": 1, "impersonate_user": USER}
        result = lab.storage(**wanted)
        assert not result.get("failed"), result["msg"]
        assert any("not probed" in str(warning) for warning in result["warnings"]), result["warnings"]
        required = lab.storage(probe="require", **wanted)
        assert required.get("failed")
    finally:
        lab.cluster.kubectl("delete", "--filename", "-", stdin=yaml.safe_dump_all(objects))


@pytest.mark.parametrize(
    ("module", "task", "verb"),
    [
        ("registry_storage", {"backend": "emptydir", "disable_redirect": True}, "patch"),
        ("registry_pullsecret", {"additional_registry_hosts": ["another.example.com"]}, "patch"),
        ("image_pruner", {"schedule": "8 4 * * *"}, "patch"),
        ("image_limits", {"namespaces": ["default"], "quota": {"images": "9"}}, "create"),
    ],
)
def test_without_the_file_to_write_the_task_fails_and_names_the_right(
    lab: Lab, module: str, task: JSON, verb: str
) -> None:
    lab.run("image_limits", namespaces=["default"], state="absent", adopt=True)
    with granted(lab, [(module, "")], ["default"]):
        refused = lab.run(module, impersonate_user=USER, **task)
    assert refused.get("failed")
    assert refused["changed"] is False
    assert f"cannot {verb} resource" in str(refused), refused["msg"]
