"""A live tile: encoded once for all who look, not at all for nobody, and no slow viewer holds up others."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from edgevision.types import Frame, FrameResult
from edgevision.web.hub import Hub
from edgevision.web.live import Tile
from edgevision.web.server import WebServer
from tests.support.broker import wait_until
from tests.support.web import Feeder, ask, live_info, numbered_result, open_view, served, split_message


def looking(server: WebServer, kind: str = "h264", stream: str = "gate") -> Any:
    """A connection, for a ``with`` statement."""
    return connect(
        f"ws://127.0.0.1:{server.port}/api/streams/{stream}/live?as={kind}", max_size=None, close_timeout=1
    )


def messages(socket: ClientConnection, count: int) -> list[tuple[dict[str, Any], bytes]]:
    return [split_message(bytes(socket.recv(timeout=10))) for _ in range(count)]  # type: ignore[arg-type]


def test_eight_viewers_cost_one_encoding_and_nobody_costs_none() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile) as feeder:
        wait_until(lambda: feeder.number > 10, "frames")
        assert view.tile.counts.encoded == 0
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(looking(server)) for _ in range(8)]
            wait_until(lambda: view.tile.viewers == 8, "eight viewers")
            heads = [[head for head, _ in messages(socket, 20)] for socket in sockets]
        for found in heads:
            assert found[0]["kind"] == "init"
            assert found[1]["key"]
            numbers = [head["d"]["index"] for head in found[1:]]
            missing = numbers[-1] - numbers[0] - 18  # on a busy machine the encoder may be late
            assert numbers == sorted(set(numbers))
            assert missing <= view.tile.counts.skipped
        assert view.tile.counts.encoded <= feeder.number
        wait_until(lambda: view.tile.viewers == 0, "nobody")
        time.sleep(0.2)
        encoded, number = view.tile.counts.encoded, feeder.number
        wait_until(lambda: feeder.number > number + 10, "more frames")
        assert view.tile.counts.encoded == encoded


def test_who_comes_again_gets_a_beginning_and_who_comes_later_the_group_under_way() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile):
        for _ in range(3):
            with looking(server) as socket:
                (first, payload), (second, _) = messages(socket, 2)
                assert (first["kind"], second["key"]) == ("init", True)
                assert payload[4:8] == b"ftyp"
        with looking(server) as one:
            messages(one, 10)
            with looking(server) as other:
                heads = [head for head, _ in messages(other, 4)]
                assert [head["kind"] for head in heads] == ["init", "frame", "frame", "frame"]
                assert heads[1]["key"]


def test_a_new_size_begins_with_a_new_description() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile) as feeder, looking(server) as socket:
        messages(socket, 5)
        feeder.size = (640, 360)
        heads = [head for head, _ in messages(socket, 30)]
        (changed,) = [place for place, head in enumerate(heads) if head["kind"] == "init"]
        assert (heads[changed]["width"], heads[changed]["height"]) == (640, 360)
        assert heads[changed + 1]["key"]


def test_jpegs_come_over_the_socket_one_for_one() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile), looking(server, "jpeg") as socket:
        for _ in range(5):
            ((head, data),) = messages(socket, 1)
            assert head["kind"] == "jpeg"
            assert data[:2] == b"\xff\xd8"
            assert head["d"]["boxes"][0][0] == "red"
            socket.send("shown")
        assert view.tile.counts.encoded == 0


def test_programs_get_multipart_jpegs_and_a_still() -> None:
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server, Feeder(view.tile):
        still = ask(f"{server.url}api/streams/gate/still.jpg")
        assert (still.status, still.headers["content-type"], still.data[:2]) == (
            200,
            "image/jpeg",
            b"\xff\xd8",
        )
        assert int(still.headers["x-frame-index"]) >= 0
        assert ask(f"{server.url}api/streams/other/still.jpg").status == 404
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/api/streams/gate/live.mjpeg")
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=edgevision-frame"
        assert answer.read(30_000).count(b"--edgevision-frame\r\nContent-Type: image/jpeg") > 2
        connection.close()
        wait_until(lambda: view.tile.viewers == 0, "the program has left")


def test_an_unknown_stream_too_many_viewers_and_the_end_close_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgevision.web.app._MAX_VIEWERS", 1)
    hub = Hub()
    view = open_view(hub)
    with served(hub) as server:
        with looking(server, stream="other") as socket, pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4404
        with looking(server):
            wait_until(lambda: view.tile.viewers == 1, "the only viewer")
            with looking(server) as second, pytest.raises(ConnectionClosed) as closed:
                second.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        wait_until(lambda: view.tile.viewers == 0, "the viewer has left")
        with Feeder(view.tile), looking(server) as socket:
            messages(socket, 3)
            view.tile.close()
            with pytest.raises(ConnectionClosed):
                messages(socket, 10_000)


def test_a_recording_that_only_the_page_shows_runs_at_its_own_speed() -> None:
    tile = Tile("file", live_info())
    tile.is_paced = True
    start = time.monotonic()
    for number in range(6):
        result = numbered_result(number)
        tile.write(result, result.frame.image)
    assert time.monotonic() - start >= 0.19


def test_a_wide_image_is_made_smaller_and_a_copy_is_kept() -> None:
    hub = Hub()
    view = open_view(hub)
    frame = Frame(np.zeros((1200, 3840, 3), np.uint8), 0, 0)
    with served(hub) as server, looking(server) as socket:
        wait_until(lambda: view.tile.viewers == 1, "a viewer")
        for number in range(2):
            result = FrameResult(Frame(frame.image, number, number * 40_000_000), ())
            view.tile.write(result, frame.image)
        ((head, _),) = messages(socket, 1)
        assert (head["width"], head["height"]) == (1920, 600)
