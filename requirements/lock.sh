#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Writes requirements/*.txt from the .in files: every platform, every Python >= 3.11, with hashes, without their source.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in dev oldest; do
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS uv pip compile --quiet --upgrade --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        "requirements/$name.in" -o "requirements/$name.txt"
    if grep -nE '://|(^| )/|file:' "requirements/$name.txt"; then
        echo "make lock: requirements/$name.txt names where packages come from (see above), which it must not." >&2
        exit 1
    fi
    echo "==> requirements/$name.txt written" >&2
done
