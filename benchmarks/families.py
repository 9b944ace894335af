"""What a frame costs each family, and where an R-CNN, a Fast R-CNN and a Faster R-CNN spend it.

An exported file (.onnx) runs in ONNX Runtime: preprocessing, network, decoding and suppression of one frame.
A checkpoint (.pt) of a family that looks at regions runs in PyTorch, in two parts: what proposes the regions
(selective search, or the network of a Faster R-CNN behind its pyramid), and all that is left.

    python benchmarks/families.py ssd.onnx runs/r-cnn/best.pt --images ../shared/data/detection/images/val
        [--count 10] [--rounds 20] [--threads 1] [--json PATH]

Prints JSON: for each file its medians in milliseconds of processor time, which other work on the machine
hardly changes. Files take `rounds` random frames, checkpoints the first `count` photographs of the folder,
each once, after one to warm up.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import cv2
import numpy as np
import onnxruntime
import torch
from common import SHARED, Figures, machine, new_parser, report
from torch import Tensor

from edgevision.contract.letterbox import Letterbox
from edgevision.errors import UsageError
from edgevision.models.backbone import normalise
from edgevision.models.detectors import build_decoder
from edgevision.models.fast_rcnn.network import FastRcnn
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.rcnn.network import Rcnn
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining
from edgevision.training.networks import load_detector

P = ParamSpec("P")
T = TypeVar("T")
LooksAtRegions = Rcnn | FastRcnn | FasterRcnn


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="exported files and checkpoints")
    parser.add_argument(
        "--images",
        type=Path,
        default=SHARED / "detection" / "images" / "val",
        help="folder of JPEG photographs",
    )
    parser.add_argument("--count", type=int, default=10, help="photographs for a checkpoint")
    parser.add_argument("--rounds", type=int, default=20, help="random frames for an exported file")
    parser.add_argument("--threads", type=int, default=1, help="of the arithmetic")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    files = sorted(options.images.glob("*.jpg"))[: options.count + 1]
    return report(lambda: measure(options.models, files, options.rounds, options.threads), options.json)


def measure(models: Sequence[Path], photographs: Sequence[Path], rounds: int, threads: int) -> Figures:
    """The figures of each file, by its path.

    Raises:
        UsageError: a file is neither; or a checkpoint is of a family that looks at no regions, or there are
            no photographs for it.
    """
    found: Figures = {"machine": machine(), "threads": threads}
    for path in models:
        if path.suffix == ".onnx":
            found[str(path)] = {"frame_ms": exported(path, rounds, threads)}
        else:
            found[str(path)] = by_parts(path, photographs)
    return found


def exported(path: Path, rounds: int, threads: int) -> float:
    """Milliseconds of a random frame in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in given.shape]
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    session.run(None, {given.name: frame})
    times = [timed(session.run, None, {given.name: frame})[0] for _ in range(rounds)]
    return round(statistics.median(times), 1)


@torch.inference_mode()
def by_parts(path: Path, photographs: Sequence[Path]) -> Figures:
    """Milliseconds of the two parts, and regions of an image."""
    checkpoint = load_checkpoint(path)
    network, config = load_detector(checkpoint), checkpoint.config
    if not isinstance(config, DetectorTraining) or not isinstance(network, LooksAtRegions):
        raise UsageError(f"{path} looks at no regions; export its checkpoint and give the .onnx file")
    if len(photographs) < 2:
        raise UsageError("no photographs to measure on; name their folder with `images`")
    decode = build_decoder(config.model, len(config.classes), config.decode)
    proposing, looking, regions = [], [], 0
    for number, photograph in enumerate(photographs):
        image = read(photograph, config)
        if isinstance(network, FasterRcnn):
            backbone, pyramid = timed(network.pyramid, image)
            proposal, answers = timed(network.answers, pyramid)
        else:  # the search remembers its answer, so that the pass after it takes the network's time alone
            proposal, _ = timed(network.search, image)
            backbone, answers = timed(network, image)
        seen, _ = timed(decode, answers)
        regions = answers.proposals.shape[1]
        if number:
            proposing.append(proposal)
            looking.append(backbone + seen)
    return {
        "family": type(network).__name__,
        "photographs": len(proposing),
        "regions": regions,
        "proposals_ms": round(statistics.median(proposing), 1),
        "rest_ms": round(statistics.median(looking), 1),
        "frame_ms": round(statistics.median(map(sum, zip(proposing, looking, strict=True))), 1),
    }


def read(photograph: Path, config: DetectorTraining) -> Tensor:
    """A photograph as the network takes it, ``[1, 3, S, S]``.

    Raises:
        UsageError: it cannot be read.
    """
    pixels = cv2.imread(str(photograph))
    if pixels is None:
        raise UsageError(f"{photograph} is not an image that can be read")
    side = config.model.input_size
    box = Letterbox.fit(pixels.shape[1], pixels.shape[0], side, side, config.resize)
    return normalise(torch.from_numpy(box.image(np.asarray(pixels, np.uint8))[None]))


def timed(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> tuple[float, T]:
    """The milliseconds of processor time that it takes, and what it gives."""
    started = time.process_time()
    answer = work(*given, **named)
    return (time.process_time() - started) * 1e3, answer


if __name__ == "__main__":
    sys.exit(main())
