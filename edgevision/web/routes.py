"""The routes of everything that belongs to a run's page, beside the page itself."""

from __future__ import annotations

from starlette.routing import BaseRoute

from edgevision.web.event_routes import EventRoutes
from edgevision.web.hub import Hub
from edgevision.web.recording_routes import RecordingRoutes
from edgevision.web.stream_routes import StreamRoutes
from edgevision.web.zone_editing import ZoneRoutes


def page_routes(hub: Hub) -> list[BaseRoute]:
    """The routes of what a hub has."""
    routes = [*ZoneRoutes(hub).routes, *StreamRoutes(hub).routes, *RecordingRoutes(hub).routes]
    if hub.store is not None:
        routes += EventRoutes(hub.store).routes
    return routes
