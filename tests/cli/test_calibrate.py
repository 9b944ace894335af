"""``edgevision calibrate`` on small real models and images: what it writes, and what it chooses.

Also tests ``edgevision.calibration.job``, ``edgevision.calibration.markdown``,
``edgevision.calibration.report``, ``edgevision.calibration.quantiser``.
"""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgevision.calibration.qdq import check_qdq
from edgevision.calibration.simulate import SimulatedEngine
from edgevision.contract.model_file import content_sha256, read_manifest, write_manifest
from edgevision.engines import load_engine
from edgevision.model import Model
from tests.support.calibration import (
    SIZE,
    calibration_place,
    gate_options,
    images,
    report_of,
    run_calibrate,
    save_images,
    write_segmenter,
    written,
)
from tests.support.video import write_clip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return calibration_place(tmp_path)


ALL = ["bright.int8.frames.json", "bright.int8.json", "bright.int8.md", "bright.int8.onnx"]


def test_the_int8_model_keeps_the_contract_and_says_what_it_is(place: Path) -> None:
    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.05") == 0
    assert written(place) == ALL
    path = place / "bright.int8.onnx"
    manifest, source = read_manifest(path), read_manifest(place / "bright.onnx")
    assert manifest.precision == "int8"
    assert manifest.sha256 == content_sha256(path)
    assert (manifest.classes, manifest.heads, manifest.input_width) == (source.classes, ("logits",), SIZE)
    facts = manifest.calibration
    assert facts is not None
    assert (facts.frames, facts.method, facts.float_sha256) == (12, "minmax", source.sha256)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    check_qdq(model, "result")
    assert [(one.name, one.type) for one in model.graph.input] == [
        (one.name, one.type) for one in onnx.load(place / "bright.onnx").graph.input
    ]
    with load_engine(path, "onnxruntime") as engine, load_engine(place / "bright.onnx") as float_engine:
        image = images(1, seed=5, size=64)[0]
        (told,), (wanted,) = (Model(one)([image]) for one in (engine, float_engine))
        assert (told.class_map == wanted.class_map).mean() > 0.95


def test_ranges_of_the_training_are_taken_as_they_are(place: Path) -> None:
    path = place / "bright.onnx"
    reads = {node.input[0] for node in onnx.load(path).graph.node if node.op_type == "Conv"}
    ranges = {name: 3.0 + i for i, name in enumerate(sorted(reads))}
    write_manifest(path, msgspec.structs.replace(read_manifest(path), ranges=ranges))
    assert run_calibrate(place) == 0
    report = report_of(place)
    assert (report.method, report.asked_method) == ("trained", "auto")
    assert (report.equalisation, report.rounding) == (None, None)
    model = onnx.load(place / "bright.int8.onnx")
    scales = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert len(quantised) == 4  # all but what the head reads
    for name in quantised:
        assert scales[f"{name}/scale"] == pytest.approx(ranges[name] / 127)
    assert read_manifest(place / "bright.int8.onnx").ranges == {}


def test_ranges_of_a_training_that_are_not_there_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_calibrate(place, "--method", "trained") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "--method trained needs ranges" in message
    assert "it holds none; train on with quantise.images above 0" in message
    assert not (place / "bright.int8.onnx").exists()


def test_weights_may_have_one_scale_each(place: Path) -> None:
    assert run_calibrate(place, "--weight-scale", "tensor") == 0
    model = onnx.load(place / "bright.int8.onnx")
    check_qdq(model, "result")
    scales = [one for one in model.graph.initializer if one.name.endswith(".weight/scale")]
    assert scales
    assert all(not one.dims for one in scales)
    report = report_of(place)
    assert report.weight_scale == "tensor"
    left = {layer.name: layer.why for layer in report.float_layers}
    assert left == {
        "deep": "in groups: with one scale a weight it would lose much",
        "logits": "feeds a head: its answers are final",
    }
    assert "a scale for each tensor of weights" in (place / "bright.int8.md").read_text()
    with load_engine(place / "bright.int8.onnx", "onnxruntime") as engine:
        (found,) = Model(engine)([images(1, seed=5, size=64)[0]])
        assert found.class_map.shape == (64, 64)


