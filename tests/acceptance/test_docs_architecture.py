"""The page that says where things are names only what is there."""

from __future__ import annotations

import re
from pathlib import Path

import edgevision.session.run
from edgevision.pipeline.ledger import LedgerEntry
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_and_folder_of_the_page_exists() -> None:
    named = {text for text in re.findall(r"`([\w./]+)`", PAGE) if "/" in text}
    assert len(named) > 40
    absent = [text for text in named if not (ROOT / text).exists()]
    assert absent == []


def test_the_runtime_is_on_the_page() -> None:
    """Whoever adds a package to the runtime says there what it is for."""
    packages = {path.parent.name for path in (ROOT / "edgevision").glob("*/__init__.py")}
    unnamed = {name for name in packages if not re.search(rf"\b{name}\b", PAGE)}
    assert unnamed == {"doctor", "soak"}


def test_what_the_page_calls_by_name_is_called_so() -> None:
    for name in ("StreamSpec", "RunRequest", "StreamOutcome", "Scene", "FrameResult", "Sink", "Model"):
        assert f"`{name}`" in PAGE
        sources = (ROOT / "edgevision").rglob("*.py")
        assert any(re.search(rf"^class {name}\b", read(path), re.MULTILINE) for path in sources), name
    assert hasattr(edgevision.session.run.Session, "run")
    assert {"inferred", "dropped", "failed", "waiting"} <= set(LedgerEntry.__struct_fields__)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
