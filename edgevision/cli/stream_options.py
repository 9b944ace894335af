"""Options that several commands take together: those of a stream, from its table, and those of the page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from edgevision.cli.options import YesOrNo
from edgevision.session.settings import STREAM_SETTINGS, Setting

if TYPE_CHECKING:
    from edgevision.web.settings import WebSettings

Command = TypeVar("Command", bound=Callable[..., None])

_TYPES: dict[str, Any] = {
    "text": str | None,
    "path": Path | None,
    "number": float | None,
    "count": int | None,
    "texts": list[str],
    "flag": bool,
    "yes_no": YesOrNo | None,
}
_UNSET: dict[str, Any] = {"texts": [], "flag": False}


def takes(options: Sequence[inspect.Parameter], *, after: str) -> Callable[[Command], Command]:
    """Gives a command further options; their values reach it as ``**settings``.

    Args:
        options: such as :data:`STREAM_OPTIONS`.
        after: the parameter that they follow in the help.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        place = 1 + [one.name for one in own].index(after)
        parameters = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own[:place], *options, *own[place:])
        ]
        changed = signature.replace(parameters=parameters)
        command.__signature__ = changed  # type: ignore[attr-defined]  # what inspect reads first
        return command

    return decorate


def given(settings: Mapping[str, object]) -> dict[str, Any]:
    """The settings of a stream that stand on the command line, as a stream takes them."""
    return {
        setting.name: _plain(value)
        for setting in STREAM_SETTINGS
        if (value := settings[setting.name]) is not None and value is not False and value != []
    }


def _plain(value: object) -> object:
    if isinstance(value, YesOrNo):
        return value is YesOrNo.YES
    return str(value) if isinstance(value, Path) else value


def page(bind: str | None, settings: Mapping[str, Any]) -> WebSettings | None:
    """The page that a command is asked to serve; None where it is not.

    Args:
        bind: host and port; None for no page.
        settings: the values of :data:`PAGE_OPTIONS`.

    Raises:
        UsageError: a value is not valid, or given without ``bind``.
    """
    if bind is None and not any(settings[option.name] for option in PAGE_OPTIONS):
        return None
    from edgevision.web.settings import web_settings

    return web_settings(
        bind,
        password=settings["web_password"],
        names=settings["web_name"],
        folder=settings["web_data"],
        keep=settings["web_keep"],
        keep_days=settings["web_keep_days"],
        tls_cert=settings["tls_cert"],
        tls_key=settings["tls_key"],
        allow_local=settings["web_allow_local"],
    )


def option_name(setting: str) -> str:
    """``--save-json`` of ``save_json``."""
    return "--" + setting.replace("_", "-")


def _option(setting: Setting) -> inspect.Parameter:
    text = re.sub(r"`(\w+)`", lambda match: option_name(match[1]), setting.help)
    if setting.default:
        text += f" Default: {setting.default}."
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(_UNSET.get(setting.kind), option_name(setting.name), help=text),
        annotation=_TYPES[setting.kind],
    )


def _page_option(name: str, annotation: Any, text: str, default: object = None) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(default, option_name(name), help=text),
        annotation=annotation,
    )


STREAM_OPTIONS = tuple(_option(setting) for setting in STREAM_SETTINGS)
"""For :func:`takes`; :func:`given` reads their values."""

PAGE_OPTIONS = (
    _page_option(
        "web_password", Path | None, "File that 'edgevision web-password' wrote; the page asks for it."
    ),
    _page_option(
        "web_name", list[str], "A further host name of the page, such as a reverse proxy's.", default=[]
    ),
    _page_option("web_data", Path | None, "Folder where the page keeps events. Default: edgevision-web."),
    _page_option("web_keep", str | None, "Remove the oldest events beyond this size. Default: 2GB."),
    _page_option("web_keep_days", float | None, "Remove events after this many days. Default: 30."),
    _page_option(
        "web_allow_local",
        bool,
        "The page may add files, devices and gst:// as sources, too.",
        default=False,
    ),
    _page_option("tls_cert", Path | None, "Certificate of the page (PEM); with --tls-key."),
    _page_option("tls_key", Path | None, "Key of the certificate (PEM)."),
)
"""For :func:`takes`; :func:`page` reads their values."""
