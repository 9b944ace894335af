import msgspec
import numpy as np
import pytest

from edgevision.archive.footage import ClipList, clip_folder, has_clips, stretches
from edgevision.archive.records import ResultPlaces
from edgevision.errors import UsageError
from edgevision.video import open_source
from edgevision.video.selection import Selection
from edgevision.video.sources.file import FileSource
from tests.support.archive import process
from tests.support.models import write_block_clip


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([5.0], [(3.0, 7.0)]),
        ([1.0, 2.0], [(0.0, 4.0)]),
        ([5.0, 9.0], [(3.0, 11.0)]),  # they touch
        ([5.0, 9.1], [(3.0, 7.0), (7.1, 11.1)]),
    ],
)
def test_stretches(times, expected):
    assert [tuple(np.round(one, 6)) for one in stretches(times)] == expected


def test_clips_hold_every_frame_of_their_stretches_and_a_video_is_drawn(tmp_path, model):
    clip = tmp_path / "in/x.mp4"
    clip.parent.mkdir()
    write_block_clip(clip, 60)  # the block leaves the image after about 38 frames
    out = tmp_path / "out"
    outcome = process([clip], out, model, clips_of=["red"], video=True, selection=Selection.parse("2"))
    assert outcome.summaries[0].frames == 30
    places = ResultPlaces(out)
    assert has_clips(places, "x.mp4", ["red"])
    assert not has_clips(places, "x.mp4", ["blue"])
    (only,) = msgspec.json.decode(
        (clip_folder(places, "x.mp4") / "clips.json").read_bytes(), type=ClipList
    ).clips
    with FileSource(clip) as source:
        whole = [frame.image for frame in source if only.start_s <= frame.time_s <= only.end_s]
    with FileSource(clip_folder(places, "x.mp4") / only.file) as source:
        found = [frame.image for frame in source]
    assert len(found) == len(whole) == only.frames
    for ours, theirs in zip(found, whole, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 6  # encoded again, and the same frame
    with open_source(str(places.video("x.mp4"))) as drawn:
        assert sum(1 for _ in drawn) == 30
    again = process([clip], out, model, clips_of=["red"], video=True, selection=Selection.parse("2"))
    assert again.processed == 0


def test_classes_that_no_model_has_are_refused(tmp_path, model):
    clip = tmp_path / "x.mp4"
    write_block_clip(clip, 4)
    with pytest.raises(UsageError, match=r"`clips_of` 'rod'.*did you mean 'red'"):
        process([clip], tmp_path / "out", model, clips_of=["rod"])
