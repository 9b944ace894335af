"""The builder's list of layers, read: by hand from three lines as TensorRT for RTX 1.7 writes them."""

from __future__ import annotations

from edgevision.engines.trt.plan import PlanLayer
from edgevision.export.plans.layer_dump import is_layer_dump, node_precisions, parse_layers, turned_to_float


def tensor(name: str, datatype: str) -> str:
    return (
        f"{{ Name: {name}, Dimensions: [-1,3,8,8], Strides: [192,1,24,3], StrideOrder: [3,0,2,1], "
        f"Datatype: {datatype}, Format: (NHWC) Channel major format }}"
    )


DUMP = f"""Layers:
Name: shape_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: conv1_myl0_1, LayerType: correlation, Inputs: [ {tensor("x", "Int8")}], Constants: [ {tensor("w", "Int8")}, {tensor("b", "Float")}], Outputs: [ {tensor("y", "Half")}], TacticName: stub, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: x/dq]
Name: mul_myl0_2, LayerType: kgen, Inputs: [ {tensor("y", "Half")}], Constants: [], Outputs: [ {tensor("z", "Int8")}], TacticName: k, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: relu, 1]
Name: conv2_myl0_3, LayerType: correlation, Inputs: [ {tensor("z", "Half")}, {tensor("r", "Float")}], Constants: [ {tensor("w", "Int8")}], Outputs: [ {tensor("o", "Float")}], TacticName: stub, StreamId: 0, Metadata: [ONNX Layer: conv2]

I/O Tensors:
 Name: x, IOMode: Input, DataType: UInt8, Dimensions: [-1,8,8,3], Location: Device
"""  # noqa: E501, W291


def test_layers_and_the_type_of_their_first_input() -> None:
    assert is_layer_dump(DUMP)
    assert not is_layer_dump("Building engine")
    assert parse_layers(DUMP) == (
        PlanLayer("shape_0", "shape_call", "", ()),
        PlanLayer("conv1_myl0_1", "correlation", "Int8", ("conv1", "x/dq")),
        PlanLayer("mul_myl0_2", "kgen", "Half", ("conv1", "relu, 1")),
        PlanLayer("conv2_myl0_3", "correlation", "Half", ("conv2",)),
    )


def test_a_convolutions_precision_is_that_of_the_layer_that_multiplies() -> None:
    layers = parse_layers(DUMP)
    assert node_precisions(layers, ["conv1", "conv2", "conv3"]) == {"conv1": "Int8", "conv2": "Half"}
    assert node_precisions(reversed(layers), ["conv1"]) == {"conv1": "Int8"}
    assert node_precisions(layers, ["relu, 1"]) == {"relu, 1": "Half"}


def test_what_was_turned_to_float_is_told_from_what_no_layer_names() -> None:
    layers = parse_layers(DUMP)
    assert turned_to_float(layers, ("conv1", "conv2", "merged away")) == ("conv2",)
    assert turned_to_float(layers, ("conv1",)) == ()
    assert turned_to_float((), ("conv1", "conv2")) == (), "a builder that says nothing is not accused"
    pooled = PlanLayer("pool", "maxpool", "Int8", ("conv2",))  # only who multiplies counts
    assert turned_to_float([*layers, pooled], ("conv2",)) == ("conv2",)


def test_another_text_holds_no_layers() -> None:
    assert parse_layers("") == ()
    assert parse_layers("Name: x, IOMode: Input") == ()
