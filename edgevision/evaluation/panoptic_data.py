"""Panoptic maps in files, and how good they are: what ``edgevision eval`` does with maps that are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
import numpy as np

import edgevision
from edgevision.data.classes import map_classes
from edgevision.errors import DataError
from edgevision.evaluation.labelled import chosen_classes
from edgevision.evaluation.panoptic import VOID, PanopticFigures, panoptic_quality
from edgevision.evaluation.report import REPORT_SCHEMA, hash_files
from edgevision.files import write_json
from edgevision.panoptic.coco import PanopticAnnotation, PanopticCategory, PanopticDocument, read_map
from edgevision.panoptic.folder import INDEX, UNFINISHED
from edgevision.panoptic.join import PanopticMap
from edgevision.progress import Note, Progress, no_note, no_progress


@dataclass(frozen=True, slots=True, eq=False)
class PanopticSet:
    """A json and the folder of its maps.

    Attributes:
        path: the json.
        maps: the folder of the PNGs.
        document: what the json says.
        categories: its classes by number.
    """

    path: Path
    maps: Path
    document: PanopticDocument
    categories: Mapping[int, PanopticCategory]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.name for one in self.categories.values()))

    @property
    def files(self) -> list[Path]:
        """The json and every map."""
        return [self.path, *(self.maps / one.file_name for one in self.document.annotations)]

    def names(self) -> list[PurePosixPath]:
        """Of the image of each annotation, without its suffix; of the map where no image is named."""
        images = {one.id: one.file_name for one in self.document.images}
        return [
            PurePosixPath(images.get(one.image_id, one.file_name).replace("\\", "/")).with_suffix("")
            for one in self.document.annotations
        ]

    def load(self, annotation: PanopticAnnotation, names: Mapping[str, str], rest: str | None) -> PanopticMap:
        """Reads a map.

        Args:
            annotation: of it.
            names: what each class is called; others are left out.
            rest: what those are called instead; None takes their segments away.

        Raises:
            DataError: see :func:`edgevision.panoptic.coco.read_map`.
        """
        found = read_map(self.maps / annotation.file_name, annotation, self.categories)
        kept, ids = [], found.ids
        for one in found.segments:
            name = names.get(one.name, rest)
            if name is None:
                ids = np.where(ids == one.number, np.int32(0), ids)
            else:
                kept.append(replace(one, name=name))
        return PanopticMap(ids, tuple(kept))


def read_panoptic(path: Path, maps: Path | None = None) -> PanopticSet:
    """Reads a COCO panoptic json; its maps are read one by one later.

    Args:
        path: the json, or a folder of ``edgevision panoptic``.
        maps: the folder of its PNGs; None for the one that is called like the json, as in COCO's archives,
            or the one that the json lies in.

    Raises:
        DataError: the json is missing, malformed or has two categories of one number or name.
    """
    if path.is_dir():
        if not (path / INDEX).exists() and (path / UNFINISHED).exists():
            raise DataError(f"{path}: its maps are not finished; give the command that writes them again")
        path = path / INDEX
    try:
        document = msgspec.json.decode(path.read_bytes(), type=PanopticDocument)
    except FileNotFoundError as error:
        raise DataError(f"panoptic json not found: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a COCO panoptic json ({error})") from error
    for what in ("id", "name"):
        given = Counter(getattr(one, what) for one in document.categories)
        for value, count in given.most_common(1):
            if count > 1:
                raise DataError(f"{path}: two categories have the {what} {value!r}; expected one")
    if not document.annotations:
        raise DataError(f"{path}: there is no map in it; expected at least one")
    if maps is None:
        maps = path.with_suffix("") if path.with_suffix("").is_dir() else path.parent
    categories = {one.id: one for one in document.categories}
    found = PanopticSet(path, maps, document, categories)
    missing = [file for file in found.files if not file.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(document.annotations)} maps of {path} are missing, the first: "
            f"{missing[0]}; check the folder"
        )
    return found


class PanopticReport(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON report of panoptic maps.

    Attributes:
        maps: the folder or json that was measured.
        maps_hash: from :func:`edgevision.evaluation.report.hash_files` over the json and its PNGs.
        data, data_hash: the same of the truth.
        command: as typed.
        version: of edgevision.
        images: that were compared.
        all, things, stuff: means over the classes; None where there is no such class.
        per_class: by name.
    """

    task: Literal["panoptic"] = "panoptic"
    schema: int = REPORT_SCHEMA
    maps: str
    maps_hash: str
    data: str
    data_hash: str
    command: str
    version: str = edgevision.__version__
    images: int
    all: PanopticFigures | None
    things: PanopticFigures | None
    stuff: PanopticFigures | None
    per_class: dict[str, PanopticFigures]

    def write(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all.

        Raises:
            SinkError: the file cannot be written.
        """
        write_json(path, self)


def measure_panoptic(
    found: PanopticSet,
    truth: PanopticSet,
    *,
    classes: str | None = None,
    command: str = "",
    note: Note = no_note,
    progress: Progress = no_progress,
) -> PanopticReport:
    """Panoptic quality of maps against those of a truth, of the images that the truth has.

    Images are the same if their files are called the same. Segments of the truth of classes that are not
    evaluated are left open.

    Args:
        found: what is measured.
        truth: what is right.
        classes: evaluate these only, see :func:`edgevision.data.classes.parse_classes`; None for every class
            that both have.
        command: how it was called.
        note: called with what the user should know.
        progress: shows how many images are done.

    Raises:
        UsageError: the maps lack a class that was asked for.
        DataError: they lack an image, or a map cannot be read.
    """
    chosen = chosen_classes(classes, {str(found.path): found.classes}, truth.classes, truth.path, note)
    names = [
        {name: chosen[index] for name, index in map_classes(one.classes, chosen).items()}
        for one in (found, truth)
    ]
    paired = _paired(found, truth, note)

    def pairs() -> Iterator[tuple[PanopticMap, PanopticMap]]:
        with progress(str(found.path), len(paired)) as on_image:
            for number, (ours, right) in enumerate(paired, start=1):
                answer, stated = found.load(ours, names[0], None), truth.load(right, names[1], VOID)
                if answer.ids.shape != stated.ids.shape:
                    (height, width), (rows, columns) = answer.ids.shape, stated.ids.shape
                    raise DataError(
                        f"{found.maps / ours.file_name} is {width}x{height}, the truth {columns}x{rows}; "
                        "expected maps of the same images"
                    )
                yield answer, stated
                on_image(number)

    quality = panoptic_quality(pairs())
    return PanopticReport(
        maps=str(found.path),
        maps_hash=hash_files(found.files),
        data=str(truth.path),
        data_hash=hash_files(truth.files),
        command=command,
        images=len(paired),
        all=quality.all,
        things=quality.things,
        stuff=quality.stuff,
        per_class=quality.per_class,
    )


def _paired(
    found: PanopticSet, truth: PanopticSet, note: Note
) -> list[tuple[PanopticAnnotation, PanopticAnnotation]]:
    """The annotations of the same images: by their names, and by their folders too where names repeat."""
    keys = [[str(name) for name in one.names()] for one in (found, truth)]
    last = [[name.name for name in one.names()] for one in (found, truth)]
    if all(len(set(one)) == len(one) for one in last):
        keys = last
    for one, names in zip((found, truth), keys, strict=True):
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{one.path}: two maps are of '{twice}'; expected one of each image")
    ours = dict(zip(keys[0], found.document.annotations, strict=True))
    missing = [name for name in keys[1] if name not in ours]
    if missing:
        raise DataError(
            f"{found.path}: no map of {len(missing)} of the {len(keys[1])} images of {truth.path}, the "
            f"first: {missing[0]}; expected files of the same names"
        )
    if len(ours) > len(keys[1]):
        note(f"maps of images that the truth does not have are left out: {len(ours) - len(keys[1])}")
    return [(ours[name], right) for name, right in zip(keys[1], truth.document.annotations, strict=True)]
