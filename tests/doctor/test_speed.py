"""What is measured, and what is chosen from figures worked out by hand.

Also tests ``edgevision.cli.bench``.
"""

from __future__ import annotations

import json

import pytest

from edgevision.cli import main
from edgevision.doctor.speed import (
    Setup,
    Speed,
    files_beside,
    for_camera,
    for_recordings,
    measure,
    setups,
)
from edgevision.engines.choose import MachineFacts
from tests.support.models import write_colour_model


def speed(file, latency_ms, rate, accuracy, **setup):
    return Speed(
        setup=Setup(file=file, engine="onnxruntime", threads=2, **setup),
        latency_ms=latency_ms,
        images_per_second=rate,
        figures={"ap": accuracy} if accuracy else {},
    )


def test_files_of_one_model(tmp_path):
    for name in ("a.onnx", "a.int8.onnx", "a.engine", "a.engine.json", "ab.onnx"):
        (tmp_path / name).touch()
    assert [one.name for one in files_beside(tmp_path / "a.onnx")] == ["a.onnx", "a.engine", "a.int8.onnx"]


def test_every_engine_on_one_thread_and_on_all_in_batches_and_at_once(tmp_path):
    machine = MachineFacts(("cpu", "cuda"), openvino=True)
    found = setups([tmp_path / "a.onnx", tmp_path / "a.engine"], machine, cores=2)
    rows = [(one.engine, one.threads, one.batch, one.requests) for one in found]
    of_cpu = [(1, 1, 1), (2, 1, 1), (2, 4, 1), (2, 1, 2)]
    assert rows == [
        ("onnxruntime-cuda", 2, 1, 1),
        ("onnxruntime-cuda", 2, 4, 1),
        *[("onnxruntime", *row) for row in of_cpu],
        *[("openvino", *row) for row in of_cpu],
        ("tensorrt", 2, 1, 1),
        ("tensorrt", 2, 4, 1),
    ]


def test_the_soonest_for_a_camera_and_the_most_for_recordings():
    """A file that is a little slower and more accurate is taken; one that is much slower is not."""
    int8, float32 = speed("int8", 10.0, 90.0, 0.5), speed("float", 10.9, 85.0, 0.6)
    slow, several = speed("slow", 20.0, 50.0, 0.9), speed("float", 30.0, 120.0, 0.6, requests=2)
    failed = Speed(setup=int8.setup, error="no such engine")
    assert for_camera([failed, int8, float32, slow, several]) is float32
    assert for_recordings([failed, int8, float32, slow, several]) is several
    assert for_camera([failed]) is None


def test_a_file_that_does_not_run_says_why(tmp_path):
    (tmp_path / "a.onnx").write_text("no model")
    found = measure(Setup(file=str(tmp_path / "a.onnx"), engine="onnxruntime", threads=1), 0.01)
    assert found.error is not None
    assert "a.onnx" in found.error


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_colour_model(tmp_path / "colours.onnx")
    arguments = ["bench", "colours.onnx", "--seconds", "0.1", "--threads", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert not ended.value.code
    document = json.loads(capsys.readouterr().out)
    ran = [one for one in document["measured"] if one["error"] is None]
    assert {(one["setup"]["threads"], one["setup"]["batch"], one["setup"]["requests"]) for one in ran} >= {
        (1, 1, 1),
        (2, 1, 1),
        (2, 1, 2),
    }
    assert all(one["latency_ms"] > 0 and one["images_per_second"] > 0 for one in ran)
    assert document["choice"]["camera"]["file"] == "colours.onnx"
    with pytest.raises(SystemExit):
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "colours.onnx: fp32, ap50_mean 0.5"
    assert lines[1].split() == ["engine", "threads", "batch", "at", "once", "ms", "images/s"]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("for a camera: colours.onnx in ") for line in lines)
