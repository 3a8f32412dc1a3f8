# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading kubeconfigs, for the proxy and the operator simulator. Independent of the collection's own reader."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

Section = dict[str, Any]


def current_context(path: Path) -> tuple[Section, Section]:
    """The cluster, which names a server, and the user of the current context.

    :raises OSError, ValueError: when the file cannot be read or is incomplete.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster: Section = _named(document["clusters"], context["cluster"])["cluster"]
        user: Section = _named(document["users"], context["user"]).get("user") or {}
        cluster["server"]
    except yaml.YAMLError as error:
        raise ValueError(f"cannot parse kubeconfig {path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"kubeconfig {path} lacks {error}") from error
    return cluster, user


def material(section: Section, key: str, base: Path) -> bytes:
    """A certificate or key, inline or from a file relative to ``base``; empty if there is none."""
    if section.get(key + "-data"):
        return base64.b64decode(str(section[key + "-data"]))
    if section.get(key):
        return (base / str(section[key])).read_bytes()
    return b""


def _named(items: list[Section], name: str) -> Section:
    for item in items:
        if item["name"] == name:
            return item
    raise KeyError(name)
