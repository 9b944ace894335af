import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.contract.manifest import Manifest
from edgevision.drawing.overlay import (
    PLATES,
    Overlay,
    PlateCache,
    _label_plate,
    draw_status,
    palette,
    render,
    text_colour,
    text_plate,
)
from edgevision.engines.fake import fake_manifest
from edgevision.masks import InstanceMasks
from edgevision.types import (
    Attribute,
    Classification,
    Detections,
    Frame,
    FrameResult,
    SegmentationMap,
    Skeleton,
)

NAMES = ("person", "car", "a very long class name")
OVERLAY = Overlay(fake_manifest(classes=NAMES))


def grey(width=400, height=300, level=90):
    return np.full((height, width, 3), level, np.uint8)


def one(box, class_id=0, score=0.9, track=None):
    track_ids = None if track is None else [track]
    return Detections([box], [score], [class_id], NAMES, track_ids=track_ids)


def drawing(image, overlays, results, status=""):
    return render(FrameResult(Frame(image, 0, 0), results), overlays, status)


def changed(before, after):
    """Bounding box (x1, y1, x2, y2) of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_colours_are_distinct_and_deterministic():
    colours = palette(80)
    assert len(set(colours)) == 80
    assert palette(20) == colours[:20]
    lab = cv2.cvtColor(np.array([colours[:20]], np.float32) / 255, cv2.COLOR_BGR2Lab)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(20, dtype=bool)]
    assert distances.min() > 25  # CIE76: 2.3 is just noticeable
    assert len(palette(1000)) == 1000


@pytest.mark.parametrize(
    ("background", "expected"),
    [((255, 255, 255), 0), ((0, 0, 0), 255), ((0, 255, 255), 0), ((128, 0, 0), 255), ((0, 255, 0), 0)],
)
def test_text_contrasts_with_its_plate(background, expected):
    assert text_colour(background) == (expected,) * 3


def test_the_frame_itself_stays_untouched():
    image = grey()
    drawn = drawing(image, [OVERLAY], [one([50, 100, 150, 200])], "10 fps")
    assert (image == 90).all()
    assert (drawn != image).any()
    assert drawn.shape == image.shape


def test_a_box_is_where_it_belongs_in_its_colour():
    image = grey()
    drawn = drawing(image, [OVERLAY], [one([50, 100, 350, 200], class_id=1)])
    for x, y in ((50, 150), (349, 150), (200, 199)):
        assert tuple(drawn[y, x]) == OVERLAY.colours[1]
    assert tuple(drawn[150, 200]) == (90, 90, 90)  # nothing inside
    x1, y1, x2, y2 = changed(image, drawn)
    assert 47 <= x1 <= 50
    assert 350 <= x2 <= 353
    assert 200 <= y2 <= 203
    assert y1 < 95  # the label stands above


def test_nothing_found_changes_nothing():
    image = grey()
    assert (drawing(image, [OVERLAY], [Detections.empty()]) == image).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, 1), (7, 5), (64, 48), (400, 300), (1280, 720), (300, 4000)]),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4, st.integers(0, 2)), max_size=6),
    st.sampled_from(["", "31.2 fps  18 ms"]),
)
def test_any_box_on_any_size_is_drawn_without_failing(size, fractions, status):
    width, height = size
    rows = [
        [min(a, c) * width, min(b, d) * height, max(a, c) * width, max(b, d) * height]
        for a, b, c, d, _ in fractions
    ]
    found = Detections(np.array(rows).reshape(-1, 4), [0.5] * len(rows), [row[4] for row in fractions])
    assert drawing(grey(width, height), [OVERLAY], [found], status).shape == (height, width, 3)


@pytest.mark.parametrize("box", [[0, 0, 80, 60], [320, 0, 400, 60], [320, 240, 400, 300], [0, 240, 80, 300]])
def test_labels_in_corners_stay_whole(box):
    """The label is wider than the box; cut off at the border, half of its colour would be missing."""

    def coloured(at):
        drawn = drawing(grey(), [OVERLAY], [one(at, class_id=2)])
        return (drawn == OVERLAY.colours[2]).all(axis=2).sum()

    assert coloured(box) > 0.8 * coloured([160, 120, 240, 180])


def test_sizes_follow_the_image():
    heights = []
    for width, height in ((768, 432), (3840, 2160)):
        image = grey(width, height)
        box = [width * 0.3, height * 0.5, width * 0.6, height * 0.8]
        _, top, _, _ = changed(image, drawing(image, [OVERLAY], [one(box)]))
        heights.append((height * 0.5 - top) / height)
    assert heights[0] == pytest.approx(heights[1], rel=0.3)


def test_a_mask_is_filled_where_it_is_and_nowhere_else():
    mask = np.zeros((60, 80), bool)
    mask[:30] = True
    masks = InstanceMasks((mask,), [[100, 120]], (300, 400))
    plain = one([100, 120, 180, 180], class_id=1)
    drawn = drawing(grey(), [OVERLAY], [dataclasses.replace(plain, masks=masks)])
    expected = np.array(OVERLAY.colours[1]) * OVERLAY.opacity + 90 * (1 - OVERLAY.opacity)
    assert drawn[140, 140] == pytest.approx(expected, abs=1)
    assert tuple(drawn[165, 140]) == (90, 90, 90)


def test_bones_join_the_points_that_are_seen():
    skeleton = Skeleton(("a", "b", "c"), ((0, 1), (1, 2)))
    points = [[[120, 150, 0.9], [180, 150, 0.8], [180, 250, 0.1]]]
    plain = one([100, 120, 300, 280], class_id=1)
    found = dataclasses.replace(plain, keypoints=points, skeleton=skeleton)
    drawn = drawing(grey(), [OVERLAY], [found])
    assert drawn[150, 150] == pytest.approx(np.array(OVERLAY.colours[1], float), abs=40)  # smooth edges
    assert tuple(drawn[150, 180]) == (255, 255, 255)
    assert tuple(drawn[200, 180]) == (90, 90, 90)  # to a point that is not seen
    far = dataclasses.replace(found, keypoints=[[[1e30, -1e30, 1.0], [180, 150, 1.0], [5, 5, 1.0]]])
    assert (drawing(grey(), [OVERLAY], [far])[150, 180] == 255).all()


def test_a_rotated_box_is_drawn_along_its_sides():
    found = dataclasses.replace(one([100, 100, 200, 200]), rotated_boxes=[[150, 150, 80, 40, np.pi / 4]])
    drawn = drawing(grey(), [OVERLAY], [found])
    side = 40 / 2**0.5  # the middle of the far end of the long side
    assert tuple(drawn[round(150 + side), round(150 + side)]) == OVERLAY.colours[0]
    assert tuple(drawn[150, 199]) == (90, 90, 90)  # no upright box
    assert tuple(drawn[150, 150]) == (90, 90, 90)


def test_labels_of_the_image_stand_below_each_other():
    shown = Classification([0.9, 0.8, 0.1], NAMES, "test", True, 0.5)
    first = drawing(grey(), [OVERLAY], [dataclasses.replace(shown, threshold=0.85)])
    both = drawing(grey(), [OVERLAY], [shown])
    assert (first[2, 2] == OVERLAY.colours[0]).all()
    bottom = changed(grey(), first)[3]
    assert changed(grey(), both)[3] == 2 * bottom
    assert (both[bottom + 1, 2] == OVERLAY.colours[1]).all()


def test_what_a_second_model_said_stands_beside_the_class():
    attributes = np.empty(1, object)
    attributes[0] = (Attribute("helmet", 0.9, "ppe", (150.0, 120.0, 250.0, 160.0)),)
    plain = one([50, 100, 350, 200], class_id=1)
    without = drawing(grey(), [OVERLAY], [plain])
    drawn = drawing(grey(), [OVERLAY], [dataclasses.replace(plain, attributes=attributes)])
    assert tuple(drawn[120, 200]) == (255, 255, 255)  # where it was found
    assert (drawn[:100] != without[:100]).any()  # a longer label
    attributes[0] = ()
    same = drawing(grey(), [OVERLAY], [dataclasses.replace(plain, attributes=attributes)])
    assert (same == without).all()


def test_track_ids_are_shown():
    plain = drawing(grey(), [OVERLAY], [one([50, 100, 350, 200])])
    tracked = drawing(grey(), [OVERLAY], [one([50, 100, 350, 200], track=12)])
    _, _, _, bottom = changed(plain, tracked)
    assert bottom <= 100  # only the label differs


def test_a_class_map_is_blended_with_a_legend():
    manifest = Manifest(
        name="s",
        task="segmentation",
        classes=("road", "sky"),
        input_width=32,
        input_height=32,
        colours=((255, 0, 0), (0, 0, 255)),
    )
    class_map = np.zeros((300, 400), np.uint8)
    class_map[:, 200:] = 1
    drawn = drawing(grey(), [Overlay(manifest)], [SegmentationMap(class_map, manifest.classes)])
    left, right = drawn[250, 100].astype(int), drawn[250, 300].astype(int)
    assert left[2] > left[0] + 80  # red, in BGR
    assert right[0] > right[2] + 80
    assert 30 < left[0] < 90  # the image shines through
    assert tuple(drawn[1, 1]) == (0, 0, 255)  # the legend's first plate
    only_road = drawing(
        grey(), [Overlay(manifest)], [SegmentationMap(np.zeros((300, 400), np.uint8), manifest.classes)]
    )
    assert (only_road == (255, 0, 0)).all(axis=2).sum() == 0  # no plate for what is not there


def test_boxes_are_drawn_over_maps_whatever_the_order():
    segmenter = Overlay(fake_manifest("segmentation", ("a", "b")))
    found, area = one([50, 100, 350, 200]), SegmentationMap(np.ones((300, 400), np.uint8), ("a", "b"))
    first = drawing(grey(), [OVERLAY, segmenter], [found, area])
    second = drawing(grey(), [segmenter, OVERLAY], [area, found])
    assert (first == second).all()
    assert tuple(first[150, 50]) == OVERLAY.colours[0]


def test_the_status_is_in_the_lower_left_corner():
    image = grey()
    drawn = image.copy()
    draw_status(drawn, "31.2 fps  18 ms")
    x1, y1, x2, y2 = changed(image, drawn)
    assert (x1, y2) == (0, 300)
    assert y1 > 250
    assert x2 < 300


def test_thickness_and_outline_of_a_box():
    drawn = drawing(grey(), [OVERLAY], [one([50, 100, 350, 200])])
    colour = OVERLAY.colours[0]
    row = [tuple(pixel) for pixel in drawn[150, 47:54]]
    assert row == [(90,) * 3, (0,) * 3, colour, colour, (0,) * 3, (90,) * 3, (90,) * 3]
    assert [tuple(pixel) for pixel in drawn[48:50, 47]] == [(90,) * 3] * 2


def test_labels_of_many_scores_share_their_halves():
    """With numbered objects and changing scores, whole labels never repeat."""
    plates = [_label_plate(f"lone #{i}", f"7.{i}", (0, 255, 0), 2) for i in range(10, 30)]
    assert len({plate.shape[0] for plate in plates}) == 1
    before = PLATES.rendered
    for i in range(10, 30):
        _label_plate(f"lone #{i}", f"7.{i + 50}", (0, 255, 0), 2)
    assert PLATES.rendered - before == 40  # the labels and their scores; the names are known


def test_a_status_that_always_changes_keeps_no_memory():
    before = PLATES.held
    for i in range(20):
        draw_status(grey(), f"{i}.7 fps  {i + 30} ms")
    assert PLATES.held == before


def plate_of(size):
    return lambda: np.zeros((1, size // 3, 3), np.uint8)


def test_plates_are_kept_up_to_so_many_bytes_and_the_unused_go_first():
    cache = PlateCache(900)
    for key in "abc":
        cache.get(key, plate_of(300))
    first = cache.get("a", plate_of(300))
    cache.get("d", plate_of(300))  # in place of b, for a was wanted again
    assert (cache.held, cache.rendered) == (900, 4)
    assert cache.get("a", plate_of(300)) is first
    cache.get("b", plate_of(300))
    assert cache.rendered == 5


def test_a_plate_too_large_to_keep_is_still_made():
    cache = PlateCache(900)
    assert cache.get("large", plate_of(1200)).nbytes == 1200
    assert cache.held == 0


def test_large_images_hold_no_more_plates_than_small_ones():
    """With 4K and objects that are numbered, entries alone would hold 150 MB."""
    for i in range(2000):
        text_plate(f"person #{i}", (0, 255, 0), 9)
    assert PLATES.held <= 32 * 2**20
