from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.data.formats.text import read_text
from edgevision.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Käfer\n".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "Käfer\n"


def test_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Käfer".encode("latin-1"))
    with pytest.raises(DataError, match=r"a.txt is not UTF-8 text \(byte 1\); save it as UTF-8"):
        read_text(tmp_path / "a.txt")
