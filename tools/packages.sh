#!/usr/bin/env bash
# Builds the wheel and the sdist and uses both in empty environments, on every Python 3.10 to 3.14 that is here:
# the wheel with its own dependencies reads an image, the sdist with the extra 'demo' runs the demo.
#
#   tools/packages.sh [FOLDER]    FOLDER, dist by default, gets the two files
#
# Pythons are those that uv finds, and those that pyenv made.
set -euo pipefail
. "$(dirname "$0")/usage.sh"
check_option "${1:-}"
cd "$(dirname "$0")/.."

folder=${1:-dist}
uv=.venv/bin/uv
[ -x "$uv" ] || uv=uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$uv" build --quiet --clear --out-dir "$folder"
wheel=$(realpath "$folder"/*.whl)
sdist=$(realpath "$folder"/*.tar.gz)

find_python() {
    local python
    for python in "$("$uv" python find --no-python-downloads "$1" 2>/dev/null || true)" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if [ -x "$python" ] && [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$1" ]; then
            echo "$python"
            return
        fi
    done
}

use() { # python, name, what is installed, then a command whose words after 'edgevision' are given
    "$uv" venv --quiet --python "$1" "$work/$2"
    "$uv" pip install --quiet --python "$work/$2/bin/python" -c constraints.txt "$3"
    mkdir "$work/$2/empty"
    (cd "$work/$2/empty" && "../bin/edgevision" --version && "${@:4}")
}

done=0
for version in 3.10 3.11 3.12 3.13 3.14; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "packages: no Python $version here"
        continue
    fi
    use "$python" "wheel-$version" "$wheel" sh -c '
        ../bin/python -c "import cv2, numpy; cv2.imwrite(\"a.jpg\", numpy.full((480, 640, 3), 90, numpy.uint8))"
        ../bin/edgevision run --source a.jpg --output b.jpg --save-json b.jsonl 2>/dev/null
        test -s b.jpg && test "$(wc -l < b.jsonl)" = 1'
    use "$python" "sdist-$version" "edgevision[demo] @ file://$sdist" sh -c '
        ../bin/edgevision run --source demo --max-frames 2 --save-json b.jsonl 2>/dev/null
        grep -q person b.jsonl'
    echo "packages: wheel and sdist work on Python $version"
    done=$((done + 1))
done
[ "$done" -gt 0 ]
