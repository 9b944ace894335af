import pytest

from edgevision.errors import OutputExistsError, UsageError
from edgevision.session.request import RunRequest
from edgevision.session.spec import StreamSpec
from tests.support.models import write_block_clip

DEMO = StreamSpec(source="demo")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"streams": []}, "no source"),
        ({"conf_threshold": 1.5}, "1.5"),
        ({"engine": "tensort"}, "did you mean 'tensorrt'"),
        ({"alpha": -1}, "opacity"),
        ({"threads": 0}, "`threads` 0 is not valid"),
        ({"max_frames": 0}, "`max_frames` 0 is not valid"),
        ({"fallback_model": "x.onnx"}, "`fallback_model` is what `max_latency` may fall back on"),
    ],
)
def test_what_is_not_valid_cannot_be_made(fields, message):
    with pytest.raises(UsageError) as refused:
        RunRequest(**{"streams": [DEMO], **fields})
    assert message in str(refused.value)


def test_videos_of_a_folder_run_in_turn_and_only_alone(tmp_path):
    for name in ("a", "b"):
        write_block_clip(tmp_path / f"{name}.mp4", 1)
    folder = StreamSpec(source=str(tmp_path), track=True)
    groups = RunRequest(streams=[folder]).groups()
    assert [[spec.source for spec in group] for group in groups] == [
        [str(tmp_path / "a.mp4")],
        [str(tmp_path / "b.mp4")],
    ]
    assert all(spec.track for group in groups for spec in group)
    assert RunRequest(streams=[DEMO, DEMO]).groups() == [[DEMO, DEMO]]
    with pytest.raises(UsageError, match="2 videos; run a folder of videos by itself"):
        RunRequest(streams=[folder, DEMO]).groups()


def test_outputs_are_refused_before_anything_is_opened(tmp_path):
    def check(*fields, **settings):
        specs = [StreamSpec(source="demo", **one) for one in fields]
        RunRequest(streams=specs, **settings).check_outputs(specs, [])

    shared = str(tmp_path / "e.jsonl")
    with pytest.raises(UsageError, match=r"`events` .*: several streams need a folder"):
        check({"events": [shared]}, {"events": [shared]})
    check({"events": [shared]}, {})
    with pytest.raises(UsageError, match=r"`save_json` .*: 2 sources need a folder"):
        check({"save_json": shared}, {"save_json": shared})
    (tmp_path / "stats.json").touch()
    with pytest.raises(OutputExistsError):
        check({}, stats=tmp_path / "stats.json")
    check({}, stats=tmp_path / "stats.json", overwrite=True)
