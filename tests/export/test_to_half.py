"""FP16 files against their FP32 sources: shipped models on photographs, and the architectures for GPUs.

Also tests ``edgevision.cli.export``, ``edgevision.graph.compose``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgevision.boxes import iou
from edgevision.calibration.qdq import insert_qdq
from edgevision.cli import main
from edgevision.config import config_folder
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.engines.onnxrt import OnnxRuntimeEngine
from edgevision.errors import EdgeVisionError, ExportError, ModelError, UsageError
from edgevision.export.half_probe import agreement_db, core_floats, probe_frames, run_core, with_rounding
from edgevision.export.to_half import HalfModel, export_half
from edgevision.export.to_onnx import export_checkpoint
from edgevision.graph.compose import save_model
from edgevision.graph.convolutions import find_convolutions, int8_convolutions
from edgevision.graph.half import to_half
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.graph.network import element_types
from edgevision.models.retinanet import RetinaNet
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import DetectorTraining, load_run
from edgevision.zoo import find_model, folder
from tests.support.models import write_colour_model

SHIPPED = ("retinanet-light", "unet-light")
FOR_GPUS = {
    "retinanet-resnet50": ["model.input_size=128", "model.channels=64", "model.head.layers=1"],
    "unet-resnet34": ["model.input_width=160", "model.input_height=128", "model.channels=[64,32,32,16,16]"],
}


def photographs(path: Path) -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    photos = [np.ascontiguousarray(p[:, :, ::-1]) for p in (data.astronaut(), data.chelsea(), data.rocket())]
    manifest = read_manifest(path)
    size = (manifest.input_width, manifest.input_height)
    return np.stack([Letterbox.fit(p.shape[1], p.shape[0], *size, manifest.resize).image(p) for p in photos])


def answers(path: Path, frames: NDArray[np.uint8]) -> dict[str, NDArray]:
    with OnnxRuntimeEngine(path) as engine:
        return {name: value.copy() for name, value in engine.infer({"frames": frames}).items()}


def quantise(source: Path, out: Path) -> Path:
    """Every convolution in int8 but those of the heads, with ranges of the probe frames."""
    manifest, model = read_manifest(source), load_onnx(source)
    frames = probe_frames(manifest)
    peaks = run_core(model, manifest.heads, frames, core_floats(model, manifest.heads)).peaks
    found = find_convolutions(model, manifest.heads)
    layers = [layer for layer in found if layer.kind == "Conv" and not layer.feeds_head]
    quantised = insert_qdq(model, layers, peaks)
    save_model(quantised, out, msgspec.structs.replace(manifest, precision="int8"))
    return out


@pytest.fixture(scope="module")
def small_unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped segmenter for small images: it is convolutional, so its input's size is only a number."""
    source, path = find_model("unet-light"), tmp_path_factory.mktemp("small") / "small-unet.onnx"
    model, manifest = load_onnx(source), read_manifest(source)
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        sizes[1].dim_value, sizes[2].dim_value = 128, 160
    save_model(model, path, msgspec.structs.replace(manifest, input_width=160, input_height=128))
    return path


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, HalfModel]:
    source = find_model(request.param)
    out = tmp_path_factory.mktemp("half") / f"{request.param}.fp16.onnx"
    return source, out, export_half(source, out)


def test_the_contract_is_kept_and_says_the_precision(shipped: tuple[Path, Path, HalfModel]) -> None:
    source, out, half = shipped
    before, after = read_manifest(source), read_manifest(out)
    assert after == half.manifest
    assert (before.precision, after.precision) == ("fp32", "fp16")
    assert msgspec.structs.replace(after, precision="fp32", sha256=before.sha256) == before
    assert after.sha256 == content_sha256(out) != before.sha256
    first, second = load_onnx(source).graph, load_onnx(out).graph
    assert list(first.input) == list(second.input)
    assert list(first.output) == list(second.output)
    assert out.stat().st_size < 0.56 * source.stat().st_size


