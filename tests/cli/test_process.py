import json

import pytest

from edgevision.cli import main
from tests.archive.test_driver import write_image
from tests.support.models import write_block_clip, write_colour_model


@pytest.fixture
def place(tmp_path):
    write_colour_model(tmp_path / "colours.onnx")
    write_image(tmp_path / "in/1.png")
    write_block_clip(tmp_path / "in/x.mp4", 6)
    return tmp_path


def edgevision(place, *arguments):
    given = ["--out", str(place / "out"), "--model", str(place / "colours.onnx"), "--jobs", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["process", str(place / "in"), *given, *arguments])
    return ended.value.code


def test_a_folder_is_processed_and_told(place, capsys):
    (place / "in/text.mp4").write_text("no video")
    (place / "in/\x1b[1m\n.mp4").write_text("no video")
    assert edgevision(place, "--every", "2", "--format", "csv") == 3
    said = capsys.readouterr().err
    assert "2 done, 2 failed; 4 frames, 4 files read in this run" in said
    assert "detections: red 4" in said
    assert "warning: failed: text.mp4: " in said
    assert "\nwarning: failed: \\x1b[1m\\n.mp4: " in said
    rows = [json.loads(line) for line in (place / "out/index.jsonl").read_text().splitlines()]
    assert {row["name"]: row["frames"] for row in rows} == {
        "\x1b[1m\n.mp4": 0, "1.png": 1, "text.mp4": 0, "x.mp4": 3,
    }  # fmt: skip
    assert (place / "out/csv/x.mp4.csv").is_file()
    (place / "in/text.mp4").unlink()
    assert edgevision(place, "--every", "3") == 2
    assert "--redo" in capsys.readouterr().err


def test_a_range_of_images_alone_is_refused(place, capsys):
    assert edgevision(place, "--start", "1s", "--include", "*.png") == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("are only images, which have no time; leave them out")
    assert "--start and --end are for recordings" in said
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "x"], "--every x is not valid"),
        (["--start", "2s", "--end", "1s"], "--end 1s is not after --start 2s"),
        (["--format", "xml"], "unknown format 'xml'"),
        (["--split", "1"], "--split 1 is not a valid duration"),
        (["--split", "60s", "--video"], "--split 60s has no effect with --video, for which each file is"),
        (["--split", "9s", "--then", "x.onnx"], "--split 9s has no effect with --then"),
        (["--timeline", "7x"], "--timeline 7x is not a valid duration"),
        (["--classes", "zebra"], "no class 'zebra'"),
    ],
)
def test_mistakes_are_one_line(place, capsys, arguments, message):
    assert edgevision(place, *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
