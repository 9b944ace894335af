"""A configuration is read, and its faults are told, before torch is imported.

Also tests ``edgevision.data.settings``, ``edgevision.models.settings``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgevision.config import config_folder, read_document
from edgevision.errors import ConfigError
from edgevision.training.config import DetectorTraining, load_run

CONFIGS = config_folder() / "models"

CODE = """
import sys
from edgevision.errors import ConfigError
from edgevision.training.config import load_run
try:
    load_run(sys.argv[1], sys.argv[2:])
except ConfigError as error:
    print(error)
print([name for name in ("torch", "torchvision", "onnx") if name in sys.modules])
"""


def test_every_fault_is_told_without_torch() -> None:
    overrides = ["loop.imags=3", "optimiser.lr=fast", "model.input_size=100"]
    command = [sys.executable, "-c", CODE, str(CONFIGS / "retinanet-light.yaml"), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, modules = done.stdout.splitlines()
    assert modules == "[]"
    for fault in (
        "3 faults: unknown key 'loop.imags'; did you mean 'images'?",
        "`optimiser.lr` is text; expected a number",
        "`model.input_size` is 100; expected a multiple of 32 from 32 to 16384",
    ):
        assert fault in text


def test_description_and_licence_are_not_needed_to_train(tmp_path: Path) -> None:
    document = read_document(CONFIGS / "retinanet-light.yaml")
    source = document["data"]["val"]
    run = load_run(CONFIGS / "retinanet-light.yaml", [f"data={{train: [{source}], val: {source}}}"])
    assert isinstance(run, DetectorTraining)
    assert (run.data.description, run.data.licence) == ("", "")


@pytest.mark.parametrize(
    ("name", "family", "text"),
    [
        ("ssd", "sssd", "`model.family` is 'sssd'; expected one of: retinanet, ssd, yolo-v1"),
        ("ssd", "sssd", "; did you mean 'ssd'?"),
        (
            "ssd",
            "fcn",
            "`model.family` fcn is for segmentation, and `task` is detection; expected one of: ret",
        ),
        (
            "fcn",
            "classifier",
            "is for classification, and `task` is segmentation; expected one of: unet, fcn",
        ),
        ("fcn", "segnett", "(docs/models/families.md says what they are); did you mean 'segnet' or"),
    ],
)
def test_a_family_that_is_unknown_or_of_another_task_is_refused(name: str, family: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(CONFIGS / f"{name}.yaml", [f"model.family={family}"])
    assert text in str(caught.value)


def test_a_mask_rcnn_is_trained_as_a_detector() -> None:
    assert isinstance(load_run(CONFIGS / "mask-rcnn.yaml"), DetectorTraining)


@pytest.mark.parametrize(
    ("file", "setting", "fault"),
    [
        ("ssd", "model.loss.alpha=.nan", "`model.loss.alpha` is nan; expected a finite number from 0 to 1"),
        ("ssd", "model.first_stride=17", "`model.first_stride` is 17; expected one of: 16, 32, 64"),
        ("ssd", "model.ratios=[[1,2,3]]", "`model.ratios[0]` is a list of 3; expected 2"),
        ("ssd", "model.levels=9", "`model`: levels is 9; expected a last map of one cell or more"),
        ("overfeat", "model.scales=[.inf]", "`model.scales[0]` is inf; expected a finite number"),
        ("classifier", "augment.shift=0.5", "is 0.5; expected a number of at least 0 and below 0.5"),
        ("classifier", "optimiser.lr_factors={backbone.stages.0: -1}", "lr_factors.backbone.stages.0` is -1"),
        ("multi-label", "data.val.weight=0", "`data.val.weight` is 0; expected a number above 0"),
        ("retinanet-light", "loss.background_iou=0.9", "`loss`: background_iou is 0.9, foreground_iou 0.5"),
        ("retinanet-light", "resize.fill=900", "resize.fill is 900; expected a whole number from 0 to 255"),
        ("retinanet-light", "resize.rule=crop", "resize.rule is crop, which is for classification"),
        ("classifier", "resize.share=0", "resize.share is 0.0; expected a number above 0, up to 1"),
        ("unet-light", "colours=[[0, 0, 256]]", "`colours[0][2]` is 256; expected a whole number from 0"),
        ("unet-light", 'name=""', "name is ''; expected one that a folder can have"),
        ("unet-light", "name=a/b", "name is 'a/b'; expected one that a folder can have"),
        ("unet-light", "name=..", "name is '..'; expected one that a folder can have"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_key(file: str, setting: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(CONFIGS / f"{file}.yaml", [setting])
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)
