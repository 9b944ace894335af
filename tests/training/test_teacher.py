"""The teacher of a distillation: PicoDet's form, in two libraries, and a student that follows it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ModelError
from edgevision.models.anchors import AnchorConfig
from edgevision.models.distillation import average_answers
from edgevision.models.settings import DistillationConfig
from edgevision.training.config import DetectorTraining
from edgevision.training.detection import DetectionTask
from edgevision.training.distributed import World
from edgevision.training.loop import Trainer
from edgevision.training.teacher import DenseTeacher
from tests.support.training import small_run

CELLS = (64, 16, 4, 1)  # of an input of 64
ONE = AnchorConfig(strides=(8, 16, 32, 64), base_size=5.0, scales=(1.0,), ratios=(1.0,))


def write_teacher(path: Path, classes: int = 3, bins: int = 2) -> Path:
    """Says the same of every image: class 2 at 0.75 in the first cell of stride 16, boxes of two cells."""
    nodes, outputs = [], []
    for index, (cells, width) in enumerate([(c, classes) for c in CELLS] + [(c, 4 * bins) for c in CELLS]):
        values = np.zeros((1, cells, width), np.float32)
        if index == 1:
            values[0, 0, 2] = 0.75
        if index > 3:
            values[0, :, 1::bins] = 20.0  # all of the distribution is in the second bin: one stride
        value = numpy_helper.from_array(values)
        nodes.append(helper.make_node("Constant", [], [f"c{index}"], value=value))
        nodes.append(helper.make_node("Add", [f"c{index}", "nothing"], [f"out{index}"]))
        outputs.append(helper.make_tensor_value_info(f"out{index}", TensorProto.FLOAT, values.shape))
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    before = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph([*before, *nodes], "teacher", [image], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.usefixtures("library")
def test_scores_go_to_the_students_classes_and_sides_become_boxes(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    teacher = DenseTeacher(str(path), "person,zebra,motorcycle", ("motorbike", "cow", "person"), 64)
    answers = teacher(torch.zeros(2, 3, 64, 64))
    assert answers.scores.shape == (2, sum(CELLS), 3)
    assert answers.taught.tolist() == [1, 0, 1]
    assert answers.scores.nonzero().tolist() == [[0, 64, 0], [1, 64, 0]]
    assert float(answers.scores[0, 64, 0]) == pytest.approx(0.75)
    # One stride to each side of the cell's middle: (4, 4) at stride 8, (8, 8) at 16, (32, 32) at 64.
    expected = [[-4, -4, 12, 12], [-8, -8, 24, 24], [-32, -32, 96, 96]]
    np.testing.assert_allclose(answers.boxes[0, [0, 64, 84]].numpy(), expected, atol=0.01)


def write_nanodet(path: Path, classes: int = 3, bins: int = 2) -> Path:
    """Says channel 0's mean as the score of class 1 in cell 64, and boxes of one stride to each side.

    ``inner``, the image at an eighth of the size, is no output.
    """
    values = np.zeros((1, sum(CELLS), classes + 4 * bins), np.float32)
    values[0, :, classes + 1 :: bins] = 20.0
    where = np.zeros_like(values)
    where[0, 64, 1] = 1.0
    constants = {"values": values, "where": where, "zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64)}
    nodes = [
        helper.make_node("Slice", ["image", "zero", "one", "one"], ["first"]),
        helper.make_node("ReduceMean", ["first"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "where"], ["told"]),
        helper.make_node("Add", ["values", "told"], ["output"]),
        helper.make_node("AveragePool", ["image"], ["inner"], kernel_shape=[8, 8], strides=[8, 8]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, values.shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.usefixtures("library")
def test_nanodet_sees_bgr_counts_from_corners_and_gives_hints(tmp_path: Path) -> None:
    path = write_nanodet(tmp_path / "teacher.onnx")
    teacher = DenseTeacher(str(path), "person,zebra,dog", ("zebra", "dog"), 64, ["inner"])
    image = torch.zeros(1, 3, 64, 64)
    image[0, 2] = 0.5  # blue, the last of the student's channels and the first of NanoDet's
    answers = teacher(image)
    assert answers.scores.nonzero().tolist() == [[0, 64, 0]]
    assert float(answers.scores[0, 64, 0]) == pytest.approx(0.5)
    # One stride to each side of the cell's corner: (0, 0) at stride 8 and 16, (56, 56) in the last cell of 8.
    np.testing.assert_allclose(
        answers.boxes[0, [0, 63, 64]].numpy(),
        [[-8, -8, 8, 8], [48, 48, 64, 64], [-16, -16, 16, 16]],
        atol=0.01,
    )
    (hint,) = answers.hints
    assert hint.shape == (1, 3, 8, 8)
    assert hint[0, :, 0, 0].tolist() == [0.5, 0.0, 0.0]
    with pytest.raises(ModelError, match=r"distillation\.hints: .* has no tensor 'outer'"):
        DenseTeacher(str(path), "person,zebra,dog", ("zebra", "dog"), 64, ["outer"])


def test_a_student_follows_its_teacher(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    run = msgspec.structs.replace(
        run,
        model=msgspec.structs.replace(run.model, anchors=ONE),
        distillation=DistillationConfig(str(write_teacher(tmp_path / "teacher.onnx")), "cat,bird,dog"),
    )
    task = DetectionTask(run)
    batch = next(task.batches(0, World()))
    losses = task.losses(task.model, batch, torch.device("cpu"))
    assert list(losses) == ["class", "box", "teacher_class", "teacher_box"]
    assert all(float(loss.detach()) > 0 for loss in losses.values())
    trainer = Trainer(run, task, tmp_path / "run")
    values = [trainer.step(batch).losses["teacher_class"] for _ in range(8)]
    assert values[-1] < values[0]


def test_several_files_of_both_forms_teach_together(tmp_path: Path) -> None:
    # PicoDet's form has class 2 at 0.75 in cell 64, NanoDet's nothing in a black image: 0.375.
    files = str(write_teacher(tmp_path / "picodet.onnx")), str(write_nanodet(tmp_path / "nanodet.onnx"))
    run = small_run(tmp_path)
    run = msgspec.structs.replace(
        run,
        model=msgspec.structs.replace(run.model, anchors=ONE),
        distillation=DistillationConfig(files, "cat,bird,dog"),
    )
    task = DetectionTask(run)
    batch = next(task.batches(0, World()))
    together = task.losses(task.model, batch, torch.device("cpu"))
    told = [teacher(torch.zeros(1, 3, 64, 64)) for teacher in task.teachers]
    both = average_answers(told)
    assert float(both.scores.max()) == pytest.approx(0.375)
    # PicoDet's box of the cell ends at (24, 24), NanoDet's, which sees nothing there, at (16, 16).
    np.testing.assert_allclose(both.boxes[0, 64].numpy(), told[0].boxes[0, 64].numpy(), atol=0.01)
    alone = msgspec.structs.replace(run, distillation=DistillationConfig(files[0], "cat,bird,dog"))
    single = DetectionTask(alone)
    losses = single.losses(task.model, batch, torch.device("cpu"))
    assert float(together["teacher_class"]) != pytest.approx(float(losses["teacher_class"]), rel=1e-3)


def test_no_teacher_at_all_and_one_of_several_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(msgspec.ValidationError, match="length >= 1"):
        msgspec.convert({"teacher": []}, DistillationConfig)
    assert msgspec.convert({"teacher": "one.onnx"}, DistillationConfig).teachers == ("one.onnx",)
    run = small_run(tmp_path)
    files = str(write_teacher(tmp_path / "picodet.onnx")), "none.onnx"
    run = msgspec.structs.replace(
        run,
        model=msgspec.structs.replace(run.model, anchors=ONE),
        distillation=DistillationConfig(files, "cat,bird,dog"),
    )
    with pytest.raises(ModelError, match=r"distillation\.teacher: file not found: none\.onnx"):
        DetectionTask(run)


@pytest.mark.parametrize(
    ("classes", "size", "message"),
    [
        ("cat,bird", 64, r"is no teacher for an input of 64 and 2 classes"),
        ("cat,bird,dog", 96, r"is no teacher for an input of 96 .* outputs \[1, 64, 3\]"),
        ("zebra,bear,sheep", 64, "knows none of the classes to train; check distillation.classes"),
    ],
)
def test_a_file_that_cannot_teach_is_one_line(tmp_path: Path, classes: str, size: int, message: str) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    with pytest.raises(ModelError, match=message):
        DenseTeacher(str(path), classes, ("dog", "cat"), size)


def test_missing_and_damaged_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"distillation\.teacher: file not found: none\.onnx"):
        DenseTeacher("none.onnx", "dog", ("dog",), 64)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot load"):
        DenseTeacher(str(damaged), "dog", ("dog",), 64)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "edgevision.engines.ov_core", raising=False)
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        DenseTeacher(str(damaged), "dog", ("dog",), 64)


def test_a_typo_in_the_teachers_settings_is_named(tmp_path: Path) -> None:
    from edgevision.config import config_folder, load_config
    from edgevision.errors import ConfigError

    with pytest.raises(ConfigError, match=r"unknown key 'distillation\.techer'; did you mean 'teacher'"):
        load_config(
            config_folder() / "models" / "retinanet-light.yaml",
            DetectorTraining,
            ["distillation={techer: x.onnx}"],
        )
