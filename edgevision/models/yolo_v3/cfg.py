"""Darknet's ``.cfg``: the text that describes a network, read into its layers; without torch.

The format is that of the public descriptions: sections in brackets, ``key=value`` in each, ``#`` and ``;``
before comments. The first section, ``[net]``, has the input; every other is a layer, numbered from 0. Keys
that only train are passed over. What is not known, a layer, an activation or a form, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edgevision.errors import ConfigError, nearest

ACTIVATIONS = ("linear", "leaky", "relu", "logistic", "mish", "swish")


@dataclass(frozen=True, slots=True)
class Convolutional:
    """A convolution, with BatchNorm or with a bias, and its activation."""

    inputs: int
    filters: int
    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: str


@dataclass(frozen=True, slots=True)
class Maxpool:
    """Max-pooling; ``padding`` is the sum of both sides, the smaller half of it before the map."""

    size: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Upsample:
    """Each cell repeated ``stride`` times along both sides."""

    stride: int


@dataclass(frozen=True, slots=True)
class Route:
    """Earlier maps joined along their channels; of each, part ``group`` of ``groups``."""

    layers: tuple[int, ...]
    groups: int
    group: int


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The map before, and that of layer ``source``, added."""

    source: int
    activation: str


@dataclass(frozen=True, slots=True)
class Dropout:
    """In training, numbers set to 0 with a probability, the others enlarged to match; else the map itself."""

    probability: float


@dataclass(frozen=True, slots=True)
class Yolo:
    """Predictions of one map: A boxes a cell.

    Attributes:
        anchors: width and height of the A priors, in pixels of the input.
        classes: C.
        scale: how far a centre may lie outside its cell, ``scale_x_y``; 1 keeps it inside.
        ignore: overlap with an object from which a prediction is not taught to be empty, ``ignore_thresh``.
    """

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale: float
    ignore: float


Layer = Convolutional | Maxpool | Upsample | Route | Shortcut | Dropout | Yolo


