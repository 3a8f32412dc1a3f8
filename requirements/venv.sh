#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes .venv hold exactly what requirements/dev.txt lists; does nothing when it already does.
# Needs Python >= 3.11 (PYTHON=… selects one) and a Python package index; uv is downloaded if it is not on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'make venv: %s\n' "$*" >&2; exit 1; }

recent_enough='import sys; sys.exit(sys.version_info < (3, 11))'
python=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$recent_enough" 2>/dev/null; then
        python=$("$candidate" -c 'import sys; print(sys.executable)')
        break
    fi
    [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a working Python >= 3.11."
done
[ -n "$python" ] || die "no Python >= 3.11 found (tried python3 and python3.11 to python3.14). Install one, or set PYTHON=/path/to/python."

stamp=.venv/.locked
want="$("$python" -c 'import hashlib; print(hashlib.sha256(open("requirements/dev.txt", "rb").read()).hexdigest())')"
whole=no
if [ -x .venv/bin/python ] && .venv/bin/python -c "$recent_enough" 2>/dev/null; then
    whole=yes
    if [ -n "${PYTHON:-}" ] && [ "$(.venv/bin/python -V)" != "$("$python" -V)" ]; then whole=no; fi
fi
if [ $whole = yes ] && [ "$(cat $stamp 2>/dev/null || true)" = "$want" ]; then exit 0; fi

# A mirror that pip is configured to use applies to uv as well.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    mirror="${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}"
    if [ -n "$mirror" ]; then export UV_DEFAULT_INDEX="$mirror"; fi
fi

uv=uv
if ! uv --version >/dev/null 2>&1; then
    uv=.cache/uv/bin/uv
    if ! $uv --version >/dev/null 2>&1; then
        say "uv is not on PATH: installing it in .cache/uv"
        mkdir -p .cache
        # The lock's own entry for uv, hashes included.
        awk '/^[^ ]/ { mine = /^uv==/ } mine' requirements/dev.txt > .cache/uv.txt
        rm -rf .cache/uv
        if "$python" -m venv .cache/uv 2>/dev/null; then
            .cache/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .cache/uv.txt \
                || die "pip could not install uv from the package index (see its message above)."
        elif "$python" -m pip --version >/dev/null 2>&1; then
            # For distributions that package the venv module separately.
            "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --target .cache/uv -r .cache/uv.txt \
                || die "pip could not install uv from the package index (see its message above)."
        else
            die "$python has neither the venv module nor pip. Install one of them (Debian: python3-venv), or put uv on PATH."
        fi
    fi
fi

say "Python environment .venv from requirements/dev.txt ($("$python" --version), $($uv --version | cut -d' ' -f1,2))"
if [ $whole = no ]; then "$uv" venv --quiet --clear --no-project --python "$python" .venv; fi
# Leaves out the list of every package; downloads and errors stay visible.
VIRTUAL_ENV="$PWD/.venv" "$uv" pip sync --require-hashes requirements/dev.txt 2>&1 | sed '/^ [+~-] /d' >&2
printf '%s\n' "$want" > $stamp
say "Python environment ready"
