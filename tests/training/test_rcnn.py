"""Support vector machines and box regression on features that are known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgevision.cli import main
from edgevision.errors import ConfigError
from edgevision.models.fast_rcnn.settings import SearchConfig
from edgevision.models.rcnn.network import Rcnn
from edgevision.models.rcnn.settings import FitConfig, RcnnConfig
from edgevision.models.settings import BackboneConfig
from edgevision.training.rcnn import RegionRows, fit_linear, fit_rcnn
from edgevision.training.records import read_log
from tests.support.training import small_run

CONFIG = RcnnConfig(BackboneConfig("resnet18", "random"), 64, crop=32, context=4)


def rows() -> RegionRows:
    """40 objects of class 0 and 60 regions of nothing, told apart by the first feature; class 1 has none."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (100, 512))
    features[:40, 0] += 10
    shift = rng.uniform(-0.2, 0.2, 40)
    features[:40, 1] = 50 * shift
    offsets = np.zeros((100, 4))
    offsets[:40, 0] = shift
    overlaps = np.zeros((100, 2))
    overlaps[:40, 0] = 1
    labels = np.where(np.arange(100) < 40, 0, -1)
    return RegionRows(features, overlaps, labels == 0, labels, offsets, np.zeros((100, 2), bool))


def test_classes_are_told_apart_and_boxes_moved() -> None:
    pytest.importorskip("sklearn")
    model, known = Rcnn(CONFIG, 2), rows()
    fit_linear(model, known, FitConfig(first_negatives=10, cost=1.0, ridge=1.0))
    features = torch.from_numpy(known.features).float()
    with torch.no_grad():
        margins, offsets = model.svm(features), model.boxes(features)
    assert (margins[:40, 0] > 0).all()
    assert (margins[40:, 0] < 0).all()
    assert (margins[:, 1] == -20).all()
    np.testing.assert_allclose(offsets[:40, 0].numpy(), known.offsets[:40, 0], atol=0.03)
    assert (offsets[:, 4:] == 0).all()


def test_what_nobody_labelled_is_no_negative() -> None:
    pytest.importorskip("sklearn")
    model, known = Rcnn(CONFIG, 2), rows()
    known.silent[40:, 0] = True
    fit_linear(model, known, FitConfig())
    assert model.svm.bias[0].item() == -20


class _Other:
    """A task of another family."""

    config, model = None, torch.nn.Identity()


def test_other_families_are_trained_in_steps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only family r-cnn"):
        fit_rcnn(_Other(), tmp_path)  # type: ignore[arg-type]


def test_a_fitted_run_is_not_fitted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    model = msgspec.structs.replace(
        CONFIG, search=SearchConfig(("lab",), (50.0,), count=4), fit=FitConfig(images=2, regions=4)
    )
    run = msgspec.structs.replace(small_run(tmp_path), model=model)
    (tmp_path / "run.yaml").write_bytes(msgspec.yaml.encode(run))
    command = [
        "train",
        str(tmp_path / "run.yaml"),
        "--threads",
        "1",
        "--out",
        str(tmp_path / "out"),
        "--resume",
    ]

    def said(*more: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as done:
            main([*command, *more])
        return done.value.code, " ".join(capsys.readouterr().err.split())

    code, text = said()
    assert code == 0
    assert "fitting from the start" in text
    kept = (tmp_path / "out" / "last.pt").read_bytes()
    assert list(read_log(tmp_path / "out" / "log.jsonl")[1]) == [2]
    code, text = said()
    assert code == 0
    assert "nothing is left to do" in text
    code, text = said("--set", "loop.seed=2", "--set", "decode.rounds=8")
    assert code == 1
    assert "was fitted with other settings (decode.rounds: 16 -> 8; loop.seed: 1 -> 2); expected the" in text
    code, text = said("--set", "model.fit.cost=0.5")
    assert code == 1
    assert "belongs to another model (model.fit.cost: " in text
    assert "-> 0.5); resume with" in text
    assert (tmp_path / "out" / "last.pt").read_bytes() == kept
