"""The help in groups, and what each shell is offered."""

from __future__ import annotations

import pytest

from edgevision.cli import main
from edgevision.cli.app import Commands


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code or 0, capsys.readouterr().out

    return run


def test_the_help_has_every_command_under_a_heading_of_its_own(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, shown = call("--help")
    lines = shown.splitlines()
    assert code == 0
    headings = ["Cameras and recordings:", "Models:", "Data and training:", "This machine:"]
    places = [lines.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "Commands:" not in lines
    in_group = {line.split()[0] for line in lines[places[0] :] if line.startswith("  ") and line[2] != " "}
    assert {"run", "bench", "data", "doctor"} <= in_group
    assert in_group >= set(Commands.places)
    assert max(len(line) for line in lines[places[0] :]) <= 80


@pytest.mark.parametrize(
    ("shell", "words", "wanted", "unwanted"),
    [
        ("bash", "edgevision s", {"serve", "snapshot", "soak"}, "run"),
        ("zsh", "edgevision s", {"serve", "snapshot", "soak"}, "train"),
        ("fish", "edgevision s", {"serve", "snapshot", "soak"}, "train"),
        ("bash", "edgevision run --ov", {"--overwrite"}, "--append"),
        ("bash", "edgevision zones ", {"check"}, "run"),
    ],
)
def test_commands_and_options_are_completed(call, monkeypatch, shell, words, wanted, unwanted):
    monkeypatch.setenv("_EDGEVISION_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", words)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    code, shown = call()
    offered = {word.strip("\"'").split("\t")[0] for line in shown.splitlines() for word in line.split()}
    assert code == 0
    assert {one for one in wanted if not any(one in word for word in offered)} == set()
    assert not any(word.split(":")[0].strip("\"'(") == unwanted for word in offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(call, monkeypatch, shell):
    monkeypatch.setenv("_EDGEVISION_COMPLETE", f"source_{shell}")
    code, shown = call()
    assert code == 0
    assert f"_EDGEVISION_COMPLETE=complete_{shell}" in shown
