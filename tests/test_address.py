import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.address import Address, display, find_address, redact
from tests.support.addresses import HOST, MARKERS, addresses, broker_addresses

HOSTS = (HOST, "camera", "cam.local:554", "[::1]:554", "10.0.0.5")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("RTSP://10.0.0.5:554/Live", "rtsp://10.0.0.5:554/Live"),
        (" rtsp://ann:s3cret@h/x\n", "rtsp://h/x"),
        ("rtsp://ann:s3cret@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://ann:p@ss@host/live", "rtsp://host/live"),  # a raw @ in the password
        ("rtsp://ann:p/ss@host/live", "rtsp://host/live"),  # a raw / in the password
        ("rtsp://ann@host/live", "rtsp://host/live"),
        ("rtsp://admin:12345#@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://admin:1234/56@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://admin:1234?56@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://admin:1234?56@camera/live", "rtsp://..."),  # or camera 'admin', port 1234, query '56@camera'
        ("rtsp://admin:p@ss:w#r/d@camera/live", "rtsp://camera/live"),
        ("rtsp://admin:it's<me>@camera/live", "rtsp://camera/live"),
        ('rtsp://admin:pa "ss@camera/live', "rtsp://camera/live"),
        ("rtsp://admin:s3cret", "rtsp://..."),  # the host forgotten
        ("rtsp://admin:s3cret%40camera/live", "rtsp://..."),
        ("rtsp:///admin:s3cret@camera/live", "rtsp://..."),
        ("rtmp://a.b/live2/abcd-1a2b-3c4d", "rtmp://a.b/live2/..."),  # the key by which anyone can publish
        ("rtmps://ann:s3cret@a.b:443/app/key?s=1", "rtmps://a.b:443/app/..."),
        ("rtmp://a.b/live2", "rtmp://a.b/live2"),
        ("rtpm://a.b/live2/abcd", "rtpm://a.b/live2/..."),
        ("rtmp:/a.b/live2/abcd", "rtmp:/a.b/live2/..."),
        ("chaos://rtmp://a.b/live2/abcd?drop=0.1", "chaos://rtmp://a.b/live2/..."),
        ("http://cam/admin/s3cret", "http://cam/..."),
        ("rtsp://ann%3As3cret%40camera/live", "rtsp://..."),
        ("rtsp://ann%253As3cret%2540camera/live", "rtsp://..."),
        ("rtsp%3A%2F%2Fann%3As3cret%40camera%2Flive", "rtsp://camera/live"),
        ("rtsp://[fe80::1%25eth0]:554/x", "rtsp://[fe80::1%25eth0]:554/x"),
        ("http://admin/s3cret@10.0.0.5/live", "http://10.0.0.5/live"),
        ("http://cam/video.cgi?user=admin&pwd=123", "http://cam/video.cgi?..."),
        ("http://cam/video.cgi?user=admin&pwd=p@ss", "http://..."),
        ("http://host/image@2x.jpg", "http://host/image@2x.jpg"),
        ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b"),
        ("rtsp://ann:s3cret@[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
        (
            "rtsp://10.0.0.5:554/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp",
            "rtsp://10.0.0.5:554/...",
        ),
        ("rtsp://10.0.0.5/user=admin&password=a@b&channel=1", "rtsp://..."),
        ("rtsp://10.0.0.5/Streaming/Channels/101", "rtsp://10.0.0.5/Streaming/Channels/101"),
        ("rtsp://10.0.0.5/Streaming/Channels/101?auth=YWRt", "rtsp://10.0.0.5/Streaming/Channels/101?..."),
        ("rtsps://10.0.0.5:7441/aBcD1234eFgH5678?enableSrtp", "rtsps://10.0.0.5:7441/..."),
        ("rtsp://10.0.0.5/user%3Dadmin%26password%3Dx/1", "rtsp://10.0.0.5/..."),
        ("rtsp://cam/live#transport=udp", "rtsp://cam/live"),
        ("rtsp://cam/live#s3cret", "rtsp://cam/live#..."),
        ("rtps://ann:s3cret@cam/live", "rtps://cam/live"),
        ("mqtt://ann:s3cret@cam:1883/site", "mqtt://cam:1883/site"),
        ("csi://ann:s3cret@0", "csi://0"),
        ("csi://0?size=1280x720", "csi://0?size=1280x720"),
        ("demo://?seconds=6", "demo://?seconds=6"),
        ("file:///home/a@b/c.mp4", "file:///home/a@b/c.mp4"),
        ("chaos://demo?drop=0.1", "chaos://demo?drop=0.1"),
        ("chaos://rtsp://ann:s3cret@h/x?channel=1?drop=0.1", "chaos://rtsp://h/x?..."),
        ("gst://rtspsrc location=rtsp://ann:s3cret@h/x ! a", "gst://rtspsrc"),
        ("gst://rtspsrc user-id=ann user-pw='s3 cret' ! a", "gst://rtspsrc"),
        ("gst://location=rtsp://ann:s3cret@h/x", "gst://..."),
        ("gst://! x", "gst://..."),
        # without a scheme, or with half of one
        ("rtsp:/admin:pw12345@127.0.0.1/x", "...@127.0.0.1/x"),
        ("rtsp//admin:pw12345@127.0.0.1/x", "...@127.0.0.1/x"),
        ("rtsp:\\\\admin:pw12345@cam\\x", "...@cam\\x"),
        ("admin:pw12345@192.0.2.1/live", "...@192.0.2.1/live"),
        ("admin/pw12345@192.0.2.1/live", "...@192.0.2.1/live"),
        ("192.0.2.1:554/user=admin_password=x.sdp", "192.0.2.1:554/..."),
        ("cam.local/video.cgi?user=admin&pass=x", "cam.local/video.cgi?..."),
        ("me@home.mp4", "me@home.mp4"),
        ("12:30:05.mp4", "12:30:05.mp4"),
        ("clips/a=b?.mp4", "clips/a=b?.mp4"),
        ("0?size=1280x720", "0?size=1280x720"),
        ("no address here", "no address here"),
    ],
)
def test_what_is_shown(text, shown):
    assert Address.parse(text).shown == shown


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("rtsp://admin:12345#@10.0.0.5/live", "; write '#' in a user or password as %23"),
        ("rtsp://admin:1234/56@10.0.0.5/live", "; write '/' in a user or password as %2F"),
        ("rtsp://admin:a?b#c@10.0.0.5/live", "; write '#' and '?' in a user or password as %23 and %3F"),
        ("chaos://rtsp://admin:1#2@10.0.0.5/live?drop=1", "; write '#' in a user or password as %23"),
        ("rtsp://admin:12345%23@10.0.0.5/live", ""),
        ("rtsp://admin:p@ss@10.0.0.5/live", ""),
    ],
)
def test_the_sign_to_encode_is_named(uri, advice):
    assert Address.parse(uri).advice == advice


