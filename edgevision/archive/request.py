"""What is asked of an archive, checked where it is made, and the key of what changes its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from edgevision.contract.model_file import content_sha256, read_manifest
from edgevision.engines import check_engine_name
from edgevision.errors import ConfigError, UsageError, nearest
from edgevision.files import write_json
from edgevision.model import DEFAULT_CONF_THRESHOLD, check_conf_threshold
from edgevision.session.request import PlanPolicy
from edgevision.session.spec import check_count
from edgevision.suffixes import PLAN_SUFFIXES
from edgevision.tiling import Tiling
from edgevision.video.selection import Selection
from edgevision.zoo import default_model, find_model

FORMATS = ("jsonl", "csv", "parquet", "coco", "yolo", "mot", "megadetector")
DEFAULT_SPAN_S = 60.0
_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class ArchiveRequest:
    """Recordings through models; the help of ``edgevision process`` says what each field means.

    Attributes:
        sources: see :func:`edgevision.archive.inputs.find_inputs`.
        out: folder of the results.
        include, exclude: patterns.
        models: names or paths; by default the first detector that ships.
        then: a second model, on what the first ones find; its answers stand with the detections.
        on, every_track: as of a run.
        engine, plans: how they are opened.
        conf_threshold, classes, track, zones, selection, tiles: as of a run.
        formats: some of :data:`FORMATS`; the JSON lines are always there.
        timeline_s: count over all files of a camera in periods of so many seconds; None for no such table.
        starts: a table of when files begin; see :mod:`edgevision.archive.timeline`.
        video: draw each file.
        clips_of: cut the stretches that show one of these classes.
        jobs: workers; None for as many as the machine has room for.
        span_s: length of the parts of a long file, in seconds; None to process each file in one go.
        retry: process again what is partial, failed or crashed.
        redo: process everything again.

    Raises:
        UsageError: a value is not valid.
    """

    sources: Sequence[str]
    out: Path
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    models: Sequence[str] = ()
    then: str | None = None
    on: Sequence[str] | None = None
    every_track: bool = False
    engine: str = "auto"
    plans: PlanPolicy = PlanPolicy()  # noqa: RUF009  (frozen)
    conf_threshold: float = DEFAULT_CONF_THRESHOLD
    classes: Sequence[str] | None = None
    track: bool = False
    zones: str | None = None
    selection: Selection = Selection()  # noqa: RUF009  (frozen)
    tiles: Tiling | None = None
    formats: Sequence[str] = ("jsonl",)
    timeline_s: float | None = None
    starts: Path | None = None
    video: bool = False
    clips_of: Sequence[str] = ()
    jobs: int | None = None
    span_s: float | None = DEFAULT_SPAN_S
    retry: bool = False
    redo: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("no source; expected files, folders, patterns or a list of files")
        check_conf_threshold(self.conf_threshold)
        check_engine_name(self.engine)
        check_count("jobs", self.jobs)
        if self.retry and self.redo:
            raise UsageError("`redo` does everything again, `retry` what went wrong; give one of them")
        if self.then is None and (self.on is not None or self.every_track):
            raise UsageError(f"`{'every_track' if self.on is None else 'on'}` needs `then`, a second model")
        if self.ids_run_on and self.then is not None:
            raise UsageError(
                "`then` looks at images, and with `timeline` ids are given when those are gone; leave one out"
            )
        if self.ids_run_on and self.video:
            raise UsageError(
                "`video` draws files alone, and with `timeline` ids run on through them; leave one out"
            )
        if self.starts is not None and self.timeline_s is None:
            raise UsageError("`starts` needs `timeline`, whose clock it sets")
        if self.timeline_s is not None and not 1 <= self.timeline_s <= _DAY_S:
            raise UsageError(
                f"`timeline` of {self.timeline_s:g} s is not possible; expected 1s to 24h, such as 5m"
            )
        for name in self.clips_of:
            if self.classes is not None and name not in self.classes:
                raise UsageError(f"`clips_of` {name} is not among the `classes` {', '.join(self.classes)}")
        for one in self.formats:
            if one not in FORMATS:
                hint = nearest(one, FORMATS) or f"; there are {', '.join(FORMATS)}"
                raise UsageError(f"unknown format '{one}'{hint}")

    @property
    def is_tracked(self) -> bool:
        """Whether objects get numbers."""
        return self.track or self.zones is not None or self.every_track

    @property
    def ids_run_on(self) -> bool:
        """Whether track ids go on from file to file of a camera."""
        return self.is_tracked and self.timeline_s is not None

    def model_files(self) -> list[Path]:
        """The files of the models.

        Raises:
            ModelError: there is no such model.
        """
        return [find_model(one) for one in self.models] or [default_model("detection").path]

    def second_model(self) -> Path | None:
        """The file of the second model; None where there is none.

        Raises:
            ModelError: there is no such model.
        """
        return None if self.then is None else find_model(self.then).absolute()

    def can_split(self, models: Sequence[Path]) -> bool:
        """Whether long files may be detected in parts: what is kept of a part are boxes, and no images.

        Raises:
            ModelError: a model file is not readable.
        """
        return (
            not self.video
            and self.then is None
            and all(read_manifest(path).task == "detection" for path in models)
        )

    def answers(self) -> Answers:
        """What changes the answers; reads the models' manifests and the zones.

        Raises:
            ModelError: a model file is not readable.
            ConfigError: the zones are not.
        """
        zones = None
        if self.zones is not None:
            try:
                zones = blake2b(Path(self.zones).read_bytes(), digest_size=8).hexdigest()
            except OSError as error:
                raise ConfigError(f"cannot read {self.zones}: {error.strerror}") from error
        then = self.second_model()
        return Answers(
            then=None if then is None else _fingerprint(then),
            on=None if self.on is None else sorted(self.on),
            every_track=self.every_track,
            models=[_fingerprint(path) for path in self.model_files()],
            engine=self.engine,
            conf=self.conf_threshold,
            classes=None if self.classes is None else sorted(self.classes),
            track=self.is_tracked,
            zones=zones,
            every_frames=self.selection.frames,
            every_ns=self.selection.period_ns,
            start_ns=self.selection.start_ns,
            end_ns=self.selection.end_ns,
            tiles=None if self.tiles is None else str(self.tiles),
            ids_run_on=self.ids_run_on,
        )


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that change answers; two archives of equal ones have equal results."""

    schema: int = 1
    models: list[str]
    engine: str
    conf: float
    classes: list[str] | None
    track: bool
    zones: str | None
    every_frames: int
    every_ns: int | None
    start_ns: int
    end_ns: int | None
    tiles: str | None = None
    ids_run_on: bool = False
    then: str | None = None
    on: list[str] | None = None
    every_track: bool = False

    @property
    def key(self) -> str:
        """A short text that is another one for other settings."""
        return blake2b(msgspec.json.encode(self), digest_size=10).hexdigest()

    def differences(self, other: Answers) -> list[str]:
        """The settings in which two differ, for people: ``conf (0.35, now 0.5)``."""
        found = []
        for field in self.__struct_fields__:
            before, now = getattr(self, field), getattr(other, field)
            if before != now:
                is_plain = isinstance(before, (int, float, str)) and field != "zones"
                found.append(f"{field} ({before}, now {now})" if is_plain else field)
        return found


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True):
    """``process.json`` in the folder of an archive.

    Attributes:
        base: the folder that names of results are relative to.
        answers: with which they were made.
        names: class names of the models.
    """

    schema: int = 1
    base: str
    answers: Answers
    names: list[str]


def read_settings(path: Path) -> SettingsFile | None:
    """The settings of an archive; None where there are none yet.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=SettingsFile)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); choose another `out` or pass `redo`") from error


def write_settings(path: Path, settings: SettingsFile) -> None:
    """Raises :class:`SinkError` where it cannot be written."""
    write_json(path, settings)


def _fingerprint(path: Path) -> str:
    """The checksum of a model's content."""
    manifest = read_manifest(path)
    if manifest.sha256:
        return f"{manifest.name} {manifest.sha256}"
    if path.suffix.lower() in PLAN_SUFFIXES:
        return f"{manifest.name} {blake2b(path.read_bytes(), digest_size=16).hexdigest()}"
    return f"{manifest.name} {content_sha256(path)}"
