"""The OpenAPI 3.1 document of the interface."""

from __future__ import annotations

from typing import Any

import msgspec

from edgevision import __version__
from edgevision.web.state import RunState

_REFERENCES = "#/components/schemas/{name}"
_STREAM = {"name": "stream", "in": "path", "required": True, "schema": {"type": "string"}}


def document() -> dict[str, Any]:
    """Every path below ``/api``, with its parameters and answers."""
    (state,), schemas = msgspec.json.schema_components([RunState], ref_template=_REFERENCES)
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
        "paths": _paths(state),
    }


def _paths(state: dict[str, Any]) -> dict[str, Any]:
    login = {"type": "object", "properties": {"password": {"type": "string"}}, "required": ["password"]}
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
