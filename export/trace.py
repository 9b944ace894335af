"""A torch network to ONNX, alone: preprocessing and decoding are attached afterwards."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import torch
from torch import nn

from edgevision.errors import ExportError

OPSET = 19  # the first with FP16 scales in QuantizeLinear; TensorRT 10.0 reads 9 to 20
CORE_INPUT = "images"


def trace(core: nn.Module, width: int, height: int, outputs: list[str]) -> onnx.ModelProto:
    """Traces a network that takes float ``[N, 3, height, width]``; N stays dynamic.

    Args:
        core: the network, put into evaluation mode.
        width, height: of the input in pixels.
        outputs: names for its outputs.

    Raises:
        ExportError: torch returns nothing.
    """
    example = torch.zeros(2, 3, height, width)
    # The exporter's output is kept from the user's terminal.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            core.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[CORE_INPUT],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    return program.model_proto
