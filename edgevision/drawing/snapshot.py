"""Still images of a stream: as it came, with what was found, and with its zones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevision.drawing.overlay import Overlay, render
from edgevision.drawing.zones import draw_zones
from edgevision.files import make_folder, refuse_existing
from edgevision.tracking import ZoneLayout
from edgevision.types import FrameResult, Image, LineCount, ZoneCount, ZoneReport
from edgevision.video.base import Sink
from edgevision.video.sinks.images import save_image

SETTLE_S = 1.0
"""Seconds after the first frame of a camera until its exposure and white balance have settled."""


def image_of_zones(image: Image, layout: ZoneLayout) -> Image:
    """A copy of an image, uint8 ``[H, W, 3]``, with zones and lines that have counted nothing yet."""
    canvas: Image = image.copy()
    nothing = ZoneReport(
        tuple(ZoneCount(zone.name, {}, {}, {}) for zone in layout.zones),
        tuple(LineCount(line.name, {}, {}) for line in layout.lines),
    )
    draw_zones(canvas, layout, nothing)
    return canvas


class SnapshotSink(Sink):
    """Writes one frame as ``NAME.jpg``, ``NAME.boxes.jpg`` and, with zones, ``NAME.zones.jpg``.

    Of a recording or an image it is the first frame; of a live source the first after :data:`SETTLE_S`, or
    the last before it ends. Then the sink is closed, which ends the stream.

    Args:
        folder: where the files go; made where it is missing.
        stem: the ``NAME``.
        overlays: one for each model, to draw what they found.
        layout: zones and lines; None for none.
        is_live: the source is live.
        overwrite: replace files that exist.

    Raises:
        OutputExistsError: one of them exists.
        SinkError: the folder cannot be made or, from ``write``, an image cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        overlays: Sequence[Overlay],
        layout: ZoneLayout | None = None,
        *,
        is_live: bool = False,
        overwrite: bool = False,
    ) -> None:
        super().__init__(str(folder / f"{stem}.jpg"))
        make_folder(folder)
        self._paths = {kind: folder / f"{stem}{kind}.jpg" for kind in ("", ".boxes", ".zones")}
        if layout is None:
            del self._paths[".zones"]
        for path in self._paths.values():
            refuse_existing(path, overwrite)
        self._overlays, self._layout = overlays, layout
        self._settle_s = SETTLE_S if is_live else 0.0
        self._first_s: float | None = None
        self._kept: FrameResult | None = None

    def write(self, result: FrameResult, image: Image) -> None:
        if self.closed:
            return
        moment_s = result.frame.time_s
        self._first_s = moment_s if self._first_s is None else self._first_s
        if moment_s - self._first_s >= self._settle_s:
            self._kept = None
            self._save(result)
            self.closed = True
        else:
            self._kept = result

    def close(self) -> None:
        """Writes the last frame of a camera that ended before it had settled."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self._save(kept)

    def written(self) -> str:
        """The files, separated by commas."""
        return ", ".join(map(str, self._paths.values()))

    def _save(self, result: FrameResult) -> None:
        save_image(self._paths[""], result.frame.image)
        save_image(self._paths[".boxes"], render(result, self._overlays))
        if self._layout is not None:
            save_image(self._paths[".zones"], image_of_zones(result.frame.image, self._layout))
