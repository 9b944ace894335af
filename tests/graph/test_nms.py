"""The graph's suppression against torchvision's, on random and on adversarial boxes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torchvision.ops import box_iou, nms

from edgevision.graph.builder import GraphBuilder
from edgevision.graph.nms import add_cluster_nms

IOU = 0.5
FLOOR = 0.05


def session(candidates: int, rounds: int) -> onnxruntime.InferenceSession:
    g = GraphBuilder("nms/")
    keep = add_cluster_nms(g, "boxes", "scores", "labels", candidates, IOU, FLOOR, rounds)
    graph = helper.make_graph(
        g.nodes,
        "nms",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", candidates, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", candidates]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["N", candidates]),
        ],
        [helper.make_tensor_value_info(keep, TensorProto.BOOL, ["N", candidates])],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], rounds: int = 16
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What the graph keeps and what torchvision keeps, of boxes sorted by falling score."""
    labels = np.zeros((1, len(boxes)), np.int64)
    feed = {"boxes": boxes[None], "scores": scores[None], "labels": labels}
    (kept,) = session(len(boxes), rounds).run(None, feed)
    valid = int((scores > FLOOR).sum())
    wanted = np.zeros(len(boxes), bool)
    wanted[nms(torch.from_numpy(boxes[:valid]), torch.from_numpy(scores[:valid]), IOU).numpy()] = True
    return kept[0], wanted


def falling(count: int, low: float = 0.0) -> NDArray[np.float32]:
    return np.linspace(1, low, count, dtype=np.float32)


def chain(length: int, step: float = 3.0) -> NDArray[np.float32]:
    """Boxes of side 10, each overlapping only its neighbours by more than half."""
    left = np.arange(length, dtype=np.float32) * step
    return np.stack([left, np.zeros(length), left + 10, np.full(length, 10)], axis=1).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 100, 300]), st.floats(5, 120))
@settings(max_examples=25, deadline=None)
def test_random_boxes_are_suppressed_as_torchvision_does(seed: int, count: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 320, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, size, (count, 2))], axis=1).astype(np.float32)
    kept, wanted = run(boxes, falling(count))
    np.testing.assert_array_equal(kept, wanted)


@pytest.mark.parametrize(
    "boxes",
    [
        np.tile(np.array([[5, 5, 20, 20]], np.float32), (300, 1)),
        np.tile(np.array([[5, 5, 5, 5]], np.float32), (50, 1)),
        np.tile(np.array([[5, 5, 5, 30]], np.float32), (50, 1)),
        np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32),
    ],
    ids=["identical", "points", "lines", "exactly the threshold"],
)
def test_degenerate_boxes(boxes: NDArray[np.float32]) -> None:
    kept, wanted = run(boxes, falling(len(boxes), low=0.1))
    np.testing.assert_array_equal(kept, wanted)


def test_nothing_above_the_floor_keeps_nothing() -> None:
    kept, _ = run(chain(20), np.full(20, FLOOR, np.float32))
    assert not kept.any()


@pytest.mark.parametrize("length", [2, 15, 16, 17])
def test_a_chain_within_the_rounds_is_exact(length: int) -> None:
    kept, wanted = run(chain(length), falling(length, low=0.1))
    np.testing.assert_array_equal(kept, wanted)


def test_a_chain_longer_than_the_rounds_is_where_it_stops_being_exact() -> None:
    """The limit that the manifest states: the first ``rounds`` links are right, later ones may not be."""
    kept, wanted = run(chain(64), falling(64, low=0.1))
    np.testing.assert_array_equal(kept[:17], wanted[:17])
    assert int((kept != wanted).sum()) > 0
    exact, wanted = run(chain(64), falling(64, low=0.1), rounds=64)
    np.testing.assert_array_equal(exact, wanted)


