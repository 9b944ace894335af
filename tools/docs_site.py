"""What the site shows that is not a file below docs/: a hook of mkdocs, named in mkdocs.yml.

The command line's reference is made from the commands themselves. The models' cards, the changelog and the
other papers of the project stay where people look for them, and are shown from there.
"""

from __future__ import annotations

import re
from pathlib import Path

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from edgevision.cli import program

ROOT = Path(__file__).parents[1]

SHOWN = {
    "models/retinanet-light.md": "edgevision/zoo/retinanet-light.md",
    "models/unet-light.md": "edgevision/zoo/unet-light.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
}
"""Where on the site a paper of the repository stands."""

_PAGE = re.compile(r"docs/((?:[a-z-]+/)*([a-z-]+)\.md)")
_TO_DOCS = re.compile(r"\]\((?:\.\./)*docs/([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made; mkdocs calls it with those below docs/."""
    made = {name: shown(paper) for name, paper in SHOWN.items()} | {"reference/cli.md": command_line()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def shown(paper: str) -> str:
    """A paper of the repository; its links are those of a page of the site that is one folder deep."""
    text = (ROOT / paper).read_text(encoding="utf-8")
    return _TO_DOCS.sub(r"](../\1)", text)


def command_line() -> str:
    """Every command with its arguments and options, as Typer documents them."""
    program_command = typer.main.get_command(program)
    context = typer.Context(program_command)
    named = {
        name: program_command.get_command(context, name) for name in program_command.list_commands(context)
    }
    text = "# Command line\n\n"
    text += "`edgevision --help` lists the commands, and `edgevision COMMAND --help` says what is below.\n"
    text += "`--debug`, before or after the command, shows the traceback of an error.\n\n"
    text += "| Command | |\n|---|---|\n"
    for name, command in named.items():
        text += f"| [`{name}`](#edgevision-{name}) | {command.help.partition('.')[0]}. |\n"
    for command in named.values():
        made = get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="edgevision")
        text += f"\n{_readable(made)}"
    return _PAGE.sub(r"[\2](../\1)", text)


def _readable(text: str) -> str:
    """Examples become blocks of code, and what says nothing or repeats what follows is left out."""
    for pattern in (r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", r"^\* `--help`.*\n"):
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    text = re.sub(r"\*\*(Options|Arguments)\*\*:\n\n(?!\*)", "", text)
    text = re.sub(r"(?:^  \S.*\n)+", _block, text, flags=re.MULTILINE)
    code_apart = re.split(r"(```.*?```|`[^`\n]+`)", text, flags=re.DOTALL)
    code_apart[::2] = [part.replace("<", "&lt;") for part in code_apart[::2]]
    return "".join(code_apart)


def _block(lines: re.Match[str]) -> str:
    return "\n```sh\n" + "".join(f"{line[2:]}\n" for line in lines[0].splitlines()) + "```\n"
