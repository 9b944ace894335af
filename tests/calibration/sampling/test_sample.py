"""The sample: seeded, distinct, shared, bounded; and what is said when there is little to draw from.

Also tests ``edgevision.calibration.sampling.frames``.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevision.calibration.sampling.sample import CalibrationSet, sample_frames
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize
from edgevision.errors import DataError, SinkError, SourceError, SourceTimeoutError, UsageError
from edgevision.types import Frame, Image
from edgevision.video import Source
from edgevision.video.sources.arrays import ArraySource
from tests.support.video import write_clip

SIZE = (48, 32)
# A module's own tmp_path per example would be a thousand folders; each sample makes its own file anyway.
relaxed = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def scene(number: int, width: int = 128, height: int = 80) -> Image:
    """An image of large random blocks: as unlike the others as two photographs are."""
    blocks = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC))


def shaken(image: Image, seed: int) -> Image:
    """The same image with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def opener(**images: list[Image]) -> Callable[[str], Source]:
    return lambda uri: ArraySource(images[uri], name=uri)


def sample(tmp_path: Path, count: int = 10, seed: int = 0, **images: list[Image]) -> CalibrationSet:
    store = tmp_path / "store"
    return sample_frames(list(images), count, SIZE, Resize(), seed, store, opener=opener(**images))


def pixels(found: CalibrationSet) -> list[bytes]:
    return [frame.tobytes() for batch in found.batches(3) for frame in batch]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 99))
@relaxed
def test_the_same_seed_gives_the_same_distinct_frames(
    tmp_path: Path, numbers: list[int], count: int, seed: int
) -> None:
    video = [shaken(scene(number), i) for i, number in enumerate(numbers)]
    first = sample(tmp_path, count, seed, film=video)
    again = sample(tmp_path, count, seed, film=video)
    assert first.frames == again.frames
    assert first.hash == again.hash
    assert pixels(first) == pixels(again)
    assert first.frame_name(0) == f"film, frame {first.frames[0].index}"
    shown = [numbers[frame.index] for frame in first.frames]
    assert len(set(shown)) == len(shown), "a scene is there twice"
    assert len(first) == min(count, len(set(numbers)))
    assert first.read == len(numbers)


@given(st.permutations(["a", "b", "c"]), st.integers(0, 9))
@relaxed
def test_the_order_of_sources_does_not_matter(tmp_path: Path, order: list[str], seed: int) -> None:
    images = {
        "a": [scene(i) for i in range(8)],
        "b": [scene(i) for i in range(6, 14)],
        "c": [scene(20)],
    }
    wanted = sample(tmp_path, 9, seed, **images)
    found = sample_frames(order, 9, SIZE, Resize(), seed, tmp_path / "store", opener=opener(**images))
    assert (found.frames, found.hash) == (wanted.frames, wanted.hash)


def test_sources_share_equally_and_a_scene_counts_once_across_them(tmp_path: Path) -> None:
    found = sample(
        tmp_path,
        12,
        long=[scene(i) for i in range(30)],
        other=[scene(i) for i in range(100, 130)],
        same=[shaken(scene(i), i) for i in range(30)],
        short=[scene(200), scene(201)],
    )
    sources = [frame.source for frame in found.frames]
    assert len(found) == 12
    assert sources.count("short") == 2
    shown = [
        frame.index + 100 * (frame.source == "other") for frame in found.frames if frame.source != "short"
    ]
    assert len(set(shown)) == 10, "'long' and 'same' gave the same scene"
    assert min(sources.count(name) for name in ("long", "other", "same")) == 3
    assert "short: found 2 distinct frames in 2, wanted 3" in found.notes


def test_another_seed_draws_other_frames(tmp_path: Path) -> None:
    video = [scene(i) for i in range(60)]
    assert len({sample(tmp_path, 20, seed, film=video).hash for seed in range(5)}) == 5


