"""gst:// and csi:// on the real GStreamer. Where there is no PyGObject, Debian's own is borrowed."""

import itertools
import os
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgevision.errors import SourceError, SourceTimeoutError, UsageError
from edgevision.extras import install_command
from edgevision.video import open_source
from edgevision.video.sources.gstreamer import csi_pipeline
from edgevision.video.sources.options import SourceOptions
from tests.support.video import eventually

DEBIAN = Path("/usr/lib/python3/dist-packages/gi")
BALL = "videotestsrc is-live=true pattern=ball"
SIZE = "video/x-raw,width=160,height=96,framerate=25/1"
ONCE = SourceOptions(max_attempts=0)


@pytest.fixture(scope="module")
def gst(tmp_path_factory):
    """Skips without GStreamer. Debian's PyGObject fits if the Python has Debian's version."""
    try:
        import gi
    except ImportError:
        built_for = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
        if not any(built_for in path.name for path in DEBIAN.glob("_gi.*.so")):
            pytest.skip(
                "needs PyGObject: pip install 'edgevision[gst]', or Debian's python3-gi for this Python"
            )
        folder = tmp_path_factory.mktemp("debian")
        (folder / "gi").symlink_to(DEBIAN)
        sys.path.append(str(folder))
        import gi
    try:
        gi.require_version("Gst", "1.0")
    except ValueError:
        pytest.skip("needs GStreamer: apt install gir1.2-gstreamer-1.0")
    from gi.repository import Gst

    Gst.init(None)
    for element in ("videotestsrc", "videoconvert", "appsink"):
        if Gst.ElementFactory.find(element) is None:
            pytest.skip(f"needs GStreamer's {element}: apt install gstreamer1.0-plugins-base")
    return Gst


def take(source, count):
    return list(itertools.islice(source, count))


def element(source, name):
    """An element of the pipeline that runs; no user can do this, so it is not in the interface."""
    return source._feed.feed(1)._pipeline.get_by_name(name)


def test_a_live_pipeline(gst):
    with open_source(f"gst://{BALL} ! {SIZE}", ONCE) as source:
        frames = take(source, 10)
    info = source.info
    assert (info.name, info.is_live, info.width, info.height, info.frame_rate) == (
        "gst://videotestsrc",
        True,
        160,
        96,
        25.0,
    )
    assert [frame.index for frame in frames] == list(range(10))
    gaps = np.diff([frame.timestamp_ns for frame in frames]) / 1e6
    assert np.allclose(gaps, 40, atol=1)  # the pipeline's own clock
    assert all(frame.image.shape == (96, 160, 3) for frame in frames)
    assert all(frame.image.max() > 200 for frame in frames)


def test_a_recording_ends_and_loses_nothing(gst):
    with open_source(f"gst://videotestsrc num-buffers=60 ! {SIZE}", ONCE) as source:
        assert not source.info.is_live
        frames = []
        for frame in source:
            time.sleep(0.002)  # slower than the pipeline, which has to wait
            frames.append(frame)
    assert [frame.timestamp_ns for frame in frames] == [40_000_000 * i for i in range(60)]


@pytest.mark.parametrize("width", [64, 65, 66, 67])
def test_colours_and_padded_rows(gst, width):
    pipeline = f"videotestsrc pattern=blue num-buffers=1 ! video/x-raw,format=RGB,width={width},height=10"
    with open_source(f"gst://{pipeline}", ONCE) as source:
        (frame,) = list(source)
    assert frame.image.shape == (10, width, 3)
    assert (frame.image == (255, 0, 0)).all()  # BGR


def test_a_size_that_changes(gst):
    pipeline = (
        "videotestsrc num-buffers=40 ! video/x-raw,width=160,height=96 "
        "! videoscale ! capsfilter name=size caps=video/x-raw,width=160"
    )
    with open_source(f"gst://{pipeline}", ONCE) as source:
        frames = iter(source)
        widths = [next(frames).width]
        element(source, "size").set_property("caps", gst.Caps.from_string("video/x-raw,width=64"))
        widths += [frame.width for frame in frames]
    assert len(widths) == 40
    assert sorted(set(widths)) == [64, 160]
    assert widths == sorted(widths, reverse=True)


