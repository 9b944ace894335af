import msgspec
import pytest

from edgevision.config import read_document
from edgevision.errors import ConfigError, UsageError
from edgevision.recording.limits import Rotation
from edgevision.session.settings import STREAM_SETTINGS
from edgevision.session.spec import (
    Origin,
    StreamSettings,
    StreamSpec,
    read_streams,
    understand_streams,
    unique_names,
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": " "}, "`source` is empty"),
        ({"rotate": "10m"}, "`rotate` needs `record`"),
        ({"keep": "1GB"}, "`keep` needs `record`"),
        ({"record_on": "person"}, "`record_on` needs `record`"),
        ({"event_classes": "person"}, "`event_classes` needs `events`"),
        ({"record": "r", "post": "5s"}, "`post` needs `record_on`"),
        ({"record": "r", "rotate": "ten"}, "cannot rotate at 'ten'"),
        ({"record": "r", "keep": "20"}, "'20'"),
        ({"record": "r", "record_on": "car", "pre": "5"}, "'5'"),
        ({"event_pictures": "p"}, "`event_pictures` needs `events`"),
        ({"max_latency": 150}, "`max_latency` 150: expected a number with a unit"),
        ({"max_latency": "0ms"}, "`max_latency` 0ms: expected a time above 0"),
    ],
)
def test_what_is_not_valid_cannot_be_made(fields, message):
    with pytest.raises(UsageError) as refused:
        StreamSpec(**{"source": "demo", **fields})
    assert message in str(refused.value)
    with pytest.raises(UsageError):
        msgspec.structs.replace(StreamSpec(source="demo"), **fields)


def test_a_spec_that_is_valid_gives_numbers():
    spec = StreamSpec(
        source="webcam",
        max_latency="1.5s",
        record="r",
        rotate="500MB",
        keep="2GB",
        record_on="a, b",
        pre="1m",
    )
    assert spec.max_latency_ms == 1500
    plan = spec.recording
    assert (plan.rotation, plan.keep, plan.classes) == (Rotation(size=500_000_000), 2_000_000_000, ["a", "b"])
    assert (plan.pre_s, plan.post_s) == (60, 10)
    assert StreamSpec(source="demo").recording is None


def write(folder, text):
    path = folder / "streams.yaml"
    path.write_text(text)
    return path


def test_the_command_line_wins_then_the_stream_then_the_top_of_the_file(tmp_path):
    path = write(
        tmp_path,
        "conf: 0.5\nrecord: all\nmodel: unet-light\n"
        "streams:\n"
        "- {source: a, record_on: [car, person], conf: 0.3}\n"
        "- {source: b, track: false, record: own, model: [x.onnx, y.onnx]}\n"
        "- {source: c, record: null, classes: [red]}\n",
    )
    first, second, third = read_streams(path, {})
    assert (first.conf, first.record, first.recording.classes, first.models) == (
        0.3,
        "all",
        ["car", "person"],
        ["unet-light"],
    )
    assert (second.conf, second.track, second.record, second.models) == (
        0.5,
        False,
        "own",
        ["x.onnx", "y.onnx"],
    )
    assert (third.record, third.classes) == ("all", ["red"])
    given = {"track": True, "conf": 0.6}
    assert [(one.track, one.conf) for one in read_streams(path, given)] == [(True, 0.6)] * 3
    found = understand_streams(read_document(path), given)
    assert found.origins[0]["conf"] is Origin.COMMAND_LINE
    assert (found.origins[1]["record"], found.origins[2]["record"]) == (Origin.STREAM, Origin.FILE)
    # B3 of the reports: a blank line turns nothing back.
    before = read_streams(path, given)
    path.write_text(path.read_text() + "\n")
    assert read_streams(path, given) == before


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    path = write(
        tmp_path,
        "cnof: 0.5\nalpha: high\n"
        "streams:\n"
        "- {source: a, name: gate, conf: 3}\n"
        "- {source: b, name: yard, rekord: clips}\n"
        "- {name: yard}\n"
        "- {source: d, keep: 1GB}\n",
    )
    with pytest.raises(ConfigError) as refused:
        read_streams(path, {})
    text = str(refused.value)
    assert "6 faults" in text
    for part in (
        "unknown key 'cnof'; did you mean 'conf'",
        "`alpha` is text; expected a number",
        "unknown key 'streams.1.rekord'; did you mean 'record'",
        "missing required field `source` in `streams[2]`",
        "streams.0: confidence threshold 3.0 is not valid",
        "streams.3: `keep` needs `record`",
    ):
        assert part in text
    (tmp_path / "streams.yaml").write_text("streams:\n- {source: a, conf: 3}\n- {source: d, keep: 1GB}\n")
    with pytest.raises(ConfigError, match=r"2 faults: streams.0: .*3\.0.*; streams.1: `keep` needs `record`"):
        read_streams(path, {})


def test_every_setting_is_a_field_and_an_option_with_help():
    assert [setting.name for setting in STREAM_SETTINGS] == list(StreamSettings.__struct_fields__)
    assert all(setting.help.endswith(".") for setting in STREAM_SETTINGS)


def test_a_stream_that_is_not_valid_is_named_by_its_position(tmp_path):
    path = write(tmp_path, "streams:\n- source: a\n- {source: b, keep: 1GB}\n")
    with pytest.raises(ConfigError, match=r"streams.yaml: streams\.1: `keep` needs `record`"):
        read_streams(path, {})


def test_names_that_are_taken_get_a_number():
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
