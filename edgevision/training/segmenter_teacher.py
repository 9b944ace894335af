"""A segmenter in an ONNX file that gives every pixel its probabilities: the teacher of a distillation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevision.contract.model_file import read_manifest
from edgevision.data.classes import NO_GROUPS, ClassGroups
from edgevision.errors import ConfigError, DataError, ModelError
from edgevision.models.segmentation_distillation import SegmenterAnswers
from edgevision.training.onnx_teacher import open_teacher


class SegmenterTeacher:
    """A segmenter that edgevision wrote, with its preprocessing, whose classes or groups are the student's.

    Args:
        path: the file.
        classes: the student's, in any order.
        width, height: of the images that the student learns from.
        hints: further tensors of the file to answer with.
        groups: of the classes of both, where they are divided otherwise; it answers with groups then.

    Raises:
        ConfigError: ``groups`` do not fit the classes of both.
        ModelError: the file is missing, is no segmenter, has other classes or another input, or lacks a hint,
            or what it answers with is no map.

    Attributes:
        group_of: for each class of the student its group in the answers; empty without groups.
        hint_shapes: of each hint for a batch of two: ``2, channels, h, w``.
    """

    def __init__(
        self,
        path: str,
        classes: Sequence[str],
        width: int,
        height: int,
        hints: Sequence[str] = (),
        groups: ClassGroups = NO_GROUPS,
    ) -> None:
        try:
            manifest = read_manifest(path)
        except ModelError as error:
            raise ModelError(f"distillation.teacher: {error}") from error
        if manifest.task != "segmentation":
            raise ModelError(f"distillation.teacher: {path} is for {manifest.task}; expected a segmenter")
        if len(manifest.heads) != 1:
            raise ModelError(
                f"distillation.teacher: {path} names {len(manifest.heads)} tensors that its class map "
                "is made of; expected one, with a score for every class"
            )
        if groups == NO_GROUPS and sorted(manifest.classes) != sorted(classes):
            raise ModelError(
                f"distillation.teacher: {path} has the classes {', '.join(manifest.classes)}; expected the "
                f'run\'s: {", ".join(classes)}; or distillation.groups, such as ["road=road,mark", "rest=*"]'
            )
        own, known = _grouped(path, classes, manifest.classes, groups)
        if (manifest.input_width, manifest.input_height) != (width, height):
            raise ModelError(
                f"distillation.teacher: {path} takes {manifest.input_width}x{manifest.input_height}; the run "
                f"trains on {width}x{height}; expected the same: augment.crop_width and crop_height, or a "
                "file for that size"
            )
        self.path = path
        names = list(dict.fromkeys(own.values()))
        self.group_of = () if groups == NO_GROUPS else tuple(names.index(own[name]) for name in classes)
        self._members = [
            [place for place, one in enumerate(manifest.classes) if known[one] == name] for name in names
        ]
        self._run, shapes = open_teacher(path, (*manifest.heads, *hints))
        self._hints = len(hints)
        self._one_by_one = shapes[0][:1] == (1,)
        self.hint_shapes = self._try(width, height, (*manifest.heads, *hints))

    def __call__(self, frames: Tensor) -> SegmenterAnswers:
        """Answers for images as they are loaded: uint8 ``[N, H, W, 3]``, BGR."""
        head, *hints = self._look(frames.cpu().numpy())
        scores = torch.from_numpy(head).float()
        if self._logits:
            scores = scores.softmax(dim=1)
        scores = torch.stack([scores[:, classes].sum(dim=1) for classes in self._members], dim=1)
        scores = torch.nn.functional.interpolate(
            scores, size=frames.shape[1:3], mode="bilinear", align_corners=False
        )
        device = frames.device
        return SegmenterAnswers(scores.to(device), [torch.from_numpy(hint).to(device) for hint in hints])

    def _look(self, frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The head and the hints for frames ``[N, H, W, 3]``."""
        if self._one_by_one:
            answers = [self._run(frames[n : n + 1]) for n in range(len(frames))]
            outputs = [np.concatenate(parts) for parts in zip(*answers, strict=True)]
        else:
            outputs = self._run(frames)
        return outputs[len(outputs) - 1 - self._hints :]

    def _try(self, width: int, height: int, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Looks at noise, to know before the training whether it can, and what its head holds.

        Our own segmenters have logits there, others probabilities.
        """
        frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        try:
            answers = self._look(frames)
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise ModelError(
                f"distillation.teacher: {self.path} cannot be run on two images of {width}x{height}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        for position, (name, found) in enumerate(zip(names, answers, strict=True)):
            channels = sum(map(len, self._members)) if position == 0 else "channels"
            fits = found.ndim == 4 and len(found) == 2 and channels in (found.shape[1], "channels")
            if not fits or found.dtype.kind != "f":
                key = "hints" if position else "teacher"
                raise ModelError(
                    f"distillation.{key}: of two images, '{name}' in {self.path} is "
                    f"{found.dtype} {list(found.shape)}; expected maps, float [2, {channels}, h, w]"
                )
        head = answers[0]
        if not np.isfinite(head).all():
            raise ModelError(
                f"distillation.teacher: '{names[0]}' in {self.path} is not finite for an image of noise; "
                "expected numbers; export it again"
            )
        self._logits = bool((head < 0).any() or np.abs(head.sum(axis=1, dtype=np.float64) - 1).max() > 0.01)
        return tuple(one.shape for one in answers[1:])


def _grouped(
    path: str, classes: Sequence[str], others: Sequence[str], groups: ClassGroups
) -> tuple[dict[str, str], dict[str, str]]:
    """The group of each class of the student and of the teacher.

    Raises:
        ConfigError: a name is no class of either, or the two cannot be compared, or have nothing to compare.
    """
    try:
        own, known = groups.mapping(classes), groups.mapping(others)
        groups.require_known(classes, others)
    except DataError as error:
        raise ConfigError(f"distillation.groups: {error}") from error
    if groups == NO_GROUPS:
        return own, known
    alone = sorted(set(own.values()) ^ set(known.values()))
    if alone:
        side = "the run" if alone[0] in own.values() else path
        raise ConfigError(
            f"distillation.groups: only {side} has a class in '{alone[0]}'; expected classes of both in "
            'every group; "rest=*" takes all that are in none'
        )
    if len(set(own.values())) < 2:
        raise ConfigError(
            f"distillation.groups: every class is in '{own[classes[0]]}', which teaches nothing; expected "
            "two groups or more"
        )
    return own, known
