"""A page of labelled data: what it holds, drawn images, near-equal images, and boxes that may be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgevision.data.detection.check import DataReport
from edgevision.data.formats.raw import RawImage
from edgevision.data.images import decode_image
from edgevision.data.layouts.ledger import Account
from edgevision.data.layouts.recognise import FoundData
from edgevision.data.perceptual import perceptual_hash
from edgevision.data.splitting import near_pairs
from edgevision.errors import DataError
from edgevision.evaluation.page import Page, thumbnail
from edgevision.evaluation.sizes import SIZES
from edgevision.types import Image

_DRAWN = 24
_NAMED = 12
_PALETTE = (
    (60, 60, 230), (230, 130, 50), (60, 170, 60), (180, 60, 180), (30, 170, 220), (200, 200, 40),
)  # fmt: skip
_THIN = 20.0  # times as long as wide
_WHOLE = 0.95  # of the image


def write_data_page(
    path: Path, headline: str, found: FoundData, report: DataReport, accounts: Sequence[Account]
) -> None:
    """Writes the page; reads every image once.

    Args:
        path: the HTML file.
        headline: the first line of the check.
        found: the data, with boxes.
        report: of the check.
        accounts: of images and boxes.

    Raises:
        SinkError: it cannot be written.
    """
    page = Page(f"Labelled data: {found.path.name}")
    page.text(headline)
    for account in accounts:
        page.text(str(account))
    for note in found.notes:
        page.warning(note.replace("`", ""))
    splits = {one.name or one.role: one.raw.images for one in found.splits}
    _add_findings(page, report, list(splits))
    page.section("Boxes by class")
    page.table(
        ("class", *splits),
        [
            (name, *(str(sum(each.names.count(name) for each in images)) for images in splits.values()))
            for name in found.classes
        ],
    )
    page.section("Boxes by size")
    page.table(
        ("side in pixels", *splits),
        [
            (_range(low, high), *(str(_count(images, low, high)) for images in splits.values()))
            for _, low, high in SIZES
        ],
    )
    codes, pixels = _hashes([(split, image) for split, images in splits.items() for image in images])
    _add_near(page, codes)
    suspicious = list(_suspicious(image for images in splits.values() for image in images))
    page.section("Boxes that may be wrong")
    if suspicious:
        page.table(("image", "box", "why"), [row for _, row in suspicious[:_NAMED]])
        page.images(
            (thumbnail(draw_labels(pixels[one.path], one, found.classes)), one.path.name)
            for one in {one.path: one for one, _ in suspicious[:_NAMED]}.values()
            if one.path in pixels
        )
    else:
        page.text("None by their shape.")
    page.section("Images, spread over the data")
    every = [image for images in splits.values() for image in images if image.path in pixels]
    step = max(1, len(every) // _DRAWN)
    page.images(
        (thumbnail(draw_labels(pixels[one.path], one, found.classes)), one.path.name)
        for one in every[::step][:_DRAWN]
    )
    page.write(path)


def draw_labels(image: Image, labels: RawImage, classes: Sequence[str]) -> Image:
    """A copy of an image with its labelled boxes, dashes for those to ignore."""
    canvas: Image = image.copy()
    width = max(1, round(max(image.shape[:2]) / 300))
    for box, name, ignore in zip(labels.boxes.tolist(), labels.names, labels.ignore, strict=True):
        colour = _PALETTE[classes.index(name) % len(_PALETTE)] if name in classes else (0, 0, 0)
        x1, y1, x2, y2 = (int(max(-1e6, min(1e6, value))) for value in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1 if ignore else 2 * width)
        where = (max(x1, 0), max(y1 - 3 * width, 12 * width))
        cv2.putText(canvas, name, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * width, colour, width)
    return canvas


def _range(low: float, high: float) -> str:
    return f"{low:.0f} to {high:.0f}" if np.isfinite(high) else f"{low:.0f} or more"


def _count(images: Sequence[RawImage], low: float, high: float) -> int:
    found = 0
    for image in images:
        sides = np.sqrt(np.maximum(image.boxes[:, 2:] - image.boxes[:, :2], 0).prod(axis=1))
        found += int(((sides >= low) & (sides < high)).sum())
    return found


def _add_findings(page: Page, report: DataReport, names: Sequence[str]) -> None:
    page.section("What was found")
    rows = [
        (name, one.fault.value, str(one.count), "; ".join(one.examples).replace("`", ""))
        for name, each in zip(names, report.sets, strict=True)
        for one in each.findings
    ]
    rows += [
        ("all", one.fault.value, str(one.count), "; ".join(one.examples).replace("`", ""))
        for one in report.between
    ]
    if rows:
        page.table(("split", "found", "count", "for example"), rows)
    else:
        page.text("Nothing.")


def _hashes(
    images: Sequence[tuple[str, RawImage]],
) -> tuple[list[tuple[str, Path, int]], dict[Path, Image]]:
    """Split, path and perceptual hash of each image that can be read, and small copies to draw on."""
    codes, pixels = [], {}
    step = max(1, len(images) // (4 * _DRAWN))
    for number, (split, image) in enumerate(images):
        try:
            content = decode_image(image.path)
        except DataError:
            continue  # the table above names it
        codes.append((split, image.path, perceptual_hash(content)))
        if number % step == 0 or _is_odd(image):
            pixels[image.path] = content
    return codes, pixels


def _is_odd(image: RawImage) -> bool:
    return any(True for _ in _suspicious([image]))


def _add_near(page: Page, codes: Sequence[tuple[str, Path, int]]) -> None:
    page.section("Near-equal images")
    pairs = near_pairs(np.array([code for _, _, code in codes], np.uint64), range(len(codes)))
    across = [(a, b) for a, b in pairs if codes[a][0] != codes[b][0]]
    page.text(
        f"{len(pairs)} pairs of near-equal images, {len(across)} of them across splits (by a perceptual "
        "hash: one scene, or one image scaled or compressed anew)."
    )
    if across:
        page.warning(
            "Near-equal images across splits make validation figures too good: 'edgevision data split' keeps "
            "them on one side."
        )
        page.table(
            ("image", "is near", "splits"),
            [
                (codes[a][1].name, codes[b][1].name, f"{codes[a][0]}, {codes[b][0]}")
                for a, b in across[:_NAMED]
            ],
        )
    often = Counter(split for a, b in pairs if (split := codes[a][0]) == codes[b][0])
    for split, count in often.items():
        page.text(f"{count} pairs within {split or 'the set'}.")


def _suspicious(images: Iterable[RawImage]) -> Iterable[tuple[RawImage, tuple[str, str, str]]]:
    """Boxes whose shape is seldom meant: of the whole image, as thin as a line, twice in one place."""
    for image in images:
        width, height = image.width or 0, image.height or 0
        for position, (box, name) in enumerate(zip(image.boxes, image.names, strict=True)):
            sides = box[2:] - box[:2]
            shown = f"{name} at {', '.join(f'{value:.0f}' for value in box)}"
            if width and (sides >= _WHOLE * np.array([width, height])).all():
                yield image, (image.path.name, shown, "as large as the image")
            elif (sides > 0).all() and sides.max() > _THIN * sides.min():
                yield (
                    image,
                    (image.path.name, shown, f"{sides.max() / sides.min():.0f} times as long as wide"),
                )
            else:
                others = image.boxes[:position]
                same = (np.abs(others - box) <= 2).all(axis=1) if len(others) else np.zeros(0, bool)
                if same.any():
                    other = image.names[int(np.flatnonzero(same)[0])]
                    yield image, (image.path.name, shown, f"in the place of another ({other})")
