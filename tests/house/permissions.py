# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates docs/permissions from what a test has recorded at the wire (`make permissions` records and generates).

    python -m tests.house.permissions [--check]

tests/fixtures/permissions.json holds, for each module and option, the rights that its requests need. From it come, for
each product, files that can be applied, and docs/permissions/README.md.
Exit status with --check: 1 if a file on disk differs from what would be written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import (
    ALAUDA,
    PLATFORMS,
    Platform,
)
from tests.cluster.proxy import Request

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "fixtures" / "permissions.json"
FOLDER = ROOT / "docs" / "permissions"
ACCOUNT = "image-registry-ansible"
"""The ServiceAccount in the registry's namespace that the files give the rights to."""
MINE = "mine-"
"""How every name begins that the recorded tasks chose themselves; rights do not name it."""

CLUSTER, REGISTRY, TRUSTED_CA, CHOSEN = "cluster", "registry", "trusted CA", "chosen namespaces"
"""Where a right applies: cluster-wide, in the registry's namespace, in that of trusted CAs, in those the task names."""

OPTIONS: dict[str, dict[str, str]] = {
    "registry_storage": {
        "": "every task, also one that only verifies; all it needs for `backend: emptydir`",
        "write": "changing the settings",
        "pvc": "`backend: pvc`, a claim that exists",
        "pvc-create": "`pvc.create`; with `pvc`",
        "pvc-expand": "`pvc.expand`; with `pvc`",
        "keys": "a backend with credentials: the Secret `image-registry-private-configuration-user` as it is",
        "keys-write": "credentials given as options (`access_key` and so on); with `keys`",
        "keys-secret": "`credentials_secret`: another Secret to copy from; with `keys-write`",
        "trusted-ca": "`s3.trusted_ca.name`: a ConfigMap that exists",
        "trusted-ca-change": "another CA for a bucket in use; with `trusted-ca`",
        "trusted-ca-write": "`s3.trusted_ca.pem`; with `trusted-ca-change`",
        "probe-write": "`probe: write`",
    },
    "registry_pullsecret": {
        "": "every task, also one that only verifies",
        "write": "changing the settings",
        "verify": "`verify_namespaces`, `verify_namespace_selector`",
    },
    "image_limits": {
        "": "every task, also one that only verifies; to be bound in each namespace",
        "write": "setting limits; to be bound in the same way",
        "cluster": "more than two namespaces or `namespace_selector`; with the others bound in the whole cluster",
        "absent": "`state: absent`; to be bound in the same way",
    },
    "image_pruner": {
        "": "every task, also one that only verifies",
        "write": "changing the settings",
        "create": "where `ImagePruner/cluster` may not exist yet",
    },
}
"""What is recorded, for each module: "" is what every task needs, "write" what every change needs, then the options."""


@dataclass(frozen=True, order=True)
class Right:
    """What one request needs. resource: with its subresource, as in a rule. name: "" where no name is fixed."""

    where: str
    group: str
    resource: str
    name: str
    verb: str

    def covers(self, other: Right) -> bool:
        """Whether whoever has this right has the other one as well."""
        return self == other or (self.name == "" and Right(*(*_place(other), "", other.verb)) == self)


def _place(right: Right) -> tuple[str, str, str]:
    return right.where, right.group, right.resource


_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
READING = frozenset({"get", "list", "watch"})
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def right(request: Request) -> Right:
    """What the API server's authorizer checks for a request.

    It takes a field selector for metadata.name as the name, and the request for one Namespace as one inside it.
    """
    match = _PATH.match(request.path)
    assert match, request.path
    group, namespace, resource, sub = (match[key] or "" for key in ("group", "namespace", "resource", "sub"))
    name = unquote(match["name"] or "")
    verb = _VERBS.get(request.method, "get")
    if verb == "get" and not name:
        verb = "watch" if request.watch else "list"
        selected = re.fullmatch(r"metadata\.name=([^,]+)", request.query.get("fieldSelector", ""))
        name = selected[1] if selected else ""
    where = CLUSTER
    if resource == "namespaces" and name:
        where = CHOSEN
    elif namespace:
        where = REGISTRY if namespace == ALAUDA.namespace else CHOSEN
    chosen = name.startswith(MINE)
    if resource == "configmaps" and (chosen or verb == "create"):
        where = TRUSTED_CA  # the only ConfigMaps that a task makes
    if chosen or resource in ("pods", "storageclasses", "persistentvolumes") or (where == CHOSEN and namespace == ""):
        name = ""
    return Right(where, group, f"{resource}/{sub}" if sub else resource, name, verb)


