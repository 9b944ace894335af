"""A source without a camera or a download: pans and zooms over three photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import SourceError, UsageError, nearest
from edgevision.extras import local_command, needs_extra
from edgevision.types import Frame, Image
from edgevision.video.base import SourceInfo, SourceReport
from edgevision.video.sources.images import read_image

WIDTH, HEIGHT, FRAME_RATE, SECONDS = 1280, 720, 25, 12.0


@dataclass(frozen=True, slots=True)
class _View:
    """A 16:9 section of a photograph: centre and width, in its pixels."""

    x: float
    y: float
    width: float

    def towards(self, other: _View, share: float) -> _View:
        return _View(
            self.x + share * (other.x - self.x),
            self.y + share * (other.y - self.y),
            self.width + share * (other.width - self.width),
        )


@dataclass(frozen=True, slots=True)
class _Shot:
    """A photograph and the camera movement over it, which keeps the object in view."""

    file: str
    start: _View
    end: _View


_SHOTS = (
    _Shot("astronaut.png", _View(256, 256, 911), _View(256, 158, 511)),
    _Shot("chelsea.png", _View(225, 150, 534), _View(225, 147, 446)),
    _Shot("motorcycle_left.png", _View(370, 250, 890), _View(390, 284, 680)),
)
_MAX_ROUNDS = 100_000
_BLUR = 32  # downscaling factor of the backdrop


class DemoSource(Closeable):
    """Pans and zooms over scikit-image's astronaut, cat and motorcycle, identical on every machine.

    Each photograph gets an equal share of the time, with hard cuts in between, so that every frame shows
    exactly one scene. 1280x720 at 25 frames per second; not live.

    Args:
        seconds: length of one round.
        rounds: number of repetitions.

    Raises:
        SourceError: scikit-image is not installed, or its photographs are missing.
        UsageError: ``seconds`` is not between 0.12 and 3600, or ``rounds`` not between 1 and 100000.
    """

    def __init__(self, seconds: float = SECONDS, rounds: int = 1) -> None:
        if not len(_SHOTS) / FRAME_RATE <= seconds <= 3600:
            raise UsageError(f"demo: seconds is {seconds:g}; expected 0.12 to 3600")
        if not 1 <= rounds <= _MAX_ROUNDS:
            raise UsageError(f"demo: rounds is {rounds}; expected 1 to {_MAX_ROUNDS}")
        self._photos = [read_image(_photo(shot.file)) for shot in _SHOTS]
        self._backdrops = [_backdrop(photo) for photo in self._photos]
        self._count, self._rounds = round(seconds * FRAME_RATE), rounds
        self._closed = False
        self.info = SourceInfo("demo", False, WIDTH, HEIGHT, float(FRAME_RATE), self._count * rounds)
        self.report = SourceReport()

    @classmethod
    def from_uri(cls, uri: str) -> DemoSource:
        """``demo``, ``demo://`` or ``demo://?seconds=6&rounds=100``.

        Raises:
            UsageError: an unknown option or an invalid value.
        """
        query = dict(parse_qsl(urlsplit(uri).query, keep_blank_values=True))
        seconds = query.pop("seconds", str(SECONDS))
        rounds = query.pop("rounds", "1")
        for key in query:
            hint = nearest(key, ["seconds", "rounds"]) or "; known options: seconds, rounds"
            raise UsageError(f"demo has no option '{key}'{hint}")
        if not rounds.isdecimal():
            raise UsageError(f"demo: rounds is '{rounds}'; expected a whole number such as 100")
        try:
            return cls(float(seconds), int(rounds))
        except ValueError as error:
            raise UsageError(
                f"demo: seconds is '{seconds}'; expected a number such as {SECONDS:g}"
            ) from error

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count * self._rounds):
            if self._closed:
                return
            shot, step = divmod(index % self._count * len(_SHOTS), self._count)
            image = self._render(shot, step / self._count)
            self.report.read += 1
            yield Frame(image, index, index * 1_000_000_000 // FRAME_RATE, "demo")

    def _render(self, shot: int, share: float) -> Image:
        eased = (1 - math.cos(math.pi * share)) / 2  # accelerates and decelerates smoothly
        view = _SHOTS[shot].start.towards(_SHOTS[shot].end, eased)
        scale = WIDTH / view.width
        # Half-pixel centres avoid jitter and drift.
        to_screen = np.array(
            [
                [scale, 0, WIDTH / 2 - 0.5 - scale * (view.x - 0.5)],
                [0, scale, HEIGHT / 2 - 0.5 - scale * (view.y - 0.5)],
            ]
        )
        screen: Image = self._backdrops[shot].copy()
        cv2.warpAffine(
            self._photos[shot],
            to_screen,
            (WIDTH, HEIGHT),
            dst=screen,
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        return screen

    def close(self) -> None:
        self._closed = True


def _backdrop(photo: Image) -> Image:
    """Fills the area around the photograph with a blurred copy, too coarse to detect anything in."""
    height, width = photo.shape[:2]
    strip = photo[(height - width * HEIGHT // WIDTH) // 2 :][: width * HEIGHT // WIDTH]
    small = cv2.resize(strip, (WIDTH // _BLUR // 2, HEIGHT // _BLUR // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) // 2, np.uint8)


def _photo(name: str) -> Path:
    """The path of a photograph in scikit-image's wheel; its own loaders might try to download."""
    with needs_extra("demo", "the demo, which shows photographs of scikit-image,", SourceError):
        path = Path(str(files("skimage") / "data" / name))
    if not path.is_file():
        command = local_command("pip install -U scikit-image")
        raise SourceError(f"this scikit-image lacks {name}; run: {command}")
    return path
