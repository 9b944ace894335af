"""Zones from the page: kept as YAML, in force at once, and a change by hand meanwhile is not lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from edgevision.errors import ConfigError, SinkError
from edgevision.files import content_version
from edgevision.tracking import ZoneLayout, load_zones
from edgevision.tracking.zones import Units, Zone
from edgevision.web.hub import Hub, StreamView
from edgevision.web.zone_editing import ZoneRoutes, relative, save_zones
from tests.support.disk import fill, small_disk
from tests.support.web import ask, open_view, served

SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
PIXELS = """# by hand
units: pixels
margin: 3
vanish_s: 4
zones:
  - name: yard
    polygon: [[32, 24], [288, 24], [288, 216], [32, 216]]
    classes: [red]
"""


def view_of(hub: Hub, path: Path) -> tuple[StreamView, list[ZoneLayout | None]]:
    view = open_view(hub)
    view.tile.size = (320, 240)
    view.zones_file = path
    in_force: list[ZoneLayout | None] = []
    view.set_layout = in_force.append
    return view, in_force


def test_what_is_drawn_is_in_the_file_and_in_force(tmp_path: Path) -> None:
    hub, path = Hub(), tmp_path / "zones" / "gate.zones.yaml"
    _, in_force = view_of(hub, path)
    with served(hub, ZoneRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/zones"
        assert ask(url).json()["layout"] is None
        given = {"version": "none", "zones": [{"name": "yard", "polygon": SQUARE}], "lines": []}
        answer = ask(url, given, "PUT")
        assert answer.status == 200
        layout = load_zones(path, ["red"])
        assert (layout.units, layout.zones[0].polygon[2]) == (Units.RELATIVE, (0.9, 0.9))
        assert in_force == [layout]
        assert "anchor" not in path.read_text()  # as a person would write it
        line = {"name": "door", "from": [0, 0.5], "to": [1, 0.5], "classes": ["blue"], "anchor": "centre"}
        second = ask(url, {"version": answer.json()["version"], "zones": [], "lines": [line]}, "PUT")
        assert second.json()["layout"]["lines"][0] == line
        assert path.with_name("gate.zones.yaml.bak").read_text().count("yard") == 1
        ask(url, {"version": second.json()["version"], "zones": [], "lines": []}, "PUT")
        assert not path.exists()
        assert in_force[-1] is None


def test_a_change_by_hand_meanwhile_is_kept_and_in_force(tmp_path: Path) -> None:
    hub, path = Hub(), tmp_path / "z.yaml"
    view, in_force = view_of(hub, path)
    with served(hub, ZoneRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/zones"
        path.write_text(PIXELS)
        mine = {"version": "none", "zones": [{"name": "mine", "polygon": SQUARE}], "lines": []}
        refused = ask(url, mine, "PUT")
        assert refused.status == 412
        assert path.read_text() == PIXELS
        assert in_force[-1] is not None
        assert in_force[-1].zones[0].name == "yard"
        theirs = ask(url).json()  # pixels become shares of the image
        assert theirs["layout"]["zones"][0]["polygon"][0] == [0.1, 0.1]
        assert theirs["layout"]["margin"] == 0.0125
        both = [*theirs["layout"]["zones"], *mine["zones"]]  # type: ignore[misc]
        assert ask(url, {"version": theirs["version"], "zones": both, "lines": []}, "PUT").status == 200
        assert [zone.name for zone in load_zones(path, ["red"]).zones] == ["yard", "mine"]
        assert load_zones(path, ["red"]).vanish_s == 4
        assert view.layout is not None


def test_an_edit_that_nobody_saw_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks gets the zones in force with their version, not with that of a file edited meanwhile."""
    hub, path = Hub(), tmp_path / "z.yaml"
    view, in_force = view_of(hub, path)

    def save(*arguments: Any) -> tuple[ZoneLayout | None, str]:
        saved = save_zones(*arguments)
        path.write_text(PIXELS)  # by somebody else, at once
        return saved

    mine = [{"name": "mine", "polygon": SQUARE}]
    with served(hub, ZoneRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/zones"

        def put(version: str) -> int:
            return ask(url, {"version": version, "zones": mine, "lines": []}, "PUT").status

        def look() -> tuple[list[str], str]:
            found = ask(url).json()
            return [one["name"] for one in found["layout"]["zones"]], found["version"]

        with monkeypatch.context() as patch:
            patch.setattr("edgevision.web.zone_editing.save_zones", save)
            assert put("none") == 200
        seen, version = look()
        assert (seen, put(version), path.read_text()) == (["mine"], 412, PIXELS)
        seen, version = look()
        assert (seen, in_force[-1]) == (["yard"], load_zones(path, ["red"]))
        assert put(version) == 200
        for text, status in (("zones: [", 400), (PIXELS, 412)):  # edited while the page is open
            version = look()[1]
            path.write_text(text)
            assert look() == (["mine"], version)
            assert (put(version), path.read_text()) == (status, text)
        path.unlink()
        assert put(look()[1]) == 412
        assert look() == (["yard"], "none")  # in force, and in no file
        assert put("none") == 200
    assert view.layout == load_zones(path, ["red"])


def test_of_two_who_save_at_once_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, path = Hub(), tmp_path / "z.yaml"
    view, in_force = view_of(hub, path)
    answers: dict[str, int] = {}
    seen: list[dict[str, Any]] = []
    with served(hub, ZoneRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/zones"

        def put(name: str) -> None:
            given = {"version": "none", "zones": [{"name": name, "polygon": SQUARE}], "lines": []}
            answers[name] = ask(url, given, "PUT").status

        second = threading.Thread(target=put, args=["second"])
        looking = threading.Thread(target=lambda: seen.append(ask(url).json()))

        def save(*arguments: Any) -> tuple[ZoneLayout | None, str]:
            if not second.is_alive():
                second.start()
                second.join(0.3)  # it waits for the first
            saved = save_zones(*arguments)
            looking.start()
            looking.join(0.3)  # the file is new, and not in force yet
            return saved

        monkeypatch.setattr("edgevision.web.zone_editing.save_zones", save)
        put("first")
        second.join(10)
        looking.join(10)
    assert answers == {"first": 200, "second": 412}
    assert view.layout == load_zones(path, ["red"]) == in_force[-1]
    assert [zone.name for zone in load_zones(path, ["red"]).zones] == ["first"]
    assert (seen[0]["version"], seen[0]["layout"]["zones"][0]["name"]) == (content_version(path), "first")


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        ([{"name": "a", "polygon": SQUARE[:2]}], "2 different corners"),
        ([{"name": "a", "polygon": [[0, 0], [2, 0], [0, 2]]}], "is not relative"),
        ([{"name": "a", "polygon": SQUARE}] * 2, "used twice"),
        ([{"name": "a", "polygon": SQUARE, "classes": ["cat"]}], "no model has the class 'cat'"),
        ([{"name": "a"}], "polygon"),
    ],
)
def test_a_zone_that_is_not_valid_changes_nothing(tmp_path: Path, zones: object, said: str) -> None:
    hub, path = Hub(), tmp_path / "z.yaml"
    _, in_force = view_of(hub, path)
    with served(hub, ZoneRoutes(hub).routes) as server:
        url = server.url + "api/streams/gate/zones"
        answer = ask(url, {"version": "none", "zones": zones, "lines": []}, "PUT")
        assert answer.status == 400
        assert said in answer.json()["error"]
        assert ".partial" not in answer.json()["error"]
        assert list(tmp_path.iterdir()) == []
        assert in_force == []


