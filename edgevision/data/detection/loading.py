"""From detection sets to batches: reading, augmenting, letterboxing and composing images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.data.detection.augment import DetectionAugment, blank_image
from edgevision.data.detection.dataset import DetectionSet, LabelledImage
from edgevision.data.detection.masks import draw_shapes
from edgevision.data.memory import ImageReader, ScaledImage
from edgevision.data.stream import Key, StreamSampler, seeded, stream_loader
from edgevision.errors import DataError
from edgevision.types import FloatArray, Image

_SHRINK = 2  # images are read at no more than this many times the input's size
_ATTEMPTS = 50
_SCORE_STEPS = 10_000  # scores travel with the boxes as whole numbers
_MOSAIC_CENTRE = (0.3, 0.7)  # where the four images may meet, in shares of the input


class DetectionSample(NamedTuple):
    """One letterboxed image and its boxes in input pixels.

    Attributes:
        image: uint8 ``[S, S, 3]``, BGR, as the runtime would feed it.
        boxes: float32 ``[G, 4]``.
        labels: int64 ``[G]``.
        ignore: bool ``[G]``.
        scores: float32 ``[G]``, a teacher's, or 1.
        known: bool ``[C]``.
        files: what the image was made of.
        unreadable: files that should have been used, and why they could not be.
        masks: uint8 ``[G, S, S]``, 0 or 1, of sets that were loaded with shapes; else None.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    scores: Tensor
    known: Tensor
    files: tuple[str, ...]
    unreadable: tuple[str, ...]
    masks: Tensor | None = None


class DetectionBatch(NamedTuple):
    """``images`` uint8 ``[N, S, S, 3]`` and the N samples that they came from."""

    images: Tensor
    samples: list[DetectionSample]

    @property
    def files(self) -> list[str]:
        """The images in it."""
        return [file for sample in self.samples for file in sample.files]

    @property
    def unreadable(self) -> list[str]:
        """Images that were skipped, and why."""
        return [line for sample in self.samples for line in sample.unreadable]


class _Tile(NamedTuple):
    """An image on its way into a sample; ``columns`` are labels, ignore flags and scores of its boxes.

    ``masks`` is uint8 ``[G, H, W]``, or None where no shapes were read.
    """

    image: Image
    boxes: FloatArray
    columns: NDArray[np.int64]
    masks: NDArray[np.uint8] | None = None


