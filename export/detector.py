"""A trained detector as an ONNX file: its network traced, decoding and NMS attached."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.errors import ExportError
from edgevision.export.ranges import trained_ranges
from edgevision.export.trace import CORE_INPUT, trace
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.compose import compose, save_model
from edgevision.graph.dense import add_dense_decoder
from edgevision.graph.preprocessing import add_preprocessing
from edgevision.graph.retinanet import add_detection_outputs, add_final_outputs, add_retinanet_decoder
from edgevision.models.anchors import anchor_grid
from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.detectors import DetectorNetwork, build_decoding
from edgevision.models.families import predictions
from edgevision.models.fast_rcnn.network import FastRcnn
from edgevision.models.faster_rcnn.network import FasterRcnn, TwoStageAnswers
from edgevision.models.mask_rcnn.decoding import MaskRcnnDecoding
from edgevision.models.mask_rcnn.network import MaskRcnn
from edgevision.models.mask_rcnn.settings import MaskRcnnConfig
from edgevision.models.rcnn.network import Rcnn
from edgevision.models.retinanet import RetinaNet, Tower
from edgevision.training.config import DetectorTraining
from edgevision.training.detection import detector_manifest


class _FoldedTower(nn.Module):
    """A head tower with each level's BatchNorm folded into a convolution of its own."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        levels = len(tower.norms[0]) if len(tower.norms) else 0  # type: ignore[arg-type]  # a ModuleList
        self.levels = nn.ModuleList(
            nn.ModuleList(fuse_conv_bn_eval(convolution, norm) for convolution, norm in tower.of_level(level))
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


class _Decoded(nn.Module):
    """A network with its decoding: boxes and class scores of every place."""

    def __init__(self, network: nn.Module, decoding: nn.Module) -> None:
        super().__init__()
        self.network, self.decoding = network, decoding

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = self.decoding(self.network(images))
        return boxes, scores


class _TwoStages(nn.Module):
    """Both stages with their decoding, and the maps between them as outputs of their own."""

    def __init__(self, network: FasterRcnn, decoding: nn.Module) -> None:
        super().__init__()
        self.network, self.decoding = network, decoding

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.network.pyramid(images)
        answers: TwoStageAnswers = self.network.answers(maps)
        return (*self.decoding(answers), answers.objectness, answers.offsets, *maps[:3])


def export_detector(
    model: DetectorNetwork, config: DetectorTraining, figures: dict[str, float], path: Path
) -> Manifest:
    """Writes a detector of any family as an ONNX file of the contract.

    Args:
        model: the trained network; it is put into evaluation mode.
        config: its training configuration, for thresholds, class names and provenance.
        figures: measured figures to keep in the file.
        path: the file to write.

    Returns:
        The manifest as stored.

    Raises:
        ExportError: the graph is invalid, or the family finds its regions outside the network.
        SinkError: the file cannot be written.
    """
    if isinstance(model, FastRcnn | Rcnn):
        family = "r-cnn" if isinstance(model, Rcnn) else "fast-rcnn"
        raise ExportError(
            f"{config.name}: family {family} looks at regions that selective search finds, which no engine "
            "computes; evaluate the checkpoint itself, or train family faster-rcnn, which exports"
        )
    model.eval()
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, INPUT_NAME, CORE_INPUT, IMAGENET_MEAN, IMAGENET_STD)
    if isinstance(model, RetinaNet):
        core, manifest = _pyramid(model, config, figures, after)
    elif isinstance(model, FasterRcnn):
        core, manifest = _regions(model, config, figures, after)
    else:
        core, manifest = _places(model, config, figures, after)
    return save_model(compose(core, before, after, manifest), path, manifest)


def _pyramid(
    model: RetinaNet, config: DetectorTraining, figures: dict[str, float], after: GraphBuilder
) -> tuple[onnx.ModelProto, Manifest]:
    """RetinaNet's heads, and its decoder added to ``after``."""
    anchors, size = model.config.anchors, config.model.input_size
    levels = range(3, 3 + len(anchors.strides))
    logits, deltas = [f"logits_p{i}" for i in levels], [f"deltas_p{i}" for i in levels]
    core = trace(_Core(model), size, size, [*logits, *deltas])
    manifest = msgspec.structs.replace(
        detector_manifest(config, figures, (*logits, *deltas)),
        ranges=trained_ranges(core, model, config.quantise, size, size),
    )
    grid = anchor_grid(anchors, size, size)
    add_retinanet_decoder(
        after, logits, deltas, grid, manifest, config.decode.level_candidates, anchors.per_cell
    )
    return core, manifest


def _places(
    model: DetectorNetwork, config: DetectorTraining, figures: dict[str, float], after: GraphBuilder
) -> tuple[onnx.ModelProto, Manifest]:
    """A network with its decoding, and the choice of the best added to ``after``."""
    size, outputs = config.model.input_size, ["place_boxes", "place_scores"]
    decoded = _Decoded(model, build_decoding(config.model, len(config.classes)))
    core = trace(decoded, size, size, outputs)
    manifest = detector_manifest(config, figures, tuple(outputs))
    places = predictions(config.model, 1, config.decode)  # of one class: boxes
    add_dense_decoder(after, outputs[0], outputs[1], places, manifest)
    return core, manifest


def _regions(
    model: FasterRcnn, config: DetectorTraining, figures: dict[str, float], after: GraphBuilder
) -> tuple[onnx.ModelProto, Manifest]:
    """Both stages with their decoding, and suppression added to ``after``.

    What follows the pyramid stays in float: boxes at half precision lose parts of pixels, and the fully
    connected layers are small.
    """
    size, outputs = config.model.input_size, ["region_boxes", "region_scores", "region_labels"]
    heads = ["objectness", "offsets", "map_p3", "map_p4", "map_p5"]
    decoding = build_decoding(config.model, len(config.classes))
    if isinstance(config.model, MaskRcnnConfig):
        outputs = [*outputs, "region_masks"]
        decoding = MaskRcnnDecoding(size, config.decode)
    both = _TwoStages(model, decoding)
    core = trace(both, size, size, [*outputs, *heads])
    manifest = detector_manifest(config, figures, tuple(heads))
    if isinstance(model, MaskRcnn):
        add_final_outputs(after, outputs[0], outputs[1], outputs[2], manifest, {"masks": outputs[3]})
        return core, manifest
    limits = np.array([size] * 4, np.float32)
    boxes = after(
        "Min", after("Max", outputs[0], after.constant(0.0, np.float32)), after.constant(limits, np.float32)
    )
    total = model.config.places * len(config.classes)
    add_detection_outputs(after, boxes, outputs[1], outputs[2], total, manifest)
    return core, manifest