def chain_lengths(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each box, the longest run of better boxes that leads to it, each overlapping the next too much."""
    over = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).nan_to_num().numpy() > IOU
    lengths = np.zeros(len(boxes), np.int64)
    for later in range(len(boxes)):
        better = lengths[:later][over[:later, later]]
        lengths[later] = better.max() + 1 if better.size else 0
    return lengths


# Corners on a coarse grid: identical boxes, points, lines and overlaps of just the threshold all come up.
sides = st.integers(0, 6)
cells = st.tuples(sides, sides, sides, sides).map(lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3]))


@given(st.lists(cells, min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_boxes_whose_chain_is_within_the_rounds_are_exact_whatever_the_others_are(
    corners: list[tuple[int, int, int, int]], rounds: int
) -> None:
    boxes = np.array(corners, np.float32)
    kept, wanted = run(boxes, falling(len(boxes), low=0.1), rounds)
    decided = chain_lengths(boxes) <= rounds
    np.testing.assert_array_equal(kept[decided], wanted[decided])


@given(st.integers(1, 24), st.integers(1, 30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_chain_is_exact_for_just_as_many_links_as_there_are_rounds(
    rounds: int, length: int, backwards: bool
) -> None:
    boxes = chain(length)[::-1].copy() if backwards else chain(length)
    kept, wanted = run(boxes, falling(length, low=0.1), rounds)
    right = kept == wanted
    assert right[: rounds + 1].all()
    assert right.all() == (length <= rounds + 1)


@pytest.mark.parametrize("spread", [100, 1500], ids=["a crowd", "a scatter"])
def test_thousands_of_boxes(spread: int) -> None:
    rng = np.random.default_rng(spread)
    corner = rng.uniform(0, spread, (2000, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (2000, 2))], axis=1).astype(np.float32)
    kept, wanted = run(boxes, falling(2000))
    decided = chain_lengths(boxes) <= 16
    assert decided.mean() > 0.5
    np.testing.assert_array_equal(kept[decided], wanted[decided])
    assert 0 < kept.sum() < 2000


def test_no_product_of_matrices() -> None:
    """TensorRT for RTX has none in FP32 for Turing; see also ``test_export_to_engine_matrix.py``."""
    g = GraphBuilder("nms/")
    add_cluster_nms(g, "boxes", "scores", "labels", 300, IOU, FLOOR, 16)
    assert {"MatMul", "Gemm", "Einsum"}.isdisjoint(node.op_type for node in g.nodes)


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    boxes = np.stack([chain(12), np.tile(chain(1), (12, 1)), chain(12, step=11)])
    scores = np.stack([falling(12, low=0.1), falling(12, low=0.1), np.full(12, 0.01, np.float32)])
    labels = np.zeros((3, 12), np.int64)
    (kept,) = session(12, 16).run(None, {"boxes": boxes, "scores": scores, "labels": labels})
    for image in range(3):
        alone, _ = run(boxes[image], scores[image])
        np.testing.assert_array_equal(kept[image], alone)
    assert kept.sum(axis=1).tolist() == [6, 1, 0]


@pytest.mark.parametrize("gap", [-1e-6, 0.0, 1e-6])
def test_the_score_threshold_itself_is_not_enough(gap: float) -> None:
    kept, _ = run(chain(1), np.array([FLOOR + gap], np.float32))
    assert kept.tolist() == [np.float32(FLOOR + gap) > np.float32(FLOOR)]


def probiou(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 less the Hellinger distance of the boxes' normal distributions, by matrices: ``[N, 5] -> [N, N]``."""
    covariances = []
    for _, _, width, height, angle in boxes:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        covariances.append(turn @ np.diag([width**2 / 12, height**2 / 12]) @ turn.T)
    found = np.zeros((len(boxes), len(boxes)))
    for i, first in enumerate(covariances):
        for j, second in enumerate(covariances):
            mean = (first + second) / 2
            apart = boxes[j, :2] - boxes[i, :2]
            distance = apart @ np.linalg.inv(mean) @ apart / 8 + 0.5 * np.log(
                np.linalg.det(mean) / np.sqrt(np.linalg.det(first) * np.linalg.det(second))
            )
            found[i, j] = 1 - np.sqrt(max(0.0, 1 - np.exp(-distance)))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_rotated_boxes_are_suppressed_by_the_likeness_of_their_distributions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        [rng.uniform(0, 40, (30, 2)), rng.uniform(10, 40, (30, 2)), rng.uniform(-2, 5, 30)]
    ).astype(np.float32)
    boxes[10:20] = boxes[:10] + rng.normal(0, 1, (10, 5)) * (1, 1, 1, 1, 0.1)
    if seed % 2:  # long and thin, as ships and roads are
        boxes[:, 2:4] *= (8, 0.2)
        boxes[10:20, 4] = boxes[:10, 4] + rng.normal(0, 0.001, 10)
    likeness = probiou(boxes.astype(np.float64))
    expected = np.ones(30, bool)
    for j in range(30):
        expected[j] = not (expected[:j] & (likeness[:j, j] > IOU)).any()
    g = GraphBuilder("nms/")
    keep = add_cluster_nms(g, "boxes", "scores", "labels", 30, IOU, FLOOR, 16, "probiou")
    inputs = [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 30, 5])]
    inputs += [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 30])]
    inputs += [helper.make_tensor_value_info("labels", TensorProto.INT64, ["N", 30])]
    output = helper.make_tensor_value_info(keep, TensorProto.BOOL, ["N", 30])
    graph = helper.make_graph(g.nodes, "nms", inputs, [output], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    running = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"boxes": boxes[None], "scores": falling(30, 0.1)[None], "labels": np.zeros((1, 30), np.int64)}
    (kept,) = running.run(None, feed)
    assert kept[0].tolist() == expected.tolist()
    assert 0 < expected.sum() < 30


