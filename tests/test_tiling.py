"""Tiles of an image, and edgevision.labelling.views, which looks at them too."""

import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine, bright_objects, fake_manifest
from edgevision.errors import UsageError
from edgevision.labelling.views import TILE_SCALE, look
from edgevision.model import Model
from edgevision.pipeline import Pipeline, Stream
from edgevision.tiling import TiledModel, Tiling, inside_tile, merge_tiles, without_repeats
from edgevision.types import Detections
from edgevision.video.sinks.memory import ListSink
from edgevision.video.sources.arrays import ArraySource


def found(*rows):
    """Rows of x1, y1, x2, y2, score, class."""
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x2", Tiling(2, 2, 1 / 3)),
        ("3x1:0.2", Tiling(3, 1, 0.2)),
        ("1x4:0", Tiling(1, 4, 0.0)),
        ("8x8:.5", Tiling(8, 8, 0.5)),
    ],
)
def test_a_grid(text, expected):
    assert Tiling.parse(text) == expected


@pytest.mark.parametrize("text", ["2", "0x2", "2x2:1", "2x2:1.5", "9x9", "2x2:", "axb", "2x2:-0.1"])
def test_what_is_no_grid(text):
    with pytest.raises(UsageError, match=r"such as 2x2 or 3x2:0.2"):
        Tiling.parse(text)


@pytest.mark.parametrize(
    "tiling", [Tiling(2, 2), Tiling(3, 2, 0.2), Tiling(1, 1), Tiling(5, 3, 0.0), Tiling(8, 8, 0.9)]
)
@pytest.mark.parametrize("size", [(640, 480), (1919, 1079), (7, 5), (100, 3)])
def test_tiles_cover_the_image_and_overlap(tiling, size):
    width, height = size
    corners = list(tiling.corners(width, height))
    assert len(corners) == tiling.columns * tiling.rows
    seen = np.zeros((height, width), bool)
    for left, top, right, bottom in corners:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert len({(right - left, bottom - top) for left, top, right, bottom in corners}) == 1
    if tiling.columns > 1 and width > 500:
        side = corners[0][2] - corners[0][0]
        assert (corners[0][2] - corners[1][0]) / side == pytest.approx(tiling.overlap, abs=0.02)


def test_the_four_tiles_of_labelling_are_0_6_of_the_sides():
    assert list(Tiling(2, 2).corners(1000, 500)) == [
        (0, 0, 600, 300), (400, 0, 1000, 300), (0, 200, 600, 500), (400, 200, 1000, 500),
    ]  # fmt: skip


def test_what_an_inner_border_cuts_is_left_out():
    seen = found((0, 10, 20, 30, 0.9, 0), (80, 10, 100, 30, 0.8, 0), (40, 40, 60, 60, 0.7, 1))
    kept = inside_tile(seen, (0, 0, 100, 100), 200, 100)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])  # the image's own border cuts nothing
    kept = inside_tile(seen, (100, 0, 200, 100), 200, 100)
    assert kept.boxes.tolist() == [[180, 10, 200, 30], [140, 40, 160, 60]]


def test_hand_worked_merging():
    whole = found((10, 10, 30, 30, 0.6, 0), (100, 50, 120, 70, 0.4, 1))
    tiles = [
        (found((10, 10, 30, 34, 0.9, 0)), (0, 0, 120, 60)),
        (found((60, 20, 80, 40, 0.6, 0)), (80, 0, 200, 60)),
        (found(), (0, 40, 120, 100)),
        (found((20, 10, 40, 30, 0.5, 1)), (80, 40, 200, 100)),
    ]
    merged = merge_tiles(whole, iter(tiles), 200, 100)
    # Both see two: mean score, mean box weighted by the scores. Only a tile sees the other: times 0.85.
    assert merged.scores.tolist() == pytest.approx([0.75, 0.51, 0.45])
    assert merged.boxes[0].tolist() == pytest.approx([10, 10, 30, (0.6 * 30 + 0.9 * 34) / 1.5])
    assert merged.boxes[1].tolist() == [140, 20, 160, 40]
    assert merged.class_ids.tolist() == [0, 0, 1]


def test_suppression_is_that_of_sahi():
    combine = pytest.importorskip("sahi.postprocess.combine")
    prediction = pytest.importorskip("sahi.prediction")
    generator = np.random.default_rng(5)
    for _ in range(20):
        corner = generator.uniform(0, 80, (40, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(15, 40, (40, 2))], axis=1)
        rows = [(*box, score, kind) for box, score, kind in zip(
            boxes, generator.permutation(40) / 50 + 0.1, generator.integers(0, 3, 40), strict=True
        )]  # fmt: skip
        ours = without_repeats(found(*rows))
        given = [
            prediction.ObjectPrediction(
                bbox=list(row[:4]), category_id=int(row[5]), score=row[4], category_name="x"
            )
            for row in rows
        ]
        theirs = combine.NMSPostprocess(match_threshold=0.5, match_metric="IOU", class_agnostic=False)(given)
        assert sorted(one.score.value for one in theirs) == pytest.approx(sorted(ours.scores.tolist()))


def scene():
    """Dark, 320x240, with spots of three sizes."""
    image = np.full((240, 320, 3), 20, np.uint8)
    for left, top, side in ((20, 30, 3), (200, 60, 8), (150, 120, 40)):
        image[top : top + side, left : left + side] = 255
    return image


def small_model(cls=Model, **settings):
    return cls(FakeEngine(bright_objects, fake_manifest(width=80, height=80)), 0.3, **settings)


def test_tiles_find_what_the_whole_image_is_too_coarse_for():
    image = scene()
    coarse, fine = small_model()(image), small_model(TiledModel, tiling=Tiling(4, 3, 0.3))(image)
    assert len(coarse) < len(fine) == 3
    smallest = fine[int(np.argmin(fine.boxes[:, 2] - fine.boxes[:, 0]))]
    assert smallest.box == pytest.approx((20, 30, 23, 33), abs=2.5)


def test_labelling_and_running_look_alike():
    image = scene()
    teacher = Model(FakeEngine(bright_objects, fake_manifest(width=80, height=80)), 0.0)
    labelled = look(teacher, image, flip=False, scales=[TILE_SCALE])
    run = small_model(TiledModel, tiling=Tiling(2, 2)).with_threshold(0.0)(image)
    assert np.allclose(labelled.boxes, run.boxes, atol=1e-4)
    assert np.allclose(labelled.scores, run.scores)


def test_several_images_at_a_time():
    model, image = small_model(TiledModel, tiling=Tiling(2, 2)), scene()
    other = np.ascontiguousarray(image[:100, ::-1])
    both = model([image, other])
    for one, alone in zip(both, (model(image), model(other)), strict=True):
        assert np.array_equal(one.boxes, alone.boxes)


def test_a_pipeline_runs_tiles():
    model, images, sink = (
        small_model(TiledModel, tiling=Tiling(2, 2)),
        [scene(), scene()[:, ::-1].copy()],
        ListSink(),
    )
    Pipeline([Stream(source=ArraySource(images), sinks=[sink])], [model]).run()
    for result, image in zip(sink.results, images, strict=True):
        assert np.array_equal(result.detections.boxes, model(image).boxes)
        assert len(result.detections)


def test_tiles_of_a_segmenter_are_refused():
    engine = FakeEngine(manifest=fake_manifest("segmentation", ("a", "b")))
    with pytest.raises(UsageError, match="`tiles` are for models that give boxes alone"):
        TiledModel(engine, tiling=Tiling(2, 2))