def test_the_core_is_fp16_and_the_rest_fp32(shipped: tuple[Path, Path, HalfModel]) -> None:
    _, out, half = shipped
    model = load_onnx(out)
    onnx.checker.check_model(model, full_check=True)
    assert check_tensorrt(model) == []
    assert half.kept == ()
    types = element_types(model)
    for node in model.graph.node:
        wanted = onnx.TensorProto.FLOAT16
        if node.op_type in ("Conv", "Relu", "LeakyRelu", "MaxPool"):
            assert types[node.output[0]] == wanted, node.name
        if node.name.startswith(("pre/", "post/")):
            assert wanted not in [types.get(name) for name in node.output], node.name
    assert {types[head] for head in half.manifest.heads} == {onnx.TensorProto.FLOAT16}
    # One cast in, one for each head; more would be time lost.
    casts = sum(node.op_type == "Cast" for node in model.graph.node)
    before = sum(node.op_type == "Cast" for node in load_onnx(shipped[0]).graph.node)
    assert casts - before == 1 + len(half.manifest.heads)


def test_answers_on_photographs_are_those_of_fp32(shipped: tuple[Path, Path, HalfModel]) -> None:
    source, out, half = shipped
    frames = photographs(source)
    wanted, found = answers(source, frames), answers(out, frames)
    assert half.agreement_db > 35
    if half.manifest.task == "segmentation":
        assert len(np.unique(wanted["class_map"])) > 2
        assert (wanted["class_map"] == found["class_map"]).mean() > 0.96
        # These are no roads, so much is undecided; where two classes do not nearly tie, they agree.
        logits = run_core(load_onnx(source), half.manifest.heads, frames).heads["logits"]
        first, second = np.sort(logits, axis=1)[:, :-3:-1].transpose(1, 0, 2, 3)
        rounded = run_core(with_rounding(load_onnx(out)), half.manifest.heads, frames).heads["logits"]
        clear = first - second > 1
        assert clear.mean() > 0.5
        assert (logits.argmax(axis=1) == rounded.argmax(axis=1))[clear].mean() > 0.9999
        return
    seen = 0
    for i in range(len(frames)):
        sure = wanted["scores"][i] > 0.3
        seen += sure.sum()
        overlaps = iou(wanted["boxes"][i][sure], found["boxes"][i])
        overlaps[wanted["labels"][i][sure][:, None] != found["labels"][i][None]] = 0
        partner = overlaps.argmax(axis=1)
        assert (overlaps.max(axis=1, initial=0) > 0.97).all()
        np.testing.assert_allclose(found["scores"][i][partner], wanted["scores"][i][sure], atol=0.01)
    assert seen >= 2, "nothing was compared"


def test_any_batch_size_gives_the_same(shipped: tuple[Path, Path, HalfModel]) -> None:
    _, out, _ = shipped
    frames = photographs(out)
    together = answers(out, frames)
    for i in range(len(frames)):
        alone = answers(out, frames[i : i + 1])
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][i], atol=0.1)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_int8_file_keeps_its_int8_layers_and_the_rest_becomes_fp16(name: str, tmp_path: Path) -> None:
    source = find_model(name)
    int8 = quantise(source, tmp_path / "int8.onnx")
    half = export_half(int8, tmp_path / "both.onnx")
    assert half.manifest.precision == "int8+fp16"
    before, after = load_onnx(int8), load_onnx(tmp_path / "both.onnx")
    assert check_tensorrt(after) == []
    types = element_types(after)
    quantised = [node for node in after.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantised) == sum(node.op_type == "QuantizeLinear" for node in before.graph.node) > 20
    assert {types[node.input[1]] for node in quantised} == {onnx.TensorProto.FLOAT16}
    assert {types[node.output[0]] for node in quantised} == {onnx.TensorProto.INT8}
    assert {types[node.output[0]] for node in after.graph.node if node.op_type == "Conv"} == {
        onnx.TensorProto.FLOAT16
    }
    heads, frames = half.manifest.heads, photographs(source)
    wanted = run_core(load_onnx(source), heads, frames).heads
    alone, both = (
        agreement_db(wanted, run_core(model, heads, frames).heads) for model in (before, with_rounding(after))
    )
    assert alone - both < 1.5, "FP16 costs more than a fraction of what int8 costs"
    parse_with_tensorrt(int8)
    parse_with_tensorrt(tmp_path / "both.onnx")


@pytest.mark.parametrize("path", sorted(folder().glob("*.int8.onnx")), ids=lambda path: path.name)
def test_every_convolution_of_a_shipped_int8_file_stays_int8(path: Path) -> None:
    before = load_onnx(path)
    half, kept = to_half(before, read_manifest(path).heads)
    assert kept == ()
    assert len(int8_convolutions(before.graph)) > 50
    assert int8_convolutions(half.graph) == int8_convolutions(before.graph)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOR_GPUS)
