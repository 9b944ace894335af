"""The ranges that a network was trained with, by the tensors of its exported graph."""

from __future__ import annotations

import onnx
import torch
from torch import nn

from edgevision.errors import ExportError
from edgevision.training.config import QuantiseConfig
from edgevision.training.quantise import call_order


def trained_ranges(
    core: onnx.ModelProto, model: nn.Module, quantise: QuantiseConfig | None, width: int, height: int
) -> dict[str, float]:
    """For each tensor that a convolution reads, the greatest magnitude that int8 held of it in training.

    Torch exports convolutions in the order of their calls.

    Args:
        core: the traced network.
        model: the network, in evaluation mode.
        quantise: of its training.
        width, height: of its input in pixels.

    Returns:
        Nothing where the training kept no ranges.

    Raises:
        ExportError: the graph has other convolutions than the network.
    """
    if quantise is None or not quantise.ranges:
        return {}
    names = call_order(model, torch.zeros(1, 3, height, width))
    shapes = {constant.name: tuple(constant.dims) for constant in core.graph.initializer}
    nodes = [node for node in core.graph.node if node.op_type == "Conv"]
    wanted = [tuple(model.get_parameter(f"{name}.weight").shape) for name in names]
    if [shapes.get(node.input[1]) for node in nodes] != wanted:
        raise ExportError("the exported graph has other convolutions than the network; its ranges do not fit")
    found: dict[str, float] = {}
    for node, name in zip(nodes, names, strict=True):
        if name in quantise.ranges:
            found[node.input[0]] = max(quantise.ranges[name], found.get(node.input[0], 0.0))
    return found
