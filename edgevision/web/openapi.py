"""The OpenAPI 3.1 document of the interface."""

from __future__ import annotations

from typing import Any

import msgspec

from edgevision import __version__
from edgevision.tracking import ZoneLayout
from edgevision.web.event_records import Change, StoredObject
from edgevision.web.recording_routes import RecordedFile
from edgevision.web.state import RunState
from edgevision.web.stream_routes import StreamChange, StreamGiven
from edgevision.web.zone_editing import ZonesGiven

_REFERENCES = "#/components/schemas/{name}"
_TICKS = [
    {
        "name": name,
        "in": "query",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**53},
    }
    for name in ("from", "to")
]
_STREAM = {"name": "stream", "in": "path", "required": True, "schema": {"type": "string"}}


def document() -> dict[str, Any]:
    """Every path below ``/api``, with its parameters and answers."""
    kinds = [RunState, StoredObject, Change, ZoneLayout, ZonesGiven, StreamGiven, StreamChange, RecordedFile]
    found, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCES)
    schemas["Error"] = {
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgevision", "version": __version__, "description": "The interface of the page."},
        "servers": [{"url": "..", "description": "the folder above this document"}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
        "paths": {
            **_run(found[0]),
            **_events(found[1], found[2]),
            **_zones(found[3], found[4]),
            **_streams(*found[5:]),
        },
    }


def _run(state: dict[str, Any]) -> dict[str, Any]:
    login = {
        "type": "object",
        "properties": {"password": {"type": "string"}},
        "required": ["password"],
        "additionalProperties": False,
    }
    session = {"type": "object", "properties": {"needs_login": {"type": "boolean"}}}
    curves = {"name": "curves", "in": "query", "schema": {"enum": ["yes", "no"]}}
    return {
        "/api/session": {"get": operation("Whether a login is needed", session)},
        "/api/login": {"post": operation("Log in", session, takes=login, refused=(400, 401, 415, 429))},
        "/api/logout": {"post": operation("Log out", session)},
        "/api/state": {"get": operation("The run now", state, parameters=[curves])},
        "/api/openapi.json": {"get": operation("This document", {"type": "object"})},
        "/api/streams/{stream}/still.jpg": {
            "get": operation(
                "The next frame, with nothing drawn on it",
                media_type="image/jpeg",
                parameters=[_STREAM],
                refused=(404, 503),
            )
        },
        "/api/streams/{stream}/live.mjpeg": {
            "get": operation(
                "JPEGs without end, for programs",
                media_type="multipart/x-mixed-replace",
                parameters=[_STREAM],
                refused=(404, 503),
            )
        },
    }


def _events(event: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    texts = [_query(name) for name in ("stream", "class", "zone")]
    before = {"name": "before", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{1,15},.+$"}}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}}
    times = [_moment(name) for name in ("from", "to")]
    names = {"type": "array", "items": {"type": "string"}}
    place = [{"name": "event", "in": "path", "required": True, "schema": {"type": "string"}}]
    listed = _object(events={"type": "array", "items": event}, streams=names, classes=names)
    one = _object(event=event, changes={"type": "array", "items": change}, clip={"type": ["object", "null"]})
    return {
        "/api/events": {
            "get": operation(
                "Objects, the newest first",
                listed,
                parameters=[*texts, before, *times, limit],
                refused=(400,),
            )
        },
        "/api/events/counts": {
            "get": operation(
                "How many there were, over equal parts of a time",
                _object(streams={"type": "object"}),
                parameters=[*texts, *({**one, "required": True} for one in times)],
                refused=(400,),
            )
        },
        "/api/events/{event}": {
            "get": operation("An object and what happened to it", one, parameters=place, refused=(404,))
        },
        "/api/events/{event}/image.jpg": {
            "get": operation("Its best image", media_type="image/jpeg", parameters=place, refused=(404,))
        },
        "/api/events/{event}/boxes": {
            "get": operation(
                "What was found in that recording, where it has no drawings, as JSON lines",
                media_type="application/x-ndjson",
                parameters=[*place, *_TICKS],
                refused=(400, 404),
            )
        },
        "/api/events/{event}/clip.mp4": {
            "get": operation(
                "The recording of it", media_type="video/mp4", parameters=place, refused=(404, 416)
            )
        },
    }


def _zones(layout: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    answer = _object(layout={"anyOf": [layout, {"type": "null"}]}, version={"type": "string"})
    return {
        "/api/streams/{stream}/zones": {
            "get": operation("The zones of a stream", answer, parameters=[_STREAM], refused=(404, 409)),
            "put": operation(
                "Replace the zones of a stream; they are in force at once",
                answer,
                parameters=[_STREAM],
                takes=given,
                refused=(400, 404, 409, 412, 415),
            ),
        }
    }


def _streams(given: dict[str, Any], patch: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    answer = _object(name={"type": "string"}, id={"type": "string"})
    change: dict[str, Any] = {"parameters": [_STREAM], "refused": (404, 409)}
    name = {"name": "file", "in": "path", "required": True, "schema": {"type": "string"}}
    part = [_STREAM, *({**_moment(one), "required": True} for one in ("from", "to"))]
    added = operation("Add a stream", takes=given, refused=(400, 409, 415))
    added["responses"]["201"] = added["responses"].pop("200")
    changed = operation(
        "Give a stream another source",
        answer,
        parameters=[_STREAM],
        takes=given,
        refused=(400, 404, 409, 415),
    )
    return {
        "/api/streams": {"post": added},
        "/api/streams/{stream}": {
            "put": changed,
            "patch": operation(
                "Change what is given of a stream",
                answer,
                parameters=[_STREAM],
                takes=patch,
                refused=(400, 404, 409, 415),
            ),
            "delete": operation("Remove a stream", answer, **change),
        },
        "/api/streams/{stream}/pause": {"post": operation("Pause a stream", answer, **change)},
        "/api/streams/{stream}/resume": {"post": operation("Resume a stream", answer, **change)},
        "/api/streams/{stream}/recordings": {
            "get": operation(
                "What was recorded, the newest first",
                _object(files={"type": "array", "items": file}),
                parameters=[_STREAM],
                refused=(404,),
            )
        },
        "/api/streams/{stream}/span": {
            "get": operation(
                "Whether something was recorded between two times, and whether boxes lie beside it",
                _object(has_boxes={"type": "boolean"}),
                parameters=part,
                refused=(400, 404, 409),
            )
        },
        "/api/streams/{stream}/span.mp4": {
            "get": operation(
                "What was recorded between two times, as one file",
                media_type="video/mp4",
                parameters=part,
                refused=(400, 404, 409),
            )
        },
        "/api/streams/{stream}/span.boxes.jsonl": {
            "get": operation(
                "What was found in that file, as JSON lines, with times in ticks since its start",
                media_type="application/x-ndjson",
                parameters=part,
                refused=(400, 404, 409),
            )
        },
        "/api/streams/{stream}/recordings/{file}/boxes": {
            "get": operation(
                "What was found in a file without drawings, as JSON lines",
                media_type="application/x-ndjson",
                parameters=[_STREAM, name, *_TICKS],
                refused=(400, 404),
            )
        },
        "/api/streams/{stream}/recordings/{file}": {
            "get": operation(
                "A file of the recording, or a range of it",
                media_type="video/mp4",
                parameters=[_STREAM, name],
                refused=(404, 416),
            )
        },
    }


def _query(name: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}}


def _moment(name: str) -> dict[str, Any]:
    """A time in milliseconds since 1970."""
    schema = {"type": "integer", "minimum": 0, "maximum": 2**50}
    return {"name": name, "in": "query", "schema": schema}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def operation(
    summary: str,
    schema: dict[str, Any] | None = None,
    *,
    media_type: str = "application/json",
    parameters: list[dict[str, Any]] | None = None,
    takes: dict[str, Any] | None = None,
    refused: tuple[int, ...] = (),
) -> dict[str, Any]:
    """One operation.

    Args:
        summary: what it does.
        schema: of its answer; None for anything.
        media_type: of its answer.
        parameters: of its address.
        takes: the schema of what it is sent.
        refused: its further statuses.
    """
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    answers: dict[str, Any] = {
        "200": {"description": "done", "content": {media_type: {"schema": schema or {}}}},
        **{str(status): {"description": "refused", **error} for status in (401, 403, *refused)},
    }
    found: dict[str, Any] = {"summary": summary, "responses": answers}
    if parameters:
        found["parameters"] = parameters
    if takes is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": takes}}}
    return found
