"""One measurement of benchmarks/peers.py, in a process of its own: a side, a clip, and what is written.

    python benchmarks/peers_sides.py SIDE WRITING CLIP MODEL.onnx FOLDER

SIDE is ``edgevision``, ``ultralytics``, ``bare`` (the ONNX file in ONNX Runtime with its default settings
and nothing round it) or ``bare-requests`` (the same, as many inferences at a time as edgevision has in
flight). WRITING is ``off`` (boxes only), ``mjpeg`` (drawn and written as ultralytics' ``save=True`` does:
Motion JPEG through OpenCV) or ``h264`` (drawn, both through edgevision's MP4 sink). A few frames warm up;
then the whole clip is measured, opening and closing included. Prints JSON.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2

INPUT = 320
CONF, IOU = 0.25, 0.7
MAX_DETECTIONS = 100
"""Limit of an imported model; its IoU threshold is ultralytics' default, 0.7."""

Figures = dict[str, Any]
Run = Callable[[int | None], Figures]
"""Runs that many frames, or all of them."""

_WARM_UP = 20


def main() -> int:
    side, writing, clip, model, folder = sys.argv[1:]
    sides: dict[str, Callable[[str, str, str, Path], Run]] = {
        "edgevision": edgevision,
        "ultralytics": ultralytics,
        "bare": bare,
        "bare-requests": functools.partial(bare, in_requests=True),
    }
    run = sides[side](writing, clip, model, Path(folder))
    run(_WARM_UP)
    start, start_cpu = time.perf_counter(), time.process_time()
    figures = run(None)
    elapsed, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    frames = figures["frames"]
    figures |= {
        "ms": elapsed / frames * 1e3,
        "cpu_ms": cpu / frames * 1e3,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    return 0


class CountingSink:
    """Takes results and does no more; with a path it writes Motion JPEG through OpenCV.

    It does not inherit from our base class, so that the other sides do not load edgevision.
    """

    name = "counting"
    closed = False

    def __init__(self, path: Path | None, rate: float) -> None:
        self.notes: list[str] = []
        self.boxes = 0
        self._path, self._rate = path, rate
        self._writer: cv2.VideoWriter | None = None

    def write(self, result: Any, image: Any) -> None:
        self.boxes += len(result.detections)
        if self._path is None:
            return
        if self._writer is None:
            size = (image.shape[1], image.shape[0])
            fourcc = cv2.VideoWriter.fourcc(*"MJPG")
            self._writer = cv2.VideoWriter(str(self._path), fourcc, self._rate, size)
        self._writer.write(image)

    def deliveries(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


def edgevision(writing: str, clip: str, model: str, folder: Path) -> Run:
    """The pipeline that ``edgevision run`` uses, with its default settings."""
    from edgevision.drawing.overlay import Overlay
    from edgevision.engines import load_engine
    from edgevision.model import Model
    from edgevision.pipeline import Stream, ThreadBudget, run_stream
    from edgevision.video import open_sink, open_source

    budget = ThreadBudget.of(for_throughput=True)
    budget.apply()
    detector = Model(load_engine(model, requests=budget.requests), CONF)

    def run(limit: int | None) -> Figures:
        with open_source(clip, threads=budget.decode) as source:
            motion_jpeg = folder / "ours.avi" if writing == "mjpeg" else None
            counting = CountingSink(motion_jpeg, source.info.frame_rate or 30)
            sinks: list[Any] = [counting]
            if writing == "h264":
                sinks.append(open_sink(str(folder / "ours.mp4"), info=source.info, overwrite=True))
            overlays = [] if writing == "off" else [Overlay(detector.manifest)]
            stream = Stream(source=source, sinks=sinks, overlays=overlays, max_frames=limit)
            report = run_stream(stream, [detector])
        stages = {stage: times.mean_ms for stage, times in report.stages.items()}
        return {"frames": report.written, "boxes": counting.boxes, "stages_ms": stages}

    return run


def ultralytics(writing: str, clip: str, model: str, folder: Path) -> Run:
    """``predict(stream=True)`` with its default settings but the ones that make the boxes the same."""
    from ultralytics import YOLO

    from edgevision.types import Frame, FrameResult
    from edgevision.video import open_sink, open_source

    yolo = YOLO(model, task="detect")
    saving = {"save": True, "project": str(folder), "name": "theirs", "exist_ok": True}

    def run(limit: int | None) -> Figures:
        frames = boxes = 0
        stages = dict.fromkeys(("preprocess", "inference", "postprocess"), 0.0)
        sink: Any = None
        if writing == "h264":
            with open_source(clip) as source:
                sink = open_sink(str(folder / "theirs.mp4"), info=source.info, overwrite=True)
        results = yolo.predict(
            clip,
            stream=True,
            verbose=False,
            imgsz=INPUT,
            conf=CONF,
            iou=IOU,
            max_det=MAX_DETECTIONS,
            device="cpu",
            **(saving if writing == "mjpeg" else {}),
        )
        for result in results:
            if sink is not None:
                frame = Frame(result.plot(), frames, round(frames * 1e9 / 30))
                sink.write(FrameResult(frame, ()), frame.image)
            frames += 1
            boxes += len(result.boxes)
            for stage, elapsed_ms in result.speed.items():
                stages[stage] += elapsed_ms
            if frames == limit:
                results.close()
                break
        if sink is not None:
            sink.close()
        means = {stage: total / frames for stage, total in stages.items()}
        return {"frames": frames, "boxes": boxes, "stages_ms": means}

    return run


def bare(writing: str, clip: str, model: str, folder: Path, in_requests: bool = False) -> Run:
    """The raw network alone, on inputs made beforehand."""
    import numpy as np
    import onnxruntime

    from edgevision.pipeline import ThreadBudget

    settings, requests = onnxruntime.SessionOptions(), 1
    if in_requests:
        budget = ThreadBudget.of(for_throughput=True)
        requests, settings.intra_op_num_threads = budget.requests, budget.engine // budget.requests
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    video = cv2.VideoCapture(clip)
    inputs = []
    while True:
        there, frame = video.read()
        if not there:
            break
        small = cv2.resize(frame, (INPUT, INPUT))
        inputs.append(np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255)

    def run(limit: int | None) -> Figures:
        with ThreadPoolExecutor(requests) as threads:
            for _ in threads.map(lambda image: session.run(None, {entry: image}), inputs[:limit]):
                pass
        return {"frames": len(inputs[:limit]), "boxes": None, "stages_ms": {}}

    return run


if __name__ == "__main__":
    sys.exit(main())
