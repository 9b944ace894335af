import contextlib
import http.server
import itertools
import shutil
import socket
import subprocess
import threading
import time

import av
import cv2
import pytest

from edgevision.errors import SourceError, SourceTimeoutError
from edgevision.video import open_source
from edgevision.video.base import FailReason
from edgevision.video.sources.options import SourceOptions
from tests.support.video import exif_jpeg, number_of, numbered, write_clip

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


@pytest.mark.parametrize("address", ["udp://239.0.0.1", "rtp://10.0.0.1", "tcp://10.0.0.1/x"])
def test_an_address_without_a_port_is_refused_at_once(address):
    with pytest.raises(SourceError, match=f"{address} names no port; expected an address such as"):
        open_source(address)


def test_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            SourceTimeoutError, match=r"no data for 0\.5 s; check the address and the network"
        ) as caught:
            open_source(f"rtsp://annette:s3cret@127.0.0.1:{port}/x#connect-timeout=500ms")
    assert_no_secret(caught.value)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs Debian's ffmpeg, which sends")
@pytest.mark.parametrize("scheme", ["udp", "rtp", "rtmp"])
def test_every_image_of_a_sender_is_read_with_its_time(scheme, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", EVEN, options={"g": "5", "bf": "0"})
    port = free_port()
    path = "/live/gate" if scheme == "rtmp" else ""
    sent = {
        "udp": ["-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"],
        "rtp": ["-f", "rtp_mpegts", f"rtp://127.0.0.1:{port}"],
        "rtmp": ["-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{port}{path}"],
    }[scheme]
    command = [
        "ffmpeg",
        "-loglevel",
        "quiet",
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        str(clip),
        "-c",
        "copy",
        *sent,
    ]
    address = f"{scheme}://127.0.0.1:{port}{path}#connect-timeout=20s&wait=yes"
    with subprocess.Popen(command) as sender:
        try:
            with open_source(address) as source:
                assert source.info.is_live
                frames = [
                    (number_of(frame.image), frame.timestamp_ns) for frame in itertools.islice(source, 20)
                ]
        finally:
            sender.kill()
    for (number, at_ns), (later, later_ns) in itertools.pairwise(frames):
        assert later == (number + 1) % len(EVEN)
        assert later_ns - at_ns == pytest.approx(40_000_000, abs=2_000_000)


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


def multipart(images, fps):
    """The parts of a camera's JPEG stream, at this rate."""
    for image in images:
        time.sleep(1 / fps)
        yield f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n".encode()
        yield image + b"\r\n"


class Slow(Camera):
    """A camera whose content comes in pieces, each when it is made."""

    def __init__(self, pieces, kind):
        super().__init__(kind=kind)
        handler = self._server.RequestHandlerClass

        def get(self):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)

        handler.do_GET = get


def jpegs(count, exif=False):
    if exif:
        return [exif_jpeg(numbered(number), 1) for number in range(count)]
    return [bytes(cv2.imencode(".jpg", numbered(number))[1]) for number in range(count)]


def test_jpeg_images_over_http_have_the_time_of_their_arrival():
    pieces = multipart(jpegs(15, exif=True), 10)
    frames = []
    with (
        Slow(pieces, "multipart/x-mixed-replace; boundary=part") as camera,
        open_source(camera.uri, SourceOptions(max_attempts=0)) as source,
        pytest.raises(SourceError, match="lost "),
    ):
        frames.extend(source)
    assert source.info.is_live
    assert source.info.frame_rate is None  # FFmpeg says 25
    assert [number_of(frame.image) for frame in frames] == list(range(15))
    # Sent within 1.4 s; 0.56 s by its counter. On a busy machine the first one is read late.
    assert frames[-1].timestamp_ns - frames[0].timestamp_ns > 0.8e9
    assert source.report.notes == []


def test_jpeg_images_in_a_file_on_a_web_server_are_a_recording():
    content = b"".join(jpegs(10, exif=True))
    with Server(content) as server, open_source(f"http://{server.address}/clip.mjpeg") as source:
        frames = list(source)
    assert not source.info.is_live
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert [frame.timestamp_ns for frame in frames] == [40_000_000 * number for number in range(10)]


class Files:
    """Serves a folder; ``asked`` are the names asked for."""

    def __init__(self, folder):
        self.asked = asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=folder)

            def log_message(self, form, *args):
                if "GET" in str(args[0]):
                    asked.append(str(args[0]).split()[1].lstrip("/"))

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def write_segments(folder, name, size, count, length_ms=1000, fps=10):
    """``NAME0.ts`` and so on, ``length_ms`` each, of numbered frames."""
    per_segment = length_ms * fps // 1000
    whole = [1000 // fps * number for number in range(count * per_segment)]
    clip = write_clip(
        folder / f"{name}-whole.ts", whole, size=size, options={"g": str(per_segment), "bf": "0"}
    )
    with av.open(clip) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for segment in range(count):
            with av.open(folder / f"{name}{segment}.ts", "w") as output:
                stream = output.add_stream_from_template(container.streams.video[0])
                for packet in packets[segment * per_segment : (segment + 1) * per_segment]:
                    packet.stream = stream
                    output.mux(packet)


def playlist(name, segments, first=0, is_over=False):
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for segment in range(first, first + segments):
        lines += ["#EXTINF:1.0,", f"{name}{segment}.ts"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if is_over else [])]) + "\n"


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hls")
    lines = ["#EXTM3U"]
    for name, rate, width, height in (("lo", 100_000, 160, 96), ("hi", 900_000, 320, 192)):
        write_segments(folder, name, (width, height), 8)
        (folder / f"{name}.m3u8").write_text(playlist(name, 8, is_over=True))
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate},RESOLUTION={width}x{height}", f"{name}.m3u8"]
    (folder / "master.m3u8").write_text("\n".join(lines) + "\n")
    return folder


