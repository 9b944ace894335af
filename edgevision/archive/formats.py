"""Results in other programs' formats, made from the JSON lines of each file.

CSV, YOLO and MOT are written for each file as it is finished; COCO, MegaDetector's JSON and Parquet for the
whole archive at its end. docs/guides/archives.md describes each.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from edgevision.archive.records import HAS_RESULTS, FileSummary, ResultPlaces
from edgevision.errors import SinkError
from edgevision.extras import needs_extra
from edgevision.files import atomic_path, make_folder
from edgevision.video.sinks.jsonl import DetectionRecord, FrameRecord, read_jsonl

CSV_COLUMNS = ("frame", "time_s", "class", "score", "x1", "y1", "x2", "y2", "track_id", "model")
PARQUET_ROWS = 65_536
"""Of a row group."""


def write_file_formats(formats: Sequence[str], places: ResultPlaces, name: str, names: Sequence[str]) -> None:
    """Writes those of the formats that are files of their own, for one file with results.

    Args:
        formats: some of :data:`edgevision.archive.request.FORMATS`.
        places: where results lie.
        name: of the file.
        names: class names of the models, in the order that class ids count.

    Raises:
        SinkError: one cannot be written.
    """
    for one in formats:
        if one in _OF_A_FILE:
            path, write = file_format(places, one, name), _OF_A_FILE[one]
            make_folder(path.parent, parents=True)
            with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
                write(file, read_jsonl(places.records(name)), names)
            if one == "mot":
                _write_sequence(path.with_name("seqinfo.ini"), name, places.records(name))


def file_format(places: ResultPlaces, kind: str, name: str) -> Path:
    """Where the results of a file lie in a format that has a file for each."""
    if kind == "mot":
        return places.out / "mot" / name / "det.txt"
    return places.beside(kind, name, ".txt" if kind == "yolo" else f".{kind}")


def missing_formats(formats: Sequence[str], places: ResultPlaces, name: str) -> list[str]:
    """Those that a file with results should have, and has not."""
    return [one for one in formats if one in _OF_A_FILE and not file_format(places, one, name).is_file()]


def _write_csv(file: IO[str], records: Iterator[FrameRecord], names: Sequence[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        for one in record.detections:
            model = one.model if isinstance(one.model, str) else ""
            track = one.track_id if isinstance(one.track_id, int) else ""
            writer.writerow((record.frame, record.time_s, one.class_name, one.score, *one.box, track, model))


def _write_mot(file: IO[str], records: Iterator[FrameRecord], names: Sequence[str]) -> None:
    """``frame,id,left,top,width,height,score,-1,-1,-1``; frames from 1, an id of -1 where nothing tracks."""
    for record in records:
        for one in record.detections:
            x1, y1, x2, y2 = one.box
            track = one.track_id if isinstance(one.track_id, int) else -1
            box = f"{x1:g},{y1:g},{round(x2 - x1, 2):g},{round(y2 - y1, 2):g}"
            file.write(f"{record.frame + 1},{track},{box},{one.score:g},-1,-1,-1\n")


def _write_yolo(file: IO[str], records: Iterator[FrameRecord], names: Sequence[str]) -> None:
    """``frame class x y width height score``: centres and sides as shares of the image."""
    for record in records:
        for one in record.detections:
            file.write(f"{record.frame} {yolo_line(one, record.size, names)} {one.score:g}\n")


def yolo_line(one: DetectionRecord, size: tuple[int, int], names: Sequence[str]) -> str:
    """A detection as a line of a YOLO label file: ``class x y width height``."""
    (x1, y1, x2, y2), (width, height) = one.box, size
    centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
    shares = (*centre, (x2 - x1) / width, (y2 - y1) / height)
    return f"{names.index(one.class_name)} " + " ".join(f"{share:.6f}" for share in shares)


_OF_A_FILE: dict[str, Callable[[IO[str], Iterator[FrameRecord], Sequence[str]], None]] = {
    "csv": _write_csv,
    "mot": _write_mot,
    "yolo": _write_yolo,
}


FILE_FORMATS = tuple(_OF_A_FILE)
"""Formats that have a file for each file of the archive."""

_OF_THE_ARCHIVE = {"coco": "coco.json", "megadetector": "megadetector.json", "parquet": "detections.parquet"}

OUTPUTS = (
    "results", "csv", "yolo", "mot", "video", "clips", "coco.json", "megadetector.json", "detections.parquet",
    "frames.parquet", "index.parquet", "index.jsonl", "index.sqlite", "report.html", "timeline.csv",
)  # fmt: skip
"""Everything that an archive writes into its folder, beside its settings."""


def present_formats(places: ResultPlaces) -> list[str]:
    """The formats that an earlier run wrote, to be kept up to date: an old file would say wrong things."""
    of_files = [kind for kind in FILE_FORMATS if (places.out / kind).is_dir()]
    return of_files + [kind for kind, name in _OF_THE_ARCHIVE.items() if (places.out / name).is_file()]


def _write_sequence(path: Path, name: str, records: Path) -> None:
    """``seqinfo.ini`` of the MOT challenge: of how many frames, and how large."""
    last, size = -1, (0, 0)
    for record in read_jsonl(records):
        last, size = record.frame, record.size
    with atomic_path(path) as partial:
        partial.write_text(
            f"[Sequence]\nname={name.splitlines()[0]}\nseqLength={last + 1}\n"
            f"imWidth={size[0]}\nimHeight={size[1]}\n",
            encoding="utf-8",
        )


# The whole archive.


def write_archive_formats(
    formats: Sequence[str],
    places: ResultPlaces,
    summaries: Sequence[FileSummary],
    names: Sequence[str],
    model: str,
) -> list[Path]:
    """Writes those of the formats that hold the whole archive.

    Args:
        formats: some of :data:`edgevision.archive.request.FORMATS`.
        places: where results lie, and where the files go.
        summaries: of every file, in order.
        names: class names of the models.
        model: names of the models.

    Returns:
        The files that were written.

    Raises:
        SinkError: one cannot be written.
        UsageError: a package is not installed.
    """
    written: list[Path] = []
    with_results = [one for one in summaries if one.status in HAS_RESULTS]
    if "coco" in formats:
        written.append(_write_coco(places, with_results, names))
    if "megadetector" in formats:
        written.append(_write_megadetector(places, summaries, names, model))
    if "parquet" in formats:
        written += write_parquet(places, summaries)
    return written


def _write_coco(places: ResultPlaces, summaries: Sequence[FileSummary], names: Sequence[str]) -> Path:
    """COCO's instances with ``videos``, as CocoVID and TAO have them; one frame at a time is in memory."""
    path = places.out / "coco.json"
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    ids = {name: number for number, name in enumerate(names, start=1)}
    videos = [
        {"id": number, "name": one.name, "width": one.width, "height": one.height, "fps": one.frame_rate}
        for number, one in enumerate(summaries, start=1)
    ]
    annotations = places.partial / "coco.annotations"
    make_folder(places.partial, parents=True)
    image_id = annotation_id = 0
    with atomic_path(path) as partial, ExitStack() as opened:
        out = opened.enter_context(partial.open("w", encoding="utf-8"))
        rest = opened.enter_context(annotations.open("w+", encoding="utf-8"))
        out.write(f'{{"categories":{json.dumps(categories)},\n"videos":{json.dumps(videos)},\n"images":[')
        for video_id, one in enumerate(summaries, start=1):
            for record in read_jsonl(places.records(one.name)):
                image_id += 1
                entry = {
                    "id": image_id,
                    "video_id": video_id,
                    "frame_id": record.frame,
                    "file_name": one.name if one.frames == 1 else f"{one.name}/{record.frame:06d}.jpg",
                    "width": record.size[0],
                    "height": record.size[1],
                }
                out.write(",\n" * (image_id > 1) + json.dumps(entry))
                for found in record.detections:
                    annotation_id += 1
                    x1, y1, x2, y2 = found.box
                    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
                    label: dict[str, Any] = {
                        "id": annotation_id,
                        "image_id": image_id,
                        "video_id": video_id,
                        "category_id": ids[found.class_name],
                        "bbox": [x1, y1, width, height],
                        "area": round(width * height, 2),
                        "iscrowd": 0,
                        "score": found.score,
                    }
                    if isinstance(found.track_id, int):
                        label["instance_id"] = label["track_id"] = found.track_id
                    rest.write(",\n" * (annotation_id > 1) + json.dumps(label))
        out.write('],\n"annotations":[')
        rest.seek(0)
        while block := rest.read(1 << 20):
            out.write(block)
        out.write("]}\n")
    annotations.unlink(missing_ok=True)
    return path