def test_a_pipeline_that_fails_is_built_again(gst, caplog):
    broken = f"{BALL} ! {SIZE} ! identity error-after=5"
    with open_source(f"gst://{broken}") as source:
        assert len(take(source, 12)) == 12
    assert source.connection.reconnects >= 2
    assert caplog.messages[0].startswith(
        "lost gst://videotestsrc: Failed after iterations as requested; check"
    )


def test_a_pipeline_that_falls_silent(gst):
    options = SourceOptions(read_timeout_s=0.3, connect_timeout_s=5, max_attempts=0)
    with open_source(f"gst://{BALL} ! {SIZE} ! valve name=tap", options) as source:
        frames = iter(source)
        next(frames)
        element(source, "tap").set_property("drop", True)
        with pytest.raises(SourceTimeoutError, match=r"lost gst://videotestsrc: no data for 0\.3 s"):
            list(frames)


def test_closing_ends_a_pipeline_that_gives_nothing(gst):
    source = open_source(f"gst://{BALL} ! video/x-raw,framerate=1/20", ONCE)
    seen = []
    thread = threading.Thread(target=lambda: [seen.append(frame) for frame in source])
    thread.start()
    assert eventually(lambda: len(seen) == 1)
    start = time.monotonic()
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("videotestsrk", 'no element "videotestsrk"'),
        ("videotestsrc pattern=nonsense", "cannot open gst://videotestsrc: could not set property"),
        ("filesrc location=/nowhere.avi ! decodebin", "gst://filesrc: Resource not found"),
        ("videotestsrc num-buffers=0", "it ended without a frame"),
        ("audiotestsrc num-buffers=1", "could not link"),
    ],
)
def test_what_gstreamer_refuses_is_one_line(gst, pipeline, message):
    with pytest.raises(SourceError) as caught:
        open_source(f"gst://{pipeline}", SourceOptions(connect_timeout_s=5))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_of_a_pipeline_stay_in_it(gst):
    uri = "gst://rtspsrc location=rtsp://annette:s3cret@127.0.0.1:1/x ! fakesink name=x user=s3cret"
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    assert "s3cret" not in str(caught.value)
    assert "annette" not in str(caught.value)


def test_csi_needs_jetpack(gst):
    if gst.ElementFactory.find("nvarguscamerasrc") is not None:
        pytest.skip("this is a Jetson")
    with pytest.raises(SourceError, match="needs the GStreamer element nvarguscamerasrc of"):
        open_source("csi://0")


def test_csi_pipelines():
    assert csi_pipeline("csi://1?size=1920x1080&rate=60") == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1 ! nvvidconv ! video/x-raw,format=BGRx"
    )
    assert "width=1280,height=720,framerate=30/1" in csi_pipeline("csi://0")
    with pytest.raises(UsageError, match="expected the number of a camera, such as csi://0"):
        csi_pipeline("csi://front")
    with pytest.raises(UsageError, match="csi has no option 'fps'"):
        csi_pipeline("csi://0?fps=30")


@pytest.mark.parametrize("uri", ["gst://videotestsrc", "csi://0"])
def test_without_gstreamer_the_error_says_what_to_install(monkeypatch, uri):
    monkeypatch.setitem(sys.modules, "gi", None)
    advice = "apt install python3-gi .* or " + re.escape(install_command("gst"))
    with pytest.raises(SourceError, match=advice) as caught:
        open_source(uri)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [("gst://", "needs a pipeline"), ("gst://videotestsrc ! appsink", "appends its own appsink")],
)
def test_pipelines_that_cannot_be(uri, message):
    with pytest.raises(UsageError, match=message):
        open_source(uri)


def test_importing_the_runtime_does_not_load_gstreamer():
    code = "import sys, edgevision.video; sys.exit('gi' in sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0
