"""Data sets that are known and not read: each is refused by its name, with the export to choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edgevision.data.formats.text import is_number, read_text
from edgevision.data.layouts.documents import Documents
from edgevision.data.layouts.names import is_data_yaml
from edgevision.data.layouts.tree import Tree, role_of
from edgevision.data.layouts.voc import count_files
from edgevision.data.layouts.yolo import count_labels
from edgevision.errors import DataError

_YOLO_OR_COCO = "export it as YOLO or as COCO"
_SHOWN = 4  # places in a message


class Refused(NamedTuple):
    """A layout that is not read.

    Attributes:
        name: what it is called.
        fits: whether a folder is one.
        advice: what to do.
    """

    name: str
    fits: Callable[[Tree, Documents], bool]
    advice: str


def _suffix(*suffixes: str) -> Callable[[Tree, Documents], bool]:
    return lambda tree, documents: (
        bool(tree.with_suffix(*suffixes)) or any(path.name.lower().endswith(suffixes) for path in tree.files)
    )


def _named(*names: str) -> Callable[[Tree, Documents], bool]:
    return lambda tree, documents: bool(tree.named(*names))


def _folder(*names: str) -> Callable[[Tree, Documents], bool]:
    return lambda tree, documents: (
        set(names) <= {part.lower() for path in tree.files for part in tree.folders(path)}
    )


def _mapping(*keys: str) -> Callable[[Tree, Documents], bool]:
    return lambda tree, documents: bool(documents.mappings(*keys))


def _list(*keys: str) -> Callable[[Tree, Documents], bool]:
    return lambda tree, documents: bool(documents.lists(*keys))


def _head(suffix: str, *words: str) -> Callable[[Tree, Documents], bool]:
    """Whether a text file of that suffix begins with a line that holds all of the words."""
    return lambda tree, documents: any(
        all(word in _first_line(path) for word in words) for path in tree.with_suffix(suffix)
    )


def _columns(count: int, separator: str | None = None) -> Callable[[Tree, Documents], bool]:
    """Whether texts have lines of so many numbers, or of a word and so many columns less one."""

    def fits(tree: Tree, documents: Documents) -> bool:
        for path in tree.with_suffix(".txt")[:50]:
            words = [word for word in _first_line(path).split(separator) if word]
            if len(words) == count and all(is_number(word) for word in words[1:]):
                return True
        return False

    return fits


def _first_line(path: Path) -> str:
    try:
        return read_text(path).lstrip().split("\n", 1)[0]
    except DataError:
        return ""


def _is_kitti(tree: Tree, documents: Documents) -> bool:
    return any(
        len(words := _first_line(path).split()) in (15, 16)
        and not is_number(words[0])
        and is_number(words[4])
        for path in tree.with_suffix(".txt")[:50]
    )


def _is_oid(tree: Tree, documents: Documents) -> bool:
    """Corners in pixels behind a class's name, in folders called ``Label``."""
    for path in [one for one in tree.with_suffix(".txt") if one.parent.name.lower() == "label"][:50]:
        words = _first_line(path).split()
        corners = [word for word in words[-4:] if is_number(word)]
        if len(words) > 4 and not is_number(words[0]) and len(corners) == 4:
            return max(map(float, corners)) > 1
    return False


BEFORE = (
    Refused("TFRecord", _suffix(".tfrecord", ".tfrecords", ".record", ".pbtxt"), _YOLO_OR_COCO),
    Refused(
        "Hugging Face's parquet or arrow",
        _suffix(".parquet", ".arrow"),
        "write its images and boxes as COCO: the column 'objects' holds bbox and category",
    ),
    Refused(
        "Hugging Face's imagefolder (metadata.jsonl)",
        _named("metadata.jsonl", "metadata.csv"),
        "write its boxes as COCO: the key 'objects' holds bbox and categories",
    ),
    Refused(
        "Roboflow's JSONL for vision-language models", _head(".jsonl", "prefix", "suffix"), _YOLO_OR_COCO
    ),
    Refused("NDJSON of ultralytics or Labelbox", _suffix(".ndjson"), "export it as YOLO, or as COCO"),
    Refused("SageMaker Ground Truth", _suffix(".manifest"), "convert it to COCO"),
    Refused("KITTI", _is_kitti, "convert it to YOLO or COCO, with CVAT or FiftyOne"),
    Refused(
        "Open Images", _head(".csv", "ImageID", "LabelName", "XMin"), "download it with FiftyOne as COCO"
    ),
    Refused("BDD100K", _list("name", "labels"), "convert it to COCO with bdd100k's own to_coco"),
    Refused("Label Studio's own JSON", _list("data", "annotations"), f"{_YOLO_OR_COCO} 'with images'"),
    Refused("Label Studio's own JSON (JSON-MIN)", _list("image", "label"), f"{_YOLO_OR_COCO} 'with images'"),
    Refused(
        "FiftyOne's own dataset (samples.json)",
        lambda tree, documents: bool(tree.named("samples.json") and documents.mappings("samples")),
        "export it as fiftyone.types.COCODetectionDataset",
    ),
    Refused("the OIDv4 toolkit's text", _is_oid, "convert it to YOLO or PASCAL VOC"),
    Refused("Labelbox", _list("data_row"), "export it as COCO"),
    Refused("Datumaro", _mapping("items", "categories"), "export it as COCO or YOLO from CVAT or datum"),
    Refused("VoTT", _mapping("asset", "regions"), "export it as PASCAL VOC"),
    Refused("VoTT", _mapping("assets", "tags"), "export it as PASCAL VOC"),
    Refused("Darwin (V7)", _mapping("item", "annotations"), "export it as COCO"),
    Refused("Cityscapes", _folder("leftimg8bit", "gtfine"), "write its label ids as masks in folders"),
    Refused("MOT Challenge", _named("gt.txt"), "convert it to COCO"),
    Refused("WIDER FACE", _head(".txt", "--"), "convert it to COCO or YOLO"),
    Refused("VisDrone", _columns(8, ","), "convert it to YOLO: ultralytics' VisDrone.yaml holds the script"),
    Refused("LMDB", _named("data.mdb"), _YOLO_OR_COCO),
    Refused("MATLAB", _suffix(".mat"), "convert its boxes to COCO"),
    Refused("dlib's imglab XML", _head(".xml", "<dataset>"), "convert it to PASCAL VOC"),
)
"""Looked for before the layouts that are read."""


