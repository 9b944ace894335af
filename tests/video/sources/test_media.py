"""Which files of a folder or a pattern are a source, and in which order."""

import os

import av
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.video.sources.media import find_media, is_pattern


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_images_are_in_natural_order(tmp_path):
    touch(tmp_path, "10.jpg", "2.JPG", "1.png", ".hidden.jpg", "notes.txt", "below/3.jpg")
    media = find_media(str(tmp_path))
    assert media.kind == "images"
    assert [path.name for path in media.paths] == ["1.png", "2.JPG", "10.jpg"]


def test_patterns_choose_and_go_down(tmp_path):
    touch(tmp_path, "a.mp4", "b.jpg", "below/c.mkv")
    assert find_media(str(tmp_path / "*.mp4")).paths == (tmp_path / "a.mp4",)
    videos = find_media(str(tmp_path / "**" / "*.m*"))
    assert videos.kind == "videos"
    assert {path.name for path in videos.paths} == {"a.mp4", "c.mkv"}


def test_a_still_gif_is_an_image_and_a_moving_one_a_video(tmp_path):
    for name, count in (("still.gif", 1), ("moving.gif", 3)):
        with av.open(tmp_path / name, "w") as container:
            video = container.add_stream("gif", rate=10)
            video.width, video.height, video.pix_fmt = 16, 16, "rgb8"
            for number in range(count):
                image = np.full((16, 16, 3), 40 * number, np.uint8)
                container.mux(
                    video.encode(av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="rgb8"))
                )
            container.mux(video.encode(None))
    touch(tmp_path, "a.jpg")
    assert find_media(str(tmp_path / "[as]*")).paths == (tmp_path / "a.jpg", tmp_path / "still.gif")
    assert find_media(str(tmp_path / "m*")).kind == "videos"


def test_photos_of_phones_are_images(tmp_path):
    touch(tmp_path, "1.HEIC", "2.avif", "3.jfif")
    media = find_media(str(tmp_path))
    assert media.kind == "images"
    assert len(media.paths) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "mine").mkdir(mode=0)
    with pytest.raises(SourceError, match=r"cannot read .*mine: Permission denied"):
        find_media(str(tmp_path / "mine"))


def test_both_kinds_are_refused_with_a_pattern_that_chooses(tmp_path):
    touch(tmp_path, "a.mp4", "b.jpg")
    with pytest.raises(SourceError, match=r"found 1 images and 1 videos, expected one kind; .*\*\.mp4"):
        find_media(str(tmp_path))


@pytest.mark.parametrize("pattern", ["", "*"])
def test_images_of_a_folder_below_are_pointed_out(tmp_path, pattern):
    touch(tmp_path, "labels.json", "notes/a.txt", "train/1.JPG", "val/2.jpg", ".git/3.jpg")
    noun = "folders" if pattern else "subfolders"
    with pytest.raises(SourceError) as error:
        find_media(str(tmp_path / pattern))
    assert f"found 1 other file and 3 {noun}, expected images or videos" in str(error.value)
    assert f"name one, such as {tmp_path / 'train'}, or '{tmp_path / '**' / '*.JPG'}'" in str(error.value)
    assert find_media(str(tmp_path / "**" / "*.JPG")).paths == (tmp_path / "train" / "1.JPG",)


def test_folders_below_without_images_are_counted(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"found 1 subfolder, expected images or videos such as [^;]*$"):
        find_media(str(tmp_path))


def test_nothing_to_show(tmp_path):
    with pytest.raises(SourceError, match="found nothing, expected images or videos"):
        find_media(str(tmp_path))
    touch(tmp_path, "notes.txt")
    with pytest.raises(SourceError, match="found 1 other file,"):
        find_media(str(tmp_path))


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    touch(tmp_path, "a[1].mp4")
    assert not is_pattern(str(tmp_path / "a[1].mp4"))
    assert is_pattern(str(tmp_path / "a[2].mp4"))
