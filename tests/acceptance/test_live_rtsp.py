"""Against a real RTSP server that dies, stalls and changes its image. 'make test-rtsp' runs it."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from fractions import Fraction

import av
import pytest

from edgevision.errors import SourceError
from edgevision.files import safe_name
from edgevision.video import open_source
from edgevision.video.sources.options import SourceOptions, Transport
from tests.support.models import write_colour_model
from tests.support.paths import SUPPORT
from tests.support.video import eventually, number_of, numbered

pytestmark = pytest.mark.rtsp

PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for
SERVER = SUPPORT / "rtsp_server.py"
USER, PASSWORD = "annette", "s3cret-pa55"
LARGE, SMALL = "320x192", "160x96"
NEEDED = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer\n"
    "Gst.init(None)\n"
    "names = 'avidemux jpegdec videoscale videoconvert x264enc rtph264pay'.split()\n"
    "missing = [name for name in names if Gst.ElementFactory.find(name) is None]\n"
    "raise SystemExit('no ' + missing[0] if missing else 0)\n"
)
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{base,good,bad,ugly}"
WAIT_S = 300  # a machine that is busy with other things


@pytest.fixture(scope="module", autouse=True)
def gstreamer():
    try:
        found = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"needs {PYTHON}: {error}")
    if found.returncode:
        pytest.skip(f"needs apt install {PACKAGES} ({found.stderr.strip().splitlines()[-1]})")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Numbered images, ten a second, for half an hour: longer than any server of these tests lives."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    width, height = map(int, LARGE.split("x"))
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        images = []
        for number in range(256):
            frame = av.VideoFrame.from_ndarray(numbered(number, width, height), format="bgr24")
            images.append(bytes(stream.encode(frame.reformat(format="yuvj420p"))[0]))
        for number in range(30 * 60 * 10):
            packet = av.Packet(images[number % 256])
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux(packet)
    return path


class Server:
    """The server on one port, started as often as a test likes."""

    def __init__(self, clip, password=PASSWORD):
        self.clip, self.password, self.port, self.process = clip, password, 0, None

    def start(self, size=LARGE):
        self.process = subprocess.Popen(
            [PYTHON, SERVER, self.clip, str(self.port), USER, self.password, size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready, port = self.process.stdout.readline().split()
        assert ready == "ready"
        self.port = int(port)

    def kill(self):
        self.process.kill()  # also where it is stopped
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def stall(self):
        self.process.send_signal(signal.SIGSTOP)

    def resize(self, size):
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()

    def address(self, login=f"{USER}:{PASSWORD}@"):
        return f"rtsp://{login}127.0.0.1:{self.port}/clip"


@pytest.fixture
def server(clip):
    server = Server(clip)
    server.start()
    yield server
    server.kill()


class Run:
    """``edgevision run`` in a process of its own, and all that it says."""

    def __init__(self, folder, *arguments):
        command = [sys.executable, "-m", "edgevision", "run", *arguments]
        environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    def says(self, text, times=1):
        """Waits until so many lines hold the text."""
        assert eventually(lambda: sum(text in line for line in self.lines) >= times, WAIT_S), self.lines

    def metrics(self):
        """What /metrics and /healthz answer now."""
        (line,) = [line for line in self.lines if "metrics: http" in line]
        url = line.partition("metrics: ")[2].split()[0]
        pages = [
            urllib.request.urlopen(page, timeout=WAIT_S) for page in (url, url.replace("metrics", "healthz"))
        ]
        return "".join(page.read().decode() for page in pages)

    def interrupt(self):
        """Ctrl-C; the seconds until the process was gone."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(WAIT_S)
        seconds = time.monotonic() - start
        self._reader.join(5)
        return seconds


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    write_colour_model(path)
    return path


