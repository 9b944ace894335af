"""Networks of each task through torch, ONNX Runtime and OpenVINO: one answer, on real photographs.

Also tests ``edgevision.cli.parity``.
"""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.qdq import insert_qdq
from edgevision.cli import main
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.model_file import read_manifest, write_manifest
from edgevision.engines import load_engine
from edgevision.engines.choose import has_int8_sums
from edgevision.engines.onnxrt import OnnxRuntimeEngine
from edgevision.errors import ExportError
from edgevision.export.parity import parity as parity_report
from edgevision.export.parity.compare import Comparing, tolerances_for
from edgevision.export.parity.parity import Parity, engines_here
from edgevision.export.parity.runs import EngineRun, mark_outputs, normalised_input
from edgevision.export.parity.torch_run import TorchRun
from edgevision.export.to_half import export_half
from edgevision.export.to_onnx import export_checkpoint
from edgevision.models.backbone import normalise
from edgevision.models.retinanet import RetinaNet
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.zoo import default_model, folder
from tests.support.paths import SHARED
from tests.support.segmentation import small_run as small_segmenter
from tests.support.segmentation import write_set
from tests.support.training import small_run as small_detector

SHARED_PHOTOS = SHARED / "data" / "photos"


def photographs() -> list[np.ndarray]:
    """Real photographs: those of the shared data, else those that come with scikit-image."""
    files = sorted(SHARED_PHOTOS.glob("*.jpg"))[:4]
    if files:
        return [cv2.imread(str(file)) for file in files]
    data = pytest.importorskip("skimage.data", reason="no shared photographs, and no scikit-image")
    return [np.ascontiguousarray(p[:, :, ::-1]) for p in (data.astronaut(), data.chelsea(), data.rocket())]


def batches(manifest) -> list[np.ndarray]:
    size = (manifest.input_width, manifest.input_height)
    return [
        Letterbox.fit(p.shape[1], p.shape[0], *size, manifest.resize).image(p)[None] for p in photographs()
    ]


