"""From thousands of decoded predictions to the contract's outputs, against torchvision; and where K ends."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torchvision.ops import nms

from edgevision.contract.manifest import Manifest, NmsLimits
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.retinanet import add_detection_outputs
from edgevision.zoo import list_models

SIDE, CANDIDATES, ROUNDS, KEPT = 320, 300, 16, 100
NAMES = ["boxes", "scores", "labels", "count"]


def manifest() -> Manifest:
    return Manifest(
        name="test",
        task="detection",
        classes=tuple("abcdefg"),
        input_width=SIDE,
        input_height=SIDE,
        score_threshold=0.05,
        nms=NmsLimits(form="cluster", iou_threshold=0.5, candidates=CANDIDATES, rounds=ROUNDS),
        max_detections=KEPT,
    )


@lru_cache
def session(total: int) -> onnxruntime.InferenceSession:
    data = outputs_model(total).SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def outputs_model(total: int) -> onnx.ModelProto:
    g = GraphBuilder("post/")
    add_detection_outputs(g, "decoded", "confidence", "kinds", total, manifest().within(total))
    inputs = [
        helper.make_tensor_value_info("decoded", TensorProto.FLOAT, ["N", total, 4]),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["N", total]),
        helper.make_tensor_value_info("kinds", TensorProto.INT64, ["N", total]),
    ]
    kinds = [TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT32]
    shapes = [["N", min(KEPT, total), 4], ["N", min(KEPT, total)], ["N", min(KEPT, total)], ["N"]]
    outputs = [helper.make_tensor_value_info(*three) for three in zip(NAMES, kinds, shapes, strict=True)]
    graph = helper.make_graph(g.nodes, "outputs", inputs, outputs, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


Answer = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]


def answer(boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Answer:
    """What the graph finds in one image; the padding behind it is checked and cut off."""
    feed = {"decoded": boxes[None], "confidence": scores[None], "kinds": labels[None]}
    found, confidence, kinds, count = (one[0] for one in session(len(boxes)).run(NAMES, feed))
    assert not found[count:].any()
    assert not confidence[count:].any()
    assert (kinds[count:] == -1).all()
    return found[:count], confidence[:count], kinds[:count]


def reference(boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Answer:
    """torchvision on the best candidates."""
    best = np.argsort(-scores, kind="stable")[:CANDIDATES]
    best = best[scores[best] > 0.05]
    keep = np.zeros(len(best), bool)
    for label in np.unique(labels[best]):
        own = np.flatnonzero(labels[best] == label)
        keep[own[nms(torch.from_numpy(boxes[best][own]), torch.from_numpy(scores[best][own]), 0.5)]] = True
    kept = np.flatnonzero(keep)[:KEPT]
    return boxes[best][kept], scores[best][kept], labels[best][kept].astype(np.int32)


def crowd(
    seed: int, count: int, side: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, SIDE - side, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, side, (count, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(np.linspace(0, 1, count)).astype(np.float32)  # no ties
    return boxes, scores, rng.integers(0, 7, count)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("count", "side"), [(60, 200.0), (300, 60.0), (5000, 120.0), (5000, 20.0)])
def test_predictions_become_torchvisions_answer(seed: int, count: int, side: float) -> None:
    predictions = crowd(seed, count, side)
    for found, wanted in zip(answer(*predictions), reference(*predictions), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_limits_that_the_rows_cannot_fulfil_are_refused() -> None:
    with pytest.raises(ValueError, match="limits that 60 predictions can fulfil"):
        add_detection_outputs(GraphBuilder("post/"), "decoded", "confidence", "kinds", 60, manifest())


def test_equal_boxes_of_other_classes_live_side_by_side() -> None:
    boxes = np.tile(np.array([[0, 0, SIDE, SIDE]], np.float32), (14, 1))
    labels = np.arange(14) % 7
    _, scores, kinds = answer(boxes, np.linspace(1, 0.5, 14, dtype=np.float32), labels)
    assert kinds.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (np.diff(scores) < 0).all()


def test_no_prediction_above_the_threshold_is_no_detection() -> None:
    boxes, scores, labels = crowd(0, 500, 50.0)
    for found in answer(boxes, scores * 0.05, labels):
        assert len(found) == 0


@pytest.mark.parametrize(("rank", "found"), [(CANDIDATES - 1, True), (CANDIDATES, False)])
def test_a_box_behind_the_stated_candidates_is_not_seen(rank: int, found: bool) -> None:
    """K as the manifest states it: so many equal boxes in front of a lone one leave it in or out."""
    boxes = np.tile(np.array([[10, 10, 60, 60]], np.float32), (1000, 1))
    boxes[rank] = [200, 200, 260, 260]
    kept, _, _ = answer(boxes, np.linspace(1, 0.1, 1000, dtype=np.float32), np.zeros(1000, np.int64))
    assert [200, 200, 260, 260] in kept.tolist() or not found
    assert len(kept) == 1 + found


@pytest.mark.parametrize(("links", "exact"), [(ROUNDS + 1, True), (ROUNDS + 2, False), (64, False)])
def test_a_chain_longer_than_the_stated_rounds_is_not_resolved(links: int, exact: bool) -> None:
    left = np.arange(links, dtype=np.float32) * 3
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
    predictions = boxes, np.linspace(1, 0.1, links, dtype=np.float32), np.zeros(links, np.int64)
    found, wanted = answer(*predictions)[0].tolist(), reference(*predictions)[0].tolist()
    assert (found == wanted) == exact
    certain = (ROUNDS + 2) // 2  # greedy suppression keeps every second link
    assert found[:certain] == wanted[:certain]


def integer_sums(model: onnx.ModelProto) -> list[str]:
    """ReduceSum nodes over integers: NVIDIA's parsers list floats only."""
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ReduceSum" and types[node.input[0]] not in floats
    ]


def test_count_is_summed_in_floats() -> None:
    assert integer_sums(outputs_model(500)) == []
    for shipped in list_models():
        assert integer_sums(onnx.load(shipped.path)) == [], shipped.name
