#!/bin/bash
# The day an NVIDIA GPU is lent: eight checks of what no other machine can show, in 12 minutes at the most.
#
#   tools/gpu_day.sh --pack                      # here: what that machine lacks, into .gpu_day/ (some 20 MiB)
#   tools/gpu_day.sh OUT [STEP...]               # there: each step's result goes to OUT/<step>.json at once
#   tools/gpu_day.sh --rehearse OUT [STEP...]    # here: the same on stand-ins, on the processor
#
# Take along the repository with .gpu_day/. The machine needs no network, and of packages PyTorch, NumPy, OpenCV,
# onnx and pytest; PYTHON names its interpreter (default: python3). Each step is a process of its own with a limit
# of its own: one that hangs or takes the GPU down costs itself only. Where one command may take 10 minutes at the
# most, give the steps in two: 1 2 3 4 5, then 6 7 8.
set -u
. "$(dirname "$0")/usage.sh" || exit 1
check_option "${1:-}" --pack --rehearse
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
steps=(1-machine:30 2-slots:60 3-engine:150 4-faults:90 5-measure:90 6-torch:180 7-train:60 8-compile:60)

if [ "${1:-}" = --pack ]; then
    exec "$python" tools/gpu_day.py pack .gpu_day
fi
rehearse=()
if [ "${1:-}" = --rehearse ]; then
    rehearse=(--rehearse)
    shift
fi
if [ $# -lt 1 ]; then
    usage >&2
    exit 2
fi
out=$1
shift
mkdir -p "$out" || exit 1
# A rehearsal is as slow as the processor it runs on; the limits are the device's.
slower=${rehearse:+10}
failed=0
for step in "${steps[@]}"; do
    name=${step%:*}
    limit=$((${step#*:} * ${slower:-1}))
    [ $# -gt 0 ] && [[ " $* " != *" ${name%%-*} "* ]] && continue
    timeout --kill-after=10 "$limit" "$python" tools/gpu_day.py "$name" "$out/$name.json" ${rehearse[@]+"${rehearse[@]}"}
    code=$?
    # What it had written by then stays, and how it ended stands beside it.
    "$python" tools/gpu_day.py ended "$out/$name.json" "$code" "$limit" || failed=1
done
exit $failed
