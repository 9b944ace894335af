"""Zones files and made-up objects for tests of zones and what follows from them."""

from __future__ import annotations

from pathlib import Path

from edgevision.tracking import ZoneLayout, load_zones
from edgevision.tracking.sightings import Sighting

CLASSES = ("person", "car", "dog")
SIZE = (100, 100)

YARD = """
units: pixels
margin: 0
zones:
  - name: yard
    polygon: [[20, 20], [80, 20], [80, 80], [20, 80]]
"""
DOOR = """
units: pixels
margin: 0
lines:
  - name: door
    from: [20, 50]
    to: [80, 50]
"""


def layout_of(folder: Path, text: str) -> ZoneLayout:
    path = folder / "zones.yaml"
    path.write_text(text)
    return load_zones(path, CLASSES)


def at(x: float, y: float, track_id: int = 1, class_name: str = "person") -> Sighting:
    """An object that stands on (x, y): its box is 10 wide and 20 high."""
    return Sighting(track_id, class_name, 0.9, (x - 5, y - 20, x + 5, y))
