"""What was asked of ``edgevision run``, and what of it is refused before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevision.cli.plans import PlanPolicy
from edgevision.drawing.overlay import check_opacity
from edgevision.engines import check_engine_name
from edgevision.errors import UsageError
from edgevision.model import check_conf_threshold
from edgevision.service.service import Service
from edgevision.session.outputs import check_named_outputs
from edgevision.session.spec import StreamSpec, read_streams
from edgevision.session.watchers import check_events
from edgevision.video import expand_sources
from edgevision.video.sinks.masks import refuse_existing_folder


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``edgevision run``; its help says what they mean.

    Attributes:
        sources: each with the outputs of ``defaults``; empty where ``streams`` names a file.
        defaults: what holds for every stream; its source is empty.
    """

    sources: Sequence[str]
    streams: Path | None
    defaults: StreamSpec
    models: Sequence[str]
    fallback_model: str | None
    engine: str
    plans: PlanPolicy
    threads: int | None
    conf_threshold: float
    classes: Sequence[str] | None
    alpha: float
    max_frames: int | None
    stats: Path | None
    overwrite: bool
    service: Service


def check_request(request: Request) -> None:
    check_conf_threshold(request.conf_threshold)
    check_engine_name(request.engine)
    check_opacity(request.alpha)
    request.service.check()
    if request.max_frames is not None and request.max_frames < 1:
        raise UsageError(f"--max-frames {request.max_frames} is impossible; expected 1 or more")
    if request.threads is not None and request.threads < 1:
        raise UsageError(f"--threads {request.threads} is impossible; expected 1 or more")
    if request.streams is None and not request.sources:
        raise UsageError(
            "no source; name one with --source, or a file with --streams (see 'edgevision run --help')"
        )
    if any(not source.strip() for source in request.sources):
        raise UsageError("--source is empty; expected a file, a folder, webcam, an address or demo")
    if request.streams is not None:
        given = {**request.defaults.files(), "--save-masks": request.defaults.save_masks}
        named = [option for option, path in given.items() if path is not None]
        clashes = ["--source"] if request.sources else named
        if clashes:
            raise UsageError(
                f"--streams and {clashes[0]} do not go together; {request.streams} says it for each stream"
            )


def plan_rounds(request: Request) -> list[list[StreamSpec]]:
    """The streams that run together, and these groups in turn."""
    defaults = request.defaults
    if request.streams is not None:
        together = read_streams(request.streams, defaults)
    else:
        together = [msgspec.structs.replace(defaults, source=source) for source in request.sources]
    for spec in together:
        _ = spec.max_latency_ms, spec.recording  # refused before anything is opened
    if request.fallback_model is not None and all(spec.max_latency is None for spec in together):
        raise UsageError("--fallback-model is what --max-latency may fall back on; give both")
    expanded = [expand_sources(spec.source) for spec in together]
    if len(together) == 1:
        return [[msgspec.structs.replace(together[0], source=uri)] for uri in expanded[0]]
    for spec, uris in zip(together, expanded, strict=True):
        if len(uris) > 1:
            raise UsageError(f"{spec.source} is {len(uris)} videos; run a folder of videos by itself")
    return [together]


def check_outputs(request: Request, specs: Sequence[StreamSpec], models: Sequence[Path]) -> None:
    for spec in specs:
        check_events(spec.events, request.streams is None and len(specs) > 1, request.overwrite)
    for folder in {spec.save_masks for spec in specs if spec.save_masks is not None}:
        refuse_existing_folder(Path(folder), request.overwrite)
    inputs = [*(spec.source for spec in specs), *map(str, models)]
    if request.streams is None:
        shared = {**request.defaults.files(), "--stats": request.stats}
        check_named_outputs(shared, inputs, len(specs), request.overwrite)
    else:
        check_named_outputs({"--stats": request.stats}, inputs, 1, request.overwrite)
        for spec in specs:
            check_named_outputs(spec.files(), inputs, 1, request.overwrite)
