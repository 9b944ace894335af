"""The first convolution reads pixels as they are: 256 levels need no rounding in int8.

A camera's values are whole numbers from 0 to 255, and int8 has as many steps. Normalised, they lie unevenly
about zero, so that a symmetric range spends steps on values that no pixel has: 127 steps for 152 levels of
ImageNet's blue, each off by up to half a level. Here the convolution reads the pixel less 128 instead, with
one step a level, and its weights and bias do the normalising, which changes no answer in float:

    sum w (a x + b) = sum (w a / s) (s (x - 128)) + sum w (128 a + b)

``s`` is a power of two, exact in FP16 as in FP32: the one next to ``a``, so that weights keep their size.
Without it theirs would be a sixtieth, and their scales less than FP16 holds.

Padding stands for the value 0, the pixel ``-b / a``. So it is put on before, rounded to a whole pixel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.qdq import LEVELS
from edgevision.contract.manifest import INPUT_NAME
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.convolutions import Convolution
from edgevision.graph.network import WHOLE_PIXELS, reads, upstream

_MIDDLE = 128  # of the 256 values of a pixel, so that they are -128 to 127
_MOST_HALVINGS = 14  # of a step of 1, which leave the smallest number of FP16 with all of its bits
_MOVES = ("Cast", "Gather", "Identity", "Transpose")  # that leave whole pixels whole
_AFFINE = ("Add", "Div", "Mul", "Sub")

Vector = NDArray[np.float64]
Makers = Mapping[str, onnx.NodeProto]
Constants = Mapping[str, onnx.TensorProto]


class _Affine(NamedTuple):
    """How a tensor ``[N, C, H, W]`` is made of pixels: ``factor * pixels + offset``, both ``[C]``."""

    pixels: str
    factor: Vector
    offset: Vector

    @property
    def zero(self) -> Vector:
        """The whole pixel that comes nearest to the value 0."""
        return np.rint(-self.offset / self.factor)

    @property
    def step(self) -> float:
        """What a level becomes: the power of two next to the factors."""
        power = np.rint(np.log2(np.abs(self.factor)).mean())
        return float(2.0 ** np.clip(power, -_MOST_HALVINGS, _MOST_HALVINGS))


def read_whole_pixels(model: FloatModel) -> FloatModel:
    """The model with convolutions that read whole pixels in place of normalised ones, where any can.

    Left as they are: convolutions in groups, those whose weights something else reads or whose padding is
    left to the engine, and padding with a 0 that is no pixel.

    Args:
        model: to quantise.

    Returns:
        A model of the same answers, but for padding, which is rounded to a whole pixel; what its first
        convolutions read has its range in :attr:`FloatModel.known`.
    """
    constants = {one.name: one for one in model.graph.graph.initializer}
    makers = {name: node for node in model.graph.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.graph.node for name in reads(node))
    candidates = {layer.name for layer in model.candidates}
    layers, known = list(model.convolutions), dict(model.known)
    before: dict[str, GraphBuilder] = {}
    changed: dict[str, onnx.TensorProto] = {}
    for place, layer in enumerate(model.convolutions):
        node = makers[layer.name]
        own = all(name in constants and readers[name] == 1 for name in node.input[1:])
        pads = _pads(node)
        if layer.name not in candidates or layer.groups > 1 or not own or pads is None:
            continue
        found = _affine(layer.data, makers, constants, constants[layer.weight].dims[1])
        if found is None or (any(pads) and not ((found.zero >= 0) & (found.zero <= 255)).all()):
            continue
        before[layer.name] = GraphBuilder(f"{WHOLE_PIXELS}{len(before)}/")
        data = _add_centred(before[layer.name], found, pads)
        changed.update(_folded(node, constants, found))
        layers[place] = replace(layer, data=data)
        known[data] = LEVELS * found.step
    if not before:
        return model
    return replace(
        model,
        graph=_rebuilt(model.graph, before, {one.name: one for one in layers}, changed),
        convolutions=tuple(layers),
        known=known,
    )


def _pads(node: onnx.NodeProto) -> tuple[int, int, int, int] | None:
    """Top, left, bottom and right; None where the engine computes them, or for other convolutions."""
    found = {one.name: one for one in node.attribute}
    automatic = found["auto_pad"].s if "auto_pad" in found else b"NOTSET"
    if node.op_type != "Conv" or automatic not in (b"NOTSET", b"VALID"):
        return None
    sizes = tuple(found["pads"].ints) if "pads" in found and automatic != b"VALID" else (0, 0, 0, 0)
    return (sizes[0], sizes[1], sizes[2], sizes[3]) if len(sizes) == 4 else None


def _affine(tensor: str, makers: Makers, constants: Constants, channels: int) -> _Affine | None:
    """How a tensor is made of whole pixels, or None."""
    factor, offset = np.ones(channels), np.zeros(channels)
    name = tensor
    while name in makers and makers[name].op_type in _AFFINE:
        node = makers[name]
        computed = [one for one in node.input if one not in constants]
        value = _by_channel(node, constants, channels)
        if len(computed) != 1 or value is None:
            return None
        data = computed[0]
        if node.op_type == "Div" and node.input[0] != data:
            return None
        # tensor = factor * (what this node makes) + offset
        if node.op_type in ("Mul", "Div"):
            factor = factor * value if node.op_type == "Mul" else factor / value
        elif node.op_type == "Add":
            offset = offset + factor * value
        elif node.input[0] == data:
            offset = offset - factor * value
        else:
            factor, offset = -factor, offset + factor * value
        name = data
    end = name
    while end in makers and makers[end].op_type in _MOVES:
        end = makers[end].input[0]
    fits = end == INPUT_NAME and np.isfinite(factor).all() and factor.all()
    return _Affine(name, factor, offset) if fits else None


def _by_channel(node: onnx.NodeProto, constants: Constants, channels: int) -> Vector | None:
    """The constant that a node takes, ``[C]``; None where it is another for other places of an image."""
    values = [numpy_helper.to_array(constants[name]) for name in node.input if name in constants]
    if len(values) != 1:
        return None
    value = values[0].astype(np.float64)
    by_channel = value.ndim >= 3 and value.shape[-3] == channels and value.size == channels
    return np.broadcast_to(value.reshape(-1), channels) if by_channel or value.size == 1 else None


def _add_centred(g: GraphBuilder, found: _Affine, pads: Sequence[int]) -> str:
    """Adds the pixels less 128, padded, in the affine's steps; returns the name."""

    def by_channel(values: Vector) -> str:
        return g.constant(values.reshape(1, -1, 1, 1), np.float32)

    if any(pads):
        top, left, bottom, right = pads
        inside = g("Sub", found.pixels, by_channel(found.zero))
        padded = g("Pad", inside, g.ints(0, 0, top, left, 0, 0, bottom, right))
        centred = g("Sub", padded, by_channel(_MIDDLE - found.zero))
    else:
        centred = g("Sub", found.pixels, g.constant(_MIDDLE, np.float32))
    return centred if found.step == 1 else g("Mul", centred, g.constant(found.step, np.float32))


