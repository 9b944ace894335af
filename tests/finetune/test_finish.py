"""The report of a segmenter, and the int8 model at the end of a run.

Also tests ``edgevision.finetune.quantise``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgevision.data.layouts.recognise import recognise
from edgevision.errors import CalibrationError
from edgevision.finetune.finish import finish_run
from edgevision.finetune.prepare import prepare
from edgevision.finetune.quantise import quantise_run
from edgevision.models.unet import UNet
from edgevision.training.checkpoint import Checkpoint, save_checkpoint
from tests.data.layouts.test_masks import named
from tests.finetune.test_prepare import folder
from tests.support.segmentation import small_run
from tests.support.training import small_run as small_detector


def test_a_segmenters_report_shows_its_worst_images(tmp_path: Path) -> None:
    named(tmp_path / "d")
    prepared = prepare(recognise(tmp_path / "d"), tmp_path / "out")
    run = small_run(tmp_path, "loop.images=4")
    run = msgspec.structs.replace(run, classes=prepared.classes, colours=())
    weights = UNet(run.model, len(run.classes)).state_dict()
    save_checkpoint(tmp_path / "out" / "best.pt", Checkpoint(run, 0, weights, weights, {}, {}, None))
    finish_run(tmp_path / "out", run, prepared)
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    _, _, shown = report.partition("The images with the most wrong pixels")
    assert shown.count("<img ") == prepared.val_images
    assert "of the labelled pixels wrong" in shown


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    prepared = prepare(recognise(folder(tmp_path / "d")), tmp_path / "out")
    run = small_detector(tmp_path)
    with pytest.raises(CalibrationError, match=r"ap50 of the float model is 0.*no int8 model"):
        quantise_run(tmp_path / "out", run, prepared, ("ap50", 0.0), max_drop=0.02)
    assert not list((tmp_path / "out").glob("*.int8.*"))
