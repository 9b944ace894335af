"""An engine without a model: its results come from a function, its latency is a parameter.

For tests, for running the pipeline without a model file, and for benchmarks that need an accelerator of
known speed.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.closeable import Closeable
from edgevision.contract.manifest import BOX_TASKS, INPUT_NAME, Manifest, Task, TensorSpec
from edgevision.engines.base import Tensors, check_inputs
from edgevision.errors import EngineError
from edgevision.types import Classification, Detections, Image, Result, SegmentationMap

Answer = Callable[[Image], Result]
"""Maps one model input, uint8 ``[H, W, 3]``, to its result in input pixels."""


def fake_manifest(
    task: Task = "detection",
    classes: Sequence[str] = ("bright",),
    width: int = 320,
    height: int = 320,
    max_detections: int = 100,
    **further: Any,
) -> Manifest:
    """A manifest for a :class:`FakeEngine`; ``further`` are fields of :class:`Manifest`."""
    return Manifest(
        name="fake",
        task=task,
        classes=tuple(classes),
        input_width=width,
        input_height=height,
        score_threshold=0.05 if task in BOX_TASKS else None,
        max_detections=max_detections if task in BOX_TASKS else None,
        **further,
    )


def scripted(results: Sequence[Result]) -> Answer:
    """Returns ``results`` one after the other, in a cycle."""
    remaining = itertools.cycle(results)
    lock = threading.Lock()

    def answer(image: Image) -> Result:
        with lock:
            return next(remaining)

    return answer


def bright_objects(image: Image, threshold: int = 200) -> Detections:
    """One box of class 0 around each connected bright area; the score is its mean brightness."""
    grey = image.max(axis=2)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((grey >= threshold).astype(np.uint8))
    left, top, width, height = (stats[1:, column].astype(np.float32) for column in range(4))
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    scores = np.array([grey[labels == label].mean() / 255 for label in range(1, len(stats))], np.float32)
    best_first = np.argsort(-scores, kind="stable")
    return Detections(boxes[best_first], scores[best_first], np.zeros(len(scores), np.int32))


def bright_area(image: Image, threshold: int = 128) -> SegmentationMap:
    """Class 1 where the image is bright, class 0 elsewhere."""
    return SegmentationMap((image.max(axis=2) >= threshold).astype(np.uint8))


class FakeEngine(Closeable):
    """Implements the engine protocol without a model file. It gives no masks of single objects.

    Args:
        answer: computes the result of each image: :func:`bright_objects`, :func:`bright_area`,
            :func:`scripted`, or another function.
        manifest: its contract; by default detection with the class ``bright``.
        latency_ms: minimum duration of a call, whatever the batch size.
        lock: held during a call. Engines that share a lock behave like contexts on one accelerator, on
            which calls cannot overlap. By default ``requests`` calls can run concurrently.
        requests: number of calls that can run concurrently.
    """

    def __init__(
        self,
        answer: Answer = bright_objects,
        manifest: Manifest | None = None,
        latency_ms: float = 0.0,
        lock: threading.Lock | None = None,
        requests: int = 1,
    ) -> None:
        self.name = "fake engine"
        self.reason = ""
        self.manifest = manifest or fake_manifest()
        self.inputs: tuple[TensorSpec, ...] = (self.manifest.input_spec(),)
        self.outputs = self.manifest.output_specs()
        self.calls = 0
        self._answer = answer
        self._latency_s = latency_ms / 1e3
        self.requests = requests
        self._lock = lock or threading.BoundedSemaphore(requests)
        self._closed = False

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs one batch; see :meth:`edgevision.engines.base.Engine.infer`."""
        if self._closed:
            raise EngineError("the engine is closed; open the model again")
        check_inputs(inputs, self.inputs)
        with self._lock:
            end = time.perf_counter() + self._latency_s
            self.calls += 1
            outputs = self._pack([self._answer(image) for image in inputs[INPUT_NAME]])
            time.sleep(max(0.0, end - time.perf_counter()))
        return outputs

    def _pack(self, results: list[Result]) -> dict[str, NDArray[Any]]:
        if self.manifest.task == "classification":
            answers = [one.probabilities for one in results if isinstance(one, Classification)]
            return {"probabilities": np.stack(answers)}
        if self.manifest.task == "segmentation":
            maps = [result.class_map for result in results if isinstance(result, SegmentationMap)]
            return {"class_map": np.stack(maps)}
        n, k = len(results), self.manifest.max_detections or 1
        outputs = {
            spec.name: np.zeros((n, *(size or 0 for size in spec.shape[1:])), spec.dtype)
            for spec in self.outputs
        }
        outputs["labels"][:] = -1
        for i, result in enumerate(results):
            if isinstance(result, Detections):
                found = result[:k]
                outputs["count"][i] = len(found)
                columns = {
                    "boxes": found.boxes,
                    "scores": found.scores,
                    "labels": found.class_ids,
                    "keypoints": found.keypoints,
                    "rotated_boxes": found.rotated_boxes,
                }
                for name, values in columns.items():
                    if name in outputs and values is not None:
                        outputs[name][i, : len(found)] = values
        return outputs

    def close(self) -> None:
        self._closed = True