@dataclass(frozen=True, slots=True)
class Plan:
    """A network of Darknet.

    Attributes:
        width, height: of the input in pixels.
        layers: in their order; routes and shortcuts number them from 0.
        channels: of each layer's result.
        strides: input pixels a cell of each layer's result, as a fraction of whole numbers.
    """

    width: int
    height: int
    layers: tuple[Layer, ...]
    channels: tuple[int, ...]
    strides: tuple[float, ...]

    @property
    def heads(self) -> tuple[Yolo, ...]:
        """The layers that predict, in their order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Yolo))

    @property
    def head_strides(self) -> tuple[int, ...]:
        """Input pixels a cell of each layer that predicts."""
        return tuple(
            round(stride)
            for layer, stride in zip(self.layers, self.strides, strict=True)
            if isinstance(layer, Yolo)
        )

    @property
    def classes(self) -> int:
        """Number of classes, the same in every layer that predicts."""
        return self.heads[0].classes


def parse_cfg(text: str, origin: str = "cfg", size: tuple[int, int] | None = None) -> Plan:
    """Reads the text of a ``.cfg``.

    Args:
        text: the whole file.
        origin: what to call it in messages.
        size: width and height of the input, in place of the text's; anchors stay as they are, in pixels.

    Raises:
        ConfigError: it is not such a text, it holds what is not known here, or its layers do not fit.
    """
    sections = list(_sections(text, origin))
    if not sections or sections[0].kind not in ("net", "network"):
        found = f"[{sections[0].kind}]" if sections else "no section"
        raise ConfigError(f"{origin}: found {found} first; expected [net], as a darknet .cfg begins")
    net, *parts = sections
    if net.number("channels", 3) != 3:
        raise net.error("channels is not 3; expected colour images")
    width, height = size or (net.number("width", 416), net.number("height", 416))
    if min(width, height) < 1:
        raise net.error(f"the input is {width}x{height}; expected a width and a height in pixels")
    layers: list[Layer] = []
    channels, strides = [3], [1.0]  # of the input, then of each layer
    for part in parts:
        reader = _READERS.get(part.kind)
        if reader is None:
            raise part.error(
                f"a layer [{part.kind}], which is not known{nearest(part.kind, _READERS)}; expected one of: "
                f"{', '.join(_READERS)}"
            )
        layer = reader(part, channels[1:], strides[1:], channels[-1])
        layers.append(layer)
        channels.append(_channels(layer, channels))
        strides.append(_stride(layer, strides))
    plan = Plan(width, height, tuple(layers), tuple(channels[1:]), tuple(strides[1:]))
    _check_heads(plan, parts, origin)
    return plan


@dataclass(frozen=True, slots=True)
class _Section:
    """One section with its keys, and the line where it begins."""

    kind: str
    line: int
    origin: str
    values: dict[str, str] = field(default_factory=dict)

    def error(self, text: str) -> ConfigError:
        return ConfigError(f"{self.origin}, [{self.kind}] in line {self.line}: {text}")

    def number(self, key: str, default: int) -> int:
        """A whole number."""
        try:
            return int(self.values.get(key, default))
        except ValueError:
            raise self.error(f"{key} is '{self.values[key]}'; expected a whole number") from None

    def numbers(self, key: str) -> list[float]:
        """Numbers with commas between."""
        try:
            found = [float(part) for part in self.values.get(key, "").split(",") if part.strip()]
        except ValueError:
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            raise self.error(f"{key} is '{self.values[key]}'; expected numbers with commas between")
        return found

    def real(self, key: str, default: float) -> float:
        """A number."""
        return (self.numbers(key) or [default])[0]

    def activation(self, default: str) -> str:
        name = self.values.get("activation", default)
        if name not in ACTIVATIONS:
            raise self.error(
                f"activation '{name}' is not known{nearest(name, ACTIVATIONS)}; expected one of: "
                f"{', '.join(ACTIVATIONS)}"
            )
        return name


def _sections(text: str, origin: str) -> Iterator[_Section]:
    section: _Section | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].split(";")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            if section is not None:
                yield section
            section = _Section(line[1:-1].strip().lower(), number, origin)
        elif "=" in line and section is not None:
            key, value = line.split("=", 1)
            section.values[key.strip()] = value.strip()
        else:
            raise ConfigError(
                f"{origin}, line {number}: found '{line[:40]}'; expected [section] or key=value, as a "
                "darknet .cfg has them"
            )
    if section is not None:
        yield section


def _convolutional(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    size = part.number("size", 1)
    padding = size // 2 if part.number("pad", 0) else part.number("padding", 0)
    layer = Convolutional(
        inputs=before,
        filters=part.number("filters", 1),
        size=size,
        stride=part.number("stride", 1),
        padding=padding,
        groups=part.number("groups", 1),
        batch_normalize=bool(part.number("batch_normalize", 0)),
        activation=part.activation("logistic"),
    )
    for name, fixed in (("dilation", 1), ("binary", 0), ("xnor", 0), ("antialiasing", 0), ("deform", 0)):
        if part.number(name, fixed) != fixed:
            raise part.error(f"{name} is {part.values[name]}, which is not known; expected {fixed}")
    if min(layer.filters, layer.size, layer.stride, layer.groups) < 1 or layer.padding < 0:
        raise part.error("filters, size, stride or groups is below 1; expected positive numbers")
    if before % layer.groups or layer.filters % layer.groups:
        raise part.error(
            f"groups is {layer.groups}; expected a divisor of its {before} channels and its {layer.filters} "
            "filters"
        )
    return layer


def _maxpool(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    stride = part.number("stride", 1)
    size = part.number("size", stride)
    layer = Maxpool(size, stride, part.number("padding", size - 1))
    if min(size, stride) < 1 or not 0 <= layer.padding < 2 * size:
        raise part.error(f"size {size}, stride {stride}, padding {layer.padding}; expected positive numbers")
    if part.number("maxpool_depth", 0):
        raise part.error("maxpool_depth is not known; expected pooling of 2 axes")
    return layer


def _upsample(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    layer = Upsample(part.number("stride", 2))
    if layer.stride < 1 or part.real("scale", 1.0) != 1:
        raise part.error("expected a stride of 1 or more, and no scale")
    return layer


def _route(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    named = part.numbers("layers") or part.numbers("layer")
    if not named:
        raise part.error("no layers; expected the numbers of one layer or more")
    sources = tuple(_layer(part, value, channels) for value in named)
    layer = Route(sources, part.number("groups", 1), part.number("group_id", 0))
    if layer.groups < 1 or not 0 <= layer.group < layer.groups:
        raise part.error(f"group_id is {layer.group} of {layer.groups} groups; expected 0 to groups - 1")
    if any(channels[source] % layer.groups for source in sources):
        raise part.error(f"groups is {layer.groups}, which does not divide the channels of its layers")
    _same_size(part, strides, sources)
    return layer


def _shortcut(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    named = part.numbers("from")
    if len(named) != 1 or part.values.get("weights_type", "none") != "none":
        raise part.error("expected one layer in 'from', and no weights")
    source = _layer(part, named[0], channels)
    if channels[source] != before:
        raise part.error(f"adds {channels[source]} channels to {before}; expected as many")
    _same_size(part, strides, (source, len(channels) - 1))
    return Shortcut(source, part.activation("linear"))


def _dropout(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    layer = Dropout(part.real("probability", 0.5))
    if not 0 <= layer.probability < 1:
        raise part.error(f"probability is {layer.probability:g}; expected a number from 0 to below 1")
    return layer


def _yolo(part: _Section, channels: list[int], strides: list[float], before: int) -> Layer:
    numbers = part.numbers("anchors")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    mask = [int(value) for value in part.numbers("mask")] or list(range(part.number("num", len(pairs))))
    if not pairs or len(numbers) % 2 or min(numbers) <= 0 or not all(0 <= one < len(pairs) for one in mask):
        raise part.error(
            f"{len(pairs)} anchors and mask {mask}; expected pairs of sizes, and numbers of them"
        )
    if part.number("new_coords", 0):
        raise part.error("new_coords is not known; expected the boxes of YOLO v3 and v4")
    layer = Yolo(
        tuple(pairs[one] for one in mask),
        part.number("classes", 20),
        part.real("scale_x_y", 1.0),
        part.real("ignore_thresh", 0.5),
    )
    wanted = len(layer.anchors) * (5 + layer.classes)
    if layer.classes < 1 or before != wanted:
        raise part.error(
            f"gets {before} channels; expected {wanted} filters before it: {len(layer.anchors)} anchors * "
            f"(5 + {layer.classes} classes)"
        )
    return layer


_Reader = Callable[[_Section, "list[int]", "list[float]", int], Layer]
_READERS: dict[str, _Reader] = {
    "convolutional": _convolutional,
    "conv": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "dropout": _dropout,
    "yolo": _yolo,
}


def _layer(part: _Section, value: float, channels: list[int]) -> int:
    """The number of a layer, counted back from here where it is negative."""
    number = int(value) if value >= 0 else len(channels) + int(value)
    if not 0 <= number < len(channels):
        raise part.error(
            f"layer {value:g} is none before it; expected 0 to {len(channels) - 1}, or back from -1"
        )
    return number


def _same_size(part: _Section, strides: list[float], layers: tuple[int, ...]) -> None:
    found = sorted({strides[layer] for layer in layers})
    if len(found) > 1:
        raise part.error(f"joins maps at strides {found[0]:g} and {found[-1]:g}; expected maps of one size")


def _channels(layer: Layer, before: list[int]) -> int:
    """Channels of a layer's result; ``before`` has the input first."""
    if isinstance(layer, Convolutional):
        return layer.filters
    if isinstance(layer, Route):
        return sum(before[source + 1] for source in layer.layers) // layer.groups
    return before[-1]


