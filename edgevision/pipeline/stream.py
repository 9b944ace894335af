"""One stream of a run, and its frames between the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgevision.drawing.overlay import Overlay
from edgevision.model import Batch, Model
from edgevision.pipeline.crops import CropReader
from edgevision.pipeline.queue import Policy
from edgevision.tracking.scene import LateScene, Scene
from edgevision.types import Frame, FrameResult, Image
from edgevision.video.base import Sink, Source


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One source with its own outputs.

    Attributes:
        source: read on a thread of its own, and closed there.
        models: every one runs on every frame; None for those of the run.
        fallback: in place of ``models``, with the same classes, to hold a latency.
        sinks: closed at the end, also after an error. A :class:`~edgevision.video.base.Screen` is called on
            the thread that calls ``Pipeline.run``, because windows must live on the main thread; the others
            are called on a thread of the stream.
        overlays: one for each model; none where no sink looks at the image, and nothing is drawn.
        name: unique in the run; by default the source's.
        policy: by default files wait and live sources keep the newest.
        scene: the tracker and the zones; every frame that is inferred goes through it, in order.
        crops: a second model on what was found; each frame goes through it after the tracker.
        max_frames: frames to infer; None for all.
        max_latency_ms: hold the latency under this bound; only for :attr:`Policy.KEEP_NEWEST`.
        show_status: write frame rate and latency on the image.
    """

    source: Source
    models: Sequence[Model] | None = None
    fallback: Sequence[Model] = ()
    sinks: Sequence[Sink] = ()
    overlays: Sequence[Overlay] = ()
    name: str = ""
    policy: Policy | None = None
    scene: Scene | LateScene | None = None
    crops: CropReader | None = None
    max_frames: int | None = None
    max_latency_ms: float | None = None
    show_status: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    frame: Frame
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame in the form that the models take.

    Attributes:
        model_set: which models it is prepared for, :data:`~edgevision.pipeline.latency.MAIN` or ``FALLBACK``.
        batches: one for each model of the set, each of one frame.
    """

    frame: Frame
    captured_ns: int
    model_set: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A frame with what the engines gave.

    Attributes:
        outputs: one for each model of the set.
        taken_ns: when the engine took it.
    """

    prepared: Prepared
    outputs: tuple[Mapping[str, NDArray[Any]], ...]
    taken_ns: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame ready for the sinks.

    Attributes:
        result: what the models found.
        image: the frame's image with overlays drawn on it.
        captured_ns: when the source delivered it.
        taken_ns: when the engine took it.
        model_set: which models answered.
    """

    result: FrameResult
    image: Image
    captured_ns: int
    taken_ns: int
    model_set: int


@dataclass(frozen=True, slots=True)
class SourceLost:
    """In place of a frame for the sinks: the source is away."""


@dataclass(slots=True)
class StopRequest:
    """Asks a run to end early and finish its outputs.

    It is a plain attribute without a lock, so that a signal handler can set it at any moment.
    """

    reason: str | None = None
