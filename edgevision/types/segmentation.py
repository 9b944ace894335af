"""What a segmentation model says of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.types.arrays import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMap:
    """The class of each pixel of one image.

    Attributes:
        class_map: uint8 ``[H, W]`` at source size, indices into ``names``.
        names: class names; empty where they are not known.
        model: name of the model; empty where it is not known.
    """

    class_map: NDArray[np.uint8]
    names: tuple[str, ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if self.class_map.dtype != np.uint8 or self.class_map.ndim != 2:
            raise ValueError(
                f"a class map is uint8 [H, W]; found {self.class_map.dtype} {list(self.class_map.shape)}"
            )

    def __repr__(self) -> str:
        height, width = self.class_map.shape
        return f"<SegmentationMap: {width}x{height}, {len(self.names)} classes>"

    def shares(self) -> FloatArray:
        """Share of the image that each class in ``names`` covers: float32 ``[C]``, summing to at most 1."""
        classes = len(self.names)
        counts = np.bincount(self.class_map.ravel(), minlength=classes)[:classes]
        return (counts / max(self.class_map.size, 1)).astype(np.float32)
