"""Long cases of the page: what takes a browser, minutes, or a server that fails. See benchmarks/web.py."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from common import Figures
from web_servers import address_of, read_back, size_of, start_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgevision.events import EventKind
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.session.request import RunRequest
from edgevision.session.run import Session
from edgevision.session.spec import StreamSpec
from edgevision.tracking import load_zones
from edgevision.types import Detections, FrameResult
from edgevision.video.base import SourceInfo
from edgevision.video.sinks.network import NetworkSink, target_of
from edgevision.video.sinks.open import open_sink
from edgevision.web.event_records import Entry, Query
from edgevision.web.event_routes import EventRoutes
from edgevision.web.event_store import EventStore
from edgevision.web.hub import Hub
from edgevision.web.settings import WebSettings
from edgevision.web.zone_editing import ZoneRoutes
from tests.support.paths import ROOT
from tests.support.web import BITS, Feeder, ask, browser_page, numbered_result, open_view, served
from tests.web.test_event_store import event

LIVE = SourceInfo("camera", is_live=True, frame_rate=25.0)


@contextlib.contextmanager
def fed(
    count: int,
    rate: float,
    size: tuple[int, int],
    make: Callable[[int], FrameResult] | None = None,
) -> Iterator[tuple[Hub, Any, list[Feeder]]]:
    """A server with streams of numbered frames."""
    hub = Hub()
    views = [open_view(hub, f"s{number}", rate) for number in range(count)]
    from tests.support.pipeline import run_statistics, stream_statistics

    hub.read = lambda: run_statistics(*(stream_statistics(view.name) for view in views))
    with served(hub) as server, contextlib.ExitStack() as stack:
        feeders = [stack.enter_context(Feeder(view.tile, rate, size, make)) for view in views]
        yield hub, server, feeders


def shown(count: int) -> str:
    return f"() => [...edgevision.players].filter((one) => one.counts.shown > 3).length === {count}"


def latency(seconds: float, size: tuple[int, int]) -> Figures:
    """C2: from the frame's arrival at the page's server to the screen, in milliseconds."""
    found: Figures = {}
    for rate in (25.0, 5.0):
        with fed(1, rate, size) as (_, server, _), browser_page() as page:
            page.goto(server.url)
            page.wait_for_function(shown(1), timeout=60_000)
            page.evaluate("() => { [...edgevision.players][0].counts.delay_ms.length = 0; }")
            page.wait_for_timeout(seconds * 1e3)
            delays = page.evaluate("() => [...edgevision.players][0].counts.delay_ms")
            seeks = page.evaluate("() => [...edgevision.players][0].counts.seeks")
        p50, p95 = np.percentile(delays, [50, 95])
        figures = {
            "images": len(delays),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "seeks": seeks,
        }
        found[f"{rate:g}_fps"] = figures
    return found


_WATCH = """(bits) => {
  const [player] = edgevision.players;
  const pen = new OffscreenCanvas(bits, 2).getContext('2d', {willReadFrequently: true});
  window.seen = [];
  const show = player.showAt.bind(player);
  player.showAt = (time, exact) => {
    show(time, exact);
    const {canvas, size} = player, scale = Math.min(canvas.width / size.width, canvas.height / size.height);
    const width = size.width * scale, height = size.height * scale;
    const left = (canvas.width - width) / 2, top = (canvas.height - height) / 2;
    pen.drawImage(canvas, left, top, width, height, 0, 0, bits, 2);
    const pixels = pen.getImageData(0, 0, bits, 1).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit++) number |= (pixels[4 * bit] > 128) << bit;
    window.seen.push([number, player.shown.found?.index ?? null]);
  };
}"""


def frames(count: int) -> Figures:
    """C1: images that are shown with the results of another one, in a tile with bands beside the image."""
    found: Figures = {}
    for rate in (25.0, 5.0, 4.4):
        with fed(1, rate, (320, 240)) as (_, server, _), browser_page(1200, 500) as page:
            page.goto(server.url)
            page.get_by_role("button", name="Full").click()
            page.wait_for_function(shown(1), timeout=60_000)
            page.evaluate(_WATCH, BITS)
            limit_ms = (count / rate * 4 + 60) * 1e3
            page.wait_for_function("(count) => window.seen.length >= count", arg=count, timeout=limit_ms)
            seen = page.evaluate("() => window.seen")
        found[f"{rate:g}_fps"] = {
            "images": len(seen),
            "different": len({number for number, _ in seen}),
            "with_boxes_of_another": sum(index not in (None, number) for number, index in seen),
            "without_boxes": sum(index is None for _, index in seen),
        }
    found["screenshots"] = screenshots(20)
    return found


def screenshots(count: int) -> Figures:
    """The same by what is on screen: in each image the box stands where its number says."""
    places = 8
    streams = fed(1, 5.0, (320, 240), lambda number: boxed_result(number, places))
    with streams as (_, server, _), browser_page(390, 844) as page:
        page.goto(server.url)
        page.wait_for_function(shown(1), timeout=60_000)
        page.get_by_label("labels").uncheck()
        pairs = [_number_and_place(page, places) for _ in range(count)]
    return {"images": count, "with_boxes_of_another": sum(number != place for number, place in pairs)}


def boxed_result(number: int, places: int) -> FrameResult:
    """A numbered frame whose box is in the place of its number, of so many across the lower half."""
    result = numbered_result(number, 5.0)
    left = 320 * (number % places) / places
    box = np.array([[left + 5, 170, left + 320 / places - 5, 220]], np.float32)
    (one,) = result.results
    assert isinstance(one, Detections)
    return dataclasses.replace(result, results=(dataclasses.replace(one, boxes=box),))


def _number_and_place(page: Any, places: int) -> tuple[int, int]:
    page.wait_for_timeout(170)
    data = np.frombuffer(page.locator(".screen").screenshot(), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # the browser has just made it
    image = decoded.astype(int)
    height, width = image.shape[:2]
    row = image[height // 8]
    bits = [row[(2 * bit + 1) * width // (2 * BITS)].mean() > 128 for bit in range(BITS)]
    number = sum(1 << bit for bit, is_set in enumerate(bits) if is_set)
    part = image[height * 5 // 8 :]
    coloured = (part.max(axis=2) - part.min(axis=2) > 60).any(axis=0)
    middle = float(np.flatnonzero(coloured).mean()) if coloured.any() else -1.0
    return number % places, int(middle * places / width)


_KILLED = """
import sqlite3, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from edgevision.web.event_store import EventStore
from tests.web.test_event_store import event
store = EventStore(Path(sys.argv[1]))
other = sqlite3.connect(Path(sys.argv[1]) / "events.sqlite", isolation_level=None, check_same_thread=False)
other.execute("BEGIN EXCLUSIVE")
threading.Timer(10.0, lambda: other.execute("ROLLBACK")).start()
for number in range(int(sys.argv[3])):
    store.add("gate", event(number))
    time.sleep(0.001)
