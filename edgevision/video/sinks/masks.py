"""Class maps as label PNGs: one 8-bit file a frame, whose values are class ids, at source size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgevision.errors import OutputExistsError, SinkError
from edgevision.files import FileSpan, make_folder, safe_name
from edgevision.suffixes import SAVED_IMAGE_SUFFIXES
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.sinks.images import save_image


class MaskSink(Sink):
    """Writes ``000000.png`` and so on by the frame's position in the source, or ``NAME.png`` for images.

    With several segmentation models, each has a folder of its name inside, without what has a meaning in
    paths: a model's name comes from its file, and must not lead out of the folder. A file is written
    completely or not at all.

    Args:
        folder: made where it does not exist.
        info: the source.
        models: names of those models that segment.
        overwrite: False refuses a folder that holds anything.

    Raises:
        OutputExistsError, SinkError: see :func:`refuse_existing_folder`; or the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        info: SourceInfo,
        models: Sequence[str],
        overwrite: bool = False,
    ) -> None:
        refuse_existing_folder(folder, overwrite)
        super().__init__(str(folder))
        self._by_file = info.is_image or (info.path is not None and info.path.is_dir()) or info.width is None
        self._written: set[str] = set()
        self._folder = folder
        self._files = FileSpan("mask")
        self._has_several = len(models) > 1
        if len({safe_name(model) for model in models}) < len(models):
            raise SinkError(f"{folder}: two segmentation models have the same name; run one at a time")
        for inner in map(self._folder_of, models):
            make_folder(inner, parents=True)

    def write(self, result: FrameResult, image: Image) -> None:
        frame = result.frame
        name = self._name(frame)
        for segmentation in result.class_maps:
            folder = self._folder_of(segmentation.model)
            if self._by_file and folder.samefile(Path(frame.source).parent):
                raise SinkError(f"masks in {folder} would overwrite the source; choose another folder")
            path = folder / f"{name}.png"
            save_image(path, segmentation.class_map)
            self._files.add(path)

    def written(self) -> str:
        """See :meth:`~edgevision.video.base.Sink.written`."""
        return self._files.describe() or self.name

    def _folder_of(self, model: str) -> Path:
        return self._folder / safe_name(model) if self._has_several else self._folder

    def _name(self, frame: Frame) -> str:
        number = f"{frame.index:06d}"
        file = Path(frame.source)
        name = file.stem if self._by_file and file.suffix.lower() in SAVED_IMAGE_SUFFIXES else number
        if name in self._written:  # a.jpg and a.png in one folder
            name = f"{name}_{number}"
        if self._by_file:
            self._written.add(name)
        return name


def refuse_existing_folder(folder: Path, overwrite: bool, noun: str = "masks") -> None:
    """Checks an output folder before any work is done.

    Args:
        folder: that will be written.
        overwrite: it may hold something.
        noun: what it is for, in messages.

    Raises:
        OutputExistsError: it holds something and ``overwrite`` is False.
        SinkError: it is a file or cannot be read or written, or its parent does not exist.
    """
    try:
        has_parent, is_folder = folder.parent.is_dir(), folder.is_dir()
        is_other = not is_folder and (folder.exists() or folder.is_symlink())
        is_used = is_folder and any(folder.iterdir())
    except OSError as error:
        raise SinkError(f"cannot use folder {folder}: {error.strerror}; choose another") from error
    if not has_parent:
        raise SinkError(f"output folder does not exist: {folder.parent}; create it first")
    if is_other:
        raise SinkError(f"{folder} is not a folder; expected one for {noun}")
    place = folder if is_folder else folder.parent
    if not os.access(place, os.W_OK):
        raise SinkError(f"no permission to write in {place}; choose another folder for {noun}")
    if is_used and not overwrite:
        raise OutputExistsError(f"folder {folder} is not empty; choose another or pass `overwrite`")