def test_the_architectures_for_gpus_become_half(name: str, tmp_path: Path) -> None:
    """Random weights whose BatchNorm has seen data, so that values are of a natural size."""
    torch.manual_seed(3)
    run = load_run(
        config_folder() / "models" / f"{name}.yaml", ["model.backbone.weights=random", *FOR_GPUS[name]]
    )
    detects = isinstance(run, DetectorTraining)
    net = (RetinaNet if detects else UNet)(run.model, len(run.classes))  # type: ignore[arg-type]
    size = (run.model.input_size,) * 2 if detects else (run.model.input_height, run.model.input_width)  # type: ignore[union-attr]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(4, 3, *size))
    source = tmp_path / "fp32.onnx"
    export_checkpoint(Checkpoint(run, 0, {}, net.eval().state_dict(), {}, {}, None), source)
    half = export_half(source, tmp_path / "fp16.onnx")
    assert half.kept == ()
    assert half.agreement_db > 30
    both = export_half(quantise(source, tmp_path / "int8.onnx"), tmp_path / "both.onnx")
    assert both.kept == ()
    for file in ("fp16.onnx", "both.onnx"):
        assert check_tensorrt(load_onnx(tmp_path / file)) == []
        answers(tmp_path / file, probe_frames(half.manifest))
        parse_with_tensorrt(tmp_path / file)


def test_nvidias_parser_takes_it(shipped: tuple[Path, Path, HalfModel]) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    parse_with_tensorrt(shipped[1])


def parse_with_tensorrt(path: Path) -> None:
    """Asks NVIDIA's own parser, where there is one."""
    try:
        import tensorrt_rtx as trt
    except ImportError:
        return
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(path.read_bytes()), [parser.get_error(i).desc() for i in range(parser.num_errors)]


