"""Runs the ONNX file of a teacher, in OpenVINO where that is installed, else in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgevision.errors import ModelError
from edgevision.graph.load import load_onnx

Runner = Callable[[NDArray[Any]], list[NDArray[np.float32]]]
"""Takes a batch, answers with all outputs, those with hints last."""

Shapes = list[tuple[int, ...]]


def open_teacher(path: str, hints: Sequence[str]) -> tuple[Runner, Shapes]:
    """A function that runs the model, and the shapes of its input and of its outputs and hints.

    A side that the file leaves open is 0.

    Args:
        path: the file.
        hints: tensors of its middle that become further outputs.

    Raises:
        ModelError: the file is missing, cannot be run, or lacks a hint.
    """
    if not Path(path).is_file():
        raise ModelError(f"distillation.teacher: file not found: {path}")
    content = _with_hints(path, hints) if hints else None
    try:
        import openvino
    except ImportError:
        return _open_onnxruntime(path, content)
    try:
        # Rounding to BF16, OpenVINO's default on processors that have it, moves scores by 0.001.
        model = openvino.Core().read_model(path if content is None else content)
        compiled = openvino.Core().compile_model(
            model, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        )
        ports = [port.partial_shape for port in (*compiled.inputs, *compiled.outputs)]
        shapes = [tuple(0 if size.is_dynamic else size.get_length() for size in shape) for shape in ports]
    except RuntimeError as error:
        raise ModelError(f"distillation.teacher: OpenVINO cannot load {path}") from error
    count = len(compiled.outputs)

    def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
        answers = compiled([image])
        return [np.array(answers[i]) for i in range(count)]

    return run, shapes


def _open_onnxruntime(path: str, content: bytes | None) -> tuple[Runner, Shapes]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # Paddle lists every weight as an input, and each is a warning
    try:
        session: Any = onnxruntime.InferenceSession(
            content or path, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise ModelError(f"distillation.teacher: ONNX Runtime cannot load {path}") from error
    name = session.get_inputs()[0].name
    ports = (session.get_inputs()[0], *session.get_outputs())
    shapes = [tuple(size if isinstance(size, int) else 0 for size in port.shape) for port in ports]
    return lambda image: list(session.run(None, {name: image})), shapes


def _with_hints(path: str, hints: Sequence[str]) -> bytes:
    """The file with tensors from its middle as further outputs."""
    model = load_onnx(Path(path))
    made = {name for node in model.graph.node for name in node.output}
    for name in hints:
        if name not in made:
            raise ModelError(f"distillation.hints: {path} has no tensor '{name}'")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"distillation.hints: the shapes within {path} cannot be inferred") from error
    return bytes(inferred.SerializeToString())
