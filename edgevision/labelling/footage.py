"""Which images ``edgevision label`` labels, and where they lie: files as they are, frames as new files."""

from __future__ import annotations

import contextlib
import glob
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from edgevision.errors import OutputExistsError, SourceError, UsageError
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress
from edgevision.types import Frame
from edgevision.video import Source, open_source
from edgevision.video.sinks.images import save_image
from edgevision.video.sources.images import ImagesSource, is_image_file
from edgevision.video.sources.media import find_media


class Visited(NamedTuple):
    """How the visit of a source went.

    Attributes:
        problems: what was wrong with it, a line each; nothing where the visit was stopped.
        unread: images that could not be read.
    """

    problems: list[str]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Footage:
    """One source.

    Attributes:
        uri: its address.
        folder: where its images are, or where its frames go.
        stem: start of the names of its frames; None where the source is image files already.
        files: the image files to label; None where the address alone says what comes.
    """

    uri: str
    folder: Path
    stem: str | None
    files: tuple[Path, ...] | None = None

    def choose(self, source: Source, every: int, seed: int | None) -> Iterator[Frame]:
        """Every image file; of a video, one frame of each run of ``every``.

        Args:
            source: of this footage, open.
            every: length of a run.
            seed: draws the frame of each run; None takes the first.
        """
        if self.stem is None:
            yield from source
            return
        generator = None if seed is None else random.Random(f"{seed} {self.stem}")
        wanted = 0
        for frame in source:
            place = frame.index % every
            if place == 0:
                wanted = generator.randrange(every) if generator is not None else 0
            if place == wanted:
                yield frame

    def visit(
        self,
        label: Callable[[Frame], None],
        every: int,
        seed: int | None,
        stop: StopRequest,
        progress: Progress,
    ) -> Visited:
        """Hands every chosen frame to ``label``, until the source ends or ``stop`` is asked for.

        Args:
            label: called with each frame.
            every, seed: see :meth:`choose`.
            stop: ends it early.
            progress: shows how far the source is.

        Returns:
            What went wrong. Image files of which none can be read are a problem, and no error: those of other
            sources are labelled all the same.
        """
        try:
            source = self._open()
        except SourceError as error:
            if self.files is None:
                raise
            return Visited([str(error)], len(self.files))
        failure = None
        with source:
            with progress(source.info.name, source.info.frame_count) as on_frame:
                try:
                    for frame in self.choose(source, every, seed):
                        label(frame)
                        on_frame(frame.index + 1)
                        if stop.reason is not None:
                            return Visited([])
                except SourceError as error:
                    if self.files is None:
                        raise
                    failure = str(error)
            report = source.report
        if not (report.skipped or report.problem or failure):
            return Visited([])
        found = (
            failure or report.problem or f"{source.info.name}: {report.skipped} images could not be decoded"
        )
        return Visited([found, *report.notes[:5]], report.skipped)

    def _open(self) -> Source:
        if self.files is None:
            return open_source(self.uri)
        return ImagesSource(self.files, self.uri, folder=self.folder)

    def place(self, frame: Frame) -> Path:
        """Where the image file of a frame is, or would be."""
        return Path(frame.source) if self.stem is None else self.folder / f"{self.stem}_{frame.index:06d}.jpg"

    def image(self, frame: Frame) -> Path:
        """The image file of a frame, which is written first where it comes from a video.

        Raises:
            SinkError: it cannot be written.
        """
        path = self.place(frame)
        if self.stem is not None:
            save_image(path, frame.image)
        return path


class FoundFootage(NamedTuple):
    """What there is to label.

    Attributes:
        sources: each with the files that no earlier one names.
        notes: remarks for the user, one line each.
    """

    sources: list[Footage]
    notes: list[str]

    @property
    def folders(self) -> set[Path]:
        """Where frames of videos will be written, which may not be there yet."""
        return {one.folder for one in self.sources if one.stem is not None}

    def check_settings(self, images_out: Path | None, every: int, seed: int | None) -> None:
        """Refuses settings of videos that change nothing here.

        Args:
            images_out: the folder for frames that the user names.
            every, seed: see :meth:`Footage.choose`.

        Raises:
            UsageError: there is one.
        """
        given = {"images_out": images_out is not None, "every": every > 1, "seed": seed is not None}
        name = next((name for name, is_given in given.items() if is_given), None)
        if name is not None and not self.folders:
            raise UsageError(f"`{name}` is for frames of videos; found images only: leave it out")
        if seed is not None and every == 1:
            raise UsageError("`seed` draws one frame of `every` so many; found every frame: leave it out")


