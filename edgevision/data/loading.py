"""From data sets to batches: reading, augmenting and letterboxing in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgevision.data.augment import DetectionAugment
from edgevision.data.detection import DetectionSet, LabelledImage
from edgevision.errors import DataError
from edgevision.manifest import Resize
from edgevision.preprocess import Letterbox
from edgevision.types import Image


class DetectionSample(NamedTuple):
    """One letterboxed picture and its boxes in input pixels.

    Attributes:
        image: uint8 ``[S, S, 3]``, BGR, as the runtime would feed it.
        boxes: float32 ``[G, 4]``.
        labels: int64 ``[G]``.
        ignore: bool ``[G]``.
        known: bool ``[C]``.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    known: Tensor


class DetectionBatch(NamedTuple):
    """``images`` uint8 ``[N, S, S, 3]`` and the N samples that they came from."""

    images: Tensor
    samples: list[DetectionSample]


Key = tuple[int, int]
"""Position in an endless stream of samples, and the index of the picture taken there."""


class StreamSampler(Sampler[Key]):
    """An endless, seeded stream of pictures that can start anywhere, so that a resumed run sees the same.

    Args:
        weights: relative frequency of each picture; equal weights give plain shuffled epochs.
        seed: of the order.
        start: position to start from.
        stride, offset: take every ``stride``-th position from ``offset``, for one of several processes.
    """

    def __init__(
        self, weights: Sequence[float], seed: int, start: int = 0, stride: int = 1, offset: int = 0
    ) -> None:
        self._weights = torch.tensor(weights, dtype=torch.double)
        self._seed, self._start, self._stride, self._offset = seed, start, stride, offset

    def __iter__(self) -> Iterator[Key]:
        size = len(self._weights)
        epoch, order = -1, torch.zeros(0)
        position = self._start + self._offset
        while True:
            if position // size != epoch:
                epoch = position // size
                order = self._order(epoch)
            yield position, int(order[position % size])
            position += self._stride

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        if bool((self._weights == self._weights[0]).all()):
            return torch.randperm(len(self._weights), generator=generator)
        return torch.multinomial(self._weights, len(self._weights), replacement=True, generator=generator)


class DetectionData(Dataset[DetectionSample]):
    """Pictures of one or more sets, by key.

    Args:
        sets: data sets with equal classes.
        input_size: sides of the square input.
        resize: the model's resize rule.
        augment: variation, or None for evaluation.
        seed: of the variation; a key always gives the same sample.
    """

    def __init__(
        self,
        sets: Sequence[DetectionSet],
        input_size: int,
        resize: Resize,
        augment: DetectionAugment | None,
        seed: int = 0,
    ) -> None:
        self._items = [(entry, torch.from_numpy(one.known)) for one in sets for entry in one.images]
        if not self._items:
            raise DataError("the data sets hold no picture")
        self._size, self._resize, self._augment, self._seed = input_size, resize, augment, seed

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: Key) -> DetectionSample:
        position, index = key
        entry, known = self._items[index]
        with seeded(self._seed, position):
            return self._sample(entry, known)

    def _sample(self, entry: LabelledImage, known: Tensor) -> DetectionSample:
        image = read_image(entry.path)
        boxes = entry.boxes
        columns = np.stack([entry.labels, entry.ignore.astype(np.int64)], axis=1)
        if self._augment is not None:
            image, boxes, columns = self._augment(image, boxes, columns)
        letterbox = Letterbox.fit(image.shape[1], image.shape[0], self._size, self._size, self._resize)
        return DetectionSample(
            torch.from_numpy(letterbox.image(image)),
            torch.from_numpy(letterbox.boxes(boxes)),
            torch.from_numpy(columns[:, 0]),
            torch.from_numpy(columns[:, 1] != 0),
            known,
        )


@contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """Inside, torch's random numbers depend on nothing but the seed and the position in the stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 1_000_003 + position)
        yield


def read_image(path: Path) -> Image:
    """The picture as uint8 ``[H, W, 3]``, BGR.

    Raises:
        DataError: it is missing or cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        state = "cannot be decoded" if path.exists() else "not found"
        raise DataError(f"picture {state}: {path}")
    return np.asarray(image, np.uint8)


def collate(samples: list[DetectionSample]) -> DetectionBatch:
    """Stacks the pictures of a batch."""
    return DetectionBatch(torch.stack([sample.image for sample in samples]), samples)


def detection_loader(
    data: DetectionData, sampler: StreamSampler, batch_size: int, workers: int
) -> DataLoader[DetectionSample]:
    """Batches for training, see :func:`stream_loader`."""
    return stream_loader(data, sampler, batch_size, workers, collate)


def stream_loader(
    data: Dataset[Any],
    sampler: StreamSampler,
    batch_size: int,
    workers: int,
    collate_samples: Callable[[list[Any]], Any],
) -> DataLoader[Any]:
    """Batches for training, read ahead by ``workers`` processes (0 reads in this one)."""
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate_samples,
        worker_init_fn=_single_thread,
        prefetch_factor=4 if workers else None,
        persistent_workers=workers > 0,
        drop_last=True,
    )


def _single_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