def _write_megadetector(
    places: ResultPlaces, summaries: Sequence[FileSummary], names: Sequence[str], model: str
) -> Path:
    """MegaDetector's batch output, version 1.5: boxes as shares of the image, failures with a reason."""
    path = places.out / "megadetector.json"
    categories = {str(number): name for number, name in enumerate(names, start=1)}
    ids = {name: number for number, name in categories.items()}
    info = {"format_version": "1.5", "detector": model}
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as out:
        out.write(
            f'{{"info":{json.dumps(info)},\n"detection_categories":{json.dumps(categories)},\n"images":['
        )
        for position, one in enumerate(summaries):
            out.write(",\n" * (position > 0) + json.dumps(_megadetector_entry(places, one, ids)))
        out.write("]}\n")
    return path


def _megadetector_entry(places: ResultPlaces, one: FileSummary, ids: Mapping[str, str]) -> dict[str, Any]:
    if one.status not in HAS_RESULTS:
        return {"file": one.name, "failure": one.reason or one.status.value, "detections": None}
    frames: list[int] = []
    detections = []
    for record in read_jsonl(places.records(one.name)):
        frames.append(record.frame)
        width, height = record.size
        for found in record.detections:
            x1, y1, x2, y2 = found.box
            box = (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
            label = {
                "category": ids[found.class_name],
                "conf": found.score,
                "bbox": [round(share, 5) for share in box],
            }
            detections.append(label | ({"frame_number": record.frame} if one.decoded > 1 else {}))
    entry: dict[str, Any] = {"file": one.name, "detections": detections}
    if one.decoded > 1:
        entry |= {"frame_rate": one.frame_rate, "frames_processed": frames}
    return entry


def write_parquet(places: ResultPlaces, summaries: Sequence[FileSummary]) -> list[Path]:
    """``detections.parquet`` and ``frames.parquet``: a row for each detection, and one for each frame.

    Raises:
        UsageError: pyarrow is not installed.
        SinkError: a file cannot be written.
    """
    with needs_extra("archive", "the format parquet"):
        import pyarrow as pa
    frames = pa.schema(
        [
            ("file", pa.string()), ("frame", pa.int64()), ("time_s", pa.float64()),
            ("width", pa.int32()), ("height", pa.int32()), ("detections", pa.int32()),
        ]
    )  # fmt: skip
    detections = pa.schema(
        [
            ("file", pa.string()), ("frame", pa.int64()), ("time_s", pa.float64()), ("class", pa.string()),
            ("score", pa.float32()), ("x1", pa.float32()), ("y1", pa.float32()), ("x2", pa.float32()),
            ("y2", pa.float32()), ("track_id", pa.int64()), ("model", pa.string()),
        ]
    )  # fmt: skip
    paths = [places.out / "detections.parquet", places.out / "frames.parquet"]
    with ExitStack() as opened:
        tables = [
            opened.enter_context(_Table(opened.enter_context(atomic_path(path)), schema))
            for path, schema in zip(paths, (detections, frames), strict=True)
        ]
        for one in summaries:
            if one.status not in HAS_RESULTS:
                continue
            for record in read_jsonl(places.records(one.name)):
                for found in record.detections:
                    track = found.track_id if isinstance(found.track_id, int) else None
                    model = found.model if isinstance(found.model, str) else None
                    tables[0].add(
                        one.name, record.frame, record.time_s, found.class_name, found.score, *found.box,
                        track, model,
                    )  # fmt: skip
                tables[1].add(one.name, record.frame, record.time_s, *record.size, len(record.detections))
    return paths


class _Table:
    """Rows of a Parquet file, written in groups."""

    def __init__(self, path: Path, schema: Any) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._columns: list[list[object]] = [[] for _ in schema]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, *row: object) -> None:
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        if len(self._columns[0]) == PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.table(self._columns, schema=self._schema))
        self._columns = [[] for _ in self._schema]

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()


def write_index_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> bool:
    """The index as Parquet: a row for each file, detections by class as JSON.

    Returns:
        Whether it was written: False where pyarrow is not installed.

    Raises:
        SinkError: it cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        return False
    try:
        with atomic_path(path) as partial:
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), partial)
    except pa.ArrowException as error:
        raise SinkError(f"cannot write {path}: {error}") from error
    return True
