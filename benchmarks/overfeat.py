"""How much faster a sliding window is than its crops one by one, and that both say the same.

A checkpoint's network answers for all windows of one image in one pass, and then for the crops of the same
windows, cut out at each scale, in batches of 16: what a classifier that is not convolutional would do.

    python benchmarks/overfeat.py runs/overfeat/best.pt [--rounds 5] [--threads 1] [--json PATH]

Prints JSON: windows, milliseconds of processor time of either way (medians), which other work on the machine
hardly changes, their ratio, and the largest difference between the logits.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from common import Figures, machine, new_parser, report
from torch import Tensor

from edgevision.errors import UsageError
from edgevision.models.overfeat.network import OverFeat
from edgevision.models.overfeat.settings import STRIDE
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.networks import load_detector

BATCH = 16


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="of an OverFeat")
    parser.add_argument("--rounds", type=int, default=5, help="of each way")
    parser.add_argument("--threads", type=int, default=1, help="of the arithmetic")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return report(lambda: measure(options.checkpoint, options.rounds), options.json)


@torch.inference_mode()
def measure(checkpoint: Path, rounds: int) -> Figures:
    """Both ways in turns, on one random image."""
    here = machine()
    network = load_detector(load_checkpoint(checkpoint))
    if not isinstance(network, OverFeat):
        raise UsageError(f"{checkpoint} holds no network of the family overfeat")
    image = torch.randn(1, 3, network.config.input_size, network.config.input_size)
    slid, cut = network(image).logits[0], crop_by_crop(network, image)
    times: dict[str, list[float]] = {"sliding": [], "crops": []}
    for _ in range(rounds):
        times["sliding"].append(milliseconds(lambda: network(image)))
        times["crops"].append(milliseconds(lambda: crop_by_crop(network, image)))
    sliding, crops = (statistics.median(times[way]) for way in ("sliding", "crops"))
    return {
        "machine": here,
        "windows": len(slid),
        "window_px": network.config.window,
        "sliding_ms": round(sliding, 1),
        "crops_ms": round(crops, 1),
        "ratio": round(crops / sliding, 1),
        "largest_difference": float((slid - cut).abs().max()),
    }


def crop_by_crop(network: OverFeat, image: Tensor) -> Tensor:
    """Logits ``[M, C + 1]`` of every window of ``image`` ``[1, 3, S, S]``, each cut out by itself."""
    config, found = network.config, []
    for side, grid in zip(config.sides(), config.grids(), strict=True):
        scaled = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
        corners = [(row * STRIDE, column * STRIDE) for row in range(grid) for column in range(grid)]
        for start in range(0, len(corners), BATCH):
            crops = [
                scaled[0, :, top : top + config.window, left : left + config.window]
                for top, left in corners[start : start + BATCH]
            ]
            found.append(network.slide(torch.stack(crops)).logits[:, 0])
    return torch.cat(found)


def milliseconds(work: Callable[[], object]) -> float:
    """The processor time that it takes."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


if __name__ == "__main__":
    sys.exit(main())
