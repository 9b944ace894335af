"""The schemas that ship are those of the structures, and agree with what reads the files.

Also tests ``edgevision.cli.schema``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from edgevision.cli import main
from edgevision.errors import EdgeVisionError
from edgevision.session.spec import StreamSettings, read_streams
from edgevision.tracking import load_zones
from edgevision.training.config import load_run
from tests.support.benchmarks import load_tool
from tests.support.paths import ROOT

jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="of the development tools")
tool = load_tool("schemas")


def validator(name: str) -> Any:
    file = ROOT / "edgevision" / "schemas" / f"{name}.schema.json"
    return jsonschema_rs.validator_for(json.loads(file.read_text()))


@pytest.mark.parametrize("name", list(tool.KINDS))
def test_the_file_is_what_the_structures_say_and_is_a_schema(name: str) -> None:
    file = ROOT / "edgevision" / "schemas" / f"{name}.schema.json"
    assert file.read_text(encoding="utf-8") == tool.text_of(name), "run tools/schemas.py"
    jsonschema_rs.meta.validate(json.loads(file.read_text()))


def test_every_key_of_a_stream_says_what_it_means() -> None:
    shown = json.loads(tool.text_of("streams"))["$defs"]["StreamEntry"]["properties"]
    assert set(shown) == {*StreamSettings.__struct_fields__, "source", "name", "paused"}
    assert [name for name, one in shown.items() if not one.get("description")] == []
    zone = json.loads(tool.text_of("zones"))["$defs"]["Line"]["properties"]
    assert {"from", "to", "name", "classes"} <= set(zone)


def test_what_ships_is_valid() -> None:
    train, device = validator("train"), validator("device")
    for path in sorted((ROOT / "configs" / "models").glob("*.yaml")):
        assert train.is_valid(yaml.safe_load(path.read_text())), path
    for path in sorted((ROOT / "configs" / "devices").glob("*.yaml")):
        assert device.is_valid(yaml.safe_load(path.read_text())), path


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("conf: 0.4\nstreams:\n- {source: a, zones: , classes: [person], every: 5}\n", True),
        ("streams:\n- {source: a, model: [x, y], track: true, events: [e.jsonl]}\n", True),
        ("streams:\n- {source: a, record: r, record_drawn: false}\n", True),
        ("streams:\n- {source: a, nmae: x}\n", False),
        ("streams:\n- {name: a}\n", False),
        ("cnof: 1\nstreams:\n- {source: a}\n", False),
        ("streams:\n- {source: a, conf: high}\n", False),
        ("streams:\n- {source: a, events: e.jsonl}\n", False),
        ("streams: nothing\n", False),
    ],
)
def test_streams_are_read_as_the_schema_says(tmp_path: Path, text: str, is_valid: bool) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text(text)
    assert validator("streams").is_valid(yaml.safe_load(text)) == is_valid
    assert reads(lambda: read_streams(path, {})) == is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("units: relative\nzones: [{name: a, polygon: [[0, 0], [1, 0], [1, 1]], anchor: centre}]\n", True),
        ("units: pixels\nlines: [{name: a, from: [0, 0], to: [1, 1], classes: [person]}]\n", True),
        ("units: metres\nzones: [{name: a, polygon: [[0, 0], [1, 0], [1, 1]]}]\n", False),
        ("units: relative\nzones: [{name: a, polygon: [[0, 0, 0], [1, 0], [1, 1]]}]\n", False),
        ("zones: [{name: a, polygon: [[0, 0], [1, 0], [1, 1]]}]\n", False),
    ],
)
def test_zones_are_read_as_the_schema_says(tmp_path: Path, text: str, is_valid: bool) -> None:
    path = tmp_path / "zones.yaml"
    path.write_text(text)
    assert validator("zones").is_valid(yaml.safe_load(text)) == is_valid
    assert reads(lambda: load_zones(path, ["person"])) == is_valid


def test_a_configuration_is_read_as_the_schema_says(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "configs" / "models" / "retinanet-light.yaml").read_text())
    for change, is_valid in (
        ({}, True),
        ({"lopo": 1}, False),
        ({"name": 3}, False),
        ({"task": "poses"}, False),
    ):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump({**document, **change}))
        assert validator("train").is_valid({**document, **change}) == is_valid, change
        assert reads(lambda path=path: load_run(path)) == is_valid, change


def reads(read: Any) -> bool:
    try:
        read()
    except EdgeVisionError:
        return False
    return True


def test_the_command_prints_the_schema_and_where_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["zones"], ["zones", "--path"]):
        with pytest.raises(SystemExit) as ended:
            main(["schema", *arguments])
        assert ended.value.code in (0, None)
        printed = capsys.readouterr().out
        if arguments == ["zones"]:
            assert json.loads(printed)["title"] == "zones of edgevision"
        else:
            assert Path(printed.strip()).is_file()


def test_docstrings_give_descriptions() -> None:
    class Made(msgspec.Struct):
        """A thing.

        Attributes:
            a: one line,
                and more of :class:`~x.Thing`.
            b, c: ``two``.
        """

        a: int
        b: int
        c: int

    assert tool.described(Made) == {"a": "One line, and more of x.Thing.", "b": "`two`.", "c": "`two`."}