def find_footage(uris: Sequence[str], images_out: Path | None, overwrite: bool) -> FoundFootage:
    """Opens each source once, to see what it is and where its images will be.

    A file that is named more than once, by whatever path, is labelled once: where it is named first. Images
    are told apart by their names in a label file, so two links to one file elsewhere are two images.

    Args:
        uris: addresses of single sources.
        images_out: folder for the frames of videos.
        overwrite: True lets frames of the same names be replaced.

    Raises:
        UsageError: a source is live, videos share a name, there is no folder for frames, or frames would
            replace images that are to be labelled.
        OutputExistsError: frames of such a name exist.
        SourceError: a source cannot be opened.
    """
    looks = [_look_at(uri, images_out) for uri in uris]
    root = folder_of_all([look.footage for look in looks])
    found: list[Footage] = []
    named: set[str] = set()
    twice: dict[str, set[str]] = {"image": set(), "video": set()}
    for whole in looks:
        one, repeats = _without(named, root, whole.footage, whole.video)
        twice["video" if one.stem else "image"] |= repeats
        if one.files == () or whole.video in repeats:
            continue
        if one.stem is not None:
            if any(one.stem == other.stem for other in found):
                raise UsageError(
                    f"two videos are called '{one.stem}': their images would have the same names; label them "
                    "separately"
                )
            taken = next(one.folder.glob(f"{glob.escape(one.stem)}_*.jpg"), None)
            if taken is not None and not overwrite:
                raise OutputExistsError(
                    f"output exists: {taken}; choose another `images_out` or pass `overwrite`"
                )
        found.append(one)
    _refuse_replacing(found)
    return FoundFootage(found, [_repeats_line(kind, len(files)) for kind, files in twice.items() if files])


def nothing_labelled(sources: Sequence[str], unread: int, *reasons: str) -> SourceError:
    """The error of a labelling that has no image.

    Args:
        sources: as the user names them.
        unread: images that could not be read.
        reasons: what became of the others; empty ones are left out.
    """
    damaged = f"{unread} could not be read" if unread else ""
    why = "".join(f"; {reason}" for reason in (damaged, *reasons) if reason)
    return SourceError(f"no image was labelled of {', '.join(sources)}{why}; nothing is written")


def _without(named: set[str], root: Path, one: Footage, video: str | None) -> tuple[Footage, set[str]]:
    """The source without the files that are named already, and these; adds its own to ``named``.

    An image is known by its name below ``root``, a video by its path.
    """
    repeats: set[str] = set()
    kept: list[Path] = []
    for path in one.files or ():
        name = name_below(root, path)
        if name in named:
            repeats.add(name)
        else:
            kept.append(path)
        named.add(name)
    if one.files is not None:
        return replace(one, files=tuple(kept)), repeats
    if video is not None:
        repeats = {video} & named
        named.add(video)
    return one, repeats


def _repeats_line(kind: str, count: int) -> str:
    what = f"1 {kind} is" if count == 1 else f"{count} {kind}s are"
    return f"{what} named twice; each is labelled once"


def _refuse_replacing(found: Sequence[Footage]) -> None:
    """Refuses images that the frames of a video would replace.

    Raises:
        UsageError: there is one.
    """
    for one in found:
        if one.stem is not None:
            named = {path.resolve() for other in found for path in other.files or ()}
            for taken in one.folder.glob(f"{glob.escape(one.stem)}_*.jpg"):
                if taken.resolve() in named:
                    raise UsageError(
                        f"{taken} is to be labelled, and would be replaced by a frame of '{one.stem}'; label "
                        "them separately"
                    )


def folder_of_all(footage: Sequence[Footage]) -> Path:
    """The folder that all images lie in or below."""
    return Path(os.path.commonpath([one.folder.resolve() for one in footage]))


def name_below(root: Path, path: Path) -> str:
    """How a label file below ``root`` names an image, with ``/`` between folders.

    A link to a file or a folder elsewhere counts where it stands, as long as that is below ``root``.

    Args:
        root: without links, as :func:`folder_of_all` gives it.
        path: the image.

    Raises:
        UsageError: it lies outside ``root``.
    """
    whole = path.absolute()
    elsewhere = (one.resolve() / whole.relative_to(one) for one in whole.parents)
    for place in chain([whole.resolve()], elsewhere):
        if place.is_relative_to(root):
            return place.relative_to(root).as_posix()
    raise UsageError(f"{path} lies outside {root}; expected images in or below it")


def folder_of_stills(footage: Sequence[Footage]) -> Path:
    """The folder that all image files lie in or below; frames of videos have names of their own."""
    return folder_of_all([one for one in footage if one.stem is None] or footage)


def _only_image(uri: str) -> Path | None:
    """The one image file of an address, damaged or not; None where there are several or none."""
    with contextlib.suppress(SourceError):
        paths = find_media(uri).paths
        if len(paths) == 1 and is_image_file(paths[0]):
            return paths[0]
    return None


class _Look(NamedTuple):
    """A source, and what tells whether it is named twice where it is no image files."""

    footage: Footage
    video: str | None = None


def _look_at(uri: str, images_out: Path | None) -> _Look:
    try:
        source = open_source(uri)
    except SourceError:
        only = _only_image(uri)
        if only is None:
            raise
        return _Look(Footage(uri, only.parent, None, (only,)))  # its visit says what is wrong with it
    with source:
        info = source.info
        if info.is_live:
            raise UsageError(f"{info.name} is a live source; record it first, because labels need files")
        if isinstance(source, ImagesSource):
            parents = {path.parent for path in source.paths}  # '**' may reach into several folders
            if len(parents) > 1:
                parents = {Path(os.path.commonpath([path.resolve() for path in parents]))}
            return _Look(Footage(uri, parents.pop(), None, source.paths))
        if info.path is not None and (info.is_image or info.path.is_dir()):
            return _Look(Footage(uri, info.path.parent if info.is_image else info.path, None), uri)
        if images_out is None:
            raise UsageError(f"{info.name} is a video: pass `images_out`, a folder for its frames")
        video = uri if info.path is None else str(info.path.resolve())
        return _Look(Footage(uri, images_out, Path(info.name).stem), video)
