"""The page in a real browser."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from edgevision.web.hub import Hub
from edgevision.web.passwords import Passwords, hash_password
from tests.support.pipeline import run_statistics, stream_statistics
from tests.support.web import BITS, Feeder, ReverseProxy, browser_page, chromium, open_view, served

pytest.importorskip("playwright", reason="needs Playwright, of the development tools")
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium-headless-shell")

# Compares the number in each image that is shown with the number of the results that are drawn on it.
WATCH = """(bits) => {
  const [player] = edgevision.players;
  const pen = new OffscreenCanvas(bits, 2).getContext('2d', {willReadFrequently: true});
  window.seen = [];
  const show = player.showAt.bind(player);
  player.showAt = (time, exact) => {
    show(time, exact);
    pen.drawImage(player.canvas, 0, 0, bits, 2);
    const pixels = pen.getImageData(0, 0, bits, 1).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit++) number |= (pixels[4 * bit] > 128) << bit;
    window.seen.push([number, player.shown.found?.index ?? null]);
  };
}"""


# Holds what the socket brings, until it is carried again.
CUT_OFF = """() => {
  const [player] = edgevision.players, take = player.take.bind(player), held = [];
  player.take = (data) => held.push(data);
  window.carryAgain = () => { player.take = take; held.splice(0).forEach(take); };
}"""


def running(hub: Hub, rate: float = 25.0) -> Any:
    view = open_view(hub, "gate", rate)
    hub.read = lambda: run_statistics(stream_statistics("gate"))
    return view


def test_boxes_are_of_the_frame_that_is_shown_and_nobody_hidden_is_encoded_for() -> None:
    hub = Hub()
    view = running(hub, 15.0)
    with served(hub) as server, Feeder(view.tile, 15.0) as feeder, browser_page() as page:
        page.goto(server.url)
        page.wait_for_function("() => [...edgevision.players].some((one) => one.counts.shown > 3)")
        page.evaluate(WATCH, BITS)
        page.wait_for_function("() => window.seen.length >= 60", timeout=30_000)
        seen = page.evaluate("() => window.seen")
        assert [pair for pair in seen if pair[0] != pair[1]] == []
        assert len({pair[0] for pair in seen}) > 40
        assert page.evaluate("() => [...edgevision.players][0].video.playbackRate") == 1
        # Falls behind, and catches up: it plays on at once, and seeks where that was too late.
        page.evaluate("() => { [...edgevision.players][0].video.pause(); }")
        page.wait_for_timeout(1500)
        page.wait_for_function(
            "(number) => window.seen.at(-1)[0] > number", arg=feeder.number, timeout=20_000
        )
        # Cut off, and all that was held comes at once: within a second of the newest image again.
        page.evaluate(CUT_OFF)
        page.wait_for_timeout(2500)
        page.evaluate("() => window.carryAgain()")
        near = "() => [...edgevision.players][0].counts.delay_ms.slice(-3).every((ms) => ms < 1000)"
        shown = page.evaluate("() => window.seen.length")
        page.wait_for_function("(count) => window.seen.length > count + 3", arg=shown, timeout=20_000)
        page.wait_for_function(near, timeout=20_000)
        assert page.evaluate("() => [...edgevision.players][0].video.playbackRate") == 1
        # A new size, and the camera's clock ten hours on: neither needs a new page.
        feeder.size = (640, 360)
        page.wait_for_function("() => [...edgevision.players][0].size.width === 640", timeout=20_000)
        feeder.jump_s = 36_000
        page.wait_for_function("() => [...edgevision.players][0].video.currentTime > 36000", timeout=20_000)
        # The source begins again, with its own times and numbers: a new tile in the same page.
        view.tile.close()
        page.evaluate("() => { window.seen.length = 0; }")
        with Feeder(running(hub, 15.0).tile, 15.0):
            page.wait_for_function("() => window.seen.length > 5", timeout=20_000)
            again = page.evaluate("() => [...edgevision.players][0].video.currentTime")
            assert again < 1000
            page.goto(server.url + "#state")
            page.get_by_text("frames a second").first.wait_for()
        assert page.problems == []


# As on an iPhone: only ManagedMediaSource, which does not open for a video that can play elsewhere.
MANAGED = """() => {
  const Real = window.MediaSource;
  class Managed extends Real {}
  delete window.MediaSource;
  window.ManagedMediaSource = Managed;
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'src');
  Object.defineProperty(HTMLMediaElement.prototype, 'src', {...source, set(value) {
    if (this.disableRemotePlayback) source.set.call(this, value);
  }});
}"""


def test_without_media_source_jpegs_are_shown_in_many_tiles_and_managed_media_source_is_enough() -> None:
    hub = Hub()
    views = [open_view(hub, name, 5.0) for name in "abcdefg"]
    hub.read = lambda: run_statistics(*(stream_statistics(view.name) for view in views))
    shown = "(count) => [...edgevision.players].filter((one) => one.counts.shown > 5).length === count"
    with served(hub) as server, contextlib.ExitStack() as feeders, browser_page() as page:
        for view in views:
            feeders.enter_context(Feeder(view.tile, 5.0))
        page.add_init_script("delete window.MediaSource; delete window.ManagedMediaSource;")
        page.goto(server.url)
        page.wait_for_function(shown, arg=len(views), timeout=90_000)
        assert page.evaluate("() => [...edgevision.players][0].kind") == "jpeg"
        assert sum(view.tile.counts.encoded for view in views) == 0
        # JPEGs come at the rate of the camera; a busy machine shows fewer of them.
        count = "() => [...edgevision.players].map((one) => one.counts.shown)"
        before = page.evaluate(count)
        page.wait_for_function(
            "(before) => [...edgevision.players].every((one, i) => one.counts.shown >= before[i] + 10)",
            arg=before, timeout=30_000,
        )  # fmt: skip
        # More than six streams of one host leave room for other requests, also of a second tab.
        second = page.context.new_page()
        second.goto(server.url + "#state")
        second.get_by_text("frames a second").first.wait_for()
        second.close()
        assert page.problems == []
        managed = page.context.new_page()
        managed.add_init_script(f"({MANAGED})()")
        page.close()
        managed.goto(server.url)
        managed.wait_for_function(shown, arg=len(views), timeout=90_000)
        assert managed.evaluate("() => [...edgevision.players][0].kind") == "h264"


def test_logging_in_and_a_wrong_password() -> None:
    hub = Hub()
    running(hub)
    with (
        served(hub, passwords=Passwords((hash_password("correct horse"),))) as server,
        browser_page() as page,
    ):
        page.goto(server.url)
        page.get_by_label("Password").fill("wrong horse")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("the password is not right").wait_for()
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="gate").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Password").wait_for()
        assert page.problems == []


def test_it_works_below_a_folder_of_another_server() -> None:
    hub = Hub()
    view = running(hub, 10.0)
    names = ("cam.example.org", "127.0.0.1")
    with served(hub, names=names) as server, Feeder(view.tile, 10.0), browser_page() as page:
        proxy = ReverseProxy(server.port, "cam.example.org:8443")
        page.goto(f"http://127.0.0.1:{proxy.port}/cameras/")
        page.wait_for_function("() => [...edgevision.players].some((one) => one.counts.shown > 5)")
        page.get_by_role("link", name="State").click()
        page.get_by_text("frames a second").first.wait_for()
        page.reload()
        page.get_by_text("frames a second").first.wait_for()
        assert page.problems == []
        proxy.close()