def needed(requests: Iterable[Request]) -> set[Right]:
    """The rights that requests need, without those that another one covers."""
    found = {right(request) for request in requests}
    return {one for one in found if not any(other != one and other.covers(one) for other in found)}


Recorded = Mapping[str, Mapping[str, frozenset[Right]]]


def read() -> Recorded:
    """What is committed."""
    document = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {
        module: {option: frozenset(Right(*entry) for entry in rights) for option, rights in options.items()}
        for module, options in document.items()
    }


def write(recorded: Recorded) -> None:
    """Replace what is committed; one right on each line."""
    lines = []
    for module, options in recorded.items():
        inner = []
        for option, rights in options.items():
            entries = ",\n      ".join(json.dumps([*_place(one), one.name, one.verb]) for one in sorted(rights))
            inner.append(f"    {json.dumps(option)}: [\n      {entries}\n    ]")
        lines.append(f"  {json.dumps(module)}: {{\n" + ",\n".join(inner) + "\n  }")
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


# -- roles -------------------------------------------------------------------------------------------------------------

_ORDER = ("get", "list", "watch", "create", "update", "patch", "delete")


def rules(rights: Iterable[Right], platform: Platform) -> list[dict[str, Any]]:
    """The rules for these rights: one for each resource and set of names, resources with the same ones together."""
    verbs: dict[tuple[str, str, str], set[str]] = {}
    for one in rights:
        verbs.setdefault((one.group, one.resource, one.name), set()).add(one.verb)
    names: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, resource, name), found in sorted(verbs.items()):
        ordered = tuple(sorted(found, key=_ORDER.index))
        names.setdefault((group, resource, ordered), []).append(name)
    result: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource, ordered), found_names in names.items():
        for some in ([""] if "" in found_names else [], [name for name in found_names if name]):
            if some:
                own = tuple(_on(platform, name) for name in some if name)
                result.setdefault((_on(platform, group), ordered, own), []).append(resource)
    return [
        {
            "apiGroups": [group],
            "resources": resources,
            **({"resourceNames": list(own)} if own else {}),
            "verbs": list(ordered),
        }
        for (group, ordered, own), resources in result.items()
    ]


def _on(platform: Platform, name: str) -> str:
    """A recorded name as it is on another product."""
    fields = ("group", "service", "deployment", "cronjob", "user_secret", "generated_secret", "certificates")
    for field in fields:
        if name == getattr(ALAUDA, field):
            return str(getattr(platform, field))
    return name


def title(module: str, option: str) -> str:
    """The name of the file, without its end."""
    return f"{module}-{option}" if option else module


def objects(platform: Platform, module: str, option: str, rights: Iterable[Right]) -> list[dict[str, Any]]:
    """Roles with these rights and, where it is known where they apply, their bindings."""
    found = set(rights)
    name = title(module, option).replace("_", "-")
    places = {
        CLUSTER: ("ClusterRole", "", ""),
        CHOSEN: ("ClusterRole", "", "-namespaces"),
        REGISTRY: ("Role", platform.namespace, ""),
        TRUSTED_CA: ("Role", platform.trusted_ca_namespace, "-ca"),
    }
    result = []
    for where, (kind, namespace, suffix) in places.items():
        mine = [one for one in found if one.where == where]
        if not mine:
            continue
        metadata = {"name": f"{name}{suffix}", **({"namespace": namespace} if namespace else {})}
        api = "rbac.authorization.k8s.io"
        about = {"apiVersion": f"{api}/v1", "kind": kind, "metadata": metadata}
        result.append({**about, "rules": rules(mine, platform)})
        if where != CHOSEN:
            subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": platform.namespace}
            reference = {"apiGroup": api, "kind": kind, "name": metadata["name"]}
            result.append({**about, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]})
    return result


def account(platform: Platform) -> dict[str, Any]:
    """The ServiceAccount that the bindings name."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": platform.namespace},
    }


# -- files -------------------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Indents lists, as yamllint asks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _yaml(documents: Iterable[Mapping[str, Any]], comment: str) -> str:
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = (yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=110) for one in documents)
    return f"{head}---\n" + "---\n".join(body)


def files(recorded: Recorded) -> dict[Path, str]:
    """Every file of docs/permissions with its content."""
    result = {FOLDER / "README.md": _readme(recorded)}
    generated = "Generated by `make permissions` from what the module requested in a test; do not edit."
    for platform in PLATFORMS.values():
        folder = FOLDER / platform.name
        result[folder / "account.yaml"] = _yaml([account(platform)], generated)
        for module, options in recorded.items():
            if platform.name == "openshift" and module == "registry_pullsecret":
                continue  # the product has no managed pull secrets
            for option, rights in options.items():
                what = OPTIONS[module][option].replace("`", "")
                comment = f"{generated}\n{module}: {what}."
                if any(one.where == CHOSEN for one in rights):
                    comment += f"\n{_chosen(title(module, option))}"
                result[folder / f"{title(module, option)}.yaml"] = _yaml(
                    objects(platform, module, option, rights), comment
                )
    return result


def _chosen(name: str) -> str:
    role = f"{name.replace('_', '-')}-namespaces"
    return f"ClusterRole {role} is to be bound where the task may set limits: see ../README.md."


_README = """\
# Permissions

