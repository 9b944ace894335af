"""The interface that adds, changes, pauses and removes streams."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edgevision.web.answers import as_json, body, find_view, in_thread
from edgevision.web.hub import Hub, StreamControl


class StreamGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream as the page gives it.

    Attributes:
        source: address of a camera.
        name: for people; the address without its password where empty.
        track: its objects get numbers, and events are kept of them.
    """

    source: str
    name: str = ""
    track: bool = False


class StreamChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What should be different; what is not given stays.

    Attributes:
        source: another address, with its password.
        track: whether its objects get numbers.
        paused: whether it is read. Another source begins at once unless this is true.
    """

    source: str | None = None
    track: bool | None = None
    paused: bool | None = None


class StreamRoutes:
    """Answers for a hub whose run can change.

    Args:
        hub: the run.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/streams", self._add, methods=["POST"]),
            Route("/api/streams/{stream}", self._remove, methods=["DELETE"]),
            Route("/api/streams/{stream}", self._change, methods=["PUT"]),
            Route("/api/streams/{stream}", self._patch, methods=["PATCH"]),
            Route("/api/streams/{stream}/pause", self._pause, methods=["POST"]),
            Route("/api/streams/{stream}/resume", self._resume, methods=["POST"]),
        ]

    @property
    def _control(self) -> StreamControl:
        if self._hub.control is None:
            raise HTTPException(409, "the streams of this run cannot be changed at the moment")
        return self._hub.control

    async def _add(self, request: Request) -> Response:
        given = await body(request, StreamGiven)
        name = await in_thread(self._control.add, given.source, given.name, given.track)
        view = self._hub.view(name)
        return as_json({"name": name, "id": "" if view is None else view.id}, 201)

    async def _change(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        given = await body(request, StreamGiven)
        if given.name not in ("", view.name):
            raise HTTPException(409, "a stream keeps its name; add another one")
        await in_thread(self._control.change, view.name, given.source, given.track)
        return as_json({"name": view.name, "id": view.id})

    async def _patch(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        given = await body(request, StreamChange)
        if given.source is not None or given.track is not None:
            await in_thread(self._control.change, view.name, given.source, given.track)
        if given.paused is not None and given.paused != (view.name in self._control.paused()):
            act = self._control.pause if given.paused else self._control.resume
            await in_thread(act, view.name)
        return as_json({"name": view.name, "id": view.id})

    async def _remove(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        await in_thread(self._control.remove, view.name)
        return as_json({"name": view.name})

    async def _pause(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        await in_thread(self._control.pause, view.name)
        return as_json({"name": view.name})

    async def _resume(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        await in_thread(self._control.resume, view.name)
        return as_json({"name": view.name})
