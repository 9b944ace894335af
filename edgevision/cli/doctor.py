"""``edgevision doctor``: what this machine has, what is wrong with it, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgevision.doctor import Finding

EXIT_PROBLEMS = 1


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

    findings = examine()
    problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        _print_json(findings, problems)
    else:
        _print_report(findings, problems)
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)


def _print_json(findings: Sequence[Finding], problems: int) -> None:
    import msgspec

    from edgevision import __version__

    document = {"edgevision": __version__, "problems": problems, "findings": findings}
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _print_report(findings: Sequence[Finding], problems: int) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    colours = {"ok": "green", "note": "yellow", "problem": "bold red"}
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        line = Text.assemble(
            (f"{finding.status:8}", colours[finding.status]), f"{finding.check:{width}}  {finding.found}"
        )
        # Whole lines, however narrow the terminal: they are copied into shells and reports.
        console.print(line, soft_wrap=True)
        if finding.fix:
            console.print(Text(f"{'':8}{'':{width}}  $ {finding.fix}", "cyan"), soft_wrap=True)
    notes = sum(finding.status == "note" for finding in findings)
    console.print(f"\n{_count(problems, 'problem')}, {_count(notes, 'note')}")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
