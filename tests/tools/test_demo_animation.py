"""The README's animated image: which frames it takes, how large and how slow, on a small clip."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.support.models import write_block_clip
from tests.support.paths import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("demo_animation")


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["demo_animation.py", *map(str, arguments)])
    return int(tool.main())


def test_it_takes_every_third_frame_at_half_the_size_and_keeps_the_speed(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out = tmp_path / "a.mp4", tmp_path / "a.webp"
    write_block_clip(clip, 12)  # 10 frames a second
    assert run(tool, monkeypatch, clip, out, "--width", 80) == 0
    assert capsys.readouterr().out == f"{out}: 4 images, 0.00 MB\n"
    with Image.open(out) as made:
        assert (made.format, made.size, made.n_frames, made.info["loop"]) == ("WEBP", (80, 60), 4, 0)
        for number in range(4):
            made.seek(number)
            made.load()
            assert made.info["duration"] == 300
            red = np.asarray(made.convert("RGB"))[30, :, 0] > 128
            left = (10 + 4 * 3 * number) / 2
            assert np.flatnonzero(red)[[0, -1]] == pytest.approx([left, left + 14], abs=1.5)


def test_what_cannot_be_made_leaves_the_file_as_it_was(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out = tmp_path / "a.mp4", tmp_path / "a.webp"
    write_block_clip(clip, 4)
    out.write_text("before")
    assert run(tool, monkeypatch, tmp_path / "b.mp4", out) == 1
    assert "b.mp4" in capsys.readouterr().err
    assert run(tool, monkeypatch, clip, out, "--every", 9) == 1
    assert "gives 1 images; expected 2 or more, try a smaller --every" in capsys.readouterr().err
    monkeypatch.setattr(tool, "LIMIT_BYTES", 100)
    assert run(tool, monkeypatch, clip, out) == 1
    assert "bytes is more than 100; lower --width or --quality" in capsys.readouterr().err
    for wrong in (("--every", 0), ("--width", 0), ("--quality", 101)):
        with pytest.raises(SystemExit) as end:
            run(tool, monkeypatch, clip, out, *wrong)
        assert end.value.code == 2
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.webp"]
