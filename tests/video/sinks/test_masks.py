"""Label PNGs: where they go, and folders that cannot be written."""

import subprocess

import numpy as np
import pytest

from edgevision.errors import OutputExistsError, SinkError
from edgevision.types import Frame, FrameResult, SegmentationMap
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.masks import MaskSink, refuse_existing_folder

INFO = SourceInfo("clip", False, 8, 8)


def result(*models):
    image = np.zeros((8, 8, 3), np.uint8)
    maps = tuple(SegmentationMap(np.ones((8, 8), np.uint8), ("a", "b"), model) for model in models)
    return FrameResult(Frame(image, 0, 0), maps), image


def test_names_of_models_do_not_lead_out_of_the_folder(tmp_path):
    models = ["../../escaped", "/etc/x", "plain"]
    folder = tmp_path / "in" / "masks"
    folder.parent.mkdir()
    with MaskSink(folder, INFO, models) as sink:
        sink.write(*result(*models))
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert found == [f"in/masks/{name}/000000.png" for name in ("escaped", "etc_x", "plain")]


def test_names_that_meet_are_refused(tmp_path):
    with pytest.raises(SinkError, match="same name"):
        MaskSink(tmp_path / "masks", INFO, ["a/b", "a_b"])


def test_folders_that_cannot_take_masks(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(SinkError, match="is not a folder"):
            refuse_existing_folder(tmp_path / name, overwrite=True)
    with pytest.raises(SinkError, match="does not exist"):
        refuse_existing_folder(tmp_path / "a" / "b", overwrite=False)
    with pytest.raises(SinkError, match="File name too long; choose another"):
        refuse_existing_folder(tmp_path / ("m" * 300), overwrite=False)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").touch()
    with pytest.raises(OutputExistsError, match="not empty"):
        refuse_existing_folder(tmp_path / "used", overwrite=False)
    assert not (tmp_path / "nowhere").exists()


def test_a_disk_that_becomes_read_only_is_one_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        sink = MaskSink(disk / "masks", INFO, ["m"])
        sink.write(*result("m"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(SinkError, match=r"cannot write .*000000.*: Read-only file system"):
            sink.write(*result("m"))
        with pytest.raises(SinkError, match=r"no permission to write in|Read-only file system"):
            MaskSink(disk / "others", INFO, ["m"])
    finally:
        subprocess.run(["umount", str(disk)], check=True)
