"""The application object, and how errors become one line and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import typer
import typer.core
import typer.main

from edgevision import __version__
from edgevision.address import display, redact
from edgevision.errors import ConfigError, EdgeVisionError, ForeignModelError, UsageError, printable
from edgevision.service.logs import record

EXIT_DAMAGED = 3
"""The input was damaged; what could be read was processed and the outputs are whole."""
EXIT_BUG = 70
_COLLECTING = gc.get_threshold()
_WHILE_IMPORTING = 50_000
"""Objects that are made until they are looked through for garbage: imports make many, and hardly any."""

EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is.

    Attributes:
        heading: of the help under which it stands.
        module: in this package.
        name: of the function, or of the Typer application that holds several commands, in the module.
    """

    heading: str
    module: str
    name: str

    def load(self, command: str) -> Any:
        """The command as the parser takes it."""
        found = getattr(importlib.import_module(f"edgevision.cli.{self.module}"), self.name)
        if isinstance(found, typer.Typer):
            made: Any = typer.main.get_group(found)
            made.name, made.rich_help_panel = command, self.heading
            return made
        one = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
        one.command(command, rich_help_panel=self.heading)(found)
        return typer.main.get_command(one)


class _Loaded(Mapping[str, Any]):
    """The commands by their names, each loaded when it is asked for."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._places[name].load(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Commands(typer.core.TyperGroup):
    """Runs a command, and turns every error into one line on stderr and an exit code.

    Attributes:
        places: of all commands, in the order of the help.
        debug: show tracebacks; set by :func:`main` from ``--debug``, wherever it stands.
        line: the command as typed, but for the secrets of addresses; reports keep it.
        addresses: those among the arguments that hold secrets.
        has_times: write the time of day before the line; set by a command whose log has it.
        json_errors: write the line as a JSON record; set by a command that logs so.
        running: the command that runs.
    """

    places: Mapping[str, Place] = {}
    debug = False
    has_times = False
    json_errors = False
    line = ""
    addresses: Sequence[str] = ()
    running: Any = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Loaded(self.places)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the options before the command; what is wrong there never reaches :meth:`invoke`."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if not _is_wrong_usage(error):
                raise
            self._refuse(error)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the commands under the heading that each was given."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        longest = max(map(len, commands))
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, command in commands.items():
            if command is not None and not command.hidden:
                rows = headings.setdefault(getattr(command, "rich_help_panel", None) or "Commands", [])
                rows.append((name.ljust(longest), command.get_short_help_str(formatter.width - 6 - longest)))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        Commands.running = _innermost(command, rest)
        repeated = None if command is None else _repeated_option(command, ctx, rest)
        if repeated is not None:
            raise UsageError(f"{repeated} is given twice; it takes one value, so one of them would be lost")
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeVisionError as error:
            self._fail(f"error: {error_text(error)}", error.exit_code, error)
        except KeyboardInterrupt as error:
            self._fail("interrupted", EXIT_INTERRUPTED, error)
        except Exception as error:
            if isinstance(error, BrokenPipeError):  # Typer handles it
                raise
            if _is_typers(error):
                if _is_wrong_usage(error):
                    self._refuse(error)
                raise
            if isinstance(error, ImportError):
                self._fail(_missing(error), 1, error)
            if isinstance(error, MemoryError):
                self._fail("error: out of memory; use a smaller input or fewer streams", 1, error)
            if isinstance(error, OSError) and error.strerror:
                self._fail(_unusable(error), 1, error)
            self._fail(_bug(error), EXIT_BUG, error)

    def _refuse(self, error: Any) -> NoReturn:
        self._fail(f"error: {error.format_message()} (see '{_help(error)}')", 2, error)

    def _fail(self, line: str, exit_code: int, error: BaseException) -> NoReturn:
        if Commands.debug and not _is_typers(error):  # its trace shows the values of options, some cut short
            trace = "".join(traceback.format_exception(error))
            print(_without_secrets(trace), file=sys.stderr, end="")  # noqa: T201
        # An error is one line, also where it quotes a library that uses several.
        text = " ".join(_without_secrets(line).split())
        if Commands.json_errors:
            text = record(text)
        elif Commands.has_times:
            text = f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}"
        print(text, file=sys.stderr)  # noqa: T201
        raise typer.Exit(exit_code) from None


def _innermost(command: Any, arguments: list[str]) -> Any:
    """The command itself, or the one of a group (``edgevision data``) that the arguments name."""
    for name in arguments:
        command = getattr(command, "commands", {}).get(name, command)
    return command


def name_options(text: str) -> str:
    """Turns settings into options: what runs here calls its parameters by name, people type options.

    A name in backticks that is a parameter of the running command becomes its option, so that the error
    "`record_on` needs `record`" of the library is "--record-on needs --record" here. Other names stay.
    """
    options = {}
    for parameter in getattr(Commands.running, "params", ()):
        option = max(parameter.opts, key=len)
        if option.startswith("--"):
            options[parameter.name] = options[option.lstrip("-").replace("-", "_")] = option
    return re.sub(r"`(\w+)`", lambda match: str(options.get(match[1], match[0])), text)


def spell_options(error: Exception) -> str:
    """What an error says where no command runs: names in backticks are options; a file's keys stay."""
    text = str(error)
    if isinstance(error, ConfigError):
        return text
    return re.sub(r"`(\w+)`", lambda match: f"--{match[1].replace('_', '-')}", text)


