"""The lists of suffixes fit what reads and writes such files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision import suffixes
from edgevision.data.images import decode_image
from edgevision.video.sinks.images import save_image

LISTS = ("IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "MODEL_SUFFIXES", "CHECKPOINT_SUFFIXES")


def test_each_suffix_is_lower_case_and_stands_in_one_list() -> None:
    found = [suffix for name in LISTS for suffix in getattr(suffixes, name)]
    assert len(found) == len(set(found))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in found)


@pytest.mark.parametrize("suffix", suffixes.SAVED_IMAGE_SUFFIXES)
def test_an_image_that_is_written_can_be_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    save_image(path, np.full((8, 12, 3), 200, np.uint8))
    assert decode_image(path).shape == (8, 12, 3)


@pytest.mark.parametrize("suffix", sorted(set(suffixes.IMAGE_SUFFIXES) - {".pbm", ".pgm"}))
def test_an_image_of_any_kind_can_be_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    written = path.with_suffix(".jpg") if suffix == ".jfif" else path  # OpenCV has no writer of it
    assert cv2.imwrite(str(written), np.full((64, 96, 3), 200, np.uint8))
    written.rename(path)
    assert decode_image(path).shape == (64, 96, 3)
