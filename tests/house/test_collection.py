# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get: the built collection is complete, contains nothing else, and works without this checkout."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import ansible_test
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLLECTION = "alauda.image_registry"
SHIPPED = ("plugins", "roles", "playbooks", "docs", "meta")
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")


def _ansible(
    tool: str, *arguments: str, home: Path, collections: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one of Ansible's programs outside the checkout, with access only to the collections in `collections`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_HOME": str(home), "ANSIBLE_COLLECTIONS_PATH": str(collections or home), "NO_COLOR": "1"}
    return subprocess.run(
        [str(BIN / tool), *arguments], cwd=home, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    done = _ansible("ansible-galaxy", "collection", "build", "--output-path", str(folder), str(ROOT), home=folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    done = _ansible(
        "ansible-galaxy", "collection", "install", "--offline", "-p", str(folder), str(tarball), home=folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_collection_carries_what_users_need_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        carried = {name for name in archive.getnames() if not archive.getmember(name).isdir()}
    listed = subprocess.run(
        ["git", "ls-files", "-z", *SHIPPED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    assert wanted - carried == set()
    top = {name.split("/")[0] for name in carried}
    assert top <= {*SHIPPED, "MANIFEST.json", "FILES.json", "README.md", "COPYING", "CHANGELOG.md", "changelogs"}
    assert not [name for name in carried if "__pycache__" in name or name.endswith((".pyc", ".gz"))]
    assert tarball.stat().st_size < 2 * 1024 * 1024


def test_no_kubeconfig_that_lies_around_is_carried() -> None:
    """The one file with that word in its name belongs to the collection."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    names = "kubeconfig kubeconfig.yml dev.kubeconfig a/kubeconfig-dev kubeconfig.json kubeconfig-my .kubeconfig.bak"
    for name in names.split():
        assert any(fnmatch.fnmatch(name, pattern) for pattern in ignored), name
    ours = "plugins/module_utils/_kubernetes/kubeconfig.py"
    assert not any(fnmatch.fnmatch(ours, pattern) for pattern in ignored)


@pytest.mark.parametrize("module", MODULES)
def test_an_installed_module_is_documented(installed: Path, module: str) -> None:
    done = _ansible("ansible-doc", f"{COLLECTION}.{module}", home=installed, collections=installed)
    assert done.returncode == 0, done.stderr
    assert "EXAMPLES:" in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_ansible_s_own_validation_has_no_complaint_about_an_installed_module(installed: Path, module: str) -> None:
    # The program behind `ansible-test sanity --test validate-modules`, which needs the network and a git checkout.
    validator = Path(ansible_test.__path__[0]) / "_util" / "controller" / "sanity" / "validate-modules"
    done = subprocess.run(
        [
            *(
                sys.executable,
                str(validator / "validate.py"),
                "--collection",
                "ansible_collections/alauda/image_registry",
            ),
            *("--collection-version", "0.1.0", f"plugins/modules/{module}.py"),
        ],
        cwd=installed / "ansible_collections" / "alauda" / "image_registry",
        env={**os.environ, "PYTHONPATH": f"{validator}{os.pathsep}{installed}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_installed_playbook_runs_by_its_full_name(installed: Path, playbook: str) -> None:
    done = _ansible(
        "ansible-playbook", "--syntax-check", f"{COLLECTION}.{playbook}", home=installed, collections=installed
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_is_named_in_the_readme(playbook: str) -> None:
    assert f"{COLLECTION}.{playbook}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_action_group_has_every_module_once() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    names = [entry for entry in runtime["action_groups"]["registry"] if isinstance(entry, str)]
    assert names == MODULES


def test_documents_name_the_supported_ansible() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    oldest = re.fullmatch(r">=(\d+\.\d+)\.0", runtime["requires_ansible"])
    assert oldest
    assert f"ansible-core {oldest[1]}" in (ROOT / "README.md").read_text(encoding="utf-8")
    asked = (ROOT / "requirements" / "runtime.in").read_text(encoding="utf-8")
    assert f"ansible-core>={oldest[1]}" in asked
    for role in (ROOT / "roles").glob("*/meta/main.yml"):
        assert yaml.safe_load(role.read_text(encoding="utf-8"))["galaxy_info"]["min_ansible_version"] == oldest[1]


def test_a_failing_playbook_says_why_and_prints_no_secret_even_when_verbose(installed: Path) -> None:
    done = _ansible(
        "ansible-playbook",
        f"{COLLECTION}.storage_s3",
        "-vvv",
        *(
            "-e",
            "registry_s3_bucket=images",
            "-e",
            "registry_s3_access_key=HUSH-access",
            "-e",
            "registry_s3_secret_key=HUSH-key",
        ),
        # Port 1 of the loopback: nobody answers there.
        *("-e", "registry_storage_host=https://127.0.0.1:1", "-e", "registry_storage_api_key=HUSH-token"),
        home=installed,
        collections=installed,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2
    assert "No answer from the API server https://127.0.0.1:1" in said
    assert "HUSH" not in said


def test_the_playbook_for_all_parts_names_what_it_does_not_know_and_prints_no_secret(installed: Path) -> None:
    secret = {"backend": "s3", "s3": {"bucket": "images", "access_key": "HUSH-access", "secret_key": "HUSH-key"}}
    wrong = {"limits": {}, "namespaces": ["a"]}

    def said(**variables: object) -> str:
        done = _ansible(
            *("ansible-playbook", f"{COLLECTION}.configure", "-vvv", "-e", json.dumps(variables)),
            # Port 1 of the loopback: nobody answers there.
            *("-e", "registry_host=https://127.0.0.1:1", "-e", "registry_api_key=HUSH-token"),
            home=installed,
            collections=installed,
        )
        assert done.returncode == 2
        assert "HUSH" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "No answer from the API server https://127.0.0.1:1" in said(registry_storage=secret)
    text = said(registry_storage=secret, image_limits=[{"namespaces": ["a"]}, wrong], image_pruner={"state": "gone"})
    assert "Unsupported parameters: image_limits.limits (did you mean image_limits.limits_name?)" in text
    assert "value of state must be one of: present, absent, got: gone found in image_pruner" in text
    assert "No answer" not in text


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir()))
def test_an_installed_role_without_variables_does_nothing_and_says_so(installed: Path, role: str) -> None:
    done = _ansible(
        *("ansible", "localhost", "-m", "ansible.builtin.include_role", "-a", f"name={COLLECTION}.{role}"),
        *("-e", "registry_allow_nothing=true"),
        home=installed,
        collections=installed,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do, because" in done.stdout


def test_a_role_refuses_a_value_that_its_spec_does_not_know(installed: Path) -> None:
    done = _ansible(
        *("ansible", "localhost", "-m", "ansible.builtin.include_role", "-a", f"name={COLLECTION}.registry_storage"),
        *("-e", "registry_storage_backend=floppy"),
        home=installed,
        collections=installed,
    )
    assert done.returncode == 2
    assert "must be one of: emptydir, pvc, s3, swift, gcs, ibmcos, azure, got: floppy" in done.stdout + done.stderr
