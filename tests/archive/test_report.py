import html.parser
import re

import pytest

from edgevision.archive.records import ClassSummary, FileSummary, ResultPlaces, Status
from edgevision.archive.report import CROPS_OF_A_CLASS, write_report
from edgevision.archive.tally import Crop, write_crops


def summary(name, status=Status.DONE, classes=None, **changes):
    return FileSummary(name=name, path=name, answers="", status=status, classes=classes or {}, **changes)


def seen(*bins, most=2):
    return ClassSummary(detections=sum(bins), most=most, tracks=1, first_s=0.0, last_s=9.0, bins=list(bins))


class Tags(html.parser.HTMLParser):
    """Counts tags, and checks that they close in order."""

    VOID = frozenset(("meta", "img", "br", "html", "!doctype"))

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.text = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def places(tmp_path):
    found = ResultPlaces(tmp_path / "results of <b>cam & co</b>")
    found.results.mkdir(parents=True)
    return found


def test_a_page_over_everything(places):
    crops = [Crop(class_name="car", score=0.9, frame=3, time_s=75.0, jpeg=b"\xff\xd8jpeg")]
    summaries = [
        summary(
            "a/<script>.mp4", classes={"car": seen(0, 4, 1), "dog": seen(2)}, duration_s=3661.0, frames=90
        ),
        summary("b.mp4", duration_s=5.0, frames=12),
        summary("bad.mp4", Status.FAILED, reason="contains <text>"),
    ]
    write_crops(places.crops("b.mp4"), crops)
    (places.results / "a").mkdir()
    write_crops(places.crops("a/<script>.mp4"), crops)
    page = write_report(places, summaries, "model & co").read_text()
    tags = Tags(page)
    assert tags.open == []
    assert "script" not in tags.count
    assert tags.count["rect"] == 3  # bins with something in them
    assert tags.count["img"] == 1  # of b.mp4 nothing is shown, for it has no class
    assert "3 files (2 done, 1 failed), 102 frames, 1:01:06 of recordings" in tags.text
    assert "a/<script>.mp4 1:15, 0.90" in tags.text
    assert "contains <text>" in tags.text
    assert "1 file shows nothing" in tags.text
    assert tags.text.index("car") < tags.text.index("dog")  # the most frequent first


def test_bars_stand_upon_each_other_and_fill_the_highest_bin(places):
    one = summary("a.mp4", classes={"car": seen(1, 3), "dog": seen(0, 1)}, duration_s=1.9)
    page = write_report(places, [one], "m").read_text()
    bars = [
        tuple(map(float, found))
        for found in re.findall(r'x="(\d)" y="([\d.]+)" width="1" height="([\d.]+)"', page)
    ]
    assert bars == [(0, 75, 25), (1, 25, 75), (1, 0, 25)]


def test_sheets_are_bounded_and_hold_the_best(places):
    summaries = []
    for number in range(CROPS_OF_A_CLASS * 2):
        name = f"{number}.mp4"
        crops = [
            Crop(
                class_name="car", score=round(0.3 + number / 500 + i / 1000, 4), frame=i, time_s=i, jpeg=b"x"
            )
            for i in range(5, -1, -1)
        ]
        write_crops(places.crops(name), crops)
        summaries.append(summary(name, classes={"car": seen(6)}, duration_s=1.0))
    page = write_report(places, summaries, "m").read_text()
    assert Tags(page).count["img"] == CROPS_OF_A_CLASS
    assert f"{CROPS_OF_A_CLASS * 2 - 1}.mp4 5.0 s" in page
    assert "<figcaption>0.mp4" not in page


def test_nothing_at_all(places):
    assert "No detections." in write_report(places, [summary("a.mp4")], "m").read_text()
