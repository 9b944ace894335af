"""The learning-rate range test: on a curve worked by hand, on a real model, and from the command line.

Also tests ``edgevision.cli.lr_find``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgevision.cli import main
from edgevision.errors import TrainingError, UsageError
from edgevision.training.distributed import World
from edgevision.training.lr_find import describe, find_rate, smooth
from tests.support.training import small_run


def test_the_running_mean_by_hand() -> None:
    # The second: 0.9 of 0.1 and 0.1 of 3, over the weight of both, 0.19.
    assert smooth([1.0, 3.0]) == pytest.approx([1.0, 0.39 / 0.19])
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)


def test_the_suggestion_lies_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1, 121)
    logs = np.log10(rates)
    falling = 2 - 1 / (1 + np.exp(-4 * (logs + 3)))  # steepest at 1e-3
    losses = falling + np.where(logs > -1.5, 10 * (logs + 1.5) ** 2, 0)
    curve = describe(rates.tolist(), losses.tolist())
    # The running mean lags by nine steps, which is a factor of 2.8.
    assert 1e-3 < curve.suggestion < 5e-3
    assert 0.03 < curve.lowest < 0.15
    assert 0.4 < curve.fall < 0.5  # from 2 to 1, less the lag
    assert curve.is_clear


def test_a_fall_no_larger_than_the_noise_is_called_so() -> None:
    rates = np.geomspace(1e-6, 1, 100).tolist()
    chance = np.random.default_rng(3)
    flat = 2 + 0.2 * chance.standard_normal(100)
    curve = describe(rates, flat.tolist())
    assert curve.noise == pytest.approx(0.1, rel=0.3)
    assert not curve.is_clear
    assert describe(rates, (flat - np.linspace(0, 1, 100)).tolist()).is_clear
    steady = np.linspace(2, 1.95, 100)  # no noise, but 2.5 % are next to nothing
    curve = describe(rates, steady.tolist())
    assert curve.noise < 0.001
    assert not curve.is_clear


def test_the_command_warns_of_a_loss_that_hardly_falls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(small_run(tmp_path)))
    with pytest.raises(SystemExit) as done:
        main(["lr-find", str(config), "--steps", "30", "--low", "1e-9", "--high", "1e-7"])
    captured = capsys.readouterr()
    assert "is unreliable" in captured.err or "did not fall" in captured.err
    assert ("optimiser.lr=" in captured.out) == (not done.value.code)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    with pytest.raises(TrainingError, match="did not fall in 50 steps"):
        describe(np.geomspace(1e-6, 1, 50).tolist(), np.linspace(1, 2, 50).tolist())


class Quadratic:
    """A task whose loss is finite up to a rate, then explodes."""

    metric, notes = "none", ()

    def __init__(self) -> None:
        self.model: nn.Module = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.model.weight, 1.0)
        self.rates = 0

    def batches(self, start: int, world: World) -> object:
        while True:
            yield None

    def losses(self, model: nn.Module, batch: object, device: torch.device) -> dict[str, Tensor]:
        self.rates += 1
        weight = model.weight
        return {"loss": (weight - 0.5).square().sum() + torch.where(weight.abs() > 50, torch.inf, 0.1).sum()}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        return {}


def test_the_test_ends_when_the_loss_explodes(tmp_path: Path) -> None:
    run, task = small_run(tmp_path, "optimiser.lr_factors={}"), Quadratic()
    curve = find_rate(run, task, World(), low=1e-4, high=1e4, steps=100)  # type: ignore[arg-type]
    assert task.rates < 100
    assert len(curve.rates) == len(curve.losses) < 100
    assert curve.rates[0] == pytest.approx(1e-4)
    assert curve.suggestion <= curve.lowest < curve.rates[-1]
    with pytest.raises(UsageError, match="expected 0 < low < high"):
        find_rate(run, task, World(), low=1, high=1e-3)  # type: ignore[arg-type]


def test_the_command_suggests_a_rate_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(small_run(tmp_path)))
    command = ["lr-find", str(config), "--out", str(tmp_path / "rates.png"), "--steps", "30", "--low", "1e-4"]
    with pytest.raises(SystemExit) as done:
        main(command)
    assert not done.value.code
    out = capsys.readouterr().out
    suggestion = float(out.rpartition("optimiser.lr=")[2])
    assert 1e-4 < suggestion < 1
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit) as refused:
        main(command)
    assert refused.value.code == 2
