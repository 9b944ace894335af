"""Timing of the float and the int8 file: in turns, and in the engines that this machine has."""

from __future__ import annotations

from pathlib import Path

from edgevision.calibration.speed import _median_ms, measure_speed, timed_engines
from tests.support.calibration import SIZE, images, write_segmenter


def test_models_take_turns_so_that_a_busy_moment_slows_both() -> None:
    order: list[str] = []
    found = _median_ms(lambda: order.append("float"), lambda: order.append("int8"))
    assert order == ["float", "int8"] * (len(order) // 2)
    assert len(order) > 6
    assert len(found) == 2
    assert all(one >= 0 for one in found)


def test_engines_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    model = write_segmenter(tmp_path / "bright.onnx")
    done: list[int] = []
    found = measure_speed(model, model, images(1, size=SIZE), done.append)
    assert done == list(range(1, len(timed_engines()) + 1))
    assert "ONNX Runtime" in found[0].engine
    assert len(found) <= len(timed_engines())
    assert measure_speed(tmp_path / "nowhere.onnx", model, images(1, size=SIZE)) == []
