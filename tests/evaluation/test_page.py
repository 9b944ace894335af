"""A page that stands alone: nothing of it is loaded, and what people name things cannot break it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from edgevision.evaluation.page import Page, thumbnail


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_everything_is_inside_and_names_are_text(tmp_path: Path) -> None:
    page = Page("<b>mine</b>")
    page.section("By class")
    page.table(("class", "AP50"), [("<script>alert(1)</script>", "0.5"), ("dog", "-")], bar=1)
    page.warning("3 & more")
    page.images([(thumbnail(np.zeros((600, 900, 3), np.uint8)), '"quoted".jpg')])
    page.write(tmp_path / "report.html")
    reader = Reader()
    reader.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert [source[:22] for source in reader.sources] == ["data:image/jpeg;base64"]
    assert {"<b>mine</b>", "<script>alert(1)</script>", "3 & more", '"quoted".jpg'} <= set(reader.words)
    assert reader.tags.count("span") == 2  # one bar on its scale: a dash has none
