import pytest

from edgevision.errors import UsageError
from edgevision.units import duration_s
from edgevision.video import open_source
from edgevision.video.sources.camera import CameraMode, camera_mode
from edgevision.video.sources.options import SourceOptions, Transport, split_options

GIVEN = SourceOptions(read_timeout_s=3, max_attempts=7)


@pytest.mark.parametrize(
    ("uri", "address", "changes"),
    [
        ("rtsp://cam/live", "rtsp://cam/live", {}),
        ("rtsp://cam/live#transport=udp", "rtsp://cam/live", {"transport": Transport.UDP}),
        (
            "rtsp://a:b@cam/live?channel=1#timeout=1.5s&connect-timeout=200ms&wait=yes",
            "rtsp://a:b@cam/live?channel=1",
            {"read_timeout_s": 1.5, "connect_timeout_s": 0.2, "wait": True},
        ),
        (
            "webcam#reconnect=forever&freeze=off",
            "webcam",
            {"max_attempts": None, "freeze_s": None},
        ),
        (
            "webcam?size=640x480#reconnect=0&freeze=2m",
            "webcam?size=640x480",
            {"max_attempts": 0, "freeze_s": 120.0},
        ),
        ("rtsp://ann:pa#ss@cam/live", "rtsp://ann:pa#ss@cam/live", {}),  # a password
        ("rtsp://ann:a#b=c@cam/live", "rtsp://ann:a#b=c@cam/live", {}),
    ],
)
def test_options_behind_an_address(uri, address, changes):
    found_address, found = split_options(uri, GIVEN)
    assert found_address == address
    expected = {"read_timeout_s": 3, "max_attempts": 7, **changes}
    assert found == SourceOptions(**expected)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("rtsp://ann:s3cret@h/x#transprt=udp", "has no option 'transprt'; did you mean 'transport'?"),
        (
            "rtsp://ann:s3cret@h/x#zz=1",
            "has no option 'zz'; known options: transport, connect-timeout",
        ),
        ("rtsp://ann:s3cret@h/x#transport=quic", "transport is 'quic'; expected tcp or udp"),
        ("rtsp://ann:s3cret@h/x#timeout=5", "timeout is '5'; expected a number with a unit, such as 150ms"),
        ("rtsp://ann:s3cret@h/x#timeout=0s", "`read_timeout_s` is 0; expected seconds above 0"),
        ("rtsp://ann:s3cret@h/x#reconnect=-1", "reconnect is '-1'; expected a number of attempts"),
        ("rtsp://ann:s3cret@h/x#wait=1", "wait is '1'; expected yes or no"),
        ("rtsp://ann:s3cret@h/x#wait=yes&wait=no", "option wait is given twice"),
        ("webcam?size=big", "a camera: size is 'big'; expected a size such as 1280x720"),
        ("webcam?rate=0", "a camera: rate is '0'; expected frames per second such as 30"),
        ("v4l2://0?format=h264", "a camera: format is 'h264'; expected mjpg or raw"),
        ("/dev/video0?sice=1x1", "a camera has no option 'sice'; did you mean 'size'?"),
        ("webcam#timeout=soon", "timeout is 'soon'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(uri, message):
    with pytest.raises(UsageError) as caught:
        open_source(uri)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("2s", 2), ("1.5m", 90), (".5s", 0.5), ("0s", 0)]
)
def test_durations(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "-1s", "1 s", "1d", "ms", "1e3s", "nan"])
def test_durations_without_a_clear_meaning(text):
    with pytest.raises(ValueError, match="a number with a unit"):
        duration_s(text)


def test_camera_modes():
    assert camera_mode("webcam") == CameraMode()
    assert camera_mode("v4l2://1?size=1280x720&rate=29.97&format=mjpg") == CameraMode(
        size=(1280, 720), rate=29.97, mjpg=True
    )


@pytest.mark.parametrize("wrong", [{"read_timeout_s": 0}, {"freeze_s": -1}, {"max_attempts": -1}])
def test_impossible_options(wrong):
    with pytest.raises(UsageError, match="expected"):
        SourceOptions(**wrong)
