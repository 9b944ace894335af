"""Class names: the lists of PASCAL VOC and COCO, and what other data sets call the same things."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgevision.errors import DataError, UsageError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 of COCO's detection task, in its order."""

_LISTS = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}

_ALIASES = {
    "airplane": "aeroplane",
    "plane": "aeroplane",
    "motorcycle": "motorbike",
    "dining table": "diningtable",
    "table": "diningtable",
    "potted plant": "pottedplant",
    "couch": "sofa",
    "tv": "tvmonitor",
    "tv monitor": "tvmonitor",
    "monitor": "tvmonitor",
    "television": "tvmonitor",
    "bike": "bicycle",
    "pedestrian": "person",
    "people": "person",
    "automobile": "car",
}


def canonical(name: str) -> str:
    """The VOC spelling of a class where there is one, else the name in lower case.

    Example:
        >>> canonical("Motorcycle"), canonical("dining_table"), canonical("Zebra")
        ('motorbike', 'diningtable', 'zebra')
    """
    plain = " ".join(name.replace("_", " ").replace("-", " ").lower().split())
    return _ALIASES.get(plain, plain)


def map_classes(found: Iterable[str], wanted: Iterable[str]) -> dict[str, int]:
    """Index into ``wanted`` for each name of ``found`` that means the same class; others are left out."""
    index = {canonical(name): position for position, name in enumerate(wanted)}
    return {name: index[canonical(name)] for name in found if canonical(name) in index}


def parse_classes(text: str) -> tuple[str, ...]:
    """Class names from what a user gives.

    Args:
        text: ``voc``, ``coco``, a file with one name a line, or names with commas between.

    Raises:
        UsageError: there is no name in it, or one is given twice.
        DataError: the file cannot be read.
    """
    if text.strip().lower() in _LISTS:
        return _LISTS[text.strip().lower()]
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a text file of class names ({error})") from error
    elif "," not in text and path.suffix == ".txt":
        raise DataError(f"file of class names not found: {path}")
    else:
        lines = text.split(",")
    names = tuple(filter(None, (line.strip() for line in lines)))
    if not names:
        raise UsageError(
            f"no class name in '{text}'; expected voc, coco, a file of names, or names: person,car"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{text}: the class '{twice}' is given twice")
    return names
