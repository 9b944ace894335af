"""Speed of the whole run relative to the engine alone.

Alternates, in one process and on one clip, between inference alone (inputs letterboxed beforehand, with as
many in flight as in a run of a recording) and the whole run (decode, letterbox, inference, overlay, H.264,
JSON lines) through the same pipeline that ``edgevision run`` uses. Then each stage runs alone, to measure
its CPU time including threads of libraries.

    python benchmarks/end_to_end.py [--source CLIP.mp4] [--model NAME|PATH] [--rounds 5] [--json PATH]

The default clip is the project's reference (768x432) from the shared data if available, otherwise a recording
of the demo (1280x720, where H.264 costs more than twice as much). Prints JSON.
``ratio`` is the median over rounds of the whole run's frames per second relative to inference alone.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import SHARED, Figures, machine, new_parser, report

from edgevision.drawing.overlay import Overlay, render
from edgevision.engines import load_engine
from edgevision.model import Batch, Model
from edgevision.pipeline import Stream, ThreadBudget, run_stream
from edgevision.types import Frame, FrameResult
from edgevision.video import Sink, Source, open_sink, open_source
from edgevision.zoo import default_model, find_model

_KEPT_BYTES = 1 << 30
_REFERENCE = SHARED / "videos" / "03_pedestrians_ahmetozlu.mp4"


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--source", help="a video file; default: see above")
    parser.add_argument("--model", help="name or path; default: the first detector that ships")
    parser.add_argument("--rounds", type=int, default=5, help="over the clip")
    parser.add_argument("--max-frames", type=int, help="use only this many frames of the clip")
    parser.add_argument("--threads", type=int, help="of the engine; default: all cores")
    options = parser.parse_args()

    def measure_model() -> Figures:
        path = find_model(options.model) if options.model else default_model().path
        budget = ThreadBudget.of(options.threads, for_throughput=True)
        budget.apply()
        with (
            load_engine(path, threads=options.threads, requests=budget.requests) as engine,
            tempfile.TemporaryDirectory() as folder,
        ):
            clip = options.source or reference_clip(Path(folder))
            return {
                "model": path.stem,
                "threads": options.threads,
                "requests": budget.requests,
                **measure(Model(engine), clip, options.max_frames, options.rounds),
            }

    return report(measure_model, options.json)


def measure(detector: Model, clip: str, max_frames: int | None, rounds: int) -> Figures:
    """Both speeds, alternating, then the CPU time of each stage."""
    here = machine()
    whole_run(detector, clip, max_frames)  # warms up files, fonts and encoder
    # Before the clip is kept in memory, so that this is what a user sees.
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    batches = prepare(detector, clip, max_frames)
    pairs = []
    for number in range(rounds):
        order = ("alone", "whole") if number % 2 == 0 else ("whole", "alone")
        fps = {}
        for which in order:
            fps[which] = (
                inference(detector, batches) if which == "alone" else whole_run(detector, clip, max_frames)
            )
        pairs.append(fps)
    alone = [pair["alone"] for pair in pairs]
    whole = [pair["whole"] for pair in pairs]
    return {
        "engine": detector.engine.name,
        "clip": Path(clip).name,
        "frames": len(batches),
        "inference_fps": round(statistics.median(alone), 2),
        "whole_fps": round(statistics.median(whole), 2),
        "ratio": round(statistics.median(w / a for a, w in zip(alone, whole, strict=True)), 3),
        "rounds": [{name: round(value, 2) for name, value in pair.items()} for pair in pairs],
        "cpu_ms_per_frame": cpu_by_stage(detector, clip, max_frames),
        "peak_memory_mib": round(peak_mib, 1),
        "machine": here,
    }


def reference_clip(folder: Path) -> str:
    """The default clip; recorded into ``folder`` if the shared data is not available."""
    if _REFERENCE.is_file():
        return str(_REFERENCE)
    clip = str(folder / "demo.mp4")
    with open_source("demo") as source, open_sink(clip, info=source.info) as sink:
        for frame in source:
            sink.write(FrameResult(frame, ()), frame.image)
    return clip


def whole_run(detector: Model, clip: str, max_frames: int | None) -> float:
    """Frames per second of the whole run, closing of the outputs included."""
    with tempfile.TemporaryDirectory() as folder, open_source(clip) as source:
        sinks = [open_output(source, folder, name) for name in ("out.mp4", "out.jsonl")]
        overlays = [Overlay(detector.manifest)]
        stream = Stream(source=source, sinks=sinks, overlays=overlays, max_frames=max_frames)
        return run_stream(stream, [detector]).frames_per_second


def open_output(source: Source, folder: str, name: str) -> Sink:
    return open_sink(str(Path(folder) / name), info=source.info)


def inference(detector: Model, batches: list[Batch]) -> float:
    """Frames per second of the engine alone, with all its requests in flight."""
    with ThreadPoolExecutor(detector.engine.requests) as threads:
        start = time.perf_counter()
        for _ in threads.map(detector.infer, batches):
            pass
        return len(batches) / (time.perf_counter() - start)


def frames_of(clip: str, max_frames: int | None) -> Iterable[Frame]:
    with open_source(clip) as source:
        for frame in source:
            if frame.index == max_frames:
                return
            yield frame


def prepare(detector: Model, clip: str, max_frames: int | None) -> list[Batch]:
    return [detector.prepare([frame.image]) for frame in frames_of(clip, max_frames)]


def frames_that_fit(clip: str) -> int:
    """How many frames of a clip fit in memory twice, as they are and annotated."""
    first = next(iter(frames_of(clip, 1)))
    return max(1, _KEPT_BYTES // (2 * first.image.nbytes))


def cpu_by_stage(detector: Model, clip: str, max_frames: int | None) -> dict[str, float]:
    """CPU milliseconds per frame of each stage alone, threads of libraries included, and of the whole run."""
    limit = min(max_frames or 300, frames_that_fit(clip))
    # What a stage works on is made beforehand and what it makes is thrown away, as in a run: memory that
    # is touched for the first time would cost more than some of the stages.
    kept = list(frames_of(clip, limit))
    batches = [detector.prepare([frame.image]) for frame in kept]
    outputs = [detector.infer(batch) for batch in batches]
    results = [
        FrameResult(frame, tuple(detector.finish(batch, output)))
        for frame, batch, output in zip(kept, batches, outputs, strict=True)
    ]
    overlay = Overlay(detector.manifest)
    images = [render(result, [overlay]) for result in results]

    def letterbox() -> None:
        for frame, batch in zip(kept, batches, strict=True):
            batch.geometry[0].image(frame.image, out=batch.frames[0])

    def postprocess() -> None:
        for batch, output in zip(batches, outputs, strict=True):
            detector.finish(batch, output)

    def draw() -> None:
        for result in results:
            render(result, [overlay])

    def write(name: str) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_source(clip) as source,
            open_output(source, folder, name) as sink,
        ):
            for result, image in zip(results, images, strict=True):
                sink.write(result, image)

    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: deque(frames_of(clip, limit), maxlen=0),
        "letterbox": letterbox,
        "inference": lambda: inference(detector, batches),
        "postprocess": postprocess,
        "overlay": draw,
        "h264": lambda: write("out.mp4"),
        "jsonl": lambda: write("out.jsonl"),
        "whole": lambda: whole_run(detector, clip, len(kept)),
    }
    found = {}
    for name, stage in stages.items():
        start = time.process_time()
        stage()
        found[name] = round((time.process_time() - start) * 1e3 / max(len(kept), 1), 3)
    return found


if __name__ == "__main__":
    sys.exit(main())
