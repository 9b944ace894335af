"""Which images ``edgevision label`` labels, and where they lie: files as they are, frames as new files."""

from __future__ import annotations

import glob
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.address import display
from edgevision.errors import OutputExistsError, UsageError
from edgevision.files import make_folder
from edgevision.pipeline import StopRequest
from edgevision.progress import Progress
from edgevision.types import Frame
from edgevision.video import Source, open_source
from edgevision.video.sinks.images import save_image
from edgevision.video.sources.media import find_media, is_pattern


@dataclass(frozen=True, slots=True)
class Footage:
    """One source.

    Attributes:
        uri: its address.
        folder: where its images are, or where its frames go.
        stem: start of the names of its frames; None where the source is image files already.
    """

    uri: str
    folder: Path
    stem: str | None

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
    ) -> list[str]:
        """Hands every chosen frame to ``label``, until the source ends or ``stop`` is asked for.

        Args:
            label: called with each frame.
            every, seed: see :meth:`choose`.
            stop: ends it early.
            progress: shows how far the source is.

        Returns:
            What was wrong with the source, a line each; nothing where ``stop`` ended it.
        """
        with open_source(self.uri) as source:
            with progress(source.info.name, source.info.frame_count) as on_frame:
                for frame in self.choose(source, every, seed):
                    label(frame)
                    on_frame(frame.index + 1)
                    if stop.reason is not None:
                        return []
            report = source.report
        if not (report.skipped or report.problem):
            return []
        found = report.problem or f"{source.info.name}: {report.skipped} images could not be decoded"
        return [found, *report.notes[:5]]

    def image(self, frame: Frame) -> Path:
        """The image file of a frame, which is written first where it comes from a video.

        Raises:
            SinkError: it cannot be written.
        """
        if self.stem is None:
            return Path(frame.source)
        path = self.folder / f"{self.stem}_{frame.index:06d}.jpg"
        save_image(path, frame.image)
        return path


def find_footage(uris: Sequence[str], images_out: Path | None, overwrite: bool) -> list[Footage]:
    """Opens each source once, to see what it is and where its images will be.

    Args:
        uris: addresses of single sources.
        images_out: folder for the frames of videos; made where it is missing.
        overwrite: True lets frames of the same names be replaced.

    Raises:
        UsageError: a source is live or given twice, videos share a name, or there is no folder for frames.
        OutputExistsError: frames of such a name exist.
        SourceError: a source cannot be opened.
    """
    found: list[Footage] = []
    for uri in uris:
        one = _look_at(uri, images_out)
        if any(one == other or (one.stem and one.stem == other.stem) for other in found):
            what = f"two videos are called '{one.stem}'" if one.stem else f"{display(uri)} is given twice"
            raise UsageError(f"{what}: their images would have the same names; label them separately")
        if one.stem is not None:
            taken = next(one.folder.glob(f"{glob.escape(one.stem)}_*.jpg"), None)
            if taken is not None and not overwrite:
                raise OutputExistsError(
                    f"output exists: {taken}; choose another `images_out` or pass `overwrite`"
                )
        found.append(one)
    if images_out is not None and any(one.stem for one in found):
        make_folder(images_out, parents=True)
    return found


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
    places = (whole.resolve(), *(one.resolve() / whole.relative_to(one) for one in whole.parents))
    for place in places:
        if place.is_relative_to(root):
            return place.relative_to(root).as_posix()
    raise UsageError(f"{path} lies outside {root}; expected images in or below it")


def folder_of_stills(footage: Sequence[Footage]) -> Path:
    """The folder that all image files lie in or below; frames of videos have names of their own."""
    return folder_of_all([one for one in footage if one.stem is None] or footage)


def _look_at(uri: str, images_out: Path | None) -> Footage:
    with open_source(uri) as source:
        info = source.info
        if info.is_live:
            raise UsageError(f"{info.name} is a live source; record it first, because labels need files")
        if info.is_image and info.path is not None:
            return Footage(uri, info.path.parent, None)
        if info.path is not None and info.path.is_dir():
            if is_pattern(uri):  # '**' may reach into several folders
                parents = {path.parent.resolve() for path in find_media(uri).paths}
                return Footage(uri, Path(os.path.commonpath(list(parents))), None)
            return Footage(uri, info.path, None)
        if images_out is None:
            raise UsageError(f"{info.name} is a video: pass `images_out`, a folder for its frames")
        return Footage(uri, images_out, Path(info.name).stem)
