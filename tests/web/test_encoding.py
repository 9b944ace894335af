"""Encoding for the page: a recording that is not drawn on is encoded once for both."""

from __future__ import annotations

import io
import random
import sys
import threading
import time
from pathlib import Path

import av
import cv2
import msgspec
import pytest

from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.recording.encoder import H264Encoder
from edgevision.types import FrameResult, Image
from edgevision.video.base import SourceInfo
from edgevision.web.drawings import Drawing, drawing
from edgevision.web.encoding import Audience, Encoding, EncodingCounts, Job, SharedEncoding
from edgevision.web.fragments import Fragment, FragmentEncoder
from edgevision.web.hub import Hub
from edgevision.web.viewer import Piece
from tests.support.broker import wait_until
from tests.support.web import numbered_image, numbered_result, open_view, served, split_message
from tests.web.test_fragments import shown_number
from tests.web.test_live import looking, messages

LIVE = SourceInfo("gate", is_live=True, width=320, height=240, frame_rate=25.0)


def described(result: FrameResult) -> bytes:
    return msgspec.json.encode(drawing(result))


def test_a_viewer_who_comes_late_begins_with_the_group_that_is_under_way() -> None:
    audience, got = Audience(), list[Piece]()
    counts = EncodingCounts()
    shared = SharedEncoding(LIVE, audience, got.append, counts)
    encoder = H264Encoder((320, 240), 25.0, at_once=True)
    for number in range(60):
        if number == 57:
            audience.h264, audience.showing = 1, 1
        note = b'{"index":%d}' % number
        for image in encoder.encode(numbered_image(number), number * 3600, note=note):
            assert image.pts == number * 3600  # it leaves at once
            shared.take(image, (320, 240))
    heads, data = zip(*(split_message(piece.data) for piece in got), strict=True)
    assert (heads[0]["kind"], heads[0]["width"]) == ("init", 320)
    assert heads[0]["codec"].startswith("avc1.64")
    assert [head["t"] // 3600 for head in heads[1:]] == list(range(50, 59))
    assert [head["d"]["index"] for head in heads[1:]] == list(range(50, 59))
    assert [head["key"] for head in heads[1:]] == [True] + [False] * 8
    assert counts.shared == 9
    with av.open(io.BytesIO(b"".join(data))) as container:
        shown = [
            (round((one.time or 0) * 25), shown_number(one.to_ndarray(format="gray")))
            for one in container.decode(video=0)
        ]
    assert shown == [(number, number) for number in range(50, 59)]
    audience.h264 = 0
    shared.take(encoder.encode(numbered_image(60), 60 * 3600)[0], (320, 240))
    assert counts.shared == 9


def test_who_looks_gets_what_the_recording_encoded_and_a_full_disk_ends_only_the_recording(
    tmp_path: Path,
) -> None:
    hub = Hub()
    tile = open_view(hub).tile
    room = [10**10]
    recorder = Recorder(
        SegmentStore(tmp_path, "gate"), LIVE, Rotation(seconds=600),
        describe=described, on_encoded=tile.take, room=lambda folder: room[0],
    )  # fmt: skip
    number = 0

    def write(count: int) -> None:
        nonlocal number
        for _ in range(count):
            result = numbered_result(number)
            recorder.write(result, result.frame.image)
            tile.write(result, result.frame.image)
            number += 1

    with served(hub) as server, looking(server) as socket:
        wait_until(lambda: tile.viewers == 1, "a viewer")
        write(10)
        heads = [head for head, _ in messages(socket, 10)]
        assert [head["kind"] for head in heads] == ["init"] + ["frame"] * 9
        assert [head["d"]["index"] for head in heads[1:]] == list(range(9))
        assert (tile.counts.encoded, tile.counts.shared) == (0, 9)
        room[0] = 0  # the disk is full
        write(30)
        assert recorder.alarm is not None
        write(60)
        wait_until(lambda: tile.counts.encoded > 0, "an encoder of the page's own")
        recorder.close()
    (clip,) = tmp_path.glob("*.mp4")
    lines = [msgspec.json.decode(line) for line in clip.with_suffix(".boxes.jsonl").read_bytes().splitlines()]
    with av.open(str(clip)) as container:
        frames = [
            (round((one.time or 0) * 90_000), shown_number(one.to_ndarray(format="gray")))
            for one in container.decode(video=0)
        ]
    assert [(line["t"], line["d"]["index"]) for line in lines][: len(frames)] == frames
    assert msgspec.convert(lines[3]["d"], Drawing).boxes[0][0] == "red"


def test_who_comes_while_the_encoder_is_let_go_gets_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that one thread closes while another encodes with it ends the process."""
    begun, let_go, calls = threading.Event(), threading.Event(), list[tuple[str, object, int]]()

    class Watched(FragmentEncoder):
        def encode(self, image: Image, ticks: int, *, as_key: bool = False) -> list[Fragment]:
            calls.append(("encode", self, threading.get_ident()))
            return super().encode(image, ticks, as_key=as_key)

        def close(self) -> None:
            calls.append(("close", self, threading.get_ident()))
            begun.set()
            assert let_go.wait(10)
            super().close()

    monkeypatch.setattr("edgevision.web.encoding.FragmentEncoder", Watched)
    audience, got = Audience(h264=1, showing=1), list[Piece]()
    encoding = Encoding("gate", LIVE, audience, got.append)
    image, result = numbered_image(0), numbered_result(0)
    for number in range(2):
        encoding.put(Job(image, number * 3600, 0.0, result))
        wait_until(lambda: encoding.counts.encoded == number + 1, "an image")  # noqa: B023
    audience.h264 = 0
    encoding.stop()
    assert begun.wait(10)
    audience.h264, audience.showing = 1, 2  # somebody comes
    encoding.put(Job(image, 7200, 0.0, result))
    time.sleep(0.2)
    assert [call for call, *_ in calls] == ["encode", "encode", "close"]
    let_go.set()
    wait_until(lambda: encoding.counts.encoded == 3, "the third image")
    encoding.close()
    assert [call for call, *_ in calls] == ["encode", "encode", "close", "encode", "close"]
    first, second = calls[0][1], calls[-1][1]
    assert [encoder for _, encoder, _ in calls] == [first] * 3 + [second] * 2
    assert len({thread for *_, thread in calls}) == 1
    assert [split_message(piece.data)[0]["kind"] for piece in got] == ["init", "frame", "init"]


def test_an_encoder_that_fails_once_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = ["as JPEG", "to close"]

    def fail(at: str) -> None:
        if at in failures:
            failures.remove(at)
            raise MemoryError

    class Failing(FragmentEncoder):
        def close(self) -> None:
            super().close()
            fail("to close")

    def as_jpeg(*arguments: object) -> object:
        fail("as JPEG")
        return imencode(*arguments)  # type: ignore[call-overload]

    imencode = cv2.imencode
    monkeypatch.setattr("edgevision.web.encoding._RESTART_S", 0.0)
    monkeypatch.setattr("edgevision.web.encoding.FragmentEncoder", Failing)
    monkeypatch.setattr(cv2, "imencode", as_jpeg)
    audience, got = Audience(jpeg=1), list[Piece]()
    encoding = Encoding("gate", LIVE, audience, got.append)
    image, result = numbered_image(0), numbered_result(0)
    encoding.put(Job(image, 0, 0.0, result))
    wait_until(lambda: failures == ["to close"], "the first failure")
    encoding.put(Job(image, 3600, 0.0, result))
    wait_until(lambda: encoding.counts.jpegs == 1, "a JPEG")
    audience.h264, audience.jpeg, audience.showing = 1, 0, 1
    encoding.put(Job(image, 7200, 0.0, result))
    wait_until(lambda: encoding.counts.encoded == 1, "an image")
    audience.h264 = 0
    encoding.stop()
    wait_until(lambda: not failures, "the second failure")
    audience.h264, audience.showing = 1, 2
    encoding.put(Job(image, 10800, 0.0, result))
    wait_until(lambda: encoding.counts.encoded == 2, "another image")
    encoding.close()
    assert [split_message(piece.data)[0]["kind"] for piece in got] == ["jpeg", "init", "init"]
    assert caplog.messages == ["gate: cannot encode for the page: MemoryError"]  # once a minute


def test_people_who_come_and_go_all_the_time_break_nothing() -> None:
    audience, got = Audience(), list[Piece]()
    encoding = Encoding("gate", LIVE, audience, got.append)
    image, result, draw = numbered_image(0), numbered_result(0), random.Random(1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(600):
            if draw.random() < 0.3:
                audience.h264 = 1 - audience.h264
                audience.showing += audience.h264
                if not audience.is_there:
                    encoding.stop()
            if audience.is_there:
                encoding.put(Job(image, number * 3600, 0.0, result))
            time.sleep(draw.random() * 0.002)
    finally:
        sys.setswitchinterval(interval)
    encoding.close()
    assert encoding.counts.encoded > 0
    assert not [one for one in threading.enumerate() if one.name == "gate"]


def test_an_image_for_which_no_thread_begins_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures, start = [RuntimeError("can't start new thread")], threading.Thread.start

    def start_later(thread: threading.Thread) -> None:
        if thread.name == "gate" and failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    encoding = Encoding("gate", LIVE, Audience(h264=1, showing=1), list[Piece]().append)
    for number in range(2):
        encoding.put(Job(numbered_image(0), number * 3600, 0.0, numbered_result(0)))
    wait_until(lambda: encoding.counts.encoded == 2, "both images")
    encoding.close()
    assert "gate: cannot encode for the page: can't start new thread" in caplog.messages
