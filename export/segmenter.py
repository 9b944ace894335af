"""A trained segmenter to one ONNX file of the contract, with preprocessing and the class map inside."""

from __future__ import annotations

from pathlib import Path

import msgspec
from torch import Tensor, nn

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.export.ranges import trained_ranges
from edgevision.export.trace import CORE_INPUT, trace
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.class_map import add_class_map
from edgevision.graph.compose import compose, save_model
from edgevision.graph.preprocessing import add_preprocessing
from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from edgevision.models.segmentation import Segmenter
from edgevision.training.config import SegmenterTraining
from edgevision.training.segmentation import segmenter_manifest

LOGITS = "logits"


class _Core(nn.Module):
    """The network up to the last stage's logits: enlarging them is left to the decoding in FP32."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.coarse(images)


def export_segmenter(
    model: Segmenter, config: SegmenterTraining, figures: dict[str, float], path: Path
) -> Manifest:
    """Writes a segmenter of any family as an ONNX file of the contract.

    Args:
        model: the trained network; it is put into evaluation mode.
        config: its training configuration, for class names, colours and provenance.
        figures: measured figures to keep in the file.
        path: the file to write.

    Returns:
        The manifest as stored.

    Raises:
        ExportError: the graph is invalid.
        SinkError: the file cannot be written.
    """
    size = (config.model.input_width, config.model.input_height)
    core = trace(_Core(model), *size, [LOGITS])
    manifest = msgspec.structs.replace(
        segmenter_manifest(config, figures, (LOGITS,)),
        ranges=trained_ranges(core, model, config.quantise, *size),
    )
    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, INPUT_NAME, CORE_INPUT, IMAGENET_MEAN, IMAGENET_STD)
    add_class_map(after, LOGITS, model.factor)
    return save_model(compose(core, before, after, manifest), path, manifest)
