"""Every task through a real model on two engines, and the rule of masks by hand."""

import numpy as np
import pytest

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import MaskForm, Resize
from edgevision.engines import load_engine
from edgevision.engines.fake import FakeEngine
from edgevision.errors import EngineError
from edgevision.model import Model
from edgevision.postprocess import Reader, masks_in_boxes
from edgevision.types import Classification, Detections
from tests.support.models import image_with_block
from tests.support.task_models import ANGLE, SKELETON, task_manifest, write_task_model

ENGINES = ["onnxruntime", "openvino"]
RED = (0, 0, 255)
BLOCK = (40, 30, 100, 60)
"""In an image of 200x100: the input is 64x64, so a pixel of it is 3.125 wide."""
PIXEL = 200 / 64


def infer(tmp_path, engine, task, **changes):
    path = write_task_model(tmp_path / "model.onnx", task, **changes)
    with Model(load_engine(path, engine)) as model:
        return model(image_with_block(200, 100, BLOCK, RED))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pose_in_source_pixels(tmp_path, engine):
    found = infer(tmp_path, engine, "pose")
    assert isinstance(found, Detections)
    (row,) = found
    assert (row.name, row.rotated_box, found.skeleton) == ("red", None, SKELETON)
    x1, y1, x2, y2 = row.box
    assert row.box == pytest.approx(BLOCK, abs=PIXEL)
    assert [point.name for point in row.keypoints] == list(SKELETON.names)
    expected = [(x1, y1, 0.9), (x2, y1, 0.2), ((x1 + x2) / 2, (y1 + y2) / 2, 0.8)]
    assert [(p.x, p.y, p.score) for p in row.keypoints] == [pytest.approx(one, abs=1e-4) for one in expected]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rotated_box_in_source_pixels(tmp_path, engine):
    found = infer(tmp_path, engine, "obb")
    (row,) = found
    assert row.rotated_box == pytest.approx((70, 45, 60, 30, ANGLE), abs=PIXEL)
    reach_x = (row.rotated_box[2] * np.cos(ANGLE) + row.rotated_box[3] * np.sin(ANGLE)) / 2
    assert row.box[0] == pytest.approx(row.rotated_box[0] - reach_x, abs=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("form", "share"),
    [
        (None, 1.0),
        (MaskForm(form="input", width=16, height=16), 1.0),
        (MaskForm(form="box", width=8, height=8), 0.5),
    ],
)
def test_masks_in_source_pixels(tmp_path, engine, form, share):
    found = infer(tmp_path, engine, "instance-segmentation", **({} if form is None else {"masks": form}))
    assert found.masks.size == (100, 200)
    whole = found.masks.whole(0)
    x1, y1, x2, y2 = found[0].box
    assert found.masks.areas()[0] == pytest.approx((x2 - x1) * (y2 - y1) * share, rel=0.1)
    assert whole[40, 70]
    assert whole[57, 70] == (share == 1)  # the lower half
    rows, columns = np.nonzero(whole)
    assert (columns + 0.5 >= x1).all()
    assert (columns + 0.5 <= x2).all()
    assert (rows + 0.5 >= y1).all()
    assert (rows + 0.5 <= y2).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_one_label_or_several(tmp_path, engine):
    one = infer(tmp_path, engine, "classification")
    assert isinstance(one, Classification)
    assert [label.name for label in one.labels()] == ["red"]
    assert one.probabilities == pytest.approx([30 / 315, 30 / 315, 255 / 315], abs=1e-4)
    several = infer(tmp_path, engine, "classification", multi_label=True)
    assert several.multi_label
    assert several.probabilities == pytest.approx([30 / 255, 30 / 255, 1], abs=1e-4)


def test_a_classifier_sees_the_middle_of_the_image(tmp_path):
    path = write_task_model(tmp_path / "model.onnx", "classification")
    with Model(load_engine(path, "onnxruntime")) as model:
        outside = model(image_with_block(200, 100, (0, 0, 40, 100), RED))
        inside = model(image_with_block(200, 100, (40, 0, 80, 100), RED))
    assert outside.probabilities == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert inside.labels()[0].name == "red"


