"""Kinds of sources, outputs and event outlets that other packages bring.

A package adds an address scheme of its own by an entry point (https://packaging.python.org/specifications/
entry-points/) that is called like the scheme. In its ``pyproject.toml``::

    [project.entry-points."edgevision.sources"]
    ndi = "my_package:open_ndi"

and ``ndi://studio/1`` is then a source like any other. Nothing is looked up for the schemes that edgevision
knows itself, so no package can replace one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from edgevision.errors import PluginError

SOURCES = "edgevision.sources"
"""Group of functions that take an address and return a :class:`~edgevision.video.base.Source`."""
SINKS = "edgevision.sinks"
"""Group of functions that take an address and a :class:`~edgevision.video.base.SourceInfo` and return a
:class:`~edgevision.video.base.Sink`."""
OUTLETS = "edgevision.outlets"
"""Group of functions that take an address and return an :class:`~edgevision.events.outlets.Outlet`."""


def scheme_of(address: str) -> str:
    """``ndi`` of ``ndi://studio/1``, in lower case; empty for what has no ``://``, such as a path."""
    match = re.match(r"([a-zA-Z][\w+.-]*)://", address)
    return match.group(1).lower() if match else ""


def find_plugin(group: str, scheme: str) -> Callable[..., Any] | None:
    """What an installed package brings for a scheme; None where none does.

    Args:
        group: :data:`SOURCES`, :data:`SINKS` or :data:`OUTLETS`.
        scheme: see :func:`scheme_of`.

    Raises:
        PluginError: the package cannot be loaded.
    """
    point = next(iter(entry_points(group=group, name=scheme)), None) if scheme else None
    if point is None:
        return None
    try:
        found: Callable[..., Any] = point.load()
    except Exception as error:
        package = point.dist.name if point.dist is not None else point.value
        raise PluginError(
            f"{scheme}:// is opened by the package {package}, which does not load "
            f"({type(error).__name__}: {error}); update or remove it"
        ) from error
    return found


def known_schemes(group: str) -> list[str]:
    """The schemes that installed packages bring, for error messages."""
    return sorted({point.name for point in entry_points(group=group)})
