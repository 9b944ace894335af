"""The page of the configuration: it loads, and so does what the page adds to it."""

from __future__ import annotations

from pathlib import Path

import yaml

from edgevision.config import config_folder
from edgevision.data.classes import parse_groups
from edgevision.data.detection.sources import CocoSource, YoloSource
from edgevision.training.config import DetectorTraining, SegmenterTraining, load_run
from tests.support.pages import blocks

PAGE = "docs/guides/configuration.md"


def test_the_configuration_of_the_page_loads(tmp_path: Path) -> None:
    text = blocks(PAGE, "yaml")[0].code
    config = tmp_path / "vehicles.yaml"
    config.write_text(text)
    run = load_run(config)
    assert isinstance(run, DetectorTraining)
    assert run.data.val == YoloSource("vehicles", "val")


def test_what_the_page_adds_to_its_configuration_loads(tmp_path: Path) -> None:
    """A source with a teacher's labels, a teacher with the anchors that it needs, and its hints."""
    text, source, teacher, hints, *_ = (yaml.safe_load(block.code) for block in blocks(PAGE, "yaml"))
    text["data"]["train"] += source
    text["model"] |= teacher.pop("model")
    config = tmp_path / "vehicles.yaml"
    config.write_text(yaml.safe_dump(text | teacher))
    run = load_run(config)
    assert isinstance(run, DetectorTraining)
    assert run.distillation is not None
    assert run.distillation.teacher == "picodet_s_416_coco.onnx"
    assert run.model.anchors.per_cell == 1
    config.write_text(yaml.safe_dump(text | teacher | {"model": text["model"] | hints.pop("model")} | hints))
    hinted = load_run(config)
    assert isinstance(hinted, DetectorTraining)
    assert hinted.distillation is not None
    assert len(hinted.distillation.hints) == len(hinted.model.anchors.strides)
    assert (hinted.model.pyramid, hinted.model.head.shared) == ("pan", False)
    added = run.data.train[-1]
    assert isinstance(added, CocoSource)
    assert (added.detections, added.labelled) == ("answers.json", ("bus", "car"))


def test_the_teacher_of_a_segmenter_loads(tmp_path: Path) -> None:
    added, in_groups = (yaml.safe_load(block.code) for block in blocks(PAGE, "yaml")[-2:])
    run = yaml.safe_load((config_folder() / "models" / "unet-road.yaml").read_text())
    run["data"]["train"] = added["data"]["train"]
    config = tmp_path / "roads.yaml"
    config.write_text(yaml.safe_dump(run | {"distillation": added["distillation"]}))
    loaded = load_run(config)
    assert isinstance(loaded, SegmenterTraining)
    assert loaded.distillation is not None
    assert loaded.distillation.teacher == "teacher.onnx"
    assert [source.unlabelled for source in loaded.data.train] == [False, True]
    config.write_text(yaml.safe_dump(run | in_groups))
    grouped = load_run(config)
    assert isinstance(grouped, SegmenterTraining)
    assert grouped.distillation is not None
    groups = parse_groups(grouped.distillation.groups)
    assert groups.names(("background", "road", "curb", "mark")) == ("rest", "road")
    assert groups.names(("sky", "road", "car")) == ("rest", "road")
