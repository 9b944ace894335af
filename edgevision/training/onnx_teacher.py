"""Runs the ONNX file of a teacher, in OpenVINO where that is installed, else in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgevision.errors import ModelError, nearest
from edgevision.graph.load import load_onnx

Runner = Callable[[NDArray[Any]], list[NDArray[np.float32]]]
"""Takes a batch, answers with all outputs, those with hints last."""

Shapes = list[tuple[int, ...]]


def open_teacher(path: str, hints: Sequence[str]) -> tuple[Runner, Shapes]:
    """A function that runs the model, and the shapes of its input and of its outputs and hints.

    A side that the file leaves open is 0.

    Args:
        path: the file.
        hints: tensors of it, which the function answers with after its outputs.

    Raises:
        ModelError: the file is missing, cannot be run, or lacks a hint.
    """
    if not Path(path).is_file():
        raise ModelError(f"distillation.teacher: file not found: {path}")
    content, places = _with_hints(path, hints)
    try:
        from edgevision.engines.ov_core import shared_core
    except ImportError:
        return _open_onnxruntime(path, content, places)
    try:
        # Rounding to BF16, OpenVINO's default on processors that have it, moves scores by 0.001.
        core = shared_core()
        model = core.read_model(path if content is None else content)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
        ports = [port.partial_shape for port in (*compiled.inputs, *compiled.outputs)]
        shapes = [
            () if shape.rank.is_dynamic else tuple(0 if one.is_dynamic else one.get_length() for one in shape)
            for shape in ports
        ]
    except RuntimeError as error:
        raise ModelError(f"distillation.teacher: OpenVINO cannot load {path}; export it again") from error
    chosen = places or list(range(len(compiled.outputs)))

    def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
        answers = compiled([image])
        return [np.array(answers[place]) for place in chosen]

    return run, _chosen(shapes, places)


def _open_onnxruntime(path: str, content: bytes | None, places: list[int]) -> tuple[Runner, Shapes]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # Paddle lists every weight as an input, and each is a warning
    try:
        session: Any = onnxruntime.InferenceSession(
            content or path, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise ModelError(f"distillation.teacher: ONNX Runtime cannot load {path}; export it again") from error
    name = session.get_inputs()[0].name
    ports = (session.get_inputs()[0], *session.get_outputs())
    shapes = [tuple(size if isinstance(size, int) else 0 for size in port.shape or ()) for port in ports]

    def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
        answers = session.run(None, {name: image})
        return [answers[place] for place in places or range(len(answers))]

    return run, _chosen(shapes, places)


def _chosen(shapes: Shapes, places: list[int]) -> Shapes:
    """The shape of the input, and those of the outputs at ``places``; of all where there are none."""
    return [shapes[0], *(shapes[1 + place] for place in places)] if places else shapes


def _with_hints(path: str, hints: Sequence[str]) -> tuple[bytes | None, list[int]]:
    """The file with tensors from its middle as further outputs; where its own outputs and the hints are then.

    A hint may be named twice, or be an output already: no file may have an output twice. Without hints there
    is nothing to change: None, and no places.
    """
    if not hints:
        return None, []
    model = load_onnx(Path(path))
    made = [name for node in model.graph.node for name in node.output]
    outputs = [one.name for one in model.graph.output]
    places = list(range(len(outputs)))
    for name in hints:
        if name not in made:
            likely = nearest(name, made) or f"; it makes {len(made)}, the last {', '.join(made[-3:])}"
            raise ModelError(f"distillation.hints: {path} has no tensor '{name}'{likely}")
        if name not in outputs:
            outputs.append(name)
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        places.append(outputs.index(name))
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"distillation.hints: the shapes within {path} cannot be inferred") from error
    return bytes(inferred.SerializeToString()), places
