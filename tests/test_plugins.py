"""A package that is installed beside edgevision brings a source, an output and an outlet of its own."""

from __future__ import annotations

import importlib
import json

import pytest

from edgevision import api
from edgevision.errors import PluginError, SinkError, SourceError, UsageError
from edgevision.events import open_outlet
from edgevision.plugins import SOURCES, find_plugin, scheme_of
from edgevision.video import open_sink, open_source
from edgevision.video.base import SourceInfo
from tests.support.models import write_colour_model

MODULE = """
import json
import numpy as np
from edgevision.events import EventFile
from edgevision.video.base import Sink
from edgevision.video.sources.arrays import ArraySource


def open_blocks(uri):
    images = []
    for i in range(int(uri.rpartition("/")[2])):
        image = np.full((60, 80, 3), 20, np.uint8)
        image[10:30, 10 + i : 30 + i, 2] = 230
        images.append(image)
    return ArraySource(images, name=uri)


class Report(Sink):
    def __init__(self, uri, info):
        super().__init__(uri)
        self.path = uri.partition("://")[2]
        self.found = [info.name]

    def write(self, result, image):
        self.found.append([one.name for one in result.detections])

    def close(self):
        with open(self.path, "w") as file:
            json.dump(self.found, file)


def open_told(uri):
    from pathlib import Path
    return EventFile(Path(uri.partition("://")[2]))
"""
ENTRY_POINTS = """
[edgevision.sources]
blocks = blocks_package:open_blocks
broken = blocks_package:no_such_function

[edgevision.sinks]
report = blocks_package:Report

[edgevision.outlets]
told = blocks_package:open_told
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A distribution as pip leaves it: a module, and the folder of its metadata."""
    folder = tmp_path / "site"
    metadata = folder / "blocks_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "blocks_package.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: blocks-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()


def test_a_scheme_is_what_stands_before_two_slashes():
    assert scheme_of("NDI://studio/1") == "ndi"
    assert scheme_of("a+b.c-d://x") == "a+b.c-d"
    assert [scheme_of(one) for one in ("street.mp4", "C:\\clips\\a.mp4", "demo", "")] == ["", "", "", ""]
    assert find_plugin(SOURCES, "") is None


@pytest.mark.usefixtures("package")
def test_a_run_uses_what_a_package_brings(place):
    model = write_colour_model(place / "colours.onnx")
    statistics = api.run(
        model, "blocks://row/6", output="report://report.json", events="told://events.txt", conf=0.5
    )
    assert statistics.written == 6
    assert json.loads((place / "report.json").read_text()) == ["blocks://row/6", *[["red"]] * 6]
    kinds = [json.loads(line)["kind"] for line in (place / "events.txt").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("new", "end")


@pytest.mark.usefixtures("package")
def test_a_package_that_does_not_load_is_named():
    with pytest.raises(PluginError, match="broken:// is opened by the package blocks-package"):
        open_source("broken://x")


@pytest.mark.usefixtures("package")
def test_a_scheme_that_nobody_brings_names_the_nearest():
    info = SourceInfo("demo", False)
    with pytest.raises(SourceError, match="did you mean 'blocks'"):
        open_source("block://x")
    with pytest.raises(SinkError, match="did you mean 'report'"):
        open_sink("reprot://x", info=info)
    with pytest.raises(
        SinkError, match=r"unknown kind of output: ftp://host/x; did you mean 'tcp' or 'rtsp'"
    ):
        open_sink("ftp://host/x", info=info)
    with pytest.raises(UsageError, match="is not a valid broker address"):
        open_outlet("ftp://host/x")
