"""What the page costs a run, and the long cases of what a browser sees of it.

    python benchmarks/web.py [--cases cost,loads,...] [--seconds 10] [--size 1280x720] [--rate 25]
                             [--opens 1000] [--images 500] [--minutes 30] [--outage 60]
                             [--protocols rtmp,tcp,rtsp,whip] [--json PATH]

``cost``: frames are written to a tile at a rate, from one process; the viewers are another one. For each
number of viewers: CPU time of the run's process per frame and the images that were encoded. ``none`` writes
the frames to no tile at all, which is a run without a page.

``loads``: resident memory, after garbage collection, while the page is loaded OPENS times: all its files, its
state, and a socket with a live image.

The cases of benchmarks/web_cases.py: ``run``, a whole run with a page that nobody looks at, and without one;
``frames``: whether boxes are those of the image that is shown (IMAGES of them at each rate); ``first``: the
time until a tile's first image; ``zones``: drawn on images and in windows of three shapes; ``latency`` to the
screen; ``tiles`` (16 of them, and other requests); ``buffers`` of the browser over MINUTES; ``slow`` (a
viewer that stops reading for OUTAGE seconds); ``behind`` (a link that is cut off, and a page that is hidden,
for OUTAGE seconds); ``bounds`` of recordings and events; ``events``: what a lock and a kill lose, and long
lists; ``outages`` of a server that is streamed to, OUTAGE seconds each and by each of PROTOCOLS, of which
``rtsp`` needs GStreamer's server, and ``whip`` aiortc; where it may, the program then runs at real time, so
that pauses are its own. Those with a browser need Debian's chromium-headless-shell and the development tools.

Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from common import Figures, machine, new_parser, report

from edgevision.allocator import give_back_freed_memory
from edgevision.soak.process import read_sample
from edgevision.types import Detections, Frame, FrameResult
from edgevision.units import image_size
from edgevision.video.base import SourceInfo
from edgevision.web.hub import Hub
from edgevision.web.live import Tile
from edgevision.web.page_files import page_files
from edgevision.web.server import WebServer
from edgevision.web.settings import WebSettings

_VIEWERS = """
import contextlib, sys, threading, time
from websockets.sync.client import connect
import http.client
url, count, opens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
place = url.split("/")[2]
paths = sys.argv[4:]
for _ in range(opens):
    page = http.client.HTTPConnection(place, timeout=60)
    for path in paths:
        page.request("GET", path)
        page.getresponse().read()
    page.close()
    with connect(url, max_size=None) as socket:
        for _ in range(2):
            socket.recv()
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
def viewers(server: WebServer, count: int, opens: int = 0) -> Iterator[None]:
    """A process whose viewers look on."""
    url = f"ws://127.0.0.1:{server.port}/api/streams/gate/live"
    paths = [*page_files(), "/api/session", "/api/state"]
    command = [sys.executable, "-c", _VIEWERS, url, str(count), str(opens), *paths]
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
        shown = FrameResult(frame, result.results)
        if tile is not None:
            tile.write(shown, frame.image)
    cpu_ms = (time.process_time() - cpu) * 1e3 / count
    done = 0 if tile is None else tile.counts.encoded - encoded
    return {"frames": count, "cpu_ms_per_frame": round(cpu_ms, 3), "encoded": done}


def memory_mib() -> float:
    gc.collect()
    give_back_freed_memory()
    return round(read_sample(0.0).memory_mib, 2)


def moving_results(size: tuple[int, int]) -> list[FrameResult]:
    """Frames of moving stripes with ten boxes."""
    width, height = size
    dice = np.random.default_rng(0)
    stripes = dice.integers(0, 255, (height, 1, 3), np.uint8).repeat(width, axis=1)
    boxes = np.array([[10.0 * i, 10, 10.0 * i + 40, 60] for i in range(10)], np.float32)
    found = Detections(boxes, np.full(10, 0.9, np.float32), np.zeros(10, np.int32), ("a",))
    images = [np.roll(stripes, 4 * i, axis=0) for i in range(8)]
    return [FrameResult(Frame(image, i, i), (found,)) for i, image in enumerate(images)]


