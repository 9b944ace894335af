"""Names that FFmpeg would take for addresses are files, and a file is written beside what else runs."""

from __future__ import annotations

import errno
import http.server
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from edgevision.errors import SourceError
from edgevision.video import expand_sources, open_sink, open_source
from edgevision.video.codec.container import (
    Mp4File,
    has_protocol,
    open_network_stream,
    open_video_file,
)
from edgevision.video.sinks.mp4 import FRAGMENTED_MP4
from tests.support.video import number_of, numbered, record, write_clip

NAMES = [
    "12:30:05.mp4",
    "10:30.mp4",
    "http:127.0.0.1:9?x.mp4",
    "concat:a|b.mp4",
    "pipe:0.mp4",
    "file:a.mp4",
    "data:video,x.mp4",
    "subfile,,start,0,end,0,,:x.mp4",
    "crypto:x.mp4",
    "rtsp:camera.mp4",
    "a%20b.mp4",
    "-.mp4",
]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_looks_like_a_protocol_is_a_file(name, tmp_path):
    write_clip(tmp_path / "clip.mp4", range(0, 120, 40)).rename(tmp_path / name)
    with open_source(name) as source:
        numbers = [number_of(frame.image) for frame in source]
    assert numbers == [0, 1, 2]
    assert source.info.name == name


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_looks_like_a_protocol_is_a_file(name, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", range(0, 120, 40), codec="libx264")
    with open_source(str(clip)) as source, open_sink(name, info=source.info) as sink:
        record(source, sink)
    with open_video_file(name) as written:
        assert sum(1 for _ in written.decode(video=0)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "clip.mkv"])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        yield server


def test_a_file_of_a_folder_never_makes_a_connection(listener, tmp_path):
    name = f"http:127.0.0.1:{listener.getsockname()[1]}?x.mp4"
    (tmp_path / name).touch()
    for uri in (".", name, "http*.mp4"):
        for one in expand_sources(uri):
            with pytest.raises(SourceError, match="is empty"):
                open_source(one)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_an_output_never_makes_a_connection(listener, tmp_path):
    name = f"http:127.0.0.1:{listener.getsockname()[1]}"
    with Mp4File(name, {}) as file:
        stream = file.container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        file.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(0, 64, 64), "bgr24")))
        file.mux(stream.encode())
    assert (tmp_path / name).stat().st_size > 0
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_playlist_that_is_a_file_never_makes_a_connection(listener, tmp_path):
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/part.ts"
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXTINF:5,", address, "#EXT-X-ENDLIST", ""]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    with pytest.raises(SourceError):
        open_source("list.m3u8")
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_name_that_is_not_utf8_opens(tmp_path):
    name = os.fsdecode(b"caf\xe9:1.mp4")
    write_clip(tmp_path / "clip.mp4", [0, 40]).rename(tmp_path / name)
    with open_video_file(name) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


class _Playlist(http.server.BaseHTTPRequestHandler):
    target = ""

    def do_GET(self) -> None:
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXTINF:5,", self.target, "#EXT-X-ENDLIST", ""]
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.end_headers()
        self.wfile.write("\n".join(lines).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def test_a_playlist_of_a_server_never_reads_a_file(tmp_path):
    clip = write_clip(tmp_path / "private.ts", [0, 40, 80])
    handler = type("Handler", (_Playlist,), {"target": f"file://{clip}"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises((OSError, av.error.FFmpegError)):
            open_network_stream(f"http://127.0.0.1:{server.server_port}/list.m3u8", {}, 5)
        server.shutdown()


def test_whether_a_protocol_is_there_is_found_without_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert has_protocol("tcp")
        assert has_protocol("rtsp")
        assert not has_protocol("nowhere")
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def write_images(file: Mp4File, mux: Callable[..., None]) -> None:
    stream = file.container.add_stream("libx264", rate=25)
    stream.width = stream.height = 64
    for number in range(30):
        mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number, 64, 64), "bgr24")))
    mux(stream.encode())


@pytest.mark.parametrize("options", [{}, FRAGMENTED_MP4, {"movflags": "faststart"}])
def test_a_disk_that_stalls_as_a_file_begins_or_ends_stops_no_other_thread(monkeypatch, options):
    write, calls = os.write, []
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def stalled(descriptor, data):
        asked.release()
        assert answered.acquire(timeout=60)
        calls.append(len(data))
        return write(descriptor, data)

    def answer():
        while asked.acquire() and not is_over.is_set():
            answered.release()

    is_over = threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    monkeypatch.setattr(os, "write", stalled)
    file = Mp4File("out.mp4", options)
    write_images(file, file.mux)
    before = len(calls)
    file.close()
    is_over.set()
    asked.release()
    thread.join()
    assert before > 0
    assert len(calls) > before
    with open_video_file("out.mp4") as written:
        assert sum(1 for _ in written.decode(video=0)) == 30


def test_a_file_is_whole_where_the_system_takes_parts_of_it_and_a_signal_comes_meanwhile(monkeypatch):
    write, interrupts = os.write, []

    def write_part(descriptor, data):
        count = write(descriptor, data[:100])
        signal.raise_signal(signal.SIGINT)
        return count

    def mux(packets):
        try:
            file.mux(packets)
        except KeyboardInterrupt as error:
            interrupts.append(error)

    with Mp4File("whole.mp4", {}) as file:
        write_images(file, file.mux)
    monkeypatch.setattr(os, "write", write_part)
    file = Mp4File("parts.mp4", {})
    write_images(file, mux)
    with pytest.raises(KeyboardInterrupt):
        file.close()
    assert interrupts
    assert Path("parts.mp4").read_bytes() == Path("whole.mp4").read_bytes()


def test_a_full_disk_is_said_again_by_the_close(monkeypatch):
    write, calls = os.write, []

    def refuse(descriptor, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse)
    file = Mp4File("out.mp4", FRAGMENTED_MP4)
    with pytest.raises(OSError, match="No space left on device"):
        write_images(file, file.mux)
    with pytest.raises(OSError, match="No space left on device"):
        file.close()


def test_a_file_in_which_nothing_was_written_is_removed(tmp_path):
    Mp4File("out.mp4", {}).close()
    assert list(tmp_path.iterdir()) == []