def settle(net: nn.Module, frames: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """BatchNorm statistics from real images, so that activations are of a natural size."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.inference_mode():
        net.train()(normalise(torch.from_numpy(np.concatenate(frames))))
    return {name: value.clone() for name, value in net.eval().state_dict().items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """For each task an exported file and its checkpoint; weights are random, and find plenty."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("parity")
    (folder / "d").mkdir()
    detector = small_detector(folder / "d", "model.input_size=128", "decode.max_detections=20")
    segmenter = small_segmenter(write_set(folder / "s"))
    made = {}
    for config, net in (
        (detector, RetinaNet(detector.model, len(detector.classes))),
        (segmenter, UNet(segmenter.model, len(segmenter.classes))),
    ):
        if isinstance(net, RetinaNet):
            with torch.no_grad():
                net.class_tower.predict.bias.fill_(-2.0)
                net.class_tower.predict.weight.mul_(10)
            size = (128, 128)
        else:
            size = (config.model.input_width, config.model.input_height)
        frames = [cv2.resize(photo, size)[None] for photo in photographs()]
        state = settle(net, frames)
        checkpoint = Checkpoint(config, 0, state, state, {}, {}, None)
        name = type(net).__name__
        save_checkpoint(folder / f"{name}.pt", checkpoint)
        export_checkpoint(checkpoint, folder / f"{name}.onnx")
        made[name] = (folder / f"{name}.onnx", folder / f"{name}.pt")
    return made


def write_int8(path: Path, out: Path) -> Path:
    """The INT8 form of a model, its ranges from the photographs."""
    model = load_float_model(path)
    tensors = {layer.data for layer in model.candidates}
    marked = onnx.ModelProto()
    marked.CopyFrom(model.graph)
    mark_outputs(marked, sorted(tensors), str(path))
    session = onnxruntime.InferenceSession(marked.SerializeToString())
    peaks = dict.fromkeys(tensors, 0.0)
    for frames in batches(model.manifest):
        for name, array in zip(peaks, session.run(list(peaks), {"frames": frames}), strict=True):
            peaks[name] = max(peaks[name], float(np.abs(array).max()))
    onnx.save(insert_qdq(model.graph, model.candidates, peaks), out)
    write_manifest(out, msgspec.structs.replace(model.manifest, precision="int8"))
    return out


@pytest.mark.parametrize("network", ["RetinaNet", "UNet"])
def test_torch_and_every_engine_give_one_answer(trained, network):
    path, checkpoint = trained[network]
    reference = TorchRun(load_checkpoint(checkpoint), read_manifest(path).heads)
    with Parity([path], reference) as parity:
        report = parity.compare(batches(parity.manifest))
    assert report.missing == ()
    assert report.agrees, [str(one.first_divergent) for one in report.comparisons]
    runs = " | ".join(one.run for one in report.comparisons)
    assert len(report.comparisons) == 1 + len(list(engines_here()))
    assert "unoptimised" in runs
    if importlib.util.find_spec("openvino"):
        assert "OpenVINO" in runs
    for one in report.comparisons:
        assert {difference.stage for difference in one.differences} == {"preprocessing", "heads", "answers"}
    if network == "RetinaNet":
        with load_engine(path) as engine:
            found = [engine.infer({"frames": batch})["count"][0] for batch in batches(engine.manifest)]
        assert min(found) > 0, "a network that finds nothing agrees with everything"


@pytest.mark.parametrize("network", ["RetinaNet", "UNet"])
def test_int8_in_openvino_is_int8_and_as_near_to_fp32_as_the_graph_as_written(trained, network, tmp_path):
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    from edgevision.engines.ov import OpenVinoEngine

    if not has_int8_sums():
        pytest.skip("this processor has no VNNI: INT8 sums saturate in OpenVINO, see edgevision parity")
    path = write_int8(trained[network][0], tmp_path / "m.int8.onnx")
    float_path = trained[network][0]
    as_written = partial(OnnxRuntimeEngine, optimise=False)
    errors = [Comparing(tolerances_for("int8", same_file=False)) for _ in range(2)]
    with (
        EngineRun(float_path, as_written) as reference,
        EngineRun(path, as_written) as simulated,
        EngineRun(path, OpenVinoEngine) as found,
    ):
        for batch in batches(reference.manifest):
            expected = reference.stages(batch)
            for comparing, run in zip(errors, (simulated, found), strict=True):
                comparing.add(expected, run.stages(batch))
    simulated_error, found_error = (comparing.result("", "").differences[1].size for comparing in errors)
    # Sums that lie between two steps fall to either side, so the two differ; but neither is worse.
    assert 0 < found_error <= 1.25 * simulated_error
    with OpenVinoEngine(path) as engine:
        operations = engine._idle.get().get_compiled_model().get_runtime_model().get_ops()
    infos = [operation.get_rt_info() for operation in operations]
    kinds = [
        info["runtimePrecision"].astype(str)
        for info in infos
        if info["layerType"].astype(str) == "Convolution"
    ]
    assert sum(kind in ("u8", "i8") for kind in kinds) >= 0.5 * len(kinds), kinds


@pytest.mark.parametrize(("task", "images"), [("detection", 4), ("segmentation", 2)])
def test_the_fp16_file_of_what_ships_agrees_with_it(task, images, tmp_path):
    path = default_model(task).path
    half = tmp_path / "half.onnx"
    export_half(path, half)
    with Parity([path, half]) as parity:
        report = parity.compare(batches(parity.manifest)[:images])
    assert report.agrees, [str(one.first_divergent) for one in report.comparisons]
    error = next(
        difference.size
        for one in report.comparisons
        for difference in one.differences
        if one.run.startswith("half.onnx") and difference.stage == "heads"
    )
    assert error > 1e-4, "as near as FP32: the file is no FP16"


def test_onnx_runtime_computes_in_float_between_the_int8_steps(tmp_path):
    """Its integer kernels moved the heads by half of what INT8 costs, and saturate without VNNI."""
    float_path = default_model("detection").path
    path = write_int8(float_path, tmp_path / "m.int8.onnx")
    as_written = partial(OnnxRuntimeEngine, optimise=False)
    cost, engine_error = (Comparing(tolerances_for("int8", same_file=same)) for same in (False, True))
    with (
        EngineRun(float_path, as_written) as float_run,
        EngineRun(path, as_written) as written,
        EngineRun(path, OnnxRuntimeEngine) as found,
    ):
        assert "unoptimised" not in found.name
        for batch in batches(written.manifest):
            expected = written.stages(batch)
            cost.add(expected, float_run.stages(batch))
            engine_error.add(expected, found.stages(batch))
    heads = [comparing.result("", "").differences[1] for comparing in (cost, engine_error)]
    assert heads[0].measure == "heads"
    assert heads[1].size <= 0.25 * heads[0].size


def edit(path: Path, out: Path, change) -> Path:
    """A copy of a model whose graph ``change`` has changed."""
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, out)
    write_manifest(out, read_manifest(path))
    return out


