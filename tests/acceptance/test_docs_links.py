"""Links of the documents lead to files of the checkout, so that they work where it is read as files."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

PAPERS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "configs/*.md", "docs/**/*.md", "edgevision/zoo/*.md")
    for path in ROOT.glob(pattern)
)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?:\]\(|\b(?:href|src)=\")([^)\"\s]+)")


def relative_links(text: str) -> list[str]:
    """What a paper links to in the same repository, without the place within a file."""
    found = (link.partition("#")[0] for link in LINK.findall(CODE.sub("", text)))
    return [link for link in found if link and not re.match(r"[a-z]+:", link)]


def test_links_are_found_outside_code() -> None:
    text = "[a](b.md#c) ![d](../e.webp) [f](#g) [h](https://i.j) `[k](l.md)`\n```\n[m](n.md)\n```\n"
    assert relative_links(text) == ["b.md", "../e.webp"]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_relative_link_leads_to_a_file(paper: str) -> None:
    links = relative_links((ROOT / paper).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / paper).parent.joinpath(link).is_file()] == []


def test_the_papers_link_to_each_other() -> None:
    assert {"README.md", "docs/index.md", "edgevision/zoo/unet-road.md"} <= set(PAPERS)
    assert sum(len(relative_links((ROOT / paper).read_text(encoding="utf-8"))) for paper in PAPERS) > 100
