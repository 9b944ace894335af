"""``zones.yaml``: where zones and lines lie, read and checked."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Collection, Sequence
from enum import Enum

import msgspec
import numpy as np

from edgevision.bounds import NonNegative
from edgevision.config import load_config
from edgevision.errors import ConfigError
from edgevision.tracking.naming import problem_of
from edgevision.types import FloatArray

Point = tuple[float, float]

DEFAULT_MARGIN = 0.005
"""Of the image's shorter side: two pixels at 432, five at 1080. About the jitter of boxes of objects that do
not move."""


class BoxPoint(str, Enum):
    """The point of a box that is taken as the position of its object."""

    BOTTOM_CENTRE = "bottom-centre"
    """Where people and vehicles touch the ground."""
    CENTRE = "centre"


class Units(str, Enum):
    """What the numbers of a zones file mean."""

    RELATIVE = "relative"
    """0..1 of the image's width and height; remains right when a stream changes its size."""
    PIXELS = "pixels"
    """Pixels of the source's images."""


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A polygon.

    Attributes:
        name: unique among zones and lines.
        polygon: three corners or more, in the file's units.
        classes: classes that count, as :mod:`edgevision.tracking.naming` reads them; None for all.
        anchor: the point of a box that counts.
    """

    name: str
    polygon: list[Point]
    classes: list[str] | None = None
    anchor: BoxPoint = BoxPoint.BOTTOM_CENTRE


class Line(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A line that is crossed *in* from its left to its right, looking from ``from`` to ``to``.

    Attributes:
        name: unique among zones and lines.
        start, end: ``from`` and ``to``, in the file's units.
        classes: classes that count, as :mod:`edgevision.tracking.naming` reads them; None for all.
        anchor: the point of a box that counts.
    """

    name: str
    start: Point
    end: Point
    classes: list[str] | None = None
    anchor: BoxPoint = BoxPoint.BOTTOM_CENTRE


class ZoneLayout(msgspec.Struct, frozen=True, kw_only=True):
    """A zones file.

    Attributes:
        units: of every number but ``vanish_s``.
        zones, lines: in the order in which they are shown.
        margin: an object has crossed a border once its box point is this far beyond it, so that a box that
            jitters does not count many times; relative to the image's shorter side. None for
            :data:`DEFAULT_MARGIN`.
        vanish_s: seconds after which an object that is not seen has left its zones.
    """

    units: Units
    zones: list[Zone] = []
    lines: list[Line] = []
    margin: NonNegative | None = None
    vanish_s: NonNegative = 2.0

    def pixels(self, points: Sequence[Point], width: int, height: int) -> FloatArray:
        """Points of the file in an image of this size: float32 ``[P, 2]``."""
        scale = (width, height) if self.units is Units.RELATIVE else (1, 1)
        return np.array(points, np.float32) * np.array(scale, np.float32)

    def margin_px(self, width: int, height: int) -> float:
        """The margin in an image of this size, in pixels."""
        if self.margin is not None and self.units is Units.PIXELS:
            return self.margin
        return (DEFAULT_MARGIN if self.margin is None else self.margin) * min(width, height)


def load_zones(
    path: str | os.PathLike[str], classes: Collection[str], attributes: Collection[str] = ()
) -> ZoneLayout:
    """Reads and checks a zones file.

    Args:
        path: the YAML file; docs/guides/zones.md describes it.
        classes: class names of the models.
        attributes: those of a second model, which looks at what the others find.

    Raises:
        ConfigError: the file is unreadable, has an unknown key or class, neither zones nor lines,
            a name twice, or an invalid shape; the message is one line that says which.
    """
    layout = load_config(path, ZoneLayout)
    places: list[Zone | Line] = [*layout.zones, *layout.lines]
    if not places:
        raise ConfigError(f"{path}: no zones and no lines; expected at least one under 'zones' or 'lines'")
    for zone in layout.zones:
        _check_polygon(zone, f"{path}: zone '{zone.name}'")
    for line in layout.lines:
        if line.start == line.end:
            raise ConfigError(
                f"{path}: line '{line.name}' starts and ends at the same point {_shown(line.start)}"
            )
    names = [place.name for place in places]
    for place in places:
        _check_place(place, layout.units, f"{path}: '{place.name}'")
        for name in place.classes or ():
            problem = problem_of(name, classes, attributes)
            if problem:
                raise ConfigError(f"{path}: '{place.name}': {problem}")
        if names.count(place.name) > 1:
            raise ConfigError(
                f"{path}: the name '{place.name}' is used twice; each zone and line needs its own"
            )
    return layout


def _check_place(place: Zone | Line, units: Units, where: str) -> None:
    if not place.name.strip():
        raise ConfigError(f"{where}: the name is empty; each zone and line needs one")
    for point in place.polygon if isinstance(place, Zone) else (place.start, place.end):
        if not all(math.isfinite(value) and value >= 0 for value in point):
            raise ConfigError(
                f"{where}: the point {_shown(point)} is outside the image; expected coordinates of 0 or more"
            )
        if units is Units.RELATIVE and max(point) > 1:
            raise ConfigError(
                f"{where}: the point {_shown(point)} is not relative; "
                "expected 0 to 1, or 'units: pixels' at the top"
            )
    if place.classes is not None and not place.classes:
        raise ConfigError(
            f"{where}: classes is empty, so no object would count; leave it out to count all classes"
        )


def _check_polygon(zone: Zone, where: str) -> None:
    corners = zone.polygon
    if len(set(corners)) < 3:
        raise ConfigError(f"{where} has {len(set(corners))} different corners; expected 3 or more")
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    for (i, first), (j, second) in itertools.combinations(enumerate(edges), 2):
        neighbours = j - i == 1 or (i == 0 and j == len(edges) - 1)
        if not neighbours and segments_intersect(*first, *second):
            raise ConfigError(
                f"{where} crosses itself between {_shown(first[0])} and {_shown(first[1])}; "
                "list its corners in order along its outline"
            )
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) < 1e-9:
        raise ConfigError(f"{where} has no area: its corners lie on one line")


def side_of(start: Point, end: Point, point: Point) -> float:
    """Signed distance of ``point`` from the infinite line, positive on the right of its direction.

    The vertical axis points down, as in images.
    """
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    cross = along_x * (point[1] - start[1]) - along_y * (point[0] - start[0])
    return cross / math.hypot(along_x, along_y) if along_x or along_y else 0.0


def segments_intersect(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments ``ab`` and ``cd`` cross or touch; False for parallel ones."""
    return side_of(a, b, c) * side_of(a, b, d) <= 0 and side_of(c, d, a) * side_of(c, d, b) < 0


def _shown(point: Point) -> str:
    return f"[{point[0]:g}, {point[1]:g}]"