def suppress_plainly(boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Greedy suppression as everybody writes it, class by class, in FP64."""
    keep = np.ones(len(boxes), bool)
    for j, (x1, y1, x2, y2) in enumerate(boxes):
        for i in np.flatnonzero(keep[:j] & (labels[:j] == labels[j])):
            a1, b1, a2, b2 = boxes[i]
            shared = max(min(x2, a2) - max(x1, a1), 0) * max(min(y2, b2) - max(y1, b1), 0)
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
            keep[j] &= not shared > IOU * union
    return keep


# Sixteenths of a pixel, which FP32 holds exactly here: areas and IoU have no rounding of their own.
small_boxes = st.tuples(st.integers(0, 48), st.integers(0, 48), st.integers(1, 64), st.integers(1, 64))
classes = st.sampled_from([0, 1, 78, 79, 80, 365, 1203, 1998, 1999])


@given(st.lists(st.tuples(small_boxes, classes), min_size=2, max_size=40), st.integers(0, 600))
@settings(max_examples=60, deadline=None)
def test_classes_up_to_2000_are_suppressed_exactly(
    rows: list[tuple[tuple[int, int, int, int], int]], place: int
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for (x, y, w, h), _ in rows], np.float64) / 16 + place
    labels = np.array([label for _, label in rows], np.int64)
    feed = {
        "boxes": boxes[None].astype(np.float32),
        "scores": falling(len(rows), low=0.1)[None],
        "labels": labels[None],
    }
    (kept,) = session(len(rows), len(rows)).run(None, feed)
    np.testing.assert_array_equal(kept[0], suppress_plainly(boxes, labels))


def test_parts_of_a_pixel_decide_in_class_1999_too() -> None:
    """Two boxes of 2 x 2, one 21/32 below the other: IoU 0.506. Moved by 1999 x 641, they are 3/4 apart."""
    top = np.float32(10 + 1 / 32)
    boxes = np.array([[10, top, 12, top + 2], [10, top + 21 / 32, 12, top + 21 / 32 + 2]], np.float32)
    moved = boxes[:, 1] + np.float32(1999 * 641)
    assert moved[1] - moved[0] == 0.75
    feed = {"boxes": boxes[None], "scores": falling(2, low=0.1)[None], "labels": np.full((1, 2), 1999)}
    (kept,) = session(2, 2).run(None, feed)
    assert kept[0].tolist() == [True, False]
