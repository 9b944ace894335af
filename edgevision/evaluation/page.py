"""Pages of HTML that stand alone: tables, bars and images inside, no script, nothing loaded from outside."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgevision.files import atomic_path
from edgevision.types import Image

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem}
body{color:#1d2430;background:#fff}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid #d5dae2}
table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto;max-width:100%}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #e6e9ee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;background:#f4f6f9}
.scale{display:inline-block;width:6rem;margin-left:.5rem;text-align:left}
.bar{display:inline-block;height:.7rem;background:#3b73b9;vertical-align:middle}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:.8rem}
figure{margin:0}img{max-width:100%;height:auto;display:block}figcaption{font-size:.85rem;color:#55606f}
.warn{background:#fff5df;border-left:4px solid #d99a1c;padding:.4rem .8rem;margin:.4rem 0}
@media(max-width:640px){th,td{padding:.25rem .4rem}th,td:first-child{white-space:normal}.scale{width:3rem}}
@media(prefers-color-scheme:dark){body{color:#dfe5ee;background:#151a21}th{background:#202834}
th,td{border-color:#2d3745}h2{border-color:#2d3745}.warn{background:#3a2f17}figcaption{color:#9aa6b6}}
"""


class Page:
    """One page, filled from top to bottom.

    Args:
        title: its heading.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []

    def section(self, heading: str) -> None:
        """Begins a section."""
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")

    def text(self, line: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{html.escape(line)}</p>")

    def warning(self, line: str) -> None:
        """A paragraph that stands out."""
        self._parts.append(f'<p class="warn">{html.escape(line)}</p>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], bar: int | None = None) -> None:
        """A table; numbers of the column ``bar``, shares of 1, get a bar beside them."""
        cells = "".join(f"<th>{html.escape(one)}</th>" for one in head)
        body = "".join(f"<tr>{self._row(row, bar)}</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>")

    def images(self, images: Iterable[tuple[bytes, str]]) -> None:
        """JPEG or PNG files in a grid, each with a line below."""
        figures = "".join(
            f'<figure><img alt="{html.escape(caption)}" src="{_inline(content)}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for content, caption in images
        )
        self._parts.append(f'<div class="grid">{figures}</div>')

    def image(self, content: bytes, caption: str) -> None:
        """One JPEG or PNG file at its own width."""
        self._parts.append(f'<figure><img alt="{html.escape(caption)}" src="{_inline(content)}"></figure>')

    def write(self, path: Path) -> None:
        """Writes the page.

        Raises:
            SinkError: it cannot be written.
        """
        title = html.escape(self._title)
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
            f"{''.join(self._parts)}</body></html>\n"
        )
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def _row(self, row: Sequence[str], bar: int | None) -> str:
        cells = []
        for position, cell in enumerate(row):
            drawn = ""
            if position == bar and cell.replace(".", "", 1).isdigit():
                width = f"{100 * min(float(cell), 1):.0f}%"
                drawn = f'<span class="scale"><span class="bar" style="width:{width}"></span></span>'
            cells.append(f"<td>{html.escape(cell)}{drawn}</td>")
        return "".join(cells)


def thumbnail(image: Image, side: int = 480) -> bytes:
    """A JPEG of an image, uint8 ``[H, W, 3]`` BGR, no longer than ``side``."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def _inline(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
