"""NVIDIA's own compiler takes what ships, without a GPU: both models, each precision, every RTX generation.

TensorRT for RTX parses the ONNX and builds a plan for a GPU that is not here. Its list of layers says in
which precision each convolution runs: for an INT8 model all but those that were kept must be ``Int8``.
On Turing (``rtx20``) it turns INT8 to float, and then ``compile`` must say so.

A plain run builds every second cell of the table, which holds every pair of model, precision and target;
``pytest -m slow`` builds the others.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from edgevision.config import config_folder
from edgevision.engines.trt.plan import BatchRange, check_plan
from edgevision.export import to_half
from edgevision.export.plans.build import BuildOptions
from edgevision.export.plans.compile import compile_model
from edgevision.export.plans.layer_dump import node_precisions
from edgevision.export.to_half import export_half
from edgevision.export.to_onnx import export_checkpoint
from edgevision.graph.lint import check_tensorrt
from edgevision.models.efficientnet_lite import SCALES
from edgevision.models.retinanet import RetinaNet
from edgevision.training.checkpoint import Checkpoint
from edgevision.training.config import DetectorTraining, load_run
from edgevision.zoo import find_model
from tests.support.plans import BARE, build_for_rtx, convolutions, needs_rtx, write_int8
from tests.support.task_models import write_task_model

pytestmark = needs_rtx

MODELS = ("retinanet-light", "unet-light")
OWN = {"fp32": "Float", "fp16": "Half", "int8": "Float", "int8+fp16": "Half"}
"""What convolutions that are not quantised run in."""
TARGETS = {"rtx20": "7.5", "rtx30": "8.6", "rtx40": "8.9", "rtx50": "12.0"}
BATCHES = BatchRange(1, 4, 8)

Write = Callable[[str, str], tuple[Path, set[str]]]


def cells() -> list[Any]:
    """The table as a chessboard: its black cells in every run, its white ones with ``-m slow``."""
    found = []
    for places in product(*(list(enumerate(axis)) for axis in (MODELS, OWN, TARGETS))):
        names = tuple(name for _, name in places)
        is_black = sum(place for place, _ in places) % 2 == 0
        if "int8+fp16" in names:  # int8 and FP16 are there by themselves
            is_black = names == ("unet-light", "int8+fp16", "rtx40")
        found.append(pytest.param(*names, marks=[] if is_black else [pytest.mark.slow]))
    return found


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
        else:
            source, kept = once(name, "int8")
            export_half(source, path)
            return path, kept
        return path, {node.name for node in convolutions(path)}

    def once(name: str, precision: str) -> tuple[Path, set[str]]:
        if (name, precision) not in made:
            made[name, precision] = make(name, precision)
        return made[name, precision]

    return once


@pytest.mark.usefixtures("slow_on_demand")
@pytest.mark.parametrize(("name", "precision", "target"), cells())
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
    quantised = nodes - kept
    assert {found[node] for node in kept} == {OWN[precision]}
    assert bool(quantised) == precision.startswith("int8")
    if not quantised:
        assert compiled.notes == ()
        return
    assert len(quantised) > 0.8 * len(nodes)
    if target != "rtx20":
        assert {found[node] for node in quantised} == {"Int8"}
        assert compiled.notes == ()
        return
    assert not {found[node] for node in quantised} & {"Int8"}
    for notes in (
        compiled.notes,
        compile_model(model, plan, target, BuildOptions(BATCHES), machine=BARE).notes,
    ):
        assert len(notes) == 1, "said where the plan is kept, too"
        assert f"none of the {len(quantised)} INT8 convolutions runs in INT8 on rtx20" in notes[0]


@pytest.mark.parametrize("task", ["instance-segmentation", "pose", "obb", "classification"])
def test_the_ends_of_every_task_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """Prototypes, key points and the suppression of rotated boxes."""
    model = write_task_model(tmp_path / "model.onnx", task)
    assert check_tensorrt(onnx.load(str(model))) == []
    build_for_rtx(model, tmp_path, monkeypatch)


def write_edge(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """retinanet-edge with each of its kinds of layers once, and random weights."""
    monkeypatch.setitem(SCALES, "efficientnet_lite0", (0.5, 0.25))
    small = [
        "model.backbone.weights=random",
        "model.input_size=64",
        "model.channels=32",
        "model.head.layers=1",
    ]
    run = load_run(config_folder() / "models" / "retinanet-edge.yaml", small)
    assert isinstance(run, DetectorTraining)
    torch.manual_seed(1)
    network = RetinaNet(run.model, len(run.classes))  # type: ignore[arg-type]  # the family of the file
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):  # a trained network's are not 0
                parameter += 0.1 * torch.randn_like(parameter)
    export_checkpoint(Checkpoint(run, 0, {}, network.eval().state_dict(), {}, {}, None), path)


def test_between_the_edge_detectors_convolutions_nothing_is_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one scale a weight: bias and activation are within the convolution, what is between is FP16."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setitem(to_half._LEAST_AGREEMENT_DB, "int8", 0)  # random weights
    source = tmp_path / "edge.onnx"
    write_edge(source, monkeypatch)
    quantised, model = tmp_path / "int8.onnx", tmp_path / "int8.fp16.onnx"
    kept = write_int8(source, quantised, one_scale=True)
    export_half(quantised, model)
    layers = compile_model(model, tmp_path / "edge.engine", "rtx40", machine=BARE).info.layers
    nodes = {node.name for node in convolutions(model)}
    found = node_precisions(layers, nodes)
    assert len(nodes - kept) > len(kept)
    assert {found[node] for node in nodes - kept} == {"Int8"}
    assert {found[node] for node in kept} == {"Half"}
    outside = ("pre/", "post/")
    network = [layer for layer in layers if not any(node.startswith(outside) for node in layer.nodes)]
    assert {layer.precision for layer in network} <= {"Int8", "Half", ""}
    assert any(layer.precision == "Float" for layer in layers), "decoding is in FP32"
