"""Training with the rounding of int8 in every convolution, so that calibration afterwards costs less.

Quantisation-aware training (Jacob et al. 2018, arXiv:1712.05877, section 3): in the forward pass a
convolution sees its input and its weights as int8 would hold them, in the form that ``edgevision calibrate``
writes: symmetric, one scale for each input, one for each output channel of the weights. A BatchNorm that
follows scales whole output channels, so that folding it into the weights moves none to another step.
Gradients pass the rounding as if it were not there (straight-through, Bengio et al. 2013, arXiv:1308.3432)
and stop where a value is clipped.

The network itself stays as it is: its checkpoints, its validation and its export are those of float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgevision.training.config import QuantiseConfig

_STEPS = 127
_LOOKED_AT = 65_536  # values of an input, evenly spaced, that its range is taken from


class Int8Convolutions(TorchFunctionMode):
    """Within it, convolutions compute with what int8 would hold of their inputs and weights.

    Args:
        model: its convolutions are meant.
        in_float: names of modules whose convolutions stay in float: those that feed the heads.
        percentile: share of an input's magnitudes that its range holds, in per cent; the rest is clipped.
    """

    def __init__(self, model: nn.Module, in_float: Sequence[str], percentile: float) -> None:
        super().__init__()
        self._weights = {
            id(module.weight)
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d)
            and not f"{name}.".startswith(tuple(f"{one}." for one in in_float))
        }
        self._percentile = percentile

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and id(args[1]) in self._weights:
            data, weight, *rest = args
            args = (rounded_input(data, self._percentile), rounded_weight(weight), *rest)
        return func(*args, **(kwargs or {}))


def rounding(
    model: nn.Module, in_float: Sequence[str], config: QuantiseConfig | None
) -> AbstractContextManager[object]:
    """What a step's forward pass runs within: :class:`Int8Convolutions`, or nothing without a ``config``."""
    return nullcontext() if config is None else Int8Convolutions(model, in_float, config.percentile)


def rounded_input(data: Tensor, percentile: float) -> Tensor:
    """What int8 holds of a convolution's input with one scale, ``[N, C, H, W]`` to the same shape.

    Args:
        percentile: share of the magnitudes that are not clipped, in per cent.
    """
    magnitudes = data.detach().abs().flatten()
    if percentile < 100:
        magnitudes = magnitudes[:: max(1, magnitudes.numel() // _LOOKED_AT)]
        above = max(1, round(magnitudes.numel() * (1 - percentile / 100)))
        limit = magnitudes.topk(above).values[-1]
    else:
        limit = magnitudes.max()
    return _rounded(data, limit)


def rounded_weight(weight: Tensor) -> Tensor:
    """What int8 holds of weights ``[out, in / groups, h, w]`` with a scale for each output channel."""
    return _rounded(weight, weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True))


def _rounded(values: Tensor, limit: Tensor) -> Tensor:
    step = (limit / _STEPS).clamp_min(torch.finfo(limit.dtype).tiny)
    inside = torch.minimum(torch.maximum(values, -limit), limit)
    return inside + (torch.round(inside.detach() / step) * step - inside.detach())
