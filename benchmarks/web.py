"""What the page costs a run: nobody, one and eight viewers, and memory after many who came and left.

    python benchmarks/web.py [--seconds 10] [--size 1280x720] [--rate 25] [--opens 1000] [--json PATH]

Frames are written to a tile at a rate, from one process; the viewers are another one. For each number of
viewers: CPU time of the run's process per frame and the images that were encoded. ``none`` writes the frames
to no tile at all, which is a run without a page. Memory is resident, after garbage collection, before and
after OPENS sockets were opened and closed.

Prints JSON.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time

import numpy as np
from common import Figures, machine, new_parser, report

from edgevision.soak.process import give_back_freed_memory, read_sample
from edgevision.types import Detections, Frame, FrameResult
from edgevision.units import image_size
from edgevision.video.base import SourceInfo
from edgevision.web.hub import Hub
from edgevision.web.live import Tile
from edgevision.web.server import WebServer
from edgevision.web.settings import WebSettings

_VIEWERS = """
import contextlib, sys, threading, time
from websockets.sync.client import connect
url, count, opens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(opens):
    with connect(url, max_size=None):
        pass
def look():
    with contextlib.suppress(Exception), connect(url, max_size=None) as socket:
        while True:
            socket.recv()
for _ in range(count):
    threading.Thread(target=look, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def viewers(server: WebServer, count: int, opens: int = 0):  # type: ignore[no-untyped-def]
    """A process whose viewers look on."""
    url = f"ws://127.0.0.1:{server.port}/api/streams/gate/live"
    command = [sys.executable, "-c", _VIEWERS, url, str(count), str(opens)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def write_frames(tile: Tile | None, results: list[FrameResult], seconds: float, rate: float) -> Figures:
    """CPU time of this process per frame, in milliseconds, while frames go to a tile."""
    count = max(2, round(seconds * rate))
    encoded = 0 if tile is None else tile.counts.encoded
    start, cpu = time.monotonic(), time.process_time()
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        result = results[number % len(results)]
        frame = Frame(result.frame.image, number, round((start + number / rate) * 1e9), "gate")
        if tile is not None:
            tile.write(FrameResult(frame, result.results), frame.image)
    cpu_ms = (time.process_time() - cpu) * 1e3 / count
    done = 0 if tile is None else tile.counts.encoded - encoded
    return {"frames": count, "cpu_ms_per_frame": round(cpu_ms, 3), "encoded": done}


def memory_mib() -> float:
    gc.collect()
    give_back_freed_memory()
    return round(read_sample(0.0).memory_mib, 2)


def measure(seconds: float, size: tuple[int, int], rate: float, opens: int) -> Figures:
    """All of it."""
    width, height = size
    dice = np.random.default_rng(0)
    stripes = dice.integers(0, 255, (height, 1, 3), np.uint8).repeat(width, axis=1)
    boxes = np.array([[10.0 * i, 10, 10.0 * i + 40, 60] for i in range(10)], np.float32)
    found = Detections(boxes, np.full(10, 0.9, np.float32), np.zeros(10, np.int32), ("a",))
    images = [np.roll(stripes, 4 * i, axis=0) for i in range(8)]
    results = [FrameResult(Frame(image, i, i), (found,)) for i, image in enumerate(images)]
    figures: Figures = {"machine": machine(), "size": f"{width}x{height}", "rate": rate}
    hub = Hub()
    tile = hub.open_view("gate", SourceInfo("gate", is_live=True, frame_rate=rate), []).tile
    figures["none"] = write_frames(None, results, seconds, rate)
    with WebServer(hub, WebSettings(port=0)) as server:
        for count in (0, 1, 8):
            with viewers(server, count):
                figures[f"viewers_{count}"] = write_frames(tile, results, seconds, rate)
        time.sleep(1.0)
        before = memory_mib()
        with viewers(server, 0, opens):
            write_frames(tile, results, 1.0, rate)
        time.sleep(1.0)
        figures["memory"] = {"opens": opens, "before_mib": before, "after_mib": memory_mib()}
        figures["viewers_left"] = tile.viewers
    return figures


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = new_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=image_size, default=(1280, 720))
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--opens", type=int, default=1000)
    given = parser.parse_args()
    return report(lambda: measure(given.seconds, given.size, given.rate, given.opens), given.json)


if __name__ == "__main__":
    sys.exit(main())
