"""Two gloo processes compute what one process computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch import nn
from training_helpers import small_run

from edgevision.errors import ConfigError
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.detection import DetectionTask
from edgevision.training.distributed import SyncedBatchNorm2d, World, synchronise_norms
from edgevision.training.loop import Trainer

TWO = World(rank=0, size=2)


def losses(folder: Path) -> list[tuple[int, float, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["seen"], line["class"], line["box"]) for line in lines if "class" in line]


def test_two_processes_give_the_curve_of_one(tmp_path: Path) -> None:
    """BatchNorm learns everywhere and the backbone wakes on the way: the hardest case for equality."""
    run = small_run(
        tmp_path,
        "optimiser.lr_factors={}",
        "optimiser.freeze_backbone_images=12",
        "optimiser.lr=0.0005",
        "loop={images: 32, batch_size: 4, workers: 0, seed: 1, validate_every: 32, save_every: 16}",
    )
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(run))
    command = ["-m", "edgevision", "train", str(config), "--threads", "1", "--out"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, *torchrun, *command, str(tmp_path / "two")],
        check=True,
        capture_output=True,
        timeout=280,
    )
    Trainer(run, DetectionTask(run), tmp_path / "one").run()
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [row[0] for row in two] == list(range(4, 36, 4))  # the first process alone writes
    for alone, together in zip(one, two, strict=True):
        # Rounding grows once a random backbone learns under Adam; wrong gradients would part them at once.
        assert together == pytest.approx(alone, rel=5e-4 if alone[0] <= 16 else 3e-2)
    first, second = (load_checkpoint(tmp_path / name / "last.pt") for name in ("one", "two"))
    assert second.figures.keys() == first.figures.keys()
    for key in ("backbone.stages.0.1.running_mean", "fpn.p7.weight", "class_tower.predict.weight"):
        torch.testing.assert_close(second.model[key], first.model[key], rtol=5e-2, atol=5e-3, msg=key)


def test_a_batch_must_divide_among_the_processes(tmp_path: Path) -> None:
    run = small_run(tmp_path, "loop.batch_size=5")
    with pytest.raises(ConfigError, match="batch_size is 5; expected a multiple of the 2 processes"):
        Trainer(run, DetectionTask(run), tmp_path / "run", world=TWO)


def test_synchronised_norms_are_batchnorm_where_there_is_one_process(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        twin = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        twin.load_state_dict(plain.state_dict())
        synced = synchronise_norms(twin, TWO)
        assert isinstance(synced[1], SyncedBatchNorm2d)  # type: ignore[index]
        assert synced.state_dict().keys() == plain.state_dict().keys()
        x = torch.randn(5, 3, 6, 7) * 3 + 2
        for model in (plain, synced):
            model(x).pow(3).sum().backward()
        torch.testing.assert_close(synced(x), plain(x))
        gradient, expected = next(synced.parameters()).grad, next(plain.parameters()).grad
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(synced[1].running_var, plain[1].running_var)  # type: ignore[index]
        torch.testing.assert_close(synced.eval()(x), plain.eval()(x))
    finally:
        dist.destroy_process_group()
