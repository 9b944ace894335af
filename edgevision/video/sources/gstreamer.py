"""Pipelines of GStreamer, and cameras that only it can read: ``gst://PIPELINE`` and ``csi://0``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from edgevision.errors import SourceError, UsageError
from edgevision.types import Image
from edgevision.units import frames_per_second, image_size
from edgevision.video.base import SourceInfo
from edgevision.video.redact import redact
from edgevision.video.sources.feed import Picture
from edgevision.video.sources.live import LiveSource
from edgevision.video.sources.options import SourceOptions, read_options

_SINK = "edgevision"
_TAIL = f"videoconvert ! video/x-raw,format=BGR ! appsink name={_SINK} sync=false max-buffers=2"
_POLL_NS = 100_000_000
_ADVICE = "check the pipeline with gst-launch-1.0"
_CSI_PARTS = ("nvarguscamerasrc", "nvvidconv")


def open_gst(uri: str, options: SourceOptions) -> LiveSource:
    """``gst://videotestsrc ! ...``: everything up to raw pictures; conversion and sink are put behind it.

    A pipeline with a live element is a live source, and is built again when it fails; any other is a
    recording, of which every frame is read.

    Raises:
        SourceError: GStreamer is not installed, or refuses the pipeline.
        UsageError: there is no pipeline, or it has a sink of its own.
    """
    pipeline = uri.partition("://")[2].strip()
    if not pipeline:
        raise UsageError("gst:// needs a pipeline, such as 'gst://v4l2src ! jpegdec'")
    if "appsink" in pipeline:
        raise UsageError("gst:// puts its own appsink behind the pipeline; leave it out")
    return _source(f"gst://{_first_element(pipeline)}", pipeline, options, uri)


def open_csi(uri: str, options: SourceOptions) -> LiveSource:
    """``csi://0?size=1920x1080&rate=30``: a camera on a Jetson's CSI port, through NVIDIA's elements.

    Raises:
        SourceError: GStreamer or NVIDIA's elements are not installed, or the camera does not answer.
        UsageError: an option that does not exist, or no number of a camera.
    """
    pipeline = csi_pipeline(uri)
    gst = _gst("csi://")
    missing = [name for name in _CSI_PARTS if gst.ElementFactory.find(name) is None]
    if missing:
        raise SourceError(
            f"csi:// needs the GStreamer element {missing[0]}, which comes with JetPack and is not on this "
            "machine; cameras of other boards: gst://libcamerasrc"
        )
    return _source(uri.partition("?")[0], pipeline, options, uri)


def csi_pipeline(uri: str) -> str:
    """The pipeline that reads a CSI camera: ``csi://SENSOR?size=WxH&rate=FPS``."""
    address, _, query = uri.partition("?")
    sensor = address.partition("://")[2]
    if not sensor.isdecimal():
        raise UsageError(f"{address}: expected the number of a camera, such as csi://0")
    values = read_options(query, {"size": image_size, "rate": frames_per_second}, "csi")
    width, height = values.get("size", (1280, 720))
    rate = round(values.get("rate", 30.0))
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1 ! "
        "nvvidconv ! video/x-raw,format=BGRx"
    )