def test_a_stream_that_detects_nothing_takes_none_and_an_unknown_one_is_404() -> None:
    hub = Hub()
    open_view(hub)
    with served(hub, ZoneRoutes(hub).routes) as server:
        given = {"version": "none", "zones": [], "lines": []}
        assert ask(server.url + "api/streams/gate/zones", given, "PUT").status == 409
        assert ask(server.url + "api/streams/other/zones").status == 404


def test_places_do_not_depend_on_the_size_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text(PIXELS)
    layout = load_zones(tmp_path / "z.yaml", ["red"])
    for size in ((320, 240), (640, 360), (270, 480)):
        found = relative(layout, size)
        assert found is not None
        for point, pixels in zip(found.zones[0].polygon, layout.zones[0].polygon, strict=True):
            assert abs(point[0] - min(1, pixels[0] / size[0])) < 0.005
            assert abs(point[1] - min(1, pixels[1] / size[1])) < 0.005
    with pytest.raises(SinkError, match="no frame yet"):
        relative(layout, None)
    assert relative(None, None) is None


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    layout = ZoneLayout(units=Units.RELATIVE, zones=[Zone(name="a", polygon=[(0, 0), (1, 0), (0, 1)])])
    with pytest.raises(SinkError, match="cannot write"):
        save_zones(tmp_path / "absent" / "z.yaml", layout, {})
    with pytest.raises(ConfigError):
        save_zones(
            tmp_path / "z.yaml", ZoneLayout(units=Units.RELATIVE, zones=[Zone(name=" ", polygon=[])]), {}
        )
    assert content_version(tmp_path / "z.yaml") == "none"


def test_a_full_disk_leaves_the_zones_as_they_were(tmp_path: Path) -> None:
    hub, folder = Hub(), tmp_path / "disk"
    with small_disk(folder, "64k"), served(hub, ZoneRoutes(hub).routes) as server:
        path = folder / "z.yaml"
        _, in_force = view_of(hub, path)
        url = server.url + "api/streams/gate/zones"
        given = {"version": "none", "zones": [{"name": "yard", "polygon": SQUARE}], "lines": []}
        given["version"] = ask(url, given, "PUT").json()["version"]
        before = path.read_bytes()
        fill(folder / "filler")
        given["zones"] = []
        given["lines"] = [{"name": "door", "from": [0, 0.5], "to": [1, 0.5]}]
        refused = ask(url, given, "PUT")
        assert refused.status == 409
        assert "No space left on device" in refused.json()["error"]
        assert (path.read_bytes(), len(in_force)) == (before, 1)
        (folder / "filler").unlink()
        assert ask(url, given, "PUT").status == 200
        assert sorted(one.name for one in folder.iterdir()) == ["z.yaml", "z.yaml.bak"]
