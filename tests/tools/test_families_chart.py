"""The table of the families' page and its chart say what the file of figures beside the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benchmarks import load_tool
from tests.support.paths import ROOT

families_chart = load_tool("families_chart")
PAGE = (ROOT / "docs" / "models" / "families.md").read_text(encoding="utf-8")
ROWS = families_chart.read_rows()


def test_the_table_has_the_rows_of_the_file() -> None:
    begin = PAGE.index("| Family |")
    table = PAGE[begin : PAGE.index("\n\n", begin)].splitlines()
    assert table[2:] == [row.line for row in ROWS]


def test_a_point_is_a_figure_of_its_row() -> None:
    points = families_chart.drawn(ROWS)
    assert len(points) > 1
    for row in points:
        assert f"{row.value:.3f}" in row.figure
        assert row.cpu_ms > 0


def test_the_chart_of_the_page_has_the_points_and_no_other() -> None:
    chart = families_chart.CHART.read_text(encoding="utf-8")
    points = families_chart.drawn(ROWS)
    for row in ROWS:
        assert f">{row.label}<" in chart if row in points else f">{row.family}: " not in chart, row.family


def test_the_same_figures_give_the_same_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        families_chart.draw(families_chart.drawn(ROWS), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
