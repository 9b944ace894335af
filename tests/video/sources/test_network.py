import http.server
import socket
import threading

import av
import cv2
import pytest

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.video import open_source
from edgevision.video.base import FailReason
from edgevision.video.sources.options import SourceOptions
from tests.support.video import number_of, numbered, write_clip

EVEN = [40 * number for number in range(30)]
SECRETS = ("annette", "s3cret", "t0ken")


class Server:
    """A web server on this machine; ``stall`` serves half of a file and then nothing."""

    def __init__(self, content: bytes, stall: bool = False, status: int = 200):
        self.ended = ended = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                if stall:
                    self.send_header("Content-Type", "video/mp2t")
                else:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if stall else content)
                if stall:
                    self.wfile.flush()
                    ended.wait(30)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def assert_no_secret(error):
    """Neither the message nor anything a traceback would print holds a part of the credentials."""
    seen = error
    while seen is not None:
        assert not any(secret in str(seen) for secret in SECRETS)
        seen = seen.__cause__ or seen.__context__


def test_a_file_on_a_web_server(tmp_path):
    path = write_clip(tmp_path / "a.mp4", EVEN, container_options={"movflags": "faststart"})
    with Server(path.read_bytes()) as server:
        uri = f"http://annette:s3cret@{server.address}/a.mp4?token=t0ken"
        with open_source(uri) as source:
            frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert [frame.timestamp_ns for frame in frames] == [time * 1_000_000 for time in EVEN]
    assert source.info.name == f"http://{server.address}/a.mp4?..."
    assert {frame.source for frame in frames} == {source.info.name}
    assert not source.info.is_live  # it has a length, so nothing may be dropped
    assert source.info.path is None
    assert source.report.read == 30


def test_a_stream_that_stalls_times_out(tmp_path):
    clip = write_clip(tmp_path / "a.ts", [40 * number for number in range(400)], size=(320, 192))
    with Server(clip.read_bytes(), stall=True) as server:
        uri = f"http://annette:s3cret@{server.address}/live?token=t0ken"
        with open_source(uri, SourceOptions(read_timeout_s=1, max_attempts=0)) as source:
            with pytest.raises(SourceTimeoutError, match=r"lost http://127.* no data for 1 s") as caught:
                list(source)
            assert source.info.is_live
            assert source.report.read > 20
    assert_no_secret(caught.value)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "check user and password"), (404, "404"), (200, "expected a video stream at this address")],
)
def test_what_a_server_refuses(status, message):
    with Server(b"no video at all" * 100, status=status) as server:
        uri = f"http://annette:s3cret@{server.address}/a?token=t0ken"
        with pytest.raises(SourceError, match=message) as caught:
            open_source(uri, SourceOptions(connect_timeout_s=5))
    assert f"http://{server.address}/a" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_no_secret(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nobody_there(scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(
        SourceError, match=f"cannot open {scheme}://127.0.0.1:{port}/x: Connection refused"
    ) as caught:
        open_source(f"{scheme}://annette:s3cret@127.0.0.1:{port}/x", SourceOptions(connect_timeout_s=3))
    assert_no_secret(caught.value)


def test_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            SourceTimeoutError, match=r"no data for 0\.5 s; check the address and the network"
        ) as caught:
            open_source(f"rtsp://annette:s3cret@127.0.0.1:{port}/x#connect-timeout=500ms")
    assert_no_secret(caught.value)


class Camera:
    """A camera on this machine that speaks HTTP: each request gets the next content, without a length."""

    def __init__(self, *contents, kind="video/mp2t"):
        self.contents = contents = list(contents)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if not contents:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(contents.pop(0))

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://annette:s3cret@127.0.0.1:{self._server.server_port}/live?token=t0ken"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def read_all(camera):
    """Frames and source, read until the camera has no more and one attempt to come back has failed."""
    with open_source(camera.uri, SourceOptions(max_attempts=1)) as source:
        frames = []
        with pytest.raises(SourceError, match=r"5XX .*; gave up after 1 attempt") as caught:
            frames.extend(source)
    assert_no_secret(caught.value)
    return frames, source


def test_another_codec_after_a_reconnect(tmp_path, caplog):
    first = write_clip(tmp_path / "a.ts", EVEN)
    second = write_clip(tmp_path / "b.ts", EVEN, codec="mpeg4", size=(320, 192))
    with Camera(first.read_bytes(), second.read_bytes()) as camera:
        frames, source = read_all(camera)
    assert [number_of(frame.image) for frame in frames] == [*range(30), *range(30)]
    assert [frame.width for frame in frames] == [160] * 30 + [320] * 30
    assert [frame.index for frame in frames] == list(range(60))
    assert source.connection.reconnects == 1
    assert not any(secret in caplog.text for secret in SECRETS)
    assert "; reconnecting" in caplog.text


def test_a_stream_that_is_joined_between_key_frames(tmp_path):
    whole = write_clip(tmp_path / "a.ts", EVEN, options={"g": "10", "keyint_min": "10", "bf": "0"})
    joined = tmp_path / "joined.ts"
    with av.open(whole) as container, av.open(joined, "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if number >= 4 and packet.size:
                packet.stream = stream
                output.mux(packet)
    with Camera(joined.read_bytes()) as camera:
        frames, source = read_all(camera)
    assert [number_of(frame.image) for frame in frames] == list(range(10, 30))
    assert source.report.failed == {FailReason.NO_KEY_FRAME: 6}


def test_damaged_packets_of_a_stream_are_counted():
    parts = []
    for number in range(12):
        _, image = cv2.imencode(".jpg", numbered(number))
        jpeg = bytes(image)
        if number in (4, 5, 9):
            jpeg = jpeg[:2] + bytes(len(jpeg) - 2)
        header = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(header.encode() + jpeg + b"\r\n")
    with Camera(b"".join(parts), kind="multipart/x-mixed-replace; boundary=part") as camera:
        frames, source = read_all(camera)
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 6, 7, 8, 10, 11]
    assert source.report.failed == {FailReason.UNDECODABLE: 3}
