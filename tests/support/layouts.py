"""Folders of labelled images as other tools lay them out: a red cat in each, a blue dog where it is odd."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 160, 120
NAMES = ("cat", "dog")

Box = tuple[int, int, int, int, int]
"""Class, left, top, width, height in pixels."""


def put(path: Path, content: str | bytes) -> None:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def boxes_of(seed: int) -> list[Box]:
    """The boxes of the image of a seed."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(1 + seed % 2):
        width, height = int(rng.integers(24, 44)), int(rng.integers(20, 40))
        x, y = int(rng.integers(2 + 78 * number, 34 + 78 * number)), int(rng.integers(4, HEIGHT - height - 4))
        found.append((number, x, y, width, height))
    return found


def image(path: Path, seed: int) -> list[Box]:
    """Writes the image of a seed; its boxes."""
    pixels = np.random.default_rng(seed).integers(90, 160, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number, x, y, width, height in boxes_of(seed):
        pixels[y : y + height, x : x + width] = (30, 30, 220) if number == 0 else (220, 60, 30)
    put(path, cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
    return boxes_of(seed)


def yolo(boxes: list[Box]) -> str:
    """Lines of YOLO text."""
    return "".join(
        f"{c} {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} {h / HEIGHT:.6f}\n"
        for c, x, y, w, h in boxes
    )


def voc(name: str, boxes: list[Box]) -> str:
    """VOC's XML, which counts pixels from 1."""
    objects = "".join(
        f"<object><name>{NAMES[c]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for c, x, y, w, h in boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def coco(items: list[tuple[str, list[Box]]], names: tuple[str, ...] = NAMES, first: int = 1) -> str:
    """COCO instances; ``first`` is the id of the first of ``NAMES``, which ``names`` end in."""
    images = [
        {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for number, (name, _) in enumerate(items, 1)
    ]
    shift = first + len(names) - len(NAMES)
    annotations = [
        {"image_id": number, "category_id": c + shift, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        for number, (_, boxes) in enumerate(items, 1)
        for c, x, y, w, h in boxes
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    categories = [{"id": number + first, "name": name} for number, name in enumerate(names)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})
