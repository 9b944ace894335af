"""Class names: the PASCAL VOC 20, and what other data sets call the same things."""

from __future__ import annotations

from collections.abc import Iterable

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

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
