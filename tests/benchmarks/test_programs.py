"""The benchmarks that need neither a GPU nor a configuration, on a clip of twelve frames."""

import json
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edgevision.config import config_folder
from edgevision.errors import UsageError
from edgevision.models.detectors import build_network
from edgevision.tracking.tracker import Tracker
from edgevision.training.checkpoint import Checkpoint, save_checkpoint
from edgevision.training.config import load_run
from edgevision.types import Detections
from edgevision.zoo import shipped_model
from tests.support.benchmarks import load_benchmark
from tests.support.video import write_clip


@pytest.fixture
def run_benchmark(monkeypatch, tmp_path, capsys):
    """Runs a benchmark's ``main`` and gives its result, which it prints and writes alike."""

    def run(name, *arguments):
        out = tmp_path / "result.json"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, "--json", str(out)])
        assert load_benchmark(name).main() == 0
        assert capsys.readouterr().out == out.read_text()
        return json.loads(out.read_text())

    return run


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", range(0, 480, 40)))


def test_tracking(run_benchmark, clip):
    result = run_benchmark("tracking", clip)
    assert result["model"] == "retinanet-light"
    measured = result["clips"]["clip.mp4"]
    assert measured["frames"] == 12
    assert set(measured) == {"frames", "0.1", "0.15", "0.2", "0.25", "none"}
    assert measured["0.1"]["boxes"] >= measured["none"]["boxes"]


def test_tracks_and_drawn_boxes_need_a_detector(monkeypatch, capsys, clip):
    words = "error: unet-light is a model for segmentation; expected a detector"
    monkeypatch.setattr(sys, "argv", ["tracking.py", clip, "--model", "unet-light"])
    assert load_benchmark("tracking").main() == 2
    assert capsys.readouterr().err == f"{words}\n"
    plotting = SimpleNamespace(Annotator=None, colors=None)  # of a library that make dev does not install
    monkeypatch.setitem(sys.modules, "ultralytics.utils.plotting", plotting)
    monkeypatch.setattr(sys, "argv", ["peers_overlay.py", clip, str(shipped_model("unet-light").path), "1"])
    with pytest.raises(SystemExit, match=words):
        load_benchmark("peers_overlay").main()


def test_accuracy_of_tracks_on_hand_made_truth():
    """One object of ten frames, all right but that it has its id from the second frame on."""
    pytest.importorskip("trackeval", reason="needs the dependency group 'bench'")
    rows = np.array([[i + 1, 7, 10 + 3 * i, 20, 40, 80, 1] for i in range(10)], float)
    frames = [
        (i / 25, Detections([[10 + 3 * i, 20, 50 + 3 * i, 100]], [0.9], [0], ("person",))) for i in range(10)
    ]
    found = load_benchmark("tracking").accuracy(rows, frames, Tracker(25.0, 0.35), 0.15)
    assert found["MOTA"] == 0.9
    assert found["IDF1"] == round(2 * 9 / (10 + 9), 3)
    assert (found["precision"], found["recall"]) == (1.0, 0.9)
    assert (found["switches"], found["ids"]) == (0, 1)


def test_end_to_end(run_benchmark, clip):
    result = run_benchmark("end_to_end", "--source", clip, "--rounds", "1")
    assert (result["model"], result["frames"]) == ("retinanet-light", 12)
    assert result["ratio"] == pytest.approx(result["whole_fps"] / result["inference_fps"], rel=0.01)
    assert {"decode", "letterbox", "inference", "h264", "whole"} <= set(result["cpu_ms_per_frame"])


def test_pipeline(run_benchmark, clip):
    result = run_benchmark("pipeline", "--source", clip, "--seconds", "1", "--live-seconds", "1")
    assert result["ledger_exact"] is True
    assert 0 < result["overlap"] <= 1
    assert len(result["streams"]["inferred"]) == 4


def test_soak_parts(run_benchmark):
    result = run_benchmark("soak_parts", "jsonl", "--rounds", "1")
    assert result["frames"] == 125
    assert len(result["parts"]["jsonl"]["mib"]) == 6


def test_archive_takes_what_a_thousand_workers_send(tmp_path):
    benchmark = load_benchmark("archive")
    assert benchmark.write_clip(tmp_path / "a.mp4", 0.4, 1) == 10
    found = benchmark.driver_rate(tmp_path / "out", 60)
    assert found["results"] == 60
    assert found["a_second"] > 0


def test_web(run_benchmark):
    result = run_benchmark("web", "--seconds", "0.5", "--size", "160x120", "--rate", "10", "--opens", "5")
    cost, loads = result["cost"], result["loads"]
    assert cost["none"]["encoded"] == cost["viewers_0"]["encoded"] == 0
    assert cost["viewers_8"]["frames"] == 5
    assert cost["viewers_8"]["encoded"] <= 5  # one for all
    assert (loads["opens"], loads["viewers_left"]) == (5, 0)
    assert len(loads["memory_mib"]) == 2


def test_a_sliding_window_answers_as_its_crops_do(run_benchmark, tmp_path):
    overrides = ("backbone.weights=random", "input_size=96", "units=1", "cells=1", "scales=[1.0]", "hidden=8")
    run = load_run(config_folder() / "models" / "overfeat.yaml", [f"model.{one}" for one in overrides])
    state = build_network(run.model, len(run.classes)).state_dict()
    path = tmp_path / "best.pt"
    save_checkpoint(path, Checkpoint(run, 0, state, state, {}, {}, None))
    result = run_benchmark("overfeat", str(path), "--rounds", "1")
    assert (result["windows"], result["window_px"]) == (4, 79)
    assert result["largest_difference"] < 1e-4
    assert result["ratio"] == pytest.approx(result["crops_ms"] / result["sliding_ms"], abs=0.6)


def saved(path, name, *overrides):
    """A checkpoint of a configuration, made smaller, with weights that never learnt."""
    given = ["backbone.weights=random", "backbone.leaky=null", "input_size=64", *overrides]
    run = load_run(config_folder() / "models" / f"{name}.yaml", [f"model.{one}" for one in given])
    state = build_network(run.model, len(run.classes)).state_dict()
    save_checkpoint(path, Checkpoint(run, 0, state, state, {}, {}, None))
    return path


def test_families_say_where_regions_cost(run_benchmark, tmp_path):
    for number in range(3):
        frame = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), frame)
    path = saved(tmp_path / "faster.pt", "faster-rcnn", "channels=16", "proposals.count=7")
    result = run_benchmark("families", str(path), "--images", str(tmp_path), "--count", "2")
    found = result[str(path)]
    assert (found["family"], found["photographs"], found["regions"]) == ("FasterRcnn", 2, 7)
    assert 0 < found["proposals_ms"] < found["frame_ms"]
    other = saved(tmp_path / "ssd.pt", "ssd", "levels=1")
    with pytest.raises(UsageError, match="looks at no regions"):
        load_benchmark("families").by_parts(other, [])
