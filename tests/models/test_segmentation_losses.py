"""Dice and cross-entropy against tables worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import ConfigError
from edgevision.models.segmentation_losses import (
    SegmentationLoss,
    binary_dice_loss,
    cross_entropy_loss,
    median_frequency_weights,
    multiclass_dice_loss,
)
from edgevision.models.settings import SegmentationLossConfig
from edgevision.types import IGNORE_ID

# Four pixels; the probabilities of class 1, and their labels, the last of which is ignored.
P1 = torch.tensor([0.8, 0.6, 0.4, 0.2])
LABELS = torch.tensor([1, 1, 0, IGNORE_ID]).view(1, 1, 4)
TWO = torch.stack([1 - P1, P1]).log().view(1, 2, 1, 4)
LOGIT = (P1 / (1 - P1)).log().view(1, 1, 4)


def test_the_multiclass_dice_loss_by_hand() -> None:
    # class 1: 2 * 1.4 over 1.8 + 2; class 0: 2 * 0.6 over 1.2 + 1
    plain = 1 - (2.8 / 3.8 + 1.2 / 2.2) / 2
    smooth = 1 - (3.8 / 4.8 + 2.2 / 3.2) / 2
    assert multiclass_dice_loss(TWO, LABELS, 0.0).item() == pytest.approx(plain, abs=1e-6)
    assert multiclass_dice_loss(TWO, LABELS, 1.0).item() == pytest.approx(smooth, abs=1e-6)


def test_the_binary_dice_loss_by_hand() -> None:
    assert binary_dice_loss(LOGIT, LABELS, 0.0).item() == pytest.approx(1 - 2.8 / 3.8, abs=1e-6)
    assert binary_dice_loss(LOGIT, LABELS, 1.0).item() == pytest.approx(1 - 3.8 / 4.8, abs=1e-6)


def test_a_class_without_labels_has_no_term() -> None:
    three = torch.cat([TWO, torch.full((1, 1, 1, 4), -40.0)], dim=1)
    assert multiclass_dice_loss(three, LABELS, 1.0).item() == pytest.approx(
        multiclass_dice_loss(TWO, LABELS, 1.0).item(), abs=1e-6
    )


def test_the_cross_entropy_by_hand() -> None:
    a, b = -math.log(0.8), -math.log(0.6)
    assert cross_entropy_loss(TWO, LABELS).item() == pytest.approx((a + b + b) / 3, abs=1e-6)
    weighted = cross_entropy_loss(TWO, LABELS, torch.tensor([1.0, 3.0])).item()
    assert weighted == pytest.approx((3 * a + 3 * b + b) / 7, abs=1e-6)


def test_ignored_pixels_change_nothing_and_get_no_gradient() -> None:
    criterion = SegmentationLoss(SegmentationLossConfig(), 2)
    logits = TWO.clone().requires_grad_()
    sum(criterion(logits, LABELS).values()).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 3].any()
    assert logits.grad[..., :3].abs().min() > 1e-3
    other = TWO.clone()
    other[..., 3] = 7.0
    for name, loss in criterion(TWO, LABELS).items():
        assert criterion(other, LABELS)[name].item() == pytest.approx(loss.item(), abs=1e-6)


def test_a_batch_without_a_label_costs_nothing_and_is_finite() -> None:
    nothing = torch.full((1, 1, 4), IGNORE_ID)
    for form in ("multiclass", "binary"):
        logits = TWO.clone().requires_grad_()
        losses = SegmentationLoss(SegmentationLossConfig(dice_form=form), 2)(logits, nothing)
        total = sum(losses.values())
        total.backward()
        assert float(total.detach()) == pytest.approx(0, abs=1e-6)
        assert logits.grad is not None
        assert not logits.grad.any()


def test_factors_weigh_the_sum_and_zero_leaves_a_part_out() -> None:
    both = SegmentationLoss(SegmentationLossConfig(cross_entropy=2.0, dice=0.5), 2)(TWO, LABELS)
    assert both["cross_entropy"].item() == pytest.approx(2 * cross_entropy_loss(TWO, LABELS).item())
    assert both["dice"].item() == pytest.approx(0.5 * multiclass_dice_loss(TWO, LABELS, 1.0).item())
    assert set(SegmentationLoss(SegmentationLossConfig(dice=0), 2)(TWO, LABELS)) == {"cross_entropy"}
    assert set(SegmentationLoss(SegmentationLossConfig(cross_entropy=0), 2)(TWO, LABELS)) == {"dice"}


def test_binary_scores_only_the_second_class() -> None:
    config = SegmentationLossConfig(cross_entropy=0, dice_form="binary")
    found = SegmentationLoss(config, 2)(TWO, LABELS)["dice"].item()
    assert found == pytest.approx(binary_dice_loss(LOGIT, LABELS, 1.0).item(), abs=1e-6)
    with pytest.raises(ConfigError, match="needs two classes, found 3"):
        SegmentationLoss(config, 3)


def test_median_frequency_weights_by_hand() -> None:
    assert median_frequency_weights([0.5, 0.1, 0.2, 0.0]) == pytest.approx((0.4, 2.0, 1.0, 0.0))
    assert median_frequency_weights([0.5, 0.1]) == pytest.approx((0.6, 3.0))
    config = SegmentationLossConfig(class_weights="median_frequency")
    weights = SegmentationLoss(config, 3, [0.5, 0.1, 0.2]).weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.4, 2.0, 1.0])


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 numbers; expected 3"):
        SegmentationLoss(SegmentationLossConfig(class_weights=(1.0, 2.0)), 3)
    with pytest.raises(ValueError, match="cross_entropy and dice are both 0"):
        SegmentationLossConfig(cross_entropy=0, dice=0)
    with pytest.raises(ValueError, match="class_weights are all 0"):
        SegmentationLossConfig(class_weights=(0.0, 0.0))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 5), st.integers(0, 2**31), st.floats(0, 10))
def test_losses_lie_in_their_range_and_perfect_answers_cost_nothing(
    classes: int, seed: int, smooth: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (2, 3, 4), generator=generator)
    logits = torch.randn(2, classes, 3, 4, generator=generator) * 3
    assert 0 <= multiclass_dice_loss(logits, labels, smooth).item() <= 1
    perfect = 60.0 * torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2)
    assert multiclass_dice_loss(perfect, labels, smooth).item() == pytest.approx(0, abs=1e-5)
    assert cross_entropy_loss(perfect, labels).item() == pytest.approx(0, abs=1e-5)
