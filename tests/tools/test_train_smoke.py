"""The smoke run of the families knows its cases before it deletes anything; 'make train-smoke' runs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgevision.config import config_folder
from tests.support.paths import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("train_smoke")


def test_a_name_that_is_no_case_is_refused_and_the_folder_stays(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept.txt").write_text("")
    arguments = ["train_smoke.py", "--folder", str(tmp_path), "--only", "ssd,retinanet-lihgt"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(
        SystemExit, match="no case is called retinanet-lihgt; expected some of retinanet-light, "
    ):
        tool.main()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_each_case_is_a_configuration_that_ships(tool: ModuleType) -> None:
    shipped = {path.stem for path in (config_folder() / "models").glob("*.yaml")}
    assert {case.config for case in tool.CASES} <= shipped
    assert {case.labels for case in tool.CASES} <= set(tool.LABELS)
