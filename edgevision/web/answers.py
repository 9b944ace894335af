"""Requests and answers of the page's interface: JSON in, JSON out, errors in one line."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edgevision.errors import ConfigError, EdgeVisionError
from edgevision.web.hub import Hub, StreamView

_LOG = logging.getLogger(__name__)
_MAX_BODY = 2**20

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def as_json(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer."""
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")


async def body(request: Request, kind: type[T]) -> T:
    """What a request holds.

    Args:
        request: with JSON.
        kind: a msgspec structure that it must fit.

    Raises:
        HTTPException: 413 or 415, or 400 with what is wrong.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected application/json")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _MAX_BODY:
            raise HTTPException(413, f"more than {_MAX_BODY} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, EdgeVisionError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the request is not valid: {error}") from error


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Calls what may take long, or read a disk; a mistake of the user is an answer.

    Raises:
        HTTPException: 409 with the error in one line.
    """
    try:
        return await run_in_threadpool(function, *arguments)
    except ConfigError as error:
        raise HTTPException(400, str(error)) from error
    except EdgeVisionError as error:
        raise HTTPException(409, str(error)) from error


def find_view(hub: Hub, request: Request) -> StreamView:
    """The stream that an address names.

    Raises:
        HTTPException: 404.
    """
    view = hub.by_id(request.path_params["stream"])
    if view is None:
        raise HTTPException(404, "there is no such stream")
    return view


async def http_error(request: Request, error: Exception) -> Response:
    """An error as JSON; what nobody expected goes to the log and not to the client."""
    if isinstance(error, HTTPException):
        return as_json({"error": error.detail}, error.status_code, dict(error.headers or {}))
    _LOG.error("the page: %s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return as_json({"error": "internal error; the log says more"}, 500)
