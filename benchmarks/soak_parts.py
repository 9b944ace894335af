"""Which part of the pipeline leaks memory: each part alone, in a loop, in its own process.

    python benchmarks/soak_parts.py [PART ...] [--rounds 60] [--size 160x96] [--json PATH]

Resident memory after each of six batches of ROUNDS rounds, after garbage collection and after freed memory
was returned to the system: a part that leaks nothing shows six equal figures. Caches that fill in the first
batch do not count.

- ``decode``: a file of 25 frames opened, read, closed.
- ``segments``: an MP4 opened, 25 frames written, closed.
- ``endless``: 25 more frames of one MP4 that never ends.
- ``recorder``: the same into files that rotate, the oldest removed.
- ``jsonl``: 25 lines. ``meters``: 25 frames counted and timed.
- ``chaos``: 25 frames with faults of every kind.
- ``detector``: 25 frames through the shipped model. ``overlay``: 25 frames drawn, ten labels each.

Prints JSON: ``mib``, and ``bytes_per_frame`` from the first figure to the last.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from common import Figures, machine, new_parser, report

from edgevision.allocator import give_back_freed_memory, give_back_now
from edgevision.drawing.overlay import Overlay, render
from edgevision.engines import load_engine
from edgevision.engines.fake import fake_manifest
from edgevision.model import Model
from edgevision.pipeline.ledger import FrameLedger
from edgevision.pipeline.meters import RateMeter, StageClock, Tally, TimeHistogram
from edgevision.pipeline.statistics import Stage
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.soak.process import read_sample
from edgevision.types import Detections, Frame, FrameResult, Image
from edgevision.video import open_sink, open_source
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.sources.arrays import ArraySource
from edgevision.video.sources.chaos import ChaosSource, Faults
from edgevision.zoo import default_model

_RATE, _BATCHES, _FRAMES = 25.0, 5, 25
_FAULTS = Faults(drop=0.02, corrupt=0.02, freeze=0.002, resize=0.005, disconnect=0.002)
Round = Callable[[], None]


class Bench:
    """Endless frames, and a folder for files."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self.folder = folder
        self.info = SourceInfo("soak-parts", True, width, height, _RATE)
        dice = np.random.default_rng(0)
        stripes = dice.integers(0, 255, (height, 1, 3), np.uint8).repeat(width, axis=1)
        self.images: list[Image] = [np.roll(stripes, 4 * i, axis=0) for i in range(20)]
        self.frames = self._endless()
        corners = dice.uniform(0, min(width, height) / 2, (10, 2))
        boxes = np.hstack([corners, corners + 10]).astype(np.float32)
        self.found = Detections(
            boxes, np.linspace(0.9, 0.4, 10, dtype=np.float32), np.zeros(10, np.int32), ("a",)
        )

    def _endless(self) -> Iterator[Frame]:
        for i in itertools.count():
            yield Frame(self.images[i % 20], i, round(i * 1e9 / _RATE))

    def feed(self, sink: Sink) -> None:
        for frame in itertools.islice(self.frames, _FRAMES):
            sink.write(FrameResult(frame, (self.found,)), frame.image)

    def write(self, path: Path) -> None:
        with open_sink(str(path), info=self.info, overwrite=True) as sink:
            self.feed(sink)


def decode(bench: Bench) -> Round:
    path = bench.folder / "clip.mp4"
    bench.write(path)

    def read() -> None:
        with open_source(str(path)) as source:
            for _ in source:
                pass

    return read


def segments(bench: Bench) -> Round:
    return lambda: bench.write(bench.folder / "segment.mp4")


def endless(bench: Bench) -> Round:
    sink = open_sink(str(bench.folder / "endless.mp4"), info=bench.info)
    return lambda: bench.feed(sink)


def recorder(bench: Bench) -> Round:
    sink = Recorder(SegmentStore(bench.folder, "yard", 2_000_000), bench.info, Rotation(seconds=10))
    return lambda: bench.feed(sink)


def jsonl(bench: Bench) -> Round:
    sink = open_sink(str(bench.folder / "lines.jsonl"), info=bench.info)
    return lambda: bench.feed(sink)


def meters(bench: Bench) -> Round:
    times, clock, rate, ledger = TimeHistogram(), StageClock(), RateMeter(), FrameLedger()
    tally = Tally()
    result = FrameResult(next(bench.frames), (bench.found,))

    def count() -> None:
        for i in range(_FRAMES):
            times.add(i)
            clock.add(Stage.DECODE, i * 1000)
            tally.add(result)
            rate.tick()
            ledger.capture()
            ledger.infer()
        times.figures()
        clock.figures()
        ledger.entry()

    return count


def chaos(bench: Bench) -> Round:
    class Endless(ArraySource):
        def __iter__(self) -> Iterator[Frame]:
            return bench.frames

    frames = iter(ChaosSource(Endless(bench.images), _FAULTS))

    def take() -> None:
        for _ in range(_FRAMES):
            next(frames)

    return take


def detector(bench: Bench) -> Round:
    model = Model(load_engine(default_model("detection").path))

    def infer() -> None:
        for frame in itertools.islice(bench.frames, _FRAMES):
            model([frame.image])

    return infer


def overlay(bench: Bench) -> Round:
    drawer = Overlay(fake_manifest())

    def draw() -> None:
        for frame in itertools.islice(bench.frames, _FRAMES):
            render(FrameResult(frame, (bench.found,)), [drawer], f"{frame.index} fps")

    return draw


PARTS: tuple[Callable[[Bench], Round], ...] = (
    *(decode, segments, endless, recorder),
    *(jsonl, meters, chaos, detector, overlay),
)


def main() -> int:
    names = [part.__name__ for part in PARTS]
    parser = new_parser(__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=60, help="of a batch; there are six")
    parser.add_argument("--size", default="160x96", help="of a frame in pixels")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(names):
        parser.error(f"no part '{min(unknown)}'; choose from: {', '.join(names)}")
    if options.alone:
        part = PARTS[names.index(options.parts[0])]
        print(json.dumps(measure(part, options.rounds, options.size)))
        return 0
    settings = ["--rounds", str(options.rounds), "--size", options.size, "--alone"]

    def measure_parts() -> Figures:
        here, found = machine(), {}
        for name in options.parts or names:
            command = [sys.executable, __file__, name, *settings]
            found[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        frames = _BATCHES * options.rounds * _FRAMES
        return {"machine": here, "size": options.size, "frames": frames, "parts": found}

    return report(measure_parts, options.json)


def measure(part: Callable[[Bench], Round], rounds: int, size: str) -> Figures:
    """Resident memory before and after each batch, in MiB."""
    give_back_freed_memory()
    width, height = (int(side) for side in size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        step = part(Bench(Path(folder), width, height))
        levels = []
        for _ in range(1 + _BATCHES):
            for _ in range(rounds):
                step()
                if part in (decode, segments):
                    gc.collect()  # as the pipeline does, and as often as something is closed here
            gc.collect()
            give_back_now()
            levels.append(round(read_sample(0.0).memory_mib, 2))
    grown = (levels[-1] - levels[0]) * 2**20
    return {"mib": levels, "bytes_per_frame": round(grown / (_BATCHES * rounds * _FRAMES), 1)}


if __name__ == "__main__":
    sys.exit(main())
