"""The endless, seeded stream of batches that every training reads, in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Key = tuple[int, int]
"""Position in an endless stream of samples, and the index of the image taken there."""


class StreamSampler(Sampler[Key]):
    """An endless, seeded stream of images that can start anywhere, so that a resumed run sees the same.

    Args:
        weights: relative frequency of each image; equal weights give plain shuffled epochs.
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


@contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """Inside, torch's random numbers depend on nothing but the seed and the position in the stream."""
    # torch.manual_seed() would note a traceback for every GPU's generator, each time.
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed * 1_000_003 + position)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


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
