"""NVIDIA's own compiler takes what ships, without a GPU: both models, each precision, every RTX generation.

TensorRT for RTX parses the ONNX and builds a plan for a GPU that is not here. Its list of layers says in
which precision each convolution runs: for an INT8 model all but those that were kept must be ``Int8``.
On Turing (``rtx20``) it turns INT8 to float, and then ``compile`` must say so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trt_helpers import BARE, convolutions, needs_rtx, write_int8

from edgevision.engines.plan import BatchRange, check_plan
from edgevision.zoo import find_model
from export.layer_dump import node_precisions
from export.precision import export_half
from export.to_engine import compile_model
from export.trt_build import BuildOptions

pytestmark = [needs_rtx, pytest.mark.slow]

MODELS = ("retinanet-light", "unet-light")
TARGETS = {"rtx20": "7.5", "rtx30": "8.6", "rtx40": "8.9", "rtx50": "12.0"}
BATCHES = BatchRange(1, 4, 8)

Write = Callable[[str, str], tuple[Path, set[str]]]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """A shipped model at a precision, and the convolutions that stay in float; each is made once."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[tuple[str, str], tuple[Path, set[str]]] = {}

    def make(name: str, precision: str) -> tuple[Path, set[str]]:
        path = folder / f"{name}.{precision}.onnx"
        if precision == "fp32":
            path = find_model(name)
        elif precision == "fp16":
            export_half(find_model(name), path)
        elif precision == "int8":
            return path, write_int8(find_model(name), path)
        return path, {node.name for node in convolutions(path)}

    def once(name: str, precision: str) -> tuple[Path, set[str]]:
        if (name, precision) not in made:
            made[name, precision] = make(name, precision)
        return made[name, precision]

    return once


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_builds_and_runs_in_the_precision_it_says(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, precision: str, target: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    model, kept = write(name, precision)
    plan = tmp_path / "model.engine"
    compiled = compile_model(model, plan, target, BuildOptions(BATCHES), machine=BARE)
    info = compiled.info
    check_plan(plan, info)
    assert (info.compute_capability, info.batch) == (TARGETS[target], BATCHES)
    assert info.manifest.precision == precision
    nodes = {node.name for node in convolutions(model)}
    found = node_precisions(info.layers, nodes)
    assert set(found) == nodes, "a convolution is in no layer of the plan"
    own = {"fp32": "Float", "fp16": "Half", "int8": "Float"}[precision]
    assert {node: found[node] for node in nodes & kept} == dict.fromkeys(nodes & kept, own)
    quantised = "Float" if target == "rtx20" else "Int8"
    assert {node: found[node] for node in nodes - kept} == dict.fromkeys(nodes - kept, quantised)
    lost = "no layer of this INT8 model runs in INT8 on rtx20" in " ".join(compiled.notes)
    assert lost == (precision == "int8" and target == "rtx20")
    if precision == "int8":
        assert len(nodes - kept) > 0.8 * len(nodes)
