"""The documents as tests read them: their blocks of code, and what those say of ``edgevision``."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from edgevision.cli.app import app as program
from tests.support.paths import ROOT

PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
"""Every page, named from the checkout."""

_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: the page that it stands on.
        language: what follows the fence, such as ``sh``.
        code: its lines.
        reason: why it is not run, as the comment before it says, ``<!-- not run: ... -->``, or one for the
            whole page, ``<!-- none run: ... -->``; None where neither is there.
    """

    page: str
    language: str
    code: str
    reason: str | None

    def commands(self, without: re.Pattern[str] | None = None) -> list[list[str]]:
        """The arguments of each call of ``edgevision``, but of lines that hold ``without``."""
        lines = re.sub(r"\\\n\s*", " ", self.code).splitlines()
        return [
            found for line in lines if without is None or not without.search(line) for found in _calls(line)
        ]


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, all of them where none is named."""
    text = (ROOT / page).read_text(encoding="utf-8")
    whole = re.search(r"<!-- none run: ([^>]*?) -->", text)
    found = []
    for match in _BLOCK.finditer(text):
        note = match["note"] or ""
        reason = note.partition("not run: ")[2] or (whole[1] if whole else None)
        found.append(Block(page, match["language"], match["code"], reason))
    return [block for block in found if not languages or block.language in languages]


def _calls(line: str) -> Iterator[list[str]]:
    """The calls of ``edgevision`` in a line: a shell may have several, with a pipe or ``&&`` between them."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    call: list[str] = []
    for word in [*words, ";"]:
        if not re.fullmatch(r"[|&;<>]+", word):
            call.append(word)
            continue
        if "docker" in call:  # the image's entry point is the program
            call = call[call.index("edgevision") :] if "run" in call else []
        while call and (re.match(r"[A-Z_]+=", call[0]) or call[0] in ("sudo", "exec")):
            call = call[3:] if call[1:2] == ["-u"] else call[1:]
        if call and Path(call[0]).name == "edgevision":
            yield call[1:]
        call = []


def parse(arguments: list[str]) -> Any:
    """The context that Typer makes of a command line; raises its error where it does not take it."""
    command = _program()
    context = typer.Context(command)
    if arguments[0].startswith("-"):
        return command.make_context("edgevision", list(arguments))
    name, *rest = arguments
    while True:
        found = command.get_command(context, name)
        if found is None:
            raise LookupError(f"edgevision has no command {name!r}")
        if not hasattr(found, "list_commands"):
            return found.make_context(name, rest, parent=context)
        command, (name, *rest) = found, rest


@functools.cache
def options() -> dict[str, set[str]]:
    """The options of each command, by its whole name such as ``data check``."""
    return dict(_options(_program(), ""))


@functools.cache
def _program() -> Any:
    return typer.main.get_command(program)


def _options(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    yield name, {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
    for key, below in getattr(command, "commands", {}).items():
        yield from _options(below, f"{name} {key}".strip())
