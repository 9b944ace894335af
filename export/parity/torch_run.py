"""A training checkpoint at each stage: the reference that every exported file descends from."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.errors import UsageError
from edgevision.export.parity.compare import StageOutputs
from edgevision.models.backbone import normalise
from edgevision.models.retinanet import HeadMaps
from edgevision.models.segmentation import Segmenter
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.networks import checkpoint_engine


class TorchRun:
    """A checkpoint in PyTorch, on the CPU; satisfies :class:`edgevision.export.parity.runs.Run`.

    Args:
        checkpoint: of ``edgevision train``.
        heads: names of the head maps, as the exported file's manifest has them.

    Raises:
        CheckpointError: its weights do not fit its configuration.
    """

    def __init__(self, checkpoint: Checkpoint, heads: tuple[str, ...]) -> None:
        self._engine = checkpoint_engine(checkpoint)
        self._model = self._engine.model
        self._heads = heads
        self.name = self._engine.name
        self.manifest: Manifest = self._engine.manifest

    @torch.inference_mode()
    def stages(self, frames: NDArray[np.uint8]) -> StageOutputs:
        """See :meth:`edgevision.export.parity.runs.Run.stages`.

        Raises:
            UsageError: the network gives another number of head maps than the file has.
        """
        images = normalise(torch.from_numpy(frames))
        maps = self._head_maps(images)
        if len(maps) != len(self._heads):
            raise UsageError(
                f"the checkpoint of {self.manifest.name} gives {len(maps)} head maps, the model file "
                f"{len(self._heads)}; give the checkpoint that the file was exported from"
            )
        heads = {name: one.numpy() for name, one in zip(self._heads, maps, strict=True)}
        return StageOutputs(images.numpy(), heads, self._engine.infer({INPUT_NAME: frames}))

    def _head_maps(self, images: Tensor) -> list[Tensor]:
        if isinstance(self._model, Segmenter):
            return [self._model.coarse(images)]
        maps = cast("HeadMaps", self._model(images))
        return [*maps.logits, *maps.deltas]
