"""Yardsticks that the float model itself gives, against answers worked out by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevision.calibration.agreement import HELD_OUT, check_keeps_objects, hold_out, open_agreement
from edgevision.calibration.float_model import FloatModel
from edgevision.calibration.sampling.frames import CalibrationSet, FrameStore, SampledFrame, content_hash
from edgevision.calibration.simulate import SimulatedEngine
from edgevision.contract.manifest import Manifest, Resize
from edgevision.engines.fake import FakeEngine, bright_objects, fake_manifest
from edgevision.errors import CalibrationError, DataError, UsageError
from edgevision.evaluation.yardstick import Yardstick
from edgevision.types import Image, Result, SegmentationMap
from tests.support.calibration import SIZE, images, segmenter_graph, segmenter_manifest


def frame_set(folder: Path, arrays: Iterable[NDArray[np.uint8]]) -> CalibrationSet:
    kept = list(arrays)
    height, width = kept[0].shape[:2]
    store = FrameStore.create(folder, width, height)
    frames = []
    for slot, one in enumerate(kept):
        store.write(slot, one)
        frames.append(SampledFrame("clip.mp4", slot, slot, f"{slot:064x}"))
    total = content_hash((width, height), Resize(), [one.digest for one in frames])
    slots = tuple(range(len(kept)))
    return CalibrationSet(tuple(frames), total, width, height, Resize(), 0, len(kept), (), store, slots)


@pytest.mark.parametrize(("total", "held"), [(32, 8), (33, 8), (100, 25), (512, HELD_OUT), (2000, HELD_OUT)])
def test_a_quarter_is_held_out_evenly_and_nothing_is_in_both(tmp_path: Path, total: int, held: int) -> None:
    frames = frame_set(tmp_path, np.zeros((total, 2, 2, 3), np.uint8))
    fit, out = hold_out(frames)
    assert (len(fit), len(out)) == (total - held, held)
    places = [[one.index for one in part.frames] for part in (fit, out)]
    assert sorted(places[0] + places[1]) == list(range(total))
    assert np.diff(places[1]).max() <= total / held + 2
    assert len({frames.hash, fit.hash, out.hash}) == 3
    assert frames.part(range(total)).hash == frames.hash


def test_too_few_frames_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 31 distinct frames; expected 32 or more"):
        hold_out(frame_set(tmp_path, np.zeros((31, 2, 2, 3), np.uint8)))


@pytest.mark.parametrize(("most", "advice"), [(24, "raise `frames`"), (512, "name more sources")])
def test_too_few_frames_name_what_limits_them(tmp_path, most, advice):
    with pytest.raises(DataError, match=f"for `max_drop` without labels; {advice}, or name labelled data"):
        hold_out(frame_set(tmp_path, np.zeros((24, 2, 2, 3), np.uint8)), most)


def test_a_part_has_its_own_pixels(tmp_path: Path) -> None:
    frames = frame_set(tmp_path, (np.full((2, 2, 3), i, np.uint8) for i in range(9)))
    part = frames.part([8, 2])
    assert [int(batch[0, 0, 0, 0]) for batch in part.batches(1)] == [8, 2]


def blocks(count: int) -> list[NDArray[np.uint8]]:
    """Frames with a bright block each, which the fake engine finds."""
    found = []
    for i in range(count):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[8 : 40 + i % 8, 8:40] = 255
        found.append(frame)
    return found


def detection_agreement(
    folder: Path, frames: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> tuple[Yardstick, Manifest]:
    """A yardstick whose float model finds what is bright."""
    manifest = fake_manifest(width=64, height=64)
    monkeypatch.setattr(
        "edgevision.calibration.agreement.SimulatedEngine",
        lambda graph, manifest: FakeEngine(bright_objects, manifest),
    )
    model = FloatModel(folder / "m.onnx", "", manifest, segmenter_graph(), ())
    return open_agreement(model, frame_set(folder, frames), 10), manifest


def missing(manifest: Manifest, every: int) -> FakeEngine:
    """An engine that sees nothing in each frame of a number."""
    seen = 0

    def answer(image: Image) -> Result:
        nonlocal seen
        seen += 1
        return bright_objects(image * np.uint8(seen % every != 0))

    return FakeEngine(answer, manifest)


def test_a_detector_agrees_with_itself_and_loses_with_each_box_it_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yardstick, manifest = detection_agreement(tmp_path, blocks(20), monkeypatch)
    assert (yardstick.images, yardstick.is_labelled, yardstick.figure) == (20, False, "ap50_mean_of_float")
    same = yardstick.measure(FakeEngine(bright_objects, manifest))
    assert same.required() == 1.0
    half = yardstick.measure(missing(manifest, 2))
    assert half.required() == pytest.approx(51 / 101)  # all right up to recall 0.5, of 101 points
    change = half.gain_over(same)
    assert change is not None
    assert change.value == pytest.approx(51 / 101 - 1)
    assert change.low < change.value < change.high < 0


def test_classes_that_were_not_asked_for_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake engine calls all by the first class, ``cat`` here, and loses every other frame of it."""
    manifest = fake_manifest(classes=("cat", "diningtable"), width=64, height=64)
    monkeypatch.setattr(
        "edgevision.calibration.agreement.SimulatedEngine",
        lambda graph, manifest: FakeEngine(bright_objects, manifest),
    )
    model = FloatModel(tmp_path / "m.onnx", "", manifest, segmenter_graph(), ())
    frames = frame_set(tmp_path, blocks(20))
    cats = open_agreement(model, frames, 10, "cat")
    assert cats.measure(missing(manifest, 2)).required() == pytest.approx(51 / 101)
    with pytest.raises(DataError, match="finds next to nothing"):
        open_agreement(model, frames, 10, "dining table").measure(FakeEngine(bright_objects, manifest))
    with pytest.raises(UsageError, match="has no class 'boat'"):
        open_agreement(model, frames, 10, "cat,boat")


