"""``edgevision inspect``: small graphs counted by hand, plans, files that are not ours, and what is wrong.

Also tests ``edgevision.cli.inspect_table``, ``edgevision.export.inspect_file``,
``edgevision.graph.summary``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.cli import main
from edgevision.contract.manifest import CalibrationFacts
from edgevision.contract.model_file import read_manifest
from edgevision.engines.trt.plan import BatchRange, Host, PlanInfo, PlanLayer, write_plan
from edgevision.errors import ModelError
from edgevision.export.inspect_file import inspect_file
from edgevision.export.plans.build import BuildOptions, build
from edgevision.export.plans.progress import BuildProgress
from edgevision.export.plans.targets import load_targets
from edgevision.graph.summary import summarise
from edgevision.zoo import find_model, list_models
from tests.support.cuda_fake import FakeCuda
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model
from tests.support.plans import write_int8
from tests.support.task_models import write_task_model
from tests.support.tensorrt_fake import FakeTensorRt

F = np.float32


def convolutions() -> onnx.ModelProto:
    """Four convolutions of 2 to 4 channels on 8x8: int8, FP16, FP32, and a transposed one on 4x4."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.array(0.1, F),
        "zero": np.array(0, np.int8),
        "w8": rng.integers(-9, 9, (4, 2, 3, 3)).astype(np.int8),
        "w8_scale": np.full(4, 0.01, F),
        "w8_zero": np.zeros(4, np.int8),
        "w16": rng.normal(size=(4, 4, 1, 1)).astype(np.float16),
        "w32": rng.normal(size=(4, 1, 3, 3)).astype(F),
        "wt": rng.normal(size=(4, 2, 2, 2)).astype(F),
        "axes": np.array([1, 2]),
        "post/anchors": np.zeros((100, 4), F),
    }
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w8", "w8_scale", "w8_zero"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["a"], pads=pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["c", "w16"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w32"], ["g"], pads=pads, strides=[2, 2], group=4),
        helper.make_node("ConvTranspose", ["g", "wt"], ["h"], strides=[2, 2]),
        helper.make_node("ArgMax", ["h"], ["y"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "four",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9, producer_name="a test"
    )


def test_nodes_are_counted_by_operator_and_precision() -> None:
    found = summarise(convolutions())
    table = {entry.operator: entry.nodes for entry in found.operators}
    assert table == {
        "Conv": {"int8": 1, "fp16": 1, "fp32": 1},
        "Cast": {"fp16": 1, "fp32": 1},
        "DequantizeLinear": {"int8": 2},
        "ArgMax": {"other": 1},
        "ConvTranspose": {"fp32": 1},
        "QuantizeLinear": {"int8": 1},
        "Relu": {"fp32": 1},
    }
    assert found.nodes == {"int8": 4, "fp16": 2, "fp32": 4, "other": 1}
    assert [entry.operator for entry in found.operators][:2] == ["Conv", "Cast"], "the most frequent first"


def test_nodes_of_the_network_are_told_from_those_around_it() -> None:
    model = convolutions()
    model.graph.node[0].name = "pre/q"  # rounds the network's input, whatever it is called
    model.graph.node[4].name = "pre/Relu"
    found = summarise(model, ["h"])
    assert found.network == {"int8": 4, "fp16": 2, "fp32": 3}, "all but Relu and ArgMax"
    assert summarise(model).network == {}
    assert summarise(model, ["h", "absent"]).network == {}


def test_work_and_parameters_are_those_of_the_convolutions() -> None:
    found = summarise(convolutions())
    assert found.macs == {
        "int8": 4 * 2 * 9 * 64,
        "fp16": 4 * 4 * 64,
        "fp32": 4 * 9 * 16 + 4 * 2 * 4 * 16,
    }
    assert found.parameters == 4 * 2 * 9 + 4 * 4 + 4 * 9 + 4 * 2 * 4, "no scales, axes or anchors"
    assert (found.opset, found.ir_version, found.producer) == (19, 9, "a test")
    assert [str(tensor) for tensor in found.inputs] == ["x float32 [N, 2, 8, 8]"]
    assert [str(tensor) for tensor in found.outputs] == ["y int64 [N, 8, 8]"]
    assert found.problems == ()


def test_a_convolution_is_int8_only_where_data_and_weights_are() -> None:
    model = convolutions()
    model.graph.node[3].input[0] = "x"
    assert summarise(model).macs.get("int8") is None


def test_sizes_that_nobody_knows_leave_the_work_out() -> None:
    model = convolutions()
    for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.ClearField("dim_value")
    found = summarise(model)
    assert found.macs == {}
    assert found.parameters == 156
    assert str(found.inputs[0]) == "x float32 [N, 2, ?, ?]"


def inspect(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, arguments)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def lines(text: str) -> dict[str, str]:
    """The rows of the first table, by their labels."""
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line and not line[0].isspace()]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def test_the_contract_of_a_detector_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_colour_model(tmp_path / "colours[1].onnx", colour_manifest(licence="[b]mine[/b]"))
    code, out, err = inspect(capsys, path)
    assert (code, err) == (0, "")
    rows = lines(out)
    assert rows["model"] == "colours, detection, FP32"
    assert rows["classes"] == "3: blue, green, red"
    assert rows["input"] == "64x64, letterbox, filled with 114, linear"
    assert rows["detections"] == "2 at most, with a score of 0.05 or more"
    assert rows["figures"] == "ap50_mean 0.5"
    assert rows["licence"] == "[b]mine[/b]", "names are no markup"
    assert rows["inputs"] == "frames uint8 [N, 64, 64, 3]"
    assert "colours[1].onnx" in out
    assert "boxes float32 [N, 2, 4]" in out
    assert rows["ReduceMax"].split() == ["3", "3"], "three of float colours, three of integer masks"
    assert "note" not in out