print("ready", flush=True)
time.sleep(600)
"""


def events(count: int, many: int) -> Figures:
    """C15: a foreign lock of ten seconds and a kill while events come; a long list."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", _KILLED, place, str(ROOT), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
        with EventStore(Path(place)) as store:
            wait(lambda: store.delivery().waiting == 0, 120)
            kept = sum(sum(row) for row in store.database.counts(Query(from_ms=0, to_ms=2**42), 1).values())
        now = datetime.now(timezone.utc)
        with EventStore(Path(place) / "many") as store:
            for start in range(0, many, 500):
                batch = [
                    Entry(
                        key=str(number),
                        stream=f"camera {number % 7}",
                        run="r",
                        event=event(number, at=now - timedelta(seconds=20 * number)),
                    )
                    for number in range(start, min(start + 500, many))
                ]
                store.database.write(batch)
            with served(routes=EventRoutes(store).routes) as server:
                to_ms = round(now.timestamp() * 1e3)
                questions = {
                    "first_page": "limit=60",
                    "one_stream": "limit=60&stream=camera+3",
                    "last_hour": f"limit=60&from={to_ms - 3_600_000}&to={to_ms}",
                    "a_week_ago": f"limit=60&from={to_ms - 8 * 86_400_000}&to={to_ms - 7 * 86_400_000}",
                    "no_such_zone": "limit=60&zone=none",
                }
                seconds = {
                    name: min(_asked(f"{server.url}api/events?{query}") for _ in range(5))
                    for name, query in questions.items()
                }
                month = f"from={to_ms - 30 * 86_400_000}&to={to_ms}"
                seconds["timeline_of_30_days"] = min(
                    _asked(f"{server.url}api/events/counts?{month}") for _ in range(5)
                )
    return {"events": count, "lost": count - kept, "listed_of": many, "seconds": seconds}


