"""Small models of the contract that can be quantised, and frames to calibrate them on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.calibration.report import CalibrationReport
from edgevision.cli import main
from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import write_manifest
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.class_map import add_class_map
from edgevision.graph.preprocessing import add_preprocessing

SIZE = 32
CLASSES = ("dark", "bright")


def segmenter_graph(seed: int = 0, wild: bool = False, spiked: float = 0) -> onnx.ModelProto:
    """A segmenter of bright pixels with noise in its weights: five convolutions, one residual sum, 32x32.

    ``stem`` 3x3 to 8 channels, ``wide`` 1x1 to 8, ``deep`` depthwise 3x3, ``mix`` 1x1, ``logits`` 1x1.

    Args:
        seed: of the weights.
        wild: one channel of ``wide`` is a thousand times the others, which per-tensor ranges cannot hold;
            ``deep`` shrinks it again.
        spiked: the last channel of ``wide`` is 0 but where a pixel is white, and there twenty times what the
            others reach; ``deep`` multiplies it by this, which changes no answer.
    """
    rng = np.random.default_rng(seed)
    g = GraphBuilder("core/")
    scale = np.ones(8, np.float32)
    scale[3] = 1000 if wild else 1

    def convolution(name: str, data: str, weights: np.ndarray, bias: np.ndarray, group: int = 1) -> str:
        constants = [
            numpy_helper.from_array(weights.astype(np.float32), f"{name}.weight"),
            numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"),
        ]
        g.constants.extend(constants)
        pad = weights.shape[2] // 2
        names = [constant.name for constant in constants]
        return g("Conv", data, *names, out=name, group=group, pads=[pad] * 4)

    brightness = np.zeros((8, 3, 3, 3))
    brightness[:, :, 1, 1] = 1 / 3
    stem = g("LeakyRelu", convolution("stem", "images", brightness + noise(rng, (8, 3, 3, 3)), np.zeros(8)),
             alpha=0.1)  # fmt: skip
    # Moved up past the ReLU and down again, so that the sign that decides hangs on every step.
    identity = np.eye(8)[:, :, None, None]
    lifted = identity * scale[:, None, None, None]
    lift, drop = 2.5 * scale, np.full(8, -5.0)
    if spiked:
        lifted[7, 7], lift[7], drop[7] = 500, -500 * 1.8, 0
    made = convolution("wide", stem, lifted + noise(rng, (8, 8, 1, 1)), lift)
    # Clip in place of ReLU: its channels cannot be scaled, or the spike would be equalised away.
    wide = g("Clip", made, g.constant(0, np.float32)) if spiked else g("Relu", made)
    spread = np.zeros((8, 1, 3, 3))
    spread[:, :, 1, 1] = 1
    if spiked:
        spread[7] *= spiked
    deep = convolution("deep", wide, spread / scale[:, None, None, None], np.zeros(8), group=8)
    mixed = convolution("mix", deep, 2 * identity + noise(rng, (8, 8, 1, 1)), drop)
    total = g("Add", mixed, stem, out="total")
    answer = np.stack([-np.ones(8), np.ones(8)])[:, :, None, None]
    convolution("logits", total, answer, np.zeros(2))

    before, after = GraphBuilder("pre/"), GraphBuilder("post/")
    add_preprocessing(before, "frames", "images", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    add_class_map(after, "logits", 1)
    graph = helper.make_graph(
        [*before.nodes, *g.nodes, *after.nodes],
        "bright",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("class_map", TensorProto.UINT8, ["N", SIZE, SIZE])],
        [*before.constants, *g.constants, *after.constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    return model


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.02, shape)


def segmenter_manifest(**changes: object) -> Manifest:
    manifest = Manifest(
        name="bright",
        task="segmentation",
        classes=CLASSES,
        input_width=SIZE,
        input_height=SIZE,
        heads=("logits",),
        colours=((0, 0, 0), (255, 255, 255)),
        figures={"miou": 0.9},
    )
    return msgspec.structs.replace(manifest, **changes)


def write_segmenter(
    path: Path, seed: int = 0, wild: bool = False, spiked: float = 0, **changes: object
) -> Path:
    """The model of :func:`segmenter_graph` as a file of the contract."""
    path.write_bytes(segmenter_graph(seed, wild, spiked).SerializeToString(deterministic=True))
    write_manifest(path, segmenter_manifest(**changes))
    return path


def images(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """uint8 ``[count, size, size, 3]``: blocks of any brightness."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, size // 4, size // 4, 1), np.uint8))


