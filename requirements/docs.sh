#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the reference of modules and roles as HTML in .cache/docs/build/html.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" ANSIBLE_COLLECTIONS_PATH="$PWD/tests/collections"
rm -rf .cache/docs && mkdir -p .cache/docs/rst
echo "==> reference pages" >&2
antsibull-docs collection --use-current --fail-on-error --squash-hierarchy --dest-dir .cache/docs/rst alauda.image_registry
cat > .cache/docs/rst/conf.py <<'CONF'
project = "alauda.image_registry"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
# Two labels lead into Ansible's own manual, which is not part of this build.
suppress_warnings = ["ref.ref"]
CONF
echo "==> HTML" >&2
sphinx-build -q -W --keep-going -b html .cache/docs/rst .cache/docs/build/html
echo "==> .cache/docs/build/html/index.html" >&2
