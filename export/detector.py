"""A trained detector as an ONNX file: its heads traced, decoding and NMS attached."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.export.trace import CORE_INPUT, trace
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.compose import compose, save_model
from edgevision.graph.preprocessing import add_preprocessing
from edgevision.graph.retinanet import add_retinanet_decoder
from edgevision.models.anchors import anchor_grid
from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.retinanet import RetinaNet, Tower
from edgevision.training.config import DetectorTraining
from edgevision.training.detection import detector_manifest


class _FoldedTower(nn.Module):
    """A head tower with each level's BatchNorm folded into a convolution of its own."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        pairs = list(zip(tower.convolutions, tower.norms, strict=True))
        levels = len(pairs[0][1]) if pairs else 0  # type: ignore[arg-type]  # a ModuleList
        self.levels = nn.ModuleList(
            nn.ModuleList(fuse_conv_bn_eval(convolution, norms[level]) for convolution, norms in pairs)  # type: ignore[index,type-var]
            for level in range(levels)
        )
        self.predict = tower.predict

    def forward(self, x: Tensor, level: int) -> Tensor:
        if len(self.levels):
            for convolution in self.levels[level]:  # type: ignore[attr-defined]  # a ModuleList
                x = torch.relu(convolution(x))
        return self.predict(x)  # type: ignore[no-any-return]


class _Core(nn.Module):
    """RetinaNet up to its raw head maps, as a flat tuple: all logits, then all deltas."""

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        self.backbone, self.fpn = model.backbone, model.fpn
        self.class_tower, self.box_tower = _FoldedTower(model.class_tower), _FoldedTower(model.box_tower)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pyramid = self.fpn(self.backbone(images)[-3:])
        logits = [self.class_tower(x, level) for level, x in enumerate(pyramid)]
        return (*logits, *(self.box_tower(x, level) for level, x in enumerate(pyramid)))


def export_detector(
    model: RetinaNet, config: DetectorTraining, figures: dict[str, float], path: Path
) -> Manifest:
    """Writes a RetinaNet as an ONNX file of the contract.

    Args:
        model: the trained network; it is put into evaluation mode.
        config: its training configuration, for thresholds, class names and provenance.
        figures: measured figures to keep in the file.
        path: the file to write.

    Returns:
        The manifest as stored.

    Raises:
        ExportError: the graph is invalid.
        SinkError: the file cannot be written.
    """
    model.eval()
    levels = range(3, 3 + len(config.model.anchors.strides))
    logits, deltas = [f"logits_p{i}" for i in levels], [f"deltas_p{i}" for i in levels]
    size = config.model.input_size
    core = trace(_Core(model), size, size, [*logits, *deltas])
    manifest = detector_manifest(config, figures, (*logits, *deltas))
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, INPUT_NAME, CORE_INPUT, IMAGENET_MEAN, IMAGENET_STD)
    grid = anchor_grid(config.model.anchors, size, size)
    candidates, per_cell = config.decode.level_candidates, config.model.anchors.per_cell
    add_retinanet_decoder(after, logits, deltas, grid, manifest, candidates, per_cell)
    return save_model(compose(core, before, after, manifest), path, manifest)
