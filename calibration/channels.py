"""Which channels of a network can be scaled: where each is made, and all that read it.

A channel keeps its numbers, times a factor, through ReLU, LeakyReLU, pooling and enlarging. Concatenations,
splits and the shuffles of ShuffleNet move it to other places; a sum ties two channels to one factor. So each
is followed from the convolution that makes it to those that read it, through however many tensors. Where
anything else reads it, such as an output or a Sigmoid, its factor stays 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.graph.network import reads

_COMMUTES = ("LeakyRelu", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """A convolution that makes channels.

    Attributes:
        weight: its weights ``[C, ...]``.
        bias: its bias, or empty.
        channels: ``[C]``, the place of each channel's factor; -1 where it stays 1.
    """

    weight: str
    bias: str
    channels: Places


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A convolution that reads channels.

    Attributes:
        weight: its weights.
        is_depthwise: they are ``[C, 1, ...]``, and ``[M, C, ...]`` otherwise.
        tensor: what it reads.
        channels: as in :class:`Maker`, of what it reads.
    """

    weight: str
    is_depthwise: bool
    tensor: str
    channels: Places


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """What can be scaled.

    Attributes:
        makers, readers: of at least one channel whose factor is free, in the graph's order.
        count: of the factors.
    """

    makers: tuple[Maker, ...]
    readers: tuple[Reader, ...]
    count: int

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that the readers read, each once."""
        return tuple(sorted({one.tensor for one in self.readers}))


def find_channels(model: onnx.ModelProto, scalable: Collection[str] | None = None) -> Channels:
    """The channels that can be scaled without changing an answer.

    Left alone are those whose weights are shared or computed, those that convolutions in groups read, other
    than depthwise ones, and those that anything else reads, such as a branch of an If.

    Args:
        model: FP32, its shapes in initializers.
        scalable: weights that may change; None for all.
    """
    walk = _Walk(model, scalable)
    for node in model.graph.node:
        walk.pass_by(node)
    for value in model.graph.output:
        walk.fix(value.name)
    return walk.found()


class _Walk:
    """Follows channels through the nodes of a graph, in their order.

    A tensor's channels are an array of numbers in the form of its axes between the first and the last two.
    """

    def __init__(self, model: onnx.ModelProto, scalable: Collection[str] | None) -> None:
        graph = model.graph
        self._constants = {one.name: one for one in graph.initializer}
        self._reads = Counter(
            name for node in graph.node for name in (*node.input, *reads(node).difference(node.input))
        )
        self._shapes = _shapes(model)
        self._scalable = scalable
        self._tensors: dict[str, Places] = {}
        self._same: list[int] = []  # of each channel another that has its factor, or itself
        self._fixed: set[int] = set()
        self._makers: list[Maker] = []
        self._readers: list[Reader] = []

    def pass_by(self, node: onnx.NodeProto) -> None:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Conv" and node.input[1] in self._constants:
            self._convolve(node, attributes)
            return
        known = sorted(name for name in reads(node) if name in self._tensors)
        if not known:
            return
        after = self._moved(node, attributes) if self._reads_all(node, known) else None
        if after is None:
            for name in known:
                self.fix(name)
        else:
            self._tensors.update(zip(node.output, after, strict=True))

    def fix(self, tensor: str) -> None:
        """The factors of a tensor's channels stay 1."""
        self._fixed.update(int(one) for one in self._tensors.get(tensor, np.empty(0, np.intp)).ravel())

    def found(self) -> Channels:
        roots = [self._root(one) for one in range(len(self._same))]
        read = {roots[one] for reader in self._readers for one in reader.channels}
        free = sorted(read - {roots[one] for one in self._fixed})
        place = {root: i for i, root in enumerate(free)}
        places = np.array([place.get(root, -1) for root in roots], np.intp)
        makers = [Maker(one.weight, one.bias, places[one.channels]) for one in self._makers]
        readers = [
            Reader(one.weight, one.is_depthwise, one.tensor, places[one.channels]) for one in self._readers
        ]
        return Channels(
            tuple(one for one in makers if (one.channels >= 0).any()),
            tuple(one for one in readers if (one.channels >= 0).any()),
            len(free),
        )

    def _convolve(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> None:
        data, weight = node.input[0], node.input[1]
        bias = node.input[2] if len(node.input) > 2 else ""
        shape, groups = tuple(self._constants[weight].dims), attributes.get("group", 1)
        own = all(name in self._constants and self._reads[name] == 1 for name in (weight, bias) if name)
        own = own and (self._scalable is None or weight in self._scalable)
        seen = self._tensors.get(data)
        if seen is not None:
            is_depthwise = groups > 1 and groups == shape[0] == len(seen) and shape[1] == 1
            if own and seen.ndim == 1 and (groups == 1 or is_depthwise):
                self._readers.append(Reader(weight, is_depthwise, data, seen))
            else:
                self.fix(data)
        made = np.arange(len(self._same), len(self._same) + shape[0])
        self._same += made.tolist()
        self._tensors[node.output[0]] = made
        self._makers.append(Maker(weight, bias, made))
        if not own:
            self.fix(node.output[0])

    def _reads_all(self, node: onnx.NodeProto, known: Sequence[str]) -> bool:
        """Whether nothing but constants comes in besides the tensors that are followed."""
        return all(name in known or name in self._constants or not name for name in node.input)

    def _moved(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> list[Places] | None:
        """The channels of each output, or None where they are no longer those that came in."""
        seen = [self._tensors[name] for name in node.input if name in self._tensors]
        first = self._tensors.get(node.input[0])
        if first is None:
            return None
        match node.op_type:
            case "Reshape":
                shape = self._numbers(node, 1)
                parts = shape[1:-2]
                fits = self._keeps_places(node.input[0], first.ndim + 3, shape)
                fits = fits and len(parts) > 0 and min(parts) > 0 and prod(parts) == first.size
                return [first.reshape(parts)] if fits else None
            case "Transpose":
                order = list(attributes.get("perm", ()))
                rank = first.ndim + 3
                stays = len(order) == rank and order[0] == 0 and order[-2:] == [rank - 2, rank - 1]
                return [first.transpose([one - 1 for one in order[1:-2]])] if stays else None
        if any(one.ndim != 1 for one in seen):
            return None
        match node.op_type:
            case operator if operator in _COMMUTES and len(node.output) == 1:
                return [first]
            case "Resize" if self._keeps_channels(node, attributes, len(first)):
                return [first]
            case "Concat" if attributes["axis"] in (1, -3) and len(seen) == len(node.input):
                return [np.concatenate(seen)]
            case "Split" if attributes.get("axis", 0) in (1, -3):
                sizes = self._numbers(node, 1) or list(attributes.get("split", ()))
                sizes = sizes or [len(first) // len(node.output)] * len(node.output)
                ends = np.cumsum([0, *sizes])
                return [first[a:b] for a, b in pairwise(ends)] if ends[-1] == len(first) else None
            case "Add" if len(seen) == 2 and len(seen[0]) == len(seen[1]):
                for a, b in zip(*seen, strict=True):
                    self._tie(int(a), int(b))
                return [first]
        return None

    def _keeps_places(self, tensor: str, rank: int, shape: Sequence[int]) -> bool:
        """Whether a Reshape to ``shape`` leaves images and positions apart as they are.

        Where the sizes of ``tensor`` are not known, it does not.
        """
        before = self._shapes.get(tensor, ())
        same = len(before) == rank and min(before[-2:]) > 0 and tuple(shape[-2:]) == before[-2:]
        return same and shape[0] in (-1, 0, 1)

    def _keeps_channels(self, node: onnx.NodeProto, attributes: Mapping[str, Any], channels: int) -> bool:
        """Whether a Resize leaves the number of channels as it is, and takes nothing from outside."""
        scales, sizes = self._numbers(node, 2), self._numbers(node, 3)
        kept = (len(scales) == 4 and scales[1] == 1) or (len(sizes) == 4 and sizes[1] == channels)
        return kept and attributes.get("coordinate_transformation_mode", b"") != b"tf_crop_and_resize"

    def _numbers(self, node: onnx.NodeProto, place: int) -> list[Any]:
        """A constant that a node takes; empty where it takes none."""
        name = node.input[place] if len(node.input) > place else ""
        found: list[Any] = numpy_helper.to_array(self._constants[name]).tolist() if name else []
        return found

    def _root(self, one: int) -> int:
        while self._same[one] != one:
            one = self._same[one]
        return one

    def _tie(self, a: int, b: int) -> None:
        low, high = sorted((self._root(a), self._root(b)))
        self._same[high] = low


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor whose rank is known; 0 for sizes that are not fixed, such as the batch."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(max(dim.dim_value, 0) for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }
