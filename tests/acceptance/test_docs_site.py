"""The site: it is built without a warning, its links lead somewhere, and it asks nobody for anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

import edgevision as ev
from edgevision.cli.app import Commands
from edgevision.session.spec import StreamEntry
from tests.support.paths import ROOT

for needed in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(needed, reason="needs the dependency group 'docs'")

TAG = re.compile(r"<(a|link|script|img|iframe)\b[^>]*?\b(href|src)=\"?([^\" >]+)")
ANCHOR = re.compile(r"\bid=\"?([^\" >]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def targets(page: Path) -> Iterator[tuple[str, str]]:
    """Each tag of a page that leads to something, with what it leads to."""
    for tag, _, target in TAG.findall(page.read_text(encoding="utf-8")):
        yield tag, unescape(target)


def test_every_link_leads_to_a_file_and_a_place_in_it(site: Path) -> None:
    pages = {page: set(ANCHOR.findall(page.read_text(encoding="utf-8"))) for page in site.rglob("*.html")}
    assert len(pages) > 25
    broken = []
    for page in pages:
        if page.name == "404.html":  # is read at any depth, so its links begin at the root
            continue
        for _, target in targets(page):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, place = unquote(target).partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.is_file() or (place and file in pages and place not in {*pages[file], "__skip"}):
                broken.append((str(page.relative_to(site)), target))
    assert broken == []


def test_no_page_loads_anything_from_another_machine(site: Path) -> None:
    loaded = [
        target
        for page in site.rglob("*.html")
        for tag, target in targets(page)
        if tag != "a" and re.match(r"(https?:)?//", target)
    ]
    assert loaded == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"@import|url\([\"']?(https?:)?//", styles)


def test_the_search_knows_the_pages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert {"guides/zones.html", "reference/cli.html"} <= {one["location"] for one in index["docs"]}


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert len(Commands.places) > 15
    for name in Commands.places:
        assert f'id="edgevision-{name}"' in page


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in set(ev.__all__) - {"__version__"}:
        assert re.search(rf'id="?edgevision\.[\w.]*\.{name}"', page), name


def test_every_key_of_streams_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "yaml.html").read_text(encoding="utf-8")
    for key in StreamEntry.__struct_encode_fields__:
        assert f"<code>{key}</code>" in page, key