def test_layers_that_overflow_are_found_on_the_frames_and_stay_in_float(
    small_unet: Path, tmp_path: Path
) -> None:
    """One convolution made 2e5 times louder, and the next one as much quieter: the answers are the same."""
    source = small_unet
    manifest, model = read_manifest(source), load_onnx(source)
    # Of a convolution, a sum and the convolution after it; nothing is cut off between them.
    nodes = list(model.graph.node)
    makers = {node.output[0]: node for node in nodes}
    readers = {node.output[0]: [other for other in nodes if node.output[0] in other.input] for node in nodes}
    loud, quiet = next(
        (node, readers[node.output[0]][0])
        for node in nodes
        if node.op_type == "Conv" and [other.op_type for other in readers[node.output[0]]] == ["Conv"]
    )
    assert makers[quiet.input[0]] is loud
    stored = {constant.name: constant for constant in model.graph.initializer}
    for name, factor in ((loud.input[1], 2e5), (loud.input[2], 2e5), (quiet.input[1], 5e-6)):
        values = onnx.numpy_helper.to_array(stored[name]) * np.float32(factor)
        stored[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    save_model(model, tmp_path / "loud.onnx", manifest)
    half = export_half(tmp_path / "loud.onnx", tmp_path / "half.onnx")
    assert [line.split()[0] for line in half.kept] == [loud.name, quiet.name]
    assert all("too near to FP16's 65504" in line or "beyond FP16's" in line for line in half.kept)
    assert half.peak > 65504
    assert half.agreement_db > 40


def test_a_model_that_half_ruins_is_refused_and_nothing_is_written(small_unet: Path, tmp_path: Path) -> None:
    """30000 is added and taken off again: FP16 has steps of 16 there, and what was said is lost."""
    source = small_unet
    manifest, model = read_manifest(source), load_onnx(source)
    head = next(node for node in model.graph.node if node.output[0] == manifest.heads[0])
    head.output[0] = "small"
    position = list(model.graph.node).index(head) + 1
    nodes = [
        onnx.helper.make_node("Add", ["small", "far"], ["far_away"], name="away"),
        onnx.helper.make_node("Sub", ["far_away", "far"], [manifest.heads[0]], name="back"),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(position, node)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(30000, np.float32), "far"))
    save_model(model, tmp_path / "far.onnx", manifest)
    with pytest.raises(
        ExportError, match=r"agree with the source to -?\d+ dB only; expected 25 or more; keep"
    ):
        export_half(tmp_path / "far.onnx", tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_what_is_no_source_is_refused_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    source = find_model("unet-light")
    manifest = read_manifest(source)
    for precision in ("fp16", "int8+fp16"):
        done = tmp_path / f"{precision}.onnx"
        save_model(load_onnx(source), done, msgspec.structs.replace(manifest, precision=precision))
        with pytest.raises(UsageError, match=rf"is {precision.upper().replace('+', '.')} already"):
            export_half(done, out)
    save_model(load_onnx(source), tmp_path / "lost.onnx", msgspec.structs.replace(manifest, heads=("gone",)))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(bytes([*source.read_bytes()[:-5000], *bytes(5000)]))
    for path, error, text in (
        (tmp_path / "lost.onnx", ExportError, "head tensors that are not in the graph: gone"),
        (write_colour_model(tmp_path / "colours.onnx"), ExportError, "names no head tensors"),
        (damaged, ModelError, "damaged.onnx"),
        (tmp_path / "absent.onnx", ModelError, "not found"),
    ):
        with pytest.raises(error, match=text) as caught:
            export_half(path, out)
        assert "\n" not in str(caught.value)
    assert not out.exists()


def edgevision(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_the_command_converts_a_model_and_says_what_changed(
    small_unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "half.onnx"
    assert edgevision("export", small_unet, "--precision", "fp16", "--out", out) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"{out}: unet-light, FP16, 11 classes, input 160x128, miou" in said.out
    assert "FP16 ends at 65504" in said.out
    assert read_manifest(out).precision == "fp16"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["unet-light", "--precision", "fp61"], "unknown precision 'fp61'; did you mean 'fp16'"),
        (["unet-light", "--precision", "int8"], "int8 is made by 'edgevision calibrate'"),
        (["unet-light"], "unet-light is a model file already, so there is nothing to do"),
        (["unet-lite", "--precision", "fp16"], "unknown model 'unet-lite'; did you mean 'unet-light' or"),
        (["nothing.pt", "--precision", "fp16"], "checkpoint not found: nothing.pt"),
    ],
)
def test_the_command_refuses_in_one_line(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgevision("export", *arguments, "--out", tmp_path / "x.onnx") != 0
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_source_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_colour_model(tmp_path / "colours.onnx")
    before = path.read_bytes()
    assert edgevision("export", path, "--precision", "fp16", "--out", path, "--overwrite") == 2
    assert "would overwrite the file that is exported" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_agreement_is_the_ratio_of_powers_and_that_of_the_worst_tensor() -> None:
    ones = np.ones(100, np.float32)
    wanted = {"a": ones, "b": ones}
    assert agreement_db(wanted, wanted) == np.inf
    assert agreement_db(wanted, {"a": ones * 1.1, "b": ones}) == pytest.approx(20, abs=0.01)
    assert agreement_db(wanted, {"a": ones * 1.1, "b": ones * 1.001}) == pytest.approx(20, abs=0.01)
    with pytest.raises(EdgeVisionError, match="head b is not finite"):
        agreement_db(wanted, {"a": ones, "b": ones * np.nan})


def test_rounding_is_written_into_the_graph() -> None:
    """0.1 + 2048 is 2048 in FP16, whose steps are 2 there; taken back, nothing is left of 0.1."""
    nodes = [
        onnx.helper.make_node("Cast", ["frames"], ["x"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Add", ["x", "far"], ["far_away"]),
        onnx.helper.make_node("Sub", ["far_away", "far"], ["back"]),
        onnx.helper.make_node("Cast", ["back"], ["head"], to=onnx.TensorProto.FLOAT),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "rounding",
        [onnx.helper.make_tensor_value_info("frames", onnx.TensorProto.FLOAT, [1])],
        [],
        [onnx.numpy_helper.from_array(np.array(2048, np.float16), "far")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)
    frames = np.array([0.1], np.float32)
    found = run_core(with_rounding(model), ["head"], frames).heads["head"]  # type: ignore[arg-type]
    assert found.tolist() == [0.0]


def test_probe_frames_are_seeded_and_fill_whole_batches() -> None:
    manifest = read_manifest(find_model("unet-light"))
    frames = probe_frames(manifest)
    assert frames.shape == (4, 384, 480, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, probe_frames(manifest))
    assert probe_frames(manifest, 3).shape[0] == 6
