"""Two gloo processes compute what one process computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch import nn

from edgevision.errors import ConfigError
from edgevision.models.segmentation_distillation import explained
from edgevision.models.segmentation_losses import SegmentationLoss
from edgevision.models.settings import SegmentationLossConfig
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import TrainingRun
from edgevision.training.detection import DetectionTask
from edgevision.training.distributed import SyncedBatchNorm2d, World, synchronise_norms
from edgevision.training.loop import Trainer
from edgevision.types import IGNORE_ID
from tests.support.training import small_run

TWO = World(rank=0, size=2)
FORMS: tuple[Literal["multiclass", "binary"], ...] = ("multiclass", "binary")


def losses(folder: Path, *names: str) -> list[tuple[float, ...]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["seen"], *(line[name] for name in names)) for line in lines if "lr" in line]


def train_in_two_processes(run: TrainingRun, config: Path, folder: Path) -> None:
    config.write_bytes(msgspec.yaml.encode(run))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "edgevision", "train", str(config), "--threads", "1", "--out", str(folder)]
    subprocess.run([sys.executable, *torchrun, *command], check=True, capture_output=True, timeout=1500)


def test_two_processes_give_the_curve_of_one(tmp_path: Path) -> None:
    """BatchNorm learns everywhere and the backbone wakes on the way: the hardest case for equality."""
    run = small_run(
        tmp_path,
        "optimiser.lr_factors={}",
        "optimiser.freeze_backbone_images=12",
        "optimiser.lr=0.0005",
        "loop={images: 32, batch_size: 4, workers: 0, seed: 1, validate_every: 32, save_every: 16}",
    )
    train_in_two_processes(run, tmp_path / "run.yaml", tmp_path / "two")
    Trainer(run, DetectionTask(run), tmp_path / "one").run()
    one, two = (losses(tmp_path / name, "class", "box") for name in ("one", "two"))
    assert [row[0] for row in two] == list(range(4, 36, 4))  # the first process alone writes
    for alone, together in zip(one, two, strict=True):
        # Rounding grows once a random backbone learns under Adam; wrong gradients would part them at once.
        assert together == pytest.approx(alone, rel=5e-4 if alone[0] <= 16 else 3e-2)
    first, second = (load_checkpoint(tmp_path / name / "last.pt") for name in ("one", "two"))
    assert second.figures.keys() == first.figures.keys()
    for key in ("backbone.stages.0.1.running_mean", "fpn.coarse.0.0.0.weight", "class_tower.predict.weight"):
        torch.testing.assert_close(second.model[key], first.model[key], rtol=5e-2, atol=5e-3, msg=key)


def test_two_processes_train_in_bfloat16_as_one_does(tmp_path: Path) -> None:
    run = small_run(
        tmp_path,
        "optimiser.lr_factors={}",
        "loop={images: 8, batch_size: 4, workers: 0, seed: 1, validate_every: 8, save_every: 8}",
        "loop.precision=bf16",
    )
    train_in_two_processes(run, tmp_path / "run.yaml", tmp_path / "two")
    Trainer(run, DetectionTask(run), tmp_path / "one").run()
    one, two = (losses(tmp_path / name, "class", "box") for name in ("one", "two"))
    assert [row[0] for row in two] == [4, 8]
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=0.02)
    first, second = (load_checkpoint(tmp_path / name / "last.pt") for name in ("one", "two"))
    key = "backbone.stages.0.1.running_mean"
    assert second.model[key].dtype == torch.float32
    torch.testing.assert_close(second.model[key], first.model[key], rtol=5e-2, atol=2e-2)


def segmentation_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four images, every second one of which has hardly any label."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 6, 6, generator=generator)
    labels = torch.randint(0, 3, (4, 6, 6), generator=generator)
    labels[::2, 1:] = IGNORE_ID
    return images, labels


def segmentation_losses(
    images: torch.Tensor, labels: torch.Tensor, form: Literal["multiclass", "binary"]
) -> torch.Tensor:
    """The losses of a 1x1 convolution, followed by its gradients."""
    classes = 2 if form == "binary" else 3
    weights = torch.linspace(-1, 1, 3 * classes).view(classes, 3).requires_grad_()
    config = SegmentationLossConfig(
        dice_form=form, class_weights=tuple(float(k) for k in range(1, classes + 1))
    )
    labels = labels if classes == 3 else torch.where(labels == 2, 1, labels)
    logits = torch.einsum("kc,nchw->nkhw", weights, images)
    parts = torch.stack(list(SegmentationLoss(config, classes)(logits, labels).values()))
    parts.sum().backward()
    assert weights.grad is not None
    return torch.cat([parts.detach(), weights.grad.flatten()])


def hint_loss(images: torch.Tensor) -> torch.Tensor:
    """How much a convolution leaves unexplained of maps that differ between images, and its gradients."""
    weights = torch.linspace(-1, 1, 12).view(4, 3).requires_grad_()
    own = torch.einsum("kc,nchw->nkhw", weights, images).relu()
    wanted = images.square() + images.mean(dim=(1, 2, 3), keepdim=True) * 9
    loss = 1 - explained(own, wanted)
    loss.backward()
    assert weights.grad is not None
    return torch.cat([loss.detach()[None], weights.grad.flatten()])


def one_of_two(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    images, labels = segmentation_batch()
    for form in FORMS:
        torch.save(segmentation_losses(images[rank::2], labels[rank::2], form), folder / f"{form}{rank}.pt")
    torch.save(hint_loss(images[rank::2]), folder / f"hint{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_segmentation_losses_and_gradients_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    for form in FORMS:
        parts = [torch.load(tmp_path / f"{form}{rank}.pt") for rank in range(2)]
        torch.testing.assert_close(
            (parts[0] + parts[1]) / 2, segmentation_losses(*segmentation_batch(), form)
        )
    hints = [torch.load(tmp_path / f"hint{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(
        (hints[0] + hints[1]) / 2, hint_loss(segmentation_batch()[0]), rtol=1e-3, atol=1e-5
    )


def test_a_batch_must_divide_among_the_processes(tmp_path: Path) -> None:
    run = small_run(tmp_path, "loop.batch_size=5")
    with pytest.raises(ConfigError, match="batch_size is 5; expected a multiple of the 2 processes"):
        Trainer(run, DetectionTask(run), tmp_path / "run", world=TWO)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_synchronised_norms_are_batchnorm_where_there_is_one_process(tmp_path: Path, precision: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    mixed = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    close = {"rtol": 1e-2, "atol": 2e-2} if precision == "bf16" else {"rtol": 1e-4, "atol": 1e-5}
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
            with mixed:
                y = model(x)
            y.float().pow(3).sum().backward()
        with mixed:
            found, expected = synced(x), plain(x)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, **close)
        gradient, wanted = (next(one.parameters()).grad for one in (synced, plain))
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1.0 if precision == "bf16" else 1e-3)
        torch.testing.assert_close(synced[1].running_var, plain[1].running_var)  # type: ignore[index]
        torch.testing.assert_close(synced.eval()(x), plain.eval()(x))
    finally:
        dist.destroy_process_group()
