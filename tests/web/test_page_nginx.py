"""Behind nginx, below a folder and with the configuration of the guide, in plain and over TLS."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edgevision.tracking import load_zones
from edgevision.web.event_store import EventStore
from edgevision.web.hub import Hub
from edgevision.web.passwords import Passwords, hash_password
from edgevision.web.routes import page_routes
from tests.support.nginx import nginx, proxied
from tests.support.pipeline import run_statistics, stream_statistics
from tests.support.web import Feeder, ask, browser_page, chromium, open_view, served
from tests.web.test_event_store import event
from tests.web.test_page_recordings import record
from tests.web.test_settings import make_certificate

pytest.importorskip("playwright", reason="needs Playwright, of the development tools")
pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium-headless-shell"),
    pytest.mark.skipif(nginx() is None, reason="needs nginx"),
]


def test_every_view_works_below_a_folder_of_nginx(tmp_path: Path) -> None:
    place, clips = tmp_path / "nginx", tmp_path / "clips"
    place.mkdir()
    record(clips, 30)
    cert, key = make_certificate(tmp_path)
    with EventStore(tmp_path / "page") as store:
        store.add("gate", event(1, at=datetime.now(timezone.utc)))
        hub = Hub(store, zones_folder=tmp_path / "zones")
        view = open_view(hub, rate=10.0)
        view.recordings, view.stem = clips, "gate"
        view.set_layout = lambda layout: None
        hub.read = lambda: run_statistics(stream_statistics("gate"))
        passwords = Passwords((hash_password("correct horse"),))
        names = ("127.0.0.1",)  # as `web_name` gives it
        with (
            served(hub, page_routes(hub), passwords=passwords, names=names) as server,
            Feeder(view.tile, 10.0),
            proxied(place, server.port, cert, key) as addresses,
            browser_page(ignore_https_errors=True) as page,
        ):
            for number, url in enumerate(addresses):
                page.context.clear_cookies()
                look_at_everything(page, url, f"zone{number}")
                (zone,) = load_zones(tmp_path / "zones" / "gate.zones.yaml", view.classes).zones
                assert zone.name == f"zone{number}"
            assert page.problems == []
            plain = addresses[0]
            assert ask(plain + "api/state").status == 401
            assert ask(plain + "api/state", Host="attacker.example").status == 421
            login = {"password": "correct horse"}
            assert ask(plain + "api/login", login, Origin="https://attacker.example").status == 403
            assert ask(plain.removesuffix("/")).status == 200  # led on to the folder
    assert "error" not in (place / "error.log").read_text()


def look_at_everything(page: Any, url: str, zone: str) -> None:
    """Logs in, looks at each view, draws a zone, and reloads."""
    page.goto(url)
    page.get_by_label("Password").fill("wrong horse")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("the password is not right").wait_for()
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_function("() => [...edgevision.players].some((one) => one.counts.shown > 5)")
    assert page.evaluate("() => [...edgevision.players][0].kind") == "h264"
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"]) == (url.startswith("https:"), True)
    page.get_by_role("link", name="Events").click()
    page.locator(".events button").first.click()
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Recordings").click()
    page.get_by_role("button", name="Play").last.click()
    page.wait_for_function("() => [...edgevision.replays][0].counts.matched > 0", timeout=30_000)
    page.get_by_role("link", name="Zones").click()
    page.wait_for_function("() => document.querySelector('.screen img')?.naturalWidth > 0")
    for button in page.get_by_role("button", name="remove").all():
        button.click()
    page.get_by_role("button", name="New zone").click()
    box = page.locator("svg.editor").bounding_box()
    for x, y in ((0.3, 0.3), (0.7, 0.3), (0.5, 0.7)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Enter")
    page.get_by_label("name of").first.fill(zone)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved, and in force.").first.wait_for()
    page.get_by_role("link", name="State").click()
    page.reload()
    page.get_by_text("frames a second").first.wait_for()