@dataclass(frozen=True)
class FakeFrames:
    """Stands in for :class:`edgevision.calibration.sampling.sample.CalibrationSet`, with its pixels in
    memory."""

    array: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(range(len(self.array)))

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.array.tobytes()).hexdigest()

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self.array), batch_size):
            yield self.array[start : start + batch_size]

    def frame_name(self, place: int) -> str:
        return f"photo {place}"

    def part(self, places: list[int]) -> FakeFrames:
        return FakeFrames(self.array[places])

    def spread(self, count: int) -> FakeFrames:
        places = np.linspace(0, len(self.array) - 1, min(count, len(self.array)))
        return self.part(sorted({int(place) for place in places.round()}))


class Stages:
    """A progress display that writes down what it was told."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    @contextmanager
    def __call__(self, label: str, total: int | None) -> Iterator[object]:
        self.opened.append(label)
        yield lambda done: None


def calibration_place(folder: Path) -> Path:
    """A model, images to calibrate on, and a labelled set: bright pixels are class 1."""
    write_segmenter(folder / "bright.onnx")
    save_images(folder / "photos", images(12, seed=1, size=64))
    write_labelled(folder / "set", images(6, seed=2))
    return folder


def save_images(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:02}.png"), image)


def write_labelled(folder: Path, images: np.ndarray) -> None:
    save_images(folder / "images" / "val", images)
    bright = (images.astype(float).mean(axis=3) > 127.5).astype(np.uint8)
    save_images(folder / "labels" / "val", bright)
    (folder / "val.txt").write_text("\n".join(f"{i:02}" for i in range(len(images))) + "\n")
    classes = [{"id": 0, "name": "dark", "rgb": [0, 0, 0]}, {"id": 1, "name": "bright", "rgb": [9, 9, 9]}]
    (folder / "classes.json").write_text(json.dumps({"ignore_index": 255, "classes": classes}))


def mean_iou(model: Path, data: Path) -> float:
    """Of a segmenter on what :func:`write_labelled` wrote, by ONNX Runtime and the definition."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    pairs = []
    for path in sorted((data / "images" / "val").iterdir()):
        image = cv2.imread(str(path))
        assert image is not None
        label = cv2.imread(str(data / "labels" / "val" / path.name), cv2.IMREAD_GRAYSCALE)
        pairs.append((session.run(None, {session.get_inputs()[0].name: image[None]})[0][0], label))
    answers, labels = (np.stack(one) for one in zip(*pairs, strict=True))
    ratios = [
        ((answers == one) & (labels == one)).sum() / ((answers == one) | (labels == one)).sum()
        for one in (0, 1)
    ]
    return float(np.mean(ratios))


def run_calibrate(place: Path, *options: str, model: str = "bright.onnx") -> int:
    """Runs the command in ``place``; its exit code."""
    arguments = ["calibrate", str(place / model), "--out", str(place / "bright.int8.onnx")]
    if "--no-cache" not in options:
        arguments += ["--cache", str(place / "cache")]
    if "--from" not in options:
        arguments += ["--from", str(place / "photos")]
    with pytest.raises(SystemExit) as end:
        main([*arguments, *options])
    return int(end.value.code or 0)


def gate_options(place: Path) -> list[str]:
    return ["--data", str(place / "set"), "--split", "val"]


def report_of(place: Path) -> CalibrationReport:
    return msgspec.json.decode((place / "bright.int8.json").read_bytes(), type=CalibrationReport)


def written(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name.startswith((".", "bright.int8")))
