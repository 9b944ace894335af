"""What the drawings of the worst images show."""

from __future__ import annotations

import numpy as np

from edgevision.contract.manifest import Manifest
from edgevision.evaluation.worst import draw_maps
from edgevision.types import IGNORE_ID

MANIFEST = Manifest(
    name="roads",
    task="segmentation",
    classes=("road", "sky"),
    colours=((255, 0, 0), (0, 0, 255)),
    input_width=1,
    input_height=1,
)


def test_a_wide_image_stands_above_itself_and_a_high_one_beside() -> None:
    for height, width, shape in ((60, 90, (120, 90, 3)), (90, 60, (90, 120, 3))):
        image = np.full((height, width, 3), 128, np.uint8)
        maps = np.zeros((height, width), np.uint8)
        assert draw_maps(image, maps, maps, MANIFEST).shape == shape
        assert (image == 128).all()


def test_labels_come_first_and_what_is_not_labelled_is_dark() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    labels = np.zeros((200, 300), np.uint8)
    labels[:, 200:] = IGNORE_ID
    drawn = draw_maps(image, labels, np.ones((200, 300), np.uint8), MANIFEST)
    labelled, seen = drawn[180, 150].astype(int), drawn[380, 150].astype(int)
    assert labelled[2] > labelled[0], "red, the road, in BGR"
    assert seen[0] > seen[2], "blue, the sky"
    assert drawn[180, 290].max() < 128
