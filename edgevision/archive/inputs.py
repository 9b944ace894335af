"""Which files an archive consists of, and what their results are called."""

from __future__ import annotations

import codecs
import fnmatch
import glob
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgevision.archive.records import FileFacts
from edgevision.archive.remote import (
    SCHEMES,
    RemoteFile,
    list_remote,
    remote_facts,
    remote_path,
    scheme_of,
)
from edgevision.errors import SourceError, UsageError, printable
from edgevision.suffixes import IMAGE_SUFFIXES, MAYBE_IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edgevision.video.sources.images import is_image_file
from edgevision.video.sources.media import is_pattern

STDIN = "-"
_KNOWN = frozenset((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, *MAYBE_IMAGE_SUFFIXES))
_SUFFIXES = ("", ".jsonl", ".json", ".crops")  # of what is written beside each other
_LONGEST = 200  # bytes of one part of a name, of the 255 that file systems allow; suffixes come after it


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to process.

    Attributes:
        path: absolute; of a remote file what stands behind the scheme of its address.
        name: what its results are called: its place below the folder that all have in common, with ``/``,
            encodable, and unique.
        address: of a remote file; empty for one that this machine has.
        listed: size and time of a remote file, when it was found.
    """

    path: Path
    name: str
    address: str = ""
    listed: FileFacts | None = None

    @property
    def place(self) -> str:
        """Where it lies, as its frames say it."""
        return self.address or str(self.path)

    @property
    def shown(self) -> str:
        """Where it lies, for people."""
        return printable(self.place)

    @property
    def suffix(self) -> str:
        """Of its name, in small letters, with the dot."""
        return self.path.suffix.lower()

    @property
    def is_image(self) -> bool:
        """Whether it is one image, which has no time; of a remote file the name alone says so."""
        return self.suffix in IMAGE_SUFFIXES if self.address else is_image_file(self.path)

    def facts(self) -> FileFacts | None:
        """Size and time, of a remote file as it was found; None where it cannot be looked at."""
        if self.listed is not None:
            return self.listed
        try:
            return self.read_facts()
        except OSError:
            return None

    def read_facts(self, *, with_digest: bool = False) -> FileFacts:
        """Size and time as they are now, and the digest where it is wanted.

        Raises:
            OSError: it cannot be looked at.
        """
        if self.address:
            return remote_facts(self.address, with_digest=with_digest)
        facts = FileFacts.of(self.path)
        return facts.with_digest(self.path) if with_digest else facts


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was found.

    Attributes:
        base: the folder that names are relative to.
        scheme: of remote files; empty for those of this machine.
        files: in the natural order of their names.
        others: how many files of the folders are neither videos nor images, or were left out.
        unreadable: folders that cannot be looked into, and why, for people.
    """

    base: Path
    files: tuple[InputFile, ...]
    others: int
    scheme: str = ""
    unreadable: tuple[str, ...] = ()

    @property
    def shown_base(self) -> str:
        """The folder that names are relative to, for people."""
        return printable(f"{self.scheme}:/{self.base}" if self.scheme else str(self.base))


def find_inputs(
    sources: Sequence[str],
    out: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    lines: Iterable[str] | None = None,
) -> Inputs:
    """Finds the files of an archive.

    Args:
        sources: files, folders (with all below them), patterns, text files with one path a line, and ``-``
            for such lines from standard input; addresses of :mod:`edgevision.archive.remote`, too. A line
            may be a folder or a pattern; what begins with ``#`` and is no file is a remark. Paths that end
            with NUL (``find -print0``) may hold anything.
        out: folder of the results, which may not be among the inputs.
        include: patterns of names or of paths below a folder; only these, where any is given.
        exclude: likewise; these are left out.
        lines: stands for standard input.

    Raises:
        UsageError: the outputs lie inside an input or an input among the outputs, nothing is left, or a
            source is live, or some are remote and some are not.
        SourceError: a source does not exist or cannot be read.
    """
    roots: list[Path] = []
    found: dict[Path, RemoteFile | None] = {}
    unreadable: list[str] = []
    others = 0
    schemes: dict[str, str] = {}
    for source in sources:
        for text in _expanded(source, lines):
            scheme = scheme_of(text)
            schemes.setdefault(scheme, text)
            if scheme:
                for one in list_remote(text):
                    path = remote_path(one.address)
                    root = remote_path(text) if one.is_below else path.parent
                    roots.append(root)
                    is_known = not one.is_below or path.suffix.lower() in _KNOWN
                    if is_known and _is_wanted(path, root, include, exclude):
                        found[path] = one
                    else:
                        others += 1
                continue
            path = Path(os.path.abspath(text))  # noqa: PTH100  (links stay as they are)
            if path.is_dir():
                _refuse_inside(path, out)
                roots.append(path)
                for file in _walk(path, unreadable):
                    if file.suffix.lower() in _KNOWN and _is_wanted(file, path, include, exclude):
                        found[file] = None
                    else:
                        others += 1
            elif source == text and not path.exists():
                raise SourceError(f"source not found: {path}; expected files, folders, patterns or a list")
            else:
                roots.append(path.parent)
                if _is_wanted(path, path.parent, include, exclude):
                    found[path] = None
                else:
                    others += 1
    if len(schemes) > 1:
        raise UsageError(
            f"{' and '.join(list(schemes.values())[:2])} lie on different file systems; process them into "
            "folders of their own"
        )
    place = _real(out)
    for path, remote in found.items():
        if remote is None and place in _real(path).parents:
            raise UsageError(f"`out` {out} holds the input {path}; choose a folder for results alone")
    if not found:
        raise UsageError(
            f"no video and no image in {', '.join(map(printable, sources))}"
            + (f" ({others} other files)" if others else "")
            + (f"; {unreadable[0]}" if unreadable else "")
        )
    base = Path(os.path.commonpath(roots))
    files = _named(sorted(found, key=_natural), base)
    return Inputs(
        base,
        tuple(_with_address(one, found[one.path]) for one in files),
        others,
        next(iter(schemes)),
        tuple(unreadable),
    )


