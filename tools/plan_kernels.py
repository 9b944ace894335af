"""Counts the kernels of plans by what they compute in: a row of Markdown for each plan.

    edgevision export light.int8.onnx --precision fp16 --out light.int8.fp16.onnx
    edgevision compile light.int8.fp16.onnx --target rtx40 --out light.engine
    .venv/bin/python tools/plan_kernels.py light.engine

Kernels that hold some of the preprocessing, the decoder or NMS are left out. A plan says what it computes in,
not how fast; it need not run here.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from needed import installed

with installed():
    from edgevision.engines.trt.plan import PlanLayer, read_plan_info
    from edgevision.errors import EdgeVisionError

ENDS = ("pre/", "post/")
CONVOLUTIONS = ("correlation", "CaskConvolution")
PRECISIONS = ("Int8", "Float", "Half")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plans", nargs="+", type=Path, help="with the .json file beside each")
    options = parser.parse_args()
    lines = [
        "| Plan | Convolutions INT8, FP32, FP16 | Other kernels INT8, FP32, FP16 | Kernels |",
        "|---|---|---|---|",
    ]
    try:
        for plan in options.plans:
            of_convolutions, of_others = kernels(read_plan_info(plan).layers)
            counts = (
                ", ".join(str(found[one]) for one in PRECISIONS) for found in (of_convolutions, of_others)
            )
            total = of_convolutions.total() + of_others.total()
            lines.append(f"| {plan.name} | {' | '.join(counts)} | {total} |")
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def kernels(layers: Iterable[PlanLayer]) -> tuple[Counter[str], Counter[str]]:
    """Of convolutions and of everything else between preprocessing and decoding, by precision."""
    of_convolutions: Counter[str] = Counter()
    of_others: Counter[str] = Counter()
    for layer in layers:
        if layer.kind in CONVOLUTIONS:
            of_convolutions[layer.precision] += 1
        elif not any(node.startswith(ENDS) for node in layer.nodes):
            of_others[layer.precision] += 1
    return of_convolutions, of_others


if __name__ == "__main__":
    sys.exit(main())
