"""A folder of maps: written in several goes, and never over what is not its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevision.errors import OutputExistsError, SinkError, UsageError
from edgevision.panoptic.coco import PanopticImage, categories_of
from edgevision.panoptic.folder import INDEX, UNFINISHED, PanopticFolder, check_panoptic_folder
from edgevision.panoptic.join import PanopticMap, Segment

CATEGORIES = categories_of(("car",), ("road",))


def opened(folder: Path, *, overwrite: bool = False, **info: str | float) -> PanopticFolder:
    return PanopticFolder(folder, {"conf": 0.5, **info}, CATEGORIES, overwrite=overwrite)


def image(number: int, name: str = "photo") -> PanopticImage:
    return PanopticImage(id=number, file_name=f"{name}{number}.jpg", width=3, height=1)


def panoptic(area: int = 2) -> PanopticMap:
    ids = np.array([[1] * area + [0] * (3 - area)], np.int32)
    return PanopticMap(ids, (Segment(1, "car", True, area, 0.75),))


def write(maps: PanopticFolder, *numbers: int) -> None:
    for number in numbers:
        maps.add(panoptic(), image(number))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_index_is_there_once_all_maps_are(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as maps:
        write(maps, 1, 2)
        assert names(tmp_path / "out") == {"000001.png", "000002.png", UNFINISHED}
        maps.finish()
    assert names(tmp_path / "out") == {"000001.png", "000002.png", INDEX}
    document = json.loads((tmp_path / "out" / INDEX).read_text())
    assert document["info"] == {"conf": 0.5}
    assert document["images"][1] == {"id": 2, "file_name": "photo2.jpg", "width": 3, "height": 1}
    assert [one["image_id"] for one in document["annotations"]] == [1, 2]
    assert document["categories"][0]["name"] == "car"


def test_what_is_not_whole_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as maps:
        write(maps, 1, 2)
    # A map whose line is missing, a line that a power failure cut, and a part of a file.
    (tmp_path / "out" / "000003.png").write_bytes(b"older")
    (tmp_path / "out" / f".{'0' * 16}.partial.png").touch()
    with (tmp_path / "out" / UNFINISHED).open("ab") as lines:
        lines.write(b'{"image":{"id":3')
    with opened(tmp_path / "out") as maps:
        assert (maps.count, maps.is_continued) == (2, True)
        assert [(one.name, one.area) for one in maps.load(2).segments] == [("car", 2)]
        assert maps.has(image(2))
        assert not maps.has(image(3))
        with pytest.raises(SinkError, match=r"is of photo2\.jpg"):
            maps.has(image(2, "other"))
        with pytest.raises(ValueError, match="not the next"):
            maps.add(panoptic(), image(5))
        write(maps, 3)
        maps.finish()
    assert names(tmp_path / "out") == {"000001.png", "000002.png", "000003.png", INDEX}
    document = json.loads((tmp_path / "out" / INDEX).read_text())
    assert [one["id"] for one in document["images"]] == [1, 2, 3]


def test_maps_of_another_origin_do_not_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as maps:
        write(maps, 1)
    with pytest.raises(OutputExistsError, match=r"of another conf \(0.5, now 0.6\)"):
        opened(tmp_path / "out", conf=0.6)
    with pytest.raises(OutputExistsError, match="other classes"):
        PanopticFolder(tmp_path / "out", {"conf": 0.5}, CATEGORIES[:1])
    (tmp_path / "out" / "000001.png").unlink()
    with pytest.raises(OutputExistsError, match=r"000001\.png is missing"):
        opened(tmp_path / "out")
    (tmp_path / "out" / UNFINISHED).write_text("nothing\n")
    with pytest.raises(OutputExistsError, match="is damaged"):
        opened(tmp_path / "out")


@pytest.mark.parametrize("is_finished", [True, False])
def test_overwriting_leaves_nothing_of_a_longer_run(tmp_path: Path, is_finished: bool) -> None:
    with opened(tmp_path / "out") as maps:
        write(maps, 1, 2, 3)
        if is_finished:
            maps.finish()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = names(tmp_path / "out")
    with opened(tmp_path / "out", overwrite=True, conf=0.9) as maps:
        assert (maps.count, maps.is_continued) == (0, False)
        assert names(tmp_path / "out") == before  # until there is something better
        write(maps, 1)
        maps.finish()
    assert names(tmp_path / "out") == {"000001.png", INDEX, "notes.txt"}


def test_what_is_not_its_own_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "000007.png").write_bytes(b"a photograph")
    with pytest.raises(OutputExistsError, match="not empty"):
        opened(out)
    with pytest.raises(SinkError, match="none of this folder's maps"):
        opened(out, overwrite=True)
    (out / INDEX).write_text('{"annotations": [{"file_name": "../outside.png"}, {"file_name": "notes.txt"}]}')
    for kept in (tmp_path / "outside.png", out / "notes.txt"):
        kept.write_text("mine")
    (out / "000007.png").rename(out / "photograph.png")
    with opened(out, overwrite=True) as maps:
        write(maps, 1)
    assert (tmp_path / "outside.png").is_file()
    assert names(out) == {"notes.txt", "photograph.png", "000001.png", UNFINISHED}
    (out / INDEX).write_text("no json")
    with pytest.raises(SinkError, match="cannot be read"):
        opened(out, overwrite=True)


def test_one_program_writes_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path / "out"), pytest.raises(UsageError, match="by another program"):
        opened(tmp_path / "out")
    opened(tmp_path / "out").close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("a file"), "expected one for panoptic maps"),
        (lambda path: (path.mkdir(), (path / INDEX).touch()), "output exists"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "out")
    with pytest.raises(SinkError, match=message):
        check_panoptic_folder(tmp_path / "out", False)
    with pytest.raises(SinkError, match="does not exist"):
        check_panoptic_folder(tmp_path / "absent" / "out", False)
    with pytest.raises(SinkError, match="cannot use folder"):
        check_panoptic_folder(tmp_path / ("m" * 300), False)
