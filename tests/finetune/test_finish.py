"""The report of a segmenter, and the int8 model at the end of a run.

Also tests ``edgevision.finetune.quantise``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgevision.data.layouts.recognise import recognise
from edgevision.errors import CalibrationError
from edgevision.finetune import finish
from edgevision.finetune.prepare import prepare
from edgevision.finetune.quantise import quantise_run
from tests.data.layouts.test_masks import mask
from tests.finetune.test_prepare import folder
from tests.support.layouts import image, put
from tests.support.models import write_bright_segmenter
from tests.support.segmentation import small_run
from tests.support.training import small_run as small_detector


def test_a_segmenters_report_shows_its_worst_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "d" / "classes.txt", "dark\nbright\n")
    for split, seeds in (("train", (1, 2)), ("val", (3, 4, 5))):
        for seed in seeds:
            image(tmp_path / "d" / "images" / split / f"p{seed}.png", seed)
            mask(tmp_path / "d" / "masks" / split / f"p{seed}.png", seed, (0, 1, 1))
    out = tmp_path / "out"
    prepared = prepare(recognise(tmp_path / "d"), out)
    run = msgspec.structs.replace(small_run(tmp_path), classes=prepared.classes, colours=())
    monkeypatch.setattr(finish, "load_checkpoint", lambda path: path)
    monkeypatch.setattr(finish, "export_checkpoint", lambda checkpoint, path: write_bright_segmenter(path))
    finish.finish_run(out, run, prepared)
    _, _, shown = (out / "report.html").read_text(encoding="utf-8").partition("the most wrong pixels")
    assert shown.count("<img ") == prepared.val_images == 3
    assert "of the labelled pixels wrong" in shown


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    prepared = prepare(recognise(folder(tmp_path / "d")), tmp_path / "out")
    run = small_detector(tmp_path)
    with pytest.raises(CalibrationError, match=r"ap50 of the float model is 0.*no int8 model"):
        quantise_run(tmp_path / "out", run, prepared, ("ap50", 0.0), max_drop=0.02)
    assert not list((tmp_path / "out").glob("*.int8.*"))
