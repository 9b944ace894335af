"""A segmenter that learns from another one, pixel by pixel, on images that nobody has labelled too.

Also tests ``edgevision.training.onnx_teacher``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgevision.cli import main
from edgevision.contract.manifest import Manifest, Resize
from edgevision.contract.model_file import read_manifest, write_manifest
from edgevision.data.classes import parse_groups
from edgevision.data.detection.check import Fault
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.engines.fake import fake_manifest
from edgevision.errors import ConfigError, DataError, ModelError
from edgevision.models.backbone import normalise
from edgevision.models.fcn.settings import FcnConfig
from edgevision.models.segmentation_distillation import SegmenterAnswers
from edgevision.models.settings import BackboneConfig, SegmentationDistillationConfig
from edgevision.training.check import check_segmenter_data
from edgevision.training.config import SegmenterTraining
from edgevision.training.distributed import World
from edgevision.training.loop import Trainer
from edgevision.training.segmentation import SegmentationTask
from edgevision.training.segmenter_teacher import SegmenterTeacher
from tests.support.segmentation import CLASSES, IGNORE, small_run, write_set

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
    order = [CLASSES.index(name) if name in CLASSES else place for place, name in enumerate(classes)]
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
@pytest.mark.usefixtures("library")
def test_probabilities_come_in_the_students_order_and_hints_as_they_are(tmp_path: Path, logits: bool) -> None:
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


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.usefixtures("library")
def test_classes_that_are_cut_otherwise_meet_in_groups(tmp_path: Path, logits: bool) -> None:
    """The teacher's second and third class are one to the student, who tells two apart where it has one."""
    path = write_teacher(tmp_path / "teacher.onnx", logits=logits, classes=("road", "car", "sign"))
    groups = parse_groups(["thing=car,sign", "ground=*"])
    teacher = SegmenterTeacher(str(path), ("sign", "grass", "street"), *SIZE, groups=groups)
    assert teacher.group_of == (0, 1, 1)
    frames = np.zeros((3, SIZE[1], SIZE[0], 3), np.uint8)
    frames[0], frames[1], frames[2] = COLOURS
    scores = teacher(torch.from_numpy(frames)).scores
    expected = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]).view(3, 2, 1, 1).expand_as(scores)
    torch.testing.assert_close(scores, expected, atol=0.01, rtol=0)
    seen = torch.randint(0, 256, (2, SIZE[1], SIZE[0], 3), dtype=torch.uint8)
    apart = SegmenterTeacher(str(path), CLASSES, *SIZE)(seen).scores
    torch.testing.assert_close(teacher(seen).scores[:, 0], apart[:, 1] + apart[:, 2])


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (("thing=car",), "only .*teacher.onnx has a class in 'road'; expected classes of both in every"),
        (("ground=road,sign", "b=car"), "only the run has a class in 'tree'"),
        (("all=*",), "every class is in 'all', which teaches nothing; expected two groups or more"),
        (("thing=car,sgin", "rest=*"), "'sgin' in the group 'thing' is no class here; did you mean 'sign'"),
        (("car=sign,tree", "rest=*"), "the group 'car' has the name of the class 'car', which is not in it"),
    ],
)
def test_groups_that_do_not_meet_are_one_line(
    folder: Path, tmp_path: Path, groups: tuple[str, ...], words: str
) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    run = msgspec.structs.replace(small_run(folder), classes=("sign", "car", "tree"))
    with pytest.raises(ConfigError, match=f"distillation.groups: .*{words}"):
        SegmentationTask(taught(run, path, groups=groups))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("[thing]", "'thing' is not a group of classes; expected GROUP=CLASS"),
        ("[a=car, b=car]", "the class 'car' is in two groups, 'a' and 'b'"),
        ("[thing=car,sign, rest=*]", "'sign' is not a group of classes; .*; in quotes, as in"),
        ('["thing=car,*"]', "takes every other class and stands alone: thing="),
    ],
)
def test_groups_of_another_form_are_refused_before_anything_is_read(
    folder: Path, groups: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=f"distillation.groups: .*{words}"):
        small_run(folder, f"distillation={{teacher: nowhere.onnx, groups: {groups}}}")


