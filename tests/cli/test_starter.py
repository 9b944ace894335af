"""The file of streams that a newcomer gets: it is read back, whatever stands in it."""

from __future__ import annotations

import pytest

from edgevision.cli.starter import name_of, starter_text
from edgevision.errors import ConfigError, UsageError
from edgevision.session.spec import read_streams


def read(tmp_path, text):
    path = tmp_path / "streams.yaml"
    path.write_text(text, encoding="utf-8")
    return read_streams(path, {})


def test_what_is_asked_for_is_read_back(tmp_path):
    sources = ["rtsp://ann:p%23w: x@gate.local:554/1", "/dev/video0", "0", "- odd, [name].mp4"]
    text = starter_text(
        sources, ["Tor: 1"], model="no", classes=["person", "traffic light"], record="clips", track=False
    )
    specs = read(tmp_path, text)
    assert [one.source for one in specs] == sources
    assert [one.name for one in specs] == ["Tor: 1", "video0", "0", "- odd, [name]"]
    assert {(one.models[0], tuple(one.classes), one.record, one.track) for one in specs} == {
        ("no", ("person", "traffic light"), "clips", False)
    }


def test_the_defaults_are_comments(tmp_path):
    text = starter_text(["demo", "demo"])
    first, second = read(tmp_path, text)
    assert (first.name, second.name) == ("demo", "demo (2)")
    assert (first.model, first.classes, first.record, first.track) == (None, None, None, True)
    for word in ("# model:", "# classes:", "# conf:", "# zones:", "# record:", "# events:"):
        assert word in text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://ann:secret@gate.local:554/live", "gate.local"),
        ("clips/street.mp4", "street"),
        ("/dev/video2", "video2"),
        ("webcam", "webcam"),
        ("csi://0", "0"),
    ],
)
def test_names_hold_no_secrets(source, name):
    assert name_of(source) == name


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="2 names for 1 sources"):
        starter_text(["demo"], ["a", "b"])
    with pytest.raises(ConfigError, match="source"):
        starter_text([" "], ["a"])
