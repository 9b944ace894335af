"""The loop: schedule, averaging, frozen parts, checkpoints, and a kill at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgevision.cli import main
from edgevision.config import config_folder, load_config
from edgevision.data.sources import CocoSource
from edgevision.errors import CheckpointError, TrainingError
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining, LoopConfig, OptimiserConfig
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Trainer, Watcher
from edgevision.training.optimiser import averaged
from edgevision.training.schedule import lr_factor


@pytest.fixture
def run(tmp_path: Path) -> DetectorTraining:
    """A run of seconds: coloured rectangles on noise, a small input, random weights."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(12):
        picture = rng.integers(0, 80, (64, 64, 3), dtype=np.uint8)
        x, y, side = (int(v) for v in (*rng.integers(0, 30, 2), rng.integers(16, 32)))
        picture[y : y + side, x : x + side] = (0, 0, 255) if i % 2 else (255, 0, 0)
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png"})
        annotations.append({"image_id": i, "category_id": 1 + i % 2, "bbox": [x, y, side, side]})
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "set.json").write_text(json.dumps(document))
    source = {"annotations": str(tmp_path / "set.json"), "images": str(tmp_path / "images")}
    config = load_config(
        config_folder() / "models" / "retinanet-light.yaml",
        DetectorTraining,
        [
            "classes=[car, dog]",
            "model.backbone.weights=random",
            "model.input_size=64",
            "model.channels=16",
            "loop={images: 48, batch_size: 4, workers: 0, seed: 1, validate_every: 24, save_every: 8}",
            "optimiser.warmup_images=8",
        ],
    )
    loaded = CocoSource(**source)
    return msgspec.structs.replace(
        config, data=msgspec.structs.replace(config.data, train=(loaded,), val=loaded)
    )


def trainer(run: DetectorTraining, folder: Path, resume: bool = False) -> Trainer:
    return Trainer(run, DetectionTask(run), folder, resume)


def test_the_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    loop = LoopConfig(images=1100, batch_size=10)
    config = OptimiserConfig(lr=1.0, warmup_images=100, final_lr_factor=0.1)
    assert lr_factor(0, loop, config) == pytest.approx(10 / 110)
    assert lr_factor(90, loop, config) == pytest.approx(100 / 110)
    assert lr_factor(100, loop, config) == pytest.approx(1)
    assert lr_factor(600, loop, config) == pytest.approx(0.55)
    assert lr_factor(1100, loop, config) == pytest.approx(0.1)
    constant = msgspec.structs.replace(config, schedule="constant")
    assert lr_factor(900, loop, constant) == 1


def test_the_average_follows_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = averaged(model, decay=0.5)
    average.update_parameters(model)
    nn.init.constant_(model.weight, 1.0)
    average.update_parameters(model)  # decay min(0.5, 2 / 11)
    assert average.module.weight.item() == pytest.approx(9 / 11)
    nn.init.constant_(model.weight, 0.0)
    for _ in range(20):
        average.update_parameters(model)
    assert average.module.weight.item() < 1e-3


def test_training_learns_and_leaves_checkpoints_and_a_log(run: DetectorTraining, tmp_path: Path) -> None:
    losses: list[float] = []
    longer = msgspec.structs.replace(
        run,
        loop=msgspec.structs.replace(run.loop, images=160, validate_every=80),
        optimiser=msgspec.structs.replace(run.optimiser, lr=0.01, lr_factors={"backbone": 0.1}),
    )
    figures = Trainer(
        longer,
        DetectionTask(longer),
        tmp_path / "run",
        watcher=Watcher(on_step=lambda step: losses.append(sum(step.losses.values()))),
    ).run()
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert set(figures) == {"ap50", "ap", "ar"}  # no class has ten boxes, so there is no ap50_mean
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert (last.seen, last.figures) == (160, figures)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["seen"] for line in lines if "class" in line] == list(range(4, 164, 4))
    assert [line["seen"] for line in lines if "ap50" in line] == [80, 160]


def test_a_frozen_backbone_keeps_weights_and_statistics(run: DetectorTraining, tmp_path: Path) -> None:
    one = trainer(run, tmp_path / "run")
    before = {key: value.clone() for key, value in one.model.state_dict().items()}
    one.run()
    changed = {key for key, value in one.model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert not {key for key in changed if key.startswith("backbone.")}


def test_an_unfrozen_backbone_learns_at_its_own_rate(run: DetectorTraining, tmp_path: Path) -> None:
    optimiser = msgspec.structs.replace(run.optimiser, lr_factors={"backbone": 0.1})
    one = trainer(msgspec.structs.replace(run, optimiser=optimiser), tmp_path / "run")
    rates = sorted({group["lr"] for group in one.optimiser.param_groups})
    assert rates == pytest.approx([0.0002, 0.002])
    weight = one.model.get_parameter("backbone.stages.0.0.weight")
    before = weight.detach().clone()
    one.run()
    assert not torch.equal(weight, before)


def test_a_run_cut_off_anywhere_ends_as_if_it_had_not_been(run: DetectorTraining, tmp_path: Path) -> None:
    whole = trainer(run, tmp_path / "whole")
    whole.run()

    class CutError(Exception):
        pass

    def cut(step: object) -> None:
        if step.seen == 28:  # type: ignore[attr-defined]
            raise CutError

    with pytest.raises(CutError):
        Trainer(run, DetectionTask(run), tmp_path / "cut", watcher=Watcher(on_step=cut)).run()
    resumed = trainer(run, tmp_path / "cut", resume=True)
    assert resumed.seen == 24
    resumed.run()
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert resumed.average is not None
    assert whole.average is not None
    assert int(resumed.average.n_averaged) == int(whole.average.n_averaged) == 12


def test_a_kill_leaves_a_checkpoint_that_resumes(
    run: DetectorTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL at a random moment of a run that saves after every step."""
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(run))
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "edgevision", "train", str(config), "--out", str(folder)]
    endless = ["--set", "loop.images=100000", "--set", "loop.save_every=4", "--threads", "1"]
    process = subprocess.Popen([*command, *endless], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.37)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    seen = load_checkpoint(folder / "last.pt").seen
    assert seen >= 4
    short = ["--set", f"loop.images={seen + 8}", "--threads", "1"]
    with pytest.raises(SystemExit) as refused:
        main([*command[3:], *short])
    assert refused.value.code == 2
    assert "--resume" in capsys.readouterr().err
    with pytest.raises(SystemExit) as finished:
        main([*command[3:], *short, "--resume"])
    assert not finished.value.code
    assert load_checkpoint(folder / "last.pt").seen == seen + 8


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(run: DetectorTraining, tmp_path: Path) -> None:
    task = DetectionTask(run)
    nn.init.constant_(task.model.get_parameter("class_tower.predict.bias"), float("nan"))
    with pytest.raises(TrainingError, match="images 0 to 3 of the stream"):
        Trainer(run, task, tmp_path / "run").run()
    assert not (tmp_path / "run" / "last.pt").exists()


def test_foreign_checkpoints_are_refused(run: DetectorTraining, tmp_path: Path) -> None:
    trainer(run, tmp_path / "run").run()
    other = msgspec.structs.replace(run, classes=("dog", "car"))
    with pytest.raises(CheckpointError, match="another model"):
        trainer(other, tmp_path / "run", resume=True)
    (tmp_path / "bad.pt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="not an edgevision checkpoint"):
        load_checkpoint(tmp_path / "bad.pt")
    torch.save({"state": 1}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not an edgevision checkpoint"):
        load_checkpoint(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not found"):
        load_checkpoint(tmp_path / "none.pt")
