"""A segmenter that learns from another one, pixel by pixel, on images that nobody has labelled too.

Also tests ``edgevision.training.onnx_teacher``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgevision.cli import main
from edgevision.contract.manifest import Manifest, Resize
from edgevision.contract.model_file import write_manifest
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.engines.fake import fake_manifest
from edgevision.errors import ConfigError, DataError, ModelError
from edgevision.models.segmentation_distillation import SegmenterAnswers
from edgevision.models.settings import SegmentationDistillationConfig
from edgevision.training.config import SegmenterTraining
from edgevision.training.distributed import World
from edgevision.training.loop import Trainer
from edgevision.training.segmentation import SegmentationTask
from edgevision.training.segmenter_teacher import SegmenterTeacher
from tests.support.segmentation import CLASSES, small_run, write_set

SIZE = (96, 64)
COLOURS = ((60, 60, 60), (0, 0, 220), (220, 120, 0))  # BGR of road, car and sign in the set


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def write_teacher(path: Path, *, logits: bool = False, classes: tuple[str, ...] = CLASSES) -> Path:
    """Knows the classes of the set by their colours.

    The score of a class is -(distance of a pixel from its colour, in units of 40, squared). ``seen``, the
    image at an eighth of the size, is no output.
    """
    order = [CLASSES.index(name) if name in CLASSES else 0 for name in classes]
    colours = np.array([COLOURS[i] for i in order], np.float32).T.reshape(1, 3, 1, len(order)) / 40
    constants = {
        "colours": colours.transpose(0, 1, 3, 2)[..., None],
        "unit": np.array(1 / 40, np.float32),
        "axes": np.array([1], np.int64),
        "one": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["chw", "unit"], ["scaled"]),
        helper.make_node("AveragePool", ["scaled"], ["seen"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Unsqueeze", ["scaled", "one"], ["five"]),
        helper.make_node("Sub", ["five", "colours"], ["away"]),
        helper.make_node("Mul", ["away", "away"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axes"], ["distance"], keepdims=0),
        helper.make_node("Neg", ["distance"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["class_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", SIZE[1], SIZE[0], 3])],
        [helper.make_tensor_value_info("class_map", TensorProto.UINT8, ["N", SIZE[1], SIZE[0]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    manifest = Manifest(
        name="teacher",
        task="segmentation",
        classes=classes,
        input_width=SIZE[0],
        input_height=SIZE[1],
        resize=Resize(rule="stretch"),
        heads=("logits" if logits else "scores",),
    )
    write_manifest(path, manifest)
    return path


def taught(run: SegmenterTraining, teacher: Path, **more: object) -> SegmenterTraining:
    """The run beside a teacher."""
    config = SegmentationDistillationConfig(str(teacher), **more)  # type: ignore[arg-type]
    return msgspec.structs.replace(run, distillation=config)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_probabilities_come_in_the_students_order_and_hints_as_they_are(
    tmp_path: Path, library: str, logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "onnxruntime":
        monkeypatch.setitem(sys.modules, "openvino", None)
    else:
        pytest.importorskip("openvino")
    path = write_teacher(tmp_path / "teacher.onnx", logits=logits)
    teacher = SegmenterTeacher(str(path), ("sign", "road", "car"), *SIZE, hints=("seen",))
    frames = np.zeros((2, SIZE[1], SIZE[0], 3), np.uint8)
    frames[0], frames[1] = COLOURS[1], COLOURS[2]
    answers = teacher(torch.from_numpy(frames))
    assert answers.scores.shape == (2, 3, SIZE[1], SIZE[0])
    expected = torch.eye(3)[[2, 0]].view(2, 3, 1, 1).expand_as(answers.scores)
    torch.testing.assert_close(answers.scores, expected, atol=0.01, rtol=0)
    (seen,) = answers.hints
    assert seen.shape == (2, 3, SIZE[1] // 8, SIZE[0] // 8)
    np.testing.assert_allclose(seen[1, :, 2, 3], np.array(COLOURS[2]) / 40, rtol=0.01)


def test_a_teacher_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    for arguments, words in (
        ((str(tmp_path / "none.onnx"), CLASSES, *SIZE), "not found"),
        ((str(path), ("road", "car"), *SIZE), "classes road, car, sign; expected the run's: road, car"),
        ((str(path), CLASSES, 64, 64), "takes 96x64; the run trains on 64x64"),
        ((str(path), CLASSES, *SIZE, ("nothing",)), "has no tensor 'nothing'"),
    ):
        with pytest.raises(ModelError, match=words):
            SegmenterTeacher(*arguments)
    detector = tmp_path / "detector.onnx"
    detector.write_bytes(path.read_bytes())
    write_manifest(detector, fake_manifest(classes=CLASSES))
    with pytest.raises(ModelError, match="is for detection; expected a segmenter"):
        SegmenterTeacher(str(detector), CLASSES, *SIZE)


def test_a_student_learns_what_only_its_teacher_knows(folder: Path, tmp_path: Path) -> None:
    """All that is trained on is unlabelled; what is measured is labelled."""
    photographs = tmp_path / "photographs"
    (folder / "images" / "train").rename(photographs)
    run = small_run(folder, "loop.images=240", "loop.validate_every=240", "loop.save_every=240")
    source = SegmentationSource(str(photographs), unlabelled=True)
    run = msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, train=(source,)))
    teacher = write_teacher(tmp_path / "teacher.onnx")
    with pytest.raises(ConfigError, match="nobody speaks of unlabelled images"):
        SegmentationTask(run)
    task = SegmentationTask(taught(run, teacher, hints=("seen",)))
    batch = next(task.batches(0, World()))
    losses = task.losses(task.model, batch, torch.device("cpu"))
    assert losses.keys() == {"cross_entropy", "dice", "teacher", "teacher_hint"}
    assert float(losses["cross_entropy"].detach()) == float(losses["dice"].detach()) == 0
    assert 0 < float(losses["teacher_hint"].detach()) < 1
    assert not task.notes
    figures = Trainer(task.config, task, tmp_path / "run").run()
    assert figures["miou"] > 0.6


def test_hints_are_for_a_decoder_that_has_their_size(folder: Path, tmp_path: Path) -> None:
    run = small_run(folder, "model.channels=[16, 16]")  # its stages end at strides 16 and 8
    task = SegmentationTask(taught(run, write_teacher(tmp_path / "teacher.onnx"), hints=("scaled",)))
    with pytest.raises(ConfigError, match=r"map has 96x64 cells; the student's decoder has 6x4, 12x8;"):
        task.losses(task.model, next(task.batches(0, World())), torch.device("cpu"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"folder": "set"}, "split is missing; expected a name such as train, or 'unlabelled: true'"),
        ({"folder": "set", "split": "train", "unlabelled": True}, "an unlabelled source has no split"),
    ],
)
def test_a_source_is_labelled_or_not(source: dict[str, object], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(source, SegmentationSource)


def test_unlabelled_folders_that_cannot_be_used_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = write_teacher(tmp_path / "teacher.onnx")
    run = taught(small_run(folder), teacher)
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, words in (
        (SegmentationSource(str(tmp_path / "nowhere"), unlabelled=True), "nowhere"),
        (SegmentationSource(str(empty), unlabelled=True), "has no image that is wanted"),
        (SegmentationSource(str(folder / "images" / "train"), unlabelled=True, only=("c_",)), "no image"),
    ):
        data = msgspec.structs.replace(run.data, train=(source,))
        with pytest.raises(DataError, match=words):
            SegmentationTask(msgspec.structs.replace(run, data=data))
    unlabelled = SegmentationSource(str(folder / "images" / "val"), unlabelled=True)
    data = msgspec.structs.replace(run.data, val=unlabelled)
    with pytest.raises(ConfigError, match=r"data\.val is unlabelled; expected labels to measure on"):
        SegmentationTask(msgspec.structs.replace(run, data=data))
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(msgspec.structs.replace(run, data=data)))
    with pytest.raises(SystemExit) as ended:
        main(["train", str(config), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "data.val is unlabelled" in capsys.readouterr().err


def test_answers_have_no_hints_unless_asked(folder: Path, tmp_path: Path) -> None:
    answers = SegmenterTeacher(str(write_teacher(tmp_path / "teacher.onnx")), CLASSES, *SIZE)(
        torch.zeros(1, SIZE[1], SIZE[0], 3, dtype=torch.uint8)
    )
    assert isinstance(answers, SegmenterAnswers)
    assert answers.hints == []
