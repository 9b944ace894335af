"""The loop: schedule, averaging, frozen parts, checkpoints, and a kill at any moment.

Also tests ``edgevision.cli.train_run``, ``edgevision.training.tasks``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgevision.cli import main
from edgevision.data.detection.sources import CocoSource
from edgevision.errors import CheckpointError, ConfigError, TrainingError
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining, LoopConfig, OptimiserConfig
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Trainer, Watcher
from edgevision.training.optimiser import averaged, lr_factor, momentum, parameter_groups, set_training
from edgevision.training.records import read_log
from tests.support.training import small_run


@pytest.fixture
def run(tmp_path: Path) -> DetectorTraining:
    return small_run(tmp_path)


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


@pytest.mark.parametrize("images", [1000, 995])
def test_one_cycle_is_torchs(images: int) -> None:
    loop = LoopConfig(images=images, batch_size=10)
    config = OptimiserConfig(lr=0.5, schedule="one_cycle", rise=0.3, final_lr_factor=0.001)
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.5, total_steps=100, pct_start=0.3, final_div_factor=1 / (25 * 0.001)
    )
    for step in range(100):
        group = optimiser.param_groups[0]
        assert 0.5 * lr_factor(10 * step, loop, config) == pytest.approx(group["lr"], rel=1e-6)
        assert momentum(10 * step, loop, config) == pytest.approx(group["betas"][0], rel=1e-6)
        optimiser.step()
        reference.step() if step < 99 else None


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


def test_batchnorm_statistics_are_averaged_and_counts_are_not() -> None:
    norm = nn.BatchNorm1d(1)
    average = averaged(norm, decay=0.5)
    average.update_parameters(norm)  # mean 0
    assert norm.running_mean is not None
    norm.running_mean.fill_(11.0)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.fill_(7)
    average.update_parameters(norm)  # decay min(0.5, 2 / 11)
    assert average.module.running_mean.item() == pytest.approx(9.0)
    assert average.module.num_batches_tracked.item() == 7


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
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best.best == best.figures["ap50"] >= figures["ap50"]
    assert any("ap50 decides" in note for note in DetectionTask(longer).notes)
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert (last.seen, last.figures) == (160, figures)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["seen"] for line in lines if "class" in line] == list(range(4, 164, 4))
    assert [line["seen"] for line in lines if "ap50" in line] == [80, 160]


def test_a_loss_of_0_and_a_figure_of_0_are_told_at_the_end(
    run: DetectorTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As boxes in shares of the image gave once: nothing to learn, and an end as of any training."""
    short = msgspec.structs.replace(run, loop=msgspec.structs.replace(run.loop, images=4))
    task = DetectionTask(short)
    training = Trainer(short, task, tmp_path / "run")
    assert training.warnings == ()  # nothing was trained yet
    monkeypatch.setattr(
        task, "losses", lambda model, *_: {"class": 0.0 * sum(one.sum() for one in model.parameters())}
    )
    monkeypatch.setattr(task, "validate", lambda *_: {"ap50": 0.0})
    training.run()
    loss, figure = training.warnings
    assert loss.startswith("the loss is 0 at the end")
    assert figure.startswith("ap50 is 0: the model finds nothing")


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


def test_parts_learn_at_their_own_rates_and_unknown_parts_are_named() -> None:
    model = nn.ModuleDict(
        {
            "backbone": nn.ModuleDict({"stages": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])}),
            "head": nn.Linear(2, 2),
        }
    )
    factors = {"backbone": 0.1, "backbone.stages.0": 0.0}
    config = OptimiserConfig(lr=1.0, lr_factors=factors, weight_decay=0.5)
    groups = parameter_groups(model, config)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (0.1, 0.5),
        (0.1, 0.0),
        (1.0, 0.5),
        (1.0, 0.0),
    ]
    assert groups[0]["params"] == [model.get_parameter("backbone.stages.1.weight")]
    with pytest.raises(ConfigError, match=r"no part 'bacbone'; did you mean 'backbone'"):
        parameter_groups(model, OptimiserConfig(lr=1.0, lr_factors={"bacbone": 0.1}))
    with pytest.raises(ConfigError, match="every part of the model is frozen"):
        parameter_groups(model, OptimiserConfig(lr=1.0, lr_factors={"backbone": 0, "head": 0}))


