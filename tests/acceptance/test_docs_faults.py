"""docs/reference/faults.md: every test that the table names exists."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "reference" / "faults.md").read_text(encoding="utf-8")


def test_every_row_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Fault ")]
    assert len(rows) > 50
    for row in rows:
        *_, cell, _ = row.split("|")
        named = re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", cell)
        assert any(path for path, _ in named), row
        source = ""
        for path, test in named:
            source = (ROOT / path).read_text(encoding="utf-8") if path else source
            assert not test or f"def {test}(" in source, (row, test)
