"""The files of a camera on its wall clock: counts in periods of minutes over all of them.

When a file begins is said in a table of starts, by its name, or by its container, in this order. Files of one
folder are one camera. Times have no zone of their own: those of names and tables are taken as they are, and a
container's, which is in UTC, as UTC.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from edgevision.archive.records import HAS_RESULTS, FileSummary, ResultPlaces
from edgevision.errors import ConfigError
from edgevision.files import atomic_path
from edgevision.video.codec.container import open_video_file
from edgevision.video.codec.decode import LIBRARY_ERRORS
from edgevision.video.sinks.jsonl import read_jsonl

COLUMNS = ("camera", "start", "class", "detections", "frames", "most", "tracks")

_DATE = r"(?P<y>20\d\d)[-_.]?(?P<m>0[1-9]|1[0-2])[-_.]?(?P<d>0[1-9]|[12]\d|3[01])"
_TIME = r"(?P<H>[01]\d|2[0-3])[-_.:hH]?(?P<M>[0-5]\d)(?:[-_.:mM]?(?P<S>[0-5]\d))?"
_STAMP = re.compile(rf"(?<!\d){_DATE}[ T_.-]*{_TIME}(?!\d)")


def start_by_name(name: str) -> datetime | None:
    """When a recording begins by its name: ``cam1_20261128-194200.mp4``, ``2026-11-28 19.42.00.mkv``.

    >>> start_by_name("gate/cam1_20261128-194230.mp4")
    datetime.datetime(2026, 11, 28, 19, 42, 30)
    """
    match = _STAMP.search(PurePosixPath(name).name)
    if match is None:
        return None
    found = {key: int(value or 0) for key, value in match.groupdict().items()}
    try:
        return datetime(found["y"], found["m"], found["d"], found["H"], found["M"], found["S"])
    except ValueError:  # such as 30 February
        return None


def start_by_container(path: Path) -> datetime | None:
    """When a recording begins by its container's ``creation_time``; None where it has none."""
    if not path.is_file():  # a pipe keeps whoever opens it waiting
        return None
    try:
        with open_video_file(path) as container:
            text = str(container.metadata.get("creation_time", ""))
            return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None)
    except (*LIBRARY_ERRORS, TypeError):
        return None


def read_starts(path: Path) -> dict[str, datetime]:
    """A table of starts: lines of a file's name and a time, ``gate/1.mp4,2026-11-28 19:42:00``.

    Raises:
        ConfigError: it cannot be read; the message names the line.
    """
    found: dict[str, datetime] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row:
                    continue
                if len(row) != 2:
                    raise ConfigError(
                        f"{path}, line {number}: {len(row)} columns; expected a name and a time"
                    )
                try:
                    found[row[0].strip()] = datetime.fromisoformat(row[1].strip()).replace(tzinfo=None)
                except ValueError:
                    if number > 1:  # the first may be a head
                        raise ConfigError(
                            f"{path}, line {number}: '{row[1]}' is not a time; expected 2026-11-28 19:42:00"
                        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return found


def start_of(name: str, path: Path, starts: Mapping[str, datetime]) -> datetime | None:
    """When a file begins: by the table, its name, or its container."""
    return starts.get(name) or start_by_name(name) or start_by_container(path)


def camera_of(name: str) -> str:
    """The camera of a file: the folder that it lies in, empty for none."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


@dataclass(slots=True)
class _Period:
    detections: int = 0
    frames: int = 0
    most: int = 0
    tracks: set[tuple[str, int]] = field(default_factory=set)


def write_timeline(
    places: ResultPlaces,
    summaries: Sequence[FileSummary],
    period_s: float,
    starts: Mapping[str, datetime],
    *,
    ids_run_on: bool = False,
) -> tuple[Path, list[str]]:
    """Writes ``timeline.csv``: a row for each camera, period and class that was seen in it.

    Args:
        places: of the archive.
        summaries: of every file.
        period_s: length of a period, counted from midnight.
        starts: of :func:`read_starts`.
        ids_run_on: a track id is one object in all files of a camera; otherwise it begins anew in each.

    Returns:
        The file, and the names of the files of which nobody knows when they begin.

    Raises:
        SinkError: it cannot be written.
    """
    rows: dict[tuple[str, datetime, str], _Period] = {}
    unknown: list[str] = []
    for one in summaries:
        if one.status not in HAS_RESULTS:
            continue
        start = start_of(one.name, Path(one.path), starts)
        if start is None:
            unknown.append(one.name)
            continue
        if start.year == datetime.max.year:  # its clock would end
            unknown.append(one.name)
            continue
        camera = camera_of(one.name)
        for record in read_jsonl(places.records(one.name)):
            moment = _period(start + timedelta(seconds=record.time_s), period_s)
            counts: dict[str, int] = {}
            for found in record.detections:
                counts[found.class_name] = counts.get(found.class_name, 0) + 1
                if isinstance(found.track_id, int):
                    row = rows.setdefault((camera, moment, found.class_name), _Period())
                    row.tracks.add(("" if ids_run_on else one.name, found.track_id))
            for name, count in counts.items():
                row = rows.setdefault((camera, moment, name), _Period())
                row.detections += count
                row.frames += 1
                row.most = max(row.most, count)
    path = places.out / "timeline.csv"
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (camera, moment, name), row in sorted(rows.items()):
            figures = (row.detections, row.frames, row.most, len(row.tracks))
            writer.writerow((camera, moment.isoformat(" "), name, *figures))
    return path, unknown


def _period(moment: datetime, period_s: float) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = (moment - midnight).total_seconds()
    return midnight + timedelta(seconds=passed // period_s * period_s)
