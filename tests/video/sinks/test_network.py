"""Streams out against real peers: every image and its time, silence, loss, and what is counted.

Also tests ``edgevision.video.sinks.sender``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from edgevision.errors import SinkError
from edgevision.types import Frame, FrameResult
from edgevision.video.base import SourceInfo
from edgevision.video.sinks import network
from edgevision.video.sinks.network import NetworkSink, target_of
from edgevision.video.sinks.open import open_sink
from edgevision.video.sources.open import open_source
from tests.support.broker import wait_until
from tests.support.paths import ROOT

BITS = 8
LIVE = SourceInfo("camera", is_live=True, frame_rate=25.0)


def frame(number: int, size: tuple[int, int] = (160, 120)) -> FrameResult:
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        image[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 16
    return FrameResult(Frame(image, number, number * 40_000_000), ())


def number_in(grey: np.ndarray) -> int:
    height, width = grey.shape
    return sum(
        int(grey[height // 2, (2 * bit + 1) * width // (2 * BITS)] > 128) << bit for bit in range(BITS)
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Reader:
    """Listens with FFmpeg, and keeps the numbers and times of what it is sent."""

    def __init__(self, address: str, options: dict[str, str] | None = None) -> None:
        self.frames: list[tuple[int, float]] = []
        self._address, self._options = address, options or {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        ended = contextlib.suppress(av.error.FFmpegError)  # some protocols end so
        with ended, av.open(self._address, options=self._options, timeout=30) as container:
            for one in container.decode(video=0):
                self.frames.append((number_in(one.to_ndarray(format="gray")), float(one.time or 0)))

    def join(self) -> None:
        self._thread.join(15)


def write_all(sink: NetworkSink, count: int, start: int = 0, rate: float = 50.0) -> None:
    for number in range(start, start + count):
        result = frame(number % 256)
        result = FrameResult(Frame(result.frame.image, number, number * 40_000_000), ())
        sink.write(result, result.frame.image)
        time.sleep(1 / rate)


@pytest.mark.parametrize("scheme", ["tcp", "rtmp"])
def test_every_image_arrives_with_its_time(scheme: str) -> None:
    port = free_port()
    address = f"{scheme}://127.0.0.1:{port}" + ("/live/gate" if scheme == "rtmp" else "")
    listening = f"{address}?listen=1" if scheme == "tcp" else address
    reader = Reader(listening, {} if scheme == "tcp" else {"listen": "1"})
    time.sleep(0.3)
    with NetworkSink(target_of(address), LIVE) as sink:
        write_all(sink, 4)
        wait_until(lambda: sink.sent > 0, "the connection", 20)
        write_all(sink, 40, start=100)
    reader.join()
    numbers = [number for number, _ in reader.frames]
    assert sink.made == sink.sent + sink.unsent == 44
    assert numbers[-40:] == list(range(100, 140))
    gaps = np.diff([moment for _, moment in reader.frames[-40:]])
    assert abs(gaps - 0.04).max() < 0.002
    assert not any("not" in note for note in sink.notes) or sink.unsent


def test_a_silent_peer_never_delays_the_run_and_another_one_gets_the_rest() -> None:
    port = free_port()
    silent = socket.create_server(("127.0.0.1", port))
    sink = NetworkSink(target_of(f"rtmp://127.0.0.1:{port}/live/gate"), LIVE)
    longest = 0.0
    start = time.monotonic()
    number = 0
    while time.monotonic() - start < 3:  # RTMP's handshake gets no answer
        before = time.monotonic()
        result = frame(number % 256)
        sink.write(result, result.frame.image)
        longest = max(longest, time.monotonic() - before)
        number += 1
        time.sleep(0.02)
    assert longest < 0.5
    assert sink.sent == 0
    assert sink.unsent > 0
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 6
    assert sink.made == sink.sent + sink.unsent
    silent.close()


KILLED = """
from pathlib import Path
from edgevision.video.sinks.network import NetworkSink, target_of
from tests.support.broker import wait_until
from tests.video.sinks.test_network import LIVE, write_all
import os, sys, time
sink = NetworkSink(target_of(sys.argv[1]), LIVE)
write_all(sink, 3)
children = lambda: [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
wait_until(lambda: "".join(children()).strip(), "the process that sends", 20)
print("".join(children()).strip(), flush=True)
time.sleep(60)
"""


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about processes")
def test_an_opening_that_is_not_answered_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_OPEN_S", (0.2, 0.3))
    monkeypatch.setattr(network, "_LATE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        sink = NetworkSink(target_of(f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/gate"), LIVE)
        result = frame(0)
        sink.write(result, result.frame.image)
        first, _ = silent.accept()
        silent.settimeout(0.2)
        second = None
        for _ in range(300):  # 60 s
            sink.write(result, result.frame.image)
            with contextlib.suppress(TimeoutError):
                second, _ = silent.accept()
                break
        sink.close()
        first.close()
        assert second is not None
        second.close()
    assert (sink.sent, sink.made) == (0, sink.unsent)


def test_a_killed_run_leaves_no_process_that_waits_for_a_silent_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/gate"
        command = [sys.executable, "-c", KILLED, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
            assert process.stdout is not None
            sender = int(process.stdout.readline())
            silent.settimeout(30)
            peer, _ = silent.accept()  # and no word to it: only a kill ends the process now
            with peer:
                assert is_alive(sender)
                process.kill()
                wait_until(lambda: not is_alive(sender), "its end", 20)


def test_what_a_peer_never_reads_is_not_counted_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision.video.sinks.network._CLOSE_S", 0.5)
    with socket.socket() as silent:
        silent.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )  # a few images, and not megabytes of them
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        random = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
        with NetworkSink(target_of(address), LIVE) as sink:
            plain = np.zeros_like(random)
            sink.write(FrameResult(Frame(plain, 0, 0), ()), plain)
            wait_until(lambda: sink.sent > 0, "the first image", 20)
            for number in range(1, 61):  # which the system takes, and the peer does not
                image = np.roll(random, number, axis=1)
                sink.write(FrameResult(Frame(image, number, number * 40_000_000), ()), image)
                wait_until(lambda: len(sink._queue) < 4, "the process takes it", 20)
    assert sink.made == sink.sent + sink.unsent == 61
    assert 0 < sink.sent < 40


def test_a_recording_that_nobody_takes_is_a_failure() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    sink = NetworkSink(target_of(address), replace(LIVE, is_live=False))
    write_all(sink, 3)
    wait_until(lambda: sink.deliveries()[0].alarm is not None, "an alarm", 20)
    with pytest.raises(SinkError, match=rf"cannot send to {address}: Connection refused; none of 3 images"):
        sink.close()


def test_a_peer_that_comes_later_is_sent_to() -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    sink = NetworkSink(target_of(address), LIVE)
    write_all(sink, 5)
    wait_until(lambda: sink.deliveries()[0].alarm is not None, "an alarm", 20)
    (account,) = sink.deliveries()
    assert (account.kind, account.output) == ("stream", address)
    assert "Connection refused" in str(account.alarm)
    reader = Reader(f"{address}?listen=1")
    deadline = time.monotonic() + 25
    number = 5
    while sink.sent < 20 and time.monotonic() < deadline:
        write_all(sink, 1, start=number)
        number += 1
    assert sink.sent >= 20
    assert sink.deliveries()[0].alarm is None
    sink.close()
    reader.join()
    assert len(reader.frames) >= 20
    assert sink.made == sink.sent + sink.unsent == number


def test_a_playlist_is_bounded_and_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    left = [tmp_path / f"live-{number:06d}.ts" for number in range(20)]
    for path in left:
        path.write_bytes(b"old")
    other = tmp_path / "live-notes.ts"
    other.write_bytes(b"mine")
    with open_sink(str(tmp_path / "live.m3u8"), info=LIVE) as sink:
        assert isinstance(sink, NetworkSink)
        write_all(sink, 3)
        wait_until(lambda: sink.sent > 0, "the first image", 20)
        write_all(sink, 150, start=3, rate=200.0)
        wait_until(lambda: len(sink._queue) == 0, "all is sent", 20)
    text = (tmp_path / "live.m3u8").read_text()
    assert "#EXT-X-PROGRAM-DATE-TIME" in text
    assert "#EXT-X-ENDLIST" in text
    segments = [line for line in text.splitlines() if line.endswith(".ts")]
    assert 1 <= len(segments) <= 6
    assert all((tmp_path / name).read_bytes()[:1] == b"G" for name in segments)
    assert other.read_bytes() == b"mine"
    assert len(list(tmp_path.glob("*.ts"))) <= len(segments) + 3
    with av.open(str(tmp_path / "live.m3u8")) as container:
        assert next(container.decode(video=0)).width == 160


PIPED = """
from edgevision.errors import SinkError
from edgevision.video.sinks.network import NetworkSink, target_of
from tests.video.sinks.test_network import LIVE, write_all
import sys
sink = NetworkSink(target_of(sys.argv[2] if len(sys.argv) > 2 else "-"), LIVE)
try:
    write_all(sink, int(sys.argv[1]), rate=1000.0)
    sink.close()
except SinkError as error:
    sys.stderr.write(str(error))
sys.stderr.write(f"{sink.made} {sink.sent} {sink.unsent}")
"""


def test_a_pipe_gets_every_image() -> None:
    done = subprocess.run([sys.executable, "-c", PIPED, "30"], capture_output=True, cwd=ROOT)
    assert done.stderr == b"30 30 0"
    assert done.stdout[0] == 0x47
    assert len(done.stdout) % 188 == 0
    with av.open(io.BytesIO(done.stdout), format="mpegts") as container:
        assert [number_in(one.to_ndarray(format="gray")) for one in container.decode(video=0)] == list(
            range(30)
        )


def test_a_pipe_gets_one_jpeg_after_another() -> None:
    command = [sys.executable, "-c", PIPED, "12", "-.mjpg"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60)
    assert done.stderr == b"12 12 0"
    assert done.stdout[:3] == b"\xff\xd8\xff"
    with av.open(io.BytesIO(done.stdout), format="mjpeg") as container:
        found = list(container.decode(video=0))
    assert [number_in(one.to_ndarray(format="gray")) for one in found] == list(range(12))
    assert found[0].format.name == "yuvj420p"
    sides = found[0].to_ndarray(format="gray")[60, [10, 150]]  # number 0: all dark, which is 16 and not 0
    assert abs(sides.astype(int) - 16).max() < 6


def test_a_pipe_whose_reader_leaves_ends_the_stream() -> None:
    command = [sys.executable, "-c", PIPED, "5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(188)[0] == 0x47
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "cannot send to standard output: Broken pipe; its reader is gone" in said


def test_a_protocol_that_the_library_lacks_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision.video.sinks.network.has_protocol", lambda scheme: scheme != "https")
    with pytest.raises(
        SinkError, match=r"cannot send to whip\+https://host/x: .* built without whip\+https; it"
    ):
        open_sink("whip+https://ann:secret@host/x", info=LIVE)
    assert open_sink("rtmp://host/x", info=LIVE).name == "rtmp://host/x"


def test_what_cannot_be_sent_to_at_all_is_said_once_and_ends_the_stream() -> None:
    target = replace(target_of("tcp://127.0.0.1:9999"), name="a nowhere", address="nowhere://127.0.0.1:9999")
    sink = NetworkSink(target, LIVE)
    with pytest.raises(SinkError, match=r"cannot send to a nowhere: .*this build of FFmpeg"):
        write_all(sink, 400, rate=20.0)
    with pytest.raises(SinkError):
        sink.close()
    assert sink.made == sink.sent + sink.unsent


def test_passwords_are_not_shown_and_hosts_are_asked_for() -> None:
    target = target_of("rtsp://ann:secret@host:8554/live")
    assert target.name == "rtsp://host:8554/live"
    assert target.address == "rtsp://ann:secret@host:8554/live"
    assert target_of("udp://239.0.0.1:1234").address.endswith("?pkt_size=1316")
    assert target_of("whip+https://host/whip").address == "https://host/whip"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("rtsp://", "names no host; expected an address such as rtsp://host:8554/name"),
        ("rtmp:///live/gate", "names no host; expected an address such as rtmp://host/app/key"),
        ("udp://10.0.0.1", "names no port; expected an address such as udp://239.0.0.1:5000"),
        ("tcp://10.0.0.1/x", "names no port; expected an address such as tcp://host:5000"),
        ("tcp://:70000", "names port 70000, which is not from 1 to 65535"),
        ("rtmp://10.0.0.1:port/live", "names no host and port that can be told from user and password"),
    ],
)
def test_an_address_without_a_place_is_refused_at_once(address: str, said: str) -> None:
    with pytest.raises(SinkError, match=said):
        target_of(address)


def test_a_source_reads_mpeg_ts_over_tcp_that_a_sink_sends() -> None:
    port = free_port()
    found: list[int] = []

    def read() -> None:
        with open_source(f"tcp://127.0.0.1:{port}?listen=1") as source:
            for one in source:
                found.append(number_in(one.image[..., 1]))
                if len(found) == 20:
                    break

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    time.sleep(0.5)
    with NetworkSink(target_of(f"tcp://127.0.0.1:{port}"), LIVE) as sink:
        deadline = time.monotonic() + 30
        number = 0
        while len(found) < 20 and time.monotonic() < deadline:
            write_all(sink, 1, start=number)
            number += 1
    thread.join(10)
    assert len(found) == 20
    assert found == list(range(found[0], found[0] + 20))


def ends_of_pipes(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ends that are open, of pipes that are made from here on, and copies of others."""
    ends = set[int]()
    make, copy, close = os.pipe, os.dup, os.close

    def opened() -> tuple[int, int]:
        made = make()
        ends.update(made)
        return made

    def copied(end: int) -> int:
        ends.add(made := copy(end))
        return made

    def closed(end: int) -> None:
        ends.discard(end)
        close(end)

    monkeypatch.setattr(os, "pipe", opened)
    monkeypatch.setattr(os, "dup", copied)
    monkeypatch.setattr(os, "close", closed)
    return ends


def send_three() -> tuple[str, NetworkSink]:
    """Sends three images to an address of this machine, until all have left and no alarm is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{peer.getsockname()[1]}"
        with NetworkSink(target_of(address), LIVE) as sink:
            write_all(sink, 3)
            wait_until(lambda: sink.sent == 3 and sink.deliveries()[0].alarm is None, "the images", 30)
    return address, sink


def test_a_stream_goes_on_after_the_system_had_no_room_for_its_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.ENOMEM, "Cannot allocate memory"), OSError(errno.EAGAIN, "Try again")]
    start = subprocess.Popen

    def start_later(*arguments: object, **options: object) -> object:
        if failures:
            raise failures.pop(0)
        return start(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start_later)
    address, sink = send_three()
    assert sink.made == sink.sent + sink.unsent == 3
    said = f"cannot send to {address}: no process can be run for it: Cannot allocate memory; trying again"
    assert any(said in message for message in caplog.messages)


def test_a_pipe_ends_the_run_where_the_system_has_no_room_for_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    ends = ends_of_pipes(monkeypatch)
    sink = NetworkSink(target_of("-"), LIVE)
    said = list[str]()

    def write() -> None:
        try:
            write_all(sink, 100, rate=1000.0)
        except SinkError as error:
            said.append(str(error))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(10)
    assert said == ["cannot send to standard output: no process can be run for it: Cannot allocate memory"]
    with pytest.raises(SinkError, match="no process can be run for it"):
        sink.close()
    assert sink.made == sink.unsent
    assert not ends


@pytest.mark.parametrize(
    ("place", "name"), [(os, "pipe"), (os, "set_blocking"), (os, "dup"), (network, "TemporaryDirectory")]
)
def test_a_system_that_has_no_room_for_an_output_is_one_line_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    ends = ends_of_pipes(monkeypatch)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    monkeypatch.setattr(place, name, refuse)
    target = replace(target_of("-"), muxer="whip" if name == "TemporaryDirectory" else "mpegts")
    with pytest.raises(SinkError, match=r"^cannot send to standard output: Too many open files$"):
        NetworkSink(target, LIVE)
    assert not ends


def test_a_disk_that_has_no_room_for_a_certificate_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(network, "write_certificate", refuse)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    sink = NetworkSink(replace(target_of("-"), muxer="whip"), LIVE)
    with sink, pytest.raises(SinkError, match=r"^cannot send to standard output: No space left on device$"):
        sink.write(frame(0), frame(0).frame.image)


def test_a_stream_goes_on_after_the_system_had_no_room_for_its_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures, start = [RuntimeError("can't start new thread")], threading.Thread.start

    def start_later(thread: threading.Thread) -> None:
        if thread.name.startswith("send ") and failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    send_three()
    assert any("no thread can be begun for it: can't start new thread" in one for one in caplog.messages)


def test_a_thread_that_outlives_its_sink_takes_nothing_of_a_file_that_got_the_number_of_its_pipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def stalled(_: object) -> None:  # as a disk that does not answer
        begun.set()
        assert let_go.wait(30)

    monkeypatch.setattr(network, "_remove_segments", stalled)
    monkeypatch.setattr(network, "_OPEN_S", (0.0, 0.0))
    monkeypatch.setattr(network, "_CLOSE_S", 0.0)
    sink = NetworkSink(target_of(str(tmp_path / "live.m3u8")), LIVE)
    write_all(sink, 3)
    assert begun.wait(30)
    sink.close()
    others = [os.pipe() for _ in range(4)]
    for out, into in others:
        os.set_blocking(out, False)
        os.write(into, b"mine")
    let_go.set()
    assert sink._thread is not None
    sink._thread.join(30)
    assert [os.read(out, 8) for out, _ in others] == [b"mine"] * 4
    for pipe in others:
        for end in pipe:
            os.close(end)


def test_an_rtsp_server_is_published_to() -> None:
    address = f"rtsp://127.0.0.1:{free_port()}/gate"
    reader = Reader(address, {"rtsp_flags": "listen", "listen_timeout": "20"})
    time.sleep(0.5)
    with NetworkSink(target_of(address), LIVE) as sink:
        write_all(sink, 4)
        wait_until(lambda: sink.sent > 0, "the connection", 20)
        write_all(sink, 60, start=100)
    reader.join()
    numbers = [number for number, _ in reader.frames]
    assert set(range(110, 150)) <= set(numbers)
    assert sink.made == sink.sent + sink.unsent
