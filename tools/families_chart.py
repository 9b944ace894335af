"""Draws docs/images/families.svg: what the families reach against the time of a frame.

Reads docs/models/families.json, which has the rows of the table of docs/models/families.md. A family whose
time or figure was not measured has no point; the program names it.

    .venv/bin/python tools/families_chart.py
"""

from __future__ import annotations

from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "models" / "families.json"
CHART = ROOT / "docs" / "images" / "families.svg"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the table.

    Attributes:
        family, configuration, seen, figure: the first four cells as they are written.
        cpu_ms: processor time of a frame in milliseconds; None where it was not measured.
        measure, value: the figure that is drawn, 0..1; None where none stands for the family.
    """

    family: str
    configuration: str
    seen: str
    figure: str
    cpu_ms: float | None
    measure: str | None
    value: float | None

    @property
    def line(self) -> str:
        """The row in Markdown."""
        time = "" if self.cpu_ms is None else f"{self.cpu_ms} ms"
        cells = (self.family, self.configuration, self.seen, self.figure, time)
        return "| " + " | ".join(cells).rstrip() + " |"

    @property
    def label(self) -> str:
        """What stands beside its point."""
        return f"{self.family}: {self.measure} {self.value:.3f}"


def read_rows(path: Path = FIGURES) -> list[Row]:
    """The rows of the table in their order."""
    return msgspec.json.decode(path.read_bytes(), type=list[Row])


def drawn(rows: list[Row]) -> list[Row]:
    """Those with a time and a figure."""
    return [row for row in rows if row.cpu_ms is not None and row.value is not None]


def draw(rows: list[Row], path: Path) -> None:
    """Writes the chart as an SVG, which has no date in it, so that the same figures give the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "families"})
    chart = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = chart.subplots()
    for row in rows:
        axes.plot(row.cpu_ms, row.value, "o", color="#1f6feb", markersize=8)
        axes.annotate(
            row.label, (row.cpu_ms or 0, row.value or 0), (9, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(0, 1.6 * max(row.cpu_ms or 0 for row in rows))
    axes.set_ylim(0, 1)
    axes.set_xlabel("processor time of a frame, ms (ONNX Runtime, one thread)")
    axes.set_ylabel("figure on val, each by its own measure")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    chart.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    rows = read_rows()
    points = drawn(rows)
    draw(points, CHART)
    print(f"{CHART}: {len(points)} families")  # noqa: T201
    left = [row.family for row in rows if row not in points]
    print(f"without a point, for want of a time or a figure: {', '.join(left)}")  # noqa: T201


if __name__ == "__main__":
    main()
