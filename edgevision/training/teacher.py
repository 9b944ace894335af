"""A detector in an ONNX file that says, for every cell, what it sees: the teacher of a distillation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevision.data.classes import map_classes, parse_classes
from edgevision.errors import ModelError
from edgevision.models.distillation import TeacherAnswers

STRIDES = (8, 16, 32, 64)

_Runner = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]


class DenseTeacher:
    """PicoDet (Yu et al. 2021, arXiv:2111.00902), as PaddleDetection exports it without its postprocessing.

    Its input is float ``[1, 3, S, S]``, RGB, with ImageNet's mean and deviation, as the student's. Its
    outputs are scores ``[1, cells, C]`` of strides 8 to 64, then the distance from the cell's centre to each
    side as a distribution over whole strides, ``[1, cells, 4 * bins]``. OpenVINO runs it where that is
    installed, which takes a third of the time, else ONNX Runtime.

    Args:
        path: the file.
        known: its classes, as :func:`edgevision.data.classes.parse_classes` takes them.
        classes: the student's.
        input_size: sides of the student's input.

    Raises:
        ModelError: the file is missing, or its inputs or outputs are others.
    """

    def __init__(self, path: str, known: str, classes: Sequence[str], input_size: int) -> None:
        self.path, names = path, parse_classes(known)
        if not Path(path).is_file():
            raise ModelError(f"distillation.teacher: file not found: {path}")
        self._run, shapes = _open(path)
        grids = [math.ceil(input_size / stride) for stride in STRIDES]
        cells = [grid * grid for grid in grids]
        found = shapes[1:]
        expected = [(1, count, len(names)) for count in cells]
        sides = found[-1][-1] if found and len(found[-1]) == 3 else 0
        expected += [(1, count, sides) for count in cells]
        if shapes[0] != (1, 3, input_size, input_size) or found != expected or sides % 4 or not sides:
            raise ModelError(
                f"{path} is no teacher for an input of {input_size} and {len(names)} classes: it has input "
                f"{list(shapes[0])} and outputs {', '.join(str(list(shape)) for shape in found)}; expected "
                f"PicoDet's without its postprocessing, [1, {cells[0]}, {len(names)}] for stride 8 and so on"
            )
        index = map_classes(names, classes)
        self._own = torch.tensor([position for position, name in enumerate(names) if name in index])
        self._theirs = torch.tensor([index[name] for name in names if name in index])
        if not len(self._own):
            raise ModelError(f"{path} knows none of the classes to train; check distillation.classes")
        self._taught = torch.zeros(len(classes))
        self._taught[self._theirs] = 1
        self._centres = torch.cat(
            [_centres(grid, stride) for grid, stride in zip(grids, STRIDES, strict=True)]
        )
        self._strides = torch.cat(
            [torch.full((count, 1), float(stride)) for count, stride in zip(cells, STRIDES, strict=True)]
        )

    def __call__(self, images: Tensor) -> TeacherAnswers:
        """Answers for images as the student gets them: float ``[N, 3, S, S]``, normalised."""
        answers = [self._one(image) for image in images.detach().cpu().numpy()]
        scores = torch.zeros(len(answers), len(self._centres), len(self._taught))
        scores[:, :, self._theirs] = torch.stack([one[0] for one in answers])[:, :, self._own].clamp(0, 1)
        boxes = torch.stack([one[1] for one in answers])
        device = images.device
        return TeacherAnswers(scores.to(device), boxes.to(device), self._taught.to(device))

    def _one(self, image: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Scores ``[M, C]`` and boxes ``[M, 4]`` of one image."""
        outputs = [torch.from_numpy(output[0]) for output in self._run(np.ascontiguousarray(image[None]))]
        levels = len(STRIDES)
        sides = torch.cat(outputs[levels:]).reshape(len(self._centres), 4, -1).softmax(dim=-1)
        distances = sides @ torch.arange(sides.shape[-1], dtype=torch.float32) * self._strides
        corners = torch.cat([self._centres - distances[:, :2], self._centres + distances[:, 2:]], dim=1)
        return torch.cat(outputs[:levels]), corners


def _centres(grid: int, stride: int) -> Tensor:
    """Middles of the cells of a level, ``[grid * grid, 2]``, rows first."""
    y, x = torch.meshgrid(torch.arange(grid) + 0.5, torch.arange(grid) + 0.5, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2) * stride


def _open(path: str) -> tuple[_Runner, list[tuple[int, ...]]]:
    """A function that runs the model, and the shapes of its input and its outputs."""
    try:
        import openvino
    except ImportError:
        return _open_onnxruntime(path)
    try:
        # Rounding to BF16, OpenVINO's default on processors that have it, moves scores by 0.001.
        compiled = openvino.Core().compile_model(
            path, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        )
        shapes = [tuple(int(size) for size in port.shape) for port in (*compiled.inputs, *compiled.outputs)]
    except RuntimeError as error:
        raise ModelError(f"distillation.teacher: OpenVINO cannot load {path}") from error
    count = len(compiled.outputs)

    def run(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        answers = compiled([image])
        return [np.array(answers[i]) for i in range(count)]

    return run, shapes


def _open_onnxruntime(path: str) -> tuple[_Runner, list[tuple[int, ...]]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # Paddle lists every weight as an input, and each is a warning
    try:
        session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise ModelError(f"distillation.teacher: ONNX Runtime cannot load {path}") from error
    name = session.get_inputs()[0].name
    ports = (session.get_inputs()[0], *session.get_outputs())
    shapes = [tuple(size if isinstance(size, int) else 0 for size in port.shape) for port in ports]
    return lambda image: list(session.run(None, {name: image})), shapes
