"""A float model that is to be quantised, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from edgevision.calibration.qdq import is_quantised
from edgevision.calibration.simulate import Simulation
from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.errors import ModelError, UsageError
from edgevision.graph.constants import MOVES, fold_constants
from edgevision.graph.convolutions import Convolution, Shapes, cut_model, find_convolutions
from edgevision.graph.load import load_onnx
from edgevision.suffixes import PLAN_SUFFIXES


@dataclass(frozen=True, slots=True, eq=False)
class FloatModel:
    """A model of the contract in FP32.

    Attributes:
        path: its file.
        sha256: of its content, metadata left out.
        manifest: its contract.
        graph: the model.
        convolutions: of its core.
        dense_only: convolutions in groups, such as depthwise ones, are no candidates.
        spared: names of convolutions that are no candidates, see :mod:`edgevision.calibration.loud`.
        known: ranges that need no frames, see :mod:`edgevision.calibration.pixels`.
    """

    path: Path
    sha256: str
    manifest: Manifest
    graph: onnx.ModelProto
    convolutions: tuple[Convolution, ...]
    dense_only: bool = False
    spared: frozenset[str] = frozenset()
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def candidates(self) -> tuple[Convolution, ...]:
        """What may be quantised: convolutions that feed no head, with constant weights, not transposed.

        Those that are spared stay in float, too.

        TensorRT runs transposed convolutions in int8 on few devices only.
        """
        return tuple(
            layer
            for layer in self.convolutions
            if not layer.feeds_head
            and layer.constant
            and layer.kind == "Conv"
            and not (self.dense_only and layer.groups > 1)
            and layer.name not in self.spared
        )

    @property
    def has_trained_limits(self) -> bool:
        """Whether :meth:`trained_limits` gives any."""
        return all(layer.data in self.manifest.ranges for layer in self.candidates)

    def trained_limits(self) -> dict[str, float]:
        """For each tensor that a candidate reads, the greatest magnitude that int8 held of it in training.

        Raises:
            UsageError: the model was not trained with such ranges, or not for all of its convolutions.
        """
        ranges = self.manifest.ranges
        if not self.has_trained_limits:
            missing = min({layer.data for layer in self.candidates} - ranges.keys())
            found = f"none for tensor {missing}" if ranges else "none"
            raise UsageError(
                f"`method` trained needs ranges that {self.path} was trained with, and it holds {found}; "
                "train on with quantise.images above 0 and export again, or take `method` auto"
            )
        return {layer.data: ranges[layer.data] for layer in self.candidates}


def load_float_model(path: Path) -> FloatModel:
    """Reads a model and refuses what cannot be quantised.

    Weights that are Constant nodes, or that pass Identity, Cast or Transpose, become initializers; so do
    weights in int8 where nothing else is, through DequantizeLinear.

    Raises:
        ModelError, ManifestError: the file is missing, damaged, or not one of ours.
        UsageError: it is a plan, quantised already, or in FP16.
    """
    if path.suffix.lower() in PLAN_SUFFIXES:
        raise UsageError(f"{path} is a TensorRT plan; give the FP32 ONNX file that it was built from")
    manifest = read_manifest(path)
    graph = load_onnx(path)
    opset = max(one.version for one in graph.opset_import if one.domain in ("", "ai.onnx"))
    activations_stay = all(node.op_type != "QuantizeLinear" for node in graph.graph.node)
    fold_constants(graph.graph, opset, (*MOVES, "DequantizeLinear") if activations_stay else MOVES)
    if manifest.precision.startswith("int8") or is_quantised(graph):
        raise UsageError(f"{path} is quantised already; calibrate the FP32 file that it was made from")
    sha256 = content_sha256(path)
    if manifest.sha256 and manifest.sha256 != sha256:
        raise ModelError(
            f"{path}: its content differs from the checksum in its metadata, so it is damaged or was edited; "
            "copy or export it again"
        )
    convolutions = find_convolutions(
        graph, manifest.heads, str(path), lambda names: _measured(graph, manifest, names)
    )
    types = {constant.name: constant.data_type for constant in graph.graph.initializer}
    half = any(types[layer.weight] != onnx.TensorProto.FLOAT for layer in convolutions if layer.constant)
    if half or manifest.precision != "fp32":
        raise UsageError(f"{path} is not FP32; calibrate the FP32 file, and make FP16 of the result")
    model = FloatModel(path, sha256, manifest, graph, convolutions)
    if not model.candidates:
        raise ModelError(
            f"{path} has no convolution that may be quantised: all feed its heads, are transposed, or have "
            "weights that are computed as it runs"
        )
    return model


def _measured(graph: onnx.ModelProto, manifest: Manifest, names: Sequence[str]) -> Shapes:
    """Shapes of float tensors on a black frame."""
    batch = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    black = np.zeros((batch, manifest.input_height, manifest.input_width, 3), np.uint8)
    values = Simulation(cut_model(graph, names), names)(black)
    return {name: one.shape for name, one in zip(names, values, strict=True)}
