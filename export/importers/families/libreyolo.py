"""What libreyolo's families take, by the ``model_family`` in their notes (measured on version 1.6.0)."""

from __future__ import annotations

from edgevision.contract.manifest import Resize
from edgevision.export.importers import notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.reading import (
    BGR_RAW_TOP_LEFT,
    IMAGENET_MEAN,
    IMAGENET_STD,
    IMAGENET_STRETCH,
    RGB_UNIT,
    RGB_UNIT_STRETCH,
    RGB_UNIT_TOP_LEFT,
    RTMDET_STRETCH,
    RTMDET_TOP_LEFT,
    STRETCH,
    Pixels,
)

TOLD_BY = "as its notes say (libreyolo)"

_PAD_128 = Pixels(Resize("letterbox", 128, place="top-left"))
_SSD = Pixels(STRETCH, False, (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3)
_FILL_124 = Pixels(Resize("letterbox", 124, place="top-left"), False, IMAGENET_MEAN, IMAGENET_STD)
_SHORT_SIDE = Pixels(Resize("letterbox", 124, place="top-left"), False, IMAGENET_MEAN, IMAGENET_STD)

PIXELS = {
    "yolo9": RGB_UNIT_TOP_LEFT,
    "yolo9_e2e": RGB_UNIT_TOP_LEFT,
    "yolo7": RGB_UNIT_TOP_LEFT,
    "yolo3": _PAD_128,
    "yolo4": _PAD_128,
    "yolox": BGR_RAW_TOP_LEFT,
    "yolonas": RGB_UNIT,
    "ppyoloe": IMAGENET_STRETCH,
    "picodet": IMAGENET_STRETCH,
    "nanodet": RTMDET_STRETCH,
    "rtmdet": RTMDET_TOP_LEFT,
    "ssd": _SSD,
    "retinanet": _SHORT_SIDE,
    "fcos": _SHORT_SIDE,
    "efficientdet": _FILL_124,
    "detr": IMAGENET_STRETCH,
    "rtdetr": RGB_UNIT_STRETCH,
    "rtdetrv2": RGB_UNIT_STRETCH,
    "rtdetrv4": RGB_UNIT_STRETCH,
    "dfine": RGB_UNIT_STRETCH,
    "deim": RGB_UNIT_STRETCH,
    "rfdetr": IMAGENET_STRETCH,
}
"""``model_family`` to what it takes."""

_DEIMV2_UNIT = ("atto", "femto", "pico", "n")
"""The sizes of DEIMv2 on HGNet; the greater ones, on DINOv3, take ImageNet's mean (atto and S measured)."""


def pixels(core: Core, families: tuple[str, ...] = ()) -> Pixels | None:
    """What the network takes by its notes; None where they name no family, or none of ``families``."""
    found = notes.family(core)
    if found is None or (families and found not in families):
        return None
    if found == "deimv2":
        small = core.metadata.get("size", "") in _DEIMV2_UNIT
        return RGB_UNIT_STRETCH if small else IMAGENET_STRETCH
    return PIXELS.get(found)
