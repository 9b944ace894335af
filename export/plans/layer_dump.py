"""What TensorRT says of the layers of a plan: the list that the builder logs at its most talkative.

A plan cannot be loaded without a GPU, so this is what there is to prove, on any machine, that a
convolution really runs in INT8. Each layer is one line such as (shortened)::

    Name: n1, LayerType: correlation, Inputs: [ { Name: x, ..., Datatype: Int8, ... }], Constants: [...],
    Outputs: [...], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: relu1]
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from edgevision.engines.trt.plan import PlanLayer

_LINE = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<rest>.*)$")
_DATATYPE = re.compile(r"Datatype: (\w+)")
_ELEMENTWISE = "kgen"
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


def is_layer_dump(message: str) -> bool:
    """Whether a message of the log is the list of layers."""
    return "LayerType: " in message


def parse_layers(dump: str) -> tuple[PlanLayer, ...]:
    """The layers of a dump, in the order they run. Layers without inputs have no precision (``""``)."""
    layers = []
    for line in dump.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        inputs = found["rest"].split("], Constants: [", 1)[0]
        datatype = _DATATYPE.search(inputs)
        # The log joins several names with an ASCII record separator in some releases.
        nodes = (node.strip() for text in _NODE.findall(found["rest"]) for node in text.split("\x1e"))
        precision = datatype[1] if datatype else ""
        layers.append(PlanLayer(found["name"], found["kind"], precision, tuple(nodes)))
    return tuple(layers)


def node_precisions(layers: Iterable[PlanLayer], nodes: Iterable[str]) -> dict[str, str]:
    """The precision that each ONNX node runs in; nodes that no layer names are left out.

    A convolution's bias and activation may be a layer of their own, which names the convolution too: a
    kernel of elementwise operators (``kgen``). What counts is the layer that multiplies.

    Args:
        layers: of :func:`parse_layers`.
        nodes: names of ONNX nodes, such as those of all convolutions.
    """
    wanted = set(nodes)
    found: dict[str, str] = {}
    for layer in sorted(layers, key=lambda layer: layer.kind == _ELEMENTWISE):
        for node in wanted.intersection(layer.nodes):
            found.setdefault(node, layer.precision)
    return found


def turned_to_float(layers: Iterable[PlanLayer], nodes: Collection[str]) -> tuple[str, ...]:
    """Those of ``nodes``, convolutions in int8, that the plan computes in float, as far as it says."""
    found = node_precisions(layers, nodes)
    return tuple(name for name in nodes if found.get(name, "Int8") != "Int8")
