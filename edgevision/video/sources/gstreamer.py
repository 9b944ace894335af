"""GStreamer pipelines and the cameras that need it: ``gst://PIPELINE`` and ``csi://0``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from edgevision.address import Address, redact
from edgevision.errors import SourceError, UsageError
from edgevision.extras import install_command
from edgevision.types import Image
from edgevision.units import frames_per_second, image_size
from edgevision.video.base import SourceInfo
from edgevision.video.sources.feed import FeedFrame
from edgevision.video.sources.live import LiveSource
from edgevision.video.sources.options import SourceOptions, read_options

_SINK = "edgevision"
_TAIL = f"videoconvert ! video/x-raw,format=BGR ! appsink name={_SINK} sync=false max-buffers=2"
_POLL_NS = 100_000_000
_ADVICE = "check the pipeline with gst-launch-1.0"
_CSI_PARTS = ("nvarguscamerasrc", "nvvidconv")


def open_gst(uri: str, options: SourceOptions) -> LiveSource:
    """``gst://videotestsrc ! ...``: a pipeline up to raw video; conversion and appsink are appended.

    A pipeline with a live element is a live source, which is restarted when it fails; any other is a
    recording, of which every frame is read.

    Raises:
        SourceError: GStreamer is not installed, or the pipeline is invalid.
        UsageError: the pipeline is empty or has an appsink.
    """
    pipeline = uri.partition("://")[2].strip()
    if not pipeline:
        raise UsageError("gst:// needs a pipeline, such as 'gst://v4l2src ! jpegdec'")
    if "appsink" in pipeline:
        raise UsageError("gst:// appends its own appsink to the pipeline; remove yours")
    return _source(Address.parse(uri).shown, pipeline, options, uri)


def open_csi(uri: str, options: SourceOptions) -> LiveSource:
    """``csi://0?size=1920x1080&rate=30``: a camera on a Jetson's CSI port, through NVIDIA's elements.

    Raises:
        SourceError: GStreamer or NVIDIA's elements are not installed, or the camera does not respond.
        UsageError: an unknown option, or the camera is not given by its number.
    """
    pipeline = csi_pipeline(uri)
    gst = _gst("csi://")
    missing = [name for name in _CSI_PARTS if gst.ElementFactory.find(name) is None]
    if missing:
        raise SourceError(
            f"csi:// needs the GStreamer element {missing[0]} of JetPack, which is not installed; "
            "for other boards use gst://libcamerasrc"
        )
    return _source(uri.partition("?")[0], pipeline, options, uri)


def csi_pipeline(uri: str) -> str:
    """The pipeline that reads a CSI camera: ``csi://SENSOR?size=WxH&rate=FPS``."""
    address, _, query = uri.partition("?")
    sensor = address.partition("://")[2]
    if not sensor.isdecimal():
        raise UsageError(f"{Address.parse(address).shown}: expected the number of a camera, such as csi://0")
    values = read_options(query, {"size": image_size, "rate": frames_per_second}, "csi")
    width, height = values.get("size", (1280, 720))
    rate = round(values.get("rate", 30.0))
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1 ! "
        "nvvidconv ! video/x-raw,format=BGRx"
    )


class GstFeed:
    """A running pipeline with an appsink.

    Args:
        name: display name.
        pipeline: the pipeline up to raw video.
        uri: the address; its secrets are removed from error messages.
        connect_timeout_s: time limit for the first frame.

    Raises:
        SourceError: the pipeline is invalid or does not start, or (while iterating) fails.
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
            problem = self._problem() or ("it ended without a frame" if self._ended() else "no frame arrived")
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

    def __iter__(self) -> Iterator[FeedFrame | None]:
        sample, self._first = self._first, None
        while True:
            problem = self._problem()
            if sample is not None:
                yield self._frame(sample)
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
        """Starts the pipeline; its first sample, or None if it fails, ends or delivers none in time."""
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
        """The next sample; None if none arrives within the polling interval."""
        return self._sink.emit("try-pull-sample", _POLL_NS)

    def _frame(self, sample: Any) -> FeedFrame:
        buffer = sample.get_buffer()
        form = sample.get_caps().get_structure(0)
        width, height = form.get_value("width"), form.get_value("height")
        # Rows are padded to a multiple of 4 bytes.
        stride = (3 * width + 3) // 4 * 4
        rows = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
        image: Image = rows[: stride * height].reshape(height, stride)[:, : 3 * width]
        pts = buffer.pts
        time_ns = None if pts == self._gst.CLOCK_TIME_NONE else int(pts)
        return FeedFrame(np.ascontiguousarray(image).reshape(height, width, 3), time_ns, time.monotonic_ns())

    def _problem(self) -> str:
        """The first error so far, or ``""``. Drains the pipeline's bus, which would grow for ever."""
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
    _gst(name)  # fails at once if GStreamer is not installed, instead of waiting for the source
    connect = partial(GstFeed, name, pipeline, uri, options.connect_timeout_s)
    return LiveSource(name, connect, options, advice=_ADVICE)


def _gst(what: str) -> Any:
    """GStreamer through PyGObject, initialised; imported here because it is optional.

    Raises:
        SourceError: it is not installed; the message says what to install.
    """
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{what} needs GStreamer and PyGObject ({error}): apt install python3-gi gir1.2-gstreamer-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good, and use a virtual environment made with "
            f"--system-site-packages, or {install_command('gst')}"
        ) from None
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst


def _gst_error() -> Any:
    """The exception that GStreamer raises for an invalid pipeline."""
    from gi.repository import GLib

    return GLib.Error
