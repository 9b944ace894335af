"""Parts of a file on disk: what a span gave, before anything that connects frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from edgevision.archive.records import FileFacts
from edgevision.archive.tally import Crop
from edgevision.files import LineFile, atomic_path, write_json
from edgevision.types import Detections, Frame, FrameResult
from edgevision.video.codec.scan import SpanPlan

_T = TypeVar("_T")


class RawDetections(msgspec.Struct, frozen=True, kw_only=True):
    """The detections of one model in one frame, to the last bit.

    Attributes:
        boxes: float32 ``[N, 4]``, as bytes; scores: float32 ``[N]``; class_ids: int32 ``[N]``.
    """

    boxes: bytes
    scores: bytes
    class_ids: bytes

    @classmethod
    def of(cls, found: Detections) -> RawDetections:
        return cls(
            boxes=found.boxes.tobytes(), scores=found.scores.tobytes(), class_ids=found.class_ids.tobytes()
        )

    def detections(self, names: Sequence[str], model: str) -> Detections:
        """With the names of the classes and of the model."""
        return Detections(
            np.frombuffer(self.boxes, np.float32).reshape(-1, 4),
            np.frombuffer(self.scores, np.float32),
            np.frombuffer(self.class_ids, np.int32),
            tuple(names),
            model,
        )


class RawFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded frame.

    Attributes:
        index: in the file.
        time_ns, duration_ns: on the stream's own clock.
        size: width and height in pixels.
        results: of each model; None where the frame is not wanted.
    """

    index: int
    time_ns: int
    duration_ns: int
    size: tuple[int, int]
    results: list[RawDetections] | None = None

    @classmethod
    def of(cls, frame: Frame, results: list[RawDetections] | None) -> RawFrame:
        """What is kept of a frame, with :func:`raw_results` or without."""
        return cls(
            index=frame.index,
            time_ns=frame.timestamp_ns,
            duration_ns=frame.duration_ns,
            size=(frame.width, frame.height),
            results=results,
        )

    def frame(self, timestamp_ns: int, source: str) -> Frame:
        """The frame without its pixels: the image has its size and takes no memory."""
        width, height = self.size
        blank = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
        return Frame(blank, self.index, timestamp_ns, source, self.duration_ns)


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a part went; its file commits the part.

    Attributes:
        head, tail: see :class:`edgevision.video.sources.span.SpanSource`.
        crops: the best ones.
        notes: remarks of the decoder.
    """

    head: list[str] = []
    tail: list[str] = []
    crops: list[Crop] = []
    notes: list[str] = []


class SplitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is split; kept beside its parts.

    Attributes:
        spans: all of them.
        needed: numbers of those that must be detected; the others hold no wanted frame.
        size, mtime_ns: of the file when it was planned.
    """

    spans: list[SpanPlan]
    needed: list[int]
    size: int
    mtime_ns: int


class RawSource(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was detected in one go, before anything that connects its frames.

    Attributes:
        facts: of the file as it was read.
        selected_rate: frames a second of the frames that are looked at; None where unknown.
        problem: why it is partial; empty where it is whole.
        width, height, frame_rate, decoded, packets, last_s, notes: see
            :class:`edgevision.archive.records.FileSummary`.
    """

    facts: FileFacts
    width: int | None
    height: int | None
    frame_rate: float | None
    selected_rate: float | None
    decoded: int
    packets: int
    last_s: float
    problem: str
    notes: list[str]


class PartFolder:
    """The parts of one file.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scan = folder / "scan.npz"
        self._plan = folder / "plan.json"
        self._source = folder / "source.json"

    def plan(self) -> SplitPlan | None:
        """The plan of an earlier start; None where there is none that can be read."""
        return _read(self._plan, SplitPlan)

    def write_plan(self, plan: SplitPlan) -> None:
        write_json(self._plan, plan)

    def source(self) -> RawSource | None:
        """What a file was that was detected in one go; None where that is not done. It commits part 0."""
        return _read(self._source, RawSource)

    def write_source(self, source: RawSource) -> None:
        write_json(self._source, source)

    def report(self, number: int) -> PartReport | None:
        """How a part went; None where it is not done."""
        return _read(self.folder / f"{number}.json", PartReport)

    def write_report(self, number: int, report: PartReport) -> None:
        write_json(self.folder / f"{number}.json", report)

    @contextlib.contextmanager
    def open_records(self, number: int) -> Iterator[LineFile]:
        """For the frames of a part, one JSON line each; they are in place when the block has ended well.

        Raises:
            SinkError: they cannot be written.
        """
        with (
            atomic_path(self.folder / f"{number}.jsonl") as partial,
            contextlib.closing(LineFile(partial)) as lines,
        ):
            yield lines

    def records(self, number: int) -> Iterator[RawFrame]:
        """The frames of a part that is done."""
        decoder = msgspec.json.Decoder(RawFrame)
        with (self.folder / f"{number}.jsonl").open("rb") as lines:
            for line in lines:
                yield decoder.decode(line)


def raw_results(result: FrameResult) -> list[RawDetections]:
    """What the models found, for a :class:`RawFrame`; class maps are not kept."""
    return [RawDetections.of(one) for one in result.results if isinstance(one, Detections)]


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
