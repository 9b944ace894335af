#!/bin/sh
# Remakes the fused labels that the detector learns from: two teachers, fused, each with the mirror image.
#
#   tools/fused_labels.sh ../shared/data OUT [SET...]       # sets: train_pseudo train_real highway_train highway_valid
#
# DATA holds weights/ with the teachers (picodet_s_416_coco.onnx, teachers/nanodet-plus-m_416.param and .bin) and
# detection/ with instances_SET.json and images/SET. Each set gives OUT/fused_SET.json, COCO results json of score
# 0.10 or more; a file that is there is left as it is, so an end in the middle costs one set.
set -eu
. "$(dirname "$0")/usage.sh"
check_option "${1:-}"
if [ $# -lt 2 ]; then
    usage >&2
    exit 2
fi
here=$(dirname "$0")
bin=${BIN:-$here/../.venv/bin}
data=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- train_pseudo train_real highway_train highway_valid
mkdir -p "$out"
if [ ! -e "$out/picodet.onnx" ]; then
    "$bin/edgevision" import "$data/weights/picodet_s_416_coco.onnx" --kind picodet --classes coco \
        --out "$out/picodet.onnx"
fi
if [ ! -e "$out/nanodet.onnx" ]; then
    "$bin/python" "$here/ncnn_to_onnx.py" "$data/weights/teachers/nanodet-plus-m_416.param" --size 416 \
        --out "$out/nanodet-plain.onnx"
    "$bin/edgevision" import "$out/nanodet-plain.onnx" --kind nanodet --classes coco --out "$out/nanodet.onnx"
fi
unfinished=
trap '[ -z "$unfinished" ] || rm -f "$unfinished"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for set in "$@"; do
    [ -e "$out/fused_$set.json" ] && continue
    unfinished=$out/fused_$set.json # label writes it whole; where it is interrupted, of some images only
    "$bin/edgevision" label --model "$out/picodet.onnx" --model "$out/nanodet.onnx" --flip \
        --positive 0.1 --ignore 0.1 "$data/detection/images/$set" \
        --results-for "$data/detection/instances_$set.json" --out "$out/fused_$set.json" || {
        code=$?
        [ $code -eq 3 ] || exit $code # 3: complete, but for images that could not be read, which it names
    }
    unfinished=
done
