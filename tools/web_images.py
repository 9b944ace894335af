"""Makes the images of the page that docs/guides/web.md shows, from a run of the demo in a real browser.

    .venv/bin/python tools/web_images.py [FOLDER]

Each view, wide and on a phone, is kept in FOLDER (default: build/web) as PNG, to be looked at; the three
images of the guide are put together from them. Needs the extras ``web`` and ``track``, the development tools
and Debian's chromium-headless-shell.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from needed import installed

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

with installed():
    import cv2
    import msgspec
    import numpy as np

    from edgevision.data.images import decode_image
    from tests.support.web import browser_page

IMAGES = ROOT / "docs" / "images"
WIDE, PHONE = (960, 600), (390, 844)
VIEWS = ("live", "events", "zones", "state", "recordings", "streams")
READY = {
    "live": "() => [...edgevision.players].some((one) => one.counts.shown > 3 && one.shown.found?.boxes)",
    "events": "() => document.querySelector('.events img')?.complete",
    "zones": "() => document.querySelector('.screen img')?.naturalWidth > 0",
    "state": "() => document.querySelectorAll('svg.curve path').length > 2",
    "recordings": "() => [...edgevision.replays][0]?.shown.found?.boxes?.length",
    "streams": "() => document.querySelector('tbody button')",
    "event": "() => [...edgevision.replays][0]?.image.frame",
}
_WAIT_MS = 120_000

ZONES = """\
units: relative
zones:
  - name: desk
    polygon: [[0.12, 0.45], [0.62, 0.42], [0.68, 0.97], [0.1, 0.97]]
lines:
  - name: door
    from: [0.8, 0.2]
    to: [0.85, 0.9]
"""
STREAMS = """\
streams:
  - name: hall
    source: demo
    zones: {place}/zones.yaml
    record: {place}/clips
    record_drawn: false
  - name: yard
    source: rtsp://127.0.0.1:9/yard
"""


def main() -> int:
    """Makes all of them; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=ROOT / "build" / "web",
        help="for each view as PNG, default build/web; made if need be",
    )
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as text:
        place = Path(text)
        (place / "zones.yaml").write_text(ZONES)
        (place / "streams.yaml").write_text(STREAMS.format(place=place))
        command = [sys.executable, "-m", "edgevision", "serve", "streams.yaml", "--web", "8089"]
        with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL) as run:
            try:
                look("http://127.0.0.1:8089/", folder)
            finally:
                run.terminate()
    put_together(folder)
    sys.stdout.write(f"each view: {folder}\n")
    return 0


def look(url: str, folder: Path) -> None:
    """Keeps each view, wide and on a phone."""
    wait_for_events(url)
    with browser_page(*WIDE) as page:
        page.set_default_timeout(_WAIT_MS)
        for size, (width, height) in (("wide", WIDE), ("phone", PHONE)):
            page.set_viewport_size({"width": width, "height": height})
            for view in VIEWS:
                page.goto(f"{url}#{view}")
                prepare(page, view)
                page.screenshot(path=str(folder / f"{view}-{size}.png"))
            page.goto(f"{url}#events")
            page.locator(".events button").first.click()
            page.wait_for_function(READY["event"])
            page.screenshot(path=str(folder / f"event-{size}.png"))
            page.goto(f"{url}#live")


def prepare(page: Any, view: str) -> None:
    """Waits for what the view is about."""
    if view == "recordings":
        page.get_by_role("button", name="Play").last.click()
        page.wait_for_function("() => [...edgevision.replays][0].video.readyState > 1")
        page.evaluate(
            "() => { const {video} = [...edgevision.replays][0]; video.pause(); video.currentTime = 1.5; }"
        )
    page.wait_for_function(READY[view])
    page.wait_for_timeout(500)


def wait_for_events(url: str) -> None:
    """Until objects were seen and the run has been watched for a while."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        time.sleep(2)
        try:
            with urllib.request.urlopen(f"{url}api/events", timeout=10) as answer:
                events = msgspec.json.decode(answer.read())["events"]
        except OSError:
            continue
        if any(one["has_clip"] for one in events):
            time.sleep(20)  # which the curves show
            return
    raise SystemExit("no event came")


def put_together(folder: Path) -> None:
    """The images of the guide."""

    def read(name: str, height: int) -> np.ndarray:
        image = decode_image(folder / f"{name}.png")
        width = round(image.shape[1] * height / image.shape[0])
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    save("web-desktop", grid([[read("live-wide", 400), read("event-wide", 400)],
                              [read("zones-wide", 400), read("state-wide", 400)]]))  # fmt: skip
    phone = ("live", "events", "zones", "state")
    save("web-phone", grid([[read(f"{name}-phone", 591) for name in phone]]))
    more = ("recordings", "streams")
    save("web-more", grid([[read(f"{name}-wide", 500), read(f"{name}-phone", 500)] for name in more]))


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Images side by side and below each other, with a grey line between them."""
    return np.vstack([np.hstack([framed(image) for image in row]) for row in rows])


def framed(image: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(image, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(200, 200, 200))


def save(name: str, image: np.ndarray) -> None:
    cv2.imwrite(str(IMAGES / f"{name}.webp"), image, [cv2.IMWRITE_WEBP_QUALITY, 80])


if __name__ == "__main__":
    sys.exit(main())
