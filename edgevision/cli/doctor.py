"""``edgevision doctor``: what this machine has, what is wrong with it, and what mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgevision.doctor import Finding

EXIT_PROBLEMS = 1
_WIDTH = len("onnxruntime")
"""Of the longest name of a check."""


def doctor_command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON: the version and the findings."),
) -> None:
    """Look at this machine: GPU, engines, video, cameras, disk. Each problem names what mends it.

    \b
    Examples:
      edgevision doctor
      edgevision doctor --json > machine.json

    \b
    Exit codes: 0 nothing is broken (notes do not count), 1 at least one problem was found.
    """
    from edgevision.doctor import examine

    problems = _print_json(examine()) if as_json else _print_report(examine())
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


def _print_json(findings: Iterable[Finding]) -> int:
    """Prints all findings at once; returns how many are problems."""
    from edgevision import __version__
    from edgevision.files import json_text

    found = list(findings)
    problems = sum(finding.status == "problem" for finding in found)
    document = {"edgevision": __version__, "problems": problems, "findings": found}
    typer.echo(json_text(document), nl=False)
    return problems


def _print_report(findings: Iterable[Finding]) -> int:
    """Prints each finding as it comes, for loading libraries takes a while; returns how many are problems."""
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
        # Whole lines, however narrow the terminal: they are copied into shells and reports.
        console.print(line, soft_wrap=True)
        if finding.fix:
            console.print(Text(f"{'':8}{'':{_WIDTH}}  $ {finding.fix}", "cyan"), soft_wrap=True)
    console.print(f"\n{_count(counts['problem'], 'problem')}, {_count(counts['note'], 'note')}")
    return counts["problem"]


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
