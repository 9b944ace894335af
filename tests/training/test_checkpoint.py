"""Where a checkpoint is found: by path, or by name in a clone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgevision.errors import CheckpointError
from edgevision.training import checkpoint
from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
from tests.support.paths import ROOT
from tests.support.training import RunsCode


def test_a_name_is_a_checkpoint_of_the_clone() -> None:
    found = find_checkpoint("retinanet-light")
    assert found == ROOT / "weights" / "retinanet-light.pt"
    assert load_checkpoint(found).config.name == "retinanet-light"


def test_nothing_in_a_checkpoint_can_run_code(tmp_path: Path) -> None:
    program, trace = RunsCode(tmp_path / "trace"), tmp_path / "trace"
    content = torch.load(ROOT / "weights" / "retinanet-light.pt", weights_only=True)
    torch.save({**content, "figures": program}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="not an edgevision checkpoint, or it is damaged"):
        load_checkpoint(tmp_path / "best.pt")
    assert not trace.exists()
    torch.load(tmp_path / "best.pt", weights_only=False)
    assert trace.exists()  # the file does run code where it may


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"config": None}, "'config' is of type NoneType"),
        ({"average": [1]}, "'average' is of type list"),
        ({"seen": "many"}, "'seen' is of type str"),
    ],
)
def test_a_part_of_another_type_is_named(tmp_path: Path, change: dict[str, object], found: str) -> None:
    content = torch.load(ROOT / "weights" / "retinanet-light.pt", weights_only=True)
    torch.save({**content, **change}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=f"best.pt is not whole: its {found}; expected a best.pt"):
        load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize("part", ["config", "seen", "model", "average", "optimiser", "figures", "best"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    content = torch.load(ROOT / "weights" / "retinanet-light.pt", weights_only=True)
    torch.save({key: value for key, value in content.items() if key != part}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=f"best.pt is not whole: its '{part}' is missing"):
        load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize("text", ["runs/mine/best.pt", "best.pt", "nothing/here"])
def test_a_path_stays_as_it_is_also_where_nothing_is(text: str) -> None:
    assert find_checkpoint(text) == Path(text)


def test_a_file_without_a_suffix_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retinanet-light").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("retinanet-light") == Path("retinanet-light")


def test_a_misspelt_name_shows_the_nearest() -> None:
    with pytest.raises(CheckpointError, match=r"not found: retinanet-lihgt; did you mean 'retinanet-light'"):
        find_checkpoint("retinanet-lihgt")


def test_an_installed_package_says_where_the_weights_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint.resources, "files", lambda name: tmp_path / name)
    with pytest.raises(CheckpointError, match="of a clone of edgevision") as caught:
        find_checkpoint("retinanet-light")
    assert "give the path of its retinanet-light.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
