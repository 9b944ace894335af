"""Addresses as people type them: capitals, blanks, raw passwords, half of a scheme."""

from __future__ import annotations

import socket

import pytest

from edgevision.errors import SourceError, UsageError
from edgevision.video.sources.open import expand_sources, is_local, open_source
from tests.support.video import number_of, write_clip

STREAM_HINT = "is not a file; the address of a stream starts with rtsp:// or http://"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("rtsp:/admin:pw12345@127.0.0.1/x", f"source not found: ...@127.0.0.1/x {STREAM_HINT}"),
        ("rtsp//admin:pw12345@127.0.0.1/x", f"source not found: ...@127.0.0.1/x {STREAM_HINT}"),
        ("admin:pw12345@192.0.2.1/live", f"source not found: ...@192.0.2.1/live {STREAM_HINT}"),
        ("admin:pw12345*@192.0.2.1/live", f"source not found: ...@192.0.2.1/live {STREAM_HINT}"),
        ("10.0.0.5:554/user=admin_password=pw12345.sdp", f"source not found: 10.0.0.5:554/... {STREAM_HINT}"),
        (
            "rtps://admin:pw12345@127.0.0.1/x",
            "unknown type of source: rtps://127.0.0.1/x; did you mean 'rtsps' or ",
        ),
        (
            "rtsp://admin:pw12345#@127.0.0.1/x",
            "cannot open rtsp://127.0.0.1/x: it ends at the '#'; write '#' in",
        ),
        ("rtsp://admin:pw1/2345@127.0.0.1:9/x", "write '/' in a user or password as %2F"),
        ("csi://admin:pw12345@h", "csi://h: expected the number of a camera"),
    ],
)
def test_mistakes_are_one_line_without_the_password(uri, message):
    with pytest.raises((SourceError, UsageError)) as caught:
        open_source(uri)
    assert message in str(caught.value)
    assert "admin" not in str(caught.value)
    assert "2345" not in str(caught.value)


def test_a_mistyped_address_is_refused_before_anything_is_opened():
    with pytest.raises(SourceError, match=r"\.\.\.@192"):
        expand_sources("admin:pw12345*@192.0.2.1/live")


@pytest.mark.parametrize(
    "uri", ["RTSP://127.0.0.1:9/Live", " rtsp://127.0.0.1:9/Live", "Rtsp://127.0.0.1:9/Live\n"]
)
def test_schemes_have_no_case_and_blanks_around_are_nothing(uri):
    assert not is_local(uri)
    assert expand_sources(uri) == ["rtsp://127.0.0.1:9/Live"]
    with pytest.raises(SourceError, match=r"cannot open rtsp://127\.0\.0\.1:9/Live: Connection refused"):
        open_source(uri)


def test_demo_and_files_in_capitals(tmp_path):
    clip = write_clip(tmp_path / "a b@12:30.mp4", [0, 40])
    for uri in (str(clip), f"FILE://{clip}", f"chaos://{clip}?seed=1", f"CHAOS://{clip}?seed=1"):
        with open_source(uri) as source:
            assert [number_of(frame.image) for frame in source] == [0, 1]


def test_nobody_is_asked_for_an_address_that_a_raw_sign_cuts():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        with pytest.raises(SourceError, match="%23"):
            open_source(f"http://127.0.0.1:{port}#@camera/live")
        with pytest.raises(TimeoutError):
            server.accept()
