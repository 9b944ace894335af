"""An imported model of every task at every precision: what it finds stays, and engines agree on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.cache import Cache
from edgevision.calibration.calibrate import calibrate
from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.outcome import Settings
from edgevision.contract.model_file import read_manifest
from edgevision.engines import load_engine
from edgevision.engines.trt.plan import check_plan
from edgevision.export.importers import Choices, import_model
from edgevision.export.parity.parity import Parity
from edgevision.export.plans.compile import compile_model
from edgevision.export.to_half import export_half
from edgevision.graph.compose import save_model
from edgevision.model import Model
from edgevision.progress import no_progress
from edgevision.types import Classification, Detections, Result, SegmentationMap
from tests.support import foreign
from tests.support.calibration import FakeFrames, images
from tests.support.plans import BARE, needs_rtx

NETWORKS: dict[str, Callable[[], foreign.Network]] = {
    "detection": foreign.raw_yolo,
    "segmentation": foreign.segmenter,
    "instance-segmentation": foreign.segments,
    "pose": foreign.poses,
    "obb": foreign.rotated,
    "classification": foreign.classes,
}
FRAMES = images(4, seed=3, size=foreign.SIZE)
OF_THE_INPUT = FakeFrames(images(8, size=foreign.SIZE))

Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """The file of a task; each is made once."""
    folder = tmp_path_factory.mktemp("imported")

    def write(task: str) -> Path:
        out = folder / f"{task}.onnx"
        if not out.is_file():
            network = NETWORKS[task]()
            network.convolved = True
            file = network.save(folder / f"{task}.foreign.onnx")
            found = import_model(file, out, Choices(scale="unit"))
            assert found.manifest.task == task
        return out

    return write


def to_int8(source: Path, out: Path) -> Path:
    quantised = calibrate(
        load_float_model(source), OF_THE_INPUT, Settings(method="minmax"), None, Cache(None), no_progress
    )  # type: ignore[arg-type]  # FakeFrames has what is used of a calibration set
    save_model(quantised.graph, out, quantised.manifest)
    return out


def found_in(path: Path, image: np.ndarray) -> Result:
    with Model(load_engine(path, "onnxruntime"), 0.5) as model:
        return model(image)


def assert_alike(wanted: Result, found: Result) -> None:
    """The same things at the same places, to what a precision moves them."""
    if isinstance(wanted, SegmentationMap):
        assert isinstance(found, SegmentationMap)
        assert (wanted.class_map == found.class_map).mean() > 0.99
        assert len(np.unique(wanted.class_map)) == 2
    elif isinstance(wanted, Classification):
        assert isinstance(found, Classification)
        np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=0.02)
        assert wanted.labels()[0].name == "b"
    else:
        assert isinstance(found, Detections)
        assert len(wanted) == 1
        np.testing.assert_array_equal(found.class_ids, wanted.class_ids)
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.2)
        for column, tolerance in (("keypoints", 0.2), ("rotated_boxes", 0.2)):
            if getattr(wanted, column) is not None:
                np.testing.assert_allclose(getattr(found, column), getattr(wanted, column), atol=tolerance)
        if wanted.masks is not None:
            assert found.masks is not None
            assert found.masks.areas() == pytest.approx(wanted.masks.areas(), rel=0.05)


@pytest.mark.parametrize("task", NETWORKS)
def test_an_imported_model_answers_alike_at_every_precision(
    imported: Write, tmp_path: Path, task: str
) -> None:
    source = imported(task)
    wanted = found_in(source, FRAMES[0])
    int8 = to_int8(source, tmp_path / "int8.onnx")
    assert read_manifest(int8).calibration is not None
    assert export_half(source, tmp_path / "fp16.onnx").manifest.precision == "fp16"
    assert export_half(int8, tmp_path / "both.onnx").manifest.precision == "int8+fp16"
    for name in ("int8", "fp16", "both"):
        assert_alike(wanted, found_in(tmp_path / f"{name}.onnx", FRAMES[0]))


def some(*fast: str) -> list[Any]:
    """All tasks, those that are not named marked as slow."""
    return [pytest.param(task, marks=[] if task in fast else [pytest.mark.slow]) for task in NETWORKS]


@pytest.mark.usefixtures("slow_on_demand")
@pytest.mark.parametrize("task", some("segmentation", "obb"))
def test_engines_agree_on_an_imported_model(imported: Write, tmp_path: Path, task: str) -> None:
    source = imported(task)
    with Parity([source, to_int8(source, tmp_path / "int8.onnx")]) as parity:
        report = parity.compare([FRAMES])
    assert report.agrees, [one.first_divergent for one in report.comparisons]
    assert not report.missing
    stages = {difference.stage for one in report.comparisons for difference in one.differences}
    assert stages == {"preprocessing", "heads", "answers"}


@needs_rtx
@pytest.mark.usefixtures("slow_on_demand")
@pytest.mark.parametrize("task", some())
def test_an_imported_model_is_built_for_rtx(
    imported: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    int8 = to_int8(imported(task), tmp_path / "int8.onnx")
    plan = tmp_path / "model.engine"
    compiled = compile_model(int8, plan, "rtx30", machine=BARE)
    check_plan(plan, compiled.info)
    assert compiled.info.manifest.task == task
