import msgspec
import pytest

from edgevision.archive.request import Answers, ArchiveRequest, SettingsFile, read_settings, write_settings
from edgevision.errors import ConfigError, ModelError, UsageError
from edgevision.video.selection import Selection


def request(tmp_path, model, **changes):
    return ArchiveRequest(**{"sources": ["in"], "out": tmp_path / "out", "models": [str(model)], **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "no source"),
        ({"conf_threshold": 2}, "confidence threshold 2"),
        ({"engine": "opnvino"}, "did you mean 'openvino'"),
        ({"jobs": 0}, "`jobs` 0"),
        ({"retry": True, "redo": True}, "give one of them"),
        ({"formats": ["xml"]}, "unknown format 'xml'; there are jsonl"),
        ({"on": ["person"]}, "`on` needs `then`"),
        ({"every_track": True}, "`every_track` needs `then`"),
        ({"then": "x.onnx", "track": True, "timeline_s": 60.0}, "`then` looks at images"),
    ],
)
def test_what_is_not_valid(tmp_path, model, changes, message):
    with pytest.raises(UsageError, match=message):
        request(tmp_path, model, **changes)


def test_the_key_is_of_what_changes_answers(tmp_path, model):
    (tmp_path / "zones.yaml").write_text("one")
    base = request(tmp_path, model).answers()
    same = ({"jobs": 3}, {"formats": ["csv"]}, {"out": tmp_path / "other"}, {"span_s": 5.0}, {"retry": True})
    other = (
        {"conf_threshold": 0.5}, {"classes": ["red"]}, {"track": True}, {"engine": "openvino"},
        {"selection": Selection.parse("5")}, {"zones": str(tmp_path / "zones.yaml")},
    )  # fmt: skip
    assert {request(tmp_path, model, **changes).answers().key for changes in same} == {base.key}
    keys = {request(tmp_path, model, **changes).answers().key for changes in other}
    assert len(keys | {base.key}) == len(other) + 1
    zones = request(tmp_path, model, zones=str(tmp_path / "zones.yaml"))
    before = zones.answers()
    (tmp_path / "zones.yaml").write_text("two")
    assert before.differences(zones.answers()) == ["zones"]


def test_what_cannot_be_read(tmp_path, model):
    with pytest.raises(ConfigError, match="cannot read"):
        request(tmp_path, model, zones=str(tmp_path / "none.yaml")).answers()
    with pytest.raises(ModelError):
        request(tmp_path, tmp_path / "none.onnx").answers()


def test_settings_are_kept(tmp_path, model):
    path, answers = tmp_path / "process.json", request(tmp_path, model).answers()
    assert read_settings(path) is None
    write_settings(path, SettingsFile(base="/in", answers=answers, names=["red"]))
    assert read_settings(path).answers == answers
    assert isinstance(msgspec.json.decode(path.read_bytes(), type=SettingsFile).answers, Answers)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="`redo`"):
        read_settings(path)
