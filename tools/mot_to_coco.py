"""Writes a sequence of MOTChallenge as labelled images, for ``edgevision eval``.

    T=../shared/data/tracking
    .venv/bin/python tools/mot_to_coco.py $T/PETS09-S2L1 --every 5 --out pets
    edgevision eval --model retinanet-light --data pets/instances.json --images pets/images --at 0.35

A sequence is a folder with one clip, or ``img1`` with images, and ``gt/gt.txt``, whose rows are frame from
1, id, left and top from 1, width, height and a mark (https://motchallenge.net/instructions/). A mark of 0
means that the box counts neither for nor against, as COCO's ``iscrowd`` does. Writes OUT/images, as PNG,
and OUT/instances.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from needed import installed

with installed():
    import cv2
    import numpy as np
    from numpy.typing import NDArray

    from edgevision.cli.app import spell_options
    from edgevision.errors import DataError, EdgeVisionError
    from edgevision.files import make_folder, refuse_existing, write_json
    from edgevision.video import open_source

CLIP_SUFFIXES = {".avi", ".mkv", ".mov", ".mp4", ".webm"}
MARK = 6  # column


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sequence", type=Path, help="folder of one clip and gt/gt.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--every", type=int, default=1, help="take the first of so many frames, default 1")
    parser.add_argument("--class", dest="name", default="person", help="what the boxes are; default person")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier call wrote")
    options = parser.parse_args()
    try:
        if options.every < 1:
            raise DataError(f"`every` {options.every}: expected 1 or more")
        images, boxes = convert(options.sequence, options.out, options.every, options.name, options.overwrite)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {spell_options(error)}\n")
        return 1
    sys.stdout.write(f"{options.out}: {images} images, {boxes} boxes of {options.name}\n")
    return 0


def convert(sequence: Path, out: Path, every: int, name: str, overwrite: bool = False) -> tuple[int, int]:
    """Writes frames and boxes; returns how many of each, without those that do not count.

    Raises:
        EdgeVisionError: it is no sequence, or a file cannot be read or written.
    """
    if not sequence.is_dir():
        raise DataError(f"no such folder: {sequence}")
    footage = sorted(path for path in sequence.glob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    if not footage and (sequence / "img1").is_dir():
        footage = [sequence / "img1"]
    if len(footage) != 1:
        raise DataError(f"{sequence} has {len(footage)} clips; expected one, or img1, and gt/gt.txt")
    rows = read_truth(sequence / "gt" / "gt.txt")
    make_folder(out / "images", parents=True)
    old = [path for path in (out / "images").glob("*.png") if path.stem.isdigit()]
    for path in (out / "instances.json", *old[:1]):
        refuse_existing(path, overwrite)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    number = 0
    for path in old:
        path.unlink()
    with open_source(str(footage[0])) as source:
        for number, frame in enumerate(source, start=1):
            if (number - 1) % every:
                continue
            height, width = frame.image.shape[:2]
            file = f"{number:06d}.png"
            if not cv2.imwrite(str(out / "images" / file), frame.image):
                raise DataError(f"cannot write {out / 'images' / file}")
            images.append({"id": number, "file_name": file, "width": width, "height": height})
            for row in rows[rows[:, 0] == number]:
                left, top, wide, high = (float(value) for value in row[2:6] - (1, 1, 0, 0))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": 1,
                        "bbox": [left, top, wide, high],
                        "area": wide * high,
                        "iscrowd": int(row[MARK] == 0),
                    }
                )
    if rows[:, 0].max() > number:
        raise DataError(f"{footage[0]} has {number} frames, and gt.txt boxes of frame {rows[:, 0].max():g}")
    categories = [{"id": 1, "name": name}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    write_json(out / "instances.json", document)
    return len(images), sum(not one["iscrowd"] for one in annotations)


def read_truth(path: Path) -> NDArray[np.float64]:
    """The rows of ``gt.txt``: float64 ``[N, 7 or more]``.

    Raises:
        DataError: the file is missing, or is not one of rows of numbers.
    """
    try:
        if not path.read_text().strip():
            raise DataError(f"{path} is empty; expected a row for each box")
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: {error}; expected rows of frame, id, left, top, width, height, mark"
        ) from error
    if rows.shape[1] <= MARK:
        raise DataError(f"{path} has {rows.shape[1]} columns; expected at least {MARK + 1}, the last a mark")
    return rows


if __name__ == "__main__":
    sys.exit(main())
