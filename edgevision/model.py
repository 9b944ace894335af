"""From images to results: letterbox, engine and contract put together.

Example:
    >>> with Model(load_engine("model.onnx"), conf_threshold=0.4) as model:  # doctest: +SKIP
    ...     found = model(cv2.imread("street.jpg"))
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import BOX_TASKS, INPUT_NAME, Manifest
from edgevision.engines.base import Engine
from edgevision.errors import UsageError, nearest
from edgevision.postprocess import Reader
from edgevision.types import Detections, Image, Result

DEFAULT_CONF_THRESHOLD = 0.35
KEPT_BUFFERS = 8
"""Input arrays of each batch size that are kept for reuse."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images ready for the engine.

    Attributes:
        frames: uint8 ``[N, H, W, 3]``, letterboxed, BGR.
        geometry: how each image lies in its input.
    """

    frames: NDArray[np.uint8]
    geometry: tuple[Letterbox, ...]


class Model(Closeable):
    """A model that takes images of any size and gives results in their pixel coordinates.

    Closing it closes its engine.

    The three steps of a call can be run apart, so that a pipeline can overlap and time them. Each may
    run on another thread than the one before it. Between them, prepared images can be joined for the
    engine and their outputs split again.

    Args:
        engine: a loaded model.
        conf_threshold: detections and labels below this score are left out, 0..1; a class that has a
            threshold in the model's file goes by that.
        classes: only these class names are kept; None keeps all.

    Raises:
        UsageError: the threshold is not within 0..1, or the model lacks a class.

    Attributes:
        engine, conf_threshold, classes: as given.
        manifest: the contract of the model's file.
        notes: lines for the user about settings that have no or less effect than expected.
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
        self.classes = None if classes is None else tuple(classes)
        self.notes = _notes(self.manifest, conf_threshold, classes)
        self._wanted = _class_mask(self.manifest.classes, classes)
        self._fit = functools.lru_cache(maxsize=64)(self._fit_size)
        self._free: defaultdict[int, deque[NDArray[np.uint8]]] = defaultdict(
            lambda: deque(maxlen=KEPT_BUFFERS)
        )

    @property
    def name(self) -> str:
        """The model's name, which its results have too."""
        return self.manifest.name

    @property
    def names(self) -> tuple[str, ...]:
        """All class names, in the order of class ids."""
        return self.manifest.classes

    @property
    def task(self) -> str:
        """One of :data:`edgevision.contract.manifest.TASKS`."""
        return self.manifest.task

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.task} of {len(self.names)} classes, {self.engine.name}>"

    def with_threshold(self, conf_threshold: float) -> Model:
        """A model on the same engine with another threshold; close only one of them."""
        return Model(self.engine, conf_threshold, self.classes)

    def close(self) -> None:
        """Closes the engine; safe to call twice."""
        self.engine.close()

    @overload
    def __call__(self, images: Image) -> Result: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Result]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Result | list[Result]:
        """Infers one image, or a list of them.

        Args:
            images: uint8 ``[H, W, 3]``, BGR as OpenCV reads it; those of a list may differ in size.

        Returns:
            :class:`~edgevision.types.Detections` in the image's own pixels, a
            :class:`~edgevision.types.SegmentationMap` of its size, or a
            :class:`~edgevision.types.Classification` of it; for a list, one for each.

        Raises:
            UsageError: an image has another shape or type.
            EngineError: the engine failed, or its outputs are invalid.
        """
        is_one = not isinstance(images, (list, tuple)) and np.ndim(images) != 4
        several: Sequence[Image] = [images] if is_one else images  # type: ignore[list-item, assignment]
        for image in several:
            _check_image(image)
        if not len(several):
            return []
        batch = self.prepare(several)
        results = self.finish(batch, self.infer(batch))
        return results[0] if is_one else results

    def prepare(self, images: Sequence[Image]) -> Batch:
        """Letterboxes images into one input array, which is reused once the batch is finished."""
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
        # NumPy would release the GIL for this copy. It takes 0.2 ms, and getting the GIL back 5 ms where many
        # threads wait for it: a tenth of the accelerator's time, with four streams.
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
        """Returns the memory of a batch that will not be inferred."""
        self._free[len(batch.frames)].append(batch.frames)

    def infer(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Runs the engine on a prepared batch; in parts where the model takes one batch size only."""
        size = self.engine.inputs[0].shape[0]
        if size is None or size == len(batch.frames):
            return self.engine.infer({INPUT_NAME: batch.frames})
        return self._infer_in_parts(batch.frames, size)

    def _infer_in_parts(self, frames: NDArray[np.uint8], size: int) -> dict[str, NDArray[Any]]:
        """Parts of ``size`` images; the last is filled up with its last image, and cut again."""
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
            EngineError: see :meth:`edgevision.postprocess.Reader.read`.
        """
        reader = Reader(self.manifest, self.engine.name, self.conf_threshold, self._wanted)
        results = [reader.read(outputs, i, letterbox) for i, letterbox in enumerate(batch.geometry)]
        self.discard(batch)
        return results

    def _take_buffer(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        try:
            return self._free[shape[0]].popleft()
        except IndexError:
            return np.empty(shape, np.uint8)

    def _fit_size(self, width: int, height: int) -> Letterbox:
        manifest = self.manifest
        return Letterbox.fit(width, height, manifest.input_width, manifest.input_height, manifest.resize)


def detect(model: Model, image: Image) -> Detections:
    """The boxes of one image, uint8 ``[H, W, 3]``, BGR.

    Raises:
        UsageError: the model is not a detector.
    """
    found = model(image)
    if not isinstance(found, Detections):
        raise UsageError(f"{model.name} is a model for {model.task}; expected a detector")
    return found


def _check_image(image: object) -> None:
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} {list(image.shape)}"
    else:
        found = "None, as cv2.imread gives for a file it cannot read" if image is None else repr(type(image))
    raise UsageError(f"an image is uint8 [H, W, 3] in BGR; found {found}")


def check_conf_threshold(conf_threshold: object) -> None:
    """Raises :class:`UsageError` unless ``conf_threshold`` lies in 0..1."""
    is_valid = isinstance(conf_threshold, (int, float, np.number)) and 0 <= float(conf_threshold) <= 1
    if not is_valid:  # NaN is not, either
        raise UsageError(f"confidence threshold {conf_threshold!r} is not valid; expected 0 to 1")


def _class_mask(known: Sequence[str], wanted: Sequence[str] | None) -> NDArray[np.bool_]:
    """True for each class to keep: bool ``[len(known)]``."""
    if wanted is None:
        return np.ones(len(known), np.bool_)
    if not wanted:
        raise UsageError(f"no class was given; this model has: {', '.join(known)}")
    for name in wanted:
        if name not in known:
            hint = nearest(name, known) or f"; it has: {', '.join(known)}"
            raise UsageError(f"the model has no class '{name}'{hint}")
    return np.isin(np.array(known), np.array(wanted))


def _notes(manifest: Manifest, conf_threshold: float, classes: Sequence[str] | None) -> tuple[str, ...]:
    notes = []
    floor = manifest.score_threshold
    if manifest.task in BOX_TASKS and floor is not None and conf_threshold < floor:
        notes.append(
            f"confidence threshold {conf_threshold:g} has the effect of {floor:g}, "
            "the lowest score that the model itself gives"
        )
    if manifest.class_thresholds and conf_threshold != DEFAULT_CONF_THRESHOLD:
        own, every = len(manifest.class_thresholds), len(manifest.classes)
        notes.append(
            f"confidence threshold {conf_threshold:g} has no effect on {own} of the {every} classes of "
            f"{manifest.name}, whose thresholds are in the model's file"
        )
    if manifest.task == "segmentation" and classes is not None:
        notes.append("a selection of classes has no effect on a segmentation model")
    return tuple(notes)
