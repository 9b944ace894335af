"""A model that is loaded before it is asked for, and what becomes of one that nobody asks for."""

from __future__ import annotations

import pytest

from edgevision import zoo
from edgevision.cli import any_model
from edgevision.cli.ahead import LoadAhead
from edgevision.engines.base import requests_of, usable_cores
from edgevision.engines.choose import MachineFacts
from edgevision.errors import ModelError
from edgevision.session.request import PlanPolicy
from edgevision.zoo import quickest
from tests.support.models import colour_manifest, write_colour_model


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
    with LoadAhead(["clip.mp4"], [str(path)], None, None, 2) as ahead:
        with ahead.open(path, "auto", PlanPolicy(), 2, both(2)) as engine:
            assert (engine.manifest.name, engine.requests) == ("colours", both(2))
        assert opened == []
        with pytest.raises(ModelError, match="usual way"):
            ahead.open(path, "auto", PlanPolicy(), 2, both(2))


def test_another_engine_is_opened_and_the_one_that_nobody_wants_is_closed(tmp_path, opened):
    path = write_colour_model(tmp_path / "colours.onnx")
    ahead = LoadAhead(["rtsp://camera/1"], [str(path)], "onnxruntime", None, None)
    with ahead, pytest.raises(ModelError, match="usual way"):
        ahead.open(path, "onnxruntime", PlanPolicy(), None, 7)
    assert opened == [("colours.onnx", None, 7)]
    assert ahead._engine is not None
    assert ahead._engine._session is None  # closed


@pytest.mark.parametrize(
    ("source", "precision", "wanted"),
    [
        ("clip.mp4", None, "light.int8.onnx"),
        ("clip.mp4", "fp32", "light.onnx"),
        ("a.jpg", None, "light.onnx"),
    ],
)
def test_the_precision_that_the_run_will_take_is_loaded(
    tmp_path, monkeypatch, opened, source, precision, wanted
):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quickest, "_MEASURED", {})
    monkeypatch.setattr(quickest, "machine_facts", lambda: MachineFacts(("cpu",), openvino=True))
    monkeypatch.setattr(quickest, "measure", lambda engines, threads: {"fp32": [9.0] * 3, "int8": [3.0] * 3})
    write_colour_model(tmp_path / "light.onnx")
    write_colour_model(
        tmp_path / "light.int8.onnx", colour_manifest(precision="int8", figures={"drop": 0.001})
    )
    requests = requests_of(1, for_throughput=True)
    with (
        LoadAhead([source], ["light"], None, precision, 1) as ahead,
        ahead.open(tmp_path / wanted, "auto", PlanPolicy(), 1, requests) as engine,
    ):
        assert engine.requests == requests
    assert opened == []


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
    with LoadAhead(sources, models, engine, None, threads) as ahead:
        pass
    assert ahead._engine is None
