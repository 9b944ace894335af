"""A segmenter in an ONNX file that gives every pixel its probabilities: the teacher of a distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgevision.contract.model_file import read_manifest
from edgevision.errors import ModelError
from edgevision.models.segmentation_distillation import SegmenterAnswers
from edgevision.training.onnx_teacher import open_teacher


class SegmenterTeacher:
    """A segmenter that edgevision wrote, with its preprocessing, whose classes are the student's.

    Args:
        path: the file.
        classes: the student's, in any order.
        width, height: of the images that the student learns from.
        hints: further tensors of the file to answer with.

    Raises:
        ModelError: the file is missing, is no segmenter, has other classes or another input, or lacks a hint.
    """

    def __init__(
        self, path: str, classes: Sequence[str], width: int, height: int, hints: Sequence[str] = ()
    ) -> None:
        manifest = read_manifest(path)
        if manifest.task != "segmentation" or len(manifest.heads) != 1:
            raise ModelError(f"distillation.teacher: {path} is for {manifest.task}; expected a segmenter")
        if sorted(manifest.classes) != sorted(classes):
            raise ModelError(
                f"distillation.teacher: {path} has the classes {', '.join(manifest.classes)}; expected the "
                f"run's: {', '.join(classes)}"
            )
        if (manifest.input_width, manifest.input_height) != (width, height):
            raise ModelError(
                f"distillation.teacher: {path} takes {manifest.input_width}x{manifest.input_height}; the run "
                f"trains on {width}x{height}; expected the same, see augment.crop_width and crop_height"
            )
        self.path = path
        self._order = [manifest.classes.index(name) for name in classes]
        self._run, _ = open_teacher(path, (*manifest.heads, *hints))
        self._hints = len(hints)

    def __call__(self, frames: Tensor) -> SegmenterAnswers:
        """Answers for images as they are loaded: uint8 ``[N, H, W, 3]``, BGR."""
        outputs = self._run(frames.cpu().numpy())
        head, *hints = outputs[len(outputs) - 1 - self._hints :]
        scores = torch.from_numpy(head)[:, self._order]
        sums = scores.sum(dim=1)
        if not (bool((scores >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=0.05)):
            scores = scores.softmax(dim=1)  # the head of our own segmenters are logits
        scores = torch.nn.functional.interpolate(
            scores.float(), size=frames.shape[1:3], mode="bilinear", align_corners=False
        )
        device = frames.device
        return SegmenterAnswers(scores.to(device), [torch.from_numpy(hint).to(device) for hint in hints])
