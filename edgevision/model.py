"""From images to detections or class maps: letterbox, engine and contract put together.

Example:
    >>> with load_engine("model.onnx") as engine:  # doctest: +SKIP
    ...     found, = Model(engine, conf_threshold=0.4)([cv2.imread("street.jpg")])
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.engines.base import Engine
from edgevision.errors import EngineError, UsageError, nearest
from edgevision.types import Detections, FloatArray, Image, Result, SegmentationMap

DEFAULT_CONF_THRESHOLD = 0.35
KEPT_BUFFERS = 8
"""Input arrays of each batch size that are kept for reuse."""

_BROKEN = "the model file is broken or this engine computes it wrongly"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures ready for the engine.

    Attributes:
        frames: uint8 ``[N, H, W, 3]``, letterboxed, BGR.
        geometry: how each picture lies in its input.
    """

    frames: NDArray[np.uint8]
    geometry: tuple[Letterbox, ...]


class Model:
    """A model that takes pictures of any size and answers in their own pixels.

    The three steps of a call can be run apart, so that a pipeline can overlap and time them. Each may
    run on another thread than the one before it. Between them, prepared pictures can be joined for the
    engine and their outputs split again.

    Args:
        engine: a loaded model.
        conf_threshold: detections below this score are left out, 0..1.
        classes: only these class names are kept; None keeps all.

    Raises:
        UsageError: an impossible threshold, or a class that the model lacks.

    Attributes:
        notes: lines for the user about settings that have less effect than they seem to.
    """

    def __init__(
        self,
        engine: Engine,
        conf_threshold: float = DEFAULT_CONF_THRESHOLD,
        classes: Sequence[str] | None = None,
    ) -> None:
        check_conf_threshold(conf_threshold)
        self.engine = engine
        self.manifest = engine.manifest
        self.conf_threshold = conf_threshold
        self.notes = _notes(self.manifest, conf_threshold, classes)
        self._wanted = _class_mask(self.manifest.classes, classes)
        self._fit = functools.lru_cache(maxsize=64)(self._fit_size)
        self._free: defaultdict[int, deque[NDArray[np.uint8]]] = defaultdict(
            lambda: deque(maxlen=KEPT_BUFFERS)
        )

    def __call__(self, images: Sequence[Image]) -> list[Result]:
        """Answers for a batch of pictures.

        Args:
            images: uint8 ``[H, W, 3]``, BGR, each of any size.

        Returns:
            For each picture :class:`Detections` in its own pixels, or a :class:`SegmentationMap` of its size.

        Raises:
            EngineError: the engine failed or answered with nonsense.
        """
        if not images:
            return []
        batch = self.prepare(images)
        return self.finish(batch, self.infer(batch))

    def prepare(self, images: Sequence[Image]) -> Batch:
        """Letterboxes pictures into one input array, which is reused once the batch is finished."""
        height, width = self.manifest.input_height, self.manifest.input_width
        frames = self._take_buffer((len(images), height, width, 3))
        geometry = tuple(self._fit(image.shape[1], image.shape[0]) for image in images)
        for slot, image, letterbox in zip(frames, images, geometry, strict=True):
            letterbox.image(image, out=slot)
        return Batch(frames, geometry)

    def join(self, batches: Sequence[Batch]) -> Batch:
        """Several prepared batches as one; a single one as it is."""
        if len(batches) == 1:
            return batches[0]
        geometry = tuple(letterbox for batch in batches for letterbox in batch.geometry)
        frames = self._take_buffer((len(geometry), *batches[0].frames.shape[1:]))
        # NumPy would let go of the GIL for this copy. It takes 0.2 ms, and to get the GIL back 5 ms where
        # many threads want it: a tenth of the accelerator's time, with four streams.
        rows, start = frames.reshape(-1).data, 0
        for batch in batches:
            rows[start : start + batch.frames.size] = batch.frames.reshape(-1).data
            start += batch.frames.size
        return Batch(frames, geometry)

    def split(
        self, joined: Batch, batches: Sequence[Batch], outputs: Mapping[str, NDArray[Any]]
    ) -> list[dict[str, NDArray[Any]]]:
        """The outputs of a joined batch as those of its parts; they outlive the engine's next call."""
        if joined is not batches[0]:
            self.discard(joined)
        parts, start = [], 0
        for batch in batches:
            rows = slice(start, start + len(batch.geometry))
            parts.append({name: array[rows].copy() for name, array in outputs.items()})
            start = rows.stop
        return parts

    def discard(self, batch: Batch) -> None:
        """Gives the memory of a batch back that is not wanted any more."""
        self._free[len(batch.frames)].append(batch.frames)

    def infer(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Runs the engine on a prepared batch; in parts where the model takes one batch size only."""
        size = self.engine.inputs[0].shape[0]
        if size is None or size == len(batch.frames):
            return self.engine.infer({INPUT_NAME: batch.frames})
        return self._infer_in_parts(batch.frames, size)

    def _infer_in_parts(self, frames: NDArray[np.uint8], size: int) -> dict[str, NDArray[Any]]:
        """Parts of ``size`` pictures; the last is filled up with its last picture, and cut again."""
        parts: list[dict[str, NDArray[Any]]] = []
        for start in range(0, len(frames), size):
            part = frames[start : start + size]
            full = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            outputs = self.engine.infer({INPUT_NAME: full})
            # Arrays of an engine are valid until its next call.
            parts.append({name: array[: len(part)].copy() for name, array in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def finish(self, batch: Batch, outputs: Mapping[str, NDArray[Any]]) -> list[Result]:
        """Reads the engine's outputs: threshold, classes, and back to source pixels.

        Raises:
            EngineError: a value is not finite, a box is inverted, or a label or count is out of range.
        """
        read = self._segmentation if self.manifest.task == "segmentation" else self._detections
        results: list[Result] = [read(outputs, i, letterbox) for i, letterbox in enumerate(batch.geometry)]
        self.discard(batch)
        return results

    def _detections(self, outputs: Mapping[str, NDArray[Any]], i: int, letterbox: Letterbox) -> Detections:
        count = int(outputs["count"][i])
        if not 0 <= count <= outputs["scores"].shape[1]:
            raise EngineError(f"{self.engine.name} answered with a count of {count} detections; {_BROKEN}")
        boxes: FloatArray = outputs["boxes"][i, :count]
        scores: FloatArray = outputs["scores"][i, :count]
        labels: NDArray[np.int32] = outputs["labels"][i, :count]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise EngineError(f"{self.engine.name} answered with numbers that are not finite; {_BROKEN}")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise EngineError(f"{self.engine.name} answered with an inverted box; {_BROKEN}")
        if count and not (labels.min() >= 0 and labels.max() < len(self._wanted)):
            raise EngineError(f"{self.engine.name} answered with a class that does not exist; {_BROKEN}")
        keep = (scores >= self.conf_threshold) & self._wanted[labels]
        boxes = letterbox.source_boxes(boxes[keep])
        manifest = self.manifest
        found = Detections(boxes, scores[keep], labels[keep], manifest.classes, manifest.name)
        # A box that lies wholly in the padding is cut to nothing.
        visible: NDArray[np.bool_] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return found if visible.all() else found[visible]

    def _segmentation(
        self, outputs: Mapping[str, NDArray[Any]], i: int, letterbox: Letterbox
    ) -> SegmentationMap:
        class_map = letterbox.source_class_map(outputs["class_map"][i])
        return SegmentationMap(class_map, self.manifest.classes, self.manifest.name)

    def _take_buffer(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        try:
            return self._free[shape[0]].popleft()
        except IndexError:
            return np.empty(shape, np.uint8)

    def _fit_size(self, width: int, height: int) -> Letterbox:
        manifest = self.manifest
        return Letterbox.fit(width, height, manifest.input_width, manifest.input_height, manifest.resize)


def check_conf_threshold(conf_threshold: float) -> None:
    """Raises :class:`UsageError` unless ``conf_threshold`` lies in 0..1."""
    if not 0 <= conf_threshold <= 1:  # also refuses NaN
        raise UsageError(f"confidence threshold {conf_threshold} is impossible; expected 0 to 1")


def _class_mask(known: Sequence[str], wanted: Sequence[str] | None) -> NDArray[np.bool_]:
    """True for each class to keep: bool ``[len(known)]``."""
    if wanted is None:
        return np.ones(len(known), np.bool_)
    if not wanted:
        raise UsageError(f"no class was named; this model has: {', '.join(known)}")
    for name in wanted:
        if name not in known:
            hint = nearest(name, known) or f"; it has: {', '.join(known)}"
            raise UsageError(f"the model has no class '{name}'{hint}")
    return np.isin(np.array(known), np.array(wanted))


def _notes(manifest: Manifest, conf_threshold: float, classes: Sequence[str] | None) -> tuple[str, ...]:
    notes = []
    floor = manifest.score_threshold
    if manifest.task == "detection" and floor is not None and conf_threshold < floor:
        notes.append(
            f"confidence threshold {conf_threshold:g} has the effect of {floor:g}, "
            "below which the model itself gives nothing"
        )
    if manifest.task == "segmentation" and classes is not None:
        notes.append("a choice of classes has no effect on a segmentation model")
    return tuple(notes)
