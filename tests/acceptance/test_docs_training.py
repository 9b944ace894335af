"""The page of the configuration: it loads, and so does what the page adds to it."""

from __future__ import annotations

from pathlib import Path

import yaml

from edgevision.data.detection.sources import CocoSource, YoloSource
from edgevision.training.config import DetectorTraining, load_run
from tests.support.pages import blocks

PAGE = "docs/guides/configuration.md"


def test_the_configuration_of_the_page_loads(tmp_path: Path) -> None:
    text, _, _ = (block.code for block in blocks(PAGE, "yaml"))
    config = tmp_path / "vehicles.yaml"
    config.write_text(text)
    run = load_run(config)
    assert isinstance(run, DetectorTraining)
    assert run.data.val == YoloSource("vehicles", "val")


def test_what_the_page_adds_to_its_configuration_loads(tmp_path: Path) -> None:
    """A source with a teacher's labels, and a teacher with the anchors that it needs."""
    text, source, teacher = (yaml.safe_load(block.code) for block in blocks(PAGE, "yaml"))
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
