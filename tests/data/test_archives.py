from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgevision.data.archives import unpack, unpacked
from edgevision.errors import DataError


def test_a_zip_and_a_tar_are_unpacked_and_removed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("set\\images\\p1.jpg", b"one")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("set/images/p1.jpg")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"one"))
    for name in ("a.zip", "a.tar.gz"):
        with unpacked(tmp_path / name) as folder:
            assert (folder / "set" / "images" / "p1.jpg").read_bytes() == b"one"
        assert not folder.exists()
    with unpacked(tmp_path / "a.zip", tmp_path / "kept") as folder:
        pass
    assert (folder / "set").is_dir()
    with unpacked(tmp_path) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "C:/out.txt"])
def test_a_name_outside_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"bad")
    with pytest.raises(DataError, match="a file outside of itself"):
        unpack(tmp_path / "a.zip", tmp_path / "in")
    assert not (tmp_path / "out.txt").exists()


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked"):
        unpack(tmp_path / "a.zip", tmp_path / "in")
