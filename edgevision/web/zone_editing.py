"""Zones that are drawn in the page: kept as the YAML that a run reads, in force at once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import yaml
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edgevision.errors import ConfigError, SinkError
from edgevision.files import atomic_path, content_version, make_folder
from edgevision.tracking import ZoneLayout, load_zones
from edgevision.tracking.zones import Line, Units, Zone
from edgevision.web.answers import as_json, body, find_view, in_thread
from edgevision.web.hub import Hub, StreamView

_DIGITS = 5
_HEAD = "# Drawn in the page of edgevision; positions are shares of the image's width and height.\n"


class ZonesGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the page sends; positions are shares of the image.

    Attributes:
        zones, lines: all of them; none removes them.
        version: that the page began with.
    """

    zones: list[Zone]
    lines: list[Line]
    version: str


class ZoneRoutes:
    """Answers for the streams of a hub.

    Args:
        hub: the run.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.RLock()  # one at a time compares a version and replaces its file

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/streams/{stream}/zones", self._get),
            Route("/api/streams/{stream}/zones", self._put, methods=["PUT"]),
        ]

    async def _get(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        return as_json(await in_thread(self._answer, view))

    async def _put(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        given = await body(request, ZonesGiven)
        if view.set_layout is None or view.zones_file is None:
            raise HTTPException(409, "zones need a model that detects, and the stream has none")
        return as_json(await in_thread(self._save, view, given))

    def _answer(self, view: StreamView) -> dict[str, Any]:
        with self._lock:
            path, version = view.zones_file, view.layout_version
            return {
                "layout": relative(view.layout, view.tile.size),
                "version": version,
                "file": "" if path is None else path.name,
                "classes": list(view.classes),
                "can_change": view.set_layout is not None and path is not None,
            }

    def _save(self, view: StreamView, given: ZonesGiven) -> dict[str, Any]:
        with self._lock:
            return self._replace(view, given)

    def _replace(self, view: StreamView, given: ZonesGiven) -> dict[str, Any]:
        path = view.zones_file
        if path is None:
            raise SinkError("the zones of this stream cannot be kept")
        make_folder(path.parent)
        version = content_version(path)
        if version != given.version:
            if version == "none":
                view.layout_version = version  # it was removed by hand: the zones in force go on
            else:  # what was changed by hand is in force from now on, and not lost
                self._put_in_force(view, load_zones(path, view.classes, view.attributes), version)
            raise HTTPException(412, "the zones were changed meanwhile; look at them again, and repeat yours")
        before = view.layout
        layout = ZoneLayout(
            units=Units.RELATIVE,
            zones=given.zones,
            lines=given.lines,
            margin=None if before is None else _relative_margin(before, view.tile.size),
            vanish_s=2.0 if before is None else before.vanish_s,
        )
        self._put_in_force(view, *save_zones(path, layout, view.classes, view.attributes))
        return self._answer(view)

    def _put_in_force(self, view: StreamView, layout: ZoneLayout | None, version: str) -> None:
        if view.set_layout is not None:
            view.set_layout(layout)
            view.is_tracked = True
        view.change_layout(layout, version)


def save_zones(
    path: Path, layout: ZoneLayout, classes: Collection[str], attributes: Collection[str] = ()
) -> tuple[ZoneLayout | None, str]:
    """Writes a zones file, and keeps the one before as ``NAME.bak``; without any zone it removes the file.

    Returns:
        What a run reads from it, None where there is nothing; and its
        :func:`~edgevision.files.content_version`.

    Raises:
        ConfigError: a zone is not valid; nothing is changed.
        SinkError: it cannot be written.
    """
    backup = path.with_name(f"{path.name}.bak")
    try:
        if not (layout.zones or layout.lines):
            if path.exists():
                path.replace(backup)
            return None, "none"
        with atomic_path(path) as partial:
            text = yaml.safe_dump(_document(layout), sort_keys=False, allow_unicode=True)
            partial.write_text(_HEAD + text, encoding="utf-8")
            try:
                read, version = load_zones(partial, classes, attributes), content_version(partial)
            except ConfigError as error:
                raise ConfigError(str(error).replace(str(partial), path.name)) from error
            if path.exists():
                shutil.copy2(path, partial.with_suffix(".bak"))
                partial.with_suffix(".bak").replace(backup)
                partial.chmod(path.stat().st_mode & 0o777)
            else:
                partial.chmod(0o644)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
    return read, version


def relative(layout: ZoneLayout | None, size: tuple[int, int] | None) -> ZoneLayout | None:
    """The layout in shares of an image of ``size``.

    Raises:
        SinkError: it is in pixels, and no frame has come.
    """
    if layout is None or layout.units is Units.RELATIVE:
        return layout
    if size is None:
        raise SinkError("the zones are in pixels, and the stream has given no frame yet; try again")
    width, height = size

    def share(point: tuple[float, float]) -> tuple[float, float]:
        return min(1.0, round(point[0] / width, _DIGITS)), min(1.0, round(point[1] / height, _DIGITS))

    replace = msgspec.structs.replace
    return ZoneLayout(
        units=Units.RELATIVE,
        zones=[replace(one, polygon=[share(point) for point in one.polygon]) for one in layout.zones],
        lines=[replace(one, start=share(one.start), end=share(one.end)) for one in layout.lines],
        margin=_relative_margin(layout, size),
        vanish_s=layout.vanish_s,
    )


def _relative_margin(layout: ZoneLayout, size: tuple[int, int] | None) -> float | None:
    if layout.margin is None or layout.units is Units.RELATIVE or size is None:
        return layout.margin if layout.units is Units.RELATIVE else None
    return layout.margin / min(size)


def _document(layout: ZoneLayout) -> dict[str, Any]:
    """As a person would write it: what is as by default is left out."""
    built: dict[str, Any] = msgspec.to_builtins(layout)
    defaults: dict[str, Any] = {"margin": None, "vanish_s": 2.0}
    for key, usual in defaults.items():
        if built[key] == usual:
            del built[key]
    for key in ("zones", "lines"):
        if not built[key]:
            del built[key]
            continue
        for place in built[key]:
            for name, common in (("classes", None), ("anchor", "bottom-centre")):
                if place[name] == common:
                    del place[name]
            for name in ("polygon", "from", "to"):
                if name in place:
                    place[name] = _rounded(place[name])
    return built


def _rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return round(value, _DIGITS)
