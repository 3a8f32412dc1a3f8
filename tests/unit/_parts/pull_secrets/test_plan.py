# SPDX-License-Identifier: GPL-3.0-or-later
"""registry_pullsecret's decisions: hosts, lists, and what is written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.plan import (
    edited,
)
from tests.unit._parts.pull_secrets.situations import decide

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=6)


@given(live=NAMES, given_items=NAMES, mode=st.sampled_from(["replace", "merge", "remove"]))
def test_list_edits(live: list[str], given_items: list[str], mode: str) -> None:
    """The result is the requested set; order and duplicates are not a change; a second run changes nothing."""
    wanted = {
        "replace": set(given_items),
        "merge": set(live) | set(given_items),
        "remove": set(live) - set(given_items),
    }[mode]
    result = edited(live, given_items, mode)
    if wanted == set(live):
        assert result is None
    else:
        assert result is not None
        assert set(result) == wanted
        assert len(result) == len(wanted)
        assert edited(result, given_items, mode) is None


def test_replacing_a_list_names_what_was_dropped_and_guards_the_write() -> None:
    """As on the page, the array is replaced, but never over somebody else's edit."""
    plan = decide({"additionalRegistryHosts": ["a", "b"]}, additional_registry_hosts=["b", "c"])
    (write,) = plan.writes
    assert write.body == {
        "spec": {"imagePullSecret": {"additionalRegistryHosts": ["b", "c"]}},
        "metadata": {"resourceVersion": "77"},
    }
    assert plan.values == {"dropped": ["additionalRegistryHosts: a"]}


def test_nothing_to_change() -> None:
    """Another order, duplicates, and false where the field is absent."""
    plan = decide(
        {"managementState": "Managed", "additionalRegistryHosts": ["a", "b"]},
        management_state="Managed",
        additional_registry_hosts=["b", "a", "b"],
        ignored_namespaces=[],
        ignore_system_namespaces=False,
    )
    assert (plan.refusals, plan.writes) == ((), ())


def test_emptying_a_list() -> None:
    """An empty list is a request, an absent one is not."""
    (write,) = decide({"ignoredNamespaces": ["a"]}, ignored_namespaces=[]).writes
    assert write.body["spec"] == {"imagePullSecret": {"ignoredNamespaces": None}}


def test_refused() -> None:
    """All findings are listed at once."""
    plan = decide({}, additional_registry_hosts=["https://x", "ok"], ignored_namespaces=["Bad_Name"])
    assert len(plan.refusals) == 2
    assert plan.writes == ()


def test_a_registry_that_the_task_itself_sets_to_managed_needs_no_warning() -> None:
    """In a task that also has the storage part, Config is still Removed while all parts are planned."""
    (warning,) = decide({}, state="Removed", management_state="Managed").warnings
    assert warning.startswith("Config.spec.managementState is Removed: ")
    assert decide({}, state="Removed", management_state="Managed", managed=True).warnings == ()
    assert decide({}, management_state="Managed").warnings == ()
