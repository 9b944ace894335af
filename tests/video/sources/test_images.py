import struct
import zlib

import av
import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video import expand_sources, open_source
from edgevision.video.sources import animation, images
from edgevision.video.sources.images import read_image
from tests.support.paths import SHARED
from tests.support.video import exif_jpeg, number_of, numbered, write_clip

CASES = SHARED / "cases"


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


def with_exif(png, orientation):
    """A PNG with an eXIf chunk after its header."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_orientation_of_a_png(tmp_path, halves, channels):
    image = cv2.cvtColor(
        halves, {1: cv2.COLOR_BGR2GRAY, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGR2BGRA}[channels]
    )
    path = tmp_path / "turned.png"
    path.write_bytes(with_exif(cv2.imencode(".png", image)[1].tobytes(), 6))
    found = read_image(path)
    assert found.shape == (40, 20, 3)
    assert found[:20].max() == 0
    assert found[20:].min() == 240


def write_tiff(path, bgra, extra):
    """An uncompressed RGBA TIFF of 8 or 16 bits; ``extra`` is ExtraSamples (TIFF 6.0), None for none."""
    height, width = bgra.shape[:2]
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 4, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 0), (277, 3, 1, 4), (278, 3, 1, height), (279, 4, 1, bgra.nbytes)]
    tags += [] if extra is None else [(338, 3, 1, extra)]
    bits = 8 + 2 + 12 * len(tags) + 4
    values = {258: bits, 273: bits + 8}
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, kind, count, value in tags:
        data += struct.pack("<HHII", tag, kind, count, values.get(tag, value))
    data += bytes(4) + struct.pack("<4H", *[8 * bgra.itemsize] * 4) + bgra[..., [2, 1, 0, 3]].tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(("extra", "red"), [(2, 220), (1, 173), (None, 220)])
def test_alpha_of_a_tiff_is_applied_once(tmp_path, extra, red, depth):
    # Associated alpha (1) stores colours that are multiplied already: 220 * 200 / 255 = 173.
    image = np.full((8, 8, 4), (0, 0, red, 200), depth) * depth(1 if depth is np.uint8 else 257)
    path = write_tiff(tmp_path / "glass.tif", image, extra)
    # 255 - 200 = 55 of the white; 220 * 200 / 255 + 55 = 227.5
    assert np.abs(read_image(path)[4, 4].astype(int) - (55, 55, 228)).max() <= 1


def test_a_tiff_of_several_images_is_noted(tmp_path):
    pages = [np.full((48, 64, 3), level, np.uint8) for level in (10, 120, 240)]
    assert cv2.imwritemulti(str(tmp_path / "pages.tif"), pages)
    cv2.imwrite(str(tmp_path / "one.tif"), pages[0])
    for name, notes in (("pages.tif", 1), ("one.tif", 0)):
        with open_source(str(tmp_path / name)) as source:
            (frame,) = source
        assert frame.image[5, 5].tolist() == [10, 10, 10]
        assert source.report.notes == [f"{tmp_path / name} has several images: the first is used"] * notes


def test_a_video_that_is_named_as_an_image_is_refused(tmp_path):
    path = tmp_path / "clip.jpg"
    write_clip(tmp_path / "clip.mp4", [0, 40, 80]).rename(path)
    with pytest.raises(SourceError, match=r"clip\.jpg is not an image"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("suffix", "limit"), [(".png", 0), (".bmp", 0), (".jpg", 0), (".webp", 0), (".tif", 0)]
)
def test_an_image_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, halves, suffix, limit):
    path = tmp_path / f"large{suffix}"
    cv2.imwrite(str(path), halves)
    assert read_image(path).shape == (20, 40, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", limit)
    with pytest.raises(SourceError, match=r"is 40x20; expected at most 0 million pixels: scale it down"):
        read_image(path)


def test_a_png_of_30000_x_30000_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(40))
    with pytest.raises(SourceError, match="is 30000x30000; expected at most 250 million pixels"):
        read_image(path)


def test_a_size_that_stands_behind_megabytes_of_profiles_is_seen(tmp_path):
    path = tmp_path / "bomb.jpg"
    profile = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 30_000, 30_000, 1) + b"\1\x11\0"
    path.write_bytes(b"\xff\xd8" + profile * 3 + frame + bytes(40))
    with pytest.raises(SourceError, match="is 30000x30000; expected at most 250 million pixels"):
        read_image(path)


def write_still(path, codec, pixels, muxer=None):
    with av.open(path, "w", format=muxer) as container:
        video = container.add_stream(codec, rate=1)
        video.width, video.height, video.pix_fmt = 160, 96, pixels
        frame = av.VideoFrame.from_ndarray(numbered(5), format="bgr24").reformat(format=pixels)
        for packet in [*video.encode(frame), *video.encode(None)]:
            container.mux(packet)
    return path


def test_a_still_gif_is_an_image(tmp_path):
    with open_source(str(write_still(tmp_path / "photo.gif", "gif", "rgb8"))) as source:
        frames = list(source)
    assert source.info.is_image
    assert [number_of(frame.image) for frame in frames] == [5]


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize("name", ["photo.heic", "photo.avif", "photo.gif"])
def test_stills_of_reports_are_images(name):
    with open_source(str(CASES / "still-heic-avif-gif-as-image" / name)) as source:
        (frame,) = source
    assert source.info.is_image
    assert frame.image.shape == (180, 320, 3)
    assert np.abs(frame.image[5, 5].astype(int) - (0, 0, 220)).max() < 8


def write_animation(path, count=6):
    animation = cv2.Animation()
    animation.frames = [numbered(number) for number in range(count)]
    animation.durations = [200] * (count - 1) + [700]
    assert cv2.imwriteanimation(str(path), animation)
    return path


@pytest.mark.parametrize("name", ["moving.webp", "moving.png"])
def test_animated_webp_and_png_are_videos(tmp_path, name):
    with open_source(str(write_animation(tmp_path / name))) as source:
        frames = list(source)
    assert not source.info.is_image
    assert [number_of(frame.image) for frame in frames] == list(range(6))
    assert [frame.timestamp_ns // 1_000_000 for frame in frames] == [0, 200, 400, 600, 800, 1000]
    assert frames[-1].duration_ns == 700_000_000
    assert source.info.frame_rate == pytest.approx(5)


def test_a_long_animation_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(animation, "_CHUNK_PIXELS", 2 * 160 * 96)
    with open_source(str(write_animation(tmp_path / "moving.webp", 5))) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(5))
    assert [frame.timestamp_ns // 1_000_000 for frame in frames] == [0, 200, 400, 600, 800]


def test_among_images_the_first_of_an_animation_is_used_and_that_is_noted(tmp_path):
    write_animation(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), numbered(9))
    with open_source(str(tmp_path)) as source:
        assert [number_of(frame.image) for frame in source] == [0, 9]
    assert source.report.notes == [f"{tmp_path / 'a.png'} is animated: its first image is used"]
