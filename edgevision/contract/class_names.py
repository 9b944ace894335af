"""What names of classes mean: data sets and models call the same things by other names.

The canonical names are PASCAL VOC's where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    return _ALIASES.get(plain(name), plain(name))


def plain(name: str) -> str:
    """A name in lower case, with spaces between its words."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def same_classes(found: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Those of ``found`` that mean a class of ``known``; several may mean one.

    Example:
        >>> same_classes(["road", "pedestrian", "people"], ["person", "car"])
        ('pedestrian', 'people')
    """
    meanings = {canonical(name) for name in known}
    return tuple(name for name in found if canonical(name) in meanings)
