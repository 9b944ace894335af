"""From classification sets to batches: reading, cutting, varying and resizing images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.data.classification.augment import ClassificationAugment
from edgevision.data.classification.dataset import ClassificationSet
from edgevision.data.memory import ImageReader
from edgevision.data.stream import Key, StreamSampler, seeded, stream_loader
from edgevision.errors import DataError

_SHRINK = 4  # images are read at no more than this many times the input's size: of some, a part is seen
_ATTEMPTS = 50


class ClassificationSample(NamedTuple):
    """One labelled image, or a part of one, at the size of the input.

    Attributes:
        image: uint8 ``[S, S, 3]``, BGR, as the runtime would feed it.
        labels: float32 ``[C]``, 1 for a class that holds.
        known: float32 ``[C]``, 0 for a class of which it is not known.
        file: the image.
        unreadable: files that should have been used, and why they could not be.
    """

    image: Tensor
    labels: Tensor
    known: Tensor
    file: str
    unreadable: tuple[str, ...]


class ClassificationBatch(NamedTuple):
    """A batch of N.

    Attributes:
        images: uint8 ``[N, S, S, 3]``, BGR.
        labels, known: float32 ``[N, C]``.
        files: the images in it.
        unreadable: images that were skipped, and why.
    """

    images: Tensor
    labels: Tensor
    known: Tensor
    files: list[str]
    unreadable: list[str]


class ClassificationData(Dataset[ClassificationSample]):
    """Labelled images of one or more sets, by key.

    Args:
        sets: data sets with equal classes.
        input_size: sides of the square input.
        resize: the model's resize rule.
        augment: variation.
        seed: of the variation; a key always gives the same sample.
        cache_bytes: memory for decoded images.
    """

    def __init__(
        self,
        sets: Sequence[ClassificationSet],
        input_size: int,
        resize: Resize,
        augment: ClassificationAugment,
        seed: int = 0,
        cache_bytes: int = 0,
    ) -> None:
        self._places = [(one, row) for one in sets for row in range(len(one.paths))]
        files = list(dict.fromkeys(path for one in sets for path in one.paths))
        self._number = {path: number for number, path in enumerate(files)}
        self.reader = ImageReader(files, _SHRINK * input_size, cache_bytes)
        self._size, self._resize, self._augment, self._seed = input_size, resize, augment, seed

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: Key) -> ClassificationSample:
        """An image that cannot be read is replaced by the next, and reported.

        Raises:
            DataError: nor can many others be read.
        """
        position, index = key
        unreadable: list[str] = []
        for attempt in range(min(len(self), _ATTEMPTS)):
            data, row = self._places[(index + attempt) % len(self)]
            try:
                found = self.reader.read(self._number[data.paths[row]])
            except DataError as error:
                unreadable.append(str(error))
                continue
            height, width = found.image.shape[:2]
            box = np.array([0, 0, width, height], np.float32)
            if data.boxes is not None:
                box = data.boxes[row] * np.array([found.scale_x, found.scale_y] * 2, np.float32)
            with seeded(self._seed, position):
                seen = self._augment.part(found.image, box)
                fit = Letterbox.fit(seen.shape[1], seen.shape[0], self._size, self._size, self._resize)
                image = self._augment.colours(fit.image(np.ascontiguousarray(seen)))
            known = np.ones_like(data.labels[row]) if data.known is None else data.known[row]
            return ClassificationSample(
                torch.from_numpy(image),
                torch.from_numpy(data.labels[row].astype(np.float32)),
                torch.from_numpy(known.astype(np.float32)),
                str(data.paths[row]),
                tuple(unreadable),
            )
        raise DataError(f"{len(unreadable)} images in a row cannot be used; the first: {unreadable[0]}")


def collate(samples: list[ClassificationSample]) -> ClassificationBatch:
    """Stacks the images and labels of a batch."""
    return ClassificationBatch(
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.labels for sample in samples]),
        torch.stack([sample.known for sample in samples]),
        [sample.file for sample in samples],
        [line for sample in samples for line in sample.unreadable],
    )


def classification_loader(
    data: ClassificationData, sampler: StreamSampler, batch_size: int, workers: int, ahead: int = 4
) -> DataLoader[ClassificationSample]:
    """Batches for training, see :func:`~edgevision.data.stream.stream_loader`."""
    return stream_loader(data, sampler, batch_size, workers, collate, ahead)
