import msgspec
import pytest

from edgevision.errors import ConfigError, UsageError
from edgevision.recording.limits import Rotation
from edgevision.session.spec import StreamSpec, read_streams, unique_names


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": " "}, "`source` is empty"),
        ({"rotate": "10m"}, "`rotate` needs `record`"),
        ({"keep": "1GB"}, "`keep` needs `record`"),
        ({"record_on": "person"}, "`record_on` needs `record`"),
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


def test_a_stream_of_a_file_takes_what_it_leaves_open(tmp_path):
    path = write(
        tmp_path,
        "streams:\n"
        "- {source: a, record_on: car}\n"
        "- {source: b, track: false, record: own}\n"
        "- {source: c, record: null}\n",
    )
    first, second, third = read_streams(path, {"track": True, "record": "all"})
    assert (first.track, first.record, first.record_on) == (True, "all", "car")
    assert (second.track, second.record) == (False, "own")
    assert third.record == "all"


def test_a_stream_that_is_not_valid_is_named_by_its_position(tmp_path):
    path = write(tmp_path, "streams:\n- source: a\n- {source: b, keep: 1GB}\n")
    with pytest.raises(ConfigError, match=r"streams.yaml: streams\.1: `keep` needs `record`"):
        read_streams(path, {})


def test_names_that_are_taken_get_a_number():
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