def test_of_a_master_playlist_the_best_variant_is_read_and_no_other(variants):
    with Files(variants) as server:
        with open_source(f"http://{server.address}/master.m3u8") as source:
            frames = list(source)
        asked = list(server.asked)
    assert {frame.width for frame in frames} == {320}
    assert [number_of(frame.image) for frame in frames] == list(range(80))
    assert {f"hi{segment}.ts" for segment in range(8)} <= set(asked)
    # FFmpeg looks at the first segment of each variant
    assert not {f"lo{segment}.ts" for segment in range(2, 8)} & set(asked)


def test_a_master_playlist_in_a_folder(variants):
    with open_source(str(variants / "master.m3u8")) as source:
        frames = list(source)
    assert {frame.width for frame in frames} == {320}
    assert len(frames) == 80


def test_a_live_playlist_is_read_at_the_pace_of_its_times(variants):
    """A segment a second, each complete when it is listed: without pacing its frames come in an instant."""
    names = itertools.count(4)
    live = variants / "live.m3u8"

    def grow():
        for last in names:
            if last > 7 or stopped.wait(1):
                return
            (variants / "next.m3u8").write_text(playlist("lo", 3, last - 2))
            (variants / "next.m3u8").replace(live)

    live.write_text(playlist("lo", 3, 1))
    stopped = threading.Event()
    with Files(variants) as server:
        options = SourceOptions(max_attempts=0, read_timeout_s=3)
        with open_source(f"http://{server.address}/live.m3u8", options) as source:
            assert source.info.is_live
            grower = threading.Thread(target=grow)
            grower.start()
            arrivals, frames = [], []
            for frame in source:
                arrivals.append(time.monotonic())
                frames.append(frame)
                if number_of(frame.image) == 69:
                    break
        stopped.set()
        grower.join()
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == list(range(20, 70))  # two segments before the end
    assert arrivals[-1] - arrivals[0] > 4.0
    # no ten frames in an instant
    assert all(late - early > 0.5 for early, late in zip(arrivals, arrivals[10:], strict=False))
    steps = [round((b.timestamp_ns - a.timestamp_ns) / 1e6) for a, b in itertools.pairwise(frames)]
    assert set(steps) == {100}
    assert source.report.notes == []


class OneTransport:
    """An RTSP server that refuses the transport that is asked for, as one does that only has the other."""

    SDP = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    )

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as channel:
                self._answer(channel)

    def _answer(self, channel):
        while request := channel.readline():
            method, number = request.split()[0].decode(), 0
            while line := channel.readline().strip():
                if line.lower().startswith(b"cseq:"):
                    number = int(line.split(b":")[1])
            body = self.SDP if method == "DESCRIBE" else ""
            status = "461 Unsupported transport" if method == "SETUP" else "200 OK"
            kind = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else ""
            channel.write(f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{kind}\r\n{body}".encode())
            channel.flush()

    def close(self):
        self._socket.close()


@pytest.mark.parametrize(("asked", "other"), [("tcp", "udp"), ("udp", "tcp")])
def test_a_server_without_the_transport_that_is_asked_for(asked, other):
    server = OneTransport()
    with contextlib.closing(server), pytest.raises(SourceError) as caught:
        open_source(f"rtsp://annette:s3cret@127.0.0.1:{server.port}/live#transport={asked}")
    assert str(caught.value) == (
        f"cannot open rtsp://127.0.0.1:{server.port}/live: the server does not offer {asked.upper()}; "
        f"add #transport={other} to the address"
    )
    assert_no_secret(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_name_that_cannot_be_resolved(scheme):
    with pytest.raises(SourceError) as caught:
        open_source(f"{scheme}://annette:s3cret@camera.invalid/live")  # RFC 2606: never resolves
    assert str(caught.value) == (
        f"cannot open {scheme}://camera.invalid/live: the name camera.invalid cannot be resolved; "
        "check its spelling and the DNS of this machine, or use the IP address"
    )
    assert_no_secret(caught.value)


def test_groups_of_frames_that_a_server_pushes_are_spread_over_time(tmp_path):
    """Half a second of images at a time, as servers of fragments send them."""
    clip = write_clip(
        tmp_path / "a.ts", [40 * number for number in range(150)], options={"bf": "0", "g": "25"}
    )
    content = clip.read_bytes()
    size = len(content) // 12 + 1

    def pieces():
        for start in range(0, len(content), size):
            time.sleep(0.5)
            yield content[start : start + size]

    arrivals = []
    options = SourceOptions(max_attempts=0)
    with Slow(pieces(), "video/mp2t") as camera, open_source(camera.uri, options) as source:
        frames = iter(source)
        with pytest.raises(SourceError, match="lost "):
            arrivals.extend(time.monotonic() for _ in frames)
    assert len(arrivals) == 150
    late = arrivals[90:]
    # without pacing: 12 frames in an instant, then half a second of nothing
    assert max(b - a for a, b in itertools.pairwise(late)) < 0.4
    assert min(b - a for a, b in zip(late, late[11:], strict=False)) > 0.2