class DetectionData(Dataset[DetectionSample]):
    """Images of one or more sets, by key.

    Args:
        sets: data sets with equal classes.
        input_size: sides of the square input.
        resize: the model's resize rule.
        augment: variation, or None for evaluation.
        seed: of the variation; a key always gives the same sample.
        cache_bytes: memory for decoded images.
        mosaic_until: position in the stream from which there are no more mosaics; None for never.
    """

    def __init__(
        self,
        sets: Sequence[DetectionSet],
        input_size: int,
        resize: Resize,
        augment: DetectionAugment | None,
        seed: int = 0,
        cache_bytes: int = 0,
        mosaic_until: int | None = None,
    ) -> None:
        self._entries: list[LabelledImage] = [entry for one in sets for entry in one.images]
        if not self._entries:
            raise DataError("the data sets hold no image")
        self._set_of = [number for number, one in enumerate(sets) for _ in one.images]
        self._ranges: list[range] = []
        for one in sets:
            start = self._ranges[-1].stop if self._ranges else 0
            self._ranges.append(range(start, start + len(one.images)))
        self._has_shapes = any(entry.shapes for entry in self._entries)
        self._known = [torch.from_numpy(one.known) for one in sets]
        paths = [entry.path for entry in self._entries]
        self.reader = ImageReader(paths, _SHRINK * input_size, cache_bytes)
        self._size, self._resize, self._augment, self._seed = input_size, resize, augment, seed
        self._mosaic_until = mosaic_until

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: Key) -> DetectionSample:
        """An image that cannot be read is replaced by the next of its set, and reported.

        Raises:
            DataError: nor can many others be read.
        """
        position, index = key
        with seeded(self._seed, position):
            mosaic = self._augment is not None and float(torch.rand(1)) < self._augment.mosaic
            mosaic = mosaic and (self._mosaic_until is None or position < self._mosaic_until)
            indices = [index]
            if mosaic:  # of one set, because sets may label different classes
                own = self._ranges[self._set_of[index]]
                indices += (own.start + torch.randint(len(own), (3,))).tolist()
            unreadable: list[str] = []
            used = [self._readable(number, unreadable) for number in indices]
            tiles = [self._varied(number, tile) for number, tile in used]
            image, boxes, columns, masks = self._compose(tiles)
            blank = 0.0 if self._augment is None else self._augment.blank
            if blank and float(torch.rand(1)) < blank:
                image, boxes, columns = blank_image(self._size), boxes[:0], columns[:0]
                masks = None if masks is None else masks[:0]
        return DetectionSample(
            torch.from_numpy(image),
            torch.from_numpy(boxes),
            torch.from_numpy(columns[:, 0]),
            torch.from_numpy(columns[:, 1] != 0),
            torch.from_numpy((columns[:, 2] / _SCORE_STEPS).astype(np.float32)),
            self._known[self._set_of[index]],
            tuple(str(self._entries[number].path) for number, _ in used),
            tuple(unreadable),
            None if masks is None else torch.from_numpy(masks),
        )

    def _readable(self, index: int, unreadable: list[str]) -> tuple[int, ScaledImage]:
        own = self._ranges[self._set_of[index]]
        for attempt in range(min(len(own), _ATTEMPTS)):
            candidate = own.start + (index - own.start + attempt) % len(own)
            try:
                return candidate, self.reader.read(candidate)
            except DataError as error:
                unreadable.append(str(error))
        raise DataError(f"{len(unreadable)} images in a row cannot be used; the first: {unreadable[0]}")

    def _varied(self, index: int, image: ScaledImage) -> _Tile:
        entry = self._entries[index]
        scale = np.array([image.scale_x, image.scale_y] * 2, np.float32)
        scores = np.rint(entry.scores * _SCORE_STEPS).astype(np.int64)
        columns = np.stack([entry.labels, entry.ignore.astype(np.int64), scores], axis=1)
        # Some sets label objects beyond the edge; what is not in the image cannot be learnt.
        height, width = image.image.shape[:2]
        boxes = np.clip(entry.boxes * scale, 0, np.array([width, height] * 2, np.float32))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        masks = None
        if self._has_shapes:
            masks = draw_shapes(entry.shapes, width, height, image.scale_x, image.scale_y)[inside]
        tile = _Tile(image.image, boxes[inside], columns[inside], masks)
        return tile if self._augment is None else _Tile(*self._augment.move(*tile))

    def _compose(self, tiles: list[_Tile]) -> _Tile:
        """One image letterboxed into the input, or four that meet at a random point of it."""
        if len(tiles) == 1:
            x = y = self._size
        else:
            low, high = (round(share * self._size) for share in _MOSAIC_CENTRE)
            x, y = torch.randint(low, high + 1, (2,)).tolist()
        corners = [(0, 0, x, y), (x, 0, self._size, y), (0, y, x, self._size), (x, y, self._size, self._size)]
        canvas = np.empty((self._size, self._size, 3), np.uint8)
        moved: list[FloatArray] = []
        drawn: list[NDArray[np.uint8]] = []
        for tile, (left, top, right, bottom) in zip(tiles, corners, strict=False):
            height, width = tile.image.shape[:2]
            letterbox = Letterbox.fit(width, height, right - left, bottom - top, self._resize)
            part = canvas[top:bottom, left:right]
            letterbox.image(tile.image, out=part)
            if self._augment is not None:
                inner = part[letterbox.top :, letterbox.left :]
                inner = inner[: letterbox.inner_height, : letterbox.inner_width]
                inner[:] = self._augment.colours(inner)
            moved.append(letterbox.boxes(tile.boxes) + np.array([left, top, left, top], np.float32))
            if tile.masks is not None:
                area = (slice(top, bottom), slice(left, right))
                drawn.append(_placed(tile.masks, letterbox, area, self._size))
        boxes = np.concatenate(moved)
        columns = np.concatenate([tile.columns for tile in tiles])
        kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        masks = np.concatenate(drawn)[kept] if drawn else None
        return _Tile(canvas, boxes[kept], columns[kept], masks)


def _placed(
    masks: NDArray[np.uint8], letterbox: Letterbox, area: tuple[slice, slice], size: int
) -> NDArray[np.uint8]:
    """Masks ``[G, H, W]`` where the image lies in an input: ``[G, size, size]``."""
    placed = np.zeros((len(masks), size, size), np.uint8)
    inner = (letterbox.inner_width, letterbox.inner_height)
    rows = slice(letterbox.top, letterbox.top + inner[1])
    columns = slice(letterbox.left, letterbox.left + inner[0])
    for mask, whole in zip(masks, placed, strict=True):
        whole[area][rows, columns] = cv2.resize(mask, inner, interpolation=cv2.INTER_NEAREST)
    return placed


def collate(samples: list[DetectionSample]) -> DetectionBatch:
    """Stacks the images of a batch; its samples are views of them, so that workers send each image once."""
    images = torch.stack([sample.image for sample in samples])
    return DetectionBatch(
        images, [one._replace(image=image) for one, image in zip(samples, images, strict=True)]
    )


def detection_loader(
    data: DetectionData, sampler: StreamSampler, batch_size: int, workers: int, ahead: int = 4
) -> DataLoader[DetectionSample]:
    """Batches for training, see :func:`~edgevision.data.stream.stream_loader`."""
    return stream_loader(data, sampler, batch_size, workers, collate, ahead)
