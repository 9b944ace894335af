"""Darknet's ``.weights``: a short header, then float32 numbers in the order of the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgevision.errors import CheckpointError
from edgevision.models.yolo_v3.network import Convolution, Darknet


def load_weights(network: Darknet, path: str | Path, *, partial: bool = False) -> int:
    """Fills a network from a file.

    Of each convolution the file has its biases; with BatchNorm its scales, means and variances; then its
    kernels, ``[filters, inputs / groups, size, size]``.

    Args:
        network: what is filled, in place.
        path: the file.
        partial: it may end after any layer; what follows keeps its weights.

    Returns:
        How many convolutions were filled.

    Raises:
        CheckpointError: the file is missing, or its numbers do not fit the layers.
    """
    numbers = read_weights(path)
    layers = network.convolutions()
    sizes = [sum(part.numel() for part in _parts(layer)) for layer in layers]
    ends = np.cumsum([0, *sizes])
    filled = int(np.searchsorted(ends, len(numbers)))
    if filled > len(layers) or ends[filled] != len(numbers) or (filled < len(layers) and not partial):
        raise CheckpointError(
            f"{path} has {len(numbers)} numbers after its header, the layers of its .cfg take {ends[-1]}"
            + (", or those of its first layers" if partial else "")
            + "; expected the weights of this very .cfg"
        )
    if not np.isfinite(numbers).all():
        raise CheckpointError(
            f"{path} has numbers that are not finite; it is damaged, or no darknet .weights"
        )
    place = 0
    with torch.no_grad():
        for layer in layers[:filled]:
            for part in _parts(layer):
                part.copy_(torch.from_numpy(numbers[place : place + part.numel()]).view_as(part))
                place += part.numel()
    return filled


def read_weights(path: str | Path) -> NDArray[np.float32]:
    """The numbers of a file, ``[K]``, its header left out.

    The header is three int32, the version's major, minor and revision, and how many images were seen: int64
    from version 0.2 on, int32 before.

    Raises:
        CheckpointError: the file is missing, unreadable or too short.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"darknet weights not found: {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read the darknet weights {path}: {error}") from error
    if len(content) < 16:
        raise CheckpointError(f"{path} has {len(content)} bytes; expected a darknet .weights with its header")
    major, minor = np.frombuffer(content, "<i4", 2)
    wide = int(major) * 10 + int(minor) >= 2 and major < 1000 and minor < 1000
    body = content[20 if wide else 16 :]
    if len(body) % 4:
        raise CheckpointError(f"{path} ends within a number; it is damaged, or no darknet .weights")
    return np.frombuffer(body, "<f4").astype(np.float32)


def _parts(layer: Convolution) -> list[Tensor]:
    """What a file has of a convolution, in its order."""
    if isinstance(layer.norm, nn.BatchNorm2d):
        norm = layer.norm
        running = [one for one in (norm.running_mean, norm.running_var) if one is not None]
        return [norm.bias, norm.weight, *running, layer.convolution.weight]
    bias = layer.convolution.bias
    return [*([] if bias is None else [bias]), layer.convolution.weight]
