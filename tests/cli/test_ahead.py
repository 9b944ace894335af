"""A model that is loaded before it is asked for, and what becomes of one that nobody asks for."""

from __future__ import annotations

import pytest

from edgevision.cli import any_model
from edgevision.cli.ahead import LoadAhead
from edgevision.engines.base import requests_of, usable_cores
from edgevision.errors import ModelError
from edgevision.session.request import PlanPolicy
from tests.support.models import write_colour_model


@pytest.fixture
def opened(monkeypatch):
    """What is opened in the usual way."""
    paths = []

    def open_engine(path, engine, policy, threads=None, requests=1):
        paths.append((path.name, threads, requests))
        raise ModelError("opened in the usual way")

    monkeypatch.setattr(any_model, "open_engine", open_engine)
    return paths


def both(cores=None):
    return requests_of(cores or usable_cores(), for_throughput=True)


def test_the_engine_that_a_run_asks_for_is_there_once(tmp_path, opened):
    path = write_colour_model(tmp_path / "colours.onnx")
    with LoadAhead(["clip.mp4"], [str(path)], None, 2) as ahead:
        with ahead.open(path, "auto", PlanPolicy(), 2, both(2)) as engine:
            assert (engine.manifest.name, engine.requests) == ("colours", both(2))
        assert opened == []
        with pytest.raises(ModelError, match="usual way"):
            ahead.open(path, "auto", PlanPolicy(), 2, both(2))


def test_another_engine_is_opened_and_the_one_that_nobody_wants_is_closed(tmp_path, opened):
    path = write_colour_model(tmp_path / "colours.onnx")
    ahead = LoadAhead(["rtsp://camera/1"], [str(path)], "onnxruntime", None)
    with ahead, pytest.raises(ModelError, match="usual way"):
        ahead.open(path, "onnxruntime", PlanPolicy(), None, 7)
    assert opened == [("colours.onnx", None, 7)]
    assert ahead._engine is not None
    assert ahead._engine._session is None  # closed


@pytest.mark.parametrize(
    ("sources", "models", "engine", "threads"),
    [
        ([], [], None, None),
        (["a.mp4", "b.mp4"], [], None, None),
        (["a.mp4"], ["colours.onnx", "other.onnx"], None, None),
        (["a.mp4"], ["colours.onnx"], "openvino", None),
        (["a.mp4"], ["colours.onnx"], None, 0),
        (["a.mp4"], ["nothing.onnx"], None, None),
        (["a.mp4"], ["broken.onnx"], None, None),
    ],
)
def test_what_is_not_clear_or_not_right_is_left_to_the_run(
    tmp_path, monkeypatch, sources, models, engine, threads
):
    monkeypatch.chdir(tmp_path)
    write_colour_model(tmp_path / "colours.onnx")
    (tmp_path / "broken.onnx").write_text("no model")
    with LoadAhead(sources, models, engine, threads) as ahead:
        pass
    assert ahead._engine is None
