"""Label PNGs: one class id a pixel, read strictly: a wrong kind of PNG would silently give other ids."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from edgevision.data.images import decode_image
from edgevision.data.segmentation.dataset import UNKNOWN_ID, LabelledImage, SegmentationSet
from edgevision.errors import DataError
from edgevision.types import IGNORE_ID, Image

_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_GREY, _PALETTE = 0, 3  # colour types in a PNG's header, https://www.w3.org/TR/png-3/#11IHDR


def read_pair(data: SegmentationSet, pair: LabelledImage) -> tuple[Image, NDArray[np.uint8]]:
    """An image, uint8 ``[H, W, 3]`` BGR, and its labels, uint8 ``[H, W]``.

    Labels are indices into the set's classes, or :data:`~edgevision.types.IGNORE_ID`, as all are where nobody
    has labelled the image.

    Raises:
        DataError: either file is missing or damaged, the labels are of another kind or size, or hold an id
            that the set does not define.
    """
    image = decode_image(pair.image)
    if pair.labels is None:
        return image, np.full(image.shape[:2], IGNORE_ID, np.uint8)
    ids = read_label_map(pair.labels)
    if ids.shape != image.shape[:2]:
        raise DataError(
            f"label map {pair.labels} is {ids.shape[1]}x{ids.shape[0]}, its image "
            f"{image.shape[1]}x{image.shape[0]}; expected the same size"
        )
    labels = data.lookup[ids]
    unknown = labels == UNKNOWN_ID
    if unknown.any():
        found = ", ".join(str(one) for one in np.unique(ids[unknown])[:5])
        raise DataError(
            f"label map {pair.labels} has unknown ids ({found}) in {int(unknown.sum())} pixels; "
            "define them in classes.json, or set ignore_index"
        )
    return image, labels


def read_label_map(path: Path) -> NDArray[np.uint8]:
    """The ids of a label PNG as written: uint8 ``[H, W]``. A palette's colours do not matter.

    Raises:
        DataError: it is missing, damaged, not a PNG, or neither 8-bit grey nor palette.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"label map not found: {path}") from error
    except OSError as error:
        raise DataError(f"label map cannot be read: {path} ({error.strerror})") from error
    if not content.startswith(_PNG) or len(content) < 33:
        raise DataError(
            f"label map {path} is not a PNG; expected 8-bit grey or palette, whose values are ids"
        )
    bits, colour = content[24], content[25]
    if colour != _PALETTE and (colour != _GREY or bits != 8):
        raise DataError(
            f"label map {path} is {_KINDS.get(colour, 'an unknown kind')} of {bits} bits; "
            "expected 8-bit grey or palette, whose values are class ids"
        )
    if not content.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
        raise DataError(f"label map is cut off: {path}")
    ids = _palette_indices(content) if colour == _PALETTE else _grey(content)
    if ids is None:
        raise DataError(f"label map cannot be decoded: {path}")
    return ids


def _grey(content: bytes) -> NDArray[np.uint8] | None:
    try:
        ids = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return None if ids is None or ids.ndim != 2 else np.asarray(ids, np.uint8)


def _palette_indices(content: bytes) -> NDArray[np.uint8] | None:
    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            return np.array(image, np.uint8) if image.mode == "P" else None
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return None
