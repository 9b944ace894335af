"""Training criteria of segmenters: Dice from logits, weighted cross-entropy, and their sum.

Labels are int64 class ids; :data:`~edgevision.types.IGNORE_ID` marks pixels that count nowhere.
Processes that train together divide by what the whole batch holds, and Dice is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.errors import ConfigError
from edgevision.models.collective import even_share, sum_of_all
from edgevision.models.settings import SegmentationLossConfig
from edgevision.types import IGNORE_ID


def dice_coefficient(overlap: Tensor, total: Tensor, smooth: float) -> Tensor:
    """``(2 overlap + smooth) / (total + smooth)``, 1 where both areas are empty.

    Args:
        overlap: sum of probabilities where the label is the class.
        total: sum of all probabilities of the class plus the number of its labels.
        smooth: keeps small and empty areas from dominating.
    """
    return (2 * overlap + smooth) / (total + smooth).clamp(min=1e-7)


def multiclass_dice_loss(logits: Tensor, labels: Tensor, smooth: float) -> Tensor:
    """One minus the mean Dice coefficient of the classes that have labels in the batch.

    The soft Dice of V-Net (Milletari et al. 2016, arXiv:1606.04797) with sums over the whole batch. A class
    without labels has no term: where it is predicted, the true classes lose probability.

    Args:
        logits: ``[N, C, H, W]``.
        labels: int64 ``[N, H, W]``.
        smooth: see :func:`dice_coefficient`.
    """
    classes = logits.shape[1]
    valid = labels != IGNORE_ID
    probability = logits.float().softmax(dim=1) * valid.unsqueeze(1)
    safe = torch.where(valid, labels, 0)
    hit = probability.gather(1, safe.unsqueeze(1)).flatten()
    flat = safe.flatten()
    overlap = hit.new_zeros(classes).index_add(0, flat, hit)
    count = hit.new_zeros(classes).index_add(0, flat, valid.flatten().to(hit.dtype))
    area = probability.sum(dim=(0, 2, 3))
    overlap, area, count = sum_of_all(torch.stack([overlap, area, count])).unbind()
    dice = dice_coefficient(overlap, area + count, smooth)
    present = count > 0
    return 1 - dice[present].mean() if bool(present.any()) else logits.sum() * 0


def binary_dice_loss(logits: Tensor, labels: Tensor, smooth: float) -> Tensor:
    """One minus the Dice coefficient of one kind of object, over the whole batch.

    Args:
        logits: ``[N, H, W]`` of the object against the background.
        labels: int64 ``[N, H, W]``: 1 for the object, 0 for the background.
        smooth: see :func:`dice_coefficient`.
    """
    valid = (labels != IGNORE_ID).float()
    probability = logits.float().sigmoid() * valid
    wanted = (labels == 1).float()
    sums = torch.stack([(probability * wanted).sum(), probability.sum() + wanted.sum()])
    overlap, total = sum_of_all(sums).unbind()
    return 1 - dice_coefficient(overlap, total, smooth)


def cross_entropy_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the labelled pixels, each weighted by its label's class; 0 without any.

    Args:
        logits: ``[N, C, H, W]``.
        labels: int64 ``[N, H, W]``.
        weights: ``[C]``, or None for equal ones.
    """
    total = F.cross_entropy(logits.float(), labels, weights, ignore_index=IGNORE_ID, reduction="sum")
    valid = labels != IGNORE_ID
    mass = valid.sum().float() if weights is None else weights[labels[valid]].sum()
    return total / even_share(mass, least=1e-7)


class SegmentationLoss(nn.Module):
    """The weighted sum of cross-entropy and Dice loss.

    Args:
        config: factors and forms.
        classes: number of classes.
        frequencies: pixels of each class over all pixels of the images that have the class; needed for
            ``median_frequency``.

    Raises:
        ConfigError: the weights do not fit the classes.
    """

    def __init__(
        self, config: SegmentationLossConfig, classes: int, frequencies: Sequence[float] = ()
    ) -> None:
        super().__init__()
        if config.dice_form == "binary" and classes != 2:
            raise ConfigError(f"loss.dice_form binary needs two classes, found {classes}; use multiclass")
        self.config = config
        self.register_buffer("weights", _class_weights(config, classes, frequencies), persistent=False)
        self.weights: Tensor | None

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses ``cross_entropy`` and ``dice``, scalars whose sum is minimised.

        Args:
            logits: ``[N, C, H, W]``.
            labels: int64 ``[N, H, W]``, 0..C - 1 or :data:`~edgevision.types.IGNORE_ID`.
        """
        config, losses = self.config, {}
        if config.cross_entropy:
            losses["cross_entropy"] = config.cross_entropy * cross_entropy_loss(logits, labels, self.weights)
        if config.dice:
            if config.dice_form == "binary":
                dice = binary_dice_loss(logits[:, 1] - logits[:, 0], labels, config.smooth)
            else:
                dice = multiclass_dice_loss(logits, labels, config.smooth)
            losses["dice"] = config.dice * dice
        return losses


def median_frequency_weights(frequencies: Sequence[float]) -> tuple[float, ...]:
    """The median frequency over each class's own; 0 for a class that never occurs.

    Example:
        >>> median_frequency_weights([0.5, 0.1, 0.2, 0.0])
        (0.4, 2.0, 1.0, 0.0)
    """
    seen = torch.tensor([value for value in frequencies if value > 0], dtype=torch.double)
    middle = float(seen.quantile(0.5)) if len(seen) else 0.0
    return tuple(middle / value if value > 0 else 0.0 for value in frequencies)


def _class_weights(
    config: SegmentationLossConfig, classes: int, frequencies: Sequence[float]
) -> Tensor | None:
    if config.class_weights == "equal":
        return None
    values = config.class_weights
    if isinstance(values, str):
        values = median_frequency_weights(frequencies)
    if len(values) != classes or min(values) < 0:
        raise ConfigError(
            f"loss.class_weights has {len(values)} numbers; expected {classes} of 0 or more, one a class"
        )
    return torch.tensor(values)
