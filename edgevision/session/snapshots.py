"""A session that takes one image of each stream instead of its outputs."""

from __future__ import annotations

from pathlib import Path

from edgevision.drawing.overlay import Overlay
from edgevision.drawing.snapshot import SnapshotSink
from edgevision.errors import UsageError
from edgevision.files import safe_name
from edgevision.pipeline import Stream
from edgevision.session.models import RunModels
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec
from edgevision.tracking import load_zones
from edgevision.video import Source


def snapshot_stream(
    spec: StreamSpec,
    source: Source,
    name: str,
    folder: Path,
    models: RunModels,
    shared: Shared,
) -> Stream:
    """A stream that ends with the image that was taken of it.

    Args:
        spec: what the user wants of it; its outputs are not made.
        source: the source.
        name: unique in the run; the files are called after it.
        folder: where they go.
        models: what answers.
        shared: what all streams have in common.

    Raises:
        ConfigError: the file of zones is not valid.
        OutputExistsError, SinkError: a file exists or cannot be made.
        UsageError: another stream writes it.
    """
    info, request = source.info, shared.request
    stem = safe_name(name if spec.name or info.path is None else info.path.stem)
    if not shared.claim(str(folder / stem)):
        raise UsageError(f"two streams would write {folder / stem}.jpg; give them a name each in `streams`")
    sink = SnapshotSink(
        folder,
        stem,
        [Overlay(one.manifest, request.alpha if spec.alpha is None else spec.alpha) for one in models.models],
        None if spec.zones is None else load_zones(spec.zones, models.classes, models.attributes),
        is_live=info.is_live,
        overwrite=request.overwrite,
    )
    return Stream(
        source=source,
        models=models.models,
        sinks=[sink],
        name=name,
        max_frames=None if info.is_live else 1,
    )
