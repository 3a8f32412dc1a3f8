# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and hosts that tasks are given: one with anything around it or in it is refused, never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.alauda.image_registry.plugins.module_utils._kubernetes.objects import (
    is_namespace_name,
    is_object_name,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.limits.intent import (
    parse_intent as limits_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import (
    host_problem,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.pull_secrets.intent import (
    parse_intent as pull_secrets_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._parts.storage.intent import (
    parse_intent as storage_intent,
)
from ansible_collections.alauda.image_registry.plugins.module_utils._registry.platform import ALAUDA
from tests.unit._parts.limits.situations import PAGE
from tests.unit._parts.storage.situations import PEM, S3, params

Given = Callable[[str], Any]


def _pull_secrets(option: str) -> Given:
    return lambda name: pull_secrets_intent({"list_mode": "replace", option: [name]}, ALAUDA)


def _limits(option: str, in_list: bool = False) -> Given:
    return lambda name: limits_intent({**PAGE, option: [name] if in_list else name}, ALAUDA)


def _claim(option: str) -> Given:
    return lambda name: storage_intent(params(backend="pvc", pvc={"claim": "images", option: name}), ALAUDA)


def _bucket(**more: Any) -> Callable[[str], Any]:
    def intent(name: str) -> Any:
        given = {key: value(name) if callable(value) else value for key, value in more.items()}
        return storage_intent(params(backend="s3", s3={**S3, **given}), ALAUDA)

    return intent


def _backend(name: str, **options: str) -> Given:
    def intent(text: str) -> Any:
        given = {key: value.format(text) for key, value in options.items()}
        return storage_intent(params(backend=name, **{name: given}), ALAUDA)

    return intent


OPTIONS: dict[str, Given] = {
    "namespaces": _limits("namespaces", in_list=True),
    "quota_name": _limits("quota_name"),
    "limits_name": _limits("limits_name"),
    "ignored_namespaces": _pull_secrets("ignored_namespaces"),
    "verify_namespaces": _pull_secrets("verify_namespaces"),
    "verify_service_accounts": _pull_secrets("verify_service_accounts"),
    "additional_registry_hosts": _pull_secrets("additional_registry_hosts"),
    "pvc.claim": _claim("claim"),
    "pvc.storage_class": _claim("storage_class"),
    "s3.bucket": _bucket(bucket=lambda name: name),
    "s3.region": _bucket(region=lambda name: name),
    "s3.region_endpoint": _bucket(region_endpoint=lambda name: f"https://{name}"),
    "s3.credentials_secret": _bucket(credentials_secret=lambda name: name),
    "s3.trusted_ca.name": _bucket(trusted_ca=lambda name: {"name": name, "pem": PEM}),
    "swift.container": _backend("swift", container="{}"),
    "gcs.bucket": _backend("gcs", bucket="{}"),
    "azure.container": _backend("azure", container="{}", account_name="a"),
    "azure.account_name": _backend("azure", container="a", account_name="{}"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_name_is_taken(option: str) -> None:
    assert not OPTIONS[option]("images").problems


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "name", ["images\n", "\nimages", "images\r", "images ", "ima\nges", "images\x00", "images\u2028"]
)
def test_a_name_with_a_line_break_is_refused(option: str, name: str) -> None:
    """``$`` in a pattern would let the first one through."""
    [*problems] = OPTIONS[option](name).problems
    assert [text for text in problems if option.split(".")[-1] in text] != []
    assert "\n" not in "".join(problems)


TEXTS = st.text() | st.text("a1-.:[]%\n /@", max_size=12)


@given(TEXTS)
@example("[fe80::1%\n]")
@example("[fe80::1%eth0]:5000")
def test_whatever_is_taken_for_a_name_or_a_host_is_one_plain_word(text: str) -> None:
    if is_namespace_name(text) or is_object_name(text) or not host_problem(text):
        assert text.isascii()
        assert text.isprintable()
        assert not {" ", "/", "@", "%"}.intersection(text)
