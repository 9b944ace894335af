import hashlib
import re
import sys

import numpy as np
import pytest

from edgevision.errors import SourceError, UsageError
from edgevision.extras import install_command
from edgevision.video import open_source

pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")


def test_three_photographs_the_same_every_time():
    def digests():
        with open_source("demo://?seconds=1.2") as source:
            return [hashlib.sha256(frame.image.tobytes()).hexdigest() for frame in source], source

    first, source = digests()
    second, _ = digests()
    assert first == second
    assert len(set(first)) > 20  # it moves
    assert source.report.read == 30
    assert not source.info.is_live
    assert (source.info.width, source.info.height, source.info.frame_rate, source.info.frame_count) == (
        1280,
        720,
        25.0,
        30,
    )


def test_each_photograph_gets_its_third():
    with open_source("demo://?seconds=1.2") as source:
        frames = list(source)
    jumps = [
        index
        for index in range(1, 30)
        if np.abs(frames[index].image.astype(int) - frames[index - 1].image).mean() > 40
    ]
    assert jumps == [10, 20]
    assert frames[10].timestamp_ns == 400_000_000


def test_rounds_show_the_same_again_while_time_goes_on():
    with open_source("demo://?seconds=0.4&rounds=3") as source:
        frames = list(source)
    assert source.info.frame_count == len(frames) == 30
    assert [frame.index for frame in frames] == list(range(30))
    assert frames[29].timestamp_ns == 1_160_000_000
    for i in range(10):
        assert np.array_equal(frames[i].image, frames[i + 10].image)
        assert np.array_equal(frames[i].image, frames[i + 20].image)


def test_twelve_seconds_unless_told():
    with open_source("demo") as source:
        assert source.info.frame_count == 300


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("demo://?second=3", "no option 'second'; did you mean 'seconds'"),
        ("demo://?seconds=soon", "seconds is 'soon'"),
        ("demo://?seconds=0", "expected 0.12 to 3600"),
        ("demo://?seconds=nan", "expected 0.12 to 3600"),
        ("demo://?rounds=0", "rounds is 0; expected 1 to 100000"),
        ("demo://?rounds=-1", "rounds is '-1'; expected a whole number"),
        ("demo://?round=2", "did you mean 'rounds'"),
    ],
)
def test_wrong_options(uri, message):
    with pytest.raises(UsageError, match=message):
        open_source(uri)


def test_without_scikit_image_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SourceError, match=re.escape(install_command("demo"))):
        open_source("demo")
