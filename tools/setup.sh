#!/usr/bin/env bash
# Makes .venv hold the project and one set of extras: tools/setup.sh demo|dev
#
# Does nothing when that was done already for the present pyproject.toml and constraints.txt.
# uv does the work: from PATH, or put into .venv by pip. Pip alone is the last resort, because it
# mixes the indexes and wheel folders of the machine's pip configuration, where a stray torch build
# can be chosen that does not fit torchvision.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:?usage: tools/setup.sh demo|dev}
python=.venv/bin/python
key=$(cat pyproject.toml constraints.txt | cksum)

fail() {
    echo "setup: $*" >&2
    exit 1
}

is_installed() {
    [ -x "$python" ] && [ -f ".venv/.installed-$1" ] && [ "$(cat ".venv/.installed-$1")" = "$key" ]
}

# dev includes demo, so an up-to-date dev environment serves both.
if is_installed "$extra" || is_installed dev; then
    exit 0
fi

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "$name" -c "$supported" 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.10, 3.11 or 3.12 found; install one, or uv, or set PYTHON=/path/to/python"
}

uv=""
if uv --version >/dev/null 2>&1; then
    uv=uv
fi

if [ ! -e .venv ]; then
    echo "setup: creating .venv"
    if [ -n "$uv" ]; then
        uv venv --quiet --python "${PYTHON:->=3.10,<3.13}" .venv 2>/dev/null \
            || uv venv --quiet --python "$(find_python)" .venv
    else
        "$(find_python)" -m venv .venv \
            || fail "python3 -m venv failed; install python3-venv (Debian, Ubuntu) or uv, remove .venv, try again"
    fi
fi
"$python" -c "$supported" 2>/dev/null \
    || fail ".venv does not hold a working Python 3.10-3.12; remove it (rm -r .venv) and try again"

if [ -z "$uv" ]; then
    if ! .venv/bin/uv --version >/dev/null 2>&1; then
        "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt uv \
            || echo "setup: uv cannot be installed; going on with pip" >&2
    fi
    if .venv/bin/uv --version >/dev/null 2>&1; then
        uv=.venv/bin/uv
    fi
fi

echo "setup: installing edgevision[$extra]"
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python "$python" -c constraints.txt -e ".[$extra]"
else
    "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extra]"
fi
echo "$key" > ".venv/.installed-$extra"
