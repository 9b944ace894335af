"""Anybody can use the page: WCAG by axe in every view, wide and light, narrow and dark, and keys alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgevision.tracking import load_zones
from edgevision.web.hub import Hub
from edgevision.web.passwords import Passwords, hash_password
from tests.support.broker import wait_until
from tests.support.web import ask, browser_page, chromium, open_view, served
from tests.web.test_page_run import running

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs axe, of the development tools"
)
pytest.importorskip("trackers", reason="needs the extra 'track'")
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs Debian's chromium-headless-shell")

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # It takes the first link of a list that is scrolled to the side for one that skips to the content.
    "rules": {"skip-link": {"enabled": False}},
}
SIZES = {"desktop": (1200, 800, "light"), "phone": (390, 844, "dark")}
READY = {
    "live": "() => [...edgevision.players].some((one) => one.counts.shown > 2)",
    "state": "() => document.querySelectorAll('svg.curve').length > 2",
    "events": "() => document.querySelector('.events img')?.complete",
    "zones": "() => document.querySelector('.screen img')?.naturalWidth > 0",
    "recordings": "() => document.querySelector('tbody button')",
    "streams": "() => document.querySelector('tbody button')",
}


def problems(page: Any, place: str) -> list[str]:
    """What axe finds; a line each. The name of a folder in the environment keeps what was looked at."""
    if folder := os.environ.get("EDGEVISION_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{place}.png"), full_page="phone" in place)
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [
        f"{place}: {one['id']}: {one['help']}: {node['html'][:120]}" for one in found for node in one["nodes"]
    ]


def has_clip(url: str) -> bool:
    return any(one["has_clip"] for one in ask(url + "api/events").json()["events"])


def test_every_view_is_accessible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    record = {"record": str(tmp_path / "clips"), "record_drawn": False}
    with running(tmp_path, monkeypatch, track=True, **record) as url, browser_page() as page:
        wait_until(lambda: has_clip(url), "a clip", 30)
        for size, (width, height, colours) in SIZES.items():
            page.emulate_media(color_scheme=colours)
            page.set_viewport_size({"width": width, "height": height})
            for view, ready in READY.items():
                page.goto(f"{url}#{view}")
                page.wait_for_function(ready, timeout=15_000)
                found += problems(page, f"{view}-{size}")
                assert page.evaluate("() => document.documentElement.scrollWidth") <= width, view
        for view, opener in (("events", ".events button"), ("streams", "tbody button")):
            page.goto(f"{url}#{view}")
            page.locator(opener).first.click()
            page.locator("dialog[open]").wait_for()
            found += problems(page, f"{view}-dialog")
            page.keyboard.press("Escape")
        assert page.problems == []
    assert found == []


def test_logging_in_is_accessible() -> None:
    hub = Hub()
    open_view(hub)
    passwords = Passwords((hash_password("correct horse"),))
    with served(hub, passwords=passwords) as server, browser_page(390, 844) as page:
        page.goto(server.url)
        page.get_by_label("Password").wait_for()
        assert problems(page, "login-phone") == []


def test_a_zone_is_drawn_with_keys_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, monkeypatch) as url, browser_page() as page:
        page.goto(url + "#zones")
        page.wait_for_function(READY["zones"])
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.className") == "skip"
        for _ in range(20):  # over the links of the views and the choice of the stream
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.textContent") == "New zone":
                break
        style = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid"  # the focus is seen
        page.keyboard.press("Enter")
        for keys in ("Space", "ArrowRight ArrowRight Space", "ArrowDown ArrowDown Space", "Enter"):
            for key in keys.split():
                page.keyboard.press(key)
        page.get_by_role("button", name="Save").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Saved, and in force.").wait_for()
        (zone,) = load_zones(tmp_path / "page" / "zones" / "gate.zones.yaml", ["red"]).zones
        assert [(round(x, 3), round(y, 3)) for x, y in zone.polygon] == [
            (0.5, 0.5),
            (0.55, 0.5),
            (0.55, 0.55),
        ]
        assert page.problems == []