def _asked(url: str) -> float:
    start = time.monotonic()
    answer = ask(url)
    if answer.status != 200:
        raise RuntimeError(f"{url}: {answer.status}")
    return round(time.monotonic() - start, 4)


def run(seconds: float, rounds: int = 4) -> Figures:
    """A run of ``retinanet-light`` on the demo, alone and with a page that nobody looks at, in turn."""
    found: dict[str, list[tuple[float, float]]] = {"alone": [], "with_page": []}
    with tempfile.TemporaryDirectory() as place:
        for number in range(2 * rounds):
            kind = "with_page" if number % 2 else "alone"
            folder = Path(place) / str(number)
            folder.mkdir()
            request = RunRequest(
                streams=[
                    StreamSpec(source=f"demo://?seconds={seconds:g}", save_json=str(folder / "found.jsonl"))
                ],
                models=["retinanet-light"],
                web=WebSettings(port=0, folder=folder / "page") if number % 2 else None,
            )
            start, cpu = time.monotonic(), time.process_time()
            (outcome,) = Session(request).run()
            assert outcome.statistics is not None
            frames_done = outcome.statistics.written
            spent = (time.monotonic() - start, time.process_time() - cpu)
            found[kind].append((spent[0] * 1e3 / frames_done, spent[1] * 1e3 / frames_done))
    figures: Figures = {}
    for kind, rows in found.items():
        wall, cpu = np.min(rows, axis=0)
        figures[kind] = {"ms_per_frame": round(float(wall), 3), "cpu_ms_per_frame": round(float(cpu), 3)}
    alone, paged = figures["alone"], figures["with_page"]
    for name in ("ms_per_frame", "cpu_ms_per_frame"):
        figures[f"{name}_more_percent"] = round(100 * (paged[name] / alone[name] - 1), 2)
    return figures


_FIRST = """() => {
  const Real = window.WebSocket;
  window.WebSocket = class extends Real {
    constructor(...given) {
      super(...given);
      window.asked_ms = performance.now();
    }
  };
  const look = () => {
    const players = [...(window.edgevision?.players ?? [])];
    if (players.some((one) => one.counts.shown > 0)) window.first_ms = performance.now();
    else requestAnimationFrame(look);
  };
  look();
}"""


def first(count: int) -> Figures:
    """C7: from a tile's connection to its first image, in milliseconds, with a group of two seconds."""
    with fed(1, 25.0, (320, 240)) as (hub, server, _), browser_page() as page:
        (view,) = hub.views()
        other = page.context.new_page()  # somebody looks already, so that a group of images is under way
        other.goto(server.url)
        other.wait_for_function(shown(1), timeout=60_000)
        page.add_init_script(f"({_FIRST})()")
        times = []
        for number in range(count):
            page.goto(f"{server.url}?{number}")
            page.wait_for_function("() => window.first_ms", timeout=60_000)
            times.append(page.evaluate("() => window.first_ms - window.asked_ms"))
            page.wait_for_timeout(137)
        encoded = view.tile.counts.encoded
    late = sum(one > 500 for one in times)
    return {"opens": count, "longest_ms": round(max(times), 1), "over_500_ms": late, "encoded": encoded}