def test_the_pixels_are_the_runtimes_own_and_the_digests_theirs(tmp_path: Path) -> None:
    video = [scene(i, *size) for i, size in enumerate([(64, 40), (30, 90), (48, 32), (200, 20)])]
    found = sample(tmp_path, film=video)
    batches = list(found.batches(3))
    assert [batch.shape for batch in batches] == [(3, 32, 48, 3), (1, 32, 48, 3)]
    for frame, image in zip(found.frames, np.concatenate(batches), strict=True):
        whole = video[frame.index]
        wanted = Letterbox.fit(whole.shape[1], whole.shape[0], *SIZE, Resize()).image(whole)
        np.testing.assert_array_equal(image, wanted)
        assert frame.digest == hashlib.sha256(wanted.tobytes()).hexdigest()


def test_the_hash_is_of_contents_and_settings_not_of_names(tmp_path: Path) -> None:
    video = [scene(i) for i in range(3)]
    wanted = sample(tmp_path, film=video).hash
    assert sample(tmp_path, 99, 7, elsewhere=video).hash == wanted
    assert sample(tmp_path, film=video[:2]).hash != wanted
    stretched = sample_frames(
        ["film"], 10, SIZE, Resize(rule="stretch"), 0, tmp_path / "store", opener=opener(film=video)
    )
    assert stretched.hash != wanted


class Watched:
    """A source that counts how many of its images somebody still holds."""

    def __init__(self, length: int) -> None:
        self.inner = ArraySource([scene(0)], name="watched")
        self.info, self.report = self.inner.info, self.inner.report
        self.length, self.most = length, 0

    def __iter__(self) -> Iterator[Frame]:
        held: list[weakref.ref[Image]] = []
        for index in range(self.length):
            image = scene(index)
            held = [*(ref for ref in held if ref() is not None), weakref.ref(image)]
            self.most = max(self.most, len(held))
            yield Frame(image, index, index, "watched")
            del image

    def close(self) -> None: ...

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_frame_or_two_are_in_memory_and_count_on_disk(tmp_path: Path) -> None:
    source = Watched(150)
    found = sample_frames(["x"], 40, SIZE, Resize(), 0, tmp_path, opener=lambda _: source)
    assert len(found) == 40
    assert source.most <= 2
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == 40 * SIZE[0] * SIZE[1] * 3


def test_a_folder_with_unreadable_images(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), scene(number))
    for number in range(7):
        (folder / f"broken{number}.jpg").write_bytes(b"not an image")
    found = sample_frames([str(folder)], 3, SIZE, Resize(), 0, tmp_path / "store")
    assert len(found) == 3
    assert sum("broken0.jpg is not an image" in note for note in found.notes) == 1
    assert f"{folder}: and 2 more notes like these" in found.notes
    assert f"{folder}: skipped 7 that could not be read" in found.notes
    assert {Path(frame.source).parent for frame in found.frames} == {folder}


def test_a_folder_of_videos_is_one_source_and_a_clip_gives_its_own_frames(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    # Numbers whose bars differ widely, each shown for ten frames.
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name, [i * 40 for i in range(30)])
    cv2.imwrite(str(tmp_path / "one.png"), scene(1))
    found = sample_frames([str(folder), str(tmp_path / "one.png")], 6, SIZE, Resize(), 0, tmp_path / "s")
    assert found.read == 61
    assert [Path(frame.source).name for frame in found.frames].count("one.png") == 1
    assert len(found) == 6


def test_the_list_says_which_frames_these_are(tmp_path: Path) -> None:
    found = sample(tmp_path, film=[scene(i) for i in range(3)])
    found.write_list(tmp_path / "m.calibration.json")
    content = json.loads((tmp_path / "m.calibration.json").read_text())
    assert (content["hash"], content["width"], content["frames_read"]) == (found.hash, 48, 3)
    assert [(frame["source"], frame["index"]) for frame in content["frames"]] == [
        ("film", 0),
        ("film", 1),
        ("film", 2),
    ]
    assert int(content["frames"][1]["perceptual_hash"], 16) == found.frames[1].perceptual_hash
    assert content["frames"][2]["sha256"] == found.frames[2].digest


