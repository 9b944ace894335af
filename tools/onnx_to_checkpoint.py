"""Makes a checkpoint to train on from, of an exported segmenter whose checkpoint is gone.

    D=../shared/data/camvid
    .venv/bin/python tools/onnx_to_checkpoint.py unet-light configs/models/unet-light.yaml OUT.pt \\
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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from needed import installed

with installed():
    import numpy as np
    import onnx
    import torch
    from numpy.typing import NDArray
    from onnx import numpy_helper
    from torch import Tensor, nn

    from edgevision.calibration.float_model import load_float_model
    from edgevision.calibration.sampling.sample import sample_frames
    from edgevision.cli.app import spell_options
    from edgevision.errors import CheckpointError, EdgeVisionError
    from edgevision.files import refuse_existing
    from edgevision.models.backbone import normalise
    from edgevision.models.families import without_weights
    from edgevision.models.segmenters import build_segmenter
    from edgevision.training.checkpoint import Checkpoint, save_checkpoint
    from edgevision.training.config import SegmenterTraining, load_run
    from edgevision.training.segmentation import segmenter_manifest
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
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint to write")
    options = parser.parse_args()
    try:
        count = convert(
            options.model, options.config, options.out, options.sources, options.frames, options.overwrite
        )
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {spell_options(error)}\n")
        return 1
    sys.stdout.write(f"{options.out}: {count} BatchNorms taken out of their convolutions\n")
    return 0


def convert(
    name: str, config: Path, out: Path, sources: Sequence[str], frames: int, overwrite: bool = False
) -> int:
    """Reads an exported file and writes a checkpoint; returns how many BatchNorms it has.

    Raises:
        EdgeVisionError: a file cannot be read or written, or the exported file is of another network.
    """
    refuse_existing(out, overwrite)
    run = load_run(config)
    if not isinstance(run, SegmenterTraining):
        raise CheckpointError(f"{config} trains no segmenter; expected 'task: segmentation'")
    exported = load_float_model(find_model(name))
    manifest, own = exported.manifest, segmenter_manifest(run)
    size = manifest.input_width, manifest.input_height
    for what, found, expected in (
        ("other classes", manifest.classes, own.classes),
        ("another input size", size, (own.input_width, own.input_height)),
        ("another resize rule", manifest.resize, own.resize),
    ):
        if found != expected:
            raise CheckpointError(f"{name} has {what} than {config}: {found}; expected {expected}")
    model = build_segmenter(without_weights(run.model), len(run.classes)).eval()
    folded = fill(model, weights_of(exported.graph), size)
    with tempfile.TemporaryDirectory() as folder:
        drawn = sample_frames(sources, frames, size, manifest.resize, 0, Path(folder) / "frames")
        for note in drawn.notes:
            sys.stderr.write(f"warning: {note}\n")
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


def fill(model: nn.Module, weights: dict[str, Tensor], size: tuple[int, int]) -> list[nn.BatchNorm2d]:
    """Loads the weights; a BatchNorm that was folded does nothing then but to add its bias.

    Args:
        model: in evaluation mode.
        weights: of the exported file, see :func:`weights_of`.
        size: width and height of the network's input.

    Returns:
        The BatchNorms that were folded.

    Raises:
        CheckpointError: the file is of another network.
    """
    names = {module: name for name, module in model.named_modules()}
    state, norms = dict(weights), []
    for convolution, norm in pairs(model, size):
        bias = state.pop(f"{names[convolution]}.weight{FOLDED}", None)
        if bias is None and f"{names[norm]}.running_mean" in state:
            continue  # it is a BatchNorm in the file too
        if bias is None or bias.shape != norm.bias.shape:
            raise CheckpointError(
                f"the exported file is of another network than the configuration: it has no convolution "
                f"{names[convolution]} of {norm.num_features} channels with a bias"
            )
        still = {"weight": torch.ones_like(bias), "bias": bias, "running_mean": torch.zeros_like(bias)}
        still["running_var"] = torch.full_like(bias, 1 - norm.eps)
        still["num_batches_tracked"] = torch.tensor(0)
        state |= {f"{names[norm]}.{key}": value for key, value in still.items()}
        norms.append(norm)
    own = model.state_dict()
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if wrong or len(own) != len(state):
        first = (wrong or [key for key in state if key not in own])[0]
        raise CheckpointError(
            f"the exported file is of another network than the configuration: they differ in {first}"
        )
    model.load_state_dict(state)
    return norms


def pairs(model: nn.Module, size: tuple[int, int]) -> list[tuple[nn.Module, nn.BatchNorm2d]]:
    """Each convolution whose answer a BatchNorm reads, with it.

    Args:
        model: in evaluation mode.
        size: width and height of its input.
    """
    answers: list[tuple[nn.Module, Tensor]] = []
    found: list[tuple[nn.Module, nn.BatchNorm2d]] = []

    def made(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        answers.append((module, answer))

    def read(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.BatchNorm2d):
            found.extend((maker, module) for maker, answer in answers if answer is given[0])

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(made))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(read))
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, size[1], size[0]))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def unfold(model: nn.Module, norms: Sequence[nn.BatchNorm2d], frames: Iterable[NDArray[np.uint8]]) -> None:
    """Gives each BatchNorm the mean and the variance of what it reads, without changing what it gives.

    Args:
        model: in evaluation mode, as :func:`fill` leaves it.
        norms: its BatchNorms.
        frames: batches uint8 ``[N, H, W, 3]``, BGR.
    """
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def note(norm: Any, given: tuple[Tensor, ...]) -> None:
        values = given[0].double()
        count = torch.full((norm.num_features,), values[:, 0].numel(), dtype=torch.float64)
        sums[norm] += torch.stack([count, values.sum((0, 2, 3)), (values * values).sum((0, 2, 3))])

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
            count, total, squares = sums[norm]
            mean = total / count
            variance = (squares / count - mean * mean).clamp_min(0)
            norm.bias.add_(mean.float())
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.get_buffer("running_mean").copy_(mean)
            norm.get_buffer("running_var").copy_(variance)


if __name__ == "__main__":
    sys.exit(main())
