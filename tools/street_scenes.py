"""Draws streets in perspective, and their labels, to teach a road segmenter what photographs of roads lack.

    D=../shared/data/detection
    .venv/bin/python tools/street_scenes.py --photographs $D/images/train_pseudo --roads roads \\
        --split photos --objects $D/instances_highway_train.json $D/images/highway_train \\
        --teacher teacher.onnx --out roads

Photographs of cars show yards and highways, few show a road between two pavements, and there the kerb is what
tells them apart. A scene has a road with its lines, gutters, patches and symbols, kerbs, pavements, verges,
side streets, fronts of houses, vehicles, people and shade, seen by a camera of random height and direction.
Surfaces take their texture from roads that a segmenter found in photographs, fronts and skies from any
photographs, vehicles and people from labelled ones. Labels are those of the geometry: background, road, curb,
mark.

With ``--classes street`` they are CamVid's: sky, pole, road, pavement, car and pedestrian. What does not look
as it would in a street is ignored: fronts, verges, roadsides without a kerb, photographs in place of a sky,
bicycles and their riders. Such a set needs an ``--out`` of its own.

A scene is kept where the teacher agrees with its labels: the road, with its marks, by an intersection over
union of 0.7 or more. So the scenes need not look real; they are what the teacher takes for a street.

File names begin with the seed: with another one more scenes come into the same split. A folder without
``classes.json`` gets one.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from needed import installed

with installed():
    import cv2
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from edgevision.api import load
    from edgevision.cli.app import EXIT_INTERRUPTED
    from edgevision.cli.console import counting
    from edgevision.data.detection.masks import draw_shapes
    from edgevision.data.formats.coco import read_coco
    from edgevision.data.formats.raw import RawImage, Shape
    from edgevision.data.images import decode_image
    from edgevision.data.segmentation.class_file import refuse_other_ids, write_class_file
    from edgevision.data.segmentation.dataset import LabelledImage, load_segmentation
    from edgevision.data.segmentation.label_maps import read_label_map
    from edgevision.errors import DataError, EdgeVisionError, ModelError, OutputExistsError
    from edgevision.files import atomic_path, make_folder, safe_name
    from edgevision.suffixes import IMAGE_SUFFIXES
    from edgevision.types import IGNORE_ID, FloatArray, Image, SegmentationMap

CLASSES = ("background", "road", "curb", "mark")
BACKGROUND, ROAD, CURB, MARK, SKY, POLE, PAVEMENT, CAR, PERSON = range(9)
STREET = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "signsymbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)  # CamVid's
WIDTH, HEIGHT = 480, 320
TILE = 96  # pixels along a side of a surface's texture
FARTHEST = 80.0  # metres
AGREEMENT = 0.7
PATIENCE = 1000  # scenes in a row that a teacher does not agree with
PLAIN = 5.0  # where a box has no outline, corners are cut off by its shorter side over this

HEIGHTS = {
    "person": 1.7,
    "bicycle": 1.2,
    "motorbike": 1.3,
    "motorcycle": 1.3,
    "car": 1.5,
    "bus": 3.0,
    "truck": 2.8,
}
"""In metres, of what stands on a street."""

KINDS = {"person": PERSON, "car": CAR, "bus": CAR, "truck": CAR}
"""What cutouts are labelled as; BACKGROUND where a name is not here, and for persons on bicycles."""

RIDDEN = {"bicycle", "motorbike", "motorcycle"}

VOCABULARIES = {
    "road": (CLASSES, {ROAD: "road", CURB: "curb", MARK: "mark"}, "background"),
    "street": (
        STREET,
        {SKY: "sky", POLE: "pole", ROAD: "road", MARK: "road", CURB: "pavement", PAVEMENT: "pavement"}
        | {CAR: "car", PERSON: "pedestrian"},
        None,
    ),
}
"""By name: the classes in the order of their ids; which class each kind of pixel has; the class of all other
kinds, None to ignore them."""

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Cutout:
    """A vehicle or a person.

    Attributes:
        image: uint8 ``[h, w, 3]``, BGR.
        mask: uint8 ``[h, w]``, 255 where it is.
        height: in metres.
        kind: of its pixels: CAR, PERSON, POLE or BACKGROUND.
    """

    image: Image
    mask: NDArray[np.uint8]
    height: float
    kind: int = BACKGROUND


class Textures:
    """What surfaces are made of.

    Args:
        rng: random numbers.
        photographs: files of any content.
        roads: images with labels of their road.
        road: the id of a road in those labels.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        photographs: Sequence[Path],
        roads: Sequence[LabelledImage],
        road: int,
    ) -> None:
        self.rng, self._photographs, self._roads, self._road = rng, photographs, roads, road

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def one(self, things: Sequence[Thing]) -> Thing:
        return things[int(self.rng.integers(len(things)))]

    def colour(self, level: float, tint: float = 4.0) -> Floats:
        """A grey, BGR ``[3]``, with a tint of that deviation."""
        return np.clip(level + self.rng.normal(size=3) * tint, 5, 250).astype(np.float32)

    def grain(self, strength: float) -> Floats:
        """Noise of several sizes, ``[TILE, TILE, 1]``."""
        total = np.zeros((TILE, TILE), np.float32)
        for cells in (4, 12, 32, TILE):
            part = self.rng.normal(size=(cells, cells)).astype(np.float32)
            total += cv2.resize(part, (TILE, TILE), interpolation=cv2.INTER_LINEAR)
        return (total * strength / 2)[..., None]

    def photograph(self) -> Image:
        return decode_image(self.one(self._photographs))

    def part(self, image: Image, side: int) -> Floats | None:
        """A random square of an image as a texture, or None if it is too small."""
        height, width = image.shape[:2]
        if min(height, width) <= side:
            return None
        y, x = self.rng.integers(height - side), self.rng.integers(width - side)
        square = image[y : y + side, x : x + side]
        return cv2.resize(square, (TILE, TILE), interpolation=cv2.INTER_AREA).astype(np.float32)

    def front(self, level: float) -> Floats:
        """A wall, from any photograph, about as bright as ``level``."""
        found = self.part(self.photograph(), int(self.between(48, 200)))
        flat = self.colour(level, 12)
        return self.grain(10) + flat if found is None else centred(found) * self.between(0.4, 1.1) + flat

    def asphalt(self, level: float) -> Floats:
        flat = self.colour(level)
        found = self._asphalt_of_a_photograph() if self.chance(0.6) else None
        return (
            self.grain(self.between(3, 12)) + flat if found is None else found * self.between(0.5, 1.2) + flat
        )

    def _asphalt_of_a_photograph(self) -> Floats | None:
        """A square that a segmenter called road, its mean taken away."""
        pair = self.one(self._roads)
        if pair.labels is None:
            return None
        image, labels = decode_image(pair.image), read_label_map(pair.labels)
        side = int(self.between(40, 90))
        for _ in range(8):
            if min(labels.shape) <= side:
                return None
            y, x = self.rng.integers(labels.shape[0] - side), self.rng.integers(labels.shape[1] - side)
            square = slice(y, y + side), slice(x, x + side)
            if (labels[square] == self._road).mean() > 0.97:
                return centred(cv2.resize(image[square], (TILE, TILE)).astype(np.float32))
        return None

    def paving(self, level: float, metres: float) -> Floats:
        """Slabs, bricks, or something without joints; a texture ``metres`` wide."""
        base = self.grain(self.between(3, 14)) + self.colour(level, 7)
        kind = float(self.rng.random())
        if kind < 0.5:
            self._joints(base, self.between(0.3, 1.0) / metres, self.between(0.3, 1.0) / metres, 2)
        elif kind < 0.75:
            self._joints(base, self.between(0.1, 0.25) / metres, self.between(0.2, 0.4) / metres, 1)
        elif kind < 0.88:
            found = self.part(self.photograph(), int(self.between(48, 200)))
            if found is not None:
                base = centred(found) * self.between(0.2, 0.7) + self.colour(level, 10)
        return base

    def _joints(self, base: Floats, row: float, column: float, widest: int) -> None:
        high, wide = max(5, int(row * TILE)), max(5, int(column * TILE))
        depth = self.between(8, 45) * (1 if self.chance(0.8) else -1)
        width = int(self.rng.integers(1, widest + 1))
        for count, y in enumerate(range(0, TILE, high)):
            base[y : y + width] -= depth
            for x in range((wide // 2) * (count % 2), TILE, wide):
                base[y : y + high, x : x + width] -= depth
                base[y : y + high, x : x + wide] += self.between(-7, 7)

    def grass(self) -> Floats:
        flat = np.array([self.between(20, 60), self.between(60, 130), self.between(40, 100)], np.float32)
        return self.grain(18) + flat

    def symbol(self) -> Floats:
        """What is painted on a road, such as arrows: 1 where there is paint, ``[TILE, TILE, 1]``."""
        drawn = np.zeros((TILE, TILE), np.uint8)
        for _ in range(int(self.rng.integers(1, 4))):
            a, b = (tuple(int(value) for value in self.rng.integers(10, TILE - 10, 2)) for _ in range(2))
            kind, thick = int(self.rng.integers(4)), int(self.rng.integers(4, 12))
            if kind == 0:
                cv2.arrowedLine(drawn, a, b, 255, thick, tipLength=0.4)
            elif kind == 1:
                cv2.ellipse(
                    drawn, a, (int(self.between(8, 30)), int(self.between(8, 30))), 0, 0, 360, 255, thick
                )
            elif kind == 2:
                cv2.putText(drawn, chr(65 + int(self.rng.integers(26))), (8, 80), 0, 3, 255, thick)
            else:
                cv2.line(drawn, a, b, 255, thick)
        return (drawn.astype(np.float32) / 255)[..., None]


class Scene:
    """A street as a camera sees it.

    Coordinates are metres: x to the right of the road's middle, z away from the camera.

    Args:
        textures: of its surfaces, and random numbers.
        cutouts: vehicles and people.
        side_streets: probability of a side street, on either side.

    Attributes:
        image: float ``[HEIGHT, WIDTH, 3]``, BGR.
        labels: what is drawn, uint8 ``[HEIGHT, WIDTH]``.
    """

    def __init__(self, textures: Textures, cutouts: Sequence[Cutout], side_streets: float = 0.25) -> None:
        self._t, self._cutouts, self._side_streets = textures, cutouts, side_streets
        t, between = textures, textures.between
        self._focal = WIDTH * between(0.6, 1.4)
        self._height = between(1.0, 2.6)
        self._vanishing = WIDTH * between(0.15, 0.85), HEIGHT * between(0.25, 0.55)
        self._roll = math.tan(math.radians(between(-3, 3)))
        self._bend = between(-0.004, 0.004) if t.chance(0.4) else 0.0
        self._v, self._u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self._horizon = self._vanishing[1] + self._roll * (self._u - WIDTH / 2)
        self._below: Mask = self._v > self._horizon + 0.5
        depth = self._focal * self._height / np.maximum(self._v - self._horizon, 0.5)
        self.z: Floats = np.where(self._below, depth, 1e4).astype(np.float32)
        straight = (self._u - self._vanishing[0]) * self.z / self._focal
        self.x: Floats = straight - self._bend * np.minimum(self.z, FARTHEST) ** 2
        self._blur: Floats = np.clip((self.z - 6) / 25, 0, 1)  # a texture far away is its mean
        self._phase = between(0, 10)
        self._light = between(50, 170)
        self.image: Floats = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self.labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        self._left, self._right = between(1.8, 7), between(1.8, 7)  # from the camera's line to the kerbs
        self._sky()
        self._road()
        ends = [self._side(-1, self._left), self._side(1, self._right)]
        self._shade()
        for sign, end, gap in ends:
            if not t.chance(0.12) and not (self._bend and t.chance(0.5)):
                self._fronts(sign, end, gap)
        self._things()

    def _sky(self) -> None:
        t = self._t
        share = np.clip(self._v / np.maximum(self._horizon, 1), 0, 1)[..., None]
        top, bottom = t.colour(t.between(120, 250), 16), t.colour(t.between(150, 255), 8)
        self.image[:] = top * (1 - share) + bottom * share
        self.labels[:] = SKY
        if t.chance(0.5):
            self.labels[:] = BACKGROUND
            behind, weight = cv2.resize(t.photograph(), (WIDTH, HEIGHT)).astype(np.float32), t.between(0.2, 1)
            self.image[:] = self.image * (1 - weight) + behind * weight

    def _lay(self, where: Mask, texture: Floats, metres: float, label: int) -> None:
        """Covers a part of the ground."""
        drawn = sample(texture, self.x, self.z, metres, self._blur)
        self.image[where] = drawn[where]
        self.labels[where] = label

    def _road(self) -> None:
        t, between = self._t, self._t.between
        self._lay(self._below, t.asphalt(self._light), between(1.5, 4), ROAD)
        for _ in range(int(t.rng.integers(0, 4))):
            self.image[self._rectangle(between(0.3, 3), between(0.5, 8))] += between(-25, 25)
        if t.chance(0.25):  # a coloured lane
            where = self._rectangle(between(1, 3), between(3, 60))
            tint = np.array([between(0.6, 1), between(0.6, 1.1), between(0.8, 1.4)], np.float32)
            self.image[where] *= tint
        middle = (self._right - self._left) / 2
        if t.chance(0.6):
            self._line(middle + between(-0.6, 0.6), between(0.1, 0.2), between(1, 5), between(1, 6))
        if t.chance(0.15):  # a crossing
            near, stripe = between(4, 20), between(0.4, 0.6)
            across = (
                self._below & (np.abs(self.z - near) < between(1, 2)) & (np.mod(self.x, 2 * stripe) < stripe)
            )
            self._paint(across & (self.x > -self._left) & (self.x < self._right))
        for _ in range(int(t.rng.integers(0, 3))):
            self._symbol()

    def _rectangle(self, width: float, length: float) -> Mask:
        """A part of the road somewhere in front of the camera."""
        t = self._t
        x, z = t.between(-self._left, self._right), t.between(3, 25)
        inside: Mask = (np.abs(self.x - x) < width / 2) & (np.abs(self.z - z) < length / 2)
        return self._below & inside

    def _paint(self, where: Mask, colour: Floats | None = None) -> None:
        t = self._t
        paint = t.colour(min(250.0, self._light * t.between(1.4, 2.4))) if colour is None else colour
        cover = t.between(0.4, 1)
        self.image[where] = self.image[where] * (1 - cover) + paint * cover
        self.labels[where] = MARK

    def _line(
        self, x: float, width: float, dash: float = 0, gap: float = 0, colour: Floats | None = None
    ) -> None:
        where = self._below & (np.abs(self.x - x) < width / 2) & (self.z < FARTHEST)
        if dash:
            where &= np.mod(self.z + self._phase, dash + gap) < dash
        self._paint(where, colour)

    def _symbol(self) -> None:
        t = self._t
        x, z = t.between(-self._left, self._right - 0.5), t.between(3, 20)
        width, length = t.between(0.6, 3), t.between(1, 6)
        columns, rows = (self.x - x) / width * TILE, (1 - (self.z - z) / length) * TILE
        inside = self._below & (columns >= 0) & (columns < TILE - 1) & (rows >= 0) & (rows < TILE - 1)
        drawn = cv2.remap(t.symbol(), columns, rows.astype(np.float32), cv2.INTER_LINEAR)
        self._paint(inside & (drawn > 0.5))

    def _side(self, sign: int, edge: float) -> tuple[int, float, tuple[float, float]]:
        """What lies beside the road.

        Returns:
            The side, how far from the middle its fronts stand, and from where to where a side street opens.
        """
        t, between, light = self._t, self._t.between, self._light
        gap = (0.0, 0.0)
        if t.chance(self._side_streets):
            start = between(4, 30)
            gap = (start, start + between(4, 12))
        open_ = (self.z >= gap[0]) & (self.z < gap[1])

        def beyond(distance: float) -> Mask:
            return self._below & (sign * self.x > edge + distance) & ~open_

        if t.chance(0.8):
            self._edge_lines(sign, edge)
            kerb = between(0.1, 0.3)
            self._kerb(sign, edge, kerb, beyond(0))
            metres, level = (
                between(1.5, 4),
                light * (between(0.75, 1.35) if t.chance(0.75) else between(0.5, 2)),
            )
            self._lay(beyond(kerb), t.paving(level, metres), metres, PAVEMENT)
            width = kerb + between(1.2, 6)
            if t.chance(0.3):
                verge = beyond(kerb + between(0, 1)) & (sign * self.x < edge + kerb + between(1, 2.5))
                self._lay(verge, t.grass(), 3, BACKGROUND)
        else:
            width = between(0, 2)
            soft = t.grass() if t.chance(0.6) else t.paving(light * between(0.6, 1.6), 3)
            self._lay(beyond(0), soft, 3, BACKGROUND)
        self._lay(beyond(width), t.grass(), 3, BACKGROUND)
        return sign, edge + width, gap

    def _edge_lines(self, sign: int, edge: float) -> None:
        t, between = self._t, self._t.between
        if t.chance(0.6):  # the gutter, with drains
            inner = between(0.15, 0.6)
            gutter = self._below & (sign * self.x > edge - inner) & (sign * self.x <= edge)
            if t.chance(0.4):
                self._lay(gutter, t.paving(self._light * between(0.6, 1.2), 1), 1, ROAD)
            else:
                self.image[gutter] *= between(0.55, 0.95)
            if t.chance(0.5):
                drains = gutter & (np.mod(self.z + self._phase, between(6, 20)) < between(0.3, 0.5))
                self.image[drains] *= 0.4
        if t.chance(0.45):
            yellow = np.array([between(40, 110), between(140, 200), between(160, 220)], np.float32)
            colour = yellow * self._light / 140 if t.chance(0.6) else None
            inset, width = between(0.15, 0.7), between(0.06, 0.12)
            for count in range(int(t.rng.integers(1, 3))):
                self._line(sign * (edge - inset - 2.3 * count * width), width, colour=colour)

    def _kerb(self, sign: int, edge: float, width: float, where: Mask) -> None:
        t, between = self._t, self._t.between
        stone = t.colour(self._light * between(0.75, 1.8)) + t.rng.normal(size=(HEIGHT, WIDTH, 1)) * 3
        joints = np.mod(self.z + self._phase, between(0.6, 1.2)) < 0.05
        stone -= (joints * (1 - self._blur) * between(0, 40))[..., None]
        self.image[where] = stone[where]
        self.labels[where] = CURB
        if t.chance(0.5):  # its face lies in the shade
            self.image[where & (sign * self.x < edge + width * 0.35)] *= between(0.5, 0.9)

    def _shade(self) -> None:
        t, between = self._t, self._t.between
        if t.chance(0.6):
            edge, left = between(-8, 8), t.chance(0.5)
            self.image[self._below & ((self.x < edge) if left else (self.x > edge))] *= between(0.35, 0.75)
        if t.chance(0.4):
            near, half = between(2, 30), between(0.5, 8)
            self.image[self._below & (np.abs(self.z - near) < half)] *= between(0.4, 0.8)

    def _fronts(self, sign: int, end: float, gap: tuple[float, float]) -> None:
        """Walls, fences and hedges along a side, with nothing where a side street opens."""
        t, between = self._t, self._t.between
        aside = (self._u - self._vanishing[0]) * sign
        z = np.where(aside > 0.5, end * self._focal / np.maximum(aside, 0.5), 1e4).astype(np.float32)
        y = (self._horizon - self._v) * z / self._focal + self._height
        start = between(-5, 5)
        while start < FARTHEST:
            stop = start + between(4, 14)
            top = between(1, 3) if t.chance(0.25) else between(4, 14)
            where = (aside > 0.5) & (z >= start) & (z < stop) & (y > 0) & (y < top)
            if where.any() and not start < gap[1] < stop and not start < gap[0] < stop:
                wall = t.front(self._light * between(0.4, 1.6))
                blur = np.clip((z - 30) / 60, 0, 1).astype(np.float32)
                self.image[where] = sample(wall, z - start, -y, between(3, 9), blur)[where]
                self.labels[where] = BACKGROUND
            start = stop

    def _things(self) -> None:
        """Vehicles, people and poles, the farthest first."""
        t, between = self._t, self._t.between
        for z in sorted((between(4, 45) for _ in range(int(t.rng.integers(0, 7)))), reverse=True):
            if t.chance(0.2):
                pole = np.full((32, 8, 3), t.colour(self._light * between(0.2, 0.9)), np.float32)
                side = (
                    -between(self._left, self._left + 3)
                    if t.chance(0.5)
                    else between(self._right, self._right + 3)
                )
                mask = np.full((32, 8), 255, np.uint8)
                self._put(Cutout(pole.astype(np.uint8), mask, between(3, 9), POLE), side, z, 1)
            elif self._cutouts:
                cutout = t.one(self._cutouts)
                light = self._light / 140 * 0.7 + 0.3
                self._put(cutout, between(-self._left - 2, self._right + 2), z, light)

    def _put(self, cutout: Cutout, x: float, z: float, light: float) -> None:
        scale = self._focal / z
        column = self._vanishing[0] + (x + self._bend * z * z) * scale
        foot = self._vanishing[1] + self._roll * (column - WIDTH / 2) + self._height * scale
        rows, columns = cutout.mask.shape
        high = max(2, int(cutout.height * scale))
        wide = max(2, int(high * columns / rows)) if columns > rows / 4 else max(2, int(0.2 * scale))
        if wide > WIDTH or high > 3 * HEIGHT:
            return
        shadow = ((self._v - foot) / max(2.0, high * 0.06)) ** 2 + (
            (self._u - column) / (wide * 0.55)
        ) ** 2 < 1
        self.image[self._below & shadow] *= 0.5
        kind = cv2.INTER_AREA if wide < columns else cv2.INTER_LINEAR
        drawn = cv2.resize(cutout.image, (wide, high), interpolation=kind).astype(np.float32) * light
        mask = cv2.resize(cutout.mask, (wide, high)).astype(np.float32)[..., None] / 255
        left, top = int(column - wide / 2), int(foot) - high
        y0, y1, x0, x1 = max(0, top), min(HEIGHT, top + high), max(0, left), min(WIDTH, left + wide)
        if y0 >= y1 or x0 >= x1:
            return
        part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        place = slice(y0, y1), slice(x0, x1)
        self.image[place] = self.image[place] * (1 - mask[part]) + drawn[part] * mask[part]
        self.labels[place][mask[part][..., 0] > 0.5] = cutout.kind

    def seen(self) -> tuple[Image, NDArray[np.uint8]]:
        """The image, with a camera's blur, noise and contrast, uint8 ``[HEIGHT, WIDTH, 3]``; its labels."""
        t, between = self._t, self._t.between
        image = cv2.GaussianBlur(np.clip(self.image, 0, 255), (0, 0), between(0.4, 1.0))
        image = image + t.rng.normal(size=image.shape) * between(0, 4)
        image = 255 * (np.clip(image, 0, 255) / 255) ** between(0.8, 1.25)
        labels = self.labels.copy()
        if t.chance(0.15):  # bars beside the image, as a letterbox draws them
            bar = int(between(10, 70))
            image[:, :bar] = image[:, -bar:] = 114
            labels[:, :bar] = labels[:, -bar:] = IGNORE_ID
        return np.clip(image, 0, 255).astype(np.uint8), labels


def centred(texture: Floats) -> Floats:
    return np.asarray(texture - texture.mean(axis=(0, 1)))


def sample(texture: Floats, x: Floats, y: Floats, metres: float, blur: Floats) -> Floats:
    """A texture laid in mirrored tiles of ``metres``, seen at ``x`` and ``y``; ``blur`` 1 gives its mean."""
    columns, rows = (
        np.abs(np.mod(value / metres * TILE, 2 * TILE) - TILE).astype(np.float32) for value in (x, y)
    )
    drawn = cv2.remap(
        texture.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(drawn * (1 - blur[..., None]) + texture.mean(axis=(0, 1)) * blur[..., None], np.float32)


def cut_out(labels: Path, images: Path, least: int = 40) -> list[Cutout]:
    """Vehicles and people of a file in COCO's form: by outlines, or by boxes with their corners cut off.

    Raises:
        DataError: the file cannot be read or is not COCO's, or it has nothing of use.
        UsageError: it has outlines, and pycocotools is not installed.
    """
    raw = read_coco(labels, images, shapes=True)
    if raw.problems:
        sys.stderr.write(f"note: {labels}: {len(raw.problems)} left out, the first: {raw.problems[0].text}\n")
    found = [one for photograph in raw.images for one in cutouts_of(photograph, least)]
    if not found:
        raise DataError(
            f"{labels} has no {', '.join(HEIGHTS)} of {least} pixels or more whose image lies in {images}; "
            "expected some, or leave --objects out"
        )
    return found


def cutouts_of(photograph: RawImage, least: int) -> Iterator[Cutout]:
    """The vehicles and people of one photograph; none where it is missing."""
    names = [name.lower() for name in photograph.names]
    ridden = [box for box, name in zip(photograph.boxes, names, strict=True) if name in RIDDEN]
    image = None
    for box, name, ignore, shape in zip(
        photograph.boxes, names, photograph.ignore, photograph.shapes, strict=True
    ):
        left, top, right, bottom = (max(0, int(value)) for value in box)
        if name not in HEIGHTS or ignore or min(right - left, bottom - top) < least:
            continue
        if image is None:
            if not photograph.path.is_file():
                return
            image = decode_image(photograph.path)
        kind = KINDS.get(name, BACKGROUND)
        if kind == PERSON and any(overlap(box, other) for other in ridden):
            kind = BACKGROUND
        place = slice(top, bottom), slice(left, right)
        if min(image[place].shape[:2]) >= least:
            mask = outline(shape, box, image)
            yield Cutout(image[place].copy(), mask[place].copy(), HEIGHTS[name], kind)


def overlap(first: FloatArray, second: FloatArray) -> bool:
    """Whether two boxes, corners ``[4]``, have a part in common."""
    return bool((first[:2] < second[2:]).all() and (second[:2] < first[2:]).all())


def outline(shape: Shape, box: FloatArray, image: Image) -> NDArray[np.uint8]:
    """Where an object is, 255 there, uint8 ``[H, W]``."""
    height, width = image.shape[:2]
    if shape.segmentation:
        return np.asarray(draw_shapes([shape], width, height, 1, 1)[0] * 255, np.uint8)
    left, top, right, bottom = (max(0, int(value)) for value in box)
    off = int(min(right - left, bottom - top) / PLAIN)
    corners = [(left + off, top), (right - off, top), (right, top + off), (right, bottom - off // 2)]
    corners += [(right - off, bottom), (left + off, bottom), (left, bottom - off // 2), (left, top + off)]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.asarray(corners, np.int32)], 255)
    return mask


def named(drawn: NDArray[np.uint8], vocabulary: str) -> NDArray[np.uint8]:
    """The labels of a scene, ``[H, W]``, in the ids of a vocabulary."""
    classes, names, rest = VOCABULARIES[vocabulary]
    lookup = np.full(256, IGNORE_ID if rest is None else classes.index(rest), np.uint8)
    for kind, name in names.items():
        lookup[kind] = classes.index(name)
    lookup[IGNORE_ID] = IGNORE_ID
    return np.asarray(lookup[drawn])


def agreement(labels: NDArray[np.uint8], found: NDArray[np.integer[Any]]) -> float:
    """Intersection over union of the road with its marks; 0 where there is hardly any."""
    known = labels != IGNORE_ID
    own, other = (np.isin(one, (ROAD, MARK)) & known for one in (labels, found))
    union = int((own | other).sum())
    return float((own & other).sum()) / union if union > 2000 else 0.0


def make_folders(out: Path, name: str, seed: int, names: Sequence[str]) -> tuple[Path, Path]:
    """The folders of images and of labels; ``classes.json`` where there is none.

    Raises:
        DataError: the classes there have other ids, which the labels would then mean.
        SinkError: they cannot be written, or hold scenes of that seed.
    """
    folders = out / "images" / name, out / "labels" / name
    for folder in folders:
        make_folder(folder, parents=True)
        there = sorted(folder.glob(f"{seed}-*"))
        if there:
            raise OutputExistsError(f"output exists: {there[0]}; choose another --seed or --as, or remove it")
    path = out / "classes.json"
    refuse_other_ids(path, names)
    if not path.exists():
        write_class_file(path, names)
    return folders


def draw(options: argparse.Namespace) -> tuple[int, int]:
    """Writes the scenes; returns how many were kept and how many drawn.

    Raises:
        DataError: there is nothing to draw them from, the folder has other classes, or the teacher agrees
            with hardly any scene.
        ModelError: the teacher has other classes.
        SinkError: the folder cannot be written, or has scenes of that seed.
    """
    if not options.photographs.is_dir():
        raise DataError(f"image folder not found: {options.photographs}")
    photographs = sorted(
        path for path in options.photographs.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES
    )
    roads = load_segmentation(options.roads, options.split, CLASSES)
    if not photographs:
        raise DataError(f"{options.photographs} has no image")
    folders = make_folders(options.out, options.name, options.seed, VOCABULARIES[options.classes][0])
    id_of_road = int(np.flatnonzero(roads.lookup == ROAD)[0])
    cutouts = [one for labels, images in options.objects for one in cut_out(Path(labels), Path(images))]
    teacher = load(str(options.teacher), conf=0.0) if options.teacher else None
    if teacher is not None and teacher.names != CLASSES:
        raise ModelError(
            f"{options.teacher} has the classes {', '.join(teacher.names)}; expected "
            f"{', '.join(CLASSES)}, in this order"
        )
    rng = np.random.default_rng(options.seed)
    textures = Textures(rng, photographs, roads.images, id_of_road)
    kept = drawn = refused = 0
    with counting(Console(stderr=True), "drawing streets", options.count) as advance:
        while kept < options.count:
            image, labels = Scene(textures, cutouts, options.side_streets).seen()
            road = named(labels, "road")
            drawn += 1
            if teacher is not None:
                answer = teacher(image)
                if not isinstance(answer, SegmentationMap) or agreement(road, answer.class_map) < AGREEMENT:
                    refused += 1
                    if refused == PATIENCE:
                        raise DataError(
                            f"{options.teacher} agreed with none of the last {PATIENCE} scenes, with {kept} "
                            "before them; expected a segmenter of roads"
                        )
                    continue
                refused = 0
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 97))]
            stem = f"{options.seed}-{kept:05}"
            for folder, suffix, pixels, settings in (  # an image without labels would be a fault of the set
                (folders[1], "png", named(labels, options.classes), []),
                (folders[0], "jpg", image, quality),
            ):
                with atomic_path(folder / f"{stem}.{suffix}") as path:
                    encoded = cv2.imencode(f".{suffix}", pixels, settings)[1]
                    path.write_bytes(encoded.tobytes())
            kept += 1
            advance(kept)
    return kept, drawn


def whole_number(least: int) -> Callable[[str], int]:
    """What reads a whole number of ``least`` or more."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of {least} or more")
        return int(text)

    return parse


def share(text: str) -> float:
    """A probability."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")


def split_name(text: str) -> str:
    """The name of a split."""
    if safe_name(text) != text:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no name of a folder; expected such as {safe_name(text)}"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photographs", type=Path, required=True, help="folder of images of anything")
    parser.add_argument(
        "--roads", type=Path, required=True, help="labelled images; classes background, road, curb, mark"
    )
    parser.add_argument("--split", required=True, help="of --roads")
    parser.add_argument(
        "--objects", nargs=2, action="append", default=[], metavar=("LABELS", "IMAGES"),
        help="vehicles and people in COCO's form; repeat it for more",
    )  # fmt: skip
    parser.add_argument("--teacher", type=Path, help="keep what this segmenter agrees with")
    parser.add_argument("--count", type=whole_number(1), default=2500, help="scenes to write, default 2500")
    parser.add_argument(
        "--side-streets", type=share, default=0.25, metavar="P", help="probability of one, on either side"
    )
    parser.add_argument(
        "--classes", choices=VOCABULARIES, default="road", help="what the labels tell apart, default road"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="other scenes for another, default 0")
    parser.add_argument("--out", type=Path, required=True, help="folder with images and labels")
    parser.add_argument("--as", dest="name", type=split_name, default="streets", help="the split to write")
    options = parser.parse_args()
    try:
        kept, drawn = draw(options)
    except (EdgeVisionError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        print(f"interrupted; the scenes that were drawn are in {options.out}", file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_INTERRUPTED) from None
    print(f"{options.out}: {kept} of {drawn} scenes kept")  # noqa: T201


if __name__ == "__main__":
    main()
