"""Makes a checkpoint to train on from, of an exported segmenter whose checkpoint is gone.

    D=../shared/data/camvid
    .venv/bin/python tools/onnx_to_checkpoint.py unet-light configs/models/unet-light.yaml OUT.pt \
        --from $D/images/train
    edgevision train configs/models/unet-light.yaml --set initial=OUT.pt

An exported file has each BatchNorm folded into its convolution. Here it is taken out again: what a
convolution gives for the frames tells the mean and the variance, and weight and bias are chosen so that the
answers stay what they were. So training, which normalises by the batch, begins where the file is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.sampling.sample import sample_frames
from edgevision.errors import CheckpointError, EdgeVisionError, OutputExistsError
from edgevision.models.backbone import normalise
from edgevision.models.families import without_weights
from edgevision.models.segmenters import build_segmenter
from edgevision.training.checkpoint import Checkpoint, save_checkpoint
from edgevision.training.config import SegmenterTraining, load_run
from edgevision.zoo import find_model

PREFIX = "model."  # what the exporter puts before the network's names
FOLDED = "_bias"  # and behind the name of a weight, for the bias of a BatchNorm that is folded into it


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="exported segmenter in float, or its name")
    parser.add_argument("config", type=Path, help="of its training")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--from", dest="sources", action="append", required=True, help="folder or video")
    parser.add_argument("--frames", type=int, default=64, help="the most distinct frames to draw")
    options = parser.parse_args()
    try:
        count = convert(options.model, options.config, options.out, options.sources, options.frames)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{options.out}: {count} BatchNorms taken out of their convolutions\n")
    return 0


def convert(name: str, config: Path, out: Path, sources: Sequence[str], frames: int) -> int:
    """Reads an exported file and writes a checkpoint; returns how many BatchNorms it has.

    Raises:
        EdgeVisionError: a file cannot be read or written, or the exported file is of another network.
    """
    if out.exists():
        raise OutputExistsError(f"output exists: {out}; choose another, or remove it")
    run = load_run(config)
    if not isinstance(run, SegmenterTraining):
        raise CheckpointError(f"{config} trains no segmenter")
    exported = load_float_model(find_model(name))
    if exported.manifest.classes != run.classes:
        raise CheckpointError(
            f"{name} has the classes {', '.join(exported.manifest.classes)}; expected those of {config}: "
            f"{', '.join(run.classes)}"
        )
    model = build_segmenter(without_weights(run.model), len(run.classes)).eval()
    folded = fill(model, weights_of(exported.graph))
    with tempfile.TemporaryDirectory() as folder:
        size = (exported.manifest.input_width, exported.manifest.input_height)
        drawn = sample_frames(sources, frames, size, exported.manifest.resize, 0, Path(folder) / "frames")
        unfold(model, folded, drawn.batches(1))
    state = model.state_dict()
    save_checkpoint(out, Checkpoint(run, 0, state, state, {}, {}, None))
    return len(folded)


def weights_of(exported: onnx.ModelProto) -> dict[str, Tensor]:
    """What the exported file holds, by the network's own names."""
    return {
        one.name.removeprefix(PREFIX): torch.from_numpy(numpy_helper.to_array(one).copy())
        for one in exported.graph.initializer
        if one.name.startswith(PREFIX)
    }


def fill(model: nn.Module, weights: dict[str, Tensor]) -> list[nn.BatchNorm2d]:
    """Loads the weights, with every BatchNorm doing nothing but to add its bias; returns those.

    Raises:
        CheckpointError: the file is of another network.
    """
    followed = dict(pairs(model))
    names = {module: name for name, module in model.named_modules()}
    state, norms = dict(weights), []
    for conv, norm in followed.items():
        bias = state.pop(f"{names[conv]}.weight{FOLDED}", None)
        if bias is None or bias.shape != norm.bias.shape:
            raise CheckpointError(
                f"the exported file is of another network than the configuration: it has no convolution "
                f"{names[conv]} of {norm.num_features} channels with a bias"
            )
        still = {"weight": torch.ones_like(bias), "bias": bias, "running_mean": torch.zeros_like(bias)}
        still["running_var"] = torch.full_like(bias, 1 - norm.eps)
        still["num_batches_tracked"] = torch.tensor(0)
        state |= {f"{names[norm]}.{key}": value for key, value in still.items()}
        norms.append(norm)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        fault = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"the exported file is of another network than the configuration: {fault}"
        ) from error
    return norms


def pairs(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the BatchNorm behind it."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            for first, second in zip(module, list(module)[1:], strict=False):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    yield first, second


def unfold(model: nn.Module, norms: Sequence[nn.BatchNorm2d], frames: Iterable[NDArray[np.uint8]]) -> None:
    """Gives each BatchNorm the mean and the variance of what it reads, without changing what it gives.

    Args:
        model: in evaluation mode, as :func:`fill` leaves it.
        norms: its BatchNorms.
        frames: batches uint8 ``[N, H, W, 3]``, BGR.
    """
    sums = {norm: [torch.zeros(3, norm.num_features, dtype=torch.float64)] for norm in norms}

    def note(norm: Any, given: tuple[Tensor, ...]) -> None:
        values = given[0].double()
        count = torch.full((norm.num_features,), values[:, 0].numel(), dtype=torch.float64)
        sums[norm][0] += torch.stack([count, values.sum((0, 2, 3)), (values * values).sum((0, 2, 3))])

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        with torch.inference_mode():
            for batch in frames:
                model(normalise(torch.from_numpy(batch)))
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for norm in norms:
            count, total, squares = sums[norm][0]
            mean = total / count
            variance = (squares / count - mean * mean).clamp_min(0)
            norm.bias += mean.float()
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]  # kept, as built
            norm.running_var.copy_(variance)  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
