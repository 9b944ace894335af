"""Draws docs/images/families.svg: what the families reach against the time of a frame.

Reads docs/models/families.json, which has the rows of the table of docs/models/families.md. A family whose
time or figure was not measured has no point; the program names it.

    .venv/bin/python tools/families_chart.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from needed import installed

with installed():
    import msgspec

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "models" / "families.json"
CHART = ROOT / "docs" / "images" / "families.svg"

PANELS = {"ap50_mean": "Detectors: ap50_mean on val", "miou": "Segmenters: mean IoU on CamVid val"}
OTHERS = "What classifies, each by its own measure"
TICKS = (1, 2, 5, 10, 20, 50, 100)
"""Milliseconds that are written along the axis."""
LINE = 0.1
"""Height of a label, as a share of the highest figure of its panel."""


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


def panels(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows by the measure that makes their heights comparable; what classifies shares a panel."""
    found: dict[str, list[Row]] = {title: [] for title in [*PANELS.values(), OTHERS]}
    for row in rows:
        found[PANELS.get(row.measure or "", OTHERS)].append(row)
    return {title: members for title, members in found.items() if members}


def draw(rows: list[Row], path: Path) -> None:
    """Writes the chart as an SVG, which has no date in it, so that the same figures give the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "families"})
    groups = panels(rows)
    chart = Figure(figsize=(7.2, 2.9 * len(groups)), layout="constrained")
    for axes, (title, members) in zip(
        chart.subplots(len(groups), sharex=True, squeeze=False)[:, 0], groups.items(), strict=True
    ):
        highest, label_y = max(row.value or 0 for row in members), -1.0
        for row in sorted(members, key=lambda row: row.value or 0):
            x, y = row.cpu_ms or 0, row.value or 0
            axes.plot(x, y, "o", color="#1f6feb", markersize=7)
            label_y = max(y, label_y + LINE * highest)  # above the one before, so that none lie on each other
            axes.text(1.09 * x, label_y, row.label, va="center")
        axes.set_ylim(-0.05 * highest, 1.15 * highest)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(1, 8 * max(row.cpu_ms or 0 for row in rows))
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.set_xlabel("processor time of a frame, ms, logarithmic (ONNX Runtime, one thread)")
    chart.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    rows = read_rows()
    points = drawn(rows)
    draw(points, CHART)
    print(f"{CHART}: {len(points)} families")  # noqa: T201
    left = [row.family for row in rows if row not in points]
    print(f"without a point, for want of a time or a figure: {', '.join(left)}")  # noqa: T201


if __name__ == "__main__":
    main()