def test_frames_that_show_nothing_cannot_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dark = [np.zeros((64, 64, 3), np.uint8)] * 8
    yardstick, manifest = detection_agreement(tmp_path, dark, monkeypatch)
    with pytest.raises(DataError, match="finds next to nothing in 8 frames held out"):
        yardstick.measure(FakeEngine(bright_objects, manifest))


def test_a_segmenter_is_compared_pixel_by_pixel(tmp_path: Path) -> None:
    model = FloatModel(tmp_path / "m.onnx", "", segmenter_manifest(), segmenter_graph(), ())
    yardstick = open_agreement(model, frame_set(tmp_path, images(8)), 10)
    same = yardstick.measure(SimulatedEngine(model.graph, model.manifest))
    assert same.required() == 1.0

    def all_dark(image: Image) -> Result:
        return SegmentationMap(np.zeros((SIZE, SIZE), np.uint8))

    other = yardstick.measure(FakeEngine(all_dark, model.manifest))
    maps = [
        SimulatedEngine(model.graph, model.manifest).infer({"frames": one[None]})["class_map"]
        for one in images(8)
    ]
    with pytest.raises(UsageError, match="`classes` without labels is for models that find objects"):
        open_agreement(model, frame_set(tmp_path, images(8)), 10, "bright")
    dark = float(np.mean(np.stack(maps) == 0))
    assert other.required() == pytest.approx(dark / 2)  # IoU of dark is its share, of bright 0


def test_labels_are_drawn_by_score_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 204/255 are objects in 80 % of the draws; the float model itself is then right in 80 %."""
    frames = [frame // 255 * 204 for frame in blocks(32)]
    yardstick, manifest = detection_agreement(tmp_path, frames, monkeypatch)
    same, again = (yardstick.measure(FakeEngine(bright_objects, manifest)) for _ in range(2))
    assert same.required() == again.required()
    assert same.required() == pytest.approx(0.8, abs=0.08)  # 128 draws: two deviations
    worse = yardstick.measure(missing(manifest, 2))
    assert worse.required() < 0.6 * same.required()


def test_a_classifier_has_none(tmp_path: Path) -> None:
    manifest = Manifest(name="k", task="classification", classes=("a", "b"), input_width=4, input_height=4)
    model = FloatModel(tmp_path / "k.onnx", "", manifest, segmenter_graph(), ())
    frames = frame_set(tmp_path, np.zeros((8, 4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match="is a classification model; `max_drop` without labels is for"):
        open_agreement(model, frames, 10)


@pytest.mark.parametrize(("seen", "objects", "is_refused"), [(1, 8, True), (4, 8, False), (1, 2, False)])
def test_an_int8_model_that_loses_every_certain_object_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: int, objects: int, is_refused: bool
) -> None:
    """``seen`` 1 sees nothing at all, 4 misses one in four; two objects can be lost by chance."""
    manifest = fake_manifest(width=64, height=64)
    monkeypatch.setattr(
        "edgevision.calibration.agreement.SimulatedEngine",
        lambda graph, manifest: FakeEngine(bright_objects, manifest),
    )
    model = FloatModel(tmp_path / "m.onnx", "", manifest, segmenter_graph(), ())
    frames = frame_set(tmp_path, blocks(objects))
    refusal = pytest.raises(CalibrationError, match=f"loses every one of the {objects} objects")
    with refusal if is_refused else contextlib.nullcontext():
        check_keeps_objects(model, missing(manifest, seen), frames)
