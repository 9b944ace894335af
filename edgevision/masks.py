"""Masks of single objects: small boolean images with the place where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMasks:
    """The mask of each of N objects in one image, cut to the part of the image that it lies in.

    Attributes:
        crops: N masks, bool ``[h, w]`` each; an object without a mask has one of no pixels.
        origins: int32 ``[N, 2]``: ``(x, y)`` of each crop's first pixel in the image.
        size: ``(height, width)`` of the image.

    Raises:
        ValueError: a crop is not boolean, lies outside the image, or their number is not that of origins.

    Example:
        >>> masks = InstanceMasks((np.ones((2, 3), np.bool_),), [[4, 1]], (5, 8))
        >>> len(masks), masks.areas().tolist(), masks.whole(0).shape
        (1, [6], (5, 8))
    """

    crops: tuple[Mask, ...]
    origins: NDArray[np.int32]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "crops", tuple(self.crops))
        object.__setattr__(self, "origins", np.asarray(self.origins, np.int32).reshape(-1, 2))
        if len(self.crops) != len(self.origins):
            raise ValueError(f"{len(self.crops)} crops with {len(self.origins)} origins; expected as many")
        height, width = self.size
        for crop, (x, y) in zip(self.crops, self.origins.tolist(), strict=True):
            if crop.dtype != np.bool_ or crop.ndim != 2:
                raise ValueError(f"a mask is bool [h, w]; found {crop.dtype} {list(crop.shape)}")
            rows, columns = crop.shape
            if crop.size and not (0 <= x <= width - columns and 0 <= y <= height - rows):
                raise ValueError(
                    f"a mask of {columns}x{rows} pixels at {x}, {y} is not inside {width}x{height} pixels"
                )

    @classmethod
    def absent(cls, count: int, size: tuple[int, int]) -> InstanceMasks:
        """``count`` objects without a mask."""
        return cls((np.zeros((0, 0), np.bool_),) * count, np.zeros((count, 2), np.int32), size)

    @classmethod
    def join(cls, parts: Sequence[InstanceMasks]) -> InstanceMasks:
        """All of them, part after part.

        Raises:
            ValueError: there are none, or their images differ in size.
        """
        if len({part.size for part in parts}) != 1:
            raise ValueError("masks can be joined only if they are of one image")
        crops = tuple(crop for part in parts for crop in part.crops)
        return cls(crops, np.concatenate([part.origins for part in parts]), parts[0].size)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: slice | NDArray[Any] | Sequence[int]) -> InstanceMasks:
        """The masks that a boolean mask, an index array or a slice chooses."""
        chosen = np.arange(len(self))[index].tolist()
        masks = object.__new__(InstanceMasks)  # a part of what was checked needs no second check
        object.__setattr__(masks, "crops", tuple(self.crops[i] for i in chosen))
        object.__setattr__(masks, "origins", self.origins[chosen])
        object.__setattr__(masks, "size", self.size)
        return masks

    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask: int64 ``[N]``."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)

    def whole(self, index: int) -> Mask:
        """One mask in the whole image: bool ``[H, W]``."""
        full = np.zeros(self.size, np.bool_)
        crop, (x, y) = self.crops[index], self.origins[index].tolist()
        full[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return full

    def rle(self, index: int) -> str:
        """One mask in COCO's compressed run lengths, as ``pycocotools.mask.decode`` reads them.

        The image is read column by column; the lengths of runs of other and of own pixels alternate. Each is
        written in groups of five bits, the lowest first, from the fourth on as the difference to the one two
        before (``rleToString`` of cocoapi's ``maskApi.c``).
        """
        height, width = self.size
        crop, (x, y) = self.crops[index], self.origins[index].tolist()
        steps = np.diff(crop.astype(np.int8), axis=0, prepend=0, append=0)
        column, row = np.nonzero(steps.T)
        edges = (column + x) * height + row + y
        # A run that goes on at the top of the next column is one run.
        is_joined = np.zeros(len(edges), bool)
        same = edges[1:] == edges[:-1]
        is_joined[1:] |= same
        is_joined[:-1] |= same
        edges = edges[~is_joined]
        if not len(edges) or edges[-1] < height * width:
            edges = np.append(edges, height * width)
        return _compressed(np.diff(edges, prepend=0))


def _compressed(counts: NDArray[np.int64]) -> str:
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = np.arange(7)
    bits = (values[:, None] >> (5 * groups)) & 31
    # The number ends where what is left is only the sign, which the last group's fifth bit shows.
    rest = values[:, None] >> (5 * (groups + 1))
    is_last = np.where(bits & 16, rest == -1, rest == 0)
    length = is_last.argmax(axis=1)
    bits |= np.where(groups < length[:, None], 32, 0)
    return bytes((bits + 48)[groups <= length[:, None]].astype(np.uint8)).decode("ascii")
