"""``edgevision data convert``, ``split``, ``merge`` and the page of ``check``.

Also tests ``edgevision.evaluation.data_page``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.cli import main
from edgevision.data.layouts.recognise import recognise
from tests.data.test_writers import folder


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["data", *(str(argument) for argument in arguments)])
    return int(done.value.code or 0)


def test_data_are_split_converted_and_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "d")
    assert call("split", data, "--val", 0.2, "--test", 0.1, "--out", tmp_path / "s") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"{tmp_path / 's'}: 10 images, 15 boxes"
    assert {one.role for one in recognise(tmp_path / "s").splits} == {"train", "val", "test"}
    assert call("convert", tmp_path / "s", "--to", "voc", "--out", tmp_path / "v") == 0
    assert recognise(tmp_path / "v").layout == "PASCAL VOC with lists"
    capsys.readouterr()
    other = folder(tmp_path / "o", range(20, 22), "[katze, dog]")
    assert call("merge", data, other, "--rename", "katze=cat", "--to", "coco", "--out", tmp_path / "m") == 0
    out = capsys.readouterr().out
    assert "katze  cat" in out
    assert recognise(tmp_path / "m").classes == ("cat", "dog")
    for arguments, message in (
        (("merge", data, "--out", tmp_path / "x"), "expected two or more to merge"),
        (("merge", data, other, "--rename", "cat", "--out", tmp_path / "x"), "expected OLD=NEW"),
        (("convert", data, "--to", "tfrecord", "--out", tmp_path / "x"), "expected yolo, coco or voc"),
        (("split", tmp_path / "s", "--out", tmp_path / "x"), "--again draws anew"),
    ):
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_page_shows_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "d")
    folder(tmp_path / "d", range(1, 2), split="val")  # the image of p1 again
    (data / "labels" / "train" / "p2.txt").write_text("0 .5 .5 1 1\n0 .5 .5 .5 .005\n")
    page = tmp_path / "d.html"
    assert call("check", data, "--page", page) == 1  # one image is in two splits
    text = page.read_text()
    for part in (
        "as large as the image",
        "times as long as wide",
        "Near-equal images across splits make validation figures too good",
        "images in two splits",
        "p1.jpg",
    ):
        assert part in text
    assert "<script" not in text
    capsys.readouterr()
    assert call("check", data, "--page", page) == 2
    assert "output exists" in capsys.readouterr().err
