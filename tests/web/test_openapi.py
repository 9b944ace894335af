"""The interface holds what its document promises: schemathesis asks with made-up values, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgevision.errors import UsageError
from edgevision.web.event_store import EventStore
from edgevision.web.hub import Hub
from edgevision.web.openapi import document
from edgevision.web.routes import page_routes
from tests.support.pipeline import run_statistics, stream_statistics
from tests.support.web import Feeder, open_view, served
from tests.web.test_event_store import event, settled

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, of the development tools")
hypothesis = pytest.importorskip("hypothesis")
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

# Values that are right alone and not together, which a schema cannot say, such as an end before its begin.
RELATED = {
    ("get", "/api/events/counts"),
    ("put", "/api/streams/{stream}/zones"),
    ("get", "/api/streams/{stream}/span"),
    ("get", "/api/streams/{stream}/span.mp4"),
    ("get", "/api/streams/{stream}/span.boxes.jsonl"),
}
ENDLESS = "/api/streams/{stream}/live.mjpeg"


class Streams:
    """Changes nothing, and refuses what is no address."""

    def add(self, source: str, name: str, track: bool) -> str:
        if "://" not in source:
            raise UsageError("not an address")
        return "gate"

    def change(self, name: str, source: str | None, track: bool | None) -> None:
        self.add(source or "rtsp://a", name, False)

    def remove(self, name: str) -> None:
        raise UsageError(f"'{name}' stays")

    def pause(self, name: str) -> None: ...

    def resume(self, name: str) -> None: ...

    def paused(self) -> Sequence[str]:
        return []


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with EventStore(tmp_path / "page") as store:
        hub = Hub(store)
        view = open_view(hub)
        view.zones_file, view.set_layout = tmp_path / "zones.yaml", lambda layout: None
        hub.read = lambda: run_statistics(stream_statistics("gate"))
        hub.control = Streams()
        store.add("gate", event())
        settled(store)
        with served(hub, page_routes(hub)) as server, Feeder(view.tile):
            yield server.url


def ask_with_made_up_values(operation: Any, known: dict[str, str], count: int) -> int:
    """Calls an operation ``count`` times, and holds each answer against the document."""
    asked = 0

    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    def check(case: Any) -> None:
        nonlocal asked
        case.path_parameters = {key: known.get(key, value) for key, value in case.path_parameters.items()}
        asked += 1
        excluded = [positive_data_acceptance] if (operation.method, operation.path) in RELATED else []
        case.call_and_validate(timeout=15, excluded_checks=excluded)

    check()
    return asked


def test_every_operation_answers_as_the_document_says(url: str) -> None:
    schema = schemathesis.openapi.from_dict(document())
    schema.config.update(base_url=url)
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path != ENDLESS:
            asked += ask_with_made_up_values(operation, {"stream": "gate", "event": "run-1"}, 2)
            asked += ask_with_made_up_values(operation, {}, 1)
    assert asked > 40
