"""How much fits into a time: measured, and the model is as it was."""

from __future__ import annotations

from pathlib import Path

import torch

from edgevision.finetune.budget import MOST_VALIDATIONS, images_within
from edgevision.training.distributed import World
from edgevision.training.tasks import build_task
from tests.support.training import small_run


def test_a_longer_time_holds_more_images_and_nothing_is_learnt(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    task = build_task(run)
    before = {key: value.clone() for key, value in task.model.state_dict().items()}
    images, validations = images_within(run, task, 6.0, World())
    assert images >= run.loop.batch_size
    assert 1 <= validations <= MOST_VALIDATIONS
    for key, value in task.model.state_dict().items():
        assert torch.equal(value, before[key]), key
