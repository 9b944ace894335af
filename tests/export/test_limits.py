"""Other limits in a file that is written: the same answers as an import that had them from the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgevision.zoo
from edgevision.cli import main
from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import read_manifest
from edgevision.engines import load_engine
from edgevision.errors import EdgeVisionError, ExportError, UsageError
from edgevision.export.importers import Choices, import_model
from edgevision.export.limits import change_limits
from tests.support import foreign
from tests.support.models import write_colour_model

FRAMES = np.random.default_rng(5).integers(0, 256, (2, foreign.SIZE, foreign.SIZE, 3), np.uint8)


def answers(path: Path) -> dict[str, np.ndarray]:
    with load_engine(path, "onnxruntime") as engine:
        return dict(engine.infer({"frames": FRAMES}))


def limits(manifest: Manifest) -> tuple[object, ...]:
    return manifest.score_threshold, manifest.nms, manifest.max_detections


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (foreign.raw_yolo, {"min_score": 0.0005, "iou": 0.3, "candidates": 20}),
        (foreign.raw_yolo, {"min_score": 0.0005, "several": True, "candidates": 20}),
        (foreign.final_yolo, {"min_score": 0.6}),
        (foreign.segments, {"min_score": 0.3, "iou": 0.9, "candidates": 5}),
        (foreign.poses, {"min_score": 0.0005, "candidates": 12}),
        (foreign.rotated, {"min_score": 0.0005, "iou": 0.2}),
    ],
)
def test_a_changed_file_answers_as_one_imported_so(tmp_path, make, wanted):
    file = make().save(tmp_path / "foreign.onnx")
    import_model(file, tmp_path / "plain.onnx", Choices(name="m"))
    direct = import_model(file, tmp_path / "direct.onnx", Choices(name="m", **wanted)).manifest
    changed = change_limits(tmp_path / "plain.onnx", tmp_path / "changed.onnx", **wanted)
    assert limits(changed) == limits(direct) != limits(read_manifest(tmp_path / "plain.onnx"))
    own, found = answers(tmp_path / "direct.onnx"), answers(tmp_path / "changed.onnx")
    assert own.keys() == found.keys()
    for name, values in own.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert own["count"].min() > 0


def test_limits_can_be_changed_again_and_back(tmp_path):
    files = [tmp_path / f"{i}.onnx" for i in range(4)]
    import_model(foreign.raw_yolo().save(tmp_path / "foreign.onnx"), files[0], Choices(name="m"))
    change_limits(files[0], files[1], several=True, min_score=0.0005)
    several = answers(files[1])
    assert several["count"].sum() > answers(files[0])["count"].sum()
    change_limits(files[1], files[2], min_score=0.9999)
    assert answers(files[2])["count"].sum() == 0
    change_limits(files[2], files[3], min_score=0.0005)
    for name, values in answers(files[3]).items():
        np.testing.assert_array_equal(values, several[name])


def test_the_detector_that_comes_along_takes_them_and_loses_its_figures(tmp_path):
    shipped = Path(edgevision.zoo.__file__).parent / "retinanet-light.onnx"
    before = read_manifest(shipped)
    changed = change_limits(shipped, tmp_path / "low.onnx", min_score=0.001)
    assert before.figures
    assert (changed.score_threshold, changed.nms, changed.figures) == (0.001, before.nms, {})
    assert read_manifest(tmp_path / "low.onnx") == changed
    with load_engine(tmp_path / "low.onnx", "onnxruntime") as engine:
        frames = np.full((1, before.input_height, before.input_width, 3), 90, np.uint8)
        found = engine.infer({"frames": frames})
    assert ((found["scores"] > 0) == (found["scores"] > 0.001)).all()
    assert ((found["scores"] > 0) & (found["scores"] < before.score_threshold)).any()


@pytest.mark.parametrize(
    ("make", "wanted", "error", "words"),
    [
        (foreign.segmenter, {"min_score": 0.1}, UsageError, "neither a score floor nor suppression"),
        (foreign.final_yolo, {"iou": 0.5}, UsageError, "no suppression of ours"),
        (foreign.poses, {"several": True}, UsageError, "only a box of detection"),
        (foreign.raw_yolo, {"several": False}, UsageError, "best class of each box already"),
    ],
)
def test_what_a_file_cannot_change_is_said(tmp_path, make, wanted, error, words):
    import_model(make().save(tmp_path / "foreign.onnx"), tmp_path / "plain.onnx")
    with pytest.raises(error, match=words):
        change_limits(tmp_path / "plain.onnx", tmp_path / "out.onnx", **wanted)
    assert not (tmp_path / "out.onnx").exists()


def test_another_end_is_refused(tmp_path):
    with pytest.raises(EdgeVisionError) as caught:
        change_limits(write_colour_model(tmp_path / "own.onnx"), tmp_path / "out.onnx", min_score=0.2)
    assert isinstance(caught.value, ExportError | UsageError)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_the_command_changes_limits_and_nothing_else(tmp_path, capsys):
    plain, out = tmp_path / "plain.onnx", tmp_path / "low.onnx"
    import_model(foreign.raw_yolo().save(tmp_path / "foreign.onnx"), plain, Choices(name="m"))
    assert call("import", str(plain), "--min-score", "0.001", "--candidates", "20", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "m with scores above 0.001, IoU 0.7, 20 candidates, at most 20 detections" in said
    for options, words in (
        (["--min-score", "0.2", "--kind", "yolo"], "only --min-score, --iou, --candidates"),
        (["--min-score", "2"], "--min-score 2: expected 0.0001 to 0.999"),
        ([], "change --min-score, --iou, --candidates or --several-classes"),
    ):
        assert call("import", str(plain), *options, "--out", str(tmp_path / "no.onnx")) in (1, 2)
        assert words in capsys.readouterr().err
    assert not (tmp_path / "no.onnx").exists()
