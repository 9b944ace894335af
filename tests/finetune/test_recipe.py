"""The configuration that data ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.config import config_folder
from edgevision.data.layouts.recognise import recognise
from edgevision.errors import CheckpointError, UsageError
from edgevision.finetune.prepare import prepare
from edgevision.finetune.recipe import (
    choose_input,
    choose_window,
    find_base,
    make_run,
    run_yaml,
    small_boxes,
    with_images,
)
from edgevision.training.config import DetectorTraining, apply_overrides, load_run
from tests.finetune.test_prepare import folder


def shapes(width: int, height: int) -> np.ndarray:
    return np.array([[width, height]] * 3, np.float32)


def test_the_input_grows_until_most_boxes_can_be_seen() -> None:
    for share, size in ((0.2, 256), (0.07, 320), (0.05, 416), (0.035, 640), (0.005, 640)):
        assert choose_input(np.full(50, share, np.float32), shapes(1920, 1080))[0] == size
    assert choose_input(np.full(50, 0.01, np.float32), shapes(300, 200))[0] == 320


@pytest.mark.parametrize(("small", "said"), [(26, "52% of the boxes are below 8 pixels"), (25, "")])
def test_boxes_that_are_too_small_at_the_input_are_told_where_most_are(small: int, said: str) -> None:
    sides = np.array([7.9 / 640] * small + [8.1 / 640] * (50 - small), np.float32)
    assert small_boxes(sides, 640).partition(" at the input")[0] == said
    assert "100% of the boxes" in small_boxes(sides, 320)
    assert small_boxes(sides, 1280) == ""


def test_a_segmenter_looks_at_the_shape_of_the_images() -> None:
    assert choose_window(shapes(1920, 1080), 480 * 384) == (576, 320)
    assert choose_window(shapes(160, 120), 480 * 384) == (160, 128)


def test_a_run_is_whole_and_its_yaml_is_the_same_run(tmp_path: Path) -> None:
    ready = prepare(recognise(folder(tmp_path / "d")), tmp_path / "out")
    base = load_run(config_folder() / "models" / "retinanet-light.yaml")
    run, _ = make_run(ready, base, "retinanet-light", "mine", 4000, seed=3)
    assert isinstance(run, DetectorTraining)
    assert (run.classes, run.model.input_size, run.model.backbone.weights) == (("cat", "dog"), 160, "random")
    assert run.loop.batch_size == ready.train_images == 16
    assert run.loop.validate_every == 500
    assert 0.9 < run.optimiser.ema_decay < 0.998
    (tmp_path / "run.yaml").write_text(run_yaml(run, ["a comment"]))
    assert load_run(tmp_path / "run.yaml") == run
    longer = with_images(run, 1003, validations=2)
    assert (longer.loop.images, longer.loop.validate_every) == (1008, 504)
    assert apply_overrides(run, ["loop.images=32"]).loop.images == 32


@pytest.mark.parametrize(
    ("family", "task", "size", "said"),
    [
        ("ssd", "detection", 256, "ImageNet's weights"),
        ("overfeat", "detection", 320, "ImageNet's weights"),
        ("largest-object", "detection", 160, "ImageNet's weights"),
        ("faster-rcnn", "detection", 160, "retinanet-light"),
        ("segnet", "segmentation", 0, "random weights"),
    ],
)
def test_a_family_is_trained_on_labelled_images(
    tmp_path: Path, family: str, task: str, size: int, said: str
) -> None:
    base, initial, note = find_base(family, task)
    assert (initial, said in note) == ("retinanet-light" if family == "faster-rcnn" else "", True)
    if task == "segmentation":
        return
    ready = prepare(recognise(folder(tmp_path / "d")), tmp_path / "out")
    run, (line,) = make_run(ready, base, initial, "mine", 400)
    assert isinstance(run, DetectorTraining)
    assert (run.classes, run.model.input_size) == (("cat", "dog"), size)
    assert ("the least that the family takes" in line) == (size > 160)


@pytest.mark.parametrize(
    ("family", "task", "message"),
    [
        (
            "fcn",
            "detection",
            "fcn is for segmentation, and the data are for detection; expected one of retinanet, ssd",
        ),
        ("mask-rcnn", "detection", r"learns the polygons of a COCO json; .*mask-rcnn\.yaml"),
        ("classifier", "detection", "learns labels"),
        ("yolo-v3", "detection", "the text of its network"),
    ],
)
def test_a_family_that_the_data_do_not_fit_is_refused(family: str, task: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_base(family, task)


def test_a_model_without_a_checkpoint_is_named_or_starts_from_imagenet() -> None:
    with pytest.raises(CheckpointError, match="retinanet-big"):
        find_base("retinanet-big", "detection")
    base, initial, note = find_base("", "segmentation")
    assert base.name == "unet-light"
    assert (initial == "unet-light") != ("ImageNet" in note)
