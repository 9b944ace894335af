"""What is kept between runs: found under its whole key only, and never needed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgevision.cache import Cache, cache_folder


class Kept(msgspec.Struct, frozen=True):
    value: float


def test_the_cache_gives_back_what_was_kept_under_the_same_key_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "folder")
    key = {"model": "a", "frames": "b"}
    assert cache.load(key, Kept) is None
    cache.store(key, Kept(0.5))
    assert cache.load({"frames": "b", "model": "a"}, Kept) == Kept(0.5)
    assert cache.load({"model": "changed", "frames": "b"}, Kept) is None
    assert cache.load({"model": "a", "frames": "changed"}, Kept) is None


@pytest.mark.parametrize("content", [b"", b"short", b"0" * 64 + b"body"])
def test_a_damaged_file_in_the_cache_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    cache.store({"k": 1}, Kept(0.5))
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert cache.load({"k": 1}, Kept) is None
    cache.store({"k": 1}, Kept(0.7))
    assert cache.load({"k": 1}, Kept) == Kept(0.7)


def test_another_kind_in_the_cache_counts_as_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store({"k": 1}, ["not", "it"])
    assert cache.load({"k": 1}, Kept) is None


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = Cache(blocked / "cache")
    cache.store({"k": 1}, Kept(0.5))
    assert cache.load({"k": 1}, Kept) is None
    Cache(None).store({"k": 1}, Kept(0.5))
    assert Cache(None).load({"k": 1}, Kept) is None


def test_what_was_kept_can_be_removed_and_other_files_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "speed")
    assert cache.clear() == 0
    cache.store({"k": 1}, Kept(0.5))
    cache.store({"k": 2}, Kept(0.6))
    (tmp_path / "speed" / "notes.txt").write_text("mine")
    assert cache.clear() == 2
    assert cache.load({"k": 1}, Kept) is None
    assert [path.name for path in (tmp_path / "speed").iterdir()] == ["notes.txt"]
    assert Cache(None).clear() == 0


def test_the_cache_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("speed") == tmp_path / "edgevision" / "speed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("speed") == tmp_path / "home" / ".cache" / "edgevision" / "speed"