def error_text(error: Exception) -> str:
    """What the error says, with the options of the running command; a file's keys stay as they are."""
    if isinstance(error, ForeignModelError):
        return name_options(str(error)) + _import_hint(error.path)
    return str(error) if isinstance(error, ConfigError) else name_options(str(error))


def _import_hint(path: Path) -> str:
    """The import command for a file of another project, with the kind that it would choose."""
    out = path.with_name(f"{path.stem}.ev.onnx")
    command = f"edgevision import {shlex.quote(str(path))} --out {shlex.quote(str(out))}"
    try:
        from edgevision.export.importers import conclusion

        return f". It reads as kind {conclusion(path)}: {command}"
    except ImportError:
        return f". Import it: {command} (needs edgevision[export])"
    except EdgeVisionError as error:
        return f". {command} says: {spell_options(error)}"


def _is_typers(error: BaseException) -> bool:
    """True for what Typer raises and handles itself: bad options, Exit, Abort.

    It carries its own copy of click since 0.16 or uses the package, so the classes have no fixed home.
    """
    return any(kind.__module__.startswith(("typer", "click")) for kind in type(error).__mro__)


def _is_wrong_usage(error: Exception) -> bool:
    """True for a wrong option or value; False for Exit, Abort, and the help that no arguments ask for."""
    return (
        _is_typers(error) and hasattr(error, "format_message") and type(error).__name__ != "NoArgsIsHelpError"
    )


def _repeated_option(command: Any, ctx: Any, args: list[str]) -> str | None:
    """The first option that takes one value and stands twice; None also where ``args`` are wrong."""
    try:
        _, _, order = command.make_parser(ctx).parse_args(list(args))
    except Exception as error:
        if not _is_typers(error):
            raise
        return None  # reported when they are parsed for the command
    seen = set()
    for option in order:
        if option in seen and not (option.multiple or getattr(option, "is_flag", True)):
            return str(max(option.opts, key=len))
        seen.add(option)
    return None


def _value(argument: str) -> str:
    """``value`` of ``--option=value``; any other argument as it is."""
    return argument.partition("=")[2] if argument.startswith("--") else argument


def _without_secrets(text: str) -> str:
    """What Typer and libraries say repeats arguments; what we say ourselves is made of what may be shown."""
    return redact(text, *Commands.addresses) if Commands.addresses else text


def _help(error: Exception) -> str:
    """The command line that explains the options of the command that failed."""
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else 'edgevision'} --help"


def _missing(error: ImportError) -> str:
    """A package that is absent or lacks a library of the system."""
    what = error.name or "a package"
    return f"error: {what} cannot be loaded ({error}); run 'edgevision doctor', which names what is missing"


def _unusable(error: OSError) -> str:
    """What the system refuses wherever a path is first looked at, such as a name that is too long."""
    name = error.filename
    place = f" {printable(os.fsdecode(name))}" if isinstance(name, str | bytes) else ""
    return f"error: cannot use{place}: {error.strerror}; check the name, the permissions and the disk"


def _bug(error: Exception) -> str:
    return (
        f"error: internal error ({type(error).__name__}: {error}); "
        "run it again with --debug and report what it prints"
    )


app = typer.Typer(
    cls=Commands,
    name="edgevision",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgevision {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
    debug: bool = typer.Option(
        False, "--debug", help="Show the traceback of an error; works before and after the command."
    ),
) -> None:
    """Real-time video detection at the edge.

    \b
    Examples:
      edgevision run --source webcam
      edgevision run --source street.mp4 --output boxes.mp4 --save-json boxes.jsonl
      edgevision process recordings/ --out results/
      edgevision models

    \b
    Exit codes: 0 done, 1 failed, 2 the request was impossible, 3 done but the input was damaged,
    129, 130 or 143 ended by SIGHUP, SIGINT or SIGTERM with the outputs finished, 70 internal error.
    """


def run_app(arguments: list[str]) -> None:
    """Parses and runs ``arguments``; always ends in :class:`SystemExit`."""
    # Typer knows --debug only before the command; people type it at the end.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    Commands.debug = "--debug" in arguments[:end]
    Commands.has_times = Commands.json_errors = False
    Commands.running = None
    values = [_value(argument) for argument in arguments]
    Commands.addresses = [value for value in values if display(value) != value]
    Commands.line = shlex.join(["edgevision", *map(_without_secrets, arguments)])
    kept = [text for i, text in enumerate(arguments) if i >= end or text != "--debug"]
    gc.set_threshold(_WHILE_IMPORTING, *_COLLECTING[1:])
    try:
        app(args=kept, prog_name="edgevision")
    finally:
        collect_as_usual()


def collect_as_usual() -> None:
    """Everything is imported: garbage is looked for as often as Python does."""
    gc.set_threshold(*_COLLECTING)