class Breaking(ArraySource):
    """A camera that falls silent after its images."""

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        raise SourceTimeoutError("rtsp://10.0.0.5/live: nothing came for 10 s")


def test_a_stream_that_breaks_off_gives_what_came(tmp_path: Path) -> None:
    camera = Breaking([scene(0), scene(1)], is_live=True, frame_rate=1000, name="rtsp://10.0.0.5/live")
    address = "rtsp://ann:secret@10.0.0.5/live"
    found = sample_frames([address], 4, SIZE, Resize(), 0, tmp_path, opener=lambda _: camera)
    assert len(found) == 2
    assert any("ended after 2 frames" in note for note in found.notes)
    found.write_list(tmp_path / "list.json")
    assert "secret" not in (tmp_path / "list.json").read_text()


def test_a_stream_that_never_delivers_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    camera = Breaking([], is_live=True)
    with pytest.raises(SourceTimeoutError, match="nothing came"):
        sample_frames(["rtsp://x"], 4, SIZE, Resize(), 0, tmp_path / "s", opener=lambda _: camera)
    assert not list(tmp_path.iterdir())


def test_a_live_source_is_watched_for_its_time_only(tmp_path: Path) -> None:
    camera = ArraySource([scene(i) for i in range(1000)], is_live=True, frame_rate=50, name="camera 0")
    found = sample_frames(
        ["webcam"], 4, SIZE, Resize(), 0, tmp_path, live_seconds=0.2, opener=lambda _: camera
    )
    assert 4 <= found.read < 30


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int | None) -> None:
        assert (name, total) == ("film", 5)
        if done == 3:
            raise KeyboardInterrupt

    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "theirs.txt").write_text("theirs")
    for store in (tmp_path / "new", tmp_path / "kept"):
        with pytest.raises(KeyboardInterrupt):
            sample_frames(
                ["film"], 4, SIZE, Resize(), 0, store, interrupt,
                opener=opener(film=[scene(i) for i in range(5)]),
            )  # fmt: skip
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "theirs.txt"]


@pytest.mark.parametrize(
    ("sources", "count", "error", "message"),
    [
        ([], 5, UsageError, "no source of calibration frames"),
        (["demo"], 0, UsageError, "0 calibration frames; expected 1 or more"),
        (["/nowhere/film.mp4"], 5, SourceError, "source not found: /nowhere/film.mp4"),
        (["mailto://x"], 5, SourceError, "unknown type of source"),
    ],
)
def test_bad_requests(
    tmp_path: Path, sources: list[str], count: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        sample_frames(sources, count, SIZE, Resize(), 0, tmp_path / "s")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_source_without_frames(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame came from empty"):
        sample(tmp_path, empty=[])
    assert not list(tmp_path.iterdir())
    found = sample(tmp_path, 4, empty=[], film=[scene(0)])
    assert "empty: found 0 distinct frames in 0, wanted 2" in found.notes


def test_one_frame_is_a_sample_with_a_note(tmp_path: Path) -> None:
    found = sample(tmp_path, 300, film=[shaken(scene(0), i) for i in range(20)])
    assert len(found) == 1
    assert found.notes == ("film: found 1 distinct frames in 20, wanted 300",)


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for store in (tmp_path / "file", tmp_path / "no" / "such"):
        with pytest.raises(SinkError):
            sample_frames(["f"], 4, SIZE, Resize(), 0, store, opener=opener(f=[scene(0)]))


def test_a_store_that_went_away_or_shrank(tmp_path: Path) -> None:
    found = sample(tmp_path, film=[scene(0), scene(1)])
    (file,) = (tmp_path / "store").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut off"):
        list(found.batches(2))
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        list(found.batches(1))
