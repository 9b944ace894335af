"""The endless, seeded stream of batches that every training reads, in worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgevision.allocator import keep_freed_memory

SHARED_MEMORY = Path("/dev/shm")
_SHARE = 0.85  # of what is free; small tensors and other processes take some
_PATIENCE_S = 300  # that a batch may take before the workers count as lost

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


class Workers(NamedTuple):
    """Processes that read ahead.

    Attributes:
        processes: how many; 0 reads in the training process.
        ahead: batches that each of them reads ahead.
    """

    processes: int
    ahead: int = 4


def fit_workers(wanted: int, batch_bytes: int, folder: Path = SHARED_MEMORY) -> tuple[Workers, str]:
    """The processes whose batches fit into shared memory, and one line where they are fewer than wanted.

    A process that cannot share a batch drops it, and the training would wait for it for ever. Docker gives a
    container 64 MB. PyTorch's other way to share (``file_system``) is no way out: its files lie in /dev/shm
    too (``shm_open``), and stay there when a process is killed. So what does not fit is read in the training
    process.

    Args:
        wanted: processes that the configuration asks for.
        batch_bytes: of one batch, in all processes of a distributed run together.
        folder: where shared memory is a file system; without one it has no limit of its own.
    """
    if not wanted or not folder.is_dir():
        return Workers(wanted), ""
    room = os.statvfs(folder)
    free = int(room.f_bavail * room.f_frsize * _SHARE)
    for ahead in (4, 2):
        if (wanted * ahead + 1) * batch_bytes <= free:
            return Workers(wanted, ahead), ""
    count = max((free // batch_bytes - 1) // 2, 0)
    does = "the training process reads the images" if not count else f"{count} of {wanted} workers read ahead"
    return Workers(min(count, wanted), 2), (
        f"{folder} has {free / 2**20:.0f} MiB for batches of {batch_bytes / 2**20:.1f} MiB: {does}; "
        "give the container more shared memory (Docker's shm-size) to train faster"
    )


def stream_loader(
    data: Dataset[Any],
    sampler: StreamSampler,
    batch_size: int,
    workers: int,
    collate_samples: Callable[[list[Any]], Any],
    ahead: int = 4,
) -> DataLoader[Any]:
    """Batches for training; each of ``workers`` processes reads ``ahead`` (0 reads in this process)."""
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate_samples,
        worker_init_fn=_start_worker,
        prefetch_factor=ahead if workers else None,
        persistent_workers=workers > 0,
        timeout=_PATIENCE_S if workers else 0,
        drop_last=True,
    )


def _start_worker(_: int) -> None:
    keep_freed_memory()  # it is inherited only where processes are forked
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
