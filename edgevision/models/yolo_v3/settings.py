"""What a YOLO v3 is built with: the text of a darknet ``.cfg``; read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgevision.bounds import NonNegative, Side
from edgevision.errors import ConfigError
from edgevision.models.yolo_v3.cfg import Plan, parse_cfg

FAMILY = "yolo-v3"


class YoloV3Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag=FAMILY):
    """A whole YOLO v3 (Redmon and Farhadi 2018, arXiv:1804.02767).

    Attributes:
        cfg: the text of a darknet ``.cfg``, or the path of one, relative to the working folder, which is read
            into the configuration; its ``classes`` and the ``filters`` before each ``[yolo]`` are the run's.
        input_size: sides of the square input in pixels, a multiple of 32; in place of the text's width and
            height. Anchors stay as they are, in pixels.
        weights: ``random``, or the path of a darknet ``.weights`` to start from; it may end after any layer,
            as ``darknet53.conv.74`` does.
        coordinate_weight, object_weight, empty_weight, class_weight: factors of the terms of the loss.
    """

    cfg: str
    input_size: Side
    weights: str = "random"
    coordinate_weight: NonNegative = 1.0
    object_weight: NonNegative = 1.0
    empty_weight: NonNegative = 1.0
    class_weight: NonNegative = 1.0

    def __post_init__(self) -> None:
        try:
            self.plan()
        except ConfigError as error:
            raise ValueError(str(error)) from error

    def plan(self) -> Plan:
        """The network's layers, for the input that is set here."""
        return parse_cfg(self.cfg, size=(self.input_size, self.input_size))

    @property
    def places(self) -> int:
        """Anchors of all maps."""
        plan = self.plan()
        return sum(
            (plan.height // stride) * (plan.width // stride) * len(head.anchors)
            for head, stride in zip(plan.heads, plan.head_strides, strict=True)
        )


def with_cfg(document: dict[str, Any]) -> dict[str, Any]:
    """A training's plain values with the path in ``model.cfg`` replaced by the text of that file.

    Raises:
        ConfigError: the file is missing or unreadable.
    """
    model = document.get("model")
    if not isinstance(model, dict) or model.get("family") != FAMILY:
        return document
    cfg = model.get("cfg")
    if not isinstance(cfg, str) or "\n" in cfg.strip():
        return document
    return {**document, "model": {**model, "cfg": read_cfg(cfg)}}


def read_cfg(path: str | Path) -> str:
    """The text of a ``.cfg``.

    Raises:
        ConfigError: there is no path, or the file is missing or unreadable.
    """
    if not str(path).strip():
        raise ConfigError("the darknet .cfg is empty; expected its text, or the path of one")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"darknet .cfg not found: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the darknet .cfg {path}: {error}") from error
