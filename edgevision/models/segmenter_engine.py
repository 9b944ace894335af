"""A torch segmenter behind the engine protocol, so that checkpoints are measured as exported files are."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from edgevision.manifest import INPUT_NAME, Manifest
from edgevision.models.normalise import normalise
from edgevision.types import TensorSpec


class TorchSegmenterEngine:
    """Runs a segmentation network; satisfies :class:`edgevision.engines.base.Engine`.

    Args:
        model: gives logits at input size; used as it is, so put it into evaluation mode.
        manifest: the contract that an export would carry.
        device: where the network is.
    """

    def __init__(self, model: nn.Module, manifest: Manifest, device: torch.device | None = None) -> None:
        self._model = model
        self._device = device or torch.device("cpu")
        self.name = f"PyTorch {torch.__version__} ({self._device.type})"
        self.reason = ""
        self.manifest = manifest
        self.inputs: tuple[TensorSpec, ...] = (manifest.input_spec(),)
        self.outputs = manifest.output_specs()

    @torch.inference_mode()
    def infer(self, inputs: Any) -> dict[str, NDArray[Any]]:
        """``frames`` uint8 ``[N, H, W, 3]`` to ``class_map`` uint8 ``[N, H, W]``."""
        frames = torch.from_numpy(inputs[INPUT_NAME]).to(self._device)
        images = normalise(frames).contiguous(memory_format=torch.channels_last)
        return {"class_map": self._model(images).argmax(dim=1).to(torch.uint8).cpu().numpy()}

    def close(self) -> None:
        """Nothing to give back: the network belongs to the caller."""

    def __enter__(self) -> TorchSegmenterEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