class GstFeed:
    """A running pipeline that ends in an appsink.

    Args:
        name: for people.
        pipeline: up to raw pictures.
        uri: whose secrets never appear in an error.
        connect_timeout_s: for its first picture to be ready.

    Raises:
        SourceError: GStreamer refuses it, it does not start, or (while iterating) it fails.
    """

    def __init__(self, name: str, pipeline: str, uri: str, connect_timeout_s: float) -> None:
        self.notes: list[str] = []
        self._gst = gst = _gst(name)
        self._name, self._uri = name, uri
        self._error = ""
        failure = ""
        try:
            self._pipeline = gst.parse_launch(f"{pipeline} ! {_TAIL}")
        except _gst_error() as error:
            failure = str(error.message)
        if failure:
            raise self._failure("cannot open", failure)
        self._sink = self._pipeline.get_by_name(_SINK)
        self._bus = self._pipeline.get_bus()
        self._first = self._start(connect_timeout_s)
        if self._first is None:
            problem = self._problem() or ("it has no pictures" if self._ended() else "no picture came")
            self.close()
            raise self._failure("cannot open", problem)
        form = self._first.get_caps().get_structure(0)
        known, above, below = form.get_fraction("framerate")
        self.info = SourceInfo(
            name=name,
            is_live=self._is_live,
            width=form.get_value("width"),
            height=form.get_value("height"),
            frame_rate=above / below if known and above and below else None,
        )

    def __iter__(self) -> Iterator[Picture | None]:
        sample, self._first = self._first, None
        while True:
            problem = self._problem()
            if sample is not None:
                yield self._picture(sample)
            elif problem:
                raise self._failure("lost", problem)
            elif self._ended():
                return
            else:
                yield None
            sample = self._pull()

    def close(self) -> None:
        self._pipeline.set_state(self._gst.State.NULL)

    def _start(self, timeout_s: float) -> Any:
        """Starts the pipeline; its first sample, or None where it fails, ends, or gives none in time."""
        states, changes = self._gst.State, self._gst.StateChangeReturn
        self._is_live = False
        deadline = time.monotonic() + timeout_s
        self._pipeline.set_state(states.PAUSED)
        change = changes.ASYNC
        while change == changes.ASYNC and time.monotonic() < deadline and not self._problem():
            change, _, _ = self._pipeline.get_state(_POLL_NS)
        self._is_live = change == changes.NO_PREROLL
        self._pipeline.set_state(states.PLAYING)
        sample = None
        while sample is None and time.monotonic() < deadline and not (self._problem() or self._ended()):
            sample = self._pull()
        return sample

    def _pull(self) -> Any:
        """The next sample, or None where none comes for a moment."""
        return self._sink.emit("try-pull-sample", _POLL_NS)

    def _picture(self, sample: Any) -> Picture:
        buffer = sample.get_buffer()
        form = sample.get_caps().get_structure(0)
        width, height = form.get_value("width"), form.get_value("height")
        # Rows are padded to a multiple of 4 bytes.
        stride = (3 * width + 3) // 4 * 4
        rows = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
        image: Image = rows[: stride * height].reshape(height, stride)[:, : 3 * width]
        pts = buffer.pts
        time_ns = None if pts == self._gst.CLOCK_TIME_NONE else int(pts)
        return Picture(np.ascontiguousarray(image).reshape(height, width, 3), time_ns, time.monotonic_ns())

    def _problem(self) -> str:
        """The first error so far; "" without one. Empties the pipeline's bus, which would grow for ever."""
        while (message := self._bus.pop()) is not None:
            if message.type == self._gst.MessageType.ERROR and not self._error:
                self._error = str(message.parse_error()[0].message)
        return self._error

    def _ended(self) -> bool:
        return bool(self._sink.get_property("eos"))

    def _failure(self, what: str, found: str) -> SourceError:
        line = " ".join(found.split()).rstrip(".")
        return SourceError(f"{what} {self._name}: {redact(line, self._uri)}; {_ADVICE}")


def _source(name: str, pipeline: str, options: SourceOptions, uri: str) -> LiveSource:
    _gst(name)  # what is not installed is no reason to wait for it
    connect = partial(GstFeed, name, pipeline, uri, options.connect_timeout_s)
    return LiveSource(name, connect, options, advice=_ADVICE)


def _first_element(pipeline: str) -> str:
    """What the pipeline starts with; its properties may hold a password."""
    return pipeline.split("!")[0].split()[0]


def _gst(what: str) -> Any:
    """GStreamer through PyGObject, started; imported here because few machines have it.

    Raises:
        SourceError: it is not installed; says what to install.
    """
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{what} needs GStreamer and PyGObject ({error}): apt install python3-gi gir1.2-gstreamer-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good, and use a virtual environment made with "
            "--system-site-packages, or pip install 'edgevision[gst]'"
        ) from None
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst


def _gst_error() -> Any:
    """What GStreamer raises for a pipeline that it cannot read."""
    from gi.repository import GLib

    return GLib.Error