def zones() -> Figures:
    """C14: zones drawn with the mouse on three shapes of image in three windows: how far corners are off."""
    sizes = {"4:3": (320, 240), "16:9": (640, 360), "9:16": (270, 480)}
    wanted = [(0.1, 0.1), (0.9, 0.15), (0.8, 0.9), (0.2, 0.85)]
    farthest, drawn = 0.0, 0
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        hub = Hub(zones_folder=Path(place))
        for name, size in sizes.items():
            view = open_view(hub, name, 2.0)
            view.set_layout = lambda layout: None
            stack.enter_context(Feeder(view.tile, 2.0, size))
        from tests.support.pipeline import run_statistics, stream_statistics

        hub.read = lambda: run_statistics(*(stream_statistics(name) for name in sizes))
        server = stack.enter_context(served(hub, ZoneRoutes(hub).routes))
        page = stack.enter_context(browser_page())
        for width, height in ((1280, 800), (390, 844), (1000, 500)):
            page.set_viewport_size({"width": width, "height": height})
            for view in hub.views():
                page.goto(f"{server.url}?{width}#zones")
                page.wait_for_function("() => document.querySelector('.screen img')?.naturalWidth > 0")
                page.get_by_label("stream").select_option(view.id)
                page.wait_for_function(_HAS_WIDTH, arg=sizes[view.name][0], timeout=60_000)
                for button in page.get_by_role("button", name="remove").all():
                    button.click()
                page.get_by_role("button", name="New zone").click()
                box = page.locator("svg.editor").bounding_box()
                for x, y in wanted:
                    page.locator("svg.editor").click(position=_point(box, sizes[view.name], x, y))
                page.keyboard.press("Enter")
                page.get_by_role("button", name="Save").click()
                page.get_by_text("Saved, and in force.").wait_for(timeout=60_000)
                assert view.zones_file is not None
                (zone,) = load_zones(view.zones_file, view.classes).zones
                drawn += 1
                for found, corner in zip(zone.polygon, wanted, strict=True):
                    farthest = max(farthest, abs(found[0] - corner[0]), abs(found[1] - corner[1]))
    return {"zones": drawn, "farthest_corner_percent": round(100 * farthest, 3)}


_HAS_WIDTH = "(width) => document.querySelector('.screen img').naturalWidth === width"


def _point(box: dict[str, float], size: tuple[int, int], x: float, y: float) -> dict[str, float]:
    """Where a share of an image lies in the box that shows it whole."""
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = (box["width"] - size[0] * scale) / 2, (box["height"] - size[1] * scale) / 2
    return {"x": left + x * size[0] * scale, "y": top + y * size[1] * scale}


class Link:
    """Forwards bytes to a port, until it is cut off; what was under way then waits, as on a lost network."""

    def __init__(self, port: int) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.is_open.set()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.is_open.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


