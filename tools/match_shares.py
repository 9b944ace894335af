"""Shifts the scores of a segmenter's classes until each is predicted as often as it is labelled.

    .venv/bin/python tools/match_shares.py unet-road OUT.pt --data match --split scenes --split frames \\
        --classes curb,mark

With class weights above 1, and with Dice, a network predicts a rare class more often than it occurs. What
they add is about the same everywhere, so that a number for each class, added to the bias of its scores, takes
it away again, without training. Labels may be a teacher's; images that the training has not seen tell more.
All scores are held in memory: some hundred images suffice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from needed import installed

with installed():
    import torch
    from torch import Tensor

    from edgevision.cli.app import spell_options
    from edgevision.data.segmentation.dataset import load_segmentation
    from edgevision.data.segmentation.loading import SegmentationBatch, SegmentationData
    from edgevision.errors import CheckpointError, DataError, EdgeVisionError, UsageError
    from edgevision.files import refuse_existing
    from edgevision.models.backbone import normalise
    from edgevision.models.segmentation import Segmenter
    from edgevision.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
    from edgevision.training.config import SegmenterTraining
    from edgevision.training.networks import load_segmenter
    from edgevision.types import IGNORE_ID

BIAS = "classifier.bias"
STEPS = 40
CLOSE = 0.01  # of the labelled pixels, to be done
FARTHEST = 6.0  # of a shift: a class that needs more is never predicted, or everywhere


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="of a segmenter, or its name")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled images")
    parser.add_argument("--split", action="append", required=True, help="of --data; repeat it for more")
    parser.add_argument("--classes", required=True, help="those to shift, with commas between")
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint to write")
    options = parser.parse_args()
    try:
        shifts = match_file(
            options.checkpoint,
            options.out,
            options.data,
            options.split,
            [name for one in options.classes.split(",") if (name := one.strip())],
            options.overwrite,
        )
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {spell_options(error)}\n")
        return 1
    shown = ", ".join(f"{name} {shift:+.2f}" for name, shift in shifts.items())
    sys.stdout.write(f"{options.out}: shifted by {shown}\n")
    return 0


def match_file(
    name: str, out: Path, data: Path, splits: Sequence[str], names: Sequence[str], overwrite: bool = False
) -> dict[str, float]:
    """Reads a checkpoint, shifts its classes and writes it; returns the shift of each class.

    Raises:
        EdgeVisionError: a file cannot be read or written, or nothing of a class is labelled or seen.
    """
    refuse_existing(out, overwrite)
    checkpoint = load_checkpoint(find_checkpoint(name))
    config = checkpoint.config
    if not isinstance(config, SegmenterTraining):
        raise CheckpointError(f"{name} is not the checkpoint of a segmenter; expected one, such as unet-road")
    model, known = load_segmenter(checkpoint), config.classes
    if BIAS not in checkpoint.average:
        raise CheckpointError(f"{name} has no {BIAS}; expected a segmenter whose classes have a bias")
    if unknown := [one for one in names if one not in known]:
        raise UsageError(f"--classes: {name} has no class '{unknown[0]}'; it has: {', '.join(known)}")
    if not names:
        raise UsageError(f"--classes names none; expected some of: {', '.join(known)}")
    sets = [load_segmentation(data, split, known) for split in splits]
    size = config.model.input_width, config.model.input_height
    images = SegmentationData(sets, *size, config.resize, None)
    seen = [scored(model, images[0, index]) for index in range(len(images))]
    shifts = match(seen, [known.index(one) for one in names], known)
    state = dict(checkpoint.average)
    state[BIAS] = state[BIAS].float() + shifts
    changed = replace(checkpoint, model=state, average=state, optimiser={}, figures={}, best=None)
    save_checkpoint(out, changed)
    return {one: float(shifts[known.index(one)]) for one in names}


def scored(model: Segmenter, sample: SegmentationBatch) -> tuple[Tensor, Tensor]:
    """The scores of an image, float16 ``[C, H, W]``, and its labels, ``[H, W]``."""
    with torch.inference_mode():
        logits = model(normalise(sample.images[None]))[0]
    return logits.half(), sample.labels


def match(seen: Sequence[tuple[Tensor, Tensor]], chosen: Sequence[int], names: Sequence[str]) -> Tensor:
    """What to add to the scores of the classes, ``[C]``; 0 but for those that are chosen.

    Each round adds half of the logarithm of labelled over predicted pixels, as for new priors (Saerens et
    al. 2002, Neural Computation 14).

    Args:
        seen: scores ``[C, H, W]`` and labels ``[H, W]`` of each image.
        chosen: the classes to shift.
        names: of all classes.

    Raises:
        DataError: a class is not labelled in the images, or cannot be predicted as often as it is labelled.
    """
    count, places = len(names), list(chosen)
    labelled = torch.stack([shares(labels, labels, count) for _, labels in seen]).sum(dim=0).double()
    if absent := [one for one in chosen if not labelled[one]]:
        raise DataError(f"no pixel is labelled as {names[absent[0]]}; expected some, to match")
    shifts = torch.zeros(count)
    for _ in range(STEPS):
        added = shifts[:, None, None].clone()
        answers = [(scores.float() + added).argmax(dim=0) for scores, _ in seen]
        counts = [shares(one, labels, count) for one, (_, labels) in zip(answers, seen, strict=True)]
        predicted = torch.stack(counts).sum(dim=0).double()
        missing = labelled[places] - predicted[places]
        if bool((missing.abs() <= (CLOSE * labelled[places]).clamp_min(1)).all()):
            return shifts
        if float(shifts.abs().max()) > FARTHEST:
            break
        shifts[places] += torch.log(labelled[places] / predicted[places].clamp_min(1)).float() / 2
    worst = places[int((missing.abs() / labelled[places]).argmax())]
    raise DataError(
        f"{names[worst]} cannot be matched: with {float(added[worst]):+.2f} it is predicted for "
        f"{int(predicted[worst])} pixels, and labelled for {int(labelled[worst])}; expected more images that "
        "show it, labelled by what this network was trained to tell"
    )


def shares(classes: Tensor, labels: Tensor, count: int) -> Tensor:
    """Pixels of each class, ``[C]``, of those that are labelled."""
    return torch.bincount(classes[labels != IGNORE_ID].long(), minlength=count)[:count]


if __name__ == "__main__":
    sys.exit(main())