def _stride(layer: Layer, before: list[float]) -> float:
    if isinstance(layer, Convolutional | Maxpool):
        return before[-1] * layer.stride
    if isinstance(layer, Upsample):
        return before[-1] / layer.stride
    return before[layer.layers[0] + 1] if isinstance(layer, Route) else before[-1]


def _check_heads(plan: Plan, parts: list[_Section], origin: str) -> None:
    if not plan.heads:
        raise ConfigError(f"{origin}: no [yolo] layer; expected one or more, as YOLO v3 and v4 have them")
    classes = sorted({head.classes for head in plan.heads})
    if len(classes) > 1:
        raise ConfigError(
            f"{origin}: its [yolo] layers have {classes[0]} and {classes[-1]} classes; expected the same"
        )
    for part, layer, previous in zip(parts[1:], plan.layers[1:], plan.layers, strict=False):
        if not isinstance(layer, Yolo):
            continue
        if not isinstance(previous, Convolutional):
            raise part.error("no [convolutional] before it; expected the one that predicts")
        if previous.batch_normalize or previous.activation != "linear":
            raise part.error(
                "the [convolutional] before it: expected activation=linear and no batch_normalize"
            )
    largest = round(max(plan.strides))
    if plan.width % largest or plan.height % largest:
        raise ConfigError(
            f"{origin}: the input is {plan.width}x{plan.height}; expected multiples of {largest}, its "
            "largest stride"
        )
