"""What is still to be done of an archive: files that are new, changed or to be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from edgevision.archive.footage import has_clips
from edgevision.archive.formats import missing_formats
from edgevision.archive.index import ArchiveIndex
from edgevision.archive.inputs import InputFile
from edgevision.archive.parts import PartFolder
from edgevision.archive.records import (
    HAS_RESULTS,
    FileFacts,
    FileSummary,
    ResultPlaces,
    Status,
    write_summary,
)
from edgevision.archive.request import ArchiveRequest
from edgevision.archive.results import remove_results
from edgevision.archive.tasks import Task
from edgevision.archive.timeline import camera_of, start_of


@dataclass(slots=True)
class Camera:
    """Files through which ids run on.

    Attributes:
        files: in the order of the camera's clock, with nanoseconds from its first.
        left: names of those that are still to be detected.
    """

    files: list[tuple[InputFile, int]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)

    def task(self) -> Task:
        """Joins what was detected of all."""
        return Task("camera", self.files[0][0], files=tuple(self.files))


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file that is not finished.

    Attributes:
        file: which.
        size: in bytes; 0 where it cannot be looked at.
        task: what is to be done first; None where only its camera is to be joined.
        camera: whose ids run on through it; None where ids begin anew.
    """

    file: InputFile
    size: int
    task: Task | None
    camera: Camera | None = None


class Backlog:
    """Compares the files of an archive with what is known of them.

    Args:
        request: what is asked for.
        places: where results lie.
        index: of what is finished; files that are to be done again are taken out.
        answers: key of the settings.
        formats: that every file with results should have.

    Attributes:
        changed: how many files were finished and have another content now.

    Raises:
        SinkError: what does not count any more cannot be removed.
    """

    def __init__(
        self,
        request: ArchiveRequest,
        places: ResultPlaces,
        index: ArchiveIndex,
        answers: str,
        formats: Sequence[str],
    ) -> None:
        self.changed = 0
        self._request, self._places, self._index = request, places, index
        self._answers, self._formats = answers, formats

    def find(self, files: Sequence[InputFile]) -> list[PendingFile]:
        """What is to be done, in the order of the files."""
        known = {one.name: one for one in self._index.summaries()}
        names = {file.shown: file.name for file in files}
        for name in [one.name for one in known.values() if names.get(one.path, one.name) != one.name]:
            remove_results(self._places, name)  # its name has changed, for another file has that place now
            self._index.remove([name])
            del known[name]
        found: list[PendingFile] = []
        for file in files:
            summary = known.get(file.name)
            facts = file.facts()
            kind = "whole"
            if summary is not None and not self._is_stale(summary, file, facts):
                kind = self._lacking(summary, file)
            elif summary is not None:
                self.changed += summary.status is Status.DONE
                remove_results(self._places, file.name)
                self._index.remove([file.name])
            if kind:
                found.append(PendingFile(file, 0 if facts is None else facts.size, Task(kind, file)))
        return found

    def by_camera(
        self, pending: Sequence[PendingFile], files: Sequence[InputFile], starts: Mapping[str, datetime]
    ) -> list[PendingFile]:
        """All files of each camera that lacks one: what was detected of the others is there, and joined anew.

        Their summaries are taken away first, so that a kill leaves no camera with ids of two joins.

        Args:
            pending: of :meth:`find`.
            files: all of the archive.
            starts: of :func:`edgevision.archive.timeline.read_starts`.
        """
        again = {one.file.name for one in pending if one.task is not None and one.task.kind == "whole"}
        groups: dict[str, list[tuple[datetime, InputFile]]] = {}
        for file in files:
            start = start_of(file.name, file.path, starts)
            key = f"file {file.name}" if start is None else f"camera {camera_of(file.name)}"
            groups.setdefault(key, []).append((start or datetime.min, file))
        joined: list[PendingFile] = []
        for group in groups.values():
            if not again.isdisjoint(file.name for _, file in group):
                joined += self._camera(group, again)
        names = {one.file.name for one in joined}
        others = [one for one in pending if one.file.name not in names | again]
        return others + joined

    def _camera(self, group: Sequence[tuple[datetime, InputFile]], again: set[str]) -> list[PendingFile]:
        known = {one.name: one for one in self._index.summaries()}
        ordered = sorted(group, key=lambda pair: (pair[0], pair[1].name))
        camera, found = Camera(), list[PendingFile]()
        for start, file in ordered:
            summary = known.get(file.name)
            if file.name not in again and summary is not None and summary.status not in HAS_RESULTS:
                continue  # told, and not to be tried again
            facts = file.facts()
            camera.files.append((file, round((start - ordered[0][0]).total_seconds() * 1e9)))
            self._places.summary(file.name).unlink(missing_ok=True)
            self._index.remove([file.name])
            source = PartFolder(self._places.spans(file.name)).source()
            is_detected = source is not None and facts is not None and facts.is_same(source.facts)
            if not is_detected:
                camera.left.add(file.name)
            task = None if is_detected else Task("raw", file)
            found.append(PendingFile(file, 0 if facts is None else facts.size, task, camera))
        if found and not camera.left:
            last = found.pop()
            found.append(PendingFile(last.file, last.size, camera.task(), camera))
        return found

    def _lacking(self, summary: FileSummary, file: InputFile) -> str:
        """What a file with results lacks of what is asked for now: the task that makes it, or nothing."""
        request = self._request
        if summary.status not in HAS_RESULTS:
            return ""
        if request.video and summary.decoded > 1 and not self._places.video(file.name).is_file():
            return "whole"
        lacks_clips = bool(request.clips_of) and not has_clips(self._places, file.name, request.clips_of)
        is_missing = lacks_clips or missing_formats(self._formats, self._places, file.name)
        return "formats" if is_missing else ""

    def _is_stale(self, summary: FileSummary, file: InputFile, facts: FileFacts | None) -> bool:
        """Whether a file that was processed is to be processed again."""
        if summary.answers != self._answers or summary.status is Status.CHANGED:
            return True
        if summary.status is not Status.DONE and self._request.retry:
            return True
        if summary.status in HAS_RESULTS and not self._places.records(file.name).is_file():
            return True  # somebody took them away
        if facts is None or summary.facts is None:
            return facts is not summary.facts
        if facts.is_same(summary.facts) and file.shown == summary.path:
            return False
        try:
            now = file.read_facts(with_digest=True)
        except OSError:
            return True
        if now.digest != summary.facts.digest:
            return True
        # It was copied, moved or touched: the same content, at another time or place.
        moved = replace(summary, facts=now, path=file.shown)
        write_summary(self._places, moved)
        self._index.enter(moved)
        return False