def wrong_mean(graph: onnx.GraphProto) -> None:
    name = next(n.input[1] for n in graph.node if n.name.startswith("pre/") and n.op_type == "Sub")
    (constant,) = (c for c in graph.initializer if c.name == name)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + np.float32(5), name))


def no_colour_swap(graph: onnx.GraphProto) -> None:
    name = next(n.input[1] for n in graph.node if n.name.startswith("pre/") and n.op_type == "Gather")
    (constant,) = (c for c in graph.initializer if c.name == name)
    constant.CopyFrom(numpy_helper.from_array(np.array([0, 1, 2]), name))


def changed_head(graph: onnx.GraphProto) -> None:
    """The weights of the last layer of the box tower, which every level shares."""
    node = next(n for n in graph.node if n.output[0] == "deltas_p4")
    (constant,) = (c for c in graph.initializer if c.name == node.input[1])
    values = numpy_helper.to_array(constant) * np.float32(1.05)
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def steeper_scores(graph: onnx.GraphProto) -> None:
    """The decoder alone: sigmoid sees logits that are a fifth greater."""
    node = next(n for n in graph.node if n.name.startswith("post/") and n.op_type == "Sigmoid")
    graph.initializer.append(numpy_helper.from_array(np.array(1.2, np.float32), "factor"))
    scale = onnx.helper.make_node("Mul", [node.input[0], "factor"], ["scaled"], name="post/scale")
    graph.node.insert(list(graph.node).index(node), scale)
    node.input[0] = "scaled"


EDITS = {
    "wrong_mean": (wrong_mean, "preprocessing", ("",)),
    "no_colour_swap": (no_colour_swap, "preprocessing", ("",)),
    "changed_head": (changed_head, "heads", tuple(f"deltas_p{level}" for level in range(3, 8))),
    "steeper_scores": (steeper_scores, "answers", ("",)),
}


def test_an_edited_file_parts_at_the_stage_that_was_edited(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parity_report, "engines_here", lambda: ["onnxruntime"])
    path = trained["RetinaNet"][0]
    others = [edit(path, tmp_path / f"{name}.onnx", change) for name, (change, *_) in EDITS.items()]
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), photographs()[0])
    with pytest.raises(SystemExit) as ended:
        main(["parity", *map(str, (path, *others)), "--source", str(photo), "--json"])
    shown = capsys.readouterr()
    assert ended.value.code == 1, shown.err
    report = json.loads(shown.out)
    assert report["agrees"] is False
    wrong = {Path(one["run"].split()[0]).stem: one for one in report["comparisons"] if not one["agrees"]}
    assert list(wrong) == list(EDITS), "the engine agrees with each file as it is written"
    assert len(report["comparisons"]) == 1 + 2 * len(EDITS)
    for name, (_, stage, tensors) in EDITS.items():
        first = next(one for one in wrong[name]["differences"] if one["size"] > one["limit"])
        assert (first["stage"], first["tensor"] in tensors) == (stage, True), name
        assert wrong[name]["first_divergent"].startswith(stage)


