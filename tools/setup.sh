#!/usr/bin/env bash
# Makes .venv hold the project for one purpose: tools/setup.sh demo|dev. 'demo' is the runtime and what the
# demo shows; 'dev' is the extra 'all' and the dependency group 'dev'.
#
# Does nothing when that was done already for the present pyproject.toml and constraints.txt.
# uv does the work: from PATH, or put into .venv by pip. Pip alone is the last resort, because it
# mixes the indexes and wheel folders of the machine's pip configuration, where a stray torch build
# can be chosen that does not fit torchvision.
set -euo pipefail
. "$(dirname "$0")/usage.sh"
check_option "${1:-}"
cd "$(dirname "$0")/.."

purpose=${1:?usage: tools/setup.sh demo|dev}
python=.venv/bin/python
key=$(cat pyproject.toml constraints.txt | cksum)

fail() {
    echo "setup: $*" >&2
    exit 1
}

case $purpose in
    demo) wanted=(-e '.[demo]') ;;
    dev) wanted=(-e '.[all]' --group dev) ;;
    *) fail "unknown purpose '$purpose'; expected demo or dev" ;;
esac

is_installed() {
    [ -x "$python" ] && [ -f ".venv/.installed-$1" ] && [ "$(cat ".venv/.installed-$1")" = "$key" ]
}

# dev includes demo, so an up-to-date dev environment serves both.
if is_installed "$purpose" || is_installed dev; then
    exit 0
fi

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if "$name" -c "$supported" 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.10 to 3.14 found; install one, or uv, or set PYTHON=/path/to/python"
}

uv=""
if uv --version >/dev/null 2>&1; then
    uv=uv
fi

if [ ! -e .venv ]; then
    echo "setup: creating .venv"
    if [ -n "$uv" ]; then
        uv venv --quiet --python "${PYTHON:->=3.10,<3.15}" .venv 2>/dev/null \
            || uv venv --quiet --python "$(find_python)" .venv
    else
        "$(find_python)" -m venv .venv \
            || fail "python3 -m venv failed; install python3-venv (Debian, Ubuntu) or uv, remove .venv, try again"
    fi
fi
"$python" -c "$supported" 2>/dev/null \
    || fail ".venv does not hold a working Python 3.10-3.14; remove it (rm -r .venv) and try again"

if [ -z "$uv" ]; then
    if ! .venv/bin/uv --version >/dev/null 2>&1; then
        "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt uv \
            || echo "setup: uv cannot be installed; going on with pip" >&2
    fi
    if .venv/bin/uv --version >/dev/null 2>&1; then
        uv=.venv/bin/uv
    fi
fi

echo "setup: installing edgevision for $purpose"
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python "$python" -c constraints.txt "${wanted[@]}"
else
    # Dependency groups need pip 25.1; the one that comes with Python may be older.
    "$python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
    "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "${wanted[@]}"
fi
echo "$key" > ".venv/.installed-$purpose"
