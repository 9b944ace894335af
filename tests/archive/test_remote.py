"""Recordings on a file system of fsspec: the one in memory, which needs no server."""

import errno
import fcntl
import os

import pytest

from edgevision.archive.inputs import find_inputs
from edgevision.archive.records import FileFacts, Status
from edgevision.archive.remote import RemoteCopies, list_remote, remote_facts
from edgevision.errors import SinkError, SourceError, UsageError
from tests.archive.test_driver import write_image
from tests.support.archive import open_or_die, process
from tests.support.models import write_block_clip

fsspec = pytest.importorskip("fsspec", reason="needs fsspec, of the extra s3")


@pytest.fixture
def bucket(tmp_path):
    """Two clips, an image and a text, here and in memory."""
    (tmp_path / "in/gate").mkdir(parents=True)
    write_block_clip(tmp_path / "in/gate/long.mp4", 40)
    write_block_clip(tmp_path / "in/short.mp4", 6)
    write_image(tmp_path / "in/gate/2.png")
    (tmp_path / "in/gate/notes.txt").write_text("no recording")
    files = fsspec.filesystem("memory")
    files.put(f"{tmp_path / 'in'}/", "/bucket/in/", recursive=True)
    yield files
    files.rm("/bucket", recursive=True)


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """Where copies lie, empty before and after each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_results_are_those_of_files_here(bucket, tmp_path, model):
    settings = {"track": True, "span_s": 1.0, "clips_of": ["red"], "formats": ["csv", "coco"]}
    here = process([tmp_path / "in"], tmp_path / "here", model, **settings)
    there = process(["memory://bucket/in"], tmp_path / "there", model, **settings)
    assert [(one.name, one.status, one.spans, one.frames, one.classes) for one in there.summaries] == [
        (one.name, one.status, one.spans, one.frames, one.classes) for one in here.summaries
    ]
    assert there.summaries[1].spans > 1
    assert there.summaries[0].path == "memory://bucket/in/gate/2.png"
    assert [one.facts.digest for one in there.summaries] == [one.facts.digest for one in here.summaries]
    for name in ("gate/long.mp4", "gate/2.png", "short.mp4"):
        lines = (tmp_path / f"here/results/{name}.jsonl").read_text()
        moved = lines.replace(str(tmp_path / "in"), "memory://bucket/in")
        assert (tmp_path / f"there/results/{name}.jsonl").read_text() == moved
    for name in ("csv/gate/long.mp4.csv", "coco.json", "clips/short.mp4/clips.json"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert process(["memory://bucket/in"], tmp_path / "there", model, **settings).processed == 0
    bucket.put(str(tmp_path / "in/short.mp4"), "/bucket/in/gate/long.mp4")
    again = process(["memory://bucket/in"], tmp_path / "there", model, **settings)
    assert (again.processed, again.summaries[1].frames) == (1, 6)


def test_what_is_damaged_is_told_by_its_address(bucket, tmp_path, model):
    bucket.pipe("/bucket/in/text.mp4", b"no video at all")
    whole = bucket.cat("/bucket/in/gate/long.mp4")
    bucket.pipe("/bucket/in/cut.avi", whole[: len(whole) // 2])
    outcome = process(["memory://bucket/in/*.*"], tmp_path / "out", model)
    by_name = {one.name: one for one in outcome.summaries}
    assert by_name["text.mp4"].status is Status.FAILED
    assert by_name["text.mp4"].reason.startswith("memory://bucket/in/text.mp4 contains text")
    assert "temporary" not in str([(one.reason, one.in_one_go, one.notes) for one in outcome.summaries])


def open_and_remove(uri):
    fsspec.filesystem("memory").rm("/bucket/in/short.mp4")
    return open_or_die(uri)


def test_a_file_that_is_gone_meanwhile(bucket, tmp_path, model):
    outcome = process(["memory://bucket/in/short.mp4"], tmp_path / "out", model, open_file=open_and_remove)
    (one,) = outcome.summaries
    assert (one.status, one.reason) == (
        Status.FAILED, "cannot read memory://bucket/in/short.mp4: No such file or directory",
    )  # fmt: skip


def test_files_patterns_folders_and_lists_of_addresses(bucket, tmp_path):
    def names(*sources, **settings):
        return [one.name for one in find_inputs(sources, tmp_path / "out", **settings).files]

    assert names("memory://bucket/in") == ["gate/2.png", "gate/long.mp4", "short.mp4"]
    assert names("memory://bucket/in/gate/*.mp4", "memory://bucket/in/short.mp4") == [
        "gate/long.mp4", "short.mp4",
    ]  # fmt: skip
    assert names("memory://bucket/in", include=["gate/*"], exclude=["*.png"]) == ["gate/long.mp4"]
    assert names("-", lines=["memory://bucket/in/short.mp4\n"]) == ["short.mp4"]
    found = find_inputs(["memory://bucket/in/gate"], tmp_path / "out")
    assert found.shown_base == "memory://bucket/in/gate"
    assert (found.files[0].facts().size, found.others) == ((tmp_path / "in/gate/2.png").stat().st_size, 1)
    with pytest.raises(UsageError, match="lie on different file systems"):
        names("memory://bucket/in", str(tmp_path / "in"))
    with pytest.raises(SourceError, match="nothing found at memory://bucket/none"):
        names("memory://bucket/none")
    with pytest.raises(UsageError, match="rtsp:// is not a recording"):
        names("-", lines=["rtsp://camera/1"])


def test_facts_are_those_of_the_content(bucket, tmp_path):
    path = tmp_path / "in/gate/long.mp4"
    found = remote_facts("memory://bucket/in/gate/long.mp4", with_digest=True)
    here = FileFacts.of(path).with_digest(path)
    assert (found.size, found.digest) == (here.size, here.digest)
    assert found.is_same(next(one for one in list_remote("memory://bucket/in/gate/*.mp4")).facts)
    with pytest.raises(FileNotFoundError) as raised:
        remote_facts("memory://bucket/none.mp4")
    assert raised.value.strerror == "No such file or directory"


def test_workers_share_a_copy_and_the_last_one_removes_it(bucket, copies):
    address = "memory://bucket/in/short.mp4"
    with RemoteCopies() as first:
        with RemoteCopies() as second:
            place = first.get(address)
            changed_ns = place.stat().st_mtime_ns
            assert second.get(address) == place
            assert place.stat().st_mtime_ns == changed_ns
            assert first.get("memory://bucket/in/gate/2.png") != place
            assert place.is_file()  # the second one holds it
        assert not place.exists()
        bucket.pipe("/bucket/in/short.mp4", b"another content")
        assert first.get(address).read_bytes() == b"another content"


def test_what_a_killed_worker_left_is_removed(bucket, copies):
    folder = copies / "copies"
    for key in ("left", "held"):
        (folder / key).mkdir(parents=True)
        (folder / key / "a.mp4").write_bytes(b"\0")
        (folder / f"{key}.lock").write_bytes(b"")
    holder = os.open(folder / "held.lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_SH)
    with RemoteCopies(folder) as found:
        found.get("memory://bucket/in/short.mp4")
        assert not (folder / "left").exists()
        assert (folder / "held/a.mp4").exists()
    os.close(holder)
    with RemoteCopies(folder) as found:
        found.get("memory://bucket/in/short.mp4")
        assert not (folder / "held").exists()


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    def missing(address):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(UsageError, match=r"cannot read gs://a/b: Please install gcsfs"):
        find_inputs(["gs://a/b"], tmp_path / "out")
    with pytest.raises(UsageError, match=r"\[s3\]"):
        find_inputs(["s3://a/b"], tmp_path / "out")


def test_no_room_for_a_copy_ends_the_run(bucket, tmp_path, model, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(bucket), "get_file", full)
    with pytest.raises(SinkError, match=r"no room for a copy of memory://bucket/in/short.mp4 in .*; free"):
        process(["memory://bucket/in/short.mp4"], tmp_path / "out", model)