What the account of a task needs: every right here was seen at the wire when the tests ran each module and option, and
the tests run them again with nothing else. Generated by `make permissions`; do not edit.

```console
$ cd docs/permissions/alauda        # or openshift
$ kubectl apply -f account.yaml -f registry_storage.yaml -f registry_storage-write.yaml -f registry_storage-pvc.yaml
$ kubectl create token {account} --namespace {namespace}        # for api_key
```

- `account.yaml` creates the ServiceAccount `{account}` in the registry's namespace; the other files give
  it their rights. For another account, replace `subjects` in the bindings and leave `account.yaml` out.
- Each module has a file with what every task needs, one with what every change needs, and one for each option that
  needs more. Apply the first, and those whose options you use. A task of the module `registry`, of a role or of
  `configure` needs those of its parts; `mode: verify` and the playbook `verify` need no file whose rights go beyond
  get, list and watch.
- Fixed names are in `resourceNames`. Names that you choose (a claim, a ConfigMap, a Secret to copy from) are not: add
  `resourceNames` with your own to the rules with `get` and `patch`. RBAC cannot restrict `create` to a name.
- The default names of options (`quota_name`, `limits_name`, `verify_service_accounts`) are in `resourceNames` too: put
  your own in their place. To verify several ServiceAccounts, leave `resourceNames` out of that rule.
- Check mode needs the same rights, because its dry runs count as writes.
- Further rights are optional. `list` on `leases.coordination.k8s.io` in the registry's namespace lets a task that
  waits recognise an operator that hangs. `list` on `persistentvolumes` lets `pvc.create` see a volume made by hand
  where there is no StorageClass for the claim. (`image_pruner` and `registry_pullsecret` also look at
  `deployments.apps` of the registry's namespace while they wait for the operator.)
- Limits apply where you bind them. In one or two namespaces: `kubectl create rolebinding image-limits
  --namespace team-a --clusterrole image-limits-namespaces --serviceaccount
  {namespace}:{account}`, and the same for `image-limits-write-namespaces`. In all of them:
  `kubectl create clusterrolebinding …` with the same roles, and `image_limits-cluster.yaml`.
- The tables show the names of the product `alauda`; the folder `openshift` has the same rights with its own names.

"""


def _readme(recorded: Recorded) -> str:
    text = _README.format(account=ACCOUNT, namespace=ALAUDA.namespace)
    for module, options in recorded.items():
        text += f"## `{module}`\n\n| file | needed for | where | rights |\n| --- | --- | --- | --- |\n"
        for option, rights in options.items():
            text += "".join(_rows(module, option, rights))
        text += "\n"
    return text.rstrip("\n") + "\n"


def _rows(module: str, option: str, rights: Iterable[Right]) -> Iterator[str]:
    found = set(rights)
    first = f"`{title(module, option)}.yaml` | {OPTIONS[module][option]}"
    for where in (CLUSTER, REGISTRY, TRUSTED_CA, CHOSEN):
        mine = rules([one for one in found if one.where == where], ALAUDA)
        for rule in mine:
            names = f" {', '.join(f'`{name}`' for name in rule['resourceNames'])}" if "resourceNames" in rule else ""
            group = f".{rule['apiGroups'][0]}" if rule["apiGroups"][0] else ""
            resources = ", ".join(f"`{resource}{group}`" for resource in rule["resources"])
            yield f"| {first} | {where} | {resources}{names}: {', '.join(rule['verbs'])} |\n"
            first = " | "


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.house.permissions", description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    wanted = files(read())
    stale = [path for path in [*FOLDER.rglob("*.yaml"), *FOLDER.glob("*.md")] if path not in wanted]
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in [*differing, *stale]:
            print(f"{path.relative_to(ROOT)} is not what `make permissions` writes")
        return 1 if differing or stale else 0
    for path in stale:
        path.unlink()
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
