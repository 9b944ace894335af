"""Brings the channels of a detector's checkpoint to like ranges, before it trains on with int8's rounding.

    .venv/bin/python tools/equalise_checkpoint.py retinanet-light OUT.pt --from photos/
    edgevision train CONFIG --set initial=OUT.pt --set quantise.images=128

The answers stay as they are: what a BatchNorm makes of a channel is divided by a factor, and the weights
that read the channel are multiplied by it (``edgevision.calibration.equalise``). ``edgevision calibrate``
does the same to an exported file; a network that learns with rounding has to have it before, or it learns
for other ranges than those that run. The factors are those of the exported file; BatchNorm, which is a part
of its convolution there, takes them here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from needed import installed

with installed():
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.overrides import TorchFunctionMode

    from edgevision.calibration.channels import find_channels
    from edgevision.calibration.equalise import best_factors, channel_reach, of_channels
    from edgevision.calibration.float_model import FloatModel, load_float_model
    from edgevision.calibration.sampling.sample import sample_frames
    from edgevision.cli.app import spell_options
    from edgevision.errors import CheckpointError, EdgeVisionError
    from edgevision.export.to_onnx import export_checkpoint
    from edgevision.files import refuse_existing
    from edgevision.models.retinanet import RetinaNet
    from edgevision.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
    from edgevision.training.networks import load_detector


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="of a detector, or its name")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--from", dest="sources", action="append", required=True, help="folder or video")
    parser.add_argument("--frames", type=int, default=48, help="the most distinct frames to draw")
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint to write")
    options = parser.parse_args()
    try:
        refuse_existing(options.out, options.overwrite)
        count = equalise_file(options.checkpoint, options.out, options.sources, options.frames)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {spell_options(error)}\n")
        return 1
    sys.stdout.write(f"{options.out}: the channels of {count} tensors equalised\n")
    return 0


def equalise_file(name: str, out: Path, sources: Sequence[str], frames: int) -> int:
    """Reads, equalises and writes a checkpoint; returns how many tensors were equalised.

    Raises:
        EdgeVisionError: a file cannot be read or written, or the checkpoint is not of a detector that fits.
    """
    checkpoint = load_checkpoint(find_checkpoint(name))
    model = load_detector(checkpoint)
    if not isinstance(model, RetinaNet):
        raise CheckpointError(f"{name} is of another family; only retinanet trains with int8's rounding")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        export_checkpoint(checkpoint, path)
        exported = load_float_model(path)
        manifest = exported.manifest
        size = (manifest.input_width, manifest.input_height)
        drawn = sample_frames(sources, frames, size, manifest.resize, 0, Path(folder) / "frames")
        count = equalise_network(model, exported, drawn.batches(1))
    state = model.state_dict()
    save_checkpoint(out, replace(checkpoint, model=state, average=state, optimiser={}))
    return count


def equalise_network(model: nn.Module, exported: FloatModel, frames: Iterable[NDArray[np.uint8]]) -> int:
    """Equalises the channels of a network in place; returns of how many tensors.

    Args:
        model: in evaluation mode.
        exported: the same network as a file.
        frames: batches uint8 ``[1, H, W, 3]``, one or more.

    Raises:
        CheckpointError: the file has other convolutions than the network.
    """
    layers = layers_of(model, exported)
    channels = find_channels(exported.graph, layers)
    if not channels.count:
        return 0
    reach = channel_reach(exported.graph, channels.tensors, frames)
    factors = best_factors(exported.graph, channels, reach)
    with torch.no_grad():
        for maker in channels.makers:
            inverse = torch.from_numpy(np.reciprocal(of_channels(factors, maker.channels)))
            for made in layers[maker.weight].scaled:
                made.mul_(inverse.reshape(-1, *[1] * (made.ndim - 1)))
        for reader in channels.readers:
            scale = torch.from_numpy(of_channels(factors, reader.channels))
            layers[reader.weight].weight.mul_(
                scale.reshape((-1, 1, 1, 1) if reader.is_depthwise else (1, -1, 1, 1))
            )
    return len(channels.tensors)


class Layer(NamedTuple):
    """A convolution.

    Attributes:
        weight: its weights.
        scaled: what its channels are scaled by: weights and bias of the BatchNorm behind it, or its own;
            empty where this BatchNorm has none.
    """

    weight: Tensor
    scaled: tuple[Tensor, ...]

    @property
    def identities(self) -> set[int]:
        """Of all its tensors."""
        return {id(one) for one in (self.weight, *self.scaled)}


def _given(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(one for one in tensors if one is not None)


class Layers(TorchFunctionMode):
    """Notes, within it, each call of a convolution.

    Attributes:
        calls: in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Layer] = []
        self._made: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        answer = func(*args, **given)
        if func is torch.conv2d:
            self.calls.append(Layer(args[1], _given(*args[1:3])))
            self._made.append(answer)
        elif func is torch.nn.functional.batch_norm:
            for place, one in enumerate(self._made):
                if one is args[0]:
                    scaled = _given(given["weight"], given["bias"])
                    self.calls[place] = Layer(self.calls[place].weight, scaled)
        return answer


def layers_of(model: nn.Module, exported: FloatModel) -> dict[str, Layer]:
    """The convolution of each weight in the exported file, by name.

    Left out are those that nothing can scale, and those with a tensor that several calls share.

    Raises:
        CheckpointError: the file has other convolutions than the network.
    """
    manifest, noted = exported.manifest, Layers()
    with torch.inference_mode(), noted:
        model(torch.zeros(1, 3, manifest.input_height, manifest.input_width))
    shapes = {one.name: tuple(one.dims) for one in exported.graph.graph.initializer}
    names = [one.weight for one in exported.convolutions]
    if [shapes[name] for name in names] != [tuple(one.weight.shape) for one in noted.calls]:
        raise CheckpointError("the exported file has other convolutions than the network")
    counts = Counter(identity for one in noted.calls for identity in one.identities)
    pairs = zip(names, noted.calls, strict=True)
    return {
        name: one
        for name, one in pairs
        if one.scaled and all(counts[identity] == 1 for identity in one.identities)
    }


if __name__ == "__main__":
    sys.exit(main())
