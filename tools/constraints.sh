#!/usr/bin/env bash
# Writes constraints.txt: one file for Python 3.10 and later on every platform, told apart by markers.
#
#   tools/constraints.sh                           keeps the versions that it names already, where they still fit
#   tools/constraints.sh --upgrade                 takes the newest
#   tools/constraints.sh --upgrade-package NAME    takes the newest of one package
#
# Left out on purpose:
# - tensorrt: a vendor's index holds its libraries, and on a Jetson JetPack's own must be used;
# - cuda-*, nvidia-*, triton: torch names those that it needs exactly, and a Jetson without torch
#   needs the cuda-python of its JetPack (CUDA 12 on JetPack 6), not torch's.
set -euo pipefail
. "$(dirname "$0")/usage.sh"
check_option "${1:-}" --upgrade --upgrade-package
case ${1:-} in
    [!-]*)
        usage >&2
        exit 2
        ;;
esac
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=uv

left_out=(triton cuda-bindings cuda-core cuda-pathfinder cuda-python cuda-toolkit)
for library in cublas cuda-cccl cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand \
    cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx; do
    left_out+=("nvidia-$library")
done

"$uv" pip compile --quiet --universal --python-version 3.10 \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    --extra=all --extra=ray --extra=s3 --group=dev "${left_out[@]/#/--no-emit-package=}" \
    "$@" --output-file constraints.txt pyproject.toml
if grep -nE '^(cuda|nvidia)-|://' constraints.txt; then
    echo "constraints: the lines above do not belong there; add them to left_out in $0" >&2
    exit 1
fi

# Everything must have wheels on a PC with any Python that pyproject.toml names, and the runtime also where it is
# deployed. JetPack 6 is Ubuntu 22.04 (glibc 2.35) with Python 3.10, JetPack 7 is Ubuntu 24.04 (glibc 2.39) with
# Python 3.12. TensorRT for RTX is the exception: a source package that only names its wheels.
check_wheels() {
    "$uv" pip compile --quiet --only-binary :all: --no-binary tensorrt-rtx-cu13 --no-header --no-annotate \
        --python-version "$1" --python-platform "$2" --constraints constraints.txt "${@:4}" pyproject.toml >/dev/null
    echo "constraints: wheels for $3 on Python $1 $2"
}

for version in $(sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml); do
    check_wheels "$version" x86_64-manylinux_2_28 'all extras and development' --extra=all --group=dev
done
check_wheels 3.10 aarch64-manylinux_2_35 'the runtime' --extra=metrics
check_wheels 3.12 aarch64-manylinux_2_39 'the runtime' --extra=metrics