def test_chosen_classes_and_the_threshold_of_labels(tmp_path):
    path = write_task_model(tmp_path / "model.onnx", "classification", multi_label=True)
    with Model(load_engine(path, "onnxruntime"), 0.05, ["green", "red"]) as model:
        shown = model(image_with_block(64, 64, (9, 9, 30, 30), RED))
    assert shown.names == ("green", "red")
    assert [(one.name, round(one.score, 2)) for one in shown.labels()] == [("red", 1.0), ("green", 0.12)]


def test_a_class_goes_by_its_threshold_in_the_file_and_the_others_by_the_one_asked_for(tmp_path):
    own = {"class_thresholds": {"red": 0.1, "blue": 0.2}}
    path = write_task_model(tmp_path / "model.onnx", "classification", multi_label=True, **own)
    image = image_with_block(64, 64, (9, 9, 30, 30), RED)  # red 1, green and blue 0.12
    with Model(load_engine(path, "onnxruntime"), 0.1) as model:
        assert [one.name for one in model(image).labels()] == ["red", "green"]
        (note,) = model.notes
        assert note.startswith("confidence threshold 0.1 has no effect on 2 of the 3 classes of")
    with Model(load_engine(path, "onnxruntime"), classes=["blue", "red"]) as model:
        assert [one.name for one in model(image).labels()] == ["red"]
        assert model(image).class_thresholds == (0.2, 0.1)
        assert model.notes == ()


# The rule of masks, by hand.

SQUARE = Letterbox.fit(8, 8, 8, 8, Resize())


def test_a_grid_of_the_image_s_size_is_taken_as_it_is():
    grid = np.full((1, 8, 8), -1, np.float32)
    grid[0, 2:5, 3:6] = 1
    form = MaskForm(form="input", width=8, height=8)
    (crop,) = masks_in_boxes(grid, np.array([[0, 0, 8, 8]], np.float32), form, SQUARE).crops
    assert np.array_equal(crop, grid[0] > 0)


def test_values_between_cells_are_interpolated():
    # Two cells of 4 pixels: -3 at x = 2 and 1 at x = 6, so it is 0 at x = 5.
    grid = np.array([[[-3, 1]]], np.float32)
    form = MaskForm(form="input", width=2, height=1)
    masks = masks_in_boxes(grid, np.array([[0, 0, 8, 8]], np.float32), form, SQUARE)
    assert masks.whole(0)[0].tolist() == [False] * 5 + [True] * 3


def test_a_mask_ends_at_its_box_to_the_pixel_centre():
    grid = np.ones((3, 1, 1), np.float32)
    form = MaskForm(form="input", width=1, height=1)
    boxes = np.array([[1.5, 2.5, 4.5, 6.5], [1.51, 2.51, 4.51, 6.51], [3.6, 3.6, 4.4, 4.4]], np.float32)
    masks = masks_in_boxes(grid, boxes, form, SQUARE)
    assert masks.origins[:2].tolist() == [[1, 2], [2, 3]]
    assert [crop.shape for crop in masks.crops] == [(4, 3), (4, 3), (0, 0)]  # no centre is in the last


def test_a_grid_over_a_box_moves_with_it():
    grid = np.array([[[1, -1], [-1, -1]]], np.float32)
    form = MaskForm(form="box", width=2, height=2)
    masks = masks_in_boxes(grid, np.array([[2, 2, 6, 6]], np.float32), form, SQUARE)
    # At the centres of the box's 4x4 pixels the first cell reaches 1, 1/2 of the way is 0.
    assert np.argwhere(masks.whole(0)).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]][: masks.areas()[0]]
    assert masks.areas()[0] in (3, 4)


