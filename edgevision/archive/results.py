"""The results of one file, written aside and put into place when the file is finished."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence

from edgevision.archive.footage import clip_folder
from edgevision.archive.formats import FILE_FORMATS, file_format
from edgevision.archive.inputs import InputFile
from edgevision.archive.records import HAS_RESULTS, FileFacts, FileSummary, ResultPlaces, Status
from edgevision.archive.tally import BestCrops, Crop, Tally, write_crops
from edgevision.closeable import Closeable
from edgevision.errors import SinkError, SourceError
from edgevision.types import Detections, FrameResult, Image
from edgevision.video import Source, SourceInfo, SourceReport
from edgevision.video.sinks.jsonl import JsonlSink
from edgevision.video.sinks.mp4 import Mp4Sink

_MISSING = 0.01  # of the packets
_FEW = 2  # frames that a decoder holds back at most


class ResultWriter(Closeable):
    """Takes the results of a file; nothing is seen of them until :meth:`finish`.

    Args:
        places: where results lie.
        file: of what.
        facts: of the file before it was read.
        answers: key of the settings.
        conf_threshold: crops are of detections from this score on.

    Attributes:
        decoded, packets, last_s: see :class:`~edgevision.archive.records.FileSummary`.
        problem: why the file is partial; empty where it is whole.
        notes: remarks.

    Raises:
        SinkError: the results cannot be written.
    """

    def __init__(
        self, places: ResultPlaces, file: InputFile, facts: FileFacts, answers: str, conf_threshold: float
    ) -> None:
        self.decoded = self.packets = 0
        self.last_s = 0.0
        self.problem = ""
        self.notes: list[str] = []
        self._places, self._file, self._facts, self._answers = places, file, facts, answers
        self._conf_threshold = conf_threshold
        self._tally, self._crops = Tally(), BestCrops()
        self._partial = places.partial / f"{secrets.token_hex(8)}.jsonl"
        self._sink = JsonlSink(self._partial)
        self._video: Mp4Sink | None = None
        self._partial_video = self._partial.with_suffix(".mp4")

    def draw_on(self, info: SourceInfo) -> None:
        """Takes drawn images too, by :meth:`draw`, into a recording with the sound of the source."""
        self._video = Mp4Sink(self._partial_video, info, threads=1)

    def draw(self, result: FrameResult, image: Image) -> None:
        """Takes the drawn image of the next frame."""
        if self._video is not None:
            self._video.write(result, image)

    def see(self, result: FrameResult) -> None:
        """Looks at the image of a frame, for the crops, before anything connects it with others."""
        found = without_weak(result.detections, self._conf_threshold)
        self._crops.add(result.frame, found, round(result.frame.time_s, 6))

    def add_crops(self, crops: Sequence[Crop]) -> None:
        """Those of a part that another process looked at."""
        self._crops = BestCrops([*self._crops.crops(), *crops])

    def write(self, result: FrameResult) -> None:
        """Takes the result of the next frame."""
        self._sink.write(result, result.frame.image)
        self._tally.add(result)

    def end_of(self, source: Source) -> None:
        """Takes over what the source says at its end."""
        report = source.report
        self.decoded, self.packets = report.read, report.packets
        self.notes += report.notes
        self.problem = problem_of(report)

    def finish(self, info: SourceInfo, *, spans: int = 1, in_one_go: str = "") -> FileSummary:
        """Puts the results into place, unless the file was written to in the meantime.

        The summary that it returns is to be written once everything that is made of the results is.

        Raises:
            SinkError: they cannot be written.
            SourceError: the file is gone.
        """
        self._sink.close()
        try:
            facts = self._file.read_facts(with_digest=True)
        except OSError as error:
            raise SourceError(f"cannot read {self._file.place}: {error.strerror}") from error
        status, reason = (Status.PARTIAL, self.problem) if self.problem else (Status.DONE, "")
        if not facts.is_same(self._facts):
            status, reason = Status.CHANGED, f"its size was {self._facts.size} bytes and is {facts.size}"
        places, name = self._places, self._file.name
        has_results = status in HAS_RESULTS
        if has_results:
            records = places.records(name)
            try:
                records.parent.mkdir(parents=True, exist_ok=True)
                with self._partial.open("rb+") as file:
                    os.fsync(file.fileno())
                self._partial.replace(records)
            except OSError as error:
                raise SinkError(f"cannot write {records}: {error.strerror}") from error
            write_crops(places.crops(name), self._crops.crops())
            self._finish_video()
        return FileSummary(
            name=name,
            path=self._file.shown,
            answers=self._answers,
            status=status,
            reason=reason,
            facts=facts,
            frames=self._tally.frames if has_results else 0,
            decoded=self.decoded,
            packets=self.packets,
            width=info.width,
            height=info.height,
            frame_rate=None if info.frame_rate is None else round(info.frame_rate, 6),
            duration_s=round(self.last_s, 6),
            bin_s=self._tally.bin_s,
            classes=self._tally.classes() if has_results else {},
            spans=spans,
            in_one_go=in_one_go,
            notes=list(dict.fromkeys(self.notes)),
        )

    def _finish_video(self) -> None:
        if self._video is None or not self._tally.frames:
            return
        self._video.close()
        place = self._places.video(self._file.name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._partial_video.replace(place)
        except OSError as error:
            raise SinkError(f"cannot write {place}: {error.strerror}") from error
        self.notes += self._video.notes

    def close(self) -> None:
        self._sink.close()
        with contextlib.suppress(SinkError):  # after an error, which counts; else it is closed already
            if self._video is not None:
                self._video.close()
        for path in (self._partial, self._partial_video):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def problem_of(report: SourceReport) -> str:
    """Why a file that was read is not whole; empty where it is. Two packets may make one frame: fields."""
    missing = report.packets - report.read - report.skipped
    has_fields = abs(report.packets - 2 * report.read) <= _FEW
    if report.problem is not None:
        return report.problem
    if report.skipped:
        return f"{report.skipped} frames could not be decoded"
    if missing > max(_FEW, _MISSING * report.packets) and not has_fields:
        return f"{missing} of {report.packets} packets gave no frame"
    return ""


def without_weak(found: Detections, conf_threshold: float) -> Detections:
    """Without what only a tracker looks at."""
    return found[found.scores >= conf_threshold]


def remove_results(places: ResultPlaces, name: str) -> None:
    """Takes away what is there of a file, the summary first, so that a kill leaves no half of it in force.

    What was made of the results goes too: nothing of another content stays beside new results.

    Raises:
        SinkError: something cannot be removed.
    """
    try:
        made = [file_format(places, kind, name) for kind in FILE_FORMATS]
        own = (places.summary(name), places.records(name), places.crops(name), places.video(name))
        for path in (*own, *made):
            path.unlink(missing_ok=True)
        shutil.rmtree(clip_folder(places, name), ignore_errors=True)
    except OSError as error:
        raise SinkError(f"cannot remove {error.filename}: {error.strerror}") from error
