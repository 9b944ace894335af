"""The state of a run: numbers, and what is wrong in words."""

from __future__ import annotations

from edgevision.pipeline import LatencyControl, StreamState, StreamStatistics
from edgevision.pipeline.statistics import Outage
from edgevision.video.base import Delivery
from edgevision.web.hub import Hub
from edgevision.web.state import remarks, run_state
from tests.support.pipeline import ledger_entry, run_statistics, stream_statistics
from tests.support.web import open_view


def lines(**changes: object) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in remarks(stream_statistics("gate", **changes))]


def test_what_is_wrong_comes_first_and_says_how_much_was_lost() -> None:
    entry = ledger_entry(dropped={"newer_frame": 1, "latency": 0}, failed={"undecodable": 2})
    found = lines(
        frames=entry,
        state=StreamState.RECONNECTING,
        failed_attempts=1,
        reconnects=2,
        deliveries=(Delivery(output="clips", kind="recording", lost=3, alarm="the disk is full"),),
        latency_control=LatencyControl(bound_ms=150, on_fallback=True),
        notes=("a note",),
    )
    assert found == [
        ("error", "the source is lost; trying again (1 attempt failed so far)"),
        ("error", "the disk is full"),
        ("warning", "clips: 3 images lost"),
        ("warning", "2 frames could not be decoded"),
        ("warning", "the fallback model answers, to hold 150 ms"),
        ("note", "1 frame of 15 replaced by a newer frame"),
        ("note", "the source was lost and came back 2 times"),
        ("note", "a note"),
    ]


def test_a_failed_stream_says_why() -> None:
    assert lines(state=StreamState.FAILED, error="no answer", frames=ledger_entry(dropped={})) == [
        ("error", "ended with an error: no answer")
    ]
    assert lines(frames=ledger_entry(dropped={})) == []
    refused = StreamStatistics.of_refused("gate", "gate.mp4", "gate.mp4 does not exist")
    assert [one.text for one in remarks(refused)] == ["does not run: gate.mp4 does not exist"]
    away = Outage(seconds=42.0, attempts=6, reason="cannot open rtsp://gate/1: Connection refused")
    text = (
        "the source is lost: cannot open rtsp://gate/1: Connection refused; "
        "trying again (6 attempts failed so far)"
    )
    found = lines(
        state=StreamState.RECONNECTING, lost=away, failed_attempts=9, frames=ledger_entry(dropped={})
    )
    assert found == [("error", text)]


def test_the_state_joins_numbers_and_what_the_page_knows() -> None:
    hub = Hub()
    assert run_state(hub).streams == []
    view = open_view(hub, "webcam")
    view.tile.size = (640, 480)
    hub.read = lambda: run_statistics(stream_statistics("webcam"), stream_statistics("other"))
    first, second = run_state(hub).streams
    assert (first.id, first.width, first.height, first.viewers) == ("webcam", 640, 480, 0)
    assert (second.id, second.width, second.curves) == ("", None, None)
    assert list(first.classes) == ["blue", "green", "red"]
    assert not run_state(hub).can_change_streams