@settings(max_examples=600, deadline=None)
@given(st.one_of(addresses(HOSTS), broker_addresses()))
def test_no_form_of_address_shows_a_piece_of_a_secret(uri):
    assert not [piece for piece in MARKERS if piece in Address.parse(uri).shown]
    assert not [piece for piece in MARKERS if piece in repr(Address.parse(uri))]
    assert not [piece for piece in MARKERS if piece in redact(f"cannot open {uri}", uri)]


@given(st.text())
def test_any_text_can_be_taken_apart(text):
    address = Address.parse(text)
    assert Address.parse(address.shown).shown == address.shown or not address.scheme


def test_a_file_that_exists_is_shown_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert display("12:30@home.mp4") == "...@home.mp4"
    (tmp_path / "12:30@home.mp4").touch()
    assert display("12:30@home.mp4") == "12:30@home.mp4"
    assert display("a" * 5000 + ":@b") == "...@b"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mqtt:/ann:s3cret@broker/x", "...@broker/x"),
        ("no/ann:s3cret@10.0.0.5.mp4", "...@10.0.0.5.mp4"),
        ("12:30@home.mp4", None),  # a file in this folder
        ("mqtt://ann:s3cret@broker", "mqtt://broker"),
        ("missing/out.mp4", None),
    ],
)
def test_an_output_that_looks_like_an_address(text, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_address(text) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error: 'rtsp://ann:s3cret@h/x' refused", "Error: 'rtsp://h/x' refused"),
        ("no address here", "no address here"),
        ("cannot open rtsp://admin:12345#@10.0.0.5/live: no", "cannot open rtsp://10.0.0.5/..."),
    ],
)
def test_a_message_of_which_the_address_is_not_known(text, expected):
    assert redact(text) == expected


