"""The builder's list of layers, read: by hand from three lines as TensorRT for RTX 1.7 writes them."""

from __future__ import annotations

import pytest

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


FORMATS = {
    "Int8": (
        "Int8",
        "Thirty-two wide channel vectorized row major Int8 format",
        "Row major Int8 format",
        "Four wide channel vectorized row major INT8 format",
    ),
    "Half": ("Half", "Two wide channel vectorized row major FP16 format", "Row major linear FP16 format",
             "Channel major FP16 format where channel % 8 == 0"),
    "Float": ("Float", "Row major linear FP32", "Channel major FP32 format where channel % 4 == 0"),
    "UInt8": ("UInt8", "Uint8"),
    "BFloat16": ("BFloat16", "Row major linear BF16 format"),
    "": ("a format of next year",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("datatype", "precision"), [(value, name) for name, values in FORMATS.items() for value in values]
)
def test_both_spellings_of_a_type_are_read(datatype: str, precision: str) -> None:
    """TensorRT for RTX writes the bare type, TensorRT names it somewhere in the format."""
    for key in ("Datatype", "Format/Datatype"):
        line = (
            f"Name: conv1 + relu1, LayerType: CaskConvolution, Inputs: [ {{ Name: x, Location: Device, "
            f"Dimensions: [1,32,8,8], {key}: {datatype} }}], Outputs: [ {{ Name: y, {key}: Row major linear "
            "FP32 }], TacticName: sm80, StreamId: 0, Metadata: [ONNX Layer: conv1]\x1e[ONNX Layer: relu1]"
        )
        (layer,) = parse_layers(line)
        assert (layer.precision, layer.nodes) == (precision, ("conv1", "relu1"))


def test_only_a_layer_that_says_float_is_called_lost() -> None:
    def lost(precision: str, kind: str = "CaskConvolution") -> tuple[str, ...]:
        return turned_to_float([PlanLayer("conv1", kind, precision, ("conv1",))], ("conv1",))

    assert [lost(precision) for precision in ("Float", "Half", "BFloat16")] == [("conv1",)] * 3
    assert [lost(precision) for precision in ("Int8", "UInt8", "", "FP8")] == [()] * 4
    assert lost("Half", "Myelin") == (), "the inputs of a block do not tell what is computed inside"