def test_the_report_holds_what_was_measured(place: Path) -> None:
    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.05") == 0
    report = report_of(place)
    # stem 27 * 8, wide and mix 64 each, deep 72; logits, 16, feeds the head.
    assert report.int8_share == pytest.approx((216 + 64 + 72 + 64) / (216 + 64 + 72 + 64 + 16))
    assert [layer.name for layer in report.float_layers] == ["logits"]
    assert "feeds a head" in report.float_layers[0].why
    assert report.gate is not None
    found = report.gate
    assert (found.figure, found.images, found.max_drop) == ("miou", 6, 0.05)
    assert found.difference.value == pytest.approx(found.int8_value - found.float_value)
    assert found.difference.low <= found.difference.value <= found.difference.high
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.figures == {"miou": pytest.approx(found.int8_value, abs=1e-4)}
    assert {one.name for one in report.ranges} == {
        "pre/whole0/Mul_3",
        "core/LeakyRelu_1",
        "core/Relu_3",
        "deep",
    }
    for one in report.ranges:  # minmax cuts nothing; whole pixels are int8's own steps of 1/64
        reach = 127 / 64 if one.name.startswith("pre/") else max(abs(one.low), abs(one.high))
        assert one.limit == pytest.approx(reach)
        assert one.scale == pytest.approx(one.limit / 127)
    assert "ONNX Runtime" in " ".join(speed.engine for speed in report.speed)
    assert all(speed.float_ms > 0 < speed.int8_ms for speed in report.speed)
    assert report.int8_bytes == (place / "bright.int8.onnx").stat().st_size
    listed = json.loads((place / "bright.int8.frames.json").read_text())
    assert (len(listed["frames"]), listed["hash"]) == (report.frames, report.frames_sha256)
    text = (place / "bright.int8.md").read_text()
    for part in ("95 % interval", "## Layers in float", "## Speed", "`logits`", "edgevision calibrate"):
        assert part in text


def test_the_reported_figure_is_the_one_that_the_file_has(place: Path) -> None:
    """Measured again from the written file, through the project's own evaluation."""
    from edgevision.data.segmentation.dataset import load_segmentation
    from edgevision.evaluation.yardstick import SegmentationYardstick

    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.05") == 0
    yardstick = SegmentationYardstick(load_segmentation(place / "set", "val"), "set")
    path = place / "bright.int8.onnx"
    again = yardstick.measure(SimulatedEngine(onnx.load(path), read_manifest(path)))
    found = report_of(place).gate
    assert found is not None
    assert again.value == found.int8_value


def test_the_gate_puts_back_the_layer_that_int8_cannot_hold(place: Path) -> None:
    """One channel of ``wide`` is a thousand times the others; ``deep`` reads it."""
    write_segmenter(place / "bright.onnx", wild=True)
    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.02", "--min-share", "0.7") == 0
    report = report_of(place)
    assert report.gate is not None
    assert report.gate.trials[0].float_layers == 0
    assert report.gate.trials[0].drop > 0.02
    assert -report.gate.difference.value <= 0.02
    back = [layer for layer in report.float_layers if "accuracy gate" in layer.why]
    assert [layer.name for layer in back] == ["deep"]
    assert back[0].sqnr_db is not None
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.calibration is not None
    assert manifest.calibration.float_layers == ("deep",)
    names = {constant.name for constant in onnx.load(place / "bright.int8.onnx").graph.initializer}
    assert "deep.weight" in names
    assert "mix.weight/int8" in names