_HIDE = """(is_hidden) => {
  Object.defineProperty(document, 'hidden', {configurable: true, get: () => is_hidden});
  const [{video}] = edgevision.players;
  if (is_hidden) video.pause();
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def behind(seconds: float, size: tuple[int, int]) -> Figures:
    """C3: a link that is cut off, and a page that is hidden: how far behind the newest image it is then."""
    found: Figures = {"seconds": seconds, "size": f"{size[0]}x{size[1]}"}
    with fed(1, 25.0, size) as (_, server, _), browser_page() as page:
        link = Link(server.port)
        page.goto(f"http://127.0.0.1:{link.port}/")
        page.wait_for_function(shown(1), timeout=60_000)
        for kind in ("cut_off", "hidden"):
            page.wait_for_timeout(3_000)
            if kind == "cut_off":
                link.is_open.clear()
            else:
                page.evaluate(_HIDE, arg=True)
            page.wait_for_timeout(seconds * 1e3)
            page.evaluate("() => { [...edgevision.players][0].counts.delay_ms.length = 0; }")
            if kind == "cut_off":
                link.is_open.set()
            else:
                page.evaluate(_HIDE, arg=False)
            began = time.monotonic()
            limit = "() => { const found = [...edgevision.players][0].counts.delay_ms; "
            page.wait_for_function(f"{limit} return found.length && found.at(-1) < 1000; }}", timeout=60_000)
            within_s = time.monotonic() - began
            page.evaluate("() => { [...edgevision.players][0].counts.delay_ms.length = 0; }")
            page.wait_for_timeout(3_000)
            delays = page.evaluate("() => [...edgevision.players][0].counts.delay_ms")
            found[kind] = {
                "less_than_a_second_behind_after_s": round(within_s, 2),
                "behind_then_p50_ms": round(float(np.median(delays))) if delays else None,
            }
        link.close()
        found["page_errors"] = page.problems
    return found


def tiles(count: int) -> Figures:
    """C4: with many tiles open, how long another request takes, also from a second tab, in milliseconds."""
    ask = """async () => {
      const times = [];
      for (let i = 0; i < 20; i++) {
        const begin = performance.now();
        await (await fetch('api/state', {cache: 'no-store'})).text();
        times.push(performance.now() - begin);
      }
      return Math.max(...times);
    }"""
    found: Figures = {}
    for kind in ("h264", "jpeg"):
        with fed(count, 5.0, (320, 240)) as (hub, server, _), browser_page() as page:
            if kind == "jpeg":
                page.add_init_script("delete window.MediaSource; delete window.ManagedMediaSource;")
            page.goto(server.url)
            page.wait_for_function(shown(count), timeout=90_000)
            second = page.context.new_page()
            second.goto(f"{server.url}#state")
            found[kind] = {
                "tiles": count,
                "viewers": sum(view.tile.viewers for view in hub.views()),
                "longest_ms": round(page.evaluate(ask), 1),
                "longest_of_second_tab_ms": round(second.evaluate(ask), 1),
            }
    return found


def buffers(minutes: float) -> Figures:
    """C5: four tiles for long: seconds that the browser holds, and its heap."""
    buffered = """() => Math.max(...[...edgevision.players].map((one) => {
      const ranges = one.buffer?.buffered;
      return ranges?.length ? ranges.end(ranges.length - 1) - ranges.start(0) : 0;
    }))"""
    rows: list[list[float]] = []
    with fed(4, 10.0, (320, 240)) as (_, server, _), browser_page() as page:
        page.goto(server.url)
        page.wait_for_function(shown(4), timeout=90_000)
        session = page.context.new_cdp_session(page)
        start = time.monotonic()
        while (now := time.monotonic() - start) < minutes * 60:
            page.wait_for_timeout(min(30_000, minutes * 10_000))
            session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"]
            rows.append([round(now), round(page.evaluate(buffered), 1), round(heap / 1e6, 2)])
        counts = page.evaluate(
            "() => [...edgevision.players].map(({counts: {shown, unmatched, seeks, errors}}) => "
            "({shown, unmatched, seeks, errors}))"
        )
        problems = list(page.problems)
    heaps = [row[2] for row in rows]
    return {
        "minutes": minutes,
        "longest_buffered_s": max(row[1] for row in rows),
        "heap_mb_after_first_minutes": heaps[min(3, len(heaps) - 1)],
        "heap_mb_at_the_end": heaps[-1],
        "players": counts,
        "page_errors": problems,
    }


_READER = """
import sys, time
from websockets.sync.client import connect
url, kind = sys.argv[1:]
import json
with connect(url, max_size=None, max_queue=None if kind == "reads" else 4, ping_interval=None) as socket:
    print("ready", flush=True)
    if kind == "stops":
        time.sleep(10_000)
    seen = []
    while True:
        data = socket.recv()
        head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
        if head["kind"] == "frame":
            print(head["d"]["index"], flush=True)
