"""The page for newcomers: its configuration loads, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from edgevision.cli import main
from edgevision.data.detection.sources import CocoSource, YoloSource
from edgevision.training.config import DetectorTraining, load_run
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "guides" / "training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_configuration_of_the_page_loads(tmp_path: Path) -> None:
    text, _, _ = blocks("yaml")
    config = tmp_path / "vehicles.yaml"
    config.write_text(text)
    run = load_run(config)
    assert isinstance(run, DetectorTraining)
    assert run.data.val == YoloSource("vehicles", "val")


def test_what_the_page_adds_to_its_configuration_loads(tmp_path: Path) -> None:
    """A source with a teacher's labels, and a teacher with the anchors that it needs."""
    text, source, teacher = (yaml.safe_load(block) for block in blocks("yaml"))
    text["data"]["train"] += source
    text["model"] |= teacher.pop("model")
    config = tmp_path / "vehicles.yaml"
    config.write_text(yaml.safe_dump(text | teacher))
    run = load_run(config)
    assert isinstance(run, DetectorTraining)
    assert run.distillation is not None
    assert run.distillation.teacher == "picodet_s_416_coco.onnx"
    assert run.model.anchors.per_cell == 1
    added = run.data.train[-1]
    assert isinstance(added, CocoSource)
    assert (added.detections, added.labelled) == ("answers.json", ("bus", "car"))


def test_every_option_of_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    commands = [line[line.index("edgevision") + 1 :] for line in lines]
    assert len(commands) > 8
    for command in commands:
        name = command[:2] if command[0] == "data" else command[:1]
        with pytest.raises(SystemExit):
            main([*name, "--help"])
        shown = capsys.readouterr().out
        assert shown.startswith(f"Usage: edgevision {' '.join(name)} ")
        for option in (word for word in command if word.startswith("--")):
            assert f"{option} " in shown, command
