"""Records for days: everything, or clips around what a trigger sees."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av

from edgevision.closeable import UseLock
from edgevision.errors import SinkError
from edgevision.files import FileSpan
from edgevision.recording.encoder import LONGEST_GAP, EncodedImage, H264Encoder
from edgevision.recording.limits import Rotation
from edgevision.recording.ring import PacketRing
from edgevision.recording.segment import Segment
from edgevision.recording.store import SegmentStore
from edgevision.types import FrameResult, Image
from edgevision.video.base import Delivery, Sink, SourceInfo
from edgevision.video.codec.h264 import DEFAULT_RATE, TIME_BASE

_LOG = logging.getLogger(__name__)

_CLOSE_S = 1.0  # to write an image takes less
_RETRY_S = 30.0
_RING_BYTES = 64 * 2**20
_SETTLE_TICKS = round(1 / TIME_BASE)  # the budget is checked once a second
_GAP_BEFORE_KEY = round(10 / TIME_BASE)  # who looks begins again after it
_FOREVER = 2**63

_FAILURES = (OSError, av.error.FFmpegError, SinkError)

RESERVE_BYTES = 64 * 2**20
"""Recording stops while the disk has less room than this, which the system needs."""


def free_bytes(folder: Path) -> int:
    """Room on the disk that holds ``folder``."""
    return shutil.disk_usage(folder).free


class Recorder(Sink):
    """Records images into files that rotate.

    Without a trigger everything is recorded. With one, the last ``pre_s`` seconds wait in memory, encoded,
    and a clip begins with them once the trigger is true; it ends ``post_s`` seconds after it was last true.
    With ``describe`` nothing is drawn on the images: what was found is kept beside them (:func:`notes_path`).
    Files begin with a key frame, so clips begin up to two seconds earlier than asked for, never later.
    After more than three hours without an image a new file begins.

    A failing disk does not end the run: ``alarm`` says why nothing is recorded, one line is logged, files
    written before remain playable, and recording resumes once there is room.

    Args:
        store: where files go.
        info: the source.
        rotation: when a new file begins.
        trigger: takes a frame's result; None to record everything.
        pre_s, post_s: around what a trigger saw, in seconds of the source.
        threads: to encode with.
        ring_bytes: maximum memory for the seconds before.
        retry_s: between attempts to begin again, in seconds.
        reserve: bytes to leave free on the disk.
        room: measures what is free, for tests.
        on_file: called with each new file, the source's time of its first image, and that image's age, both
            in seconds.
        on_file_end: called with each finished file, and the source's time of its last image, in seconds.
        describe: what was found in a frame, as JSON; None records the images with their drawings.
        on_encoded: called with each image and the size of its image once it is encoded, for others who need
            it so; each image then leaves the encoder at once.

    Attributes:
        alarm: why nothing is recorded at the moment; else None.
        recorded: images that are in files.
        missed: images that are not, because of an alarm; both together are all that were wanted.
    """

    def __init__(
        self,
        store: SegmentStore,
        info: SourceInfo,
        rotation: Rotation,
        trigger: Callable[[FrameResult], bool] | None = None,
        *,
        pre_s: float = 5.0,
        post_s: float = 10.0,
        threads: int = 2,
        ring_bytes: int = _RING_BYTES,
        retry_s: float = _RETRY_S,
        reserve: int = RESERVE_BYTES,
        room: Callable[[Path], int] = free_bytes,
        on_file: Callable[[Path, float, float], None] | None = None,
        on_file_end: Callable[[Path, float], None] | None = None,
        describe: Callable[[FrameResult], bytes] | None = None,
        on_encoded: Callable[[EncodedImage, tuple[int, int]], None] | None = None,
    ) -> None:
        super().__init__(str(store.folder / f"{store.stem}-*.mp4"))
        self.alarm: str | None = None
        self.recorded = self.missed = 0
        self._store, self._info, self._trigger, self._threads = store, info, trigger, threads
        self._rate = info.frame_rate or DEFAULT_RATE
        self._limit = None if rotation.seconds is None else round(rotation.seconds / TIME_BASE)
        halves = (
            [] if store.keep is None else [store.keep // 2]
        )  # otherwise the current file alone could fill it
        self._limit_bytes = min([*halves, *([] if rotation.size is None else [rotation.size])], default=None)
        self._post = round(post_s / TIME_BASE)
        self._ring = PacketRing(round(pre_s / TIME_BASE), ring_bytes)
        self._until = _FOREVER if trigger is None else -1
        self._retry_s, self._retry_at = retry_s, 0.0
        self._files = FileSpan("file")
        self._reserve, self._room, self._on_file = reserve, room, on_file
        self._on_file_end = on_file_end
        self._describe, self._on_encoded = describe, on_encoded
        self._encoder: H264Encoder | None = None
        self._segment: Segment | None = None
        self._next_cut: int | None = None
        self._key_is_due = False
        self._pts = self._settled_pts = -1
        self._is_finished = False
        self._use = UseLock(self._close, _CLOSE_S)

    def write(self, result: FrameResult, image: Image) -> None:
        """Takes one frame; an error of the disk sets ``alarm`` and is not raised.

        Raises:
            SinkError: it is closed.
        """
        with self._use.used():
            if self._use.is_closed:
                raise SinkError(f"cannot record in {self._store.folder}: the recording is closed")
            self._write(result, image)

    def _write(self, result: FrameResult, image: Image) -> None:
        last = self._pts
        self._pts = max(round(result.frame.timestamp_ns * 1e-9 / TIME_BASE), last + 1)
        gap = self._pts - last if last >= 0 else 0
        if gap > LONGEST_GAP:
            hours = float(gap * TIME_BASE) / 3600
            _LOG.warning("%s: no image for %.1f hours; a new file begins", self.name, hours)
        if self._trigger is not None and self._trigger(result):
            self._until = self._pts + self._post
        if self.alarm is not None and not self._can_begin_again():
            if self._is_wanted(self._pts):
                self.missed += 1
            return
        image = image if self._describe is None else result.frame.image
        size = (image.shape[1], image.shape[0])
        if self._encoder is not None and self._encoder.size != size:
            self._guarded(self._end_encoding)
            if self.alarm is not None:
                self.missed += self._is_wanted(self._pts)
                return
        if self._encoder is None:
            at_once = self._on_encoded is not None
            self._encoder = H264Encoder(
                size, self._rate, self._info.pixel_aspect, self._threads, at_once=at_once
            )
        note = b"" if self._describe is None else self._describe(result)
        as_key = self._is_key_due() or gap > _GAP_BEFORE_KEY
        done = self._encoder.encode(image, self._pts, as_key=as_key, note=note)
        if self._on_encoded is not None:
            for one in done:
                self._on_encoded(one, size)
        self._guarded(self._take, done)

    def close(self) -> None:
        """Finishes the file.

        Where another thread is writing, that one finishes the file. This one waits for a second only: a disk
        that takes nothing can keep the other for ever.

        Raises:
            SinkError: none of the images could be recorded.
        """
        self._use.close()

    def _close(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self._guarded(self._end_encoding)
        store = self._store
        store.close()
        if self.missed and not self.recorded:
            reason = self.alarm or f"cannot record in {store.folder}"
            raise SinkError(f"{reason}; none of {self.missed} images was recorded")
        removed = f", {store.removed} of the oldest removed" if store.removed else ""
        files = "file" if store.made == 1 else "files"
        self.notes.append(f"{self.name}: {store.made} {files} recorded{removed}")
        if self._ring.was_short:
            self.notes.append(f"{self.name}: pre-roll was shortened (memory limit)")
        if self.missed:
            images = "image was" if self.missed == 1 else "images were"
            self.notes.append(
                f"{self.name}: {self.missed} {images} not recorded: {self.alarm or 'see the log'}"
            )

    def written(self) -> str:
        """See :meth:`~edgevision.video.base.Sink.written`; files that were removed since are counted."""
        return self._files.describe() or self.name

    def deliveries(self) -> tuple[Delivery, ...]:
        """The account of the recording; see :meth:`~edgevision.video.base.Sink.deliveries`."""
        return (
            Delivery(
                output=self.name,
                kind="recording",
                delivered=self.recorded,
                lost=self.missed,
                alarm=self.alarm,
            ),
        )

    def _is_wanted(self, pts: int) -> bool:
        return pts <= self._until

    def _is_key_due(self) -> bool:
        """True where the next image should begin a file."""
        if self._segment is None or self._key_is_due:
            return False
        is_late = self._next_cut is not None and self._pts >= self._next_cut
        self._key_is_due = is_late or self._is_full(self._segment)
        return self._key_is_due

    def _is_full(self, segment: Segment) -> bool:
        return self._limit_bytes is not None and segment.written >= self._limit_bytes

    def _take(self, images: Sequence[EncodedImage]) -> None:
        taken = 0
        try:
            for image in images:
                taken += 1
                self._take_one(image)
        except _FAILURES:
            self.missed += sum(self._is_wanted(image.pts) for image in images[taken:])
            raise
        if self._segment is not None and self._pts - self._settled_pts >= _SETTLE_TICKS:
            self._settled_pts = self._pts
            self._check_room()
            self._store.settle(self._segment.path)

    def _take_one(self, image: EncodedImage) -> None:
        """Where this raises, the image is counted already."""
        self._ring.append(image, self._pts)
        is_wanted = self._is_wanted(image.pts)
        if self._segment is not None and is_wanted and not self._must_rotate(self._segment, image):
            self._add(self._segment, image)
            return
        is_rotation = self._segment is not None
        try:
            self._end_segment()
        except _FAILURES:
            self.missed += is_wanted
            raise
        if is_wanted:
            # A clip begins with the seconds before; a rotated file goes on where the last one ended.
            self._begin_segment([image] if is_rotation else self._ring.images())

    def _add(self, segment: Segment, image: EncodedImage) -> None:
        self.recorded += 1  # until it turns out that the file cannot be written: see _abandon
        segment.write(image)

    def _must_rotate(self, segment: Segment, image: EncodedImage) -> bool:
        is_late = self._limit is not None and image.pts - segment.first_pts >= self._limit
        is_after_gap = image.pts - segment.last_pts > LONGEST_GAP
        return image.is_key and (is_late or is_after_gap or self._is_full(segment))

    def _begin_segment(self, images: Sequence[EncodedImage]) -> None:
        if not images or self._encoder is None:
            self.missed += 1  # the seconds before do not fit into memory, and no key frame has come since
            return
        try:
            self._segment = self._new_segment(images[0], self._encoder.size)
            self.recorded += 1
            for image in images[1:]:
                self._add(self._segment, image)
        except _FAILURES:
            self.missed += len(images) - (0 if self._segment is None else self._segment.images)
            raise
        if self._on_file is not None:
            first_pts = images[0].pts
            self._on_file(
                self._segment.path, float(first_pts * TIME_BASE), float((self._pts - first_pts) * TIME_BASE)
            )
        self._next_cut = None if self._limit is None else images[0].pts + self._limit
        self._key_is_due = False

    def _new_segment(self, first: EncodedImage, size: tuple[int, int]) -> Segment:
        self._check_room()
        path = self._store.new_path()
        try:
            segment = Segment(path, size, self._rate, first, with_notes=self._describe is not None)
        except _FAILURES:
            self._store.finished(path)
            raise
        self._files.add(path)
        return segment

    def _end_segment(self) -> None:
        segment = self._segment
        if segment is not None:
            segment.close()
            self._segment = None
            self._note_end(segment)
            self._store.settle()

    def _abandon(self, segment: Segment) -> None:
        """Closes a file that cannot be written any more, and counts what is not in it as missed."""
        lost = segment.images - segment.abandon()
        self.recorded -= lost
        self.missed += lost
        self._note_end(segment)

    def _note_end(self, segment: Segment) -> None:
        self._store.finished(segment.path)
        if self._on_file_end is not None:
            self._on_file_end(segment.path, float(segment.last_pts * TIME_BASE))

    def _end_encoding(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            self._encoder = encoder  # a clip may still begin with its last images
            try:
                self._take(encoder.finish())
            finally:
                self._encoder = None
        self._end_segment()
        self._ring.clear()

    def _check_room(self) -> None:
        if self._room(self._store.folder) < self._reserve:
            raise OSError(
                errno.ENOSPC, f"less than {self._reserve >> 20} MiB are free, which are kept in reserve"
            )

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        """Calls ``action``; an error of the disk becomes the alarm."""
        try:
            action(*arguments)
        except _FAILURES as error:
            if self._segment is not None:
                self._abandon(self._segment)
            if self._encoder is not None:
                self.missed += sum(map(self._is_wanted, self._encoder.pending))
            self._segment = self._encoder = None
            self._ring.clear()
            self._retry_at = time.monotonic() + self._retry_s
            found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.alarm = f"cannot record in {self._store.folder}: {found}"
            _LOG.error("%s; the run continues, and recording resumes once there is room", self.alarm)

    def _can_begin_again(self) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + self._retry_s
        try:
            if self._room(self._store.folder) < self._reserve:
                return False
        except OSError:  # the disk is not available
            return False
        self.alarm = None
        _LOG.warning(
            "recording in %s resumed; %d images were not recorded so far", self._store.folder, self.missed
        )
        return True
