"""NonMaxSuppression at a file's end is replaced where what it chooses from is found, and stays where not.

Also tests ``edgevision.export.importers.nms_answers``, ``edgevision.export.importers.nms_source`` and
``edgevision.export.importers.ends``, whose limits are lowered for the probe images.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.model_file import read_manifest
from edgevision.engines import load_engine
from edgevision.errors import ExportError, UsageError
from edgevision.export.importers import KINDS, Choices, import_model
from edgevision.export.importers.core import load_core
from edgevision.export.importers.ends import WEAKEST, cut, lowered, suppresses
from edgevision.export.importers.recognise import recognise
from edgevision.graph.load import load_onnx
from edgevision.model import Model
from tests.support import foreign, foreign_nms

SAID = Choices(colours="rgb", scale="unit", resize="letterbox")
FORMS = {
    "boxes of classes apart": ("yolov7-end2end", foreign_nms.apart, None),
    "weak rows left out before": ("yolo", foreign_nms.filtered, None),
    "PaddleDetection": ("paddle", foreign_nms.paddle, SAID),
    "TensorFlow": ("tensorflow", foreign_nms.tensorflow, None),
    "mmdeploy": ("mmdeploy", foreign_nms.mmdeploy, SAID),
    "YOLOv3 of the zoo": ("zoo-yolov3", foreign_nms.zoo_yolov3, None),
}
CORNERS = [list(foreign.OBJECT)] * 2


def seen(path, images=1):
    """What a model finds in grey images of its own size; those of all images have to agree."""
    frame = np.full((foreign.SIZE, foreign.SIZE, 3), 128, np.uint8)
    with load_engine(path) as engine:
        found = Model(engine, 0.05)([frame] * images)
    for one in found[1:]:
        np.testing.assert_array_equal(one.boxes, found[0].boxes)
    return found[0]


@pytest.mark.parametrize("name", FORMS)
def test_suppression_is_replaced_by_ours_with_its_limits(tmp_path, name):
    kind, make, choices = FORMS[name]
    out = tmp_path / "model.onnx"
    file = foreign_nms.save(make(), tmp_path / "foreign.onnx")
    imported = import_model(file, out, choices)
    assert (imported.kind, imported.batch) == (kind, None)
    assert any("is replaced by edgevision's NMS" in note for note in imported.notes)
    assert not suppresses(load_onnx(out))
    nms = imported.manifest.nms
    assert nms is not None
    assert (nms.form, round(nms.iou_threshold, 3)) == ("cluster", foreign_nms.IOU)
    assert imported.manifest.score_threshold == pytest.approx(foreign_nms.LIMIT)
    found = seen(out, images=2)
    # The weaker copy is gone; the box of another class on the object is not.
    np.testing.assert_allclose(found.boxes, CORNERS, atol=0.02)
    np.testing.assert_allclose(found.scores, [foreign.SCORE, foreign_nms.OTHER], atol=1e-4)
    first = 1 if kind == "tensorflow" else 0
    assert found.class_ids.tolist() == [foreign.CLASS + first, first]


@pytest.mark.parametrize("name", FORMS)
def test_every_other_kind_is_refused(tmp_path, name):
    kind, make, _ = FORMS[name]
    core = load_core(foreign_nms.save(make(), tmp_path / "foreign.onnx"))
    same = {"mmdeploy": {"rtmdet-mmdeploy"}}.get(kind, set())
    for other in sorted(set(KINDS) - {kind} - same):
        with pytest.raises((ExportError, UsageError), match=f"is not a {other} model"):
            recognise(core, Choices(kind=other))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: foreign_nms.apart(agnostic=True), "it does not choose as edgevision's NMS would"),
        (foreign_nms.decoded_late, "its answers stand in no tensor before it"),
    ],
)
def test_suppression_that_cannot_be_replaced_stays_and_is_named(tmp_path, make, reason):
    out = tmp_path / "model.onnx"
    file = foreign_nms.save(make(), tmp_path / "foreign.onnx")
    imported = import_model(file, out)
    assert (imported.kind, imported.batch) == ("yolov7-end2end", 1)
    assert any(f"stays in the graph, because {reason}" in note for note in imported.notes)
    assert suppresses(load_onnx(out))
    assert read_manifest(out).nms.form == "none"
    assert len(seen(out)) == 1 if "choose" in reason else 2


def test_the_user_may_lower_the_limit_that_a_file_had(tmp_path):
    model = foreign_nms.apart()
    out = tmp_path / "model.onnx"
    file = foreign_nms.save(model, tmp_path / "foreign.onnx")
    imported = import_model(file, out, Choices(min_score=0.002, iou=0.99, candidates=50))
    manifest = imported.manifest
    assert (manifest.score_threshold, manifest.nms.iou_threshold, manifest.nms.candidates) == (
        0.002,
        0.99,
        50,
    )
    # With that overlap the copy beside the object is no copy.
    assert len(seen(out)) == 3


def test_a_file_that_finds_nothing_in_noise_is_read_all_the_same(tmp_path):
    """A trained detector has no scores above its limit there: the limits are lowered for the probe images."""
    model = foreign_nms.apart()
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.name == "scores_table":
            constant.CopyFrom(numpy_helper.from_array(values * np.float32(0.2), constant.name))
    out = tmp_path / "model.onnx"
    imported = import_model(foreign_nms.save(model, tmp_path / "foreign.onnx"), out)
    assert imported.kind == "yolov7-end2end"
    assert not suppresses(load_onnx(out))
    assert len(seen(out)) == 0


def test_only_limits_on_scores_are_lowered():
    model, highest = lowered(foreign_nms.filtered())
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    compared = next(node for node in model.graph.node if node.op_type == "Greater")
    assert values[compared.input[1]] == pytest.approx(WEAKEST)
    assert highest == pytest.approx(foreign_nms.LIMIT)
    suppression = next(node for node in model.graph.node if node.op_type == "NonMaxSuppression")
    assert values[suppression.input[3]] == pytest.approx(foreign_nms.IOU)
    assert lowered(foreign.raw_yolo().model())[1] == 0


def test_a_cut_keeps_what_its_ends_need():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    constants = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in ("a", "b")]
    nodes = [helper.make_node("Add", ["x", "a"], ["m"]), helper.make_node("Mul", ["m", "b"], ["y"])]
    whole = helper.make_model(helper.make_graph(nodes, "g", [x], [y], constants))
    part = cut(whole, ["m"])
    assert [node.op_type for node in part.graph.node] == ["Add"]
    assert [one.name for one in part.graph.initializer] == ["a"]
    assert [one.name for one in part.graph.output] == ["m"]