"""


def slow(seconds: float, size: tuple[int, int], memory_mib: Callable[[], float]) -> Figures:
    """C10: one viewer stops reading: what another one loses, and how the server grows."""
    with fed(1, 25.0, size) as (hub, server, feeders):
        (tile,) = (view.tile for view in hub.views())
        url = f"ws://127.0.0.1:{server.port}/api/streams/s0/live"
        start = [sys.executable, "-c", _READER, url]
        with subprocess.Popen([*start, "reads"], stdout=subprocess.PIPE, text=True) as reads:
            assert reads.stdout is not None
            reads.stdout.readline()
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.extend(map(int, reads.stdout or ())), daemon=True)
            thread.start()
            time.sleep(5)
            before, skipped = memory_mib(), tile.counts.skipped
            with subprocess.Popen([*start, "stops"], stdout=subprocess.PIPE, text=True) as stops:
                assert stops.stdout is not None
                stops.stdout.readline()
                time.sleep(seconds)
                highest = memory_mib()
                stops.kill()
            reads.kill()
            thread.join(10)
        gaps = seen[-1] - seen[0] + 1 - len(seen)
        return {
            "seconds": seconds,
            "size": "x".join(map(str, size)),
            "images": len(seen),
            "images_not_seen_by_the_other": gaps,
            "of_those_the_encoder_was_late_for": tile.counts.skipped,
            "skipped_before": skipped,
            "memory_before_mib": before,
            "memory_after_mib": highest,
            "written": feeders[0].number,
        }


def bounds() -> Figures:
    """C16: recordings and events beyond their bounds: sizes, and clips that are listed and are not there."""
    rate, keep, keep_bytes = 10.0, 700_000, 1_500_000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        now = datetime.now(timezone.utc)
        with EventStore(folder / "page", keep_bytes=keep_bytes) as store:
            info = SourceInfo("gate", is_live=True, width=320, height=240, frame_rate=rate)
            recorder = Recorder(
                SegmentStore(folder / "clips", "gate", keep),
                info,
                Rotation(seconds=10),
                on_file=lambda path, first_s, age_s: store.add_file("gate", path, first_s, 0),
                describe=lambda result: b'{"index":%d}' % result.frame.index,
            )
            with recorder:
                for number in range(6000):
                    result = numbered_result(number, rate)
                    recorder.write(result, result.frame.image)
                    if number % 50 == 25:
                        found = event(number, EventKind.END, now - timedelta(seconds=600 - number / rate))
                        at_s = number / rate
                        after = msgspec.structs.replace(found.after, first_s=at_s, last_s=at_s + 1.0)
                        store.add("gate", msgspec.structs.replace(found, after=after))
                        (store.database.images / f"{found.id}.jpg").write_bytes(bytes(20_000))
            deadline = time.monotonic() + 60
            while store.delivery().waiting and time.monotonic() < deadline:
                time.sleep(0.1)
            store.database.prune()
            listed = store.database.listed(Query(limit=200))
            clips = [store.database.clip(one.id) for one in listed if one.has_clip]
            dead = sum(clip is None or not clip.path.is_file() for clip in clips)
            late = sum(clip is not None and clip.start_s <= 0 for clip in clips)
            events_size = sum(path.stat().st_size for path in store.database.images.iterdir())
            events_size += (folder / "page" / "events.sqlite").stat().st_size
            clips_size = sum(path.stat().st_size for path in (folder / "clips").glob("gate-*"))
            with served(routes=EventRoutes(store).routes) as server:
                one = next(one.id for one in listed if one.has_clip)
                part = ask(f"{server.url}api/events/{one}/clip.mp4", Range="bytes=0-1")
        return {
            "recordings_bytes": clips_size,
            "recordings_bound": keep,
            "files_removed": recorder._store.removed,
            "events_bytes": events_size,
            "events_bound": keep_bytes,
            "events_listed": len(listed),
            "with_clip": len(clips),
            "dead_clips_listed": dead,
            "clips_that_begin_after_the_object": late,
            "status_of_bytes_0_1": part.status,
        }


class Writer:
    """Writes frames to a sink at 25 a second, and watches how late everything is."""

    def __init__(self, sink: NetworkSink) -> None:
        self.longest_write_ms = self.longest_pause_ms = 0.0
        self.number = 0
        self._sink, self._is_over = sink, threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._write, self._watch)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        start = time.monotonic()
        while not self._is_over.wait(max(0.0, start + self.number / 25 - time.monotonic())):
            result = numbered_result(self.number, 25.0)
            began = time.monotonic()
            self._sink.write(result, result.frame.image)
            self.longest_write_ms = max(self.longest_write_ms, (time.monotonic() - began) * 1e3)
            self.number += 1

    def _watch(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            time.sleep(0.005)
            self.longest_pause_ms = max(self.longest_pause_ms, (time.monotonic() - began) * 1e3 - 5)


def outages(seconds: float, protocols: Sequence[str]) -> Figures:
    """C20: a server that is silent, stopped and killed, and comes back."""
    found: Figures = {
        protocol: {kind: outage(protocol, kind, seconds) for kind in ("none", "silent", "stopped", "killed")}
        for protocol in protocols
    }
    found["hls_after_3_kills"] = hls_after_kills()
    return found


def outage(protocol: str, kind: str, seconds: float) -> Figures:
    """One server that fails, and what the run notices of it; ``none`` is the machine as it is."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as opened:
        return _outage(protocol, kind, seconds, Path(place), opened)


