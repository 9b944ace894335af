"""The benchmark of the engines: its sums by hand, and its command on a model that ships."""

import json
import sys
import threading

import msgspec
import numpy as np
import pytest

from edgevision.contract.model_file import read_manifest
from edgevision.engines.fake import FakeEngine, bright_objects
from edgevision.zoo import default_model, find_model, shipped_model
from tests.support.benchmarks import load_benchmark
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def engines():
    return load_benchmark("engines")


def timings(engines, *times_ms):
    return [engines.Timing(wall, 2 * wall) for wall in times_ms]


def test_times_and_gains_are_summarised_round_by_round(engines):
    found = engines.summary(timings(engines, 1.0, 2.0, 10.0), timings(engines, 2.0, 8.0, 10.0))
    # Gains 2, 4 and 1: their median is not the ratio of the medians, which is 4.
    assert found == {"median_ms": 2.0, "p95_ms": 10.0, "cpu_ms": 4.0, "speedup": 2.0}


def test_engines_alternate_in_an_order_that_reverses(engines):
    order = []

    class Noted(FakeEngine):
        def infer(self, inputs):
            order.append((self.manifest.name, int(inputs["frames"][0, 0, 0, 0])))
            return super().infer(inputs)

    manifest = FakeEngine().manifest
    kinds = {}
    for name in ("a", "b"):
        kinds["fp32", name] = Noted(manifest=msgspec.structs.replace(manifest, name=name))
    frames = [np.full((1, 320, 320, 3), value, np.uint8) for value in (7, 9)]
    times = engines.alternate(kinds, frames, 3)
    assert order[-6:] == [("a", 7), ("b", 7), ("b", 9), ("a", 9), ("a", 7), ("b", 7)]
    assert {kind: len(values) for kind, values in times.items()} == {("fp32", "a"): 3, ("fp32", "b"): 3}


def test_frames_a_second_are_of_all_requests_together(engines):
    together = threading.Barrier(3)

    def answer(image):
        together.wait(timeout=10)  # unless three run at a time this breaks
        return bright_objects(image)

    kinds = {("fp32", "a"): FakeEngine(answer, latency_ms=20, requests=3)}
    rates = engines.throughput(kinds, [np.zeros((1, 320, 320, 3), np.uint8)], 2)
    assert 0 < rates["fp32", "a"] <= 3 / 0.020


def test_an_engine_that_is_missing_is_named(engines):
    found = engines.open_or_reason(default_model().path, "onnxruntime-cuda", 1, 1)
    assert "onnxruntime-gpu" in found


def test_the_command_measures_every_precision(engines, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engines, "engines_here", lambda: ["onnxruntime"])
    out = tmp_path / "engines.json"
    arguments = ["--models", "retinanet-light", "--rounds", "2", "--images", "0", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["engines.py", *arguments])
    assert engines.main() == 0
    result = json.loads(out.read_text())
    (model,) = result["models"]
    assert model["int8"] == "shipped"
    assert [row["precision"] for row in model["engines"]] == ["fp32", "fp16", "int8"]
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in model["engines"])
    assert model["engines"][0]["speedup"] == 1
    assert all(row["recordings_fps"] > 0 for row in model["engines"])
    assert [row["accuracy"] for row in model["engines"]] == [None] * 3
    assert capsys.readouterr().out == engines.markdown(result)


def test_accuracy_is_that_of_the_first_labelled_images(engines):
    if not engines.SHARED.is_dir():
        pytest.skip("../shared/data is not here: there are no labelled images")
    yardstick = engines.find_yardstick(read_manifest(default_model("detection").path), 5)
    assert (yardstick.figure, yardstick.images) == ("ap50_mean", 5)
    for name, classes in (("unet-light", 11), ("unet-road", 2)):
        yardstick = engines.find_yardstick(read_manifest(find_model(name)), 4)
        assert (yardstick.figure, yardstick.images, len(yardstick.data.classes)) == ("miou", 4, classes)


def test_a_model_that_does_not_exist_is_one_line(engines, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["engines.py", "--models", "no-such-model"])
    assert engines.main() != 0
    assert capsys.readouterr().err.startswith("error: ")


def test_the_page_shows_the_result_that_lies_beside_it(engines):
    folder = ROOT / "docs" / "benchmarks"
    result = json.loads((folder / "engines.json").read_text(encoding="utf-8"))
    page = (folder / "engines.md").read_text(encoding="utf-8")
    assert engines.markdown(result) in page
    assert f"`{result['commit']}`" in page
    assert result["machine"]["processor"] in page


def test_int8_in_openvino_is_faster_than_fp32_in_onnx_runtime_by_what_was_promised(engines):
    result = json.loads((ROOT / "docs" / "benchmarks" / "engines.json").read_text(encoding="utf-8"))
    (model,) = [one for one in result["models"] if one["model"] == engines.RESNET18]
    (row,) = [
        row for row in model["engines"] if row["precision"] == "int8" and row["engine"].startswith("OpenVINO")
    ]
    assert row["speedup"] >= 1.3


def test_int8_is_what_ships_and_is_calibrated_only_where_nothing_does(tmp_path):
    files = load_benchmark("engines_files")
    model = shipped_model("retinanet-light")
    shipped = files.shipped_int8("retinanet-light")
    assert read_manifest(shipped).precision == "int8"
    found = files.precisions(model.path, tmp_path, [], shipped)
    assert (found["fp32"], found["int8"]) == (model.path, shipped)
    assert read_manifest(found["fp16"]).precision == "fp16"
    own = tmp_path / "own.onnx"
    own.write_bytes(model.path.read_bytes())
    assert files.shipped_int8(str(own)) is None
    beside = own.with_suffix(".int8.onnx")
    beside.touch()
    assert files.shipped_int8(str(own)) == beside
    assert files.shipped_int8(files.RESNET18) is None
    frame = np.zeros((1, model.manifest.input_height, model.manifest.input_width, 3), np.uint8)
    made = files.precisions(own, tmp_path, [frame], None)["int8"]
    assert (made.parent, read_manifest(made).precision) == (tmp_path, "int8")
