"""What the page knows of a run."""

from __future__ import annotations

from edgevision.web.hub import Hub, class_colours, css_colour
from tests.support.web import colour_model, live_info


def test_each_stream_has_an_address_of_its_own() -> None:
    hub = Hub()
    names = ["rtsp://cam/1", "rtsp:__cam_1", "a b"]
    for name in names:
        hub.open_view(name, live_info(name), [])
    ids = [view.id for view in hub.views()]
    assert len(set(ids)) == 3
    assert not any(set(one) & set("/ ?#") for one in ids)
    assert [hub.by_id(one).name for one in ids] == names  # type: ignore[union-attr]
    assert hub.by_id("nothing") is None
    again = hub.open_view("a b", live_info("a b"), [])  # a stream that begins again keeps its address
    assert again.id == ids[2]
    hub.remove_view("a b")
    assert hub.view("a b") is None


def test_the_colours_are_those_of_the_drawn_video() -> None:
    colours = class_colours([colour_model()])
    assert list(colours) == ["blue", "green", "red"]
    assert all(len(colour) == 7 and colour.startswith("#") for colour in colours.values())
    assert css_colour((0, 128, 255)) == "#ff8000"


def test_before_a_run_there_are_no_statistics() -> None:
    assert Hub().statistics() is None
