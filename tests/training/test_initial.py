"""Beginning as another detector does, whatever its classes, anchors and levels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgevision.config import config_folder
from edgevision.errors import CheckpointError
from edgevision.models.anchors import AnchorConfig, anchor_grid, decode_boxes
from edgevision.models.classifiers import build_classifier
from edgevision.models.detectors import build_network
from edgevision.models.families import FAMILIES, Family
from edgevision.models.faster_rcnn.network import FasterRcnn
from edgevision.models.faster_rcnn.settings import FasterRcnnConfig
from edgevision.models.retinanet import RetinaNet, flatten_maps
from edgevision.models.segmenters import build_segmenter
from edgevision.models.settings import RetinaNetConfig
from edgevision.training.checkpoint import Checkpoint, save_checkpoint, start_from
from edgevision.training.config import ClassifierTraining, DetectorTraining, TrainingRun, load_run
from edgevision.training.detection import DetectionTask
from edgevision.training.initial import start_detector, start_regions
from edgevision.training.loop import Trainer
from tests.support.training import small_run

NINE = AnchorConfig(
    strides=(8, 16, 32, 64, 128), base_size=2.0, scales=(1.0, 1.26, 1.59), ratios=(0.5, 1.0, 2.0)
)
ONE = AnchorConfig(strides=(8, 16, 32, 64), base_size=5.0, scales=(1.0,), ratios=(1.0,))


@pytest.fixture
def trained(tmp_path: Path) -> tuple[DetectorTraining, str, RetinaNet]:
    """A detector of nine anchors a cell with weights of its own, its configuration and its checkpoint."""
    run = small_run(tmp_path)
    run = msgspec.structs.replace(run, model=msgspec.structs.replace(run.model, anchors=NINE))
    task = DetectionTask(run)
    assert isinstance(task.model, RetinaNet)
    with torch.no_grad():
        for layer in (task.model.class_tower.predict, task.model.box_tower.predict):
            torch.nn.init.normal_(layer.weight, std=0.5)
            torch.nn.init.normal_(layer.bias, std=0.5)  # type: ignore[arg-type]  # built with a bias
    Trainer(run, task, tmp_path / "run").save("last.pt")
    return run, str(tmp_path / "run" / "last.pt"), task.model.eval()


def test_known_classes_and_boxes_go_on_as_they_were(
    trained: tuple[DetectorTraining, str, RetinaNet],
) -> None:
    run, path, old = trained
    config = msgspec.structs.replace(run.model, anchors=ONE)
    new = RetinaNet(config, 3)
    fresh = new.class_tower.predict.weight[1].clone()
    assert start_detector(new, ("dog", "cat", "car"), path) == (
        f"initial: {path} does not know cat: learnt from the start"
    )
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = old(images), new.eval()(images)
    # Of the nine anchors, the square one of the largest scale (number 7) is nearest to five cells.
    assert len(after.logits) == 4
    for level in range(4):
        was = before.logits[level][0].reshape(9, 2, -1)[7]  # car, dog
        now = after.logits[level][0].reshape(3, -1)  # dog, cat, car
        torch.testing.assert_close(now[0], was[1])
        torch.testing.assert_close(now[2], was[0])
    torch.testing.assert_close(new.class_tower.predict.weight[1], fresh)  # no one knows cats: as it was built
    theirs = torch.from_numpy(np.concatenate([grid[7::9] for grid in anchor_grid(NINE, 64, 64)[:4]]))
    ours = torch.from_numpy(np.concatenate(anchor_grid(ONE, 64, 64)))
    deltas = torch.cat([x[0].reshape(9, 4, -1)[7].T for x in before.deltas[:4]])
    torch.testing.assert_close(
        decode_boxes(flatten_maps(after.deltas, 4)[0], ours, torch),
        decode_boxes(deltas, theirs, torch),
        rtol=1e-4,
        atol=1e-3,
    )


def test_more_levels_than_the_checkpoint_has_begin_anew(
    trained: tuple[DetectorTraining, str, RetinaNet], tmp_path: Path
) -> None:
    run, path, _ = trained
    four = msgspec.structs.replace(
        run, model=msgspec.structs.replace(run.model, anchors=ONE), initial=path, classes=("car", "dog")
    )
    task = DetectionTask(four)
    Trainer(four, task, tmp_path / "four").save("last.pt")
    five = RetinaNet(run.model, 2)
    fresh = five.fpn.state_dict()["coarse.1.0.0.weight"].clone()
    assert start_detector(five, ("car", "dog"), str(tmp_path / "four" / "last.pt")) == ""
    torch.testing.assert_close(five.fpn.state_dict()["coarse.1.0.0.weight"], fresh)
    torch.testing.assert_close(
        five.fpn.state_dict()["coarse.0.0.0.weight"], task.model.state_dict()["fpn.coarse.0.0.0.weight"]
    )


def test_another_backbone_or_width_is_refused(trained: tuple[DetectorTraining, str, RetinaNet]) -> None:
    run, path, _ = trained
    backbone = msgspec.structs.replace(run.model.backbone, name="mobilenet_v2", leaky=None)
    for model in (
        msgspec.structs.replace(run.model, backbone=backbone),
        msgspec.structs.replace(run.model, channels=24),
    ):
        with pytest.raises(CheckpointError, match="belongs to another model"):
            start_detector(RetinaNet(model, 2), run.classes, path)


def test_a_faster_rcnn_takes_backbone_and_pyramid_of_a_retinanet(
    trained: tuple[DetectorTraining, str, RetinaNet],
) -> None:
    run, path, old = trained
    assert isinstance(run.model, RetinaNetConfig)
    config = FasterRcnnConfig(run.model.backbone, 64, run.model.channels, pyramid=run.model.pyramid)
    model = FasterRcnn(config, 3)
    fresh = model.predictor.cls_score.weight.clone()
    assert "all but backbone and pyramid begins anew" in start_regions(model, ("a", "b", "c"), path)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().pyramid(images), list(old(images).pyramid[:4]))
    assert torch.equal(model.predictor.cls_score.weight, fresh)
    wide = msgspec.structs.replace(config, channels=24)
    with pytest.raises(CheckpointError, match=r"another pyramid \(fpn\.\S+ differs\)"):
        start_regions(FasterRcnn(wide, 3), ("a", "b", "c"), path)


SMALL = {
    "classifier": ["model.input_size=64"],
    "multi-label": ["model.input_size=64"],
    "overfeat": ["model.units=1", "model.cells=1", "model.scales=[1.0]"],
    "largest-object": ["model.input_size=64"],
    "yolo-v3": ["model.weights=random"],
}
"""What keeps a family's network small."""


