"""A detector in an ONNX file that says, for every cell, what it sees: the teacher of a distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevision.data.classes import map_classes, parse_classes
from edgevision.errors import ModelError
from edgevision.models.distillation import TeacherAnswers
from edgevision.training.onnx_teacher import Shapes, open_teacher

STRIDES = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a family writes its answers.

    Attributes:
        outputs: tensors with answers, before those with hints.
        reach: where a cell's point lies in it: 0.5 for its middle, 0 for its corner.
        is_bgr: the channels come in OpenCV's order.
    """

    outputs: int
    reach: float
    is_bgr: bool


_PICODET = _Form(2 * len(STRIDES), 0.5, is_bgr=False)
_NANODET = _Form(1, 0.0, is_bgr=True)


class DenseTeacher:
    """PicoDet (Yu et al. 2021, arXiv:2111.00902) or NanoDet-Plus (2021), without their postprocessing.

    The input is float ``[1, 3, S, S]`` with ImageNet's mean and deviation, as the student's; PicoDet takes
    RGB, NanoDet BGR. PicoDet's outputs, as PaddleDetection exports it, are scores ``[1, cells, C]`` of
    strides 8 to 64, then the distance from the cell's middle to each side as a distribution over whole
    strides, ``[1, cells, 4 * bins]``. NanoDet has one output, ``[1, all cells, C + 4 * bins]``, with
    distances from the cell's corner. OpenVINO runs it where that is installed, which takes a third of the
    time, else ONNX Runtime.

    Args:
        path: the file.
        known: its classes, as :func:`edgevision.data.classes.parse_classes` takes them.
        classes: the student's.
        input_size: sides of the student's input.
        hints: further tensors of the file to answer with.

    Raises:
        ModelError: the file is missing, or its inputs, outputs or hints are others.
    """

    def __init__(
        self, path: str, known: str, classes: Sequence[str], input_size: int, hints: Sequence[str] = ()
    ) -> None:
        self.path, names = path, parse_classes(known)
        self._run, shapes = open_teacher(path, hints)
        grids = [math.ceil(input_size / stride) for stride in STRIDES]
        cells = [grid * grid for grid in grids]
        self._form = _recognise(shapes, len(hints), input_size, cells, len(names), path)
        self._classes = len(names)
        index = map_classes(names, classes)
        self._own = torch.tensor([position for position, name in enumerate(names) if name in index])
        self._theirs = torch.tensor([index[name] for name in names if name in index])
        if not len(self._own):
            raise ModelError(f"{path} knows none of the classes to train; check distillation.classes")
        self._taught = torch.zeros(len(classes))
        self._taught[self._theirs] = 1
        self._points = torch.cat(
            [_points(grid, stride, self._form.reach) for grid, stride in zip(grids, STRIDES, strict=True)]
        )
        self._strides = torch.cat(
            [torch.full((count, 1), float(stride)) for count, stride in zip(cells, STRIDES, strict=True)]
        )

    def __call__(self, images: Tensor) -> TeacherAnswers:
        """Answers for images as the student gets them: float ``[N, 3, S, S]``, normalised."""
        answers = [self._one(image) for image in images.detach().cpu().numpy()]
        scores = torch.zeros(len(answers), len(self._points), len(self._taught))
        scores[:, :, self._theirs] = torch.stack([one[0] for one in answers])[:, :, self._own].clamp(0, 1)
        boxes = torch.stack([one[1] for one in answers])
        device = images.device
        hints = [torch.stack(level).to(device) for level in zip(*(one[2] for one in answers), strict=True)]
        return TeacherAnswers(scores.to(device), boxes.to(device), self._taught.to(device), hints)

    def _one(self, image: NDArray[np.float32]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scores ``[M, C]`` and boxes ``[M, 4]`` of one image, and the hints."""
        seen = image[::-1] if self._form.is_bgr else image
        outputs = [torch.from_numpy(output[0]) for output in self._run(np.ascontiguousarray(seen[None]))]
        found, hints = outputs[: self._form.outputs], outputs[self._form.outputs :]
        if len(found) == 1:
            scores, sides = found[0][:, : self._classes], found[0][:, self._classes :]
        else:
            scores, sides = torch.cat(found[: len(STRIDES)]), torch.cat(found[len(STRIDES) :])
        spread = sides.reshape(len(self._points), 4, -1).softmax(dim=-1)
        distances = spread @ torch.arange(spread.shape[-1], dtype=torch.float32) * self._strides
        return scores, torch.cat([self._points - distances[:, :2], self._points + distances[:, 2:]], 1), hints


def _recognise(
    shapes: Shapes, hints: int, input_size: int, cells: list[int], classes: int, path: str
) -> _Form:
    """The family of a file with these shapes of its input and outputs, of which the last are hints."""
    found = shapes[1 : len(shapes) - hints]
    last = found[-1][-1] if found and len(found[-1]) == 3 else 0
    picodet = [(1, count, width) for width in (classes, last) for count in cells]
    if shapes[0] == (1, 3, input_size, input_size):
        if found == picodet and last and last % 4 == 0:
            return _PICODET
        if found == [(1, sum(cells), last)] and last > classes and (last - classes) % 4 == 0:
            return _NANODET
    raise ModelError(
        f"{path} is no teacher for an input of {input_size} and {classes} classes: it has input "
        f"{list(shapes[0])} and outputs {', '.join(str(list(shape)) for shape in found)}; expected "
        f"PicoDet's without its postprocessing, [1, {cells[0]}, {classes}] for stride 8 and so on, or "
        f"NanoDet's, [1, {sum(cells)}, {classes} + 4 * bins]"
    )


def _points(grid: int, stride: int, reach: float) -> Tensor:
    """The points of a level's cells from which distances count, ``[grid * grid, 2]``, rows first."""
    y, x = torch.meshgrid(torch.arange(grid) + reach, torch.arange(grid) + reach, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2) * stride