def assert_no_secret(folder, lines):
    """Nothing that was said or written holds the password, or the user's name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 1
    for content in ["".join(lines).encode(), *(path.read_bytes() for path in files)]:
        assert PASSWORD.encode() not in content
        assert USER.encode() not in content


def test_three_deaths_and_a_new_size_in_one_run(server, model, tmp_path):
    run = Run(
        tmp_path,
        *("--source", f"{server.address()}#timeout=5s", "--model", model),
        *("--output", "out.mp4", "--save-json", "out.jsonl", "--stats", "stats.json"),
        *("--metrics-port", "0"),
    )
    run.says(" frames  ")  # the first image is through
    server.kill()
    server.start()
    run.says("reconnected after", 1)

    server.resize(SMALL)
    run.says("the frame size is now 160x96, was 320x192")

    server.stall()
    run.says("no data for 5 s")
    server.kill()
    server.start(SMALL)
    run.says("reconnected after", 2)

    server.kill()
    run.says("Connection refused", 2)
    server.start()
    run.says("reconnected after", 3)
    run.says("the frame size is now 320x192, was 160x96")
    served = run.metrics()
    assert f'edgevision_reconnects_total{{stream="{safe_name(server.address(""))}"}} 3.0' in served
    run.interrupt()

    assert run.process.returncode == 130
    stream = json.loads((tmp_path / "stats.json").read_bytes())
    frames = stream["frames"]
    assert (stream["reconnects"], stream["stopped"]) == (3, "SIGINT")
    assert stream["failed_attempts"] >= 2
    assert stream["source"] == server.address("")
    assert frames["captured"] == (
        frames["inferred"] + sum(frames["dropped"].values()) + sum(frames["failed"].values())
    )
    assert frames["waiting"] == 0
    assert frames["captured"] > 10
    assert frames["inferred"] == stream["written"] > 3
    lost = [line for line in run.lines if "warning: lost" in line]
    assert len(lost) == 3

    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    times = [record["time_s"] for record in records if "time_s" in record]
    assert len(times) == stream["written"]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    with av.open(tmp_path / "out.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == stream["written"]
    assert_no_secret(tmp_path, [*run.lines, served])


@pytest.mark.parametrize("login", [f"{USER}:wr0ng-pa55@", f"{USER}@", ""])
def test_a_wrong_password_is_one_clear_line(server, model, tmp_path, login):
    if login != f"{USER}:wr0ng-pa55@":
        with pytest.raises(SourceError, match=r"401 Unauthorized .*; check user and password"):
            open_source(server.address(login))
        return
    run = Run(tmp_path, "--source", server.address(login), "--model", model, "--save-json", "out.jsonl")
    assert run.process.wait(WAIT_S) == 1
    run._reader.join(5)
    (line,) = run.lines
    assert line.startswith(f"error: cannot open {server.address('')}: Server returned 401 Unauthorized")
    assert "check user and password" in line
    assert "wr0ng" not in line
    assert USER not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("password", ["it's<me>", 'a "b"; c', "p@ss:w&r=d"])
def test_a_password_with_any_signs_works_and_is_nowhere(clip, model, tmp_path, password):
    server = Server(clip, password)
    server.start()
    address = server.address(f"{USER}:{password}@")
    outputs = ["--output", "o.mp4", "--save-json", "o.jsonl", "--stats", "s.json", "--events", "e.jsonl"]
    try:
        run = Run(tmp_path, "--source", address, "--model", model, "--max-frames", "30", *outputs)
        assert run.process.wait(WAIT_S) == 0
    finally:
        server.kill()
    said = "\n".join(run.lines)
    written = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(written) == 4
    for secret in (USER, password):
        assert secret not in said
        assert not any(secret.encode() in content for content in written)
    (first, *_) = (tmp_path / "o.jsonl").read_text().splitlines()
    assert json.loads(first)["source"] == server.address("")


def test_ctrl_c_while_the_stream_stalls(server, model, tmp_path):
    source = f"{server.address()}#timeout=90s"
    outputs = ("--save-json", "out.jsonl", "--log-format", "json")
    run = Run(tmp_path, "--source", source, "--model", model, *outputs)
    run.says(" frames  ")
    server.stall()
    time.sleep(1)
    seconds = run.interrupt()
    sys.stdout.write(f"Ctrl-C to the end of the process: {seconds:.2f} s\n")
    assert run.process.returncode == 130
    assert seconds < 45, "the time-out was waited for"  # about one where the machine has nothing else to do
    assert all(json.loads(line)["message"] for line in run.lines)
    assert_no_secret(tmp_path, run.lines)


def test_udp_brings_the_same_images(server):
    options = SourceOptions(transport=Transport.UDP, read_timeout_s=5)
    with open_source(server.address(), options) as source:
        frames = list(itertools.islice(source, 25))
    shown = [number_of(frame.image) for frame in frames]
    assert shown == list(range(shown[0], shown[0] + 25))
    gaps = [later.time_s - earlier.time_s for earlier, later in itertools.pairwise(frames[2:])]
    assert all(abs(gap - 0.1) < 0.01 for gap in gaps)
