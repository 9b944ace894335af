"""What a board calls itself: a Jetson's name, also inside a container."""

from __future__ import annotations

from pathlib import Path

BOARD_FILES = (
    "/proc/device-tree/model",
    # Docker hides /sys/firmware, where the first leads to: these are copies that were handed in.
    "/etc/nv_jetson_model",
    "/tmp/nv_jetson_model",  # where NVIDIA's jetson-containers put theirs
)


def board_name(root: Path = Path("/")) -> str:
    """The board's name, such as ``NVIDIA Jetson Orin Nano Developer Kit``; ``""`` where it has none: a PC."""
    for name in BOARD_FILES:
        try:
            # The device tree's texts end in a null.
            text = (root / name.lstrip("/")).read_bytes().decode(errors="replace").strip("\0\n ")
        except OSError:
            continue
        if text:
            return text
    return ""
