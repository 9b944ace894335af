"""What TensorRT says of the layers of a plan: the list that the builder logs at its most talkative.

A plan cannot be loaded without a GPU, so this is what there is to prove, on any machine, that a
convolution really runs in INT8. Each layer is one line such as (shortened)::

    Name: n1, LayerType: correlation, Inputs: [ { Name: x, ..., Datatype: Int8, ... }], Constants: [...],
    Outputs: [...], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: relu1]

That is TensorRT for RTX. TensorRT names the type within the format, in several spellings::

    Name: conv1 + relu1, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, Dimensions:
    [1,32,8,8], Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], Outputs: ...

Sources: the builder's log of TensorRT for RTX 1.7; TensorRT's documentation, "Engine Inspector".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from edgevision.engines.trt.plan import PlanLayer

_LINE = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<rest>.*)$")
# The value ends where the next key begins or the tensor ends; it may hold spaces, hyphens and brackets.
_DATATYPE = re.compile(r"Datatype: ([^,}\]]*)")
_TYPE = re.compile(r"\b(u?int\d+|fp\d+|bf16|bfloat16|half|float|bool)\b", re.IGNORECASE)
_WORDS = {
    "fp16": "Half",
    "half": "Half",
    "fp32": "Float",
    "float": "Float",
    "bf16": "BFloat16",
    "bfloat16": "BFloat16",
    "fp8": "FP8",
}
"""The types that have several names, under the one that :class:`PlanLayer` has."""
_FLOATS = frozenset({"Float", "Half", "BFloat16"})
_ELEMENTWISE = "kgen"
_BLOCK = "myelin"
"""A block of many layers that one compiler made into one; its inputs do not show what it computes in."""
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


def is_layer_dump(message: str) -> bool:
    """Whether a message of the log is the list of layers."""
    return "LayerType: " in message


def parse_layers(dump: str) -> tuple[PlanLayer, ...]:
    """The layers of a dump, in the order they run.

    Layers without inputs, and those whose input's type is not known here, have no precision (``""``).
    """
    layers = []
    for line in dump.split("\n"):  # splitlines() would end a line at the record separator below
        found = _LINE.match(line)
        if found is None:
            continue
        inputs = re.split(r"\], (?:Constants|Outputs): \[", found["rest"], maxsplit=1)[0]
        datatype = _DATATYPE.search(inputs)
        # The log joins several names with an ASCII record separator in some releases.
        nodes = (node.strip() for text in _NODE.findall(found["rest"]) for node in text.split("\x1e"))
        precision = _precision(datatype[1]) if datatype else ""
        layers.append(PlanLayer(found["name"], found["kind"], precision, tuple(nodes)))
    return tuple(layers)


def _precision(datatype: str) -> str:
    """``Row major linear FP16 format`` to ``Half``, ``Uint8`` to ``UInt8``."""
    found = _TYPE.search(datatype)
    if found is None:
        return ""
    word = found[1].lower()
    return _WORDS.get(word) or word.capitalize().replace("Uint", "UInt")


def node_precisions(layers: Iterable[PlanLayer], nodes: Iterable[str]) -> dict[str, str]:
    """The precision that each ONNX node runs in; nodes that no layer names are left out.

    A convolution's bias and activation may be a layer of their own, which names the convolution too: a
    kernel of elementwise operators (``kgen``). What counts is the layer that multiplies.

    Args:
        layers: of :func:`parse_layers`.
        nodes: names of ONNX nodes, such as those of all convolutions.

    Returns:
        A precision for each node, ``""`` where the layer does not show it.
    """
    wanted = set(nodes)
    found: dict[str, str] = {}
    for layer in sorted(layers, key=lambda layer: layer.kind == _ELEMENTWISE):
        precision = "" if layer.kind.lower() == _BLOCK else layer.precision
        for node in wanted.intersection(layer.nodes):
            found.setdefault(node, precision)
    return found


def turned_to_float(layers: Iterable[PlanLayer], nodes: Collection[str]) -> tuple[str, ...]:
    """Those of ``nodes``, convolutions in int8, of which the plan says that it computes them in float."""
    found = node_precisions(layers, nodes)
    return tuple(name for name in nodes if found.get(name) in _FLOATS)
