"""The interface of events: lists, counts over time, images and clips."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from edgevision.recording.segment import notes_path
from edgevision.web.answers import as_json, in_thread
from edgevision.web.boxes import boxes_between
from edgevision.web.event_records import Change, Clip, Query, StoredObject
from edgevision.web.event_store import EventStore

_BUCKETS = 240
_LEAD_S = 3.0  # a clip begins this long before the object was first seen


class EventRoutes:
    """Answers for one store.

    Args:
        store: of the run.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/events", self._list),
            Route("/api/events/counts", self._counts),
            Route("/api/events/{event}", self._one),
            Route("/api/events/{event}/image.jpg", self._image),
            Route("/api/events/{event}/clip.mp4", self._clip),
            Route("/api/events/{event}/boxes", self._boxes),
        ]

    async def _list(self, request: Request) -> Response:
        query = _query(request)
        found = await in_thread(self._store.database.listed, query)
        streams, classes = await in_thread(self._store.database.names)
        return as_json({"events": found, "streams": streams, "classes": classes})

    async def _counts(self, request: Request) -> Response:
        query = _query(request)
        if query.from_ms is None or query.to_ms is None or query.to_ms <= query.from_ms:
            raise HTTPException(400, "expected 'from' and a later 'to', in milliseconds since 1970")
        counts = await in_thread(self._store.database.counts, query, _BUCKETS)
        return as_json({"from": query.from_ms, "to": query.to_ms, "streams": counts})

    async def _one(self, request: Request) -> Response:
        found, clip = await in_thread(self._find, request.path_params["event"])
        if found is None:
            raise HTTPException(404, "there is no such event; it may be older than what is kept")
        one, changes = found
        place: dict[str, float | bool] | None = None
        if clip is not None:
            start = max(0.0, clip.start_s - _LEAD_S)
            times = {"start_s": start, "first_s": clip.start_s, "last_s": clip.end_s}
            place = {name: round(seconds, 3) for name, seconds in times.items()}
            place["has_boxes"] = notes_path(clip.path).is_file()
        return as_json({"event": one, "changes": changes, "clip": place})

    def _find(self, event: str) -> tuple[tuple[StoredObject, list[Change]] | None, Clip | None]:
        return self._store.database.find(event), self._store.database.clip(event)

    async def _image(self, request: Request) -> Response:
        return file_answer(
            await in_thread(self._store.database.image, request.path_params["event"]), "image/jpeg"
        )

    async def _clip(self, request: Request) -> Response:
        clip = await in_thread(self._store.database.clip, request.path_params["event"])
        return file_answer(None if clip is None else clip.path, "video/mp4")

    async def _boxes(self, request: Request) -> Response:
        clip = await in_thread(self._store.database.clip, request.path_params["event"])
        return await boxes_answer(None if clip is None else clip.path, request)


async def boxes_answer(path: Path | None, request: Request) -> Response:
    """What was found in a recording without drawings, from one time to another, as JSON lines.

    Raises:
        HTTPException: 404 where there is no such recording, or it has drawings; 400 without both times.
    """
    begin, end = (whole(request.query_params.get(name), name) for name in ("from", "to"))
    if begin is None or end is None:
        raise HTTPException(400, "expected 'from' and 'to', in ticks of 1/90000 s since the file's start")
    if path is None or not notes_path(path).is_file():
        raise HTTPException(404, "there are no boxes beside this recording")
    data, rest = await in_thread(boxes_between, notes_path(path), begin, end)
    headers = {} if rest is None else {"x-rest-from": str(rest)}  # the whole part is too long for one answer
    return Response(data, headers=headers, media_type="application/x-ndjson")


def file_answer(path: Path | None, media_type: str) -> Response:
    """A file, or the range of it that is asked for.

    Raises:
        HTTPException: 404 where there is none.
    """
    if path is None or not path.is_file():
        raise HTTPException(404, "there is no such file any more")
    return FileResponse(path, media_type=media_type, headers={"cache-control": "private, no-cache"})


def _query(request: Request) -> Query:
    given = request.query_params
    known = {"stream", "class", "zone", "from", "to", "before", "limit"}
    for name in given:
        if name not in known:
            raise HTTPException(400, f"unknown parameter '{name}'; there are: {', '.join(sorted(known))}")
    before = given.get("before")
    moment, _, last = (before or "").partition(",")
    return Query(
        stream=given.get("stream") or None,
        class_name=given.get("class") or None,
        zone=given.get("zone") or None,
        from_ms=whole(given.get("from"), "from"),
        to_ms=whole(given.get("to"), "to"),
        before=None if not before else (whole(moment, "before") or 0, last),
        limit=whole(given.get("limit"), "limit") or 50,
    )


def whole(text: str | None, name: str) -> int | None:
    """A whole number of an address; None where it is not given.

    Raises:
        HTTPException: 400 for what is none.
    """
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise HTTPException(400, f"'{name}' is not a whole number") from None
    if abs(number) >= 2**62:
        raise HTTPException(400, f"'{name}' is too large")
    return number
