"""Layers that stay in float from the start: a table by hand, and a network with one that int8 cannot hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.cache import Cache
from edgevision.calibration import loud
from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.loud import loud_layers, spare_loud_layers
from edgevision.calibration.outcome import Settings
from edgevision.calibration.sensitivity import Sensitivity
from edgevision.graph.convolutions import Convolution
from tests.support.calibration import FakeFrames, Stages, images, write_segmenter


def layer(name: str, macs: int) -> Convolution:
    return Convolution(name, "Conv", "x", "w", macs, False, "")


@pytest.mark.parametrize(
    ("noises", "min_share", "spared"),
    [
        # a: 0.6 of the noise for 0.02 of the work. b: 0.05 for 0.06, not twice as much as its part of it.
        ((0.06, 0.005, 0.035), 0.8, ["a"]),
        ((0.06, 0.030, 0.010), 0.8, ["a", "b"]),
        ((0.06, 0.030, 0.010), 0.93, ["a"]),  # 0.92 would be left
        ((0.06, 0.004, 0.005), 0.8, ["a"]),  # what is left is below a hundredth: 20 dB
        ((0.006, 0.001, 0.001), 0.8, []),  # as all is from the start
        ((0.0, 0.0, 0.0), 0.8, []),
        ((0.06, 0.09, 0.85), 0.5, ["a"]),  # the heavy one is the worst, and as much of the work
    ],
)
def test_much_noise_for_little_work(noises: tuple[float, ...], min_share: float, spared: list[str]) -> None:
    layers = [layer("a", 20), layer("b", 60), layer("heavy", 920)]
    found = [Sensitivity(one, noise) for one, noise in zip(layers, noises, strict=True)]
    assert [one.layer.name for one in loud_layers(found, layers, min_share)] == spared


def test_nine_tenths_of_the_work_stay_whatever_is_allowed() -> None:
    layers = [layer("a", 110), layer("rest", 890)]
    found = [Sensitivity(layers[0], 0.9), Sensitivity(layers[1], 0.1)]
    assert loud_layers(found, layers, 0.2) == ()


def test_the_layer_that_int8_cannot_hold_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``deep`` reads channels of which one is a thousand times the others; it is a sixth of this network."""
    monkeypatch.setattr(loud, "SHARE", 0.5)
    model = load_float_model(write_segmenter(tmp_path / "wild.onnx", wild=True))
    stages = Stages()
    ready, spared = spare_loud_layers(
        model,
        FakeFrames(images(6)),
        Settings(min_share=0.5),
        Cache(None),
        stages,  # type: ignore[arg-type]
    )
    assert [one.layer.weight for one in spared] == ["deep.weight"]
    assert ready.spared == {one.layer.name for one in spared}
    assert {one.name for one in model.candidates} - {one.name for one in ready.candidates} == ready.spared
    assert "ranking layers" in stages.opened


@pytest.mark.parametrize(("wild", "min_share"), [(False, 0.5), (True, 1.0)])
def test_a_quiet_model_is_not_ranked_nor_one_that_may_give_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wild: bool, min_share: float
) -> None:
    monkeypatch.setattr(loud, "SHARE", 0.5)
    model = load_float_model(write_segmenter(tmp_path / "quiet.onnx", wild=wild))
    stages, settings = Stages(), Settings(min_share=min_share)
    ready, spared = spare_loud_layers(model, FakeFrames(images(6)), settings, Cache(None), stages)  # type: ignore[arg-type]
    assert (ready, spared) == (model, ())
    assert "ranking layers" not in stages.opened
