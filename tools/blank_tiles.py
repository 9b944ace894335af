"""Cuts squares in which nobody saw anything out of labelled images: what a detector sees there is wrong.

    D=../shared/data/detection
    .venv/bin/python tools/blank_tiles.py OUT --count 600 --set frames.json frames \\
        --set $D/instances_highway_train.json $D/images/highway_train $D/fused_highway_train.json

A set is a COCO json, the folder of its images and, if there is one, COCO's results json of a teacher. Each
image gives the largest square that no box touches: people's, ignored ones and a teacher's from ``--free-of``
on; none where that is below ``--least`` pixels. The model says what it sees in each square, and those with
the strongest answers, which are false alarms, are kept: OUT/images, and OUT/instances.json, which has every
class of the model and no box, so that each class is known to be absent. Prints what was seen, by class.

As a source of a training:

    - {kind: coco, annotations: OUT/instances.json, images: OUT/images, weight: 1.0}
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from needed import installed

with installed():
    import cv2
    import numpy as np
    from numpy.typing import NDArray

    from edgevision.api import load
    from edgevision.data.formats.coco import read_coco, read_ids
    from edgevision.data.formats.detections import add_detections
    from edgevision.errors import DataError, EdgeVisionError
    from edgevision.files import make_folder, write_json
    from edgevision.model import detect
    from edgevision.types import Image

LEAST_SIDE = 96
FREE_OF = 0.1
_SHRINK = 0.85
_PLACES = 8  # of a square along each side of an image


@dataclass(frozen=True)
class Tile:
    """A square of an image.

    Attributes:
        path: the image.
        left, top, side: in its pixels.
        name, score: the strongest answer of the model there; empty and 0 without one.
    """

    path: Path
    left: int
    top: int
    side: int
    name: str = ""
    score: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write, with images and instances.json")
    parser.add_argument(
        "--model", default="retinanet-light", help="detector, a name or a file; default retinanet-light"
    )
    parser.add_argument(
        "--set", dest="sets", action="append", nargs="+", type=Path, required=True, metavar="PATH",
        help="a COCO json, the folder of its images and perhaps a teacher's results; repeat it for more",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=600, help="the most squares to keep, default 600")
    parser.add_argument(
        "--least", type=int, default=LEAST_SIDE, help=f"pixels of a side, default {LEAST_SIDE}"
    )
    parser.add_argument(
        "--free-of",
        type=float,
        default=FREE_OF,
        help=f"a teacher's boxes from this score on, default {FREE_OF}",
    )
    parser.add_argument("--seed", type=int, default=0, help="other places for another, default 0")
    options = parser.parse_args()
    if any(len(one) not in (2, 3) for one in options.sets):
        parser.error("--set takes a json, a folder and perhaps a teacher's results")
    try:
        kept = cut(options.sets, options)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    seen = Counter(one.name for one in kept if one.name)
    sys.stdout.write(
        f"{options.out}: {len(kept)} squares; strongest {max(one.score for one in kept):.2f}, "
        f"weakest {min(one.score for one in kept):.2f}\n"
        + "".join(f"  {name} {count}\n" for name, count in seen.most_common())
    )
    return 0


def cut(sets: Sequence[Sequence[Path]], options: argparse.Namespace) -> list[Tile]:
    """The tiles that were written, the strongest false alarm first.

    Raises:
        EdgeVisionError: the model is not a detector, a set cannot be read, or no image has a blank square.
    """
    make_folder(options.out)
    make_folder(options.out / "images")
    draw = np.random.default_rng(options.seed)
    tiles: list[Tile] = []
    with load(options.model, conf=0.05) as model:
        for one in sets:
            for path, boxes in occupied(one, options.free_of):
                image = read(path)
                if image is None:
                    continue
                place = blank_square(boxes, image.shape[1], image.shape[0], options.least, draw)
                if place is None:
                    continue
                found = detect(model, pixels(image, *place))
                tile = Tile(path, *place)
                if len(found):
                    best = found[int(found.scores.argmax())]
                    tile = replace(tile, name=best.name, score=best.score)
                tiles.append(tile)
        classes = model.manifest.classes
    if not tiles:
        raise DataError(
            f"no image has a square of {options.least} pixels without a box; try a smaller `least`"
        )
    tiles.sort(key=lambda tile: -tile.score)
    kept = tiles[: options.count]
    for number, tile in enumerate(kept):
        image = read(tile.path)
        assert image is not None  # it was read a moment ago
        cv2.imwrite(
            str(options.out / "images" / f"{number:05d}.jpg"), pixels(image, tile.left, tile.top, tile.side)
        )
    write_json(
        options.out / "instances.json",
        {
            "images": [
                {"id": number, "file_name": f"{number:05d}.jpg", "width": tile.side, "height": tile.side}
                for number, tile in enumerate(kept)
            ],
            "annotations": [],
            "categories": [{"id": place, "name": name} for place, name in enumerate(classes, start=1)],
        },
    )
    return kept


def occupied(one: Sequence[Path], free_of: float) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Each image of a set with all that is known to be in it: float32 ``[G, 4]``, corners in pixels."""
    labels, folder = str(one[0]), str(one[1])
    people = read_coco(labels, folder)
    teacher = people
    if len(one) == 3:
        teacher = add_detections(people, one[2], read_ids(labels), (), free_of, free_of)
    seen = {image.image_id: image.boxes for image in teacher.images}
    for image in people.images:
        yield image.path, np.concatenate([image.boxes, seen.get(image.image_id, image.boxes[:0])])


def blank_square(
    boxes: NDArray[np.float32], width: int, height: int, least: int, draw: np.random.Generator
) -> tuple[int, int, int] | None:
    """The largest square, in steps of 15 %, that no box touches; of several one at random.

    Args:
        boxes: float32 ``[G, 4]``, corners in pixels.
        width, height: of the image.
        least: of its sides, in pixels.
        draw: random numbers.

    Returns:
        Left, top and side, or None where there is none.
    """
    side = min(width, height)
    while side >= least:
        lefts, tops = (
            np.unique(np.linspace(0, size - side, _PLACES).astype(int)) for size in (width, height)
        )
        places = np.stack(np.meshgrid(lefts, tops), axis=-1).reshape(-1, 2)
        touches = (
            (boxes[None, :, 0] < places[:, None, 0] + side)
            & (boxes[None, :, 2] > places[:, None, 0])
            & (boxes[None, :, 1] < places[:, None, 1] + side)
            & (boxes[None, :, 3] > places[:, None, 1])
        ).any(axis=1)
        free = places[~touches]
        if len(free):
            left, top = (int(value) for value in free[draw.integers(len(free))])
            return left, top, side
        side = int(side * _SHRINK)
    return None


def read(path: Path) -> Image | None:
    """An image of a set, uint8 ``[H, W, 3]``, BGR; None where it cannot be read."""
    image = cv2.imread(str(path))
    return None if image is None else np.asarray(image, np.uint8)


def pixels(image: Image, left: int, top: int, side: int) -> Image:
    """A square of an image: uint8 ``[side, side, 3]``."""
    return np.ascontiguousarray(image[top : top + side, left : left + side])


if __name__ == "__main__":
    sys.exit(main())
