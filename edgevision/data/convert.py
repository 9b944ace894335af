"""Labels of any form as COCO's instances json, which ``edgevision eval`` and other tools read."""

from __future__ import annotations

from pathlib import Path

from edgevision.data.coco_writer import CocoDocument
from edgevision.data.formats.raw import RawSet
from edgevision.data.pictures import picture_size
from edgevision.errors import DataError


def to_coco(raw: RawSet, images: Path) -> CocoDocument:
    """The set as a COCO document; regions to ignore become crowds.

    Args:
        raw: the set.
        images: folder that its file names are to be relative to.

    Raises:
        DataError: labels could not be used, or a picture that has labels cannot be opened.
    """
    if raw.problems:
        raise DataError(
            f"{raw.name}: {len(raw.problems)} labels cannot be converted, the first: {raw.problems[0].text}"
        )
    document = CocoDocument()
    for name in raw.classes:
        document.category(name)
    for image in raw.images:
        size = (image.width, image.height) if image.width and image.height else picture_size(image.path)
        if size is None:
            raise DataError(f"picture cannot be opened: {image.path}; 'edgevision data check' shows all")
        number = document.add_image(image.path.relative_to(images).as_posix(), *size)
        for box, name, ignore in zip(image.boxes.tolist(), image.names, image.ignore, strict=True):
            category = document.category(name)
            corners = [round(value, 2) for value in box]
            document.add_box(number, category, corners, ignore=bool(ignore), score=1.0)
    return document
