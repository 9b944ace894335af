"""Drawing, measured for benchmarks/peers.py: ten boxes with labels per frame, the same for three libraries.

    python benchmarks/peers_overlay.py CLIP MODEL.onnx ROUNDS

Boxes and scores come from the clip, so they move and change as in real use. The time includes the label
texts and the boxes; all libraries draw in place. Prints JSON.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import supervision
from ultralytics.utils.plotting import Annotator, colors

from edgevision.drawing.overlay import Overlay
from edgevision.engines import load_engine
from edgevision.errors import UsageError
from edgevision.model import Model, detect
from edgevision.types import Detections
from edgevision.video import open_source

BOXES = 10
SIZES = ((768, 432), (1280, 720), (1920, 1080))
_FRAMES = 200

Draw = Callable[[Any, Detections], object]


def main() -> int:
    clip, model, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with load_engine(model) as engine:
        detector = Model(engine, 0.05)
        try:
            images, found = collect(detector, clip)
        except UsageError as error:
            raise SystemExit(f"error: {error}") from None
        result = {
            f"{width}x{height}": measure(
                drawers(detector, (width, height)), images, found, (width, height), rounds
            )
            for width, height in SIZES
        }
    print(json.dumps({"boxes": BOXES, "frames": len(found), "rounds": rounds, "ms_a_frame": result}))
    return 0


def collect(detector: Model, clip: str) -> tuple[list[Any], list[Detections]]:
    """Frames with ten boxes or more, cut to their ten best.

    Raises:
        UsageError: the model is not a detector.
    """
    images: list[Any] = []
    found: list[Detections] = []
    with open_source(clip) as source:
        for frame in source:
            best = detect(detector, frame.image)
            if len(best) >= BOXES and len(found) < _FRAMES:
                images.append(frame.image)
                found.append(best[:BOXES])
    return images, found


def drawers(detector: Model, size: tuple[int, int]) -> dict[str, Draw]:
    """Each library as its documentation shows it, with the same text on the labels.

    Lines and texts of edgevision and ultralytics scale with the frame. Supervision's are 2 pixels and half
    size by default, on 4K too; its documentation sizes them by two functions, so it runs both ways.
    """
    overlay = Overlay(detector.manifest)
    line = supervision.calculate_optimal_line_thickness(size)
    scale = supervision.calculate_optimal_text_scale(size)
    plain = (supervision.BoxAnnotator(), supervision.LabelAnnotator())
    sized = (
        supervision.BoxAnnotator(thickness=line),
        supervision.LabelAnnotator(text_scale=scale, text_thickness=line),
    )

    def texts(found: Detections) -> list[str]:
        return [f"{one.name} {one.score:.2f}" for one in found]

    def by_supervision(annotators: tuple[Any, Any], canvas: Any, found: Detections) -> None:
        detections = supervision.Detections(found.boxes, None, found.scores, found.class_ids)
        annotators[0].annotate(canvas, detections)
        annotators[1].annotate(canvas, detections, texts(found))

    def by_ultralytics(canvas: Any, found: Detections) -> None:
        annotator = Annotator(canvas)
        for box, class_id, text in zip(found.boxes, found.class_ids, texts(found), strict=True):
            annotator.box_label(box, text, color=colors(class_id, True))

    return {
        "edgevision": overlay.draw,
        "supervision": functools.partial(by_supervision, plain),
        "supervision_sized": functools.partial(by_supervision, sized),
        "ultralytics": by_ultralytics,
    }


def measure(
    draw: dict[str, Draw],
    images: Sequence[Any],
    found: Sequence[Detections],
    size: tuple[int, int],
    rounds: int,
) -> dict[str, float]:
    """Median over rounds of milliseconds per frame; the libraries alternate."""
    width, height = size
    scale = np.array([width, height, width, height]) / np.array([*images[0].shape[1::-1]] * 2)
    scaled = [replace(each, boxes=each.boxes * scale) for each in found]
    canvases = [cv2.resize(image, size) for image in images[:20]]
    times: dict[str, list[float]] = {name: [] for name in draw}
    for number in range(rounds + 1):
        for name, function in draw.items():
            start = time.perf_counter()
            for i, each in enumerate(scaled):
                function(canvases[i % len(canvases)], each)
            if number:  # the first is a warm-up
                times[name].append((time.perf_counter() - start) / len(scaled) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(main())
