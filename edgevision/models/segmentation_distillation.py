"""What another segmenter teaches pixel by pixel: its probabilities, and maps from its middle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevision.errors import ConfigError
from edgevision.models.collective import sum_of_all
from edgevision.models.settings import SegmentationDistillationConfig

_RIDGE = 1e-3
_TINY = 1e-6


class SegmenterAnswers(NamedTuple):
    """What a teacher says of N images.

    Attributes:
        scores: float ``[N, G, H, W]``, probabilities of the groups that the student's classes are in; one
            group a class where the teacher has the same classes.
        hints: float ``[N, channels, h, w]`` each.
    """

    scores: Tensor
    hints: Sequence[Tensor] = ()


class StageMaps:
    """Within its context, keeps what the stages of a UNet's decoder answer.

    Args:
        stages: those of the student itself, not of what wraps it for several processes.

    Attributes:
        maps: ``[N, channels, h, w]`` by the number of the stage; those of the last context.
    """

    def __init__(self, stages: Iterable[nn.Module]) -> None:
        self._stages = list(stages)
        self._hooks: list[Any] = []
        self.maps: dict[int, Tensor] = {}

    def __enter__(self) -> StageMaps:
        def keep(stage: int) -> Any:
            return lambda module, given, answer: self.maps.__setitem__(stage, answer)

        self.maps.clear()  # torch.compile would compile again for a dict that was empty at first
        self._hooks = [stage.register_forward_hook(keep(n)) for n, stage in enumerate(self._stages)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()


class SegmentationDistillation(nn.Module):
    """Losses of a segmenter against a teacher.

    Args:
        config: factors.
        group_of: for each class of the student the group of the teacher's answers that it is in; empty where
            every class is its own.
    """

    def __init__(self, config: SegmentationDistillationConfig, group_of: Sequence[int] = ()) -> None:
        super().__init__()
        self.config = config
        self.group_of = tuple(group_of)

    def forward(
        self, logits: Tensor, maps: Mapping[int, Tensor], answers: SegmenterAnswers
    ) -> dict[str, Tensor]:
        """Losses ``teacher``, and ``teacher_hint`` where there are hints; scalars.

        Args:
            logits: the student's, ``[N, C, H, W]``.
            maps: of the student's decoder; each hint is learnt by the one of its size.
            answers: the teacher's of the same images.

        Raises:
            ConfigError: no map of the student has a hint's size.
        """
        losses = {"teacher": self.config.weight * divergence(logits, answers.scores, self.group_of)}
        if answers.hints:
            parts = [1 - explained(of_size(maps, hint.shape), hint) for hint in answers.hints]
            losses["teacher_hint"] = self.config.hint_weight * torch.stack(parts).mean()
        return losses


def divergence(logits: Tensor, scores: Tensor, group_of: Sequence[int] = ()) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher, mean of all pixels (Hinton et al. 2015,
    arXiv:1503.02531, with temperature 1).

    Args:
        logits: the student's, ``[N, C, H, W]``.
        scores: the teacher's probabilities, ``[N, G, H, W]``.
        group_of: for each of the C classes its group, 0 to G - 1, whose probability is the sum of theirs:
            which class of a group it is, the teacher does not say. Empty where G is C, in the same order.
    """
    own = logits.float().log_softmax(dim=1)
    if group_of:
        groups = torch.tensor(group_of, device=own.device)
        own = torch.stack([own[:, groups == g].logsumexp(dim=1) for g in range(scores.shape[1])], dim=1)
    return F.kl_div(own, scores, reduction="none").sum(dim=1).mean()


def explained(own: Tensor, wanted: Tensor) -> Tensor:
    """The share of a map's variance that a linear map of another explains, mean of its channels: R squared.

    The student is to know what the teacher knows (Romero et al. 2015, arXiv:1412.6550). The linear map is the
    best one for the batch of all processes, by least squares, so it has no weights that must be learnt and
    kept. The share is that of this process's part; over the processes it averages to that of the batch.

    Args:
        own: the student's, ``[N, channels, h, w]``.
        wanted: the teacher's, of the same size with any number of channels; constant ones count as explained.
    """
    with torch.autocast(own.device.type, enabled=False):
        x, y = _columns(own), _columns(wanted)
        cells = sum_of_all(x.new_tensor(float(len(x))))
        x = x - sum_of_all(x.sum(dim=0)) / cells
        y = y - sum_of_all(y.sum(dim=0)) / cells
        y = y * torch.rsqrt(sum_of_all(y.square().sum(dim=0)) / cells + _TINY)
        gram, shared = sum_of_all(x.T @ x) / cells, sum_of_all(x.T @ y) / cells
        ridge = _RIDGE * gram.diagonal().mean() + _TINY
        # Without a check: if the student is not finite, nor is the loss, and the loop names the batch.
        best: Tensor = torch.linalg.solve_ex(gram + ridge * torch.eye(len(gram), device=x.device), shared)[0]
        return 1 - (y - x @ best).square().mean()


def _columns(maps: Tensor) -> Tensor:
    """``[N, channels, h, w]`` to float ``[N * h * w, channels]``."""
    return maps.float().permute(0, 2, 3, 1).flatten(0, 2)


def of_size(maps: Mapping[int, Tensor], shape: Sequence[int]) -> Tensor:
    """The first map that has as many cells a side as a teacher's of ``shape``.

    Args:
        maps: ``[N, channels, h, w]`` each.
        shape: ``N, channels, h, w``.

    Raises:
        ConfigError: none has.
    """
    height, width = shape[-2:]
    for own in maps.values():
        if own.shape[-2:] == (height, width):
            return own
    found = ", ".join(f"{own.shape[-1]}x{own.shape[-2]}" for own in maps.values())
    raise ConfigError(
        f"distillation.hints: the teacher's map has {width}x{height} cells; the student's decoder has "
        f"{found or 'no maps to learn it, as only a UNet has'}; expected one of the same size"
    )
