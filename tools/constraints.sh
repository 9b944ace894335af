#!/usr/bin/env bash
# Writes constraints.txt: one file for Python 3.10-3.12 on every platform, told apart by markers.
#
#   tools/constraints.sh              keeps the versions that it names already, where they still fit
#   tools/constraints.sh --upgrade    takes the newest
#
# Left out on purpose:
# - tensorrt: a vendor's index holds its libraries, and on a Jetson JetPack's own must be used;
# - cuda-*, nvidia-*, triton: torch names those that it needs exactly, and a Jetson without torch
#   needs the cuda-python of its JetPack (CUDA 12 on JetPack 6), not torch's.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=uv
extras=(demo train export openvino track mqtt metrics dev)

left_out=(triton cuda-bindings cuda-core cuda-pathfinder cuda-python cuda-toolkit)
for library in cublas cuda-cccl cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand \
    cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx; do
    left_out+=("nvidia-$library")
done

"$uv" pip compile --quiet --universal --python-version 3.10 \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    "${extras[@]/#/--extra=}" "${left_out[@]/#/--no-emit-package=}" \
    "$@" --output-file constraints.txt pyproject.toml
if grep -nE '^(cuda|nvidia)-|://' constraints.txt; then
    echo "constraints: the lines above do not belong there; add them to left_out in $0" >&2
    exit 1
fi

# Every runtime dependency must have a wheel where the runtime is deployed. JetPack 6 is Ubuntu 22.04
# (glibc 2.35) with Python 3.10, JetPack 7 is Ubuntu 24.04 (glibc 2.39) with Python 3.12.
for target in 3.10/aarch64-manylinux_2_35 3.12/aarch64-manylinux_2_39 \
    3.10/x86_64-manylinux_2_28 3.11/x86_64-manylinux_2_28 3.12/x86_64-manylinux_2_28; do
    "$uv" pip compile --quiet --only-binary :all: --no-header --no-annotate \
        --python-version "${target%/*}" --python-platform "${target#*/}" \
        --constraints constraints.txt --extra=metrics pyproject.toml >/dev/null
    echo "constraints: wheels for the whole runtime on Python ${target/\// }"
done
