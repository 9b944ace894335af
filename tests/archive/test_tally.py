import cv2
import numpy as np

from edgevision.archive.tally import BINS, CROPS, BestCrops, Tally, read_crops, write_crops
from edgevision.types import Detections, Frame, FrameResult


def result(index, time_s, *rows):
    """Rows are class ids of two classes, each with a score, and perhaps a track id."""
    frame = Frame(np.full((60, 80, 3), index % 256, np.uint8), index, round(time_s * 1e9))
    tracks = [row[2] if len(row) > 2 else None for row in rows]
    boxes = np.tile(np.array([[10, 10, 30, 40]], np.float32), (len(rows), 1))
    scores, ids = [row[1] for row in rows], [row[0] for row in rows]
    return FrameResult(frame, (Detections(boxes, scores, ids, ("cat", "dog"), "m", tracks),))


def test_counts_by_class():
    tally = Tally()
    tally.add(result(0, 0.0))
    tally.add(result(1, 0.5, (0, 0.9, 1), (0, 0.8, 2)))
    tally.add(result(2, 2.1, (1, 0.7, 3)))
    tally.add(result(3, 3.0, (0, 0.9, 1)))
    found = tally.classes()
    assert list(found) == ["cat", "dog"]  # the most frequent first
    cat = found["cat"]
    assert (cat.detections, cat.most, cat.tracks, cat.first_s, cat.last_s) == (3, 2, 2, 0.5, 3.0)
    assert (cat.bins, found["dog"].bins) == ([2, 0, 0, 1], [0, 0, 1])
    assert tally.frames == 4


def test_bins_of_a_long_file_grow():
    tally = Tally()
    for second in range(1000):
        tally.add(result(second, float(second), (0, 0.5)))
    bins = tally.classes()["cat"].bins
    assert tally.bin_s == 16.0
    assert len(bins) <= BINS
    assert bins[:-1] == [16] * (len(bins) - 1)
    assert sum(bins) == 1000


def test_the_best_crops_are_the_same_in_parts():
    scores = np.random.default_rng(1).integers(30, 60, 200) / 100
    whole, parts = BestCrops(), [BestCrops() for _ in range(4)]
    for index, score in enumerate(scores):
        one = result(index, index / 2, (index % 2, float(score)))
        for crops in (whole, parts[index // 50]):
            crops.add(one.frame, one.detections, one.frame.time_s)
    joined = BestCrops(crop for part in parts for crop in part.crops())
    assert joined.crops() == whole.crops()
    assert len(whole.crops()) == 2 * CROPS
    cats = [crop for crop in whole.crops() if crop.class_name == "cat"]
    of_slots = [max(scores[start : start + 4 : 2]) for start in range(0, 200, 4)]  # a slot is two seconds
    assert [crop.score for crop in cats] == sorted(np.round(of_slots, 4), reverse=True)[:CROPS]
    assert len({int(crop.time_s // 2) for crop in cats}) == CROPS


def test_a_crop_shows_the_detection_and_is_kept_in_a_file(tmp_path):
    crops = BestCrops()
    one = result(77, 1.0, (0, 0.9))
    crops.add(one.frame, one.detections, 1.0)
    (crop,) = crops.crops()
    image = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == (40, 27)  # 30 x 20 pixels and a margin
    assert abs(int(image.mean()) - 77) < 3
    write_crops(tmp_path / "a.crops", crops.crops())
    assert read_crops(tmp_path / "a.crops") == crops.crops()
    assert read_crops(tmp_path / "none.crops") == []