def test_a_resting_backbone_wakes_on_time_and_a_frozen_stage_never_does() -> None:
    def part() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))

    model = nn.ModuleDict({"backbone": nn.ModuleList([part(), part()]), "head": part()})
    config = OptimiserConfig(lr=1.0, lr_factors={"backbone.0": 0.0}, freeze_backbone_images=100)

    def learning(seen: int) -> tuple[list[bool], list[bool]]:
        set_training(model, config, seen)
        parts = [model.get_submodule(name) for name in ("backbone.0", "backbone.1", "head")]
        return [p[1].training for p in parts], [next(p.parameters()).requires_grad for p in parts]

    assert learning(0) == learning(99) == ([False, False, True], [False, False, True])
    assert learning(100) == ([False, True, True], [False, True, True])


def test_waking_the_backbone_survives_a_resume(run: DetectorTraining, tmp_path: Path) -> None:
    """Whether the cut lies before the wake-up or after it, the end is that of the whole run."""
    optimiser = msgspec.structs.replace(run.optimiser, lr_factors={}, freeze_backbone_images=20)
    loop = msgspec.structs.replace(run.loop, images=32, validate_every=32)
    run = msgspec.structs.replace(run, optimiser=optimiser, loop=loop)
    whole = trainer(run, tmp_path / "whole")
    before = whole.model.get_parameter("backbone.stages.0.0.weight").detach().clone()
    whole.run()
    assert not torch.equal(whole.model.get_parameter("backbone.stages.0.0.weight"), before)
    for images in (16, 24):
        folder = tmp_path / str(images)
        stopped = trainer(run, folder)
        batches = stopped.task.batches(0, stopped.world)
        while stopped.seen < images:
            stopped.step(next(batches))
        stopped.save("last.pt")
        resumed = trainer(run, folder, resume=True)
        resumed.run()
        for key, value in whole.model.state_dict().items():
            torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(run: DetectorTraining, tmp_path: Path, precision: str) -> None:
    loop = msgspec.structs.replace(run.loop, precision=precision, images=48, validate_every=48)
    # torch 2.15's bf16 convolutions on the CPU give NaN gradients on the 1x1 maps of a 64-pixel input.
    model = msgspec.structs.replace(run.model, input_size=128)
    one = trainer(msgspec.structs.replace(run, loop=loop, model=model), tmp_path / "run")
    before = one.model.get_parameter("class_tower.predict.weight").detach().clone()
    one.run()  # the first steps of fp16 only find a scale at which gradients are finite
    after = one.model.get_parameter("class_tower.predict.weight")
    assert after.dtype == torch.float32
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)


def test_a_image_that_breaks_during_the_run_is_passed_over_and_named(
    run: DetectorTraining, tmp_path: Path
) -> None:
    task = DetectionTask(run)
    (tmp_path / "images" / "3.png").write_bytes(b"no image")
    notes: list[str] = []
    one = Trainer(run, task, tmp_path / "run", watcher=Watcher(on_note=notes.append))
    task.validate = lambda model, device: {}  # type: ignore[method-assign]
    one.run()
    assert one.seen == 48
    assert len(notes) == len(one.unreadable) == 1
    assert "3.png" in notes[0]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["note"] for line in lines if "note" in line] == notes


def test_events_and_curves_are_left_to_look_at(run: DetectorTraining, tmp_path: Path) -> None:
    loop = msgspec.structs.replace(run.loop, images=8, tensorboard=True)
    trainer(msgspec.structs.replace(run, loop=loop), tmp_path / "run").run()
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    assert b"class" in events.read_bytes()


