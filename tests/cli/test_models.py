"""``edgevision models``: the table, and its JSON."""

import json

import pytest

from edgevision import zoo
from edgevision.cache import Cache, cache_folder
from edgevision.cli import main
from edgevision.config import config_folder
from edgevision.models.families import FAMILIES
from edgevision.training.config import load_run
from edgevision.zoo import list_models


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["models", *arguments])
    return ended.value.code or 0


def test_the_table_lists_every_model(capsys):
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "task", "classes", "input"]
    for model in list_models():
        assert any(line.startswith(model.name) for line in lines)


def test_eighty_columns_break_no_word(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run() == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    words = set(shown.split())
    for model in list_models():
        assert {*model.manifest.licence.split(), *model.manifest.figures} <= words


def test_families_in_eighty_columns_break_no_word(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--families") == 0
    shown = capsys.readouterr().out
    *rows, folder = shown.splitlines()
    assert max(map(len, rows)) <= 80
    assert "edgevision train" in folder
    for family in FAMILIES:
        words = {family.configuration, *family.text.split(), *family.paper.split()}
        assert words <= set(shown.split()), family.name


def test_json_has_what_the_files_say(capsys):
    assert run("--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [model.name for model in list_models()]
    first, model = rows[0], list_models()[0]
    assert first["classes"] == list(model.manifest.classes)
    assert first["input"] == [model.manifest.input_width, model.manifest.input_height]
    assert first["size"] == model.path.stat().st_size


def test_an_installation_without_models_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    assert run() == 0
    assert capsys.readouterr().out.startswith("no models ship with this installation")


def test_families_are_listed_with_the_configuration_that_trains_them(capsys):
    assert run("--families") == 0
    shown = capsys.readouterr().out
    assert run("--families", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"retinanet", "ssd", "yolo-v1", "unet"} <= {row["name"] for row in rows}
    for row in rows:
        assert any(line.startswith(row["name"]) for line in shown.splitlines())
        assert load_run(config_folder() / "models" / row["configuration"]).name


def test_times_are_forgotten(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run("--forget-times") == 0
    assert capsys.readouterr().out == "no kept measurements of precisions forgotten\n"
    Cache(cache_folder("speed")).store({"a": 1}, 1)
    assert run("--forget-times") == 0
    assert capsys.readouterr().out == "1 kept measurement of precisions forgotten\n"
    assert list((tmp_path / "edgevision" / "speed").iterdir()) == []
    assert run("--forget-times", "--json") == 2
    assert "--forget-times lists nothing" in capsys.readouterr().err