def test_a_budget_that_cannot_be_met_writes_nothing_and_says_why(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segmenter(place / "bright.onnx", wild=True)
    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.02", "--min-share", "0.95") == 1
    *trials, said = capsys.readouterr().err.strip().splitlines()
    names = [line.split(":")[0] for line in trials]
    assert names[0] == "float"
    assert sorted(names[1:]) == ["int8 by entropy", "int8 by minmax", "int8 by peak", "int8 by percentile"]
    assert all("over the budget of 0.02" in line for line in trials[1:])
    for part in (
        "error: no int8 model within the budget",
        "miou fell by",
        "--max-drop is 0.02",
        "minmax 0.",
        "nothing is written",
    ):
        assert part in said
    assert written(place) == []


def test_auto_takes_the_ranges_that_change_the_answers_least(place: Path) -> None:
    """Of frames without extremes minmax is one of the best, and is taken, for it cuts nothing."""
    assert run_calibrate(place, *gate_options(place), "--max-drop", "0.05") == 0
    report = report_of(place)
    assert (report.asked_method, report.method) == ("auto", "minmax")
    assert [one.method for one in report.methods] == ["minmax", "peak", "percentile", "entropy"]
    best = max(one.sqnr_db or 0 for one in report.methods)
    assert report.methods[0].sqnr_db == pytest.approx(best, abs=1.1)
    assert report.gate is not None
    assert report.gate.trials[report.gate.chosen].method == "minmax"
    assert report.methods[0].drop == report.gate.trials[0].drop
    assert report.methods[1].drop is None, "nothing else was evaluated"
    text = (place / "bright.int8.md").read_text()
    assert "minmax, chosen by `auto`" in text
    assert "| not evaluated |" in text


def spotted(place: Path) -> list[str]:
    """Four of the frames have a white spot, at which one channel reaches twenty times what all others do."""
    frames = images(12, seed=1, size=64)
    frames[:4, 30:32, 30:32] = 255
    save_images(place / "spotted", frames)
    return ["--from", str(place / "spotted"), *gate_options(place)]


def test_auto_cuts_a_rare_extreme_that_would_idle_most_of_int8(place: Path) -> None:
    """Here the extreme is small again at the heads, so their noise tells."""
    write_segmenter(place / "bright.onnx", spiked=0.01)
    reports = {}
    for method in ("auto", "minmax"):
        options = [*spotted(place), "--max-drop", "0.9", "--method", method, "--overwrite"]
        assert run_calibrate(place, *options) == 0
        reports[method] = report_of(place)
    assert reports["auto"].method in ("percentile", "entropy")
    gates = [reports[method].gate for method in ("auto", "minmax")]
    assert gates[0] is not None
    assert gates[1] is not None
    assert len(gates[0].trials) == 1
    assert gates[0].int8_value > gates[1].int8_value
    assert reports["minmax"].percentile is None
    assert [one.method for one in reports["minmax"].methods] == ["minmax"]


def test_the_gate_tries_other_ranges_before_it_puts_layers_back(place: Path) -> None:
    """Here the extreme is great at the heads, so cutting it looks like noise, though no answer needs it."""
    write_segmenter(place / "bright.onnx", spiked=1)
    assert run_calibrate(place, *spotted(place), "--max-drop", "0.05") == 0
    report = report_of(place)
    assert report.gate is not None
    tried = [trial.method for trial in report.gate.trials]
    assert tried[0] == "minmax"
    assert report.method == tried[-1] != "minmax"
    assert all(trial.float_layers == 0 for trial in report.gate.trials)
    assert report.gate.chosen == len(tried) - 1
    assert report.gate.int8_value == report.gate.trials[-1].value
    assert not [layer for layer in report.float_layers if "accuracy gate" in layer.why]
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.calibration is not None
    assert manifest.calibration.method == report.method


def test_without_labels_auto_goes_by_the_noise_at_the_heads(place: Path) -> None:
    assert run_calibrate(place) == 0
    report = report_of(place)
    assert (report.gate, report.method) == (None, "minmax")
    assert all(one.sqnr_db is not None and one.drop is None for one in report.methods)
    assert "accuracy was not measured" in (place / "bright.int8.md").read_text()


@pytest.mark.parametrize("method", ["auto", "minmax", "peak", "percentile", "entropy"])
def test_equal_inputs_give_an_equal_file_with_and_without_the_cache(place: Path, method: str) -> None:
    files = []
    for options in ([], [], ["--no-cache"]):
        assert run_calibrate(place, "--method", method, "--overwrite", *options) == 0
        files.append((place / "bright.int8.onnx").read_bytes())
    assert files[0] == files[1] == files[2]


def test_changed_weights_never_meet_what_was_kept(place: Path) -> None:
    assert run_calibrate(place) == 0
    first = {one.name: one.limit for one in report_of(place).ranges}
    write_segmenter(place / "bright.onnx", seed=1)
    assert run_calibrate(place, "--overwrite") == 0
    cached = (place / "bright.int8.onnx").read_bytes()
    second = {one.name: one.limit for one in report_of(place).ranges}
    assert first["pre/whole0/Mul_3"] == second["pre/whole0/Mul_3"]
    assert first["deep"] != second["deep"]
    assert run_calibrate(place, "--overwrite", "--no-cache") == 0
    assert (place / "bright.int8.onnx").read_bytes() == cached


def test_methods_give_ranges_of_their_own(place: Path) -> None:
    limits = []
    for options in (["minmax"], ["percentile", "--percentile", "90"]):
        assert run_calibrate(place, "--overwrite", "--method", *options) == 0
        limits.append({one.name: one.limit for one in report_of(place).ranges})
    assert all(limits[1][name] <= limit for name, limit in limits[0].items())
    assert limits[1]["deep"] < limits[0]["deep"]


def test_frames_of_another_kind_are_warned_of(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    grey = 126 + rng.integers(0, 5, (8, 1, 1, 1)) + np.kron(
        rng.integers(-3, 4, (8, 4, 4, 1)), np.ones((1, 16, 16, 3), int)
    )  # fmt: skip
    save_images(place / "grey", grey.astype(np.uint8))
    options = ["--from", str(place / "grey"), *gate_options(place), "--max-drop", "0.9"]
    assert run_calibrate(place, *options) == 0
    said = capsys.readouterr().err
    assert "calibration frames are flat" in said
    assert "unlike" in said
    assert "times as far" in said
    assert any("unlike" in line for line in report_of(place).warnings)
    assert "frames are few" in said


def test_a_report_shows_no_password(place: Path) -> None:
    content = write_clip(place / "clip.mkv", range(0, 1600, 40), size=(64, 64)).read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = f"http://127.0.0.1:{server.server_port}/clip.mkv"
        address = shown.replace("://", "://annette:s3cr3t' pw@") + "?token=t0k3n"
        assert run_calibrate(place, "--from", address, "--frames", "8") == 0
        server.shutdown()
    for name in written(place):
        content = (place / name).read_bytes()
        for secret in (b"annette", b"s3cr3t", b"t0k3n"):
            assert secret not in content, name
    assert report_of(place).sources == (f"{shown}?...",)
    assert f"{shown}?..." in report_of(place).command


def test_without_labels_the_answers_are_held_to_the_float_models(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_images(place / "many", images(40, seed=4, size=64))
    options = ["--from", str(place / "many"), "--max-drop", "0.05"]
    assert run_calibrate(place, *options) == 0
    assert written(place) == ALL
    gate = report_of(place).gate
    assert gate is not None
    assert (gate.is_labelled, gate.figure, gate.images, gate.float_value) == (False, "miou_of_float", 10, 1.0)
    assert 0.9 < gate.int8_value < 1.0
    assert gate.difference.value == pytest.approx(gate.int8_value - 1)
    listed = json.loads((place / "bright.int8.frames.json").read_text())
    assert (len(listed["frames"]), len(listed["held_out"])) == (30, 10)
    seen = {(one["source"], one["index"]) for one in listed["frames"]}
    assert not seen & {(one["source"], one["index"]) for one in listed["held_out"]}
    manifest = read_manifest(place / "bright.int8.onnx")
    assert manifest.figures == {}, "how it agrees with another model is not its accuracy"
    assert manifest.calibration is not None
    assert manifest.calibration.frames == 30
    text = (place / "bright.int8.md").read_text()
    assert "Nothing is labelled: the float model's own answers stand in for labels." in text
    out, err = capsys.readouterr()
    assert "measured against the float model, not on labels" in " ".join(out.split())
    assert "float: miou_of_float 1.0000" in err


def test_classes_of_a_segmenter_are_refused_before_a_frame_is_looked_for(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--from", str(place / "nowhere"), "--max-drop", "0.05", "--classes", "bright"]
    assert run_calibrate(place, *options) == 2
    assert "--classes without labels is for models that find objects" in capsys.readouterr().err


def test_a_model_that_int8_cannot_hold_is_refused_without_labels_too(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segmenter(place / "bright.onnx", wild=True)
    save_images(place / "many", images(40, seed=4, size=64))
    options = ["--from", str(place / "many"), "--max-drop", "0.02"]
    assert run_calibrate(place, *options, "--min-share", "0.95") == 1
    assert "no int8 model within the budget: miou_of_float fell by" in capsys.readouterr().err
    assert written(place) == []
    assert run_calibrate(place, *options, "--min-share", "0.5") == 0
    gate = report_of(place).gate
    assert gate is not None
    assert gate.trials[gate.chosen].float_layers > 0