def test_json_holds_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_bright_segmenter(tmp_path / "bright.onnx")
    code, out, _ = inspect(capsys, path, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["manifest"]["task"] == "segmentation"
    assert document["manifest"]["precision"] == "fp32"
    assert document["size"] == path.stat().st_size
    assert document["outputs"] == ["class_map uint8 [N, 64, 64]"]
    assert document["graph"]["nodes"] == {"fp32": 2, "other": 2}
    assert document["graph"]["inputs"][0] == {"name": "frames", "dtype": "uint8", "shape": ["N", 64, 64, 3]}
    assert (document["plan"], document["notes"]) == (None, [])


@pytest.mark.parametrize("name", [model.name for model in list_models()])
def test_what_ships_is_shown_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = inspect(capsys, name)
    assert code == 0
    assert lines(out)["convolutions"].endswith("100.0% FP32")
    assert lines(out)["nodes"].startswith("the network: ")
    assert "INT8" not in lines(out)["nodes"]
    assert "refuse" not in out


def test_a_file_that_is_not_ours_shows_what_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(convolutions(), str(path))
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert lines(out)["inputs"] == "x float32 [N, 2, 8, 8]"
    assert lines(out)["convolutions"] == (
        "6.72e-06 billion multiplications an image: 68.6% INT8, 15.2% FP16, 16.2% FP32"
    )
    assert "an ONNX model without edgevision metadata" in " ".join(out.split())
    found = inspect_file(path)
    assert found.manifest is None
    assert found.graph is not None


def test_what_tensorrt_would_refuse_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = convolutions()
    zero = next(constant for constant in model.graph.initializer if constant.name == "zero")
    zero.CopyFrom(numpy_helper.from_array(np.array(7, np.int8), "zero"))
    onnx.save(model, str(tmp_path / "asymmetric.onnx"))
    _, out, _ = inspect(capsys, tmp_path / "asymmetric.onnx")
    said = " ".join(out.split())
    assert said.count("TensorRT would refuse") == 2
    assert "TensorRT would refuse q (QuantizeLinear): a zero point of 7" in said
    _, out, _ = inspect(capsys, tmp_path / "asymmetric.onnx", "--json")
    assert len(json.loads(out)["graph"]["problems"]) == 2


def test_a_file_that_was_edited_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_colour_model(tmp_path / "edited.onnx")
    model = onnx.load(path)
    model.graph.name = "another"
    onnx.save(model, str(path))
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert "note: its content differs from the checksum" in out


def test_without_onnx_the_contract_is_shown_and_what_is_missing_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_colour_model(tmp_path / "colours.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)  # importing it raises ImportError
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert lines(out)["inputs"] == "frames uint8 [N, 64, 64, 3]"
    assert "layers are not shown: onnx is not installed" in out
    assert "operator" not in out


def plan(path: Path, **changes: object) -> Path:
    fields: dict[str, object] = {
        "manifest": colour_manifest(precision="int8+fp16"),
        "onnx_name": "colours.onnx",
        "onnx_sha256": "ab" * 32,
        "flavour": "tensorrt",
        "tensorrt_version": "10.3.0",
        "target": "jetson-orin-nano",
        "compute_capability": "8.7",
        "gpu": "Orin",
        "batch": BatchRange(1, 2, 4),
        "workspace_mib": 512,
        "dla_core": 0,
        "dla_fallback": ("Resize_1",),
        "layers": (
            PlanLayer("one", "convolution", "Int8"),
            PlanLayer("two", "convolution", "Int8"),
            PlanLayer("three", "convolution", "Half"),
            PlanLayer("four", "topk", "Float"),
            PlanLayer("five", "constant", ""),
        ),
        "key": "cd" * 32,
        "built_at": "2026-01-02T03:04:05+00:00",
        "build_seconds": 61.25,
        "host": Host("Linux", "aarch64", "3.10.12", "0.1.0"),
        "plan_bytes": 4,
        "plan_sha256": "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",  # of b"data"
        **changes,
    }
    write_plan(path, b"data", PlanInfo(**fields))  # type: ignore[arg-type]
    return path


def test_a_plan_shows_what_it_was_built_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = inspect(capsys, plan(tmp_path / "colours.engine"))
    assert code == 0
    rows = lines(out)
    assert rows["model"] == "colours, detection, INT8+FP16"
    assert rows["plan"] == (
        "TensorRT 10.3.0, jetson-orin-nano (compute capability 8.7), batch 1 2 4, DLA core 0"
    )
    assert "on Orin in 61.2 s, Linux aarch64, Python 3.10.12" in " ".join(out.split())
    assert "1 layers that the DLA lacks: Resize_1" in out
    assert "512 MiB" in out
    assert rows["layer"].split() == ["INT8", "FP16", "FP32", "other"]
    assert rows["convolution"].split() == ["2", "1"]
    assert rows["all"].split() == ["2", "1", "1", "1"]
    assert "note" not in out
    _, out, _ = inspect(capsys, tmp_path / "colours.engine", "--json")
    assert json.loads(out)["plan"]["host"]["python"] == "3.10.12"


def test_nvidias_words_for_layers_are_said_in_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = (
        PlanLayer("a", "correlation", "Int8"),
        PlanLayer("b", "kgen", "Half"),
        PlanLayer("c", "gemm", ""),
    )
    _, out, _ = inspect(capsys, plan(tmp_path / "colours.engine", layers=layers))
    rows = [line.split() for line in out.splitlines()[-6:]]
    assert ["convolution", "1"] in rows
    assert ["generated", "kernel", "1"] in rows
    assert ["gemm", "1"] in rows


@pytest.mark.parametrize("spelling", ["tensorrt", "rtx"])
def test_int8_convolutions_are_counted_in_both_spellings(
    spelling: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the builder lists them, of the shipped detector: TensorRT names the type within the format."""
    model = tmp_path / "int8.onnx"
    kept = write_int8(find_model("retinanet-light"), model)
    manifest, profile = read_manifest(model), load_targets()["jetson-agx-orin"]
    library = FakeTensorRt(FakeCuda(), spelling=spelling)
    built = build(library, model, model.read_bytes(), manifest, profile, BuildOptions(), BuildProgress())
    _, out, _ = inspect(capsys, plan(tmp_path / "int8.engine", layers=built.layers))
    rows = [line.split() for line in out.splitlines()]
    (head,) = (row for row in rows if row[:1] == ["layer"])
    (counts,) = (dict(zip(head[1:], row[1:], strict=False)) for row in rows if row[:1] == ["convolution"])
    assert (counts["INT8"], counts["FP32"]) == ("110", str(len(kept)))


def test_how_a_model_was_calibrated_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = CalibrationFacts(
        method="entropy",
        frames=300,
        frames_sha256="ab" * 32,
        float_sha256="cd" * 32,
        int8_share=0.8765,
        float_layers=("stem", "deep"),
    )
    path = write_colour_model(tmp_path / "colours.onnx", colour_manifest(precision="int8", calibration=facts))
    _, out, _ = inspect(capsys, path)
    said = " ".join(out.split())
    assert "entropy over 300 frames, 87.6% of the convolution work in INT8" in said
    assert "put back to float: stem, deep; from the FP32 model cdcdcdcdcdcd" in said


def test_a_plan_that_was_replaced_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plan(tmp_path / "colours.engine")
    path.write_bytes(b"other")
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert "its bytes are not those that colours.engine.json describes" in " ".join(out.split())


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("text.onnx", b"this is only text, not a model at all\n", "not an ONNX model"),
        ("empty.onnx", b"", "the file is empty"),
        ("alone.engine", b"data", "expected its contract beside it in alone.engine.json"),
        ("absent.onnx", None, "model file not found"),
        ("absent.engine", None, "model file not found"),
    ],
)
def test_bad_input_is_one_line(
    name: str, content: bytes | None, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = inspect(capsys, tmp_path / name)
    assert (code, out) == (1, "")
    assert text in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("position", [0.2, 0.5, 0.9])
def test_damage_inside_is_one_error_or_shown(position: float, tmp_path: Path) -> None:
    path = write_colour_model(tmp_path / "damaged.onnx")
    data = bytearray(path.read_bytes())
    start = int(len(data) * position)
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    text = ""
    try:
        text = "; ".join(inspect_file(path).notes)
    except ModelError as error:
        text = str(error)
    assert text, "damage went unnoticed"
    assert "\n" not in text


def test_a_model_with_weights_in_another_file_is_shown_without_it(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    model = convolutions()
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    found = inspect_file(path)
    assert found.graph is not None
    assert found.graph.parameters == 156
    assert found.graph.macs == summarise(model).macs


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        ("instance-segmentation", ["3 at most", "16x16 of 2 prototypes, above 0"]),
        ("pose", ["3: top_left, top_right, middle"]),
        ("obb", ["above ProbIoU 0.5; exact for the best 4 boxes"]),
        ("classification", ["one for each image"]),
    ],
)
def test_the_contract_of_every_task_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, lines: list[str]
) -> None:
    code, said, _ = inspect(capsys, write_task_model(tmp_path / "model.onnx", task))
    assert code == 0
    out = " ".join(said.split())
    for line in lines:
        assert line in out
