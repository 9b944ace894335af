"""Shifts the scores of a segmenter's classes until each takes the share of pixels that its labels have.

    .venv/bin/python tools/match_shares.py unet-road OUT.pt --data roads --split clips --split checked \
        --classes curb,mark

Class weights above 1, and Dice, make a network say a rare class more often than it is there. What they add
is about the same everywhere, so that a number for each class, added to the bias of its scores, takes it away
again, without training. Labels may be a teacher's; images that the training has not seen tell more. All
scores are held in memory: some hundred images suffice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.data.segmentation.dataset import SegmentationSet, load_segmentation
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import CheckpointError, DataError, EdgeVisionError, OutputExistsError
from edgevision.models.backbone import normalise
from edgevision.models.segmentation import Segmenter
from edgevision.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.networks import load_segmenter
from edgevision.types import IGNORE_ID

BIAS = "classifier.bias"
STEPS = 40
CLOSE = 0.01  # of a share, to be done
FARTHEST = 6.0  # of a shift: a class that needs more is not seen at all


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="of a segmenter, or its name")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled images")
    parser.add_argument("--split", action="append", required=True, help="of --data; repeat it for more")
    parser.add_argument("--classes", required=True, help="those to shift, with commas between")
    options = parser.parse_args()
    try:
        shifts = match_file(
            options.checkpoint,
            options.out,
            options.data,
            options.split,
            [one.strip() for one in options.classes.split(",")],
        )
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    told = ", ".join(f"{name} {shift:+.2f}" for name, shift in shifts.items())
    sys.stdout.write(f"{options.out}: shifted by {told}\n")
    return 0


def match_file(
    name: str, out: Path, data: Path, splits: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """Reads a checkpoint, shifts its classes and writes it; returns the shift of each class.

    Raises:
        EdgeVisionError: a file cannot be read or written, or nothing of a class is labelled or seen.
    """
    if out.exists():
        raise OutputExistsError(f"output exists: {out}; choose another, or remove it")
    checkpoint = load_checkpoint(find_checkpoint(name))
    model, config = load_segmenter(checkpoint), checkpoint.config
    known = config.classes
    if BIAS not in checkpoint.average:
        raise CheckpointError(f"{name} has no {BIAS}; expected a segmenter whose classes have a bias")
    if unknown := [one for one in names if one not in known]:
        raise CheckpointError(f"{name} has no class {unknown[0]}; it has: {', '.join(known)}")
    sets = [load_segmentation(data, split, known) for split in splits]
    size = config.model.input_width, config.model.input_height
    seen = [one for images in sets for one in scored(model, images, size, config.resize)]
    chosen = [known.index(one) for one in names]
    shifts = match(seen, chosen, known)
    state = dict(checkpoint.average)
    state[BIAS] = state[BIAS].float() + shifts
    changed = replace(checkpoint, model=state, average=state, optimiser={}, figures={}, best=None)
    save_checkpoint(out, changed)
    return {one: float(shifts[known.index(one)]) for one in names}


def scored(
    model: Segmenter, data: SegmentationSet, size: tuple[int, int], resize: Resize
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each image the scores, float16 ``[C, H, W]``, and the labels, ``[H, W]``, at a network's size."""
    for pair in data.images:
        image, labels = read_pair(data, pair)
        letterbox = Letterbox.fit(image.shape[1], image.shape[0], *size, resize)
        with torch.inference_mode():
            logits = model(normalise(torch.from_numpy(letterbox.image(image)[None])))[0]
        yield logits.half(), torch.from_numpy(letterbox.class_map(labels, IGNORE_ID))


def match(seen: Sequence[tuple[Tensor, Tensor]], chosen: Sequence[int], names: Sequence[str]) -> Tensor:
    """What to add to the scores of the classes, ``[C]``; 0 but for those that are chosen.

    Each round adds the logarithm of how much more often a class is labelled than it is said, as for new
    priors (Saerens et al. 2002, Neural Computation 14), half of it, for the next round to go on from.

    Args:
        seen: scores ``[C, H, W]`` and labels ``[H, W]`` of each image.
        chosen: the classes to shift.
        names: of all classes.

    Raises:
        DataError: a class is not labelled in the images, or is not said there whatever is added.
    """
    count = len(seen[0][0])
    labelled = torch.stack([shares(labels, labels, count) for _, labels in seen]).sum(dim=0)
    if absent := [one for one in chosen if not labelled[one]]:
        raise DataError(f"no pixel is labelled as {names[absent[0]]}; expected some, to match")
    shifts = torch.zeros(count)
    for _ in range(STEPS):
        told = torch.stack(
            [
                shares((scores.float() + shifts[:, None, None]).argmax(dim=0), labels, count)
                for scores, labels in seen
            ]
        ).sum(dim=0)
        gap = torch.log(labelled[list(chosen)] / told[list(chosen)].clamp_min(1))
        if float(gap.abs().max()) < CLOSE:
            return shifts
        shifts[list(chosen)] += gap / 2
        if float(shifts.abs().max()) > FARTHEST:
            break
    worst = int(gap.abs().argmax())
    name, times, shift = names[chosen[worst]], float(torch.exp(-gap[worst])), float(shifts[chosen[worst]])
    raise DataError(
        f"the shares cannot be matched: {name} is said {times:.2f} times as often as it is labelled, with "
        f"{shift:+.1f}; expected images in which the network sees it"
    )


def shares(classes: Tensor, labels: Tensor, count: int) -> Tensor:
    """Pixels of each class, ``[C]``, of those that are labelled."""
    return torch.bincount(classes[labels != IGNORE_ID].long(), minlength=count)[:count]


if __name__ == "__main__":
    sys.exit(main())
