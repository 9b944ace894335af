"""The comparison of the gate with labels, on a model that int8 suits and on one that it does not."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgevision.calibration.ranges import METHODS
from tests.support.calibration import calibration_place, images, mean_iou, save_images, write_segmenter
from tests.support.paths import ROOT

_ROW = re.compile(
    r"\| ([a-z]+(?: [\d.]+)?) \| ([\d.]+) dB "
    r"\| (-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\) \| (-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\) \|"
)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("int8_gate")


def test_what_it_finds_without_labels_is_what_labels_say(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration_place(tmp_path)
    save_images(tmp_path / "photos", images(40, seed=1, size=64))
    write_segmenter(tmp_path / "wild.onnx", wild=True)
    options = ["--from", str(tmp_path / "photos"), "--frames", "40"]
    options += ["--data", str(tmp_path / "set"), "--split", "val"]
    ways = {*METHODS, "percentile 99.9", "percentile 99.99", "percentile 99.999"} - {"percentile"}
    for name, low, high, least_db, most_db in (
        ("bright.onnx", -0.01, 0.03, 35, 60),
        ("wild.onnx", 0.2, 0.8, 5, 20),  # one channel is a thousand times the others
    ):
        monkeypatch.setattr(sys, "argv", ["int8_gate.py", str(tmp_path / name), *options])
        assert tool.main() == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "30 frames for the ranges, 10 held out; 6 labelled images"
        found = mean_iou(tmp_path / name, tmp_path / "set")
        assert lines[1] == f"float: 1.0000 without labels, {found:.4f} on labels"
        rows = [match.groups() for line in lines[4:] if (match := _ROW.fullmatch(line))]
        assert len(rows) == len(lines) - 4
        assert {row[0] for row in rows} == ways
        for row in rows:
            signal_db, *drops = (float(cell) for cell in row[1:])
            assert least_db < signal_db < most_db
            for drop, at_least, at_most in (drops[:3], drops[3:]):
                assert low <= drop <= high
                assert at_least <= drop <= at_most
            assert drops[0] == pytest.approx(drops[3], abs=0.03)


def test_what_is_wrong_is_one_line(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration_place(tmp_path)
    arguments = ["int8_gate.py", str(tmp_path / "bright.onnx"), "--from", str(tmp_path / "photos")]
    for data, words in (("set", "found 12 distinct frames; expected 32 or more"), ("none", "none")):
        options = ["--data", str(tmp_path / data), "--split", "val"]
        monkeypatch.setattr(sys, "argv", [*arguments, *options])
        assert tool.main() == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert words in said
