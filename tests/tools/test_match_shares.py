"""The tool that shifts classes until they are said as often as they are labelled."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from edgevision.config import config_folder
from edgevision.errors import DataError
from edgevision.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgevision.training.config import load_run
from edgevision.training.segmentation import SegmentationTask
from edgevision.types import IGNORE_ID
from tests.support.paths import ROOT
from tests.support.segmentation import small_run, write_set


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("match_shares")


NAMES = ("road", "car", "sign")


def seen(*wrong: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two images in which the classes are scored too high by ``wrong``, with noise that changes answers."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2, 64, 64), generator=generator).to(torch.uint8)
    scores = torch.randn(2, 3, 64, 64, generator=generator)
    scores.scatter_add_(1, labels[:, None].long(), torch.full((2, 1, 64, 64), 2.0))
    labels[:, :8] = IGNORE_ID
    return list(zip((scores + torch.tensor(wrong)[:, None, None]).half(), labels, strict=True))


def predicted(images: list[tuple[torch.Tensor, torch.Tensor]], shifts: torch.Tensor, one: int) -> int:
    answers = [(scores.float() + shifts[:, None, None]).argmax(0) for scores, _ in images]
    return sum(
        int((answer[labels != IGNORE_ID] == one).sum())
        for answer, (_, labels) in zip(answers, images, strict=True)
    )


def labelled(images: list[tuple[torch.Tensor, torch.Tensor]], one: int) -> int:
    return sum(int((labels == one).sum()) for _, labels in images)


def test_classes_are_predicted_as_often_as_they_are_labelled(tool: ModuleType) -> None:
    images = seen(0.0, -0.7, 0.9)
    assert predicted(images, torch.zeros(3), 2) > 1.3 * labelled(images, 2)
    shifts = tool.match(images, [2, 1], NAMES)
    assert shifts.tolist() == pytest.approx([0.0, 0.7, -0.9], abs=0.15)
    for one in (1, 2):
        assert predicted(images, shifts, one) == pytest.approx(labelled(images, one), rel=0.011)
    alone = tool.match(images, [2], NAMES)
    assert alone[:2].tolist() == [0.0, 0.0]
    assert predicted(images, alone, 2) == pytest.approx(labelled(images, 2), rel=0.011)


def test_a_pixel_more_or_less_is_a_match(tool: ModuleType) -> None:
    scores = torch.zeros(2, 1, 40)
    scores[1] = torch.linspace(-3, 3, 40)
    labels = torch.zeros(1, 40, dtype=torch.uint8)
    labels[0, -5:] = 1
    assert abs(predicted([(scores, labels)], tool.match([(scores, labels)], [1], NAMES[:2]), 1) - 5) <= 1


@pytest.mark.parametrize(
    ("scores", "pixels", "words"),
    [
        (
            (5.0, -20.0),
            32,
            "it is predicted for 0 pixels, and labelled for 32; expected more images that show it",
        ),
        ((-20.0, 5.0), 4, "it is predicted for 32 pixels, and labelled for 4; expected"),
        ((0.0, 1.0), 4, "pixels, and labelled for 4; expected"),
    ],
)
def test_what_cannot_be_matched_is_said(
    tool: ModuleType, scores: tuple[float, float], pixels: int, words: str
) -> None:
    """Never predicted, always predicted, and all pixels alike."""
    labels = (torch.arange(32) < pixels).byte().reshape(4, 8)
    image = torch.tensor(scores)[:, None, None].expand(2, 4, 8), labels
    with pytest.raises(DataError, match=r"^car cannot be matched: with [-+]\d") as raised:
        tool.match([image], [1], NAMES[:2])
    assert words in str(raised.value)


def test_a_class_that_nobody_labelled_cannot_be_matched(tool: ModuleType) -> None:
    images = seen(0.0, 0.0, 0.0)
    for _, labels in images:
        labels[labels == 2] = IGNORE_ID
    with pytest.raises(DataError, match="no pixel is labelled as sign; expected some"):
        tool.match(images, [2], NAMES)


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
    arguments[2] = str(tmp_path / "c.pt")
    detector = load_run(config_folder() / "models" / "retinanet-light.yaml")
    save_checkpoint(tmp_path / "detector.pt", Checkpoint(detector, 0, {}, {}, {}, {}, None))
    for change, words in (
        ([*arguments, "kerb"], "has no class 'kerb'; it has: road, car, sign"),
        ([*arguments, " ,"], "--classes names none; expected some of: road, car, sign"),
        ([*arguments, "car", "--split", "none"], "has no split 'none'"),
        (
            [arguments[0], arguments[1], str(tmp_path / "no" / "c.pt"), *arguments[3:], "car"],
            "output folder does not exist",
        ),
        (
            [arguments[0], str(tmp_path / "detector.pt"), *arguments[2:], "car"],
            "detector.pt is not the checkpoint of a segmenter; expected one, such as unet-road",
        ),
    ):
        monkeypatch.setattr(sys, "argv", change)
        assert tool.main() == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "c.pt").exists()
