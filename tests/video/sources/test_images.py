import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video import expand_sources, open_source
from edgevision.video.sources.images import read_image
from tests.support.video import exif_jpeg


@pytest.fixture
def halves():
    """40 wide, 20 high: left half dark, right half bright."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 240
    return image


def test_exif_orientation_is_applied(tmp_path, halves):
    path = tmp_path / "phone.jpg"
    path.write_bytes(exif_jpeg(halves, 6))  # shown after a quarter turn clockwise
    image = read_image(path)
    assert image.shape == (40, 20, 3)
    assert image[:18].max() < 30  # what was left is on top
    assert image[22:].min() > 210


def test_sixteen_bits_become_eight(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full((4, 5, 3), 0x80FF, np.uint16))
    assert (read_image(path) == 0x80).all()
    gray = tmp_path / "deep_gray.png"
    cv2.imwrite(str(gray), np.full((4, 5), 0xFF00, np.uint16))
    assert read_image(gray).shape == (4, 5, 3)
    assert (read_image(gray) == 0xFF).all()


def test_gray_becomes_colour(tmp_path):
    path = tmp_path / "gray.png"
    cv2.imwrite(str(path), np.full((3, 4), 9, np.uint8))
    assert read_image(path).tolist() == np.full((3, 4, 3), 9).tolist()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_shows_white(tmp_path, depth):
    full = np.iinfo(depth).max
    image = np.zeros((1, 3, 4), depth)
    image[0, :, 0] = full  # blue
    image[0, :, 3] = [0, full // 2, full]
    path = tmp_path / "glass.png"
    cv2.imwrite(str(path), image)
    found = read_image(path)[0]
    assert found[0].tolist() == [255, 255, 255]
    assert found[1].tolist() == [255, 128, 128]
    assert found[2].tolist() == [255, 0, 0]


def test_one_image(tmp_path, halves):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), halves)
    with open_source(str(path)) as source:
        frames = list(source)
    assert source.info.is_image
    assert (source.info.width, source.info.height, source.info.frame_count) == (40, 20, 1)
    assert source.info.path == path
    assert len(frames) == 1
    assert frames[0].source == str(path)
    assert (frames[0].image == halves).all()


def test_a_folder_in_natural_order_with_a_bad_one(tmp_path):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((number, number, 3), number, np.uint8))
    (tmp_path / "5.png").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == [0.0, 0.04, 0.08]
    assert frames[2].source.endswith("10.png")
    assert not source.info.is_image
    assert (source.info.width, source.info.frame_count) == (None, 4)
    assert (source.report.read, source.report.skipped) == (3, 1)
    assert "5.png is not an image" in source.report.notes[0]
    assert expand_sources(str(tmp_path)) == [str(tmp_path)]


def test_a_pattern(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((2, 2, 3), np.uint8))
    with open_source(str(tmp_path / "a*.png")) as source:
        assert [frame.source[-6:] for frame in source] == ["a1.png", "a2.png"]


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    path = tmp_path / "cat[1].png"
    cv2.imwrite(str(path), np.zeros((2, 2, 3), np.uint8))
    with open_source(str(path)) as source:
        assert source.info.is_image


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "is not an image that OpenCV can read; expected JPEG"),
        (b"\xff\xd8\xff", "not an image"),
    ],
)
def test_an_image_that_is_none(tmp_path, content, message):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_source(str(path))


def test_a_folder_of_broken_images(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no")
    with (
        open_source(str(tmp_path)) as source,
        pytest.raises(SourceError, match="none of 2 images could be read"),
    ):
        list(source)
