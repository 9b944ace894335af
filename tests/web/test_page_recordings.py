"""Recordings in a real browser: boxes are of the image that is shown, while it plays and where it stands."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import av
import pytest

from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.video.base import SourceInfo
from edgevision.web.drawings import Describer
from edgevision.web.hub import Hub
from edgevision.web.recording_routes import RecordingRoutes, recorded_files
from tests.support.pipeline import run_statistics, stream_statistics
from tests.support.web import BITS, browser_page, chromium, numbered_result, open_view, served

pytest.importorskip("playwright", reason="needs Playwright, of the development tools")
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium-headless-shell")

RATE = 15.0

# Reads the number in the canvas, where image and boxes are, after each image that is drawn.
WATCH = """(bits) => {
  const [replay] = edgevision.replays;
  const pen = new OffscreenCanvas(bits, 2).getContext('2d', {willReadFrequently: true});
  window.seen = [];
  const redraw = replay.redraw.bind(replay);
  replay.redraw = () => {
    redraw();
    if (!replay.image.frame) return;
    pen.drawImage(replay.canvas, 0, 0, bits, 2);
    const pixels = pen.getImageData(0, 0, bits, 1).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit++) number |= (pixels[4 * bit] > 128) << bit;
    if (replay.shown.found) window.seen.push([number, replay.shown.found.index]);
  };
}"""


def record(folder: Path, count: int) -> None:
    """Numbered images without drawings, and what was found in them beside."""
    info = SourceInfo("gate", is_live=True, width=320, height=240, frame_rate=RATE)
    store, describe = SegmentStore(folder, "gate"), Describer(lambda: None)
    with Recorder(store, info, Rotation(), describe=describe) as recorder:
        for number in range(count):
            result = numbered_result(number, RATE)
            recorder.write(result, result.frame.image)


def test_boxes_of_a_recording_are_of_the_image_that_is_shown(tmp_path: Path) -> None:
    record(tmp_path, 120)
    hub = Hub()
    view = open_view(hub, rate=RATE)
    view.recordings, view.stem = tmp_path, "gate"
    hub.read = lambda: run_statistics(stream_statistics("gate"))
    with served(hub, RecordingRoutes(hub).routes) as server, browser_page(700, 900) as page:
        page.goto(server.url + "#recordings")
        page.get_by_role("button", name="Play").first.wait_for()
        page.evaluate(WATCH, BITS)
        page.get_by_role("button", name="Play").last.click()
        page.get_by_label("speed").select_option("1/4")  # a busy machine shows enough of it, too
        page.wait_for_function("() => window.seen.length >= 12", timeout=30_000)
        page.get_by_role("group", name="playback").get_by_role("button", name="Pause").click()
        for share in (0.7, 0.2, 0.45):  # jumps, with the keys' way of moving a slider
            before = page.evaluate("() => window.seen.length")
            page.get_by_label("position").fill(f"{share * 8:.1f}")
            page.wait_for_function("(count) => window.seen.length > count", arg=before, timeout=20_000)
            assert abs(page.evaluate("() => window.seen.at(-1)[0]") - share * 120) <= 2
        # Another choice of what is drawn, while it stands.
        page.get_by_label("labels").uncheck()
        page.wait_for_timeout(100)
        seen = page.evaluate("() => window.seen")
        assert [pair for pair in seen if pair[0] != pair[1]] == []
        assert len({number for number, _ in seen}) > 12
        assert page.get_by_text("0:08").count() == 1
        page.get_by_role("button", name="Full").click()
        box = page.locator(".tile.full").bounding_box()
        assert (box["width"], box["height"]) == (700, 900)
        page.keyboard.press("Escape")
        assert page.locator(".tile.full").count() == 0
        # A part, by the clock of whoever looks, with its boxes.
        (file,) = recorded_files(view)
        for label, ms in (("from", file.start_ms), ("to", file.start_ms + 9_000)):
            moment = datetime.fromtimestamp(ms // 1000).isoformat()
            page.get_by_label(label, exact=True).fill(moment)
        downloads: list[Any] = []
        page.on("download", lambda one: downloads.append(one))
        page.get_by_role("button", name="Download this part").click()
        for _ in range(100):
            if len(downloads) == 2:
                break
            page.wait_for_timeout(100)
        names = sorted(one.suggested_filename for one in downloads)
        assert [name.partition(".")[2] for name in names] == ["boxes.jsonl", "mp4"]
        part = next(one for one in downloads if one.suggested_filename == names[1])
        with av.open(str(part.path())) as container:
            assert sum(1 for _ in container.decode(video=0)) > 90
        # Where a browser gives no image, as over plain HTTP from another machine: boxes lie over the video.
        plain = page.context.new_page()
        plain.add_init_script("delete window.VideoFrame")
        plain.goto(server.url + "#recordings")
        plain.get_by_role("button", name="Play").first.click()
        plain.wait_for_function("() => [...edgevision.replays][0].counts.matched > 3", timeout=30_000)
        assert plain.evaluate("() => [...edgevision.replays][0].image.frame") is None
        assert page.problems == []