def network_of(run: TrainingRun, classes: int) -> nn.Module:
    if isinstance(run, DetectorTraining):
        return build_network(run.model, classes)
    if isinstance(run, ClassifierTraining):
        return build_classifier(run.model, classes)
    return build_segmenter(run.model, classes)


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if one.name != "retinanet"], ids=lambda one: one.name
)
def test_as_many_other_classes_begin_anew(family: Family, tmp_path: Path) -> None:
    """Their layers have the shapes of the checkpoint's, which would score one class as another."""
    overrides = SMALL.get(family.name, [])
    if family.name not in ("yolo-v3", "segnet", "deconvnet"):
        overrides = [*overrides, "model.backbone.weights=random"]
    run = load_run(config_folder() / "models" / family.configuration, overrides)
    path, classes = str(tmp_path / "best.pt"), run.classes
    weights = {
        key: value + 1 if value.is_floating_point() else value
        for key, value in network_of(run, len(classes)).state_dict().items()
    }
    save_checkpoint(Path(path), Checkpoint(run, 0, weights, weights, {}, {}, None))
    for wanted in (classes, tuple(f"other {at}" for at in range(len(classes))), classes[::-1]):
        model = network_of(run, len(wanted))
        fresh = {key: value.clone() for key, value in model.state_dict().items()}
        if isinstance(model, FasterRcnn):
            note = start_regions(model, wanted, path)
        else:
            note = start_from(model, path, wanted, model.class_layers)  # type: ignore[arg-type]  # all have them
        layers = () if wanted == classes else tuple(f"{layer}." for layer in model.class_layers)  # type: ignore[union-attr]
        for key, value in model.state_dict().items():
            assert torch.equal(value, (fresh if key.startswith(layers) else weights)[key]), key
        assert bool(note) == (wanted != classes)
        assert note == "" or f"begin anew, all else is that of {path}: its classes are {classes[0]}" in note
        assert all(layer[:-1] in note for layer in layers)


def test_classes_that_are_spelt_otherwise_are_the_same(tmp_path: Path) -> None:
    run = load_run(
        config_folder() / "models" / "classifier.yaml",
        ["model.backbone.weights=random", "classes=[person, tv monitor]"],
    )
    assert isinstance(run, ClassifierTraining)
    weights = build_classifier(run.model, 2).state_dict()
    save_checkpoint(tmp_path / "best.pt", Checkpoint(run, 0, weights, weights, {}, {}, None))
    model = build_classifier(run.model, 2)
    assert start_from(model, str(tmp_path / "best.pt"), ("pedestrian", "TV"), model.class_layers) == ""
    assert torch.equal(model.classify.weight, weights["classify.weight"])