def test_a_student_learns_groups_of_images_without_labels(folder: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    (folder / "images" / "train").rename(photographs)
    run = small_run(folder)
    source = SegmentationSource(str(photographs), unlabelled=True)
    data = msgspec.structs.replace(run.data, train=(source,))
    teacher = write_teacher(tmp_path / "teacher.onnx", classes=("street", "red", "blue"))
    run = taught(run, teacher, groups=("thing=car,sign,red,blue", "ground=*"))
    task = SegmentationTask(msgspec.structs.replace(run, data=data))
    batch = next(task.batches(0, World()))
    wanted = SegmenterTeacher(
        str(teacher), CLASSES, *SIZE, groups=parse_groups(["thing=car,sign,red,blue", "ground=*"])
    )(batch.images).scores[:, 1]  # the groups come in the order of the student's classes
    assert 0.05 < float(wanted.mean()) < 0.95
    optimiser = torch.optim.Adam(task.model.parameters(), 0.003)
    for _ in range(60):
        optimiser.zero_grad()
        losses = task.losses(task.model, batch, torch.device("cpu"))
        assert float(losses["cross_entropy"].detach()) == 0
        losses["teacher"].backward()
        optimiser.step()
    with torch.no_grad():
        logits = task.model(normalise(batch.images))
    thing = logits.softmax(dim=1)[:, [CLASSES.index("car"), CLASSES.index("sign")]].sum(dim=1)
    assert float(thing[wanted > 0.9].mean()) > 0.7
    assert float(thing[wanted < 0.1].mean()) < 0.3


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
    data = msgspec.structs.replace(run.data, train=(source,))
    with pytest.raises(ValueError, match=r"data\.train has unlabelled images, which teach nothing"):
        msgspec.structs.replace(run, data=data)
    teacher = write_teacher(tmp_path / "teacher.onnx")
    run = msgspec.structs.replace(taught(run, teacher), data=data)
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
    teacher = write_teacher(tmp_path / "teacher.onnx")
    with pytest.raises(ConfigError, match=r"map has 96x64 cells; the student's decoder has 6x4, 12x8;"):
        SegmentationTask(taught(run, teacher, hints=("scaled",)))
    few = small_run(folder, "model.channels=[16, 96]", "loop.batch_size=1")
    with pytest.raises(ConfigError, match="a batch has 96 cells of the map with 12x8, whose 96 channels"):
        SegmentationTask(taught(few, teacher, hints=("seen",)))
    backbone = BackboneConfig("shufflenet_v2_x1_0", "random")
    fcn = msgspec.structs.replace(run, model=FcnConfig(backbone, 96, 64))
    with pytest.raises(ConfigError, match="decoder has no maps to learn it, as only a UNet has"):
        SegmentationTask(taught(fcn, teacher, hints=("seen",)))
    task = SegmentationTask(taught(fcn, teacher))
    losses = task.losses(task.model, next(task.batches(0, World())), torch.device("cpu"))
    assert losses.keys() == {"cross_entropy", "dice", "teacher"}


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
        (SegmentationSource(str(empty), unlabelled=True), "empty has no image; expected some"),
        (
            SegmentationSource(str(folder / "images" / "train"), unlabelled=True, only=("c_",)),
            r"train has no image with only \['c_'\]; expected some",
        ),
        (SegmentationSource(str(folder / "images"), unlabelled=True), "a source of its own, such as train"),
    ):
        data = msgspec.structs.replace(run.data, train=(source,))
        with pytest.raises(DataError, match=words):
            SegmentationTask(msgspec.structs.replace(run, data=data))
    unlabelled = SegmentationSource(str(folder / "images" / "val"), unlabelled=True)
    data = msgspec.structs.replace(run.data, val=unlabelled)
    document = {**msgspec.to_builtins(run), "data": msgspec.to_builtins(data)}
    config = tmp_path / "run.yaml"
    config.write_bytes(msgspec.yaml.encode(document))
    for arguments in (["train", str(config), "--out", str(tmp_path / "out")], ["data", "check", str(config)]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "data.val is unlabelled; expected labels to measure on" in capsys.readouterr().err


def test_answers_have_no_hints_unless_asked(folder: Path, tmp_path: Path) -> None:
    answers = SegmenterTeacher(str(write_teacher(tmp_path / "teacher.onnx")), CLASSES, *SIZE)(
        torch.zeros(1, SIZE[1], SIZE[0], 3, dtype=torch.uint8)
    )
    assert isinstance(answers, SegmenterAnswers)
    assert answers.hints == []


@pytest.mark.usefixtures("library")
def test_hints_may_be_outputs_or_come_twice_and_are_maps(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    teacher = SegmenterTeacher(str(path), CLASSES, *SIZE, hints=("scores", "seen", "seen"))
    assert teacher.hint_shapes == ((2, 3, 64, 96), (2, 3, 8, 12), (2, 3, 8, 12))
    answers = teacher(torch.full((1, SIZE[1], SIZE[0], 3), 60, dtype=torch.uint8))
    torch.testing.assert_close(answers.hints[0], answers.scores)
    torch.testing.assert_close(answers.hints[1], answers.hints[2])
    for hint, found in (("class_map", r"uint8 \[2, 64, 96\]"), ("five", r"float32 \[2, 3, 1, 64, 96\]")):
        with pytest.raises(ModelError, match=rf"distillation.hints: .* '{hint}' in .* is {found}"):
            SegmenterTeacher(str(path), CLASSES, *SIZE, hints=("seen", hint))
    with pytest.raises(ModelError, match=r"has no tensor 'sen'; did you mean 'seen'"):
        SegmenterTeacher(str(path), CLASSES, *SIZE, hints=("sen",))


def test_the_head_of_a_teacher_is_a_map_of_its_classes(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    manifest = read_manifest(path)
    for heads, words in (
        (
            ("best",),
            r"'best' in .* is int64 \[2, 64, 96\]; expected maps, float \[2, 3, h, w\]",
        ),
        (("five",), r"'five' in .* is float32 \[2, 3, 1, 64, 96\]"),
        ((), "names 0 tensors"),
    ):
        write_manifest(path, msgspec.structs.replace(manifest, heads=heads))
        with pytest.raises(ModelError, match=f"distillation.teacher: .*{words}"):
            SegmenterTeacher(str(path), CLASSES, *SIZE)


def test_logits_are_known_by_what_the_teacher_says_of_noise(tmp_path: Path) -> None:
    """An image on which logits are not negative and sum to 1 does not turn them into probabilities."""
    path = write_teacher(tmp_path / "teacher.onnx")
    manifest = read_manifest(path)
    write_manifest(path, msgspec.structs.replace(manifest, heads=("scaled",)))  # B, G and R over 40
    teacher = SegmenterTeacher(str(path), CLASSES, *SIZE)
    frames = torch.zeros(1, SIZE[1], SIZE[0], 3, dtype=torch.uint8)
    frames[..., 0] = 40
    expected = torch.tensor([1.0, 0.0, 0.0]).softmax(0)
    torch.testing.assert_close(teacher(frames).scores[0, :, 3, 5], expected)


def test_a_teacher_of_single_images_looks_at_them_one_by_one(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    manifest = read_manifest(path)
    frames = torch.randint(0, 256, (3, SIZE[1], SIZE[0], 3), dtype=torch.uint8)
    expected = SegmenterTeacher(str(path), CLASSES, *SIZE, ("seen",))(frames)
    for batch, words in ((1, ""), (4, "cannot be run on two images of 96x64")):
        model = onnx.load(path)
        for port in (*model.graph.input, *model.graph.output):
            port.type.tensor_type.shape.dim[0].dim_value = batch
        onnx.save(model, tmp_path / "fixed.onnx")
        write_manifest(tmp_path / "fixed.onnx", manifest)
        if words:
            with pytest.raises(ModelError, match=words):
                SegmenterTeacher(str(tmp_path / "fixed.onnx"), CLASSES, *SIZE, ("seen",))
            continue
        found = SegmenterTeacher(str(tmp_path / "fixed.onnx"), CLASSES, *SIZE, ("seen",))(frames)
        torch.testing.assert_close(found.scores, expected.scores)
        torch.testing.assert_close(found.hints[0], expected.hints[0])


def test_what_is_no_file_of_a_segmenter_is_one_line(tmp_path: Path) -> None:
    foreign, damaged = tmp_path / "foreign.onnx", tmp_path / "damaged.onnx"
    write_teacher(tmp_path / "teacher.onnx")
    content = (tmp_path / "teacher.onnx").read_bytes()
    model = onnx.load(tmp_path / "teacher.onnx")
    del model.metadata_props[:]
    onnx.save(model, foreign)
    damaged.write_bytes(content[: len(content) // 2])
    for path, words in (
        (tmp_path, "is a folder"),
        (foreign, "without edgevision metadata"),
        (damaged, "damaged.onnx"),
    ):
        with pytest.raises(ModelError, match=f"distillation.teacher: .*{words}"):
            SegmenterTeacher(str(path), CLASSES, *SIZE)


def test_a_distillation_that_teaches_nothing_is_refused() -> None:
    assert SegmentationDistillationConfig("t.onnx", weight=0.0, hints=("map",)).hint_weight == 1
    nothing: list[dict[str, object]] = [{}, {"hints": ("map",), "hint_weight": 0.0}]
    for settings in nothing:
        with pytest.raises(ValueError, match="weight is 0, and there are no hints"):
            SegmentationDistillationConfig("t.onnx", weight=0.0, **settings)  # type: ignore[arg-type]


def test_a_check_of_unlabelled_images_misses_no_label(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "val" / "torn.png").write_bytes(b"no image")
    source = SegmentationSource(str(folder / "images" / "val"), unlabelled=True)
    run = taught(small_run(folder), write_teacher(tmp_path / "teacher.onnx"))
    data = msgspec.structs.replace(run.data, train=(*run.data.train, source))
    run = msgspec.structs.replace(run, data=data)
    report = check_segmenter_data(run)
    unlabelled = report.sets[1]
    assert [one.fault for one in unlabelled.findings] == [Fault.UNUSABLE]
    notes = SegmentationTask(run).notes
    assert any("torn.png" in note for note in notes)
    assert not any("no training pixel" in note for note in notes)
    ignored = np.full((64, 96), IGNORE, np.uint8)
    for path in (folder / "labels" / "train").iterdir():
        cv2.imwrite(str(path), ignored)
    assert any("no training pixel of road, car, sign" in note for note in SegmentationTask(run).notes)