def _real(path: Path) -> Path:
    """Without links; of links in a circle as much as can be said, where :meth:`Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _with_address(file: InputFile, remote: RemoteFile | None) -> InputFile:
    return file if remote is None else replace(file, address=remote.address, listed=remote.facts)


def _expanded(source: str, lines: Iterable[str] | None) -> Iterator[str]:
    """The paths that one source stands for."""
    scheme = scheme_of(source)
    if scheme == "file":
        source = unquote(urlsplit(source).path)
    elif scheme in SCHEMES:
        yield source
        return
    elif scheme:
        raise UsageError(
            f"{scheme}:// is not a recording on this machine; expected files and folders, or s3://..."
        )
    if source == STDIN:
        yield from _paths(_read_list(STDIN) if lines is None else lines)
    elif is_pattern(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute one)
        if not matches:
            raise SourceError(f"nothing matches '{printable(source)}'; expected videos or images")
        yield from (match for match in matches if not Path(match).is_dir())
    elif Path(source).suffix.lower() == ".txt" and Path(source).is_file():
        yield from _paths(_read_list(source))
    else:
        yield source


def _read_list(source: str) -> list[str]:
    """The lines of a list of paths, of a file or of standard input: bytes that are not UTF-8 are kept.

    Raises:
        SourceError: it cannot be read, or is in another encoding.
    """
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {source}: {error.strerror}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if is_wide or (data and 2 * data.count(b"\0") >= len(data)):
        raise SourceError(f"the list {source} is in UTF-16; expected UTF-8: save it as that")
    ends = b"\0" if data.endswith(b"\0") else b"\n"
    if ends == b"\n" and b"\0" in data:
        raise SourceError(f"the list {source} holds bytes of 0; expected one path a line, in UTF-8")
    return [os.fsdecode(line) for line in data.split(ends)]


def _paths(lines: Iterable[str]) -> Iterator[str]:
    """What the lines of a list stand for; a line is taken as it is where there is such a file."""
    for line in lines:
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        if not scheme_of(text) and not os.path.lexists(text):
            text = text.strip()
            if text.startswith("#") and not os.path.lexists(text):
                continue
        if scheme_of(text) or is_pattern(text):
            yield from _expanded(text, None)
        else:
            yield text


def _walk(folder: Path, unreadable: list[str]) -> Iterator[Path]:
    """All files below a folder, also through links, each folder once; hidden ones are left out.

    Raises:
        SourceError: the folder itself cannot be read; others are added to ``unreadable``.
    """
    seen: set[str] = set()

    def look_over(error: OSError) -> None:
        text = f"cannot read {printable(str(error.filename))}: {error.strerror}"
        if Path(error.filename) == folder:
            raise SourceError(text) from error
        unreadable.append(text)

    for place, folders, files in os.walk(folder, followlinks=True, onerror=look_over):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _is_wanted(path: Path, root: Path, include: Sequence[str], exclude: Sequence[str]) -> bool:
    below = path.relative_to(root).as_posix()

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(path.name, one) or fnmatch.fnmatch(below, one) for one in patterns)

    return (not include or matches(include)) and not matches(exclude)


def _refuse_inside(folder: Path, out: Path) -> None:
    place, root = _real(out), _real(folder)
    if place == root or root in place.parents:
        raise UsageError(f"`out` {out} lies inside the input {folder}; choose a folder outside of it")


def _named(paths: Sequence[Path], base: Path) -> Iterator[InputFile]:
    """Each file's name: where it lies, and another one where a result of another has that place."""
    files: set[str] = set()  # folded: where results lie, small letters and capitals may be the same
    taken: set[str] = set()
    folders: dict[str, str] = {}
    places: set[str] = set()
    for path in paths:
        parts = [_short(printable(part)) for part in path.relative_to(base).parts]
        place = ""
        for depth in range(1, len(parts)):
            key = "/".join(parts[:depth])
            if key not in folders:
                folders[key] = _free(f"{place}{parts[depth - 1]}", "/", files, places)
                places.add(_folded(folders[key].rstrip("/")))
                taken.add(_folded(folders[key].rstrip("/")))
            place = folders[key]
        name = _free(f"{place}{parts[-1]}", "", taken)
        own = [_folded(f"{name}{suffix}") for suffix in _SUFFIXES]
        files.update(own)
        taken.update(own)
        yield InputFile(path, name)


def _free(name: str, end: str, taken: set[str], folders: Set[str] = frozenset()) -> str:
    """The name, or with a number the first whose results have a place, and that is no other folder's."""
    found, number = name, 1
    while _folded(found) in folders or not taken.isdisjoint(
        _folded(f"{found}{suffix}") for suffix in _SUFFIXES
    ):
        number += 1
        found = f"{name}~{number}"
    return found + end


def _folded(name: str) -> str:
    """The same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _short(part: str) -> str:
    """A part of a path that leaves room for suffixes, the same for the same text, another for another."""
    data = part.encode()
    if len(data) <= _LONGEST:
        return part
    digest = blake2b(data, digest_size=5).hexdigest()
    return f"{data[: _LONGEST - 12].decode(errors='ignore')}~{digest}"


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """``2.mp4`` before ``10.mp4``; with the path itself behind it, so that no two are equal."""
    parts = re.split(r"(\d+)", str(path).lower())
    found = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return [*found, (1, 0, str(path))]
