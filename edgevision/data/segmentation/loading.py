"""From segmentation sets to batches; the stream itself is that of :mod:`edgevision.data.stream`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.data.images import image_size
from edgevision.data.memory import SharedArrays
from edgevision.data.segmentation.augment import SegmentationAugment, mix_classes
from edgevision.data.segmentation.dataset import SegmentationSet
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.data.stream import Key, StreamSampler, seeded, stream_loader
from edgevision.errors import DataError
from edgevision.types import IGNORE_ID, Image


class SegmentationBatch(NamedTuple):
    """Images with their labels; of one image without the leading N.

    Attributes:
        images: uint8 ``[N, H, W, 3]``, BGR, as the runtime would feed them.
        labels: uint8 ``[N, H, W]``, class ids or :data:`~edgevision.types.IGNORE_ID`.
        files: the images.
        unreadable: images that were skipped; empty, because all are checked before training.
    """

    images: Tensor
    labels: Tensor
    files: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


class SegmentationData(Dataset[SegmentationBatch]):
    """Images of one or more sets, by key.

    Args:
        sets: data sets with equal classes.
        width, height: of the model's input.
        resize: the model's resize rule, for images that are not varied.
        augment: variation, or None.
        seed: of the variation; a key always gives the same sample.
        cache_bytes: memory for decoded images and labels.
    """

    def __init__(
        self,
        sets: Sequence[SegmentationSet],
        width: int,
        height: int,
        resize: Resize,
        augment: SegmentationAugment | None,
        seed: int = 0,
        cache_bytes: int = 0,
    ) -> None:
        self._items = [(one, image) for one in sets for image in one.images]
        if not self._items:
            raise DataError("the data sets hold no image")
        ends = list(accumulate(len(one.images) for one in sets))
        self._of_set = [range(end - len(one.images), end) for one, end in zip(sets, ends, strict=True)]
        sizes = [image_size(image.image) if cache_bytes else None for _, image in self._items]
        self.kept = SharedArrays([(size[1], size[0], 4) if size else None for size in sizes], cache_bytes)
        self._size, self._resize, self._augment, self._seed = (width, height), resize, augment, seed

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: Key) -> SegmentationBatch:
        position, index = key
        image, labels = self._read(index)
        if self._augment is not None:
            with seeded(self._seed, position):
                image, labels = self._varied(self._augment, index, image, labels)
        else:
            letterbox = Letterbox.fit(image.shape[1], image.shape[0], *self._size, self._resize)
            image, labels = letterbox.image(image), letterbox.class_map(labels, IGNORE_ID)
        file = str(self._items[index][1].image)
        return SegmentationBatch(torch.from_numpy(image), torch.from_numpy(labels), (file,))

    def _varied(
        self, augment: SegmentationAugment, index: int, image: Image, labels: NDArray[np.uint8]
    ) -> tuple[Image, NDArray[np.uint8]]:
        """An image varied, and mixed with another of its set where that is drawn."""
        varied = augment(image, labels)
        if float(torch.rand(1)) >= augment.mix or self._items[index][1].labels is None:
            return varied
        among = next(one for one in self._of_set if index in one)
        if len(among) == 1:
            return varied
        place = index - among.start + int(torch.randint(1, len(among), (1,)))
        other = augment(*self._read(among[place % len(among)]))
        return mix_classes(varied, other, IGNORE_ID)

    def _read(self, index: int) -> tuple[Image, NDArray[np.uint8]]:
        """An image and its labels; labels are kept as the image's fourth channel."""
        kept = self.kept.get(index)
        if kept is not None:
            return kept[..., :3].copy(), kept[..., 3].copy()
        image, labels = read_pair(*self._items[index])
        self.kept.put(index, np.dstack([image, labels]))
        return image, labels


def segmentation_loader(
    data: SegmentationData, sampler: StreamSampler, batch_size: int, workers: int, ahead: int = 4
) -> DataLoader[SegmentationBatch]:
    """Batches for training, see :func:`~edgevision.data.stream.stream_loader`."""
    return stream_loader(data, sampler, batch_size, workers, _collate, ahead)


def _collate(samples: list[SegmentationBatch]) -> SegmentationBatch:
    files = tuple(file for sample in samples for file in sample.files)
    images = torch.stack([sample.images for sample in samples])
    return SegmentationBatch(images, torch.stack([sample.labels for sample in samples]), files)
