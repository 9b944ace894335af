"""The tool that shifts classes until they are said as often as they are labelled."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from edgevision.errors import DataError
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.segmentation import SegmentationTask
from edgevision.types import IGNORE_ID
from tests.support.paths import ROOT
from tests.support.segmentation import small_run, write_set


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("match_shares")


def seen(wrong: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two images in which class 2 is scored ``wrong`` too high, with noise in which an answer can change."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2, 64, 64), generator=generator).to(torch.uint8)
    labels[:, :8] = IGNORE_ID
    scores = torch.randn(2, 3, 64, 64, generator=generator)
    scores.scatter_add_(1, labels.clamp_max(2)[:, None].long(), torch.full((2, 1, 64, 64), 2.0))
    scores[:, 2] += wrong
    return list(zip(scores.half(), labels, strict=True))


def test_a_class_said_too_often_is_said_as_often_as_it_is_labelled(tool: ModuleType) -> None:
    images = seen(0.9)
    shifts = tool.match(images, [2], ("road", "car", "sign"))
    assert shifts[:2].tolist() == [0.0, 0.0]
    assert float(shifts[2]) == pytest.approx(-0.9, abs=0.15)
    labelled = sum(int((labels == 2).sum()) for _, labels in images)
    told = sum(
        int(((scores.float() + shifts[:, None, None]).argmax(0)[labels != IGNORE_ID] == 2).sum())
        for scores, labels in images
    )
    assert told == pytest.approx(labelled, rel=0.02)


def test_what_cannot_be_matched_is_said(tool: ModuleType) -> None:
    images = seen(0.0)
    for _, labels in images:
        labels[labels == 2] = IGNORE_ID
    with pytest.raises(DataError, match="no pixel is labelled as sign; expected some"):
        tool.match(images, [2], ("road", "car", "sign"))
    never = [(torch.tensor([5.0, -20.0]).half()[:, None, None].expand(2, 4, 4), torch.ones(4, 4).byte())]
    with pytest.raises(
        DataError, match=r"matched: car is said 0\.06 times as often as it is labelled, with \+"
    ):
        tool.match(never, [1], ("road", "car"))


def test_only_the_bias_of_the_chosen_class_changes(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(write_set(tmp_path / "set"))
    state = SegmentationTask(run).model.state_dict()
    generator = torch.Generator().manual_seed(2)
    state["classifier.weight"] = torch.randn(state["classifier.weight"].shape, generator=generator)
    save_checkpoint(tmp_path / "a.pt", Checkpoint(run, 8, state, state, {}, {"miou": 0.5}, 0.5))
    arguments = ["match_shares.py", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--split", "val"]
    arguments += ["--data", str(tmp_path / "set"), "--classes"]
    monkeypatch.setattr(sys, "argv", [*arguments, run.classes[2]])
    assert tool.main() == 0
    assert f"shifted by {run.classes[2]} " in capsys.readouterr().out
    changed = load_checkpoint(tmp_path / "b.pt")
    assert (changed.seen, changed.figures, changed.best) == (8, {}, None)
    differ = [key for key, value in changed.average.items() if not torch.equal(value, state[key])]
    assert differ == ["classifier.bias"]
    assert (changed.average["classifier.bias"] - state["classifier.bias"])[:2].tolist() == [0.0, 0.0]
    assert tool.main() == 1
    assert "output exists" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*arguments, "kerb"])
    arguments[2] = str(tmp_path / "c.pt")
    monkeypatch.setattr(sys, "argv", [*arguments, "kerb"])
    assert tool.main() == 1
    assert "has no class kerb; it has: " in capsys.readouterr().err
