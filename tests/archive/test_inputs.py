import io
import os

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
    assert [one.name for one in find_inputs([str(folder)], tmp_path / "out").files] == ["a.mp4"]
