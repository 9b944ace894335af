"""Probe images, and ONNX Runtime on a network that is looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgevision.errors import ExportError
from edgevision.export.importers.inputs import Layout, image_shape


def probe_images(
    layout: Layout, sizes: tuple[int, int, int], dtype: np.dtype[Any]
) -> dict[str, NDArray[Any]]:
    """Black, white, noise and a third of the noise, each the same for all images of the batch.

    ``sizes``: of the batch, height and width.
    """
    batch, height, width = sizes
    noise = np.random.default_rng(0).random((3, height, width))
    peak = 255 if dtype == np.uint8 else 1
    made = {}
    for name, image in {
        "black": np.zeros_like(noise),
        "white": np.ones_like(noise),
        "noise": noise,
        "dim": noise / 3,
    }.items():
        values = image if "C" in layout[:2] else image.transpose(1, 2, 0)
        shape = image_shape(layout, batch, height, width)
        made[name] = np.ascontiguousarray(np.broadcast_to(values * peak, shape)).astype(dtype)
    return made


class Session:
    """ONNX Runtime on one model; ``session(images)`` gives its outputs."""

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self._path, self._name = path, model.graph.input[0].name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class below Exception
            raise self._error(error) from error

    def __call__(self, images: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        try:
            return tuple(self._session.run(None, {self._name: images}))
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> ExportError:
        text = " ".join(str(error).split())[:200]
        return ExportError(f"{self._path}: ONNX Runtime cannot run it ({text})")
