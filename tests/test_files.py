import os

import msgspec
import pytest

from edgevision.errors import OutputExistsError, SinkError
from edgevision.files import (
    LineFile,
    atomic_path,
    folders_for,
    new_folder,
    refuse_existing,
    safe_name,
    set_aside,
    write_json,
)


def test_a_finished_block_puts_the_file_in_place(tmp_path):
    target = tmp_path / "report.json"
    with atomic_path(target) as partial:
        assert partial.suffix == ".json"
        partial.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """After a power cut a file is the old one or the new one, never an empty one."""
    path, synced = tmp_path / "report.json", []
    path.write_text("older")
    fsync = os.fsync

    def noted(descriptor):
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size, path.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with atomic_path(path) as partial:
        partial.write_text("newer, and longer")
    assert path.read_text() == "newer, and longer"
    assert synced == [(path.stat().st_ino, len("newer, and longer"), "older")]


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        _write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _write_half(target):
    with atomic_path(target) as partial:
        partial.write_text("half")
        raise ZeroDivisionError


def test_a_missing_folder_is_named(tmp_path):
    target = tmp_path / "absent" / "report.json"
    with pytest.raises(SinkError, match=r"cannot write .*absent"), atomic_path(target) as partial:
        partial.write_text("x")


def test_a_folder_that_takes_no_files_is_refused_before_the_work(tmp_path, monkeypatch):
    writable = os.access

    def deny(path, mode):
        return os.fspath(path) != str(tmp_path) and writable(path, mode)

    monkeypatch.setattr(os, "access", deny)
    with pytest.raises(SinkError, match=r"no permission to write in .*another folder for report\.json"):
        refuse_existing(tmp_path / "report.json", overwrite=False)


def test_existing_output_is_refused_unless_asked(tmp_path):
    target = tmp_path / "out.mp4"
    refuse_existing(target, overwrite=False)
    target.touch()
    with pytest.raises(OutputExistsError, match=r"out\.mp4.*`overwrite`"):
        refuse_existing(target, overwrite=False)
    refuse_existing(target, overwrite=True)


def _use_one_of(used, *others):
    with folders_for(used, *others):
        (used / "file").write_text("kept")
        assert all(one.is_dir() for one in others)
        raise ValueError("stop")


def test_folders_that_stay_empty_are_removed_if_they_were_made_here(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="stop"):
        _use_one_of(tmp_path / "a/b/used", tmp_path / "a/c/unused", tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "file", "used"]
    assert (tmp_path / "there").is_dir()
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SinkError, match="cannot create folder"),
        folders_for(tmp_path / "x/y", tmp_path / "file/z"),
    ):
        pass
    assert not (tmp_path / "x").exists()


def test_a_missing_output_folder_is_refused(tmp_path):
    with pytest.raises(SinkError, match=r"output folder does not exist: .*absent"):
        refuse_existing(tmp_path / "absent" / "out.mp4", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_and_devices_are_never_replaced(tmp_path, overwrite):
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(SinkError, match="not a regular file"):
            refuse_existing(path, overwrite)


def test_a_folder_is_removed_where_its_block_fails_and_what_was_there_stays(tmp_path):
    with new_folder(tmp_path / "a" / "b") as made:
        (made / "kept").write_text("x")
    with pytest.raises(ValueError, match="no"), new_folder(tmp_path / "a" / "b"):
        raise ValueError("no")
    assert (tmp_path / "a" / "b" / "kept").exists()

    def fail():
        with new_folder(tmp_path / "c" / "d" / "e") as made:
            (made / "lost").write_text("x")
            (tmp_path / "c" / "other").write_text("of another program")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["other"]


def test_json_is_for_people_and_takes_structures(tmp_path):
    class Answer(msgspec.Struct):
        name: str
        ways: tuple[int, ...]

    path = tmp_path / "answer.json"
    path.write_text("older")
    write_json(path, Answer("é", (1, 2)))
    assert path.read_text(encoding="utf-8") == '{\n  "name": "é",\n  "ways": [\n    1,\n    2\n  ]\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "answer.json"
    path.write_text("older")
    with pytest.raises(TypeError):
        write_json(path, {"what": object()})
    with pytest.raises(SinkError, match="cannot write"):
        write_json(tmp_path / "nowhere" / "answer.json", {})
    assert path.read_text() == "older"


def test_a_temporary_name_cannot_be_guessed(tmp_path):
    names = set()
    for _ in range(2):
        with atomic_path(tmp_path / "report.json") as partial:
            names.add(partial.name)
            assert partial.is_file()
            partial.write_text("x")
    assert len(names) == 2
    assert not any(str(os.getpid()) == part for name in names for part in name.split("."))
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_to_nothing_is_not_written_through(tmp_path, overwrite):
    (tmp_path / "out.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(SinkError, match="is a symbolic link to nothing"):
        refuse_existing(tmp_path / "out.mp4", overwrite)
    with atomic_path(tmp_path / "out.mp4") as partial:
        partial.write_text("x")
    assert not (tmp_path / "elsewhere.mp4").exists()
    assert not (tmp_path / "out.mp4").is_symlink()


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    path = tmp_path / ("a" * 300 + ".jsonl")
    with pytest.raises(SinkError, match="File name too long; choose another name"):
        refuse_existing(path, overwrite=False)
    with pytest.raises(SinkError, match="cannot write"), atomic_path(path) as partial:
        partial.write_text("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../escaped", "escaped"),
        ("/etc/cron.d/x", "etc_cron.d_x"),
        ("front door", "front_door"),
        ("..", "live"),
        ("", "live"),
        ("a\0b\n", "a_b"),
        ("x" * 300, "x" * 200),
        ("\u00e9" * 300, "\u00e9" * 100),
    ],
)
def test_a_name_stays_in_its_folder_and_fits(name, safe):
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (None, ""),
        ("", ""),
        ('{"a":1}\n', '{"a":1}\n'),
        ('{"a":1}\n{"b', '{"a":1}\n'),
        ('{"half', ""),
        ("x\n" + "y" * 200_000, "x\n"),
        ("y" * 200_000 + "\n", "y" * 200_000 + "\n"),
    ],
)
def test_lines_are_continued_after_the_last_complete_one(tmp_path, before, kept):
    path = tmp_path / "lines.jsonl"
    if before is not None:
        path.write_text(before)
    for line in (b"one", b"two"):
        file = LineFile(path, append=True)
        file.write(line)
        file.close()
    assert path.read_text() == kept + "one\ntwo\n"
    LineFile(path).close()
    assert path.read_text() == ""


def test_an_output_of_an_earlier_run_gets_the_time_of_its_last_change(tmp_path):
    path = tmp_path / "out.mp4"
    assert set_aside(path) is None
    for content in "abc":
        path.write_text(content)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        set_aside(path)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "out.20010909T014640Z.mp4": "a",
        "out.20010909T014640Z-2.mp4": "b",
        "out.20010909T014640Z-3.mp4": "c",
    }
    (tmp_path / "masks").mkdir()
    assert set_aside(tmp_path / "masks") is None
    (tmp_path / "masks" / "1.png").touch()
    assert set_aside(tmp_path / "masks").name.startswith("masks.20")
    with pytest.raises(SinkError, match="cannot rename"):
        set_aside(tmp_path / ("n" * 300))