def test_masks_follow_a_letterbox_and_probabilities_have_their_threshold():
    letterbox = Letterbox.fit(16, 8, 8, 8, Resize())  # half the size, two rows of padding above and below
    grid = np.zeros((1, 8, 8), np.float32)
    grid[0, 2:6, :4] = 0.9  # the left half
    form = MaskForm(form="input", width=8, height=8, threshold=0.5)
    whole = masks_in_boxes(grid, np.array([[0, 0, 16, 8]], np.float32), form, letterbox).whole(0)
    assert whole[:, :8].all()
    assert not whole[:, 9:].any()


# What no model of the contract answers.


def outputs(task, **changes):
    manifest = task_manifest(task)
    arrays = {
        spec.name: np.zeros((1, *map(int, spec.shape[1:])), spec.dtype) for spec in manifest.output_specs()
    }
    if "count" in arrays:
        arrays["count"][:] = 1
        box = arrays["rotated_boxes" if task == "obb" else "boxes"]
        box[0, 0, :4] = (4, 4, 20, 20)
        arrays["scores"][0, 0] = 0.9
    return manifest, {**arrays, **{name: np.asarray(value) for name, value in changes.items()}}


def read(task, **changes):
    manifest, arrays = outputs(task, **changes)
    reader = Reader(manifest, "engine", 0.3, np.ones(3, bool))
    return reader.read(arrays, 0, Letterbox.fit(64, 64, 64, 64, manifest.resize))


def test_the_made_up_outputs_are_read():
    for task in ("detection", "pose", "obb", "instance-segmentation"):
        assert len(read(task)) == 1


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("pose", {"keypoints": np.full((1, 3, 3, 3), np.nan, np.float32)}, "key points that are not finite"),
        (
            "instance-segmentation",
            {"prototypes": np.full((1, 2, 16, 16), np.inf)},
            "masks that are not finite",
        ),
        ("obb", {"rotated_boxes": np.full((1, 3, 5), np.nan, np.float32)}, "not finite"),
        ("obb", {"rotated_boxes": np.full((1, 3, 5), -2, np.float32)}, "an inverted box"),
        ("pose", {"count": np.array([9], np.int32)}, "a count of 9"),
        ("classification", {"probabilities": np.array([[0.1, 0.2, 7]])}, "not from 0 to 1"),
        ("classification", {"probabilities": np.array([[0.1, 0.2, np.nan]])}, "not from 0 to 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_broken_outputs_are_an_error(task, changes, message):
    with pytest.raises(EngineError, match=message):
        read(task, **changes)


def test_a_rotated_box_in_the_padding_is_left_out():
    rotated = np.zeros((1, 3, 5), np.float32)
    rotated[0, 0] = (-40, 10, 8, 8, 0.3)
    assert len(read("obb", rotated_boxes=rotated)) == 0


def test_a_stretched_input_keeps_the_centre_direction_and_area_of_a_rotated_box():
    letterbox = Letterbox.fit(128, 64, 64, 64, Resize(rule="stretch"))
    boxes = np.array([[32, 32, 20, 10, 0], [32, 32, 20, 10, np.pi / 2], [32, 32, 20, 10, 0.5]], np.float32)
    found = letterbox.source_rotated_boxes(boxes)
    assert found[0] == pytest.approx([64, 32, 40, 10, 0], abs=1e-4)
    assert found[1] == pytest.approx([64, 32, 20, 20, np.pi / 2], abs=1e-4)
    assert found[2, 4] == pytest.approx(np.arctan2(np.sin(0.5), 2 * np.cos(0.5)), abs=1e-5)
    assert found[:, 2] * found[:, 3] == pytest.approx([400, 400, 400], rel=1e-4)


def test_the_fake_engine_s_answers_are_read_as_before():
    with Model(FakeEngine()) as model:
        found = model(image_with_block(320, 320, (10, 20, 50, 60), (255, 255, 255)))
    assert [one.box for one in found] == [(10.0, 20.0, 50.0, 60.0)]