def test_a_log_is_read_as_the_run_went(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"time": 1, "seen": 4, "lr": 0.1, "box": 3.0}\n'
        '{"time": 2, "seen": 8, "lr": 0.1, "box": 2.0}\n'
        '{"time": 2, "seen": 8, "note": "an image"}\n'
        '{"time": 3, "seen": 8, "lr": 0.1, "box": 2.5}\n'
        '{"time": 4, "seen": 8, "ap": 0.5}\n'
        '{"time": 5, "seen"'
    )
    steps, figures = read_log(log)
    assert steps == {4: {"lr": 0.1, "box": 3.0}, 8: {"lr": 0.1, "box": 2.5}}
    assert figures == {8: {"ap": 0.5}}


def test_a_checkpoint_of_the_first_format_is_read(run: DetectorTraining, tmp_path: Path) -> None:
    one = trainer(run, tmp_path / "run")
    one.save("last.pt")
    content = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    config = json.loads(content["config"])
    config["optimiser"]["backbone_lr_factor"] = config["optimiser"].pop("lr_factors")["backbone"]
    for source in (*config["data"]["train"], config["data"]["val"]):
        del source["kind"]
    torch.save({**content, "format": 1, "config": json.dumps(config)}, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").config == run


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
        deadline = time.monotonic() + 600  # of a busy machine
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
    with pytest.raises(TrainingError, match=r"images 0 to 3 of the stream \(.*\.png, .*\.png"):
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


def test_a_detector_of_other_classes_starts_from_a_trained_one(run: DetectorTraining, tmp_path: Path) -> None:
    trainer(run, tmp_path / "run").save("last.pt")
    source = load_checkpoint(tmp_path / "run" / "last.pt").average
    own = msgspec.structs.replace(
        run, classes=("car", "dog", "cat"), initial=str(tmp_path / "run" / "last.pt")
    )
    started = DetectionTask(own).model.state_dict()
    differing = [
        key
        for key, value in started.items()
        if value.shape != source[key].shape or not torch.equal(value, source[key])
    ]
    assert differing == ["class_tower.predict.weight", "class_tower.predict.bias"]
    wider = msgspec.structs.replace(own, model=msgspec.structs.replace(run.model, channels=24))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        DetectionTask(wider)


def test_validation_counts_only_what_its_labels_hold(run: DetectorTraining) -> None:
    """The set declares cars and dogs; where it says that it labels cars alone, dogs are not measured."""
    assert isinstance(run.data.val, CocoSource)
    val = msgspec.structs.replace(run.data.val, labelled=("car",))
    task = DetectionTask(msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, val=val)))
    both = DetectionTask(run)
    assert task._val.classes == ("car",)
    assert both._val.classes == ("car", "dog")
    assert set(task.validate(task.model.eval(), torch.device("cpu"))) >= {"ap50", "ap", "ar"}


def check_compiled(
    run: DetectorTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    loop = msgspec.structs.replace(run.loop, compile=True)
    plain = trainer(run, tmp_path / "plain")
    fused = trainer(msgspec.structs.replace(run, loop=loop), tmp_path / "fused")
    batch = next(plain.task.batches(0, plain.world))
    for _ in range(2):
        expected, found = plain.step(batch).losses, fused.step(batch).losses
        assert found == pytest.approx(expected, rel=1e-3)
    fused.save("last.pt")
    assert load_checkpoint(tmp_path / "fused" / "last.pt").model.keys() == plain.model.state_dict().keys()


def test_a_compiled_run_computes_what_a_plain_one_does(
    run: DetectorTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that ``torch.compile`` does but the C++ that inductor writes and has compiled."""
    check_compiled(run, tmp_path, monkeypatch, "aot_eager")


@pytest.mark.slow
@pytest.mark.usefixtures("slow_on_demand")
def test_a_run_compiled_by_inductor_computes_what_a_plain_one_does(
    run: DetectorTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_compiled(run, tmp_path, monkeypatch, "inductor")