def refuse(tree: Tree, documents: Documents, path: Path) -> None:
    """Refuses what is known and not read.

    Raises:
        DataError: the folder is one of :data:`BEFORE`.
    """
    for one in BEFORE:
        if one.fits(tree, documents):
            raise DataError(f"{path}: {one.name}, which is not read; {one.advice}")


def refuse_several(tree: Tree, path: Path) -> None:
    """Refuses sets that lie side by side, each with a ``data.yaml`` of its own: one of them would be lost.

    Raises:
        DataError: there are several.
    """
    homes: dict[str, str] = {}
    for yaml in tree.with_suffix(".yaml", ".yml"):
        if is_data_yaml(yaml):
            folders = tree.folders(yaml)
            if not folders or role_of(folders[0]):
                return  # one for all, or a copy beside each split
            homes.setdefault(folders[0], tree.shown(yaml))
    with_images = {folders[0] for one in tree.images if (folders := tree.folders(one))}
    several = [place for home, place in homes.items() if home in with_images]
    if len(several) > 1:
        shown = ", ".join(several[:_SHOWN]) + (", ..." if len(several) > _SHOWN else "")
        raise DataError(
            f"{path}: {len(several)} data sets side by side ({shown}); name one of them, or join them "
            "with 'edgevision data merge'"
        )


def unknown_folder(tree: Tree, documents: Documents, path: Path) -> DataError:
    """What a folder holds that no layout knows, and what to do."""
    labels = count_labels(tree.files) + count_files(tree.with_suffix(".xml"))
    if not tree.images and labels:
        return DataError(
            f"{path}: {labels} label files and no image; export with the images, or name their folder with "
            "`images`"
        )
    if not tree.images:
        unread = Counter(one.suffix.lower() for one in tree.unread)
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in unread.most_common(3))
        why = f"no image that can be read ({kinds}): convert to PNG or JPEG" if kinds else "no image"
        return DataError(f"{path}: {why}; {_seen(tree)}")
    texts = tree.with_suffix(".txt", ".xml", ".json", ".csv")
    folders = sorted({one.parent.name for one in tree.images if one.parent != tree.root})
    if not texts and len(folders) > 1:
        place = min(one.parent.parent for one in tree.images if one.parent != tree.root)
        return DataError(
            f"{path}: images in folders by class ({', '.join(folders[:5])}): a detector needs boxes; "
            "label them with 'edgevision label', or with CVAT or Label Studio; a classifier learns from such "
            f"folders: name {place} in configs/models/classifier.yaml, as {{kind: folders, folder: ...}}"
        )
    if not texts:
        return DataError(
            f"{path}: {len(tree.images)} images and no label file; label them with 'edgevision label', or "
            "with CVAT or Label Studio, and export as YOLO or COCO"
        )
    unfit = _unfit_text(tree)
    if unfit:
        return DataError(f"{path}: {unfit}")
    broken = next(iter(documents.broken.items()), None)
    if broken is not None:
        return DataError(f"{broken[0]} is no JSON ({broken[1]})")
    return DataError(f"{path} is not a known dataset; {_seen(tree)}")


def _unfit_text(tree: Tree) -> str:
    """What the text beside an image holds, where it looks like labels and is not YOLO's."""
    stems = {one.stem.lower() for one in tree.images}
    for text in tree.with_suffix(".txt"):
        line = _first_line(text)
        words = [word for word in line.replace(",", " ").replace(";", " ").split() if word]
        if text.stem.lower() in stems and len(words) >= 5 and all(is_number(word) for word in words[1:5]):
            return (
                f"{tree.shown(text)} begins with '{line[:60]}'; expected YOLO's lines: a class number, "
                "then x, y, width and height as shares of the image, with blanks between"
            )
    return ""


def unknown_document(path: Path, documents: Documents) -> DataError:
    """What a file holds that no layout knows, and what to do."""
    return DataError(
        f"{path} is no label file that is known: {documents.shape(path)}; expected COCO instances ('images', "
        "'annotations', 'categories'), or JSON of CreateML, labelme or VIA"
    )


def _seen(tree: Tree) -> str:
    suffixes = Counter(path.suffix.lower() or path.name for path in tree.files)
    seen = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(4)) or "nothing"
    return (
        f"it holds {seen}; expected YOLO, COCO, PASCAL VOC, CVAT XML, labelme, CreateML, VIA, Supervisely, a "
        "CSV table, or images with masks: most tools export YOLO and COCO"
    )
