"""Utilisation of the accelerator, latency of live streams, and fairness between streams.

The accelerator is simulated: a call holds one lock for a fixed time per frame of its batch, like a single
device. Everything else is real: decoding, letterbox, overlay with ten boxes, H.264 and JSON lines at
768x432, through the same pipeline that ``edgevision run`` uses.

    python benchmarks/pipeline.py [--source CLIP.mp4] [--seconds 16] [--live-seconds 60] [--json PATH]

- ``overlap``: frames per second of a file, including opening and closing of its outputs, relative to the
  accelerator alone at 11 ms per frame. 1 means that the accelerator never waits; more is impossible.
- ``latency_p95_ms``: with a frame every 20 ms and 80 ms per frame on the accelerator, from decoding to
  encoding of a frame.
- ``machine.overlap_ceiling``: ``overlap`` with nothing but this machine's delay in waking a thread; on a busy
  machine it shows how reliable the other figures are.
- ``streams_ratio``: throughput of four such files on one accelerator relative to one file, and
  ``streams_spread``: frames of the most served of them relative to the least served.

Prints JSON. The default clip is one of the shared data if available, otherwise it is drawn.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import SHARED, Figures, machine, new_parser, report

from edgevision.drawing.overlay import Overlay
from edgevision.engines.base import Tensors
from edgevision.engines.fake import FakeEngine, fake_manifest, scripted
from edgevision.model import Model
from edgevision.pipeline import LedgerEntry, Pipeline, RunStatistics, StopRequest, Stream, ThreadBudget
from edgevision.types import Detections, Frame, FrameResult
from edgevision.video import Sink, Source, open_sink, open_source
from edgevision.video.base import SourceInfo, SourceReport

FAST_MS, SLOW_MS, LIVE_EVERY_MS, STREAMS = 11.0, 80.0, 20.0, 4
_REFERENCE = SHARED / "videos" / "01_intel_person-bicycle-car-detection.mp4"
_SIZE = (768, 432)
_CLASSES = ("person", "car", "bicycle")


class Accelerator(FakeEngine):
    """One device: holds its lock for ``frame_ms`` for each frame of a batch, so batching gains nothing.

    A real one gains by batching; this is the harder case, and the only one in which throughput over
    ``1 / frame_ms`` cannot exceed 1.
    """

    def __init__(self, frame_ms: float) -> None:
        super().__init__(scripted([_ten_boxes()]), fake_manifest(classes=_CLASSES))
        self._frame_s = frame_ms / 1e3
        self._device = threading.Lock()

    def infer(self, inputs: Tensors) -> dict[str, Any]:
        with self._device:
            end = time.perf_counter() + self._frame_s * len(inputs["frames"])
            outputs = super().infer(inputs)
            time.sleep(max(0.0, end - time.perf_counter()))
        return outputs


class LoopingClip:
    """A clip in a loop, decoded anew each time; with a period it is a live source."""

    def __init__(self, clip: str, name: str, threads: int, period_ms: float | None = None) -> None:
        self._clip, self._threads = clip, threads
        self._period_s = None if period_ms is None else period_ms / 1e3
        with open_source(clip) as source:
            rate = source.info.frame_rate if period_ms is None else 1e3 / period_ms
            self.info = SourceInfo(name, period_ms is not None, source.info.width, source.info.height, rate)
        self.report = SourceReport()
        self._closing = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        start = time.perf_counter()
        index = 0
        while not self._closing.is_set():
            with open_source(self._clip, threads=self._threads) as source:
                for frame in source:
                    if self._period_s is not None:
                        time.sleep(max(0.0, start + index * self._period_s - time.perf_counter()))
                    if self._closing.is_set():
                        return
                    self.report.read += 1
                    moment = round(index * 1e9 / (self.info.frame_rate or 25))
                    yield Frame(frame.image, index, moment, self.info.name)
                    index += 1

    def close(self) -> None:
        self._closing.set()

    def __enter__(self) -> LoopingClip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--source", help="a video file; default: see above")
    parser.add_argument("--seconds", type=float, default=16, help="of each run of files")
    parser.add_argument("--live-seconds", type=float, default=60, help="of the live run")
    parser.add_argument("--threads", type=int, help="budget; default: by the cores")
    options = parser.parse_args()
    return report(
        lambda: measure(options.source, options.seconds, options.live_seconds, options.threads), options.json
    )


def measure(source: str | None, seconds: float, live_seconds: float, threads: int | None) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        clip = source or reference_clip(Path(folder))
        return measure_clip(clip, seconds, live_seconds, threads)


def measure_clip(clip: str, seconds: float, live_seconds: float, threads: int | None) -> Figures:
    here, ceiling = machine(), overlap_ceiling()
    budget, shared = ThreadBudget.of(threads), ThreadBudget.of(threads, STREAMS)
    budget.apply()
    run([LoopingClip(clip, "warm-up", budget.decode)], FAST_MS, budget, frames=50)
    one, one_cpu = run([LoopingClip(clip, "file", budget.decode)], FAST_MS, budget, seconds=seconds)
    files = [LoopingClip(clip, f"file {i}", shared.decode) for i in range(STREAMS)]
    four, four_cpu = run(files, FAST_MS, shared, seconds=seconds)
    camera = LoopingClip(clip, "camera", budget.decode, LIVE_EVERY_MS)
    live, live_cpu = run([camera], SLOW_MS, budget, seconds=live_seconds)
    counts = [stream.frames.inferred for stream in four.streams]
    overlap, shared_overlap = (throughput(one) * FAST_MS / 1e3, throughput(four) * FAST_MS / 1e3)
    stream = live.streams[0]
    return {
        "clip": Path(clip).name,
        "overlap": round(overlap, 4),
        "latency_p95_ms": round(stream.latency.p95_ms, 1),
        "streams_ratio": round(shared_overlap / overlap, 4),
        "streams_spread": round(max(counts) / min(counts), 3),
        "ledger_exact": all(is_exact(one.frames) for run in (one, four, live) for one in run.streams),
        "file": {"accelerator_ms": FAST_MS, **figures(one, one_cpu)},
        "streams": {"accelerator_ms": FAST_MS, "inferred": counts, **figures(four, four_cpu)},
        "live": {
            "accelerator_ms": SLOW_MS,
            "frame_every_ms": LIVE_EVERY_MS,
            "frames": {
                "captured": stream.frames.captured,
                "inferred": stream.frames.inferred,
                "dropped": stream.frames.dropped,
            },
            **figures(live, live_cpu),
        },
        "machine": {**here, "overlap_ceiling": round(ceiling, 4)},
    }


def overlap_ceiling() -> float:
    """Upper limit of ``overlap`` on this machine: a thread that sleeps for 11 ms wakes up late, the more so
    on a busy machine."""
    start = time.perf_counter()
    for _ in range(200):
        time.sleep(FAST_MS / 1e3)
    return 200 * FAST_MS / 1e3 / (time.perf_counter() - start)


def run(
    sources: Sequence[Source],
    accelerator_ms: float,
    budget: ThreadBudget,
    seconds: float | None = None,
    frames: int | None = None,
) -> tuple[RunStatistics, float]:
    """Runs sources into H.264 and JSON Lines; returns statistics and CPU milliseconds per frame."""
    detector = Model(Accelerator(accelerator_ms))
    with tempfile.TemporaryDirectory() as folder:
        streams = [
            Stream(
                source=source,
                sinks=open_outputs(source, Path(folder), budget.encode),
                overlays=[Overlay(detector.manifest)],
                max_frames=frames,
                show_status=source.info.is_live,
            )
            for source in sources
        ]
        pipeline, stop = Pipeline(streams, [detector]), StopRequest()
        timer = threading.Timer(seconds or 3600, lambda: setattr(stop, "reason", "time"))
        timer.daemon = True
        timer.start()
        cpu = time.process_time()
        statistics = pipeline.run(stop)
        cpu = time.process_time() - cpu
        timer.cancel()
        for error in pipeline.errors.values():
            raise error
    return statistics, cpu * 1e3 / max(1, sum(stream.written for stream in statistics.streams))


def open_outputs(source: Source, folder: Path, threads: int) -> list[Sink]:
    return [
        open_sink(
            str(folder / f"{source.info.name}{suffix}"),
            info=source.info,
            encoder_threads=threads,
        )
        for suffix in (".mp4", ".jsonl")
    ]


def throughput(run: RunStatistics) -> float:
    """Frames per second of all streams, from the first request for a frame until all outputs are closed."""
    return sum(stream.written for stream in run.streams) / run.seconds


def figures(run: RunStatistics, cpu_ms: float) -> Figures:
    first = run.streams[0]
    latency = first.latency
    return {
        "fps": round(throughput(run), 2),
        "seconds": round(run.seconds, 2),
        "accelerator_busy": round(run.busy, 4),
        "cpu_ms_per_frame": round(cpu_ms, 2),
        "mean_batch": round(first.mean_batch, 2),
        "latency_ms": {
            "p50": round(latency.p50_ms, 1),
            "p95": round(latency.p95_ms, 1),
            "p99": round(latency.p99_ms, 1),
        },
        "stage_ms": {
            name: {"p50": round(stage.p50_ms, 2), "p95": round(stage.p95_ms, 2)}
            for name, stage in first.stages.items()
        },
    }


def is_exact(entry: LedgerEntry) -> bool:
    settled = entry.inferred + sum(entry.dropped.values()) + sum(entry.failed.values())
    return entry.captured == settled and entry.waiting == 0


def reference_clip(folder: Path) -> str:
    """The default clip; drawn into ``folder`` if the shared data is not available."""
    if _REFERENCE.is_file():
        return str(_REFERENCE)
    clip = str(folder / "drawn.mp4")
    width, height = _SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8 + 60, 3), np.uint8)
    info = SourceInfo("drawn", False, width, height, 25.0, 240)
    with open_sink(clip, info=info) as sink:
        for i in range(240):  # a soft texture that moves sideways costs about what a street costs
            part = noise[:, i // 4 : i // 4 + width // 8]
            image = np.asarray(cv2.resize(part, _SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
            sink.write(FrameResult(Frame(image, i, i * 40_000_000, "drawn"), ()), image)
    return clip


def _ten_boxes() -> Detections:
    """Boxes in a model input of 320x320, spread over the image inside the letterbox."""
    left = np.arange(10, dtype=np.float32) * 28 + 10
    top = 90 + (np.arange(10, dtype=np.float32) * 37) % 100
    boxes = np.stack([left, top, left + 24, top + 40], axis=1)
    scores = np.linspace(0.9, 0.5, 10, dtype=np.float32)
    return Detections(boxes, scores, np.arange(10, dtype=np.int32) % len(_CLASSES))


if __name__ == "__main__":
    sys.exit(main())
