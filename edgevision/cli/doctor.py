"""``edgevision doctor``: checks this machine and shows how to fix its problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgevision.doctor import Finding

EXIT_PROBLEMS = 1
_WIDTH = len("onnxruntime")
"""Width of the longest name of a check."""


def doctor_command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON: the version and the findings."),
) -> None:
    """Check this machine: GPU, engines, video, cameras, disk. Each problem comes with its fix.

    \b
    Examples:
      edgevision doctor
      edgevision doctor --json > machine.json

    \b
    Exit codes: 0 no problems (notes do not count), 1 at least one problem.
    """
    from edgevision.doctor import examine

    problems = _print_json(examine()) if as_json else _print_report(examine())
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


def _print_json(findings: Iterable[Finding]) -> int:
    """Prints all findings at once; returns the number of problems."""
    from edgevision import __version__
    from edgevision.files import json_text

    found = list(findings)
    problems = sum(finding.status == "problem" for finding in found)
    document = {"edgevision": __version__, "problems": problems, "findings": found}
    typer.echo(json_text(document), nl=False)
    return problems


def _print_report(findings: Iterable[Finding]) -> int:
    """Prints each finding as it arrives, since loading libraries is slow; returns the number of problems."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    colours = {"ok": "green", "note": "yellow", "problem": "bold red"}
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.status] += 1
        line = Text.assemble(
            (f"{finding.status:8}", colours[finding.status]), f"{finding.check:{_WIDTH}}  {finding.found}"
        )
        # Lines are not wrapped, so that they can be copied into shells and reports.
        console.print(line, soft_wrap=True)
        if finding.fix:
            console.print(Text(f"{'':8}{'':{_WIDTH}}  $ {finding.fix}", "cyan"), soft_wrap=True)
    console.print(f"\n{_count(counts['problem'], 'problem')}, {_count(counts['note'], 'note')}")
    return counts["problem"]


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
