"""Links between files of the repository become links between pages of the site."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.paths import ROOT

pytest.importorskip("mkdocs", reason="needs the dependency group 'docs'")
SPEC = importlib.util.spec_from_file_location("docs_site", ROOT / "tools" / "docs_site.py")
assert SPEC is not None
assert SPEC.loader is not None
docs_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs_site)


@pytest.mark.parametrize(
    ("paper", "page", "link", "on_site"),
    [
        ("docs/concepts/trust.md", "concepts/trust.md", "../../SECURITY.md", "../project/security.md"),
        (
            "docs/models/families.md",
            "models/families.md",
            "../../edgevision/zoo/unet-road.md#f",
            "unet-road.md#f",
        ),
        ("docs/index.md", "index.md", "../CHANGELOG.md", "project/changelog.md"),
        ("edgevision/zoo/unet-road.md", "models/unet-road.md", "unet-light.md", "unet-light.md"),
        ("edgevision/zoo/unet-road.md", "models/unet-road.md", "../../docs/models/log.md", "log.md"),
        ("edgevision/zoo/unet-road.md", "models/unet-road.md", "../../docs/images/a.jpg", "../images/a.jpg"),
        ("CHANGELOG.md", "project/changelog.md", "docs/project/upgrading.md", "upgrading.md"),
        (
            "docs/guides/int8.md",
            "guides/int8.md",
            "../benchmarks/int8.md#the-demo",
            "../benchmarks/int8.md#the-demo",
        ),
        ("docs/guides/int8.md", "guides/int8.md", "#below", "#below"),
        (
            "docs/guides/int8.md",
            "guides/int8.md",
            "https://example.org/CHANGELOG.md",
            "https://example.org/CHANGELOG.md",
        ),
    ],
)
def test_a_link_leads_to_the_page_of_its_file(paper: str, page: str, link: str, on_site: str) -> None:
    assert docs_site.linked(f"see [it]({link}).", paper, page) == f"see [it]({on_site})."
