"""Still images of a stream, written from frames with known colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.drawing.overlay import Overlay
from edgevision.drawing.snapshot import SnapshotSink, image_of_zones
from edgevision.engines.fake import fake_manifest
from edgevision.errors import OutputExistsError
from edgevision.types import Detections, Frame, FrameResult
from tests.support.zones import DOOR, YARD, layout_of

OVERLAYS = [Overlay(fake_manifest(classes=("person",)), 0.45)]


def result_at(time_s, grey=0):
    frame = Frame(np.full((100, 100, 3), grey, np.uint8), round(time_s * 10), round(time_s * 1e9), "gate")
    return FrameResult(frame, (Detections([[20, 20, 80, 80]], [0.9], [0], ("person",)),))


def take(sink, results):
    with sink:
        for result in results:
            sink.write(result, result.frame.image)


def test_the_image_the_boxes_and_the_zones(tmp_path):
    layout = layout_of(tmp_path, YARD + DOOR.split("margin: 0")[1])
    sink = SnapshotSink(tmp_path / "out", "gate", OVERLAYS, layout)
    take(sink, [result_at(0.0), result_at(0.1, grey=255)])
    files = [tmp_path / "out" / f"gate{kind}.jpg" for kind in ("", ".boxes", ".zones")]
    assert sink.written() == ", ".join(map(str, files))
    plain, boxes, zones = (cv2.imread(str(path)) for path in files)
    assert plain.max() == 0  # the first frame, as it came
    assert boxes.max() > 100
    assert zones[20, 50].max() > 100  # the upper border of the yard
    assert sink.closed


def test_a_camera_is_given_a_second_and_its_last_frame_does_where_it_ends_before(tmp_path):
    def grey_of(name, *results):
        take(SnapshotSink(tmp_path, name, OVERLAYS, is_live=True), results)
        assert not (tmp_path / f"{name}.zones.jpg").exists()
        return int(cv2.imread(str(tmp_path / f"{name}.jpg"))[0, 0, 0])

    dark, light = result_at(5.0), result_at(6.1, grey=200)
    assert grey_of("settled", dark, light, result_at(6.2, grey=90)) == 200
    assert grey_of("short", dark, result_at(5.5, grey=90)) == 90


def test_what_exists_stays(tmp_path):
    (tmp_path / "gate.boxes.jpg").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"gate\.boxes\.jpg"):
        SnapshotSink(tmp_path, "gate", OVERLAYS)
    take(SnapshotSink(tmp_path, "gate", OVERLAYS, overwrite=True), [result_at(0.0)])
    assert cv2.imread(str(tmp_path / "gate.boxes.jpg")) is not None


def test_zones_are_drawn_on_a_copy(tmp_path):
    image = np.zeros((100, 100, 3), np.uint8)
    assert image_of_zones(image, layout_of(tmp_path, YARD)).max() > 0
    assert image.max() == 0
