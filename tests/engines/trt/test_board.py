"""The name of a Jetson's board, bare and in a container."""

from __future__ import annotations

from pathlib import Path

from edgevision.engines.trt.board import BOARD_FILES, board_name


def write(root: Path, name: str, text: bytes) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def test_the_device_trees_name_comes_first_and_a_copy_will_do(tmp_path: Path) -> None:
    assert board_name(tmp_path) == ""
    for number, name in reversed(list(enumerate(BOARD_FILES))):
        write(tmp_path, name, f"board {number}\0\n".encode())
        assert board_name(tmp_path) == f"board {number}"


def test_an_empty_file_tells_nothing(tmp_path: Path) -> None:
    write(tmp_path, BOARD_FILES[0], b"\0")
    write(tmp_path, BOARD_FILES[1], b"NVIDIA Jetson Orin NX")
    assert board_name(tmp_path) == "NVIDIA Jetson Orin NX"
