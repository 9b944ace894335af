"""Kernels of a plan, counted by what they compute in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from edgevision.engines.trt.plan import PlanLayer, write_plan
from tests.support.benchmarks import load_tool
from tests.support.gpu import plan_info

plan_kernels: Any = load_tool("plan_kernels")

LAYERS = (
    PlanLayer("a", "kgen", "UInt8", ("pre/Cast_0",)),
    PlanLayer("b", "correlation", "Int8", ("conv_1",)),
    PlanLayer("c", "correlation", "Int8", ("conv_2", "relu_2")),
    PlanLayer("d", "correlation", "Half", ("conv_3",)),
    PlanLayer("e", "kgen", "Float", ("conv_2",)),
    PlanLayer("f", "kgen", "Half", ("view_1", "post/Reshape_1")),
    PlanLayer("g", "kgen", "Float", ("post/Sigmoid_1", "post/Mul_2")),
    PlanLayer("h", "kgen", "Float"),
)


def test_a_plan_is_counted_without_its_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path / "light.engine", b"plan", plan_info(layers=LAYERS))
    monkeypatch.setattr(sys, "argv", ["plan_kernels.py", str(tmp_path / "light.engine")])
    assert plan_kernels.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| light.engine | 2, 0, 1 | 0, 2, 0 | 5 |"
    monkeypatch.setattr(sys, "argv", ["plan_kernels.py", str(tmp_path / "none.engine")])
    assert plan_kernels.main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
