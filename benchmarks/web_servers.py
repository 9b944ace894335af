"""Servers that streams are sent to, for the case ``outages`` of benchmarks/web.py, and what they were sent.

    python benchmarks/web_servers.py KIND ADDRESS FOLDER

``KIND`` is a name of :data:`SERVERS`. Each session becomes a file in FOLDER: lines of an image's number and
its time in seconds, or MPEG-TS as it came.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.web import BITS

SYSTEM_PYTHON = "/usr/bin/python3"  # which Debian's GStreamer is for
SERVERS = ("rtmp", "tcp", "rtsp", "whip")
RATE = 25.0

_RECORDER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, folder = sys.argv[1:]
server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
factory.set_launch(
    "( rtph264depay name=depay0 ! h264parse ! mpegtsmux ! filesink name=file location=/dev/null sync=false )"
)
def name(_, media):
    import time
    path = f"{folder}/{time.time_ns()}.ts"
    file = media.get_element().get_by_name("file")
    file.set_property("location", path)
    file.set_property("buffer-mode", 2)
def keep_times(media):
    # The sender's own times, in place of those at which packets arrive here.
    pipeline = media.get_element().get_parent()
    _, manager = pipeline.iterate_all_by_element_factory_name("rtpbin").next()
    manager.set_property("buffer-mode", 0)
factory.connect("media-configure", name)
factory.connect("media-configure", lambda _, media: media.connect("prepared", keep_times))
server.get_mount_points().add_factory("/gate", factory)
server.attach(None)
print("listens", flush=True)
GLib.MainLoop().run()
"""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What servers received.

    Attributes:
        sessions: in which anything came.
        images: all of them.
        out_of_order: whose number is not higher than that of the image before, in a session.
        longest_time_error_ms: by which the distance to the image before is not that of their numbers; None
            where the server tells no times.
    """

    sessions: int
    images: int
    out_of_order: int
    longest_time_error_ms: float | None


def address_of(protocol: str, port: int) -> str:
    """Where the sink sends to."""
    scheme = "whip+http" if protocol == "whip" else protocol
    return f"{scheme}://127.0.0.1:{port}{ {'tcp': '', 'rtmp': '/live/gate'}.get(protocol, '/gate') }"


def start_server(protocol: str, port: int, folder: Path) -> subprocess.Popen[str]:
    """A server that is ready."""
    if protocol == "rtsp":
        command = [SYSTEM_PYTHON, "-c", _RECORDER, str(port), str(folder)]
    else:
        command = [sys.executable, __file__, protocol, str(port), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "listens":
        raise RuntimeError(f"the server for {protocol} does not start")
    return process


def size_of(folder: Path) -> int:
    """Bytes that came until now."""
    return sum(path.stat().st_size for path in folder.iterdir())


def read_back(folder: Path, has_times: bool) -> ReadBack:
    """Reads all sessions."""
    sessions = [found for path in sorted(folder.iterdir()) if (found := _session(path))]
    pairs = [pair for found in sessions for pair in pairwise(found)]
    errors_s = [abs((later[1] - earlier[1]) - (later[0] - earlier[0]) / RATE) for earlier, later in pairs]
    return ReadBack(
        len(sessions),
        sum(map(len, sessions)),
        sum(later[0] <= earlier[0] for earlier, later in pairs),
        round(max(errors_s, default=0.0) * 1e3, 1) if has_times else None,
    )


def number_in(grey: np.ndarray) -> int:
    """The number that a grey image shows; see ``numbered_image``."""
    height, width = grey.shape
    return sum(
        int(grey[height // 4, (2 * bit + 1) * width // (2 * BITS)] > 128) << bit for bit in range(BITS)
    )


def _session(path: Path) -> list[tuple[int, float]]:
    if path.suffix == ".txt":
        rows = [line.split() for line in path.read_text().splitlines()]
        return [(int(row[0]), float(row[1])) for row in rows if len(row) == 2]
    found: list[tuple[int, float]] = []
    with contextlib.suppress(av.error.FFmpegError), av.open(str(path)) as container:
        found.extend(
            (number_in(frame.to_ndarray(format="gray")), frame.time)
            for frame in container.decode(video=0)
            if frame.time is not None
        )
    return found


def listen(protocol: str, port: str, folder: str) -> None:
    """RTMP or MPEG-TS over TCP, one sender after another."""
    address = f"{protocol}://127.0.0.1:{port}{'/live/gate' if protocol == 'rtmp' else ''}"
    options = {"listen": "1", "analyzeduration": "200000"}  # or FFmpeg waits five seconds for sound
    print("listens", flush=True)
    while True:
        with (
            contextlib.suppress(av.error.FFmpegError, OSError),
            av.open(address, options=options, timeout=600) as container,
            (Path(folder) / f"{time.time_ns()}.txt").open("w", buffering=1) as lines,
        ):
            for frame in container.decode(video=0):
                lines.write(f"{number_in(frame.to_ndarray(format='gray'))} {float(frame.time or 0)}\n")


def serve_whip(port: str, folder: str) -> None:
    """WHIP, one session after another."""
    import aiortc  # noqa: F401  (before it listens: seconds on a busy machine, which the first sender would wait)

    from tests.support.whip_peer import Peer

    with (Path(folder) / f"{time.time_ns()}.txt").open("w", buffering=1) as lines:

        def read(grey: np.ndarray) -> int:
            number = number_in(grey)
            lines.write(f"{number} {time.monotonic()}\n")
            return number

        Peer(read, int(port))
        print("listens", flush=True)
        time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1] == "whip":
        serve_whip(*sys.argv[2:])
    else:
        listen(*sys.argv[1:])
