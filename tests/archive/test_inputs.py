import errno
import io
import os
import unicodedata
from pathlib import Path

import pytest

from edgevision.archive.inputs import find_inputs
from edgevision.errors import SourceError, UsageError


@pytest.fixture
def tree(tmp_path):
    """Two cameras with files of equal names, and what is no recording."""
    for name in ("in/a/x.mp4", "in/b/x.mp4", "in/b/10.jpg", "in/b/2.jpg", "in/notes.doc", "in/.hidden.mp4",
                 "in/.git/y.mp4", "other/x.mp4"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(tree, *sources, **settings):
    found = find_inputs([str(tree / one) for one in sources], tree / "out", **settings)
    return [file.name for file in found.files]


def test_a_folder_is_mirrored_in_natural_order(tree):
    found = find_inputs([str(tree / "in")], tree / "out")
    assert [file.name for file in found.files] == ["a/x.mp4", "b/2.jpg", "b/10.jpg", "b/x.mp4"]
    assert found.files[0].path == tree / "in/a/x.mp4"
    assert found.base == tree / "in"
    assert found.others == 1  # the document; hidden files do not count


def test_equal_names_of_several_folders_do_not_collide(tree):
    assert names(tree, "in/a", "in/b", "other") == [
        "in/a/x.mp4", "in/b/2.jpg", "in/b/10.jpg", "in/b/x.mp4", "other/x.mp4",
    ]  # fmt: skip
    assert names(tree, "in/a/x.mp4", "other/x.mp4") == ["in/a/x.mp4", "other/x.mp4"]
    assert names(tree, "other/x.mp4") == ["x.mp4"]


def test_a_file_that_is_named_twice_is_one_file(tree):
    assert names(tree, "in", "in/a/x.mp4", "in/a") == names(tree, "in")


def test_patterns_include_and_exclude(tree):
    assert names(tree, "in/*/*.mp4") == ["a/x.mp4", "b/x.mp4"]
    assert names(tree, "in/**/*.jpg") == ["2.jpg", "10.jpg"]
    assert names(tree, "in", include=["*.mp4"]) == ["a/x.mp4", "b/x.mp4"]
    assert names(tree, "in", include=["b/*"], exclude=["10*"]) == ["b/2.jpg", "b/x.mp4"]
    with pytest.raises(SourceError, match="nothing matches"):
        names(tree, "in/*.webm")


def test_lists_of_paths(tree):
    lines = f"{tree}/in/a/x.mp4\n\n{tree}/other/x.mp4\r\n"
    (tree / "list.txt").write_text(lines)
    expected = ["in/a/x.mp4", "other/x.mp4"]
    assert [one.name for one in find_inputs([str(tree / "list.txt")], tree / "out").files] == expected
    assert [one.name for one in find_inputs(["-"], tree / "out", lines=io.StringIO(lines)).files] == expected


def test_lists_as_other_programs_write_them(tree):
    (tree / "#1.mp4").write_bytes(b"")
    (tree / " x.mp4").write_bytes(b"")
    lines = [
        "\ufeff# cameras", f"  {tree}/in/a/x.mp4\t", f"{tree}/#1.mp4", f"{tree}/ x.mp4",
        f"{tree}/in/b/*.jpg", f"{tree}/other",
    ]  # fmt: skip
    (tree / "list.txt").write_bytes("\r\n".join(lines).encode())
    expected = [" x.mp4", "#1.mp4", "in/a/x.mp4", "in/b/2.jpg", "in/b/10.jpg", "other/x.mp4"]
    assert names(tree, "list.txt") == expected
    raw = os.fsencode(tree) + b"/latin-\xe9\n.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"")
    (tree / "zero.txt").write_bytes(raw + b"\0" + os.fsencode(tree / "other/x.mp4") + b"\0")
    assert names(tree, "zero.txt") == ["latin-\\xe9\n.mp4", "other/x.mp4"]
    (tree / "wide.txt").write_text(f"{tree}/other/x.mp4\n", encoding="utf-16")
    with pytest.raises(SourceError, match="is in UTF-16; expected UTF-8"):
        names(tree, "wide.txt")
    (tree / "wide.txt").write_text(f"{tree}/other/x.mp4\n", encoding="utf-16-le")
    with pytest.raises(SourceError, match="is in UTF-16"):
        names(tree, "wide.txt")
    (tree / "wide.txt").write_text(f"{tree}/other/x.mp4\0\n")
    with pytest.raises(SourceError, match="bytes of 0"):
        names(tree, "wide.txt")


def test_standard_input_may_hold_any_bytes(tree, monkeypatch):
    raw = os.fsencode(tree) + b"/latin-\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw + b"\n")))
    assert [one.name for one in find_inputs(["-"], tree / "out").files] == ["latin-\\xe9.mp4"]


def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_found(tree, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_inputs([str(tree / "in")], tree / "out")
    assert [file.name for file in found.files] == ["a/x.mp4"]
    assert found.unreadable == (f"cannot read {tree}/in/b: Permission denied",)
    with pytest.raises(SourceError, match="in/b: Permission denied"):
        names(tree, "in/b")


def test_a_missing_file_of_a_list_is_told_later_and_a_missing_source_now(tree):
    lines = [f"{tree}/in/a/x.mp4", f"{tree}/in/a/gone.mp4"]
    found = find_inputs(["-"], tree / "out", lines=lines)
    assert [one.name for one in found.files] == ["gone.mp4", "x.mp4"]
    with pytest.raises(SourceError, match=r"source not found: .*gone\.mp4"):
        names(tree, "in/a/gone.mp4")


@pytest.mark.parametrize("out", ["in", "in/results", "in/a/deep/er"])
def test_outputs_inside_an_input_are_refused(tree, out):
    with pytest.raises(UsageError, match=r"`out` .* lies inside the input"):
        find_inputs([str(tree / "in")], tree / out)


def test_inputs_among_the_outputs_are_refused(tree):
    with pytest.raises(UsageError, match="holds the input"):
        find_inputs([str(tree / "in/a/x.mp4")], tree / "in")
    (tree / "link").symlink_to(tree / "in")
    with pytest.raises(UsageError, match="lies inside"):
        find_inputs([str(tree / "link")], tree / "in" / "out")


def test_nothing_and_live_sources_are_refused(tree):
    (tree / "empty").mkdir()
    with pytest.raises(UsageError, match="no video and no image"):
        names(tree, "empty")
    with pytest.raises(UsageError, match="rtsp:// is not a recording"):
        find_inputs(["rtsp://camera/1"], tree / "out")
    assert [one.name for one in find_inputs([f"file://{tree}/other/x.mp4"], tree / "out").files] == ["x.mp4"]


NASTY = ["IMG.1.avi", "IMG.2.avi", "x.mp4", "x.mp4.jsonl.mp4", "new\nline.mp4", "ümläut 日本.mp4",
         "a" * 245 + ".mp4",
         "%s {0} ~2.mp4", "-rf.mp4", "12:30.mp4"]  # fmt: skip


def test_nasty_names_have_names_of_their_own(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    raw = [*NASTY, os.fsdecode(b"latin-\xe9.mp4"), "latin-\\xe9.mp4"]
    for name in raw:
        (folder / name).write_bytes(b"")
    found = find_inputs([str(folder)], tmp_path / "out")
    given = [file.name for file in found.files]
    assert len(given) == len(set(given)) == len(raw)
    assert {"IMG.1.avi", "IMG.2.avi", "latin-\\xe9.mp4", "latin-\\xe9.mp4~2"} <= set(given)
    for name in given:
        name.encode()
        (tmp_path / f"{name}.jsonl").write_text("")  # no longer than a file system allows


def test_names_that_some_file_systems_take_for_one(tmp_path):
    for name in ("A/x.mp4", "a/x.mp4", "B.mp4", "b.MP4", "\u00e9.mp4", "e\u0301.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    given = names(tmp_path, "in")
    folded = {unicodedata.normalize("NFC", name).casefold() for name in given}
    assert len(given) == len(folded) == 6
    assert {"A/x.mp4", "a~2/x.mp4", "B.mp4"} <= set(given)


def test_a_file_takes_the_place_of_a_folder_of_that_name(tmp_path):
    (tmp_path / "in" / "a.mp4.jsonl").mkdir(parents=True)
    (tmp_path / "in" / "a.mp4").write_bytes(b"")
    (tmp_path / "in" / "a.mp4.jsonl" / "b.mp4").write_bytes(b"")
    found = find_inputs([str(tmp_path / "in")], tmp_path / "out")
    places = [tmp_path / "out" / f"{file.name}.jsonl" for file in found.files]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    assert all(place.is_file() for place in places)


def test_a_circle_of_links_ends(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"")
    (folder / "again").symlink_to(folder)
    (folder / "self.mp4").symlink_to("self.mp4")  # told when it is read
    (folder / "up").symlink_to("..")
    found = find_inputs([str(folder)], tmp_path / "out").files
    assert [one.name for one in found] == ["a.mp4", "self.mp4"]