def _outage(protocol: str, kind: str, seconds: float, folder: Path, opened: contextlib.ExitStack) -> Figures:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = int(chosen.getsockname()[1])

    def start() -> subprocess.Popen[str]:
        process = opened.enter_context(start_server(protocol, port, folder))
        opened.callback(process.kill)
        return process

    silent = socket.create_server(("127.0.0.1", port)) if kind == "silent" else None
    process = None if silent else start()
    sink = NetworkSink(target_of(address_of(protocol, port)), LIVE)
    writer = Writer(sink)
    if process is not None:
        wait(lambda: sink.sent > 25 and size_of(folder) > 0, 60)
        if kind in ("stopped", "killed"):
            process.send_signal(signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
    is_prompt = run_promptly()
    writer.longest_write_ms = writer.longest_pause_ms = 0.0
    number, began = writer.number, time.monotonic()
    time.sleep(seconds)
    rate = (writer.number - number) / (time.monotonic() - began)
    found: Figures = {
        "seconds": seconds,
        "rate": round(rate, 2),
        "longest_write_ms": round(writer.longest_write_ms, 1),
        "longest_pause_of_another_thread_ms": round(writer.longest_pause_ms, 1),
        "at_real_time": is_prompt,
    }
    if kind != "none":
        if silent is not None:
            silent.close()
        if kind == "stopped" and process is not None:
            process.send_signal(signal.SIGCONT)
        else:
            start()
        back, size = time.monotonic(), size_of(folder)
        wait(lambda: size_of(folder) > size, 60)
        found["back_after_s"] = round(time.monotonic() - back, 2)
        time.sleep(2)
    writer.close()
    sink.close()
    time.sleep(1)
    found |= {"made": sink.made, "sent": sink.sent, "unsent": sink.unsent}
    found["is_exact"] = sink.made == sink.sent + sink.unsent
    # WebRTC's times are of the session's own clock, which aiortc does not give.
    found["read_back"] = dataclasses.asdict(read_back(folder, has_times=protocol != "whip"))
    return found


def run_promptly() -> bool:
    """Lets no other program delay this one, but not the processes that it starts; False where it may not.

    What still pauses is then the doing of this program: on a busy machine every thread waits for a processor.
    """
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    try:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            os.sched_setscheduler(int(thread), policy, os.sched_param(1))
    except PermissionError:
        return False
    return True


def wait(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def write_hls(folder: Path, count: int) -> None:
    """Writes a playlist of ``count`` images, and goes on until it is killed where ``count`` is 0."""
    with open_sink(str(folder / "live.m3u8"), info=LIVE, overwrite=True) as sink:
        number = 0
        while count == 0 or number < count:
            result = numbered_result(number % 4096, 25.0)
            frame = at_number(result, number)
            sink.write(frame, frame.frame.image)
            number += 1
            time.sleep(0.004)
            wait(lambda: sink.deliveries()[0].waiting < 4, 60)  # none is left out on a busy machine


def at_number(result: FrameResult, number: int) -> FrameResult:
    """The result as that of a later frame."""
    return dataclasses.replace(
        result, frame=dataclasses.replace(result.frame, index=number, timestamp_ns=number * 40_000_000)
    )


def hls_after_kills() -> Figures:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(3):
            with subprocess.Popen([sys.executable, __file__, place], start_new_session=True) as process:
                wait(lambda: len(list(folder.glob("*.ts"))) >= 4, 60)
                os.kill(process.pid, signal.SIGKILL)
        write_hls(folder, 500)
        listed = [line for line in (folder / "live.m3u8").read_text().splitlines() if line.endswith(".ts")]
        # A playlist of six names the last six; one more is kept for who is late, and one is under way.
        return {"listed": len(listed), "segments": len(list(folder.glob("*.ts")))}


if __name__ == "__main__":
    write_hls(Path(sys.argv[1]), 0)
