"""The page over a real run: a zone drawn with the mouse counts, an event plays, nothing is forgotten."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgevision.errors import SourceError
from edgevision.pipeline import StopRequest
from edgevision.session.request import RunRequest
from edgevision.session.run import Session, SessionObserver
from edgevision.session.spec import StreamSpec
from edgevision.tracking import load_zones
from edgevision.types import Frame
from edgevision.video.base import Source, SourceInfo, SourceReport
from edgevision.web.settings import WebSettings
from tests.support.broker import wait_until
from tests.support.models import image_with_block, write_colour_model
from tests.support.web import ask, browser_page, chromium

pytest.importorskip("trackers", reason="needs the extra 'track'")
pytest.importorskip("playwright", reason="needs Playwright, of the development tools")
NEEDS_BROWSER = pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium-headless-shell")


class MovingBlock(Source):
    """A camera of ten frames a second: a red block goes from left to right in four seconds, and again."""

    def __init__(self, uri: str = "camera", *_: Any, **__: Any) -> None:
        self.info = SourceInfo(uri, is_live=True, width=320, height=240, frame_rate=10.0)
        self.report = SourceReport()
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while not self._closed.wait(0.1):
            left = 10 + 6 * (number % 40)
            image = image_with_block(320, 240, (left, 100, left + 40, 160))
            self.report.read += 1
            yield Frame(image, number, number * 100_000_000, self.info.name)
            number += 1

    def close(self) -> None:
        self._closed.set()


class Notes(SessionObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    @property
    def url(self) -> str:
        return next(line.removeprefix("page: ") for line in self.lines if line.startswith("page: "))


@contextlib.contextmanager
def running(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept_open: Path | bool = False,
    allow_local: bool = False,
    errors: Sequence[str | None] = (None,),
    **spec: Any,
) -> Iterator[str]:
    """A run of the moving block with its page; gives the page's address. A file keeps the streams.

    ``errors`` are what its streams end with.
    """
    monkeypatch.setattr("edgevision.session.streams.open_source", MovingBlock)
    model = tmp_path / "colours.onnx"
    if not model.exists():
        write_colour_model(model)
    request = RunRequest(
        streams=[StreamSpec(source="camera", name="gate", **spec)],
        models=[str(model)],
        web=WebSettings(port=0, folder=tmp_path / "page", allow_local=allow_local),
        is_kept_open=bool(kept_open),
        append=bool(kept_open),
        streams_file=kept_open if isinstance(kept_open, Path) else None,
    )
    notes, stop = Notes(), StopRequest()
    outcomes: list[Any] = []
    session = Session(request, observer=notes, stop=stop, raises=False)
    thread = threading.Thread(target=lambda: outcomes.extend(session.run()))
    thread.start()
    try:
        wait_until(lambda: any(line.startswith("page: ") for line in notes.lines), "a page", 20)
        wait_until(lambda: bool(ask(notes.url + "api/state").json()["streams"]), "the stream", 20)
        yield notes.url
    finally:
        stop.reason = "test"
        thread.join(20)
    assert [outcome.error and str(outcome.error) for outcome in outcomes] == list(errors)


@NEEDS_BROWSER
def test_a_zone_drawn_with_the_mouse_counts_and_an_event_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "clips"
    with (
        running(
            tmp_path,
            monkeypatch,
            track=True,
            record=str(record),
            record_on="red",
            pre="1s",
            record_drawn=False,
        ) as url,
        browser_page(1000, 800) as page,
    ):
        page.goto(url + "#zones")
        page.wait_for_function("() => document.querySelector('.screen img')?.naturalWidth === 320")
        page.get_by_role("button", name="New zone").click()
        box = page.locator("svg.editor").bounding_box()
        corners = [(0.25, 0.1), (0.75, 0.1), (0.75, 0.9), (0.25, 0.9)]
        for x, y in corners:
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.keyboard.press("Enter")
        page.get_by_label("name of zone-1").fill("middle")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Saved, and in force.").wait_for()
        (zone,) = load_zones(tmp_path / "page" / "zones" / "gate.zones.yaml", ["red"]).zones
        assert zone.name == "middle"
        for found, wanted in zip(zone.polygon, corners, strict=True):
            assert abs(found[0] - wanted[0]) < 0.005
            assert abs(found[1] - wanted[1]) < 0.005
        page.get_by_text("entered").wait_for(timeout=30_000)
        page.goto(url + "#events")
        page.locator(".events button").first.wait_for(timeout=30_000)
        wait_until(lambda: ask(url + "api/events?limit=5").json()["events"][-1]["has_clip"], "a clip", 15)
        page.reload()
        page.locator(".events button").last.click()
        page.locator("dialog video").wait_for()
        assert "[object" not in page.locator("dialog").inner_text()
        page.wait_for_function(
            "() => document.querySelector('dialog video')?.currentTime > 0.2", timeout=30_000
        )
        # Nothing is drawn on the recording; the page draws what was found in the image that is shown.
        matched = """() => {
          const [one] = edgevision.replays;
          return one?.counts.matched > 3 && one.shown.found.boxes?.length;
        }"""
        page.wait_for_function(matched, timeout=30_000)
        assert page.evaluate("() => [...edgevision.replays][0].shown.found.boxes[0][0]") == "red"
        # Where nothing is known of an image, boxes of seconds before are not shown as if they were its own.
        gap = """() => {
          const [one] = edgevision.replays, part = one.part(0), [first] = part.ticks;
          part.ticks = [first];
          part.found = new Map([[first, part.found.get(first)]]);
          return [0.9, 1.1].map((later) => (one.showAt(first / 90000 + later), one.shown.found !== null));
        }"""
        assert page.evaluate(gap) == [True, False]
        page.get_by_role("button", name="Close").click()
        page.goto(url + "#recordings")
        page.get_by_role("button", name="Play").first.click()
        page.wait_for_function(matched, timeout=30_000)
        # The zones that were in force then are drawn too.
        (newest, *_) = ask(url + "api/streams/gate/recordings").json()["files"]
        boxes = ask(f"{url}api/streams/gate/recordings/{newest['name']}/boxes?from=0&to=1000000000").data
        last_s = json.loads(boxes.splitlines()[-1])["t"] / 90_000
        placed = """(last_s) => {
          const [one] = edgevision.replays;
          one.showAt(last_s);
          return one.shown.zones?.zones[0].name === 'middle';
        }"""
        page.wait_for_function(placed, arg=last_s, timeout=30_000)
        page.evaluate("() => [...edgevision.replays][0].open('', 'api/streams/gate/recordings/none/boxes')")
        page.get_by_text("The boxes of this part are missing: there are no boxes").wait_for()
        assert page.problems == []
    state = [path for path in record.iterdir() if path.suffix == ".mp4"]
    assert state


def test_zones_and_events_are_there_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    with running(tmp_path, monkeypatch) as url:  # not tracked, until it has zones
        assert not ask(url + "api/state").json()["streams"][0]["is_tracked"]
        given = {"version": "none", "zones": [{"name": "all", "polygon": square}], "lines": []}
        assert ask(url + "api/streams/gate/zones", given, "PUT").status == 200
        start = time.monotonic()
        wait_until(lambda: bool(ask(url + "api/events").json()["events"]), "an event", 15)
        assert time.monotonic() - start < 10
        (first,) = ask(url + "api/events").json()["events"][-1:]
        assert (first["stream"], first["class_name"], first["zones"]) == ("gate", "red", ["all"])
        assert first["has_image"]
    with running(tmp_path, monkeypatch) as url:
        stream = ask(url + "api/state").json()["streams"][0]
        assert (stream["is_tracked"], stream["has_zones"]) == (True, True)
        listed = ask(url + "api/events").json()["events"]
        assert first["id"] in [one["id"] for one in listed]
        ended = ask(f"{url}api/events/{first['id']}").json()
        assert ended["event"]["is_over"]


class BreakingBlock(MovingBlock):
    """A camera that breaks for good once it is told to."""

    is_broken = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if self.is_broken.is_set():
                raise SourceError("the camera is gone")
            yield frame


@NEEDS_BROWSER
def test_a_stream_that_the_page_adds_runs_and_one_that_breaks_shows_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision.session.running.open_source", BreakingBlock)
    BreakingBlock.is_broken.clear()
    errors = [None, "the camera is gone"]
    with running(tmp_path, monkeypatch, kept_open=True, errors=errors) as url, browser_page() as page:
        page.goto(url + "#streams")
        page.get_by_label("Address of the camera").fill("/etc/passwd")
        page.get_by_role("button", name="Add").click()
        page.get_by_text("the page adds addresses of cameras only").wait_for()
        page.get_by_label("Address of the camera").fill("rtsp://ann:s3cret@yard/1")
        page.get_by_label("Name").fill("yard")
        page.get_by_role("button", name="Add").click()
        page.get_by_text("The stream runs.").wait_for()
        page.goto(url + "#live")
        shown = "() => [...edgevision.players].filter((one) => one.counts.shown > 2).length === 2"
        page.wait_for_function(shown, timeout=30_000)
        assert "s3cret" not in page.content()
        BreakingBlock.is_broken.set()
        tile = page.get_by_label("yard", exact=True)
        tile.get_by_text("ended with an error: the camera is gone").wait_for()
        assert tile.locator(".state").inner_text() == "failed"
        page.get_by_text("1 of 2 streams running, 1 with a problem").wait_for()
        assert page.get_by_label("gate", exact=True).locator(".state").inner_text() == "running"
        assert page.problems == []