def test_the_password_alone_goes_too():
    uri = "rtsp://ann:s3%40cret@host/live?token=abcdef"
    message = redact("401: user ann:s3@cret, s3%40cret, token=abcdef", uri)
    for secret in ("s3@cret", "s3%40cret", "abcdef"):
        assert secret not in message


def test_secrets_inside_a_pipeline_go_too():
    uri = "gst://rtspsrc location=rtsp://annette:s3cret@h/x user-pw=other ! decodebin"
    assert redact("refused annette:s3cret, s3cret and other", uri) == "refused ..., ... and ..."


@pytest.mark.parametrize(
    "value", ["'my secret'", '"my secret"', r'"my \"secret"', "my\\ secret", "'my secret"]
)
def test_values_of_properties_go_as_they_are_written_and_as_they_are_meant(value):
    uri = f"gst://rtspsrc user-pw = {value} ! decodebin"
    meant = 'my "secret' if r"\"" in value else "my secret"
    assert "secret" not in redact(f"could not set user-pw to {meant}, was {value}", uri)


@pytest.mark.parametrize(
    ("uri", "said", "shown"),
    [
        ("rtmp://a.b/app/cam", "cannot open camera /app/cam", "cannot open camera /app/..."),
        ("rtmp://a.b/app/live", "the live stream 'live' is not alive", "the live stream '...' is not alive"),
        ("rtmp://a.b/app/cam", "cam", "..."),
        ("rtmp://a.b/app/cam?x=1", "no cam: rtmp://a.b/app/cam?x=1", "no ...: rtmp://a.b/app/..."),
        ("rtmp://a.b/app/c4m", "key c4m of c4me", "key ... of c4me"),
        ("rtmp://a.b/app/camera-of-mine", "xcamera-of-minex", "x...x"),
        ("rtmp://ann:cam@a.b/app", "password cam of camera", "password ... of camera"),
        ("rtsp://ann:open@a.b/x", "cannot open opener: open", "cannot ... opener: ..."),
        ("rtsp://ann:p.w+@a.b/x", "p.w+ pxw p.w+q", "... pxw ...q"),
    ],
)
def test_a_short_secret_is_hidden_where_it_stands_alone(uri, said, shown):
    assert redact(said, uri) == shown


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("rtmp://a.b/live2/abcd-1a2b", "no such stream: abcd-1a2b"),
        ("rtmp://a.b/live2/room/abcd-1a2b?x=1", "no such stream: abcd-1a2b"),
        ("rtsp://ann%3Aabcd-1a2b%40camera/live", "refused: ann, abcd-1a2b"),
        ("rtsp%3A%2F%2Fann%3Aabcd-1a2b%40camera%2Flive", "refused: ann%3Aabcd-1a2b"),
    ],
)
def test_a_key_or_an_encoded_password_alone_goes_too(uri, said):
    assert "1a2b" not in redact(said, uri)


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("rtsp://ann:secret@10.0.0.5/live", ""),
        ("rtsp://", "names no host"),
        ("rtsp://:8554/live", "names no host"),
        ("udp://@239.0.0.1:5000", ""),
        ("udp://@:5000", ""),
        ("udp://239.0.0.1", "names no port"),
        ("tcp://:5000?listen=1", ""),
        ("tcp://[::1]:5000", ""),
        ("rtp://host:99999", "names port 99999, which is not from 1 to 65535"),
        ("rtmp://host:port/live", "names no host and port that can be told from user and password"),
    ],
)
def test_what_is_wrong_with_host_and_port_is_said(uri, fault):
    assert Address.parse(uri).place_fault == fault
