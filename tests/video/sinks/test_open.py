"""Which sink an address opens, and what is refused before anything is written.

Also tests ``edgevision.video.sinks.images``.
"""

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import OutputExistsError, SinkError
from edgevision.types import Frame, FrameResult
from edgevision.video import open_sink, open_source
from edgevision.video.base import SourceInfo

VIDEO = SourceInfo("clip.mp4", False, 20, 10)
IMAGE = SourceInfo("cat.png", False, 20, 10, is_image=True)
PICTURE = np.zeros((10, 20, 3), np.uint8)
PICTURE[:, :, 1] = np.linspace(0, 240, 20)


def write(sink, count=1):
    with sink:
        for index in range(count):
            sink.write(FrameResult(Frame(PICTURE, index, index * 40_000_000), ()), PICTURE)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".PNG"])
def test_an_image_for_an_image(tmp_path, suffix, capfd):
    path = tmp_path / f"out{suffix}"
    write(open_sink(str(path), info=IMAGE))
    assert capfd.readouterr() == ("", "")  # OpenCV warns of parameters that a format does not know
    assert np.abs(cv2.imread(str(path)).astype(int) - PICTURE).max() <= (
        0 if suffix != ".jpg" else 6
    ) or suffix in (
        ".jpeg",
        ".webp",
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # nothing half-written beside it


def test_numbered_images(tmp_path):
    write(open_sink(str(tmp_path / "%04d.png"), info=VIDEO), 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "0001.png", "0002.png"]
    assert (cv2.imread(str(tmp_path / "0002.png")) == PICTURE).all()


def test_numbered_images_are_not_mixed_with_old_ones(tmp_path):
    (tmp_path / "000007.jpg").write_text("old")
    (tmp_path / "other.txt").write_text("does not matter")
    with pytest.raises(OutputExistsError, match=r"output exists: .*000007\.jpg; .* `overwrite`"):
        open_sink(str(tmp_path / "%06d.jpg"), info=VIDEO)
    write(open_sink(str(tmp_path / "%06d.jpg"), info=VIDEO, overwrite=True))
    assert (tmp_path / "000000.jpg").is_file()


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SinkError, match=r"^cannot use folder .*: Too many open files; choose another$"):
        open_sink(str(tmp_path / "%06d.jpg"), info=VIDEO)


@pytest.mark.parametrize("name", ["%s.jpg", "%d_%d.jpg", "100%.jpg", "%-3d.jpg"])
def test_patterns_that_are_none(tmp_path, name):
    with pytest.raises(SinkError, match=r"expected one number in the name, such as .*%06d\.jpg"):
        open_sink(str(tmp_path / name), info=VIDEO)


def test_one_image_for_a_video_is_refused(tmp_path):
    with pytest.raises(
        SinkError, match=r"is a single image, but clip\.mp4 has many frames; write to .*%06d\.png"
    ):
        open_sink(str(tmp_path / "out.png"), info=VIDEO)


@pytest.mark.parametrize("name", ["out.mp4", "out.jsonl", "out.png"])
def test_existing_outputs_are_refused_untouched(tmp_path, name):
    path = tmp_path / name
    path.write_text("precious")
    with pytest.raises(OutputExistsError, match="`overwrite`") as caught:
        open_sink(str(path), info=IMAGE)
    assert caught.value.exit_code == 2
    assert path.read_text() == "precious"
    write(open_sink(str(path), info=IMAGE, overwrite=True))
    assert path.read_bytes() != b"precious"


@pytest.mark.parametrize("name", ["out.mp4", "out.jsonl", "out.png", "%06d.jpg"])
def test_a_missing_folder(tmp_path, name):
    with pytest.raises(SinkError, match=r"output folder does not exist: .*nowhere; create it first"):
        open_sink(str(tmp_path / "nowhere" / name), info=IMAGE)


def test_a_folder_of_that_name(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(SinkError, match=r"out\.mp4 is not a regular file"):
        open_sink(str(tmp_path / "out.mp4"), info=VIDEO, overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.mp5", r"unknown kind of output: .*\('\.mp5'\); did you mean '\.mp4'"),
        ("out.avi", r"^cannot write \.avi video: .*; videos are written as \.mp4: out\.mp4$"),
        ("out.json", r"did you mean '\.jsonl'"),
        ("out", r"\(no suffix\); expected \.mp4, \.jsonl"),
        ("windwo", "did you mean 'window'"),
    ],
)
def test_unknown_outputs(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkError, match=message):
        open_sink(name, info=VIDEO)


def test_the_source_is_never_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "cat.png"
    cv2.imwrite(str(path), PICTURE)
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    with open_source(str(path)) as source, pytest.raises(SinkError, match="would overwrite the source"):
        open_sink("cat.png", info=source.info, overwrite=True)
    cv2.imwrite(str(tmp_path / "dog.png"), PICTURE)
    with open_source(str(tmp_path)) as source, pytest.raises(SinkError, match="would overwrite the source"):
        open_sink("%06d.png", info=source.info, overwrite=True)
    assert path.read_bytes() == before


def test_an_image_too_large_for_its_format(tmp_path):
    sink = open_sink(str(tmp_path / "wide.webp"), info=IMAGE)
    wide = np.zeros((1, 20_000, 3), np.uint8)  # WebP ends at 16383
    with sink, pytest.raises(SinkError, match="cannot write"):
        sink.write(FrameResult(Frame(wide, 0, 0), ()), wide)
    assert list(Path(tmp_path).iterdir()) == []


def test_files_never_ask_to_stop(tmp_path):
    for name in ("a.mp4", "a.jsonl", "a.png", "%d.png"):
        sink = open_sink(str(tmp_path / name), info=IMAGE)
        write(sink)
        assert sink.closed is False
        assert sink.notes == []
        sink.close()
