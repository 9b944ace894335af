"""What is written about each file: how it went, and what was found in it."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from pathlib import Path

import msgspec

from edgevision.errors import DataError
from edgevision.files import atomic_path, make_folder

SCHEMA = 1
_BLOCK, _BLOCKS = 1 << 16, 64


class Status(str, Enum):
    """How a file went."""

    DONE = "done"
    PARTIAL = "partial"
    """It is damaged or cut off; the results are of what could be read."""
    FAILED = "failed"
    """Nothing of it could be read."""
    CRASHED = "crashed"
    """It ended the process that read it, twice."""
    CHANGED = "changed"
    """It was written to while it was read; there are no results until it is read again."""


HAS_RESULTS = (Status.DONE, Status.PARTIAL)


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """By which a file is known again.

    Attributes:
        size: in bytes.
        mtime_ns: of the last change.
        digest: BLAKE2b of the size and of 64 blocks of 64 KiB spread over the content, hexadecimal.
    """

    size: int
    mtime_ns: int
    digest: str = ""

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """Size and time as they are now, without the digest.

        Raises:
            OSError: the file cannot be looked at, or is a pipe or a device, which may never end.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return cls(size=found.st_size, mtime_ns=found.st_mtime_ns)

    def with_digest(self, path: Path) -> FileFacts:
        """The same with the digest; reads 4 MiB at most.

        Raises:
            OSError: the file cannot be read.
        """
        with path.open("rb", buffering=0) as file:

            def read(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            return self.digested(digest_blocks(self.size, read))

    def digested(self, digest: str) -> FileFacts:
        """The same with a digest, of :func:`digest_blocks`."""
        return msgspec.structs.replace(self, digest=digest)

    def is_same(self, other: FileFacts) -> bool:
        """Whether size and time are equal."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


def digest_blocks(size: int, read: Callable[[int, int], bytes]) -> str:
    """Digest of a file of that size; see :class:`FileFacts`.

    Args:
        size: in bytes.
        read: gives the bytes from a start to before an end.
    """
    digest = blake2b(str(size).encode(), digest_size=16)
    last = max(0, size - _BLOCK)
    for number in range(_BLOCKS if last else 1):
        start = last * number // (_BLOCKS - 1)
        digest.update(read(start, min(size, start + _BLOCK)))
    return digest.hexdigest()


class ClassSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a file shows of one class.

    Attributes:
        detections: over all frames.
        most: in one frame (Max-N of wildlife surveys).
        tracks: different track ids; 0 where nothing tracks.
        first_s, last_s: times of the first and last frame that shows one.
        bins: detections in each stretch of :attr:`FileSummary.bin_s` seconds, from the start.
    """

    detections: int
    most: int
    tracks: int
    first_s: float
    last_s: float
    bins: list[int]


class FileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an archive; its JSON beside the results is what commits them.

    Attributes:
        name: of the results, with ``/``; unique in the archive.
        path: of the file, as people may see it.
        answers: the key of the settings that gave these results.
        status, reason: how it went; ``reason`` is empty for ``done``.
        facts: of the file, as it was read.
        frames: with results.
        decoded: frames that were decoded, in all.
        packets: of the container, which should have become frames; 0 where they were not counted.
        width, height, frame_rate: of the source; None where they vary or are unknown.
        duration_s: time of the last frame that was read.
        bin_s: see :class:`ClassSummary`.
        classes: by name.
        spans: how many were detected apart; 1 for in one go.
        in_one_go: why the file was not split, where it was long enough; else empty.
        notes: remarks of the reader.
    """

    schema: int = SCHEMA
    name: str
    path: str
    answers: str
    status: Status
    reason: str = ""
    facts: FileFacts | None = None
    frames: int = 0
    decoded: int = 0
    packets: int = 0
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    duration_s: float = 0.0
    bin_s: float = 1.0
    classes: dict[str, ClassSummary] = {}
    spans: int = 1
    in_one_go: str = ""
    notes: list[str] = []


class ResultPlaces:
    """Where the results of an archive lie.

    Args:
        out: its folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.results = out / "results"
        self.work = out / ".work"
        self.partial = self.work / "partial"
        self.settings = out / "process.json"
        self.index = out / "index.sqlite"

    def records(self, name: str) -> Path:
        """JSON lines of a file, docs/reference/jsonl.md."""
        return self.beside("results", name, ".jsonl")

    def summary(self, name: str) -> Path:
        """A :class:`FileSummary` as JSON."""
        return self.beside("results", name, ".json")

    def crops(self, name: str) -> Path:
        """The best crops of a file, for the report."""
        return self.beside("results", name, ".crops")

    def video(self, name: str) -> Path:
        """The drawn recording of a file."""
        return self.beside("video", name, ".mp4")

    def beside(self, kind: str, name: str, suffix: str) -> Path:
        """A file of one kind of result for a file of the archive."""
        return self.out / kind / f"{name}{suffix}"

    def spans(self, name: str) -> Path:
        """Folder of the parts of a file that is split, while it is worked on."""
        return self.work / "spans" / blake2b(name.encode(), digest_size=10).hexdigest()


def write_summary(places: ResultPlaces, summary: FileSummary) -> None:
    """Commits a file's results.

    Raises:
        SinkError: it cannot be written.
    """
    path = places.summary(summary.name)
    make_folder(path.parent, parents=True)
    with atomic_path(path) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1))


def read_summary(path: Path) -> FileSummary:
    """Reads what :func:`write_summary` wrote.

    Raises:
        DataError: it is not such a file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=FileSummary)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DataError(f"{path} is not the summary of a file: {error}") from error
