"""Class maps as label PNGs: one 8-bit file a frame, whose values are class ids, at source size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from edgevision.errors import OutputExistsError, SinkError
from edgevision.types import Frame, Image, Result, SegmentationMap
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.images import SUFFIXES, save_image


class MaskSink:
    """Writes ``000000.png`` and so on by the frame's place in the source, or ``NAME.png`` for images.

    With several segmentation models, each has a folder of its name inside. Files appear whole or not at all.

    Args:
        folder: made where it does not exist.
        info: the source.
        models: names of the models, in the order of the results.
        segmenters: which of them segment, by position.
        overwrite: False refuses a folder that holds anything.

    Raises:
        OutputExistsError, SinkError: see :func:`refuse_existing_folder`; or the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        info: SourceInfo,
        models: Sequence[str],
        segmenters: Sequence[int],
        overwrite: bool = False,
    ) -> None:
        refuse_existing_folder(folder, overwrite)
        self.name = str(folder)
        self.closed = False
        self.notes: list[str] = []
        self._by_file = info.is_image or (info.path is not None and info.path.is_dir()) or info.width is None
        self._written: set[str] = set()
        several = len(segmenters) > 1
        self._folders = {
            position: folder / models[position] if several else folder for position in segmenters
        }
        if len(set(self._folders.values())) < len(segmenters):
            raise SinkError(f"{folder}: two segmentation models have the same name; run one at a time")
        try:
            for inner in self._folders.values():
                inner.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {inner}: {error.strerror}") from error

    def write(self, frame: Frame, picture: Image, results: tuple[Result, ...]) -> None:
        name = self._name(frame)
        for position, folder in self._folders.items():
            result = results[position]
            if self._by_file and folder.samefile(Path(frame.source).parent):
                raise SinkError(f"masks in {folder} would overwrite the source; choose another folder")
            if isinstance(result, SegmentationMap):
                save_image(folder / f"{name}.png", result.class_map)

    def _name(self, frame: Frame) -> str:
        number = f"{frame.index:06d}"
        file = Path(frame.source)
        name = file.stem if self._by_file and file.suffix.lower() in SUFFIXES else number
        if name in self._written:  # a.jpg and a.png in one folder
            name = f"{name}_{number}"
        if self._by_file:
            self._written.add(name)
        return name

    def close(self) -> None:
        """Nothing is left to do."""

    def __enter__(self) -> MaskSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_existing_folder(folder: Path, overwrite: bool) -> None:
    """Checks an output folder before any work is done.

    Raises:
        OutputExistsError: it holds something and ``overwrite`` is False.
        SinkError: it is a file, or its parent does not exist.
    """
    if not folder.parent.is_dir():
        raise SinkError(f"output folder does not exist: {folder.parent}; create it first")
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"{folder} is a file; expected a folder for masks")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"folder {folder} is not empty; choose another or pass --overwrite")
