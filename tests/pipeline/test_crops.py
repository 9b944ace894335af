"""A second model on the boxes of the first: which it looks at, how often, and what it says."""

import dataclasses

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine, bright_objects, fake_manifest
from edgevision.model import Model
from edgevision.pipeline.crops import CropReader, SharedModel
from edgevision.types import Attribute, Classification, Detections, Frame, FrameResult, SegmentationMap

NAMES = ("person", "car")
SHADES = ("dark", "light")


def shade(image):
    """A classifier's answer: how light the crop is."""
    light = float(image.mean()) / 255
    return Classification([1 - light, light], SHADES)


def classifier(threshold=0.5, **further):
    manifest = fake_manifest("classification", SHADES, 8, 8, **further)
    return SharedModel(Model(FakeEngine(shade, manifest), threshold))


def frame(image=None, index=0):
    if image is None:
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, 30:] = 255
    return Frame(image, index, index * 40_000_000)


DARK, LIGHT = [0, 0, 20, 20], [40, 10, 60, 30]


def result(boxes=(DARK, LIGHT), class_ids=(0, 1), track_ids=None, index=0):
    found = Detections(boxes, [0.9] * len(boxes), class_ids, NAMES, "first", track_ids)
    return FrameResult(frame(index=index), (found,))


def said(updated):
    return [[one.name for one in row.attributes] for row in updated.detections]


def test_each_box_is_looked_at_in_one_call():
    model = classifier()
    updated = CropReader(model).update(result())
    assert said(updated) == [["dark"], ["light"]]
    assert updated.detections[1].attributes == (Attribute("light", 1.0, "fake"),)
    assert model.model.engine.calls == 1
    assert updated.detections.boxes.tolist() == [DARK, LIGHT]


def test_only_the_classes_that_were_named():
    assert said(CropReader(classifier(), ["car"]).update(result())) == [[], ["light"]]


def test_the_threshold_holds_and_several_labels_may():
    both = np.zeros((40, 60, 3), np.uint8)
    both[:, ::2] = 255
    half = FrameResult(frame(both), result(boxes=[DARK], class_ids=[0]).results)
    assert said(CropReader(classifier(0.6)).update(half)) == [[]]
    several = CropReader(classifier(0.4, multi_label=True)).update(half)
    assert said(several) == [["light", "dark"]] or said(several) == [["dark", "light"]]


def test_each_track_is_looked_at_once_and_the_answer_stays():
    model = classifier()
    reader = CropReader(model, every_track=True)
    assert said(reader.update(result(track_ids=[None, 7]))) == [[], ["light"]]
    moved = result(boxes=[DARK, DARK], track_ids=[3, 7], index=1)
    assert said(reader.update(moved)) == [["dark"], ["light"]]
    assert said(reader.update(result(boxes=[LIGHT], class_ids=[0], track_ids=[3], index=2))) == [["dark"]]
    assert model.model.engine.calls == 2
    assert said(reader.update(result())) == [[], []]  # nobody tracks


def test_without_every_track_each_frame_counts():
    reader = CropReader(classifier())
    assert said(reader.update(result(boxes=[DARK], class_ids=[0], track_ids=[7]))) == [["dark"]]
    assert said(reader.update(result(boxes=[LIGHT], class_ids=[0], track_ids=[7], index=1))) == [["light"]]


def test_many_boxes_go_in_parts():
    model = classifier()
    boxes = [[3 * i, 0, 3 * i + 3, 20] for i in range(19)]
    updated = CropReader(model).update(result(boxes, [0] * 19))
    assert said(updated) == [["dark"]] * 10 + [["light"]] * 9
    assert model.model.engine.calls == 3


@pytest.mark.parametrize("box", [[5, 5, 5.9, 30], [60, 0, 60, 40], [-9, -9, 0, 0]])
def test_boxes_in_which_nothing_can_be_seen_are_left_out(box):
    model = classifier()
    assert said(CropReader(model).update(result([box], [0]))) == [[]]
    assert model.model.engine.calls == 0


def test_a_box_beyond_the_image_is_cut():
    assert said(CropReader(classifier()).update(result([[50, -20, 90, 60]], [0]))) == [["light"]]


def test_a_detector_says_where():
    image = np.zeros((40, 60, 3), np.uint8)
    image[12:16, 24:28] = 255
    second = Model(FakeEngine(bright_objects, fake_manifest(width=20, height=20)), 0.5)
    given = FrameResult(frame(image), result([[20, 10, 40, 30]], [0], [5]).results)
    updated = CropReader(SharedModel(second)).update(given)
    ((one,),) = [row.attributes for row in updated.detections]
    assert (one.name, one.model, one.box) == ("bright", "fake", (24.0, 12.0, 28.0, 16.0))
    reader = CropReader(SharedModel(second), every_track=True)
    first, later = reader.update(given), reader.update(dataclasses.replace(given))
    assert first.detections[0].attributes[0].box == one.box
    assert later.detections[0].attributes[0].box is None  # the object may have moved


def test_nothing_found_and_class_maps_pass_through():
    class_map = SegmentationMap(np.zeros((40, 60), np.uint8), ("road",))
    given = FrameResult(frame(), (Detections.empty(NAMES), class_map))
    updated = CropReader(classifier()).update(given)
    assert updated.results[1] is class_map
    assert said(updated) == []


def test_only_the_last_tracks_are_remembered(monkeypatch):
    monkeypatch.setattr("edgevision.pipeline.crops._REMEMBERED", 2)
    model = classifier()
    reader = CropReader(model, every_track=True)
    for track in (1, 2, 1, 3, 1):
        reader.update(result([DARK], [0], [track]))
    assert model.model.engine.calls == 3
    reader.update(result([DARK], [0], [2]))  # forgotten
    assert model.model.engine.calls == 4
