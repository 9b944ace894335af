"""A torch network behind the engine protocol, so that checkpoints are measured as exported files are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgevision.closeable import Closeable
from edgevision.contract.manifest import INPUT_NAME, Manifest, TensorSpec
from edgevision.models.backbone import normalise
from edgevision.models.dense import Decoder
from edgevision.types import Detections


class TorchEngine(Closeable):
    """Runs a torch network; satisfies :class:`edgevision.engines.base.Engine`.

    Args:
        model: the network; used as it is, so put it into evaluation mode.
        manifest: the contract that an export would carry.
        device: where the network is.
    """

    def __init__(self, model: nn.Module, manifest: Manifest, device: torch.device | None = None) -> None:
        self.model = model
        self._device = device or torch.device("cpu")
        self.name = f"PyTorch {torch.__version__} ({self._device.type})"
        self.reason = ""
        self.requests = 1
        self.manifest = manifest
        self.inputs: tuple[TensorSpec, ...] = (manifest.input_spec(),)
        self.outputs = manifest.output_specs()

    @torch.inference_mode()
    def infer(self, inputs: Any) -> dict[str, NDArray[Any]]:
        """``frames`` uint8 ``[N, H, W, 3]`` to the contract's outputs."""
        frames = torch.from_numpy(inputs[INPUT_NAME]).to(self._device)
        return self.finish(self.model(normalise(frames).contiguous(memory_format=torch.channels_last)))

    def finish(self, raw: Any) -> dict[str, NDArray[Any]]:
        """From what the network says to the contract's outputs: each task's own part."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to give back: the network belongs to the caller."""


class TorchDetectorEngine(TorchEngine):
    """A detection network, up to its raw predictions, and the decoder for its architecture."""

    def __init__(
        self,
        model: nn.Module,
        decoder: Decoder,
        manifest: Manifest,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(model, manifest, device)
        self._decoder = decoder

    def finish(self, raw: Any) -> dict[str, NDArray[Any]]:
        """Raw predictions to the contract's four outputs."""
        return _pad(self._decoder(raw), self.manifest.max_detections or 0)


class TorchSegmenterEngine(TorchEngine):
    """A segmentation network that gives logits at input size."""

    def finish(self, raw: Tensor) -> dict[str, NDArray[Any]]:
        """Logits ``[N, C, H, W]`` to ``class_map`` uint8 ``[N, H, W]``."""
        return {"class_map": raw.argmax(dim=1).to(torch.uint8).cpu().numpy()}


class TorchClassifierEngine(TorchEngine):
    """A network that gives an image a logit for each class."""

    def finish(self, raw: Tensor) -> dict[str, NDArray[Any]]:
        """Logits ``[N, C]`` to ``probabilities`` float32 ``[N, C]``."""
        logits = raw.float()
        found = torch.sigmoid(logits) if self.manifest.multi_label else torch.softmax(logits, dim=1)
        return {"probabilities": found.cpu().numpy()}


def _pad(found: list[Detections], length: int) -> dict[str, NDArray[Any]]:
    boxes = np.zeros((len(found), length, 4), np.float32)
    scores = np.zeros((len(found), length), np.float32)
    labels = np.full((len(found), length), -1, np.int32)
    for i, one in enumerate(found):
        boxes[i, : len(one)], scores[i, : len(one)], labels[i, : len(one)] = (
            one.boxes,
            one.scores,
            one.class_ids,
        )
    count = np.array([len(one) for one in found], np.int32)
    return {"boxes": boxes, "scores": scores, "labels": labels, "count": count}
