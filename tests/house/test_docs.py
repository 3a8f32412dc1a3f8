# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation quotes, the product knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.alauda.image_registry.plugins.module_utils._registry import messages as _explain

ROOT = Path(__file__).resolve().parents[2]


def _quoted_by_the_cluster() -> list[str]:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    table = text.split("## Stored, but without effect")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [quote for cell in first for quote in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("text", _quoted_by_the_cluster())
def test_a_text_of_the_troubleshooting_page_is_known_to_the_product(text: str) -> None:
    assert _explain.explain(text).kind != "unknown"


def test_yaml_in_documents_can_be_read() -> None:
    blocks = 0
    for path in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "roles").glob("*/README.md")),
    ]:
        for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            assert list(yaml.safe_load_all(block)), f"{path}: {block[:60]}"
            blocks += 1
    assert blocks >= 5
