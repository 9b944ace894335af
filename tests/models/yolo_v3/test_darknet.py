"""YOLO v3 from darknet's files: equal to OpenCV's reading of the same, the loss by hand, and what is refused.

Also tests ``edgevision.models.yolo_v3.settings``. What OpenCV 4.11 answers is in ``opencv.npz``, which
``tools/record_darknet.py`` writes: OpenCV 5 has no reader of such files.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevision.errors import CheckpointError, ConfigError
from edgevision.models.anchor_matching import DetectionTargets
from edgevision.models.yolo_v3.cfg import Dropout, Maxpool, Plan, Route, Shortcut, parse_cfg
from edgevision.models.yolo_v3.criterion import YoloV3Loss, best_anchors
from edgevision.models.yolo_v3.decoding import YoloV3Decoding
from edgevision.models.yolo_v3.network import Darknet, YoloV3
from edgevision.models.yolo_v3.settings import YoloV3Config, with_cfg
from edgevision.models.yolo_v3.weights import load_weights, read_weights
from tests.support.darknet import CFG, HEIGHT, WIDTH, image, plan, weights, write_weights

TINY = """[net]
width=64
height=64
[convolutional]
filters=14
size=1
stride=32
activation=linear
[yolo]
anchors=16,16, 40,60
classes=2
"""
"""Four cells of two anchors and two classes."""


def filled(tmp_path: Path) -> tuple[Plan, Darknet]:
    network = Darknet(plan()).eval()
    load_weights(network, write_weights(tmp_path / "net.weights", weights(plan())))
    return plan(), network


def test_it_is_equal_to_opencvs_reading_of_the_same_files(tmp_path: Path) -> None:
    layers, network = filled(tmp_path)
    decoding = YoloV3Decoding(layers)
    with torch.inference_mode():
        maps = network(torch.from_numpy(image()))
        boxes, scores = (one[0].numpy() for one in decoding(maps))
        objects = decoding.flatten(maps).objects[0].sigmoid().numpy()
    recorded = np.load(Path(__file__).parent / "opencv.npz")
    assert str(recorded["version"]).startswith("4.")
    rows = np.concatenate([recorded["map0"], recorded["map1"]])
    size = np.array([WIDTH, HEIGHT])
    centre, extent = rows[:, :2] * size, rows[:, 2:4] * size
    np.testing.assert_allclose(
        boxes, np.hstack([centre - extent / 2, centre + extent / 2]), rtol=1e-4, atol=2e-3
    )
    np.testing.assert_allclose(objects, rows[:, 4], atol=1e-5)
    shown = rows[:, 5:] > 0  # OpenCV leaves out scores below 0.2
    assert 0.3 < shown.mean() < 0.95
    np.testing.assert_allclose(scores[shown], rows[:, 5:][shown], atol=1e-5)
    assert scores[~shown].max() < 0.2001


def test_layers_are_numbered_and_sized() -> None:
    found = plan()
    assert (found.width, found.height, found.classes) == (WIDTH, HEIGHT, 2)
    assert found.layers[4] == Shortcut(1, "linear")
    assert found.layers[7] == Route((6,), 2, 1)
    assert found.layers[9] == Route((8, 6), 1, 0)
    assert found.layers[12] == Maxpool(5, 1, 4)
    assert (found.channels[7], found.channels[9]) == (8, 24)
    assert found.head_strides == (8, 4)
    assert found.heads[0].anchors == ((30, 26), (24, 44), (60, 50))
    assert [head.scale for head in found.heads] == [1.0, 1.05]


def test_pooling_of_stride_1_keeps_the_size_as_darknet_pads() -> None:
    text = TINY.replace("[convolutional]", "[maxpool]\nsize=2\nstride=1\n[convolutional]", 1)
    network = Darknet(parse_cfg(text)).eval()
    x = torch.arange(64 * 64).float().view(1, 1, 64, 64).expand(1, 3, -1, -1) / 4096
    assert network(x)[0].shape == (1, 14, 2, 2)


def test_dropout_changes_nothing_in_an_answer_and_drops_in_training(tmp_path: Path) -> None:
    text = TINY.replace("[convolutional]", "[dropout]\nprobability=.25\n[convolutional]", 1)
    torch.manual_seed(0)
    plain, network = Darknet(parse_cfg(TINY)).eval(), Darknet(parse_cfg(text)).eval()
    plain.convolution(0).load_state_dict(network.convolution(1).state_dict())
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network(x), plain(x))
    network.train()
    assert not torch.allclose(network(x)[0], network(x)[0])
    assert network.plan.layers[0] == Dropout(0.25)
    assert network.plan.head_strides == (32,)


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0)])
def test_both_headers_are_read(tmp_path: Path, version: tuple[int, int]) -> None:
    numbers = np.arange(7, dtype=np.float32)
    path = write_weights(tmp_path / "x.weights", numbers, version)
    assert path.stat().st_size == 28 + (16 if version == (0, 1) else 20)
    np.testing.assert_array_equal(read_weights(path), numbers)


def test_weights_that_end_after_a_layer_start_a_training(tmp_path: Path) -> None:
    numbers = weights(plan())
    first = 8 * 4 + 8 * 3 * 9
    path = write_weights(tmp_path / "first.weights", numbers[:first])
    network = Darknet(plan())
    assert load_weights(network, path, partial=True) == 1
    torch.testing.assert_close(network.convolution(0).norm.bias, torch.from_numpy(numbers[:8]))
    with pytest.raises(CheckpointError, match=r"has 248 numbers after its header, the layers"):
        load_weights(network, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "darknet weights not found"),
        (b"short", "has 5 bytes; expected a darknet .weights with its header"),
        (b"\0" * 33, "ends within a number"),
        (np.array([0, 2, 0, 0, 0], "<i4").tobytes() + b"\0" * 40, "has 10 numbers after its header"),
    ],
)
def test_foreign_and_damaged_weights_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.weights"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_weights(Darknet(plan()), path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[net]", "[yolo]", r"found \[yolo\] first; expected \[net\]"),
        (
            "filters=14",
            "filters=15",
            r"gets 15 channels; expected 14 filters before it: 2 anchors",
        ),
        ("[convolutional]", "[convolutonal]", r"a layer \[convolutonal\], which is not known.*convolutional"),
        (
            "[convolutional]",
            "[dropout]\nprobability=1\n[convolutional]",
            "probability is 1; expected a number",
        ),
        ("activation=linear", "activation=elu", "activation 'elu' is not known"),
        ("activation=linear", "activation=leaky", "expected activation=linear and no batch_normalize"),
        ("size=1", "size=one", "size is 'one'; expected a whole number"),
        ("width=64", "width=70", "the input is 70x64; expected multiples of 32"),
        ("anchors=16,16, 40,60", "anchors=16,16, 40", "expected pairs of sizes"),
        ("classes=2", "classes=2\nnew_coords=1", "new_coords is not known"),
        ("[net]", "hello\n[net]", "line 1: found 'hello'"),
        ("[yolo]", "[route]\nlayers=9\n[yolo]", "layer 9 is none before it"),
        ("[yolo]", "[shortcut]\nfrom=-2\n[yolo]", "layer -2 is none before it"),
        ("[yolo]\nanchors=16,16, 40,60\nclasses=2\n", "", r"no \[yolo\] layer"),
    ],
)
def test_what_is_not_known_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_cfg(TINY.replace(old, new, 1))


def targets(
    boxes: list[list[float]], labels: list[int], ignore: list[bool] | None = None
) -> DetectionTargets:
    return DetectionTargets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool),
        torch.ones(2, dtype=torch.bool),
    )


def test_a_hand_worked_loss() -> None:
    """A box of 16 x 16 at (12, 16) to (28, 32): centre (20, 24), cell 0, its anchor fits exactly."""
    criterion = YoloV3Loss(YoloV3Config(TINY, 64))
    losses = criterion([torch.zeros(1, 14, 2, 2)], [targets([[12, 16, 28, 32]], [1])])
    small = 2 - 16 * 16 / 64**2
    # Of logits of 0 the cross-entropy is ln 2, whatever is wanted; the size is right.
    assert losses["centre"].item() == pytest.approx(small * 2 * math.log(2), rel=1e-5)
    assert losses["size"].item() == pytest.approx(0, abs=1e-6)
    assert losses["object"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert losses["class"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    # No other prediction overlaps it by 0.5: (8, 8, 24, 24) and 40 x 60 about (16, 16) are in the same cell.
    assert losses["empty"].item() == pytest.approx(7 * math.log(2), rel=1e-5)


def test_a_prediction_that_overlaps_an_object_is_not_taught_to_be_empty() -> None:
    criterion = YoloV3Loss(YoloV3Config(TINY, 64))
    # 34 x 56 about (16, 16): its anchor is the second; the second anchor of cell 0 learns it.
    losses = criterion([torch.zeros(1, 14, 2, 2)], [targets([[0, 0, 33, 44]], [0])])
    assert losses["object"].item() == pytest.approx(math.log(2), rel=1e-5)
    size = 2 - 33 * 44 / 64**2
    wanted = size * (math.log(33 / 40) ** 2 + math.log(44 / 60) ** 2) / 2
    assert losses["size"].item() == pytest.approx(wanted, rel=1e-4)
    nothing = criterion([torch.zeros(1, 14, 2, 2)], [targets([], [])])
    assert nothing["empty"].item() == pytest.approx(8 * math.log(2), rel=1e-5)
    region = criterion([torch.zeros(1, 14, 2, 2)], [targets([[0, 0, 32, 64]], [0], [True])])
    assert region["empty"].item() == pytest.approx(4 * math.log(2), rel=1e-5)


def test_shapes_choose_their_anchor_and_the_larger_of_two_is_learnt() -> None:
    anchors = torch.tensor([[10.0, 10], [32, 32], [10, 80]])
    found = best_anchors(torch.tensor([[12.0, 9], [40, 40], [9, 60]]), anchors)
    assert found.tolist() == [0, 1, 2]
    criterion = YoloV3Loss(YoloV3Config(TINY, 64))
    chosen, objects = criterion._assign(targets([[8, 8, 26, 26], [10, 10, 22, 22]], [0, 1]))
    assert (chosen.tolist(), objects.tolist()) == ([0], [0])


def test_the_network_of_a_training_takes_what_all_take() -> None:
    """Images normalised as ImageNet's are taken back to 0 to 1."""
    network = YoloV3(parse_cfg(TINY)).eval()
    images = torch.rand(1, 3, 64, 64)
    normalised = (images - network.mean) / network.std
    with torch.inference_mode():
        torch.testing.assert_close(network(normalised), network.darknet(images), atol=1e-5, rtol=1e-5)


def test_a_path_becomes_the_text_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.cfg"
    path.write_text(TINY)
    document = {"model": {"family": "yolo-v3", "cfg": str(path)}}
    assert with_cfg(document) == {"model": {"family": "yolo-v3", "cfg": TINY}}
    assert with_cfg({"model": {"family": "ssd"}}) == {"model": {"family": "ssd"}}
    with pytest.raises(ConfigError, match=r"darknet \.cfg not found"):
        with_cfg({"model": {"family": "yolo-v3", "cfg": "missing.cfg"}})
    with pytest.raises(ConfigError, match="is empty; expected its text, or the path of one"):
        with_cfg({"model": {"family": "yolo-v3", "cfg": ""}})
    with pytest.raises(ValueError, match=r"no \[yolo\] layer"):
        YoloV3Config("[net]\nwidth=64", 64)
    assert CFG.count("[yolo]") == 2
