"""The image that a foreign network takes: which input it is, the order of its axes, its size.

A second input that tells the size of the image becomes a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ExportError

Layout = Literal["NCHW", "NHWC", "CHW", "HWC"]
Size = tuple[int, int]
"""Height and width."""

ASSUMED_SIZE: Size = (640, 640)
"""What a graph of any size is probed with until its family says better."""

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def image_input(model: onnx.ModelProto, path: Path) -> tuple[onnx.ValueInfoProto, Layout]:
    """The input that takes the image, and the order of its axes.

    Raises:
        ExportError: there is none, or more than one.
    """
    found = [(entry, layout) for entry in model.graph.input if (layout := _layout(entry)) is not None]
    if len(found) == 1:
        return found[0]
    inputs = ", ".join(f"{entry.name} {_shape(entry)}" for entry in model.graph.input) or "none"
    raise ExportError(
        f"{path}: found inputs {inputs}; expected one image of three channels, float or uint8: [N, 3, H, W], "
        "[N, H, W, 3] or [3, H, W]"
    )


def _layout(entry: onnx.ValueInfoProto) -> Layout | None:
    """Whether an input is an image of three channels, and in which order its axes are."""
    kind = entry.type.tensor_type
    if kind.elem_type not in (*_FLOATS, TensorProto.UINT8):
        return None
    sizes = [dim.dim_value or None for dim in kind.shape.dim]
    names = {3: ("CHW", "HWC"), 4: ("NCHW", "NHWC")}.get(len(sizes))
    if names is None:
        return None
    first, last = sizes[-3], sizes[-1]
    if first == 3 or (first is None and last != 3):
        return names[0]  # type: ignore[return-value]  # the table's own strings
    return names[1] if last == 3 else None  # type: ignore[return-value]


def _shape(entry: onnx.ValueInfoProto) -> str:
    dims = entry.type.tensor_type.shape.dim
    return "[" + ", ".join(str(size.dim_value or size.dim_param or "?") for size in dims) + "]"


def input_size(
    path: Path, height: int | None, width: int | None, metadata: Mapping[str, str], wanted: Size | None
) -> tuple[Size, bool]:
    """The size of the input, and whether it is only assumed.

    Raises:
        ExportError: the graph has a fixed size and another is wanted.
    """
    if height and width:
        if wanted not in (None, (height, width)):
            raise ExportError(
                f"{path}: its input is fixed to {width}x{height}, so `size` cannot be "
                f"{wanted[1]}x{wanted[0]}; "
                "export it with a dynamic size or leave `size` out"
            )
        return (height, width), False
    noted = _noted_size(metadata)
    known = wanted or noted or ASSUMED_SIZE
    return (height or known[0], width or known[1]), wanted is None and noted is None


def _noted_size(metadata: Mapping[str, str]) -> Size | None:
    """The size in an ``imgsz`` note: ``[640, 640]``, height first, or one number for both."""
    numbers = [number.strip() for number in metadata.get("imgsz", "").strip("[]() ").split(",")]
    if not all(number.isdecimal() and int(number) for number in numbers) or len(numbers) > 2:
        return None
    return int(numbers[0]), int(numbers[-1])


def fold_inputs(
    model: onnx.ModelProto, image: str, batch: int, size: Size, path: Path
) -> dict[str, NDArray[Any]]:
    """Makes constants of the inputs that tell the size of the image: it is that of the network's input.

    Boxes then come back in pixels of the input, which the runtime takes back to the image.

    Raises:
        ExportError: an input means something else.
    """
    height, width = size
    known: dict[str, NDArray[Any]] = {
        "orig_target_sizes": np.array([[width, height]]),
        "orig_sizes": np.array([[width, height]]),
        "im_shape": np.array([[height, width]]),
        "image_shape": np.array([[height, width]]),
        "scale_factor": np.ones((1, 2)),
        "pixel_mask": np.ones((1, height, width)),
    }
    folded = {}
    for entry in [entry for entry in model.graph.input if entry.name != image]:
        kind, value = entry.type.tensor_type, known.get(entry.name)
        rank = len(kind.shape.dim)
        if value is None or rank != value.ndim:
            names = ", ".join(f"{one.name} {_shape(one)}" for one in model.graph.input)
            raise ExportError(
                f"{path}: found inputs {names}; {entry.name} is not known. Expected one image, and beside "
                "it at "
                f"most {', '.join(known)}; export it with the image as the only input"
            )
        value = np.repeat(value, batch, axis=0).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        model.graph.initializer.append(numpy_helper.from_array(value, entry.name))
        model.graph.input.remove(entry)
        folded[entry.name] = value
    return folded


def fix_input(model: onnx.ModelProto, layout: Layout, batch: int | None, size: Size) -> None:
    """Writes the sizes that the graph leaves open into its input."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for axis, dim in zip(layout, dims, strict=True):
        known = {"C": 3, "H": size[0], "W": size[1], "N": batch}[axis]
        if known:
            dim.dim_value = known
    model.graph.ClearField("value_info")


def image_shape(layout: Layout, batch: int, height: int, width: int) -> tuple[int, ...]:
    sizes = {"N": batch, "C": 3, "H": height, "W": width}
    return tuple(sizes[axis] for axis in layout)
