"""Reading ONNX files."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it carries no types

from edgevision.errors import ModelError


def load_onnx(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """Reads an ONNX file.

    Args:
        path: the file.
        weights: read weights that lie in files of their own too; False leaves them where they are.

    Raises:
        ModelError: it is missing, cannot be read, or is not an ONNX model.
    """
    try:
        return onnx.load(path, load_external_data=weights)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not an ONNX model that can be read ({text}); copy it again") from error
