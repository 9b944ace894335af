import pytest

from edgevision.video.redact import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://ann:s3cret@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://ann:p@ss@host/live", "rtsp://host/live"),  # a raw @ in the password
        ("rtsp://ann:p/ss@host/live", "rtsp://host/live"),  # a raw / in the password
        ("rtsp://ann@host/live", "rtsp://host/live"),
        ("http://cam/video.cgi?user=admin&pwd=123", "http://cam/video.cgi?..."),
        ("http://host/image@2x.jpg", "http://host/image@2x.jpg"),
        ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b"),
        ("Error: 'rtsp://ann:s3cret@h/x' refused", "Error: 'rtsp://h/x' refused"),
        ("no address here", "no address here"),
        ("chaos://rtsp://ann:s3cret@h/x?channel=1?drop=0.1", "chaos://rtsp://h/x?..."),
        ("gst://rtspsrc location=rtsp://ann:s3cret@h/x ! a", "gst://rtspsrc location=rtsp://h/x ! a"),
        ('gst://rtspsrc user-id=ann user-pw="s3 cret" ! a', "gst://rtspsrc user-id=... user-pw=... ! a"),
    ],
)
def test_addresses(text, expected):
    assert redact(text) == expected


def test_the_password_alone_goes_too():
    uri = "rtsp://ann:s3%40cret@host/live?token=abcdef"
    message = redact("401: user ann:s3@cret, s3%40cret, token=abcdef", uri)
    for secret in ("s3@cret", "s3%40cret", "abcdef"):
        assert secret not in message


def test_secrets_inside_a_pipeline_go_too():
    uri = "gst://rtspsrc location=rtsp://annette:s3cret@h/x user-pw=other ! decodebin"
    assert redact("refused annette:s3cret, s3cret and other", uri) == "refused ..., ... and ..."
