"""A run that goes on with another configuration: what is refused, what is noted, what is then in force."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from edgevision.cli import main
from edgevision.errors import CheckpointError
from edgevision.models.settings import SegmentationDistillationConfig
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining, SegmenterTraining, apply_overrides
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Trainer
from edgevision.training.resume import as_begun, check_same_network, differences
from tests.support import segmentation
from tests.support.training import small_run


@pytest.fixture
def run(tmp_path: Path) -> DetectorTraining:
    torch.set_num_threads(1)
    return small_run(tmp_path)


@pytest.fixture
def segmenter(tmp_path: Path) -> SegmenterTraining:
    run = segmentation.small_run(segmentation.write_set(tmp_path / "set"))
    distillation = SegmentationDistillationConfig("road.onnx", ("road=road,mark", "rest=*"))
    return msgspec.structs.replace(run, distillation=distillation)


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ((), ()),
        (("loop.images=64",), ("loop.images: 48 -> 64",)),
        (("loop.compile=true", "name=other"), ('name: "NAME" -> "other"', "loop.compile: false -> true")),
        (
            ("optimiser.lr_factors={backbone: 1}",),
            ('optimiser.lr_factors: {"backbone":0.0} -> {"backbone":1.0}',),
        ),
        (
            ("loss.certainty={middle: 0, slope: 14}",),
            ('loss.certainty: null -> {"middle":0.0,"slope":14.0}',),
        ),
        (("initial=first.pt",), ('initial: "" -> "first.pt"',)),
        (("model.backbone.weights=imagenet",), ('model.backbone.weights: "random" -> "imagenet"',)),
        (("model.input_size=96",), ("model.input_size: 64 -> 96",)),
        (("classes=[dog, car]",), ('classes: ["car","dog"] -> ["dog","car"]',)),
    ],
)
def test_each_key_that_differs_is_a_line(
    run: DetectorTraining, changed: tuple[str, ...], lines: tuple[str, ...]
) -> None:
    expected = tuple(line.replace("NAME", run.name) for line in lines)
    assert differences(run, apply_overrides(run, changed)) == expected


def test_groups_of_a_teacher_and_sources_of_data_are_looked_into(segmenter: SegmenterTraining) -> None:
    groups = apply_overrides(segmenter, ['distillation.groups=["road=road", "rest=*"]'])
    assert differences(segmenter, groups) == (
        'distillation.groups: ["road=road,mark","rest=*"] -> ["road=road","rest=*"]',
    )
    alone = msgspec.structs.replace(segmenter, distillation=None)
    assert [line.partition(":")[0] for line in differences(alone, segmenter)] == ["distillation"]
    source = segmenter.data.train[0]
    weighed = msgspec.structs.replace(source, weight=0.5)
    data = msgspec.structs.replace(segmenter.data, train=(weighed, source))
    first, second = differences(segmenter, msgspec.structs.replace(segmenter, data=data))
    assert first == "data.train[0].weight: 1.0 -> 0.5"
    assert second.startswith("data.train[1]: null -> {")


def test_of_long_values_the_part_that_differs_is_shown() -> None:
    old = tuple(f"class {number}" for number in range(99))
    (line,) = differences(old, (*old[:80], "lamp", *old[81:]), "classes")
    before, after = line.removeprefix("classes: ").split(" -> ")
    assert 'class 79","class 80","class 81"' in before
    assert 'class 79","lamp","class 81"' in after
    assert all(
        side.startswith("...") and side.endswith("...") and len(side) <= 106 for side in (before, after)
    )


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ("model.input_size=96", "model.input_size: 64 -> 96"),
        ("model.channels=32", "model.channels: 16 -> 32"),
        ("model.head.layers=1", "model.head.layers: 2 -> 1"),
        ("classes=[dog, car]", 'classes: ["car","dog"] -> ["dog","car"]'),
    ],
)
def test_another_network_is_refused_with_its_keys(run: DetectorTraining, changed: str, found: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_same_network(run, apply_overrides(run, [changed, "loop.images=96"]), Path("run/last.pt"))
    assert str(caught.value) == (
        f"run/last.pt belongs to another model ({found}); resume with the configuration that it was trained "
        "with, or choose another folder with `out`"
    )


def test_another_task_or_family_is_refused(run: DetectorTraining, segmenter: SegmenterTraining) -> None:
    with pytest.raises(CheckpointError, match=r'\(task: "detection" -> "segmentation"\)'):
        check_same_network(run, segmenter, Path("last.pt"))
    ssd = apply_overrides(run, ["model={family: ssd, input_size: 64, backbone: {name: resnet18}}", "loss={}"])
    with pytest.raises(CheckpointError, match=r'\(model\.family: "retinanet" -> "ssd"\)'):
        check_same_network(run, ssd, Path("last.pt"))


def test_where_first_weights_came_from_is_no_other_network(run: DetectorTraining) -> None:
    check_same_network(
        run, apply_overrides(run, ["model.backbone.weights=gone.pth", "initial=gone.pt"]), Path()
    )


def test_what_is_asked_for_now_is_in_force(run: DetectorTraining, tmp_path: Path) -> None:
    first = Trainer(run, DetectionTask(run), tmp_path / "out")
    first.save("last.pt")
    assert first.changes == ()
    other = apply_overrides(run, ["optimiser.weight_decay=0.2", "optimiser.lr=0.0001", "loop.images=4"])
    resumed = Trainer(other, DetectionTask(other), tmp_path / "out", resume=True)  # type: ignore[arg-type]
    assert set(resumed.changes) == {
        f"optimiser.weight_decay: {run.optimiser.weight_decay} -> 0.2",
        f"optimiser.lr: {run.optimiser.lr} -> 0.0001",
        "loop.images: 48 -> 4",
    }
    resumed.run()
    assert {group["weight_decay"] for group in resumed.optimiser.param_groups} == {0.2, 0.0}
    assert all(group["lr"] <= 0.0001 for group in resumed.optimiser.param_groups)
    assert load_checkpoint(tmp_path / "out" / "last.pt").config == other
    assert '"note": "changed: loop.images: 48 -> 4"' in (tmp_path / "out" / "log.jsonl").read_text()


def test_ranges_that_were_measured_are_kept(run: DetectorTraining, tmp_path: Path) -> None:
    asked = apply_overrides(run, ["quantise={images: 6, percentile: 99.9}"])
    task = DetectionTask(asked)  # type: ignore[arg-type]
    assert as_begun(asked, tmp_path) == asked
    Trainer(task.config, task, tmp_path).save("last.pt")
    elsewhere = apply_overrides(asked, ["loop.seed=5"])  # from which other ranges would be measured
    assert as_begun(elsewhere, tmp_path).quantise == task.config.quantise
    for changed in ("quantise.percentile=99", "quantise=null"):
        other = apply_overrides(asked, [changed])
        assert as_begun(other, tmp_path) == other
    with pytest.raises(CheckpointError, match=r"another model \(model\.channels: 16 -> 32\)"):
        as_begun(apply_overrides(asked, ["model.channels=32"]), tmp_path)


def test_the_command_line_notes_each_change(
    run: DetectorTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_bytes(msgspec.yaml.encode(run))
    out = tmp_path / "out"
    command = ["train", str(tmp_path / "run.yaml"), "--out", str(out), "--threads", "1"]

    def said(*more: str) -> tuple[object, list[str]]:
        with pytest.raises(SystemExit) as done:
            main([*command, *more])
        return done.value.code or 0, [
            line for line in capsys.readouterr().err.splitlines() if "since" in line
        ]

    assert said("--set", "loop.images=8") == (0, [])
    assert said("--set", "loop.images=8", "--resume") == (0, [])
    code, lines = said("--set", "loop.images=16", "--set", "decode.rounds=8", "--resume")
    assert code == 0
    assert [line.partition(" note: ")[2] or line.partition("note: ")[2] for line in lines] == [
        f"changed since {out / 'last.pt'}: decode.rounds: 16 -> 8",
        f"changed since {out / 'last.pt'}: loop.images: 8 -> 16",
    ]