def test_the_command_compares_with_the_checkpoint_and_leaves_no_file(trained, tmp_path, capsys):
    path, checkpoint = trained["UNet"]
    before = {one: one.stat().st_mtime_ns for one in path.parent.iterdir()}
    arguments = ["parity", str(path), "--checkpoint", str(checkpoint), "--source", "demo", "--frames", "2"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out = capsys.readouterr().out
    assert not ended.value.code
    assert "against checkpoint in PyTorch" in out
    assert out.splitlines()[-1].startswith("2 frames: all ")
    assert {one: one.stat().st_mtime_ns for one in path.parent.iterdir()} == before


def test_what_cannot_be_compared_is_one_line(trained, tmp_path, capsys):
    detector, segmenter = trained["RetinaNet"], trained["UNet"]
    for arguments, message in (
        ([str(detector[0]), str(segmenter[0])], "its task is segmentation, that of the reference detection"),
        ([str(detector[0]), "--checkpoint", str(segmenter[1])], "its task is detection"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["parity", *arguments, "--source", "demo"])
        error = capsys.readouterr().err
        assert ended.value.code == 2
        assert message in error
        assert error.count("\n") == 1


def test_a_graph_without_its_stages_is_refused(trained):
    model = onnx.load(trained["UNet"][0])
    with pytest.raises(ExportError, match="the graph has no tensor nowhere"):
        mark_outputs(model, ["nowhere"], "m.onnx")
    assert normalised_input(model.graph, "m.onnx") == "images"
    for node in model.graph.node:
        node.name = ""
    with pytest.raises(ExportError, match=r"expected one tensor between .* found none"):
        normalised_input(model.graph, "m.onnx")


def test_a_shipped_int8_file_reads_whole_pixels_and_is_compared_from_the_heads_on():
    models = [folder() / f"retinanet-light{suffix}.onnx" for suffix in ("", ".int8")]
    with Parity(models) as parity:
        report = parity.compare(batches(parity.manifest)[:2])
    assert report.agrees, [str(one.first_divergent) for one in report.comparisons]
    for one in report.comparisons:
        stages = {difference.stage for difference in one.differences}
        of_float = ".int8" not in one.run
        assert stages == {"heads", "answers"} | ({"preprocessing"} if of_float else set())


def test_the_normalised_input_is_found_beside_whole_pixels():
    """Of one stem, of two, and of two of which one, in groups, reads what is normalised."""
    nodes = [
        helper.make_node("Sub", ["pixels", "mean"], ["images"], name="pre/Sub_0"),
        helper.make_node("Sub", ["pixels", "middle"], ["pre/whole0/Sub_0"], name="pre/whole0/Sub_0"),
        helper.make_node("Sub", ["pixels", "middle"], ["pre/whole1/Sub_0"], name="pre/whole1/Sub_0"),
        helper.make_node("QuantizeLinear", ["pre/whole0/Sub_0", "s"], ["q"], name="pre/whole0/Sub_0/q"),
        helper.make_node("QuantizeLinear", ["pre/whole1/Sub_0", "s"], ["r"], name="pre/whole1/Sub_0/q"),
        helper.make_node("Conv", ["images", "w"], ["c"], name="Conv"),
    ]
    for chosen, expected in (([1, 3], None), ([1, 2, 3, 4], None), ([0, 1, 3, 5], "images")):
        graph = helper.make_graph([nodes[i] for i in chosen], "stems", [], [])
        assert normalised_input(graph, "m.onnx") == expected