def cost(seconds: float, size: tuple[int, int], rate: float) -> Figures:
    """What nobody, one and eight viewers cost a run, per frame."""
    results, hub = moving_results(size), Hub()
    tile = hub.open_view("gate", SourceInfo("gate", is_live=True, frame_rate=rate), []).tile
    found: Figures = {"size": f"{size[0]}x{size[1]}", "rate": rate}
    found["none"] = write_frames(None, results, seconds, rate)
    with WebServer(hub, WebSettings(port=0)) as server:
        for count in (0, 1, 8):
            with viewers(server, count):
                found[f"viewers_{count}"] = write_frames(tile, results, seconds, rate)
    return found


def loads(opens: int, size: tuple[int, int], rate: float) -> Figures:
    """Memory over many loads of the page."""
    results, hub = moving_results(size), Hub()
    tile = hub.open_view("gate", SourceInfo("gate", is_live=True, frame_rate=rate), []).tile
    with WebServer(hub, WebSettings(port=0)) as server:
        rows = []
        is_over = threading.Event()

        def feed() -> None:
            while not is_over.is_set():
                write_frames(tile, results, 1.0, rate)

        thread = threading.Thread(target=feed)
        thread.start()
        for part in range(6 if opens >= 100 else 2):  # the first fills caches
            with viewers(server, 0, opens // 5 if part else min(opens, 50)):
                pass
            time.sleep(1.0)
            rows.append(memory_mib())
        left = tile.viewers
        is_over.set()
        thread.join()
    return {"opens": opens, "memory_mib": rows, "viewers_left": left}


def measure(given: argparse.Namespace) -> Figures:
    """The cases that are asked for."""
    figures: Figures = {"machine": machine()}
    for case in given.cases.split(","):
        if case == "cost":
            figures[case] = cost(given.seconds, given.size, given.rate)
        elif case == "loads":
            figures[case] = loads(given.opens, (320, 240), given.rate)
        else:
            import web_cases

            cases: dict[str, Callable[[], Figures]] = {
                "run": lambda: web_cases.run(given.seconds),
                "first": lambda: web_cases.first(20),
                "zones": web_cases.zones,
                "frames": lambda: web_cases.frames(given.images),
                "events": lambda: web_cases.events(10_000, 100_000),
                "latency": lambda: web_cases.latency(given.seconds, given.size),
                "tiles": lambda: web_cases.tiles(16),
                "buffers": lambda: web_cases.buffers(given.minutes),
                "behind": lambda: web_cases.behind(given.outage, given.size),
                "slow": lambda: web_cases.slow(given.outage, given.size, memory_mib),
                "bounds": web_cases.bounds,
                "outages": lambda: web_cases.outages(given.outage, given.protocols.split(",")),
            }
            figures[case] = cases[case]()
        figures[case]["load"] = [round(load, 1) for load in os.getloadavg()]
    return figures


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = new_parser(__doc__)
    parser.add_argument("--cases", default="cost,loads", help="see above")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run of cost, run and latency")
    parser.add_argument(
        "--size", type=image_size, default=(1280, 720), help="of a frame in pixels, default 1280x720"
    )
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second, of cost and loads")
    parser.add_argument("--opens", type=int, default=1000, help="times that loads opens the page")
    parser.add_argument("--images", type=int, default=500, help="of frames, at each rate")
    parser.add_argument("--minutes", type=float, default=30.0, help="of buffers")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds, of slow, behind and outages")
    parser.add_argument("--protocols", default="rtmp,tcp,rtsp,whip", help="of outages")
    given = parser.parse_args()
    return report(lambda: measure(given), given.json)


if __name__ == "__main__":
    sys.exit(main())
