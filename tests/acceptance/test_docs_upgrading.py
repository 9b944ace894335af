"""The page for whoever upgrades: what it says is there now can be imported."""

from __future__ import annotations

import importlib.util
import re

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "project" / "upgrading.md").read_text(encoding="utf-8")


def test_every_module_that_things_moved_to_is_there() -> None:
    rows = PAGE.partition("### Modules that moved")[2].splitlines()
    checked = 0
    for row in (row for row in rows if row.startswith("| `")):
        package = ""
        for name in re.findall(r"`([\w.]+)`", row.split("|")[2]):
            whole = package + name if name.startswith(".") else name
            if whole != "edgevision.open_source":
                assert importlib.util.find_spec(whole) is not None, whole
                package = whole.rpartition(".")[0]
                checked += 1
    assert checked > 60
