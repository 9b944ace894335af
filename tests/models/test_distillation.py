"""Dense distillation: hand-worked losses, and what a student must be like to have a teacher."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch

from edgevision.errors import ConfigError
from edgevision.models.anchors import AnchorConfig
from edgevision.models.distillation import DistillationLoss, TeacherAnswers, average_answers, hint_loss
from edgevision.models.retinanet import HeadMaps
from edgevision.models.settings import DistillationConfig

ONE = AnchorConfig(strides=(8, 16), base_size=1.0, scales=(1.0,), ratios=(1.0,))
CONFIG = DistillationConfig("teacher.onnx", box_weight=1.0)


def student(logit: float = -20.0, cells: int = 2) -> HeadMaps:
    """Of an input of 16 pixels: 2 x 2 and 1 x 1 cells, two classes, boxes that are the anchors."""
    sides = (cells, cells // 2)
    return HeadMaps(
        [torch.full((1, 2, side, side), logit) for side in sides],
        [torch.zeros(1, 4, side, side) for side in sides],
    )


def teacher(score: float, box: list[float]) -> TeacherAnswers:
    """One answer: class 1 in the second cell of the finest level."""
    scores, boxes = torch.zeros(1, 5, 2), torch.zeros(1, 5, 4)
    scores[0, 1, 1] = score
    boxes[0, 1] = torch.tensor(box)
    return TeacherAnswers(scores, boxes, torch.ones(2))


def test_class_and_box_losses_by_hand() -> None:
    # The anchor of cell (row 0, column 1) is (8, 0, 16, 8). The student says 0.5 there, the teacher 0.8:
    # 0.3^2 * -(0.8 ln 0.5 + 0.2 ln 0.5) = 0.09 ln 2, divided by the teacher's 0.8, which is less than 1.
    maps = student()
    maps.logits[0][0, 1, 0, 1] = 0.0
    loss = DistillationLoss(CONFIG, ONE, 16, (8, 16))
    found = loss(maps, teacher(0.8, [8, 0, 16, 4]))
    assert float(found["teacher_class"]) == pytest.approx(0.09 * math.log(2), rel=1e-5)
    # The teacher's box is half the anchor and the hull is the anchor: GIoU 0.5, weighted by 0.8.
    assert float(found["teacher_box"]) == pytest.approx(0.8 * 0.5, rel=1e-5)


def test_several_teachers_are_averaged_and_who_sees_more_has_more_say_on_the_box() -> None:
    one, other = teacher(0.6, [8, 0, 16, 4]), teacher(0.2, [8, 0, 16, 8])
    both = average_answers([one._replace(hints=[torch.ones(1)]), other])
    assert float(both.scores[0, 1, 1]) == pytest.approx(0.4)
    assert both.boxes[0, 1].tolist() == pytest.approx([8, 0, 16, 0.75 * 4 + 0.25 * 8], rel=1e-4)
    assert [hint.tolist() for hint in both.hints] == [[1.0]]
    blind = average_answers([teacher(0.0, [0, 0, 2, 2]), teacher(0.0, [0, 0, 4, 4])])
    assert blind.boxes[0, 1].tolist() == pytest.approx([0, 0, 3, 3])
    assert average_answers([one]) is one


def test_who_answers_as_the_teacher_has_nothing_to_learn() -> None:
    maps = student()
    maps.logits[0][0, 1, 0, 1] = math.log(0.8 / 0.2)
    found = DistillationLoss(CONFIG, ONE, 16, (8, 16))(maps, teacher(0.8, [8, 0, 16, 8]))
    assert float(found["teacher_class"]) == pytest.approx(0, abs=1e-6)
    assert float(found["teacher_box"]) == pytest.approx(0, abs=1e-6)


def test_faint_cells_teach_no_box_and_classes_that_the_teacher_does_not_know_nothing() -> None:
    loss = DistillationLoss(msgspec.structs.replace(CONFIG, floor=0.3), ONE, 16, (8, 16))
    faint = loss(student(), teacher(0.29, [8, 0, 16, 4]))
    assert float(faint["teacher_box"]) == 0
    assert float(faint["teacher_class"]) > 0
    answers = teacher(0.8, [8, 0, 16, 8])._replace(taught=torch.tensor([1.0, 0.0]))
    assert float(loss(student(), answers)["teacher_class"]) == pytest.approx(0, abs=1e-6)


def test_losses_are_divided_by_what_the_teacher_sees() -> None:
    answers = teacher(0.8, [8, 0, 16, 4])
    twice = TeacherAnswers(answers.scores.repeat(4, 1, 1), answers.boxes.repeat(4, 1, 1), answers.taught)
    maps = HeadMaps(*([x.repeat(4, 1, 1, 1) for x in part] for part in student()))
    loss = DistillationLoss(CONFIG, ONE, 16, (8, 16))
    assert float(loss(maps, twice)["teacher_box"]) == pytest.approx(0.5, rel=1e-5)  # 4 * 0.8 * 0.5 / 3.2


def test_gradients_lead_to_the_teacher() -> None:
    maps = student(-2.0)
    for part in (*maps.logits, *maps.deltas):
        part.requires_grad_()
    losses = DistillationLoss(CONFIG, ONE, 16, (8, 16))(maps, teacher(0.8, [8, 0, 16, 4]))
    torch.stack(list(losses.values())).sum().backward()
    logits, deltas = maps.logits[0].grad, maps.deltas[0].grad
    assert logits is not None
    assert deltas is not None
    assert float(logits[0, 1, 0, 1]) < 0 < float(logits[0, 0, 0, 1])  # up where the teacher sees it
    assert float(deltas[0, 3, 0, 1]) > 0  # the box must become lower
    assert float(deltas[0, :, 1, 1].abs().sum()) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": (0.5, 1.0)}, r"one anchor a cell; found 2"),
        ({"strides": (16, 32)}, r"strides are \[8, 16\], model\.anchors\.strides is \[16, 32\]"),
    ],
)
def test_students_whose_cells_are_others_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillationLoss(CONFIG, msgspec.structs.replace(ONE, **changes), 32, (8, 16))


def test_hints_by_hand() -> None:
    # One channel of four cells. Deviations from the means: (-1, 1, -1, 1) and (-1, -1, 1, 1): r = 0; then
    # r = 1 for twice the map plus three, and r = -1 for its negative.
    wanted = torch.tensor([0.0, 2.0, 0.0, 2.0]).view(1, 1, 2, 2)
    for own, expected in (
        ([0.0, 0.0, 2.0, 2.0], 1.0),
        ([3.0, 7.0, 3.0, 7.0], 0.0),
        ([0.0, -2.0, 0.0, -2.0], 2.0),
    ):
        found = hint_loss([torch.tensor(own).view(1, 1, 2, 2)], [wanted])
        assert float(found) == pytest.approx(expected, abs=1e-5)
    noise = torch.randn(1, 1, 2, 2)
    both = hint_loss([wanted, wanted, noise], [wanted, -wanted])
    assert float(both) == pytest.approx(1.0, abs=1e-5)  # levels count alike; those beyond the hints do not


def test_hints_join_the_losses_with_their_weight_and_lead_to_the_teacher() -> None:
    config = msgspec.structs.replace(CONFIG, hints=("a", "b"), hint_weight=3.0)
    wanted = [torch.randn(1, 4, 2, 2), torch.randn(1, 4, 1, 1)]
    own = [torch.randn(1, 4, 2, 2, requires_grad=True), torch.randn(1, 4, 1, 1)]
    maps = student()._replace(pyramid=own)
    losses = DistillationLoss(config, ONE, 16, (8, 16))(
        maps, teacher(0.8, [8, 0, 16, 8])._replace(hints=wanted)
    )
    assert list(losses) == ["teacher_class", "teacher_box", "teacher_hint"]
    assert float(losses["teacher_hint"].detach()) == pytest.approx(3 * float(hint_loss(own, wanted).detach()))
    losses["teacher_hint"].backward()
    assert own[0].grad is not None
    nearer = own[0].detach() - 0.1 * own[0].grad
    assert float(hint_loss([nearer, own[1]], wanted)) < float(hint_loss(own, wanted).detach())


def test_hints_of_another_size_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"map of \[8, 2, 2\] is to be learnt by one of \[4, 2, 2\]; expected equal"
    ):
        hint_loss([torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 8, 2, 2)])
