"""Recordings: which files there are, and their bytes."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from edgevision.recording.segment import notes_path
from edgevision.web.answers import as_json, find_view, in_thread
from edgevision.web.event_routes import boxes_answer, file_answer, whole
from edgevision.web.hub import Hub, StreamView
from edgevision.web.span import Files, cut, cut_boxes, has_boxes

_STAMP = re.compile(r"-(\d{8}T\d{6}\.\d{3})Z(?:-\d+)?\.mp4")


class RecordedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a recording.

    Attributes:
        name: in its folder.
        start_ms: when it was begun (UTC, milliseconds since 1970).
        size: in bytes.
        has_boxes: nothing is drawn on it, and what was found lies beside it.
    """

    name: str
    start_ms: int
    size: int
    has_boxes: bool = False


class RecordingRoutes:
    """Answers for the streams of a hub that are recorded.

    Args:
        hub: the run.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/streams/{stream}/recordings", self._list),
            Route("/api/streams/{stream}/span", self._span_exists),
            Route("/api/streams/{stream}/span.mp4", self._span),
            Route("/api/streams/{stream}/span.boxes.jsonl", self._span_boxes),
            Route("/api/streams/{stream}/recordings/{file}", self._file),
            Route("/api/streams/{stream}/recordings/{file}/boxes", self._boxes),
        ]

    async def _list(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        return as_json({"files": await in_thread(recorded_files, view)})

    async def _file(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        path = await in_thread(_find, view, request.path_params["file"])
        answer = file_answer(path, "video/mp4")
        if request.query_params.get("download") == "yes" and path is not None:
            answer.headers["content-disposition"] = f'attachment; filename="{path.name}"'
        return answer

    async def _boxes(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        path = await in_thread(_find, view, request.path_params["file"])
        return await boxes_answer(path, request)

    async def _span(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        return await _span_file(view, request, cut, ".mp4", "video/mp4")

    async def _span_boxes(self, request: Request) -> Response:
        view = find_view(self._hub, request)
        return await _span_file(view, request, cut_boxes, ".boxes.jsonl", "application/x-ndjson")

    async def _span_exists(self, request: Request) -> Response:
        view, (begin, end) = find_view(self._hub, request), _part(request)
        return as_json({"has_boxes": await in_thread(lambda: has_boxes(_files(view), begin, end))})


def _part(request: Request) -> tuple[int, int]:
    """The part of a recording that is asked for, in milliseconds since 1970.

    Raises:
        HTTPException: 400 where a time is missing.
    """
    begin, end = (whole(request.query_params.get(name), name) for name in ("from", "to"))
    if begin is None or end is None:
        raise HTTPException(400, "expected 'from' and 'to', in milliseconds since 1970")
    return begin, end


async def _span_file(
    view: StreamView, request: Request, make: Callable[[Files, int, int, Path], None], suffix: str, kind: str
) -> Response:
    """A file of a part of a recording, made for this answer."""
    begin, end = _part(request)
    folder = Path(tempfile.mkdtemp(prefix="edgevision-span-"))
    remove = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    target = folder / f"span{suffix}"
    try:
        await in_thread(lambda: make(_files(view), begin, end, target))
    except HTTPException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    name = f"{view.id}-{datetime.fromtimestamp(begin / 1e3, timezone.utc):%Y%m%dT%H%M%SZ}{suffix}"
    return FileResponse(target, media_type=kind, filename=name, background=remove)


def _files(view: StreamView) -> Files:
    files = [(_find(view, one.name), one.start_ms) for one in reversed(recorded_files(view))]
    return [(path, start_ms) for path, start_ms in files if path is not None]


def recorded_files(view: StreamView) -> list[RecordedFile]:
    """The files of a stream's recording, the newest first."""
    if view.recordings is None or not view.recordings.is_dir():
        return []
    found = []
    for path in view.recordings.iterdir():
        start_ms = _start_ms(view, path.name)
        if start_ms is not None and path.is_file() and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError):  # it makes room for newer ones at this moment
                is_noted, size = notes_path(path).is_file(), path.stat().st_size
                found.append(RecordedFile(name=path.name, start_ms=start_ms, size=size, has_boxes=is_noted))
    return sorted(found, key=lambda one: (one.start_ms, one.name), reverse=True)


def _find(view: StreamView, name: str) -> Path | None:
    if view.recordings is None or _start_ms(view, name) is None:
        return None
    path = view.recordings / name
    return None if path.is_symlink() else path


def _start_ms(view: StreamView, name: str) -> int | None:
    """When a file of the recording was begun; None for what is not one of its files."""
    match = (
        _STAMP.fullmatch(name[len(view.stem) :]) if name.startswith(view.stem) and "/" not in name else None
    )
    if match is None:
        return None
    moment = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1e3)
