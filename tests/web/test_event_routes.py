"""Events over HTTP: lists, counts, images, and clips by ranges of bytes."""

from __future__ import annotations

from pathlib import Path

from edgevision.web.event_routes import EventRoutes
from edgevision.web.event_store import EventStore
from tests.support.web import ask, served
from tests.web.test_event_store import NOON, event, settled


def test_events_are_listed_and_played(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(range(100)))
    with EventStore(tmp_path / "page") as store, served(routes=EventRoutes(store).routes) as server:
        store.add_file("gate", clip, 0.0, 0)
        store.add("gate", event())
        (store.database.images / "run-1.jpg").write_bytes(b"\xff\xd8")
        settled(store)
        url = server.url + "api/events"
        found = ask(f"{url}?stream=gate&class=person&limit=5").json()
        assert (found["streams"], found["classes"]) == (["gate"], ["person"])
        assert found["events"][0]["has_clip"]
        one = ask(f"{url}/run-1").json()
        assert one["clip"] == {"start_s": 0.0, "first_s": 0.5, "last_s": 2.0, "has_boxes": False}
        assert ask(f"{url}/run-1/boxes?from=0&to=9").status == 404
        clip.with_suffix(".boxes.jsonl").write_bytes(b'{"t":0,"d":{"index":0}}\n{"t":9,"d":{"index":1}}\n')
        assert ask(f"{url}/run-1").json()["clip"]["has_boxes"]
        assert ask(f"{url}/run-1/boxes?from=1&to=10").data == b'{"t":9,"d":{"index":1}}\n'
        assert ask(f"{url}/run-1/boxes?from=1").status == 400
        assert one["changes"][0]["kind"] == "new"
        assert ask(f"{url}/run-1/image.jpg").data == b"\xff\xd8"
        part = ask(f"{url}/run-1/clip.mp4", Range="bytes=0-1")
        assert (part.status, part.data, part.headers["content-range"]) == (206, b"\x00\x01", "bytes 0-1/100")
        assert ask(f"{url}/run-1/clip.mp4", Range="bytes=900-").status == 416
        start = round(NOON.timestamp() * 1e3)
        counts = ask(f"{url}/counts?from={start - 10_000}&to={start + 10_000}").json()
        assert sum(counts["streams"]["gate"]) == 1


def test_what_is_wrong_or_gone_is_said(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store, served(routes=EventRoutes(store).routes) as server:
        url = server.url + "api/events"
        for path, status in (
            ("?nothing=1", 400), ("?limit=x", 400), (f"?from={2**70}", 400), ("/counts?from=5&to=1", 400),
            ("/counts", 400), ("/x", 404), ("/x/image.jpg", 404), ("/..%2f..%2fetc/clip.mp4", 404),
            ("?before=1", 200),
        ):  # fmt: skip
            answer = ask(url + path)
            assert answer.status == status, path
            assert ("error" in answer.json()) == (status != 200), path
