"""A darknet ``.cfg`` and its ``.weights`` as a model file: read into torch, traced, and wrapped."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx
from torch import Tensor, nn

from edgevision.contract.manifest import Resize
from edgevision.errors import ModelError
from edgevision.export.importers import Choices, Imported, write_imported
from edgevision.export.importers.core import Core, load_core
from edgevision.export.importers.reading import Candidates, Pixels, Reading
from edgevision.export.trace import trace
from edgevision.graph.builder import GraphBuilder
from edgevision.models.yolo_v3.cfg import parse_cfg
from edgevision.models.yolo_v3.decoding import YoloV3Decoding
from edgevision.models.yolo_v3.network import Darknet
from edgevision.models.yolo_v3.settings import read_cfg
from edgevision.models.yolo_v3.weights import load_weights

_IOU = 0.45  # darknet's own
_PIXELS = Pixels(Resize("letterbox", 128))  # RGB, 0 to 1; darknet fills with one half
_OUTPUTS = ["place_boxes", "place_scores"]


class _Decoded(nn.Module):
    """A network of Darknet with its decoding."""

    def __init__(self, network: Darknet) -> None:
        super().__init__()
        self.network, self.decoding = network, YoloV3Decoding(network.plan)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, 3, H, W]``, 0 to 1, to boxes ``[N, M, 4]`` in pixels and scores ``[N, M, C]``."""
        boxes, scores = self.decoding(self.network(images))
        return boxes, scores


def import_darknet(
    cfg: Path,
    weights: Path | None,
    out: Path,
    choices: Choices | None = None,
) -> Imported:
    """Writes a network of Darknet as an ONNX file of the contract.

    Args:
        cfg: its layers.
        weights: its numbers; None for the file of the same name that ends in ``.weights``.
        out: the file to write.
        choices: what the user decides.

    Raises:
        ConfigError: the ``.cfg`` is missing, or holds what is not known.
        CheckpointError: the weights are missing, or belong to another ``.cfg``.
        UsageError, ExportError, SinkError: see :func:`edgevision.export.importers.import_model`.
    """
    choices = choices or Choices()
    choices.check()
    size = None if choices.size is None else (choices.size[1], choices.size[0])
    plan = parse_cfg(read_cfg(cfg), str(cfg), size)
    network = Darknet(plan).eval()
    load_weights(network, weights or cfg.with_suffix(".weights"))
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        traced = Path(folder) / "network.onnx"
        onnx.save(trace(_Decoded(network), plan.width, plan.height, list(_OUTPUTS)), traced)
        core = replace(load_core(traced), origin=str(cfg))
    if [output.shape[-1] for output in core.outputs] != [4, plan.classes]:
        raise ModelError(f"{cfg} was traced with other outputs than its layers have")
    maps = ", ".join(f"{plan.width // stride}x{plan.height // stride}" for stride in plan.head_strides)
    reading = Reading(
        "darknet",
        "a network of Darknet",
        f"its .cfg has {len(plan.layers)} layers, {plan.classes} classes and predicts on maps of {maps}",
        _PIXELS,
        _decode,
        told_by="as darknet's own detector has it",
        classes=plan.classes,
        iou=_IOU,
        several=True,
    )
    return write_imported(core, reading, (plan.height, plan.width), out, choices)


def _decode(g: GraphBuilder, core: Core) -> Candidates:
    """What the network says of its places, as it is."""
    boxes, scores = core.outputs
    return Candidates(boxes.name, scores.name, boxes.shape[1], classes=scores.shape[2])