def _folded(node: onnx.NodeProto, constants: Constants, found: _Affine) -> dict[str, onnx.TensorProto]:
    """The weights and the bias that do the normalising, by name."""
    weight = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64)
    shift = (weight * (_MIDDLE * found.factor + found.offset).reshape(1, -1, 1, 1)).sum(axis=(1, 2, 3))
    made = {node.input[1]: weight * (found.factor / found.step).reshape(1, -1, 1, 1)}
    has_bias = len(node.input) > 2
    made[node.input[2] if has_bias else _bias_name(node)] = shift + (
        numpy_helper.to_array(constants[node.input[2]]) if has_bias else 0
    )
    return {name: numpy_helper.from_array(one.astype(np.float32), name) for name, one in made.items()}


def _bias_name(node: onnx.NodeProto) -> str:
    return f"{node.input[1]}/whole_pixels_bias"


def _rebuilt(
    model: onnx.ModelProto,
    before: Mapping[str, GraphBuilder],
    layers: Mapping[str, Convolution],
    changed: Mapping[str, onnx.TensorProto],
) -> onnx.ModelProto:
    """A copy with nodes put before convolutions, which then read what ``layers`` says and do not pad."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in copy.graph.node:
        if node.output[0] in before:
            nodes += before[node.output[0]].nodes
            node.input[0] = layers[node.output[0]].data
            if len(node.input) < 3:
                node.input.append(_bias_name(node))
            for one in node.attribute:
                if one.name == "pads":
                    one.ints[:] = [0] * len(one.ints)
        nodes.append(node)
    constants = {one.name: one for one in copy.graph.initializer}
    constants |= changed
    for g in before.values():
        constants |= {one.name: one for one in g.constants}
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    used = upstream(copy.graph, [value.name for value in copy.graph.output])
    read = {name for node in used for name in reads(node)}
    kept = [one for name, one in constants.items() if name in read]
    del copy.graph.node[:], copy.graph.initializer[:]
    copy.graph.node.extend(used)
    copy.graph.initializer.extend(kept)
    return copy
